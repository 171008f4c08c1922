"""Resume an interrupted training from its state after an epoch, kept outside of DVC's outs.

DVC deletes a stage's outs before it runs, and an out that is kept and resumed gives a stale model
when a parameter changes. So the state lies in `$PAIRSYNTH_RESUME_DIR/STAGE/FINGERPRINT`, or in
`.resume` of the project, and its fingerprint covers all that the trained weights depend on: any
change gives another fingerprint, and the old state is ignored.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
import typer
from torch.optim import Optimizer

from pairsynth import config, parallel
from pairsynth.artifacts import FORMAT, file_digest
from pairsynth.checkpoints import load_checkpoint, save_checkpoint
from pairsynth.errors import InputError

Report = TypeVar("Report")

# Keeping the state may take this share of the time; a kill loses at most what lies between.
SHARE = 0.02
PRESENTATION = "console.py"


class Stateful(Protocol):
    """Anything with a state: networks, optimizers, schedules."""

    def state_dict(self) -> Mapping[str, Any]:
        """The state."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Restore the state."""


class Resume:
    """Stores and restores the state of one training; without a folder it stores nothing."""

    def __init__(self, stage: str = "", folder: Path | None = None) -> None:
        self.stage, self.folder = stage, folder
        self.parts: Sequence[Stateful | torch.Generator] = ()
        self.done = 0
        self.due = 0.0

    @property
    def path(self) -> Path:
        """The file of the state."""
        assert self.folder is not None
        return self.folder / "state.pt"

    def restore(self, kind: type[Report], *parts: Stateful | torch.Generator) -> list[Report]:
        """Restore `parts` from the stored state; return the reports of the finished epochs.

        A damaged state is ignored.
        """
        if self.folder is None:
            return []
        self.parts = parts
        if not self.path.exists():
            return []
        try:
            options, state = load_checkpoint(self.path, self.stage)
        except InputError:
            self._say(f"{self.path} is damaged; training starts anew")
            return []
        for i, part in enumerate(parts):
            _load(part, state[str(i)])
        _set_global_randomness(state["global rng"])
        self.done = len(options["reports"])
        self._say(f"going on after epoch {self.done} of an interrupted run")
        return [kind(**report) for report in options["reports"]]

    def keep(self, reports: Sequence[Any]) -> None:
        """Store the state after the epochs of `reports`, unless it was stored shortly before."""
        start = time.monotonic()
        if self.folder is None or start < self.due or parallel.rank():
            return
        state = {str(i): _state(part) for i, part in enumerate(self.parts)}
        state["global rng"] = _global_randomness()
        try:
            kept = {"reports": [asdict(report) for report in reports]}
            save_checkpoint(self.path, self.stage, kept, state)
        except OSError as error:
            self._say(f"the state is not kept ({error}); an interruption would start anew")
        end = time.monotonic()
        self.due = end + (end - start) / SHARE

    def once(
        self, name: str, make: Callable[[], dict[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """What `make` gives, or gave to a run that was interrupted: it is kept beside the state."""
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.pt"
        try:
            return load_checkpoint(path, self.stage)[1]
        except InputError:  # missing or damaged
            made = make()
        if not parallel.rank():
            try:
                save_checkpoint(path, self.stage, {}, made)
            except (OSError, ValueError) as error:
                self._say(f"{path} is not kept ({error}); an interruption would make it anew")
        return made

    def discard(self) -> None:
        """Delete the state, once the outputs are written."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _say(self, what: str) -> None:
        if not parallel.rank():
            typer.echo(f"{self.stage}: {what}", err=True)


NEVER = Resume()


def begin(stage: str, inputs: Sequence[Path], **facts: object) -> Resume:
    """The state of a training of `stage`, decided by the files `inputs` and by `facts`.

    Raises:
        InputError: where another process runs the same training, or the folder is read-only.
    """
    folder = _root() / stage / fingerprint(inputs, **facts)
    if not parallel.rank():
        _hold(stage, folder, "training", fcntl.LOCK_EX)
    return Resume(stage, folder)


@contextmanager
def parts(stage: str, name: str, alone: bool) -> Iterator[Path]:
    """A folder for the finished parts of a piece of work with the fingerprint `name`.

    alone: lock out other processes, and delete the folder when the block ends without an error.
    Otherwise several processes may fill it at the same time.

    Raises:
        InputError: where another process is in the way, or the folder is read-only.
    """
    folder = _root() / stage / name
    lock = _hold(stage, folder, "work", fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    try:
        yield folder
        if alone:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _root() -> Path:
    named = os.environ.get("PAIRSYNTH_RESUME_DIR")
    return Path(named) if named else Path(os.environ.get("DVC_ROOT", ".")) / ".resume"


def _hold(stage: str, folder: Path, what: str, how: int) -> int:
    """Make and lock `folder`; the lock lasts until the file descriptor or the process closes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _lock(folder, how)
    except BlockingIOError as error:
        raise InputError(
            f"{stage}: another process is at this very {what}; wait for it or stop it"
        ) from error
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; set PAIRSYNTH_RESUME_DIR") from error


def _lock(folder: Path, how: int) -> int:
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, how | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        raise
    return number


def fingerprint(inputs: Sequence[Path], **facts: object) -> str:
    """A digest of what trained weights depend on: inputs, facts, code, torch, processes."""
    total = hashlib.sha256()
    for path in inputs:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                total.update(f"{file.relative_to(path.parent)} {file_digest(file)}\n".encode())
    told = {**facts, "torch": torch.__version__, "processes": parallel.size(), "format": FORMAT}
    total.update(repr(sorted(told.items())).encode())
    for code in _sources():
        total.update(f"{code.name} {file_digest(code)}\n".encode())
    return total.hexdigest()[:16]


def _sources() -> list[Path]:
    """The files of all our modules that this process has loaded, the command itself included.

    Excepted are the one that shows progress, which changes nothing that passes through it, and
    those that were only imported to check their parameters.
    """
    ours = {__package__, "stages", "__main__"}
    names = sys.modules.keys() - config.ONLY_CHECKED
    loaded = [sys.modules[name] for name in names if name.partition(".")[0] in ours]
    files = {Path(getattr(module, "__file__", None) or "") for module in loaded}
    return sorted(file for file in files if file.suffix == ".py" and file.name != PRESENTATION)


def _state(part: Stateful | torch.Generator) -> Mapping[str, Any]:
    if isinstance(part, torch.Generator):
        return {"generator": part.get_state()}
    return part.state_dict()


def _load(part: Stateful | torch.Generator, state: dict[str, Any]) -> None:
    if isinstance(part, torch.Generator):
        part.set_state(state["generator"])
        return
    part.load_state_dict(state)
    if isinstance(part, Optimizer):
        # Fused Adam walks a weight and its averages side by side through memory, so they must
        # lie in it in the same order; files have all in the standard one.
        for weight, averages in part.state.items():
            for name, value in averages.items():
                if value.shape == weight.shape:
                    averages[name] = torch.empty_like(weight).copy_(value)


def _global_randomness() -> dict[str, torch.Tensor]:
    """The states of torch's global generators, which dropout uses."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_global_randomness(states: Mapping[str, torch.Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])
