"""The command line's output: errors in one line, progress bars, time and memory at the end."""

import errno
import functools
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import typer

from pairsynth.errors import InputError, is_out_of_memory, without_password

Arguments = ParamSpec("Arguments")
Item = TypeVar("Item")

LONGEST_LINE = 2000  # letters
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def command(
    app: typer.Typer, *examples: str, panel: str | None = None
) -> Callable[[Callable[Arguments, None]], Callable[Arguments, None]]:
    """Register a function as a command of `app`.

    An `InputError`, or an error of the system (files, disk space, memory), ends it with one line on
    stderr and exit code 2, Ctrl-C with 130, SIGTERM with 143; anything else is a bug and keeps its
    traceback.
    examples: command lines shown in its help. panel: its group in the help of the app.
    """
    shown = "\n\n".join(["Examples:", *examples]) if examples else None

    def register(function: Callable[Arguments, None]) -> Callable[Arguments, None]:
        @functools.wraps(function)
        def told(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
            try:
                with _ended_by_sigterm():
                    function(*args, **kwargs)
            except InputError as error:
                _end(f"error: {error}", 2)
            except Exception as error:
                if is_out_of_memory(error):
                    _end("error: out of memory; lower batch_size or sizes, or free some", 2)
                # A pipe that nobody reads any more is no fault of ours: click ends quietly.
                if not isinstance(error, OSError) or error.errno == errno.EPIPE:
                    raise
                _end(f"error: {without_password(_refused(error))}", 2)
            except KeyboardInterrupt:
                _end("interrupted", 130)
            except _Terminated:
                _end("terminated", 143)

        return app.command(epilog=shown, rich_help_panel=panel)(told)

    return register


def _refused(error: OSError) -> str:
    """A system error (files, space, memory) as one line."""
    if error.errno in NO_SPACE:
        return f"no space left for {error.filename or 'output'}; free some"
    named = [str(name)[:300] for name in (error.filename, error.filename2) if name is not None]
    reason = error.strerror or " ".join(str(error).split())[:300]
    return (
        f"{' -> '.join(named) or 'the operating system'}: {reason}; give another path, or mend it"
    )


class _Terminated(BaseException):
    """Raised on SIGTERM; like KeyboardInterrupt it passes through `except Exception`."""


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that temporary files are removed."""

    def end(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(message: str, code: int) -> None:
    typer.secho(line(message), err=True, fg="red")
    raise typer.Exit(code)


def line(message: str) -> str:
    """`message` as one line of bounded length, without control characters.

    Messages of libraries and names of files may hold line breaks and terminal escapes.
    """
    words = re.sub(r"\s*[\r\n]+\s*", " ", message.strip())
    shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in words)
    return shown if len(shown) <= LONGEST_LINE else f"{shown[: LONGEST_LINE - 4]} ..."


def track(items: Iterable[Item], total: int | None, what: str, unit: str = "") -> Iterator[Item]:
    """Pass `items` on, with a progress bar if stderr is a terminal.

    Of several processes started by `torchrun` only the first shows one.
    total: None where it is not known beforehand.
    """
    from rich.console import Console  # help and refusals do without, and come sooner
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    quiet = not console.is_terminal or os.environ.get("RANK", "0") != "0"
    with Progress(*columns, console=console, disable=quiet) as bar:
        start, task = time.monotonic(), bar.add_task(what, total=total, rate="")
        for done, item in enumerate(items, 1):
            yield item
            rate = done / max(time.monotonic() - start, 1e-9)
            bar.update(task, completed=done, rate=f"{rate:.1f} {unit}/s")


class Stopwatch:
    """Measures seconds since its creation and peak memory, for the last line of a stage."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    def say(self, stage: str, count: int, unit: str) -> None:
        """Print `stage: 12.3 s, 456 unit/s, peak memory 0.8 GB`."""
        seconds = time.monotonic() - self.start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        gigabytes = peak / (1e9 if sys.platform == "darwin" else 1e6)
        typer.echo(
            f"{stage}: {seconds:.1f} s, {count / seconds:,.0f} {unit}/s, "
            f"peak memory {gigabytes:.2f} GB"
        )
