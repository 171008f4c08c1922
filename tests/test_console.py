"""How a command meets its user: one line for what can be mended, a traceback for our defects."""

import errno
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from pairsynth import console
from pairsynth.errors import InputError
from tests.workspace import ROOT

NO_SPACE = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]


def run(error: BaseException | None) -> tuple[int, str, str, BaseException | None]:
    """Exit code, stdout, stderr and what escaped of a command that raises `error`."""
    app = typer.Typer()

    @console.command(app)
    def main(word: str = "hello") -> None:
        """A command."""
        typer.echo(word)
        if error is not None:
            raise error

    result = CliRunner().invoke(app, ["--word", "there"])
    return result.exit_code, result.stdout, result.stderr, result.exception


def test_a_command_that_works_says_nothing_more() -> None:
    assert run(None) == (0, "there\n", "", None)


def test_an_input_error_is_one_line_and_exit_code_2() -> None:
    code, out, err, _ = run(InputError("params.yaml: seed is 'x'; give a whole number"))
    assert code == 2
    assert out == "there\n"
    assert err == "error: params.yaml: seed is 'x'; give a whole number\n"


def test_an_input_error_is_a_plain_exception_with_its_message() -> None:
    error = InputError("seed is 'x'")
    assert error.message == str(error) == "seed is 'x'"
    assert InputError.__bases__ == (Exception,)


MACHINE = [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG]


@pytest.mark.parametrize("number", MACHINE)
def test_what_the_machine_refuses_is_one_line_and_exit_code_2(number: int) -> None:
    code, _, err, escaped = run(OSError(number, os.strerror(number), "data/gan.pt"))
    assert (code, type(escaped)) == (2, SystemExit)
    assert err == f"error: data/gan.pt: {os.strerror(number)}; give another path, or mend it\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("could not create a primitive"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"),
    ],
)
def test_memory_that_is_not_there_is_one_line_and_exit_code_2(error: Exception) -> None:
    code, _, err, _ = run(error)
    assert code == 2
    assert err == "error: out of memory; lower batch_size or sizes, or free some\n"


@pytest.mark.parametrize("number", NO_SPACE)
def test_a_full_disk_is_one_line_and_exit_code_2(number: int) -> None:
    code, _, err, _ = run(OSError(number, "no space", "data/gan.pt"))
    assert code == 2
    assert err == "error: no space left for data/gan.pt; free some\n"
    assert run(OSError(number, "no space"))[2] == "error: no space left for output; free some\n"


def test_a_reader_that_has_gone_is_no_fault() -> None:
    """As of `pairsynth verify | head -1`."""
    code, _, err, escaped = run(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
    assert (code, err, type(escaped)) == (1, "", SystemExit)


def test_ctrl_c_is_one_word_and_exit_code_130() -> None:
    code, _, err, _ = run(KeyboardInterrupt())
    assert code == 130
    assert err == "interrupted\n"


def test_sigterm_is_one_word_and_exit_code_143_and_is_undone_afterwards() -> None:
    app = typer.Typer()
    cleared = []

    @console.command(app)
    def main() -> None:
        """A command that clears up after itself."""
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            cleared.append(True)

    before = signal.getsignal(signal.SIGTERM)
    result = CliRunner().invoke(app, [])
    assert (result.exit_code, result.stderr) == (143, "terminated\n")
    assert cleared
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("rank", ["0", "1"])
def test_the_first_process_alone_draws_a_bar(rank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(sys, "stderr", screen)
    assert list(console.track(range(3), 3, "counting", "numbers")) == [0, 1, 2]
    assert ("counting" in screen.getvalue()) == (rank == "0")


@pytest.mark.parametrize("error", [ValueError("a defect"), RuntimeError("another")])
def test_our_own_defects_keep_their_traceback(error: Exception) -> None:
    code, _, _, escaped = run(error)
    assert code == 1
    assert escaped is error


def test_a_command_keeps_its_name_help_and_parameters() -> None:
    app = typer.Typer()

    @console.command(app)
    def main(count: int) -> None:
        """What it does."""

    result = CliRunner().invoke(app, ["--help"])
    assert "What it does." in result.stdout
    assert "count" in result.stdout.lower()
    assert CliRunner().invoke(app, ["many"]).exit_code == 2


def test_track_passes_all_on_and_is_silent_where_there_is_no_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert list(console.track(iter("abc"), 3, "letters", "letters")) == ["a", "b", "c"]
    assert list(console.track([], 0, "nothing")) == []
    assert capfd.readouterr() == ("", "")


def test_track_takes_no_item_before_it_is_asked_for() -> None:
    taken = []

    def items() -> Iterator[int]:
        for i in range(3):
            taken.append(i)
            yield i

    tracked = console.track(items(), 3, "numbers")
    assert taken == []
    assert next(tracked) == 0
    assert taken == [0]
    tracked.close()  # type: ignore[attr-defined]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_track_draws_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", screen)
    assert list(console.track(range(3), 3, "counting", "numbers")) == [0, 1, 2]
    assert "counting" in screen.getvalue()
    assert "3/3" in screen.getvalue()
    assert "numbers/s" in screen.getvalue()


def test_a_failure_goes_through_track() -> None:
    def items() -> object:
        yield 1
        raise InputError("stop")

    with pytest.raises(InputError, match="stop"):
        list(console.track(items(), 2, "numbers"))  # type: ignore[arg-type]


def test_the_last_line_tells_time_rate_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    console.Stopwatch().say("embed", 1000, "images")
    line = capsys.readouterr().out
    assert re.fullmatch(r"embed: \d+\.\d s, [\d,]+ images/s, peak memory \d+\.\d\d GB\n", line)


def test_a_message_is_one_line_whatever_others_said() -> None:
    said = console.line("data/x.parquet: cannot be read: Invalid data\nDeserializing failed.\r\n")
    assert said == "data/x.parquet: cannot be read: Invalid data Deserializing failed."


def test_a_message_leaves_the_terminal_as_it_is() -> None:
    assert console.line("no \x1b[31m\u202e file \u00e4 \u4e2d") == (
        "no \\x1b[31m\\u202e file \u00e4 \u4e2d"
    )


def test_a_message_is_of_bounded_length() -> None:
    said = console.line("x" * 100_000)
    assert len(said) == console.LONGEST_LINE
    assert said.endswith("x ...")


def test_ctrl_c_while_libraries_are_loaded_is_one_word_too() -> None:
    """Loading torch takes seconds, and no command is there yet to catch it."""
    code = "import stages; raise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
