"""Everything that lies between stages: schemas, Parquet shards, checkpoints, whole files only.

A file or folder appears under its name complete or not at all: it is written beside its place
under a temporary name, flushed to the disk and renamed.
"""

import csv
import ctypes
import errno
import glob
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pairsynth.errors import InputError, raise_if_out_of_memory
from pairsynth.images import encode

FORMAT = 2
SPLITS = ("train", "val", "test")
ROWS_PER_GROUP = 256
BYTES_PER_SHARD = 256_000_000

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
    """The stage that makes what stands at `path`."""
    return MAKERS.get(path.name, "")


def remake(path: Path) -> str:
    """What to do about the artifact at `path` where it cannot be used.

    DVC takes a file for unchanged that is as dvc.lock tells, whatever is wrong with it.
    """
    return f"remake it: dvc repro --force --single-item {maker(path)}"


def check_source(path: Path, made_from: Mapping[str, Any], **wanted: str) -> None:
    """Check that the artifact at `path`, `made_from` these digests by name, is of those `wanted`.

    Raises:
        InputError: naming the first that is another.
    """
    for name, digest in wanted.items():
        if not isinstance(made_from, Mapping) or made_from.get(name) != digest:
            raise InputError(f"{path} was made from another {name}; {remake(path)}")


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
PICTURES = pa.schema(
    [
        ("image_id", pa.string()),
        ("class_id", pa.int32()),
        ("class_name", pa.string()),
        ("split", pa.string()),
        ("image", IMAGE),
        ("captions", pa.list_(pa.string())),
        ("attributes", pa.string()),
    ]
)


def embeddings_schema(dimension: int) -> pa.Schema:
    """One row a picture: its joint vector and psi of each caption, in the captions' order.

    source_digest: of picture and captions, by which a reader knows that vectors are theirs.
    """
    vector = pa.list_(pa.float32(), dimension)
    names = [("image_id", pa.string()), ("source_digest", pa.string())]
    return pa.schema([*names, ("image", vector), ("psi", pa.list_(vector))])


# ---------------------------------------------------------------- whole files and folders


def check_outputs(
    inputs: Sequence[Path] = (), files: Sequence[Path] = (), folders: Sequence[Path] = ()
) -> None:
    """Refuse, before the work, outputs that could not be written after it.

    A folder is replaced as a whole, so it must not hold what is not ours.

    Raises:
        InputError: naming the path, for one that is given twice, is of the other kind or cannot
            be written.
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
    """What stands at `path` and is not to be replaced; "" where nothing does."""
    if not path.name or not path.exists():
        return "" if path.name else "this is no name"
    if not folder:
        return "" if path.is_file() else "this is no plain file"
    if not path.is_dir():
        return os.strerror(errno.ENOTDIR)
    ours = not any(path.iterdir()) or any(path.glob("*-of-*.parquet"))
    return "" if ours else "this folder holds other things"


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all.

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
    write_whole(path, (json.dumps(rounded(values), indent=2, allow_nan=False) + "\n").encode())


def rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with floats of 6 digits."""
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in values.items()}


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV under a header; floats with 6 significant digits, None as nothing."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])
    write_whole(path, buffer.getvalue().encode())


def write_reports(path: Path, reports: Sequence[Any]) -> None:
    """Write dataclasses of one kind as CSV, a row each."""
    names = [field.name for field in fields(reports[0])]
    write_csv(path, names, [[getattr(report, name) for name in names] for report in reports])


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a picture as PNG."""
    write_whole(path, encode(picture))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `path` when the block ends without an error.

    Where the system can exchange two names at once (Linux), `path` is whole at every moment.
    Elsewhere the old folder is put aside first: killed just then, `path` is missing.
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
    """Let two paths change places in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of linux/fs.h
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _temporary(path: Path) -> Path:
    """A name beside `path` that is this process's own; those of processes that are gone go."""
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


# ---------------------------------------------------------------- Parquet shards


