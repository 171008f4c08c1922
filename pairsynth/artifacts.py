"""Everything that lies between stages: schemas, Parquet shards, checkpoints, whole files only.

A file or folder appears under its name complete or not at all: it is written beside its place
under a temporary name, flushed to the disk and renamed.
"""

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from pairsynth.errors import InputError
from pairsynth.images import decode, encode, to_tensor

FORMAT = 1
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
    """One row a picture: its joint vector and psi of each caption, in the captions' order."""
    vector = pa.list_(pa.float32(), dimension)
    return pa.schema([("image_id", pa.string()), ("image", vector), ("psi", pa.list_(vector))])


# ---------------------------------------------------------------- whole files and folders


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all.

    Raises:
        OSError: where the disk is full or the folder read-only; an older file then stands.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
    rounded = {k: round(v, 6) if isinstance(v, float) else v for k, v in values.items()}
    write_whole(path, (json.dumps(rounded, indent=2, allow_nan=False) + "\n").encode())


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
    """A folder to fill, which takes the place of `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


# ---------------------------------------------------------------- Parquet shards


class ShardWriter:
    """Writes rows to `folder/stem-00000-of-00003.parquet` and so on, in bounded memory."""

    def __init__(self, folder: Path, stem: str, schema: pa.Schema) -> None:
        self.folder, self.stem, self.schema = folder, stem, with_features(schema)
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


def with_features(schema: pa.Schema) -> pa.Schema:
    """Add the metadata by which Hugging Face `datasets` sees pictures in the `image` column."""
    features = {column.name: _feature(column.type) for column in schema}
    info = json.dumps({"info": {"features": features}})
    return schema.with_metadata({"huggingface": info, "pairsynth": json.dumps({"format": FORMAT})})


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
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{path} is damaged ({error}); remake it: dvc repro --force {maker(folder)}"
            ) from error
    return pa.concat_tables(tables)


def _check_format(path: Path, metadata: Mapping[bytes, bytes]) -> None:
    found = json.loads(metadata.get(b"pairsynth", b"{}")).get("format")
    if found != FORMAT:
        raise InputError(
            f"{path} is of format {found}, this pairsynth reads {FORMAT}; "
            f"remake it: dvc repro --force {maker(path.parent)}"
        )


# ---------------------------------------------------------------- pictures and embeddings


@dataclass(frozen=True)
class Pictures:
    """The captioned pictures of one split, in memory.

    pixels: uint8 (N, 3, S, S). class_ids: int64 (N). captions: one list a picture.
    attributes: what the garden drew, one mapping a picture; None elsewhere.
    """

    ids: list[str]
    class_ids: Tensor
    class_names: list[str]
    pixels: Tensor
    captions: list[list[str]]
    attributes: list[dict[str, str]] | None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def first_caption(self) -> Tensor:
        """int64 (N + 1): captions of picture i are rows first[i] to first[i + 1] when flattened."""
        counts = torch.tensor([len(captions) for captions in self.captions])
        return torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])

    @cached_property
    def flat_captions(self) -> list[str]:
        """All captions, picture by picture."""
        return [caption for captions in self.captions for caption in captions]

    @property
    def digest(self) -> str:
        """A fingerprint of which pictures and captions these are."""
        lines = (f"{i}\t{'|'.join(c)}" for i, c in zip(self.ids, self.captions, strict=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def read_pictures(folder: Path, split: str) -> Pictures:
    """Read one split of data/pictures."""
    table = read_shards(folder, split).to_pydict()
    pixels = torch.stack([to_tensor(decode(image["bytes"])) for image in table["image"]])
    attributes = [json.loads(row) for row in table["attributes"] if row is not None]
    return Pictures(
        table["image_id"],
        torch.tensor(table["class_id"], dtype=torch.long),
        table["class_name"],
        pixels,
        table["captions"],
        attributes if len(attributes) == len(pixels) else None,
    )


@dataclass(frozen=True)
class Embeddings:
    """Vectors of one split: image (N, D), psi (captions, D), both float32 of unit length."""

    image: Tensor
    psi: Tensor


def read_embeddings(folder: Path, split: str, pictures: Pictures) -> Embeddings:
    """Read one split of data/embeddings, matched to `pictures` by image id.

    Raises:
        InputError: where ids or the number of captions do not match.
    """
    table = read_shards(folder, split)
    if table["image_id"].to_pylist() != pictures.ids:
        raise InputError(f"{folder}: {split} is of other pictures; run: dvc repro embed")
    image = table["image"].combine_chunks()
    psi = table["psi"].combine_chunks().flatten()
    if len(psi) != int(pictures.first_caption[-1]):
        raise InputError(f"{folder}: {split} is of other captions; run: dvc repro embed")
    return Embeddings(_vectors(image), _vectors(psi))


def _vectors(column: pa.FixedSizeListArray) -> Tensor:
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(np.array(flat).reshape(len(column), -1))


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
