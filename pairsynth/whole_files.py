"""Write files and folders atomically; know which stage makes each.

They are written under a temporary name beside their place, flushed to disk and renamed. Neither
torch nor Arrow is imported here, so that a command that refuses an argument starts fast.
"""

import csv
import ctypes
import errno
import glob
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from pairsynth.errors import InputError

MAKERS = {
    "pictures": "download",
    "embeddings": "embed",
    "encoder.pt": "embed",
    "gan.pt": "train_gan",
    "captioner.pt": "train_captioner",
    "gmm.npz": "fit_gmm",
    "synthetic": "synthesize",
}


def maker(path: Path) -> str:
    """The stage that makes `path` or the folder that contains it."""
    return MAKERS.get(path.name) or MAKERS.get(path.parent.name, "")


def remake(path: Path) -> str:
    """Advice on an artifact at `path` that cannot be used.

    A plain `dvc repro` may not help: DVC skips a file that matches dvc.lock even if it is unusable.
    """
    return f"remake it: dvc repro --force --single-item {maker(path)}"


def check_outputs(
    inputs: Sequence[Path] = (), files: Sequence[Path] = (), folders: Sequence[Path] = ()
) -> None:
    """Check before the work that the outputs can be written after it.

    A folder is replaced as a whole, so it must not hold files that are not ours.

    Raises:
        InputError: naming the path, for one that is given twice, is a folder instead of a
            file or the reverse, or cannot be written.
    """
    taken = {path.resolve() for path in inputs}
    for path in (*files, *folders):
        try:
            reason = _in_the_way(path, path in folders)
            temporary = _temporary(path) if not reason else None
            if temporary:
                temporary.touch()
                temporary.unlink()
        except FileExistsError:
            reason = f"{path.parent} is no folder"
        except OSError as error:
            reason = error.strerror or str(error)
        if not reason and path.resolve() in taken:
            reason = "this path is given twice"
        if reason:
            raise InputError(f"{path}: {reason}; give another path, or mend it")
        taken.add(path.resolve())


def _in_the_way(path: Path, folder: bool) -> str:
    """Why what stands at `path` must not be replaced; "" where it may."""
    if not path.name or not path.exists():
        return "" if path.name else "this is no name"
    if not folder:
        return "" if path.is_file() else "this is no plain file"
    if not path.is_dir():
        return os.strerror(errno.ENOTDIR)
    ours = not any(path.iterdir()) or any(
        any(path.glob(pattern)) for pattern in ("*-of-*.parquet", "data/*-of-*.parquet")
    )
    return "" if ours else "this folder holds other things"


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically.

    Raises:
        OSError: where the disk is full or the folder read-only; an older file then stands.
    """
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a flat mapping as JSON; floats are rounded to 6 digits, NaN is refused."""
    write_whole(path, as_json(rounded(values)).encode())


def as_json(values: Mapping[str, Any]) -> str:
    """The text of a JSON file; NaN is refused."""
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with floats rounded to 6 digits."""
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in values.items()}


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV with a header; floats have 6 significant digits, None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])
    write_whole(path, buffer.getvalue().encode())


def write_reports(path: Path, reports: Sequence[Any]) -> None:
    """Write dataclasses of one type as CSV, one row each."""
    names = [field.name for field in fields(reports[0])]
    write_csv(path, names, [[getattr(report, name) for name in names] for report in reports])


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that replaces `path` when the block ends without an error.

    Where the system can exchange two names at once (Linux), `path` is complete at every moment.
    Elsewhere the old folder is moved aside first; if killed at that moment, `path` is missing.
    """
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        if path.exists() and not _exchange(temporary, path):
            aside = temporary.with_suffix(".old.tmp")
            os.replace(path, aside)
            os.replace(temporary, path)
            shutil.rmtree(aside)
        elif not path.exists():
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two paths in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of linux/fs.h
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _temporary(path: Path) -> Path:
    """A temporary name beside `path`; leftovers of processes that are gone are deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        process = left.name.removeprefix(f".{path.name}.").split(".")[0]
        if process.isdecimal() and (int(process) == os.getpid() or not _is_running(int(process))):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