class ShardWriter:
    """Writes rows to `folder/stem-00000-of-00003.parquet` and so on, in bounded memory.

    made_from: digests, by name, of what the rows are made from.
    """

    def __init__(
        self, folder: Path, stem: str, schema: pa.Schema, made_from: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.stem = folder, stem
        self.schema = with_features(schema, made_from or {})
        self.rows: list[dict[str, Any]] = []
        self.parts: list[Path] = []
        self.writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._write_group()
        self._close_part()
        if kind is None:
            for i, part in enumerate(self.parts):
                part.rename(self.folder / f"{self.stem}-{i:05}-of-{len(self.parts):05}.parquet")

    def write(self, row: dict[str, Any]) -> None:
        """Add one row."""
        self.rows.append(row)
        if len(self.rows) == ROWS_PER_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        if self.writer is None:
            self._open_part()
        assert self.writer is not None
        if self.rows:
            self.writer.write_table(pa.Table.from_pylist(self.rows, schema=self.schema))
        self.rows = []
        if self.parts[-1].stat().st_size > BYTES_PER_SHARD:
            self._close_part()

    def _open_part(self) -> None:
        self.parts.append(self.folder / f"{self.stem}-{len(self.parts):05}.parquet")
        stored = {path for path in _leaves(self.schema) if path != "image.bytes"}
        self.writer = pq.ParquetWriter(
            self.parts[-1],
            self.schema,
            compression={
                path: "zstd" if path in stored else "none" for path in _leaves(self.schema)
            },
            use_dictionary=[p for p in stored if p in ("class_name", "split", "strategy")],
            write_page_index=True,
            write_page_checksum=True,
        )

    def _close_part(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


def _leaves(schema: pa.Schema) -> list[str]:
    """Column paths as Parquet names them, in order."""
    return list(_paths(schema))


def _paths(schema: pa.Schema) -> Iterator[str]:
    def walk(name: str, kind: pa.DataType) -> Iterator[str]:
        if pa.types.is_struct(kind):
            for child in kind:
                yield from walk(f"{name}.{child.name}", child.type)
        elif pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
            yield from walk(f"{name}.list.element", kind.value_type)
        else:
            yield name

    for column in schema:
        yield from walk(column.name, column.type)


def with_features(schema: pa.Schema, made_from: Mapping[str, str]) -> pa.Schema:
    """Add the metadata by which Hugging Face `datasets` sees pictures in the `image` column.

    Besides, what a reader of ours checks: the format, and what the rows are `made_from`.
    """
    features = {column.name: _feature(column.type) for column in schema}
    info = json.dumps({"info": {"features": features}})
    own = json.dumps({"format": FORMAT, "made_from": dict(sorted(made_from.items()))})
    return schema.with_metadata({"huggingface": info, "pairsynth": own})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "Sequence"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    names = {pa.float32(): "float32", pa.float64(): "float64"}
    return {"dtype": names.get(kind, str(kind)), "_type": "Value"}


def shards(folder: Path, stem: str) -> list[Path]:
    """The shards of `stem` in order, none missing.

    Raises:
        InputError: naming what is missing and the stage that makes it.
    """
    found = sorted(folder.glob(f"{stem}-*-of-*.parquet"))
    if not found:
        raise InputError(f"{folder}/{stem}-*.parquet is missing; run: dvc repro {maker(folder)}")
    total = int(found[0].stem.rsplit("-", 1)[1])
    wanted = [folder / f"{stem}-{i:05}-of-{total:05}.parquet" for i in range(total)]
    if found != wanted:
        odd = sorted({path.name for path in found} ^ {path.name for path in wanted})
        raise InputError(f"{folder}: shards do not match: {', '.join(odd)}; restore or remake them")
    return found


def read_shards(folder: Path, stem: str, columns: list[str] | None = None) -> pa.Table:
    """All rows of the shards of `stem`, checked page by page.

    Raises:
        InputError: naming the damaged file.
    """
    tables = []
    for path in shards(folder, stem):
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                _check_format(path, file.schema_arrow.metadata or {})
                tables.append(file.read(columns=columns))
                tables[-1].validate(full=True)  # a damaged header can make words of other bytes
        except (OSError, ValueError, pa.ArrowException) as error:  # also of Arrow's own messages
            raise_if_out_of_memory(error)
            raise InputError(f"{path} is damaged ({error}); {remake(folder)}") from error
    return pa.concat_tables(tables)


def made_from(table: pa.Table) -> dict[str, str]:
    """The digests, by name, of what the rows of `read_shards` were made from."""
    told: dict[str, str] = _own_metadata(table.schema.metadata).get("made_from", {})
    return told


def _own_metadata(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((metadata or {}).get(b"pairsynth", b"{}"))
    return found


def _check_format(path: Path, metadata: Mapping[bytes, bytes]) -> None:
    found = _own_metadata(metadata).get("format")
    if found != FORMAT:
        raise InputError(
            f"{path} is of format {found}, this pairsynth reads {FORMAT}; {remake(path.parent)}"
        )


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
