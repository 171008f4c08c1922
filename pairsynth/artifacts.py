"""The files that stages exchange: schemas, Parquet shards, and digests of what made each."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pairsynth.errors import InputError, raise_if_out_of_memory
from pairsynth.image_files import encode
from pairsynth.whole_files import maker, remake, write_whole

FORMAT = 2
SPLITS = ("train", "val", "test")
ROWS_PER_GROUP = 256
BYTES_PER_SHARD = 256_000_000


def check_source(path: Path, made_from: Mapping[str, Any], **wanted: str) -> None:
    """Check that the artifact at `path`, made from the digests `made_from`, matches those `wanted`.

    Raises:
        InputError: naming the first digest that differs.
    """
    for name, digest in wanted.items():
        if not isinstance(made_from, Mapping) or made_from.get(name) != digest:
            raise InputError(f"{path} was made from another {name}; {remake(path)}")


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
IMAGES = pa.schema(
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
    """One row per image: its joint vector and psi of each caption, in the captions' order.

    source_digest: of image and captions, so that a reader can check that the vectors are theirs.
    """
    vector = pa.list_(pa.float32(), dimension)
    names = [("image_id", pa.string()), ("source_digest", pa.string())]
    return pa.schema([*names, ("image", vector), ("psi", pa.list_(vector))])


def write_image(path: Path, image: Image.Image) -> None:
    """Write an image as PNG."""
    write_whole(path, encode(image))


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
                part.rename(self.folder / shard_name(self.stem, i, len(self.parts)))

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
        self.writer = _parquet_writer(self.parts[-1], self.schema)

    def _close_part(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


def write_shard(
    path: Path,
    rows: Iterable[dict[str, Any]],
    schema: pa.Schema,
    told: Mapping[str, Any] | None = None,
) -> None:
    """Write all `rows` to the one file `path`, in bounded memory; no rows give an empty table.

    told: further metadata to store in the file.
    """
    stored = with_features(schema, {}, told)
    rest = iter(rows)
    with _parquet_writer(path, stored) as writer:
        while group := list(islice(rest, ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=stored))


def shard_name(stem: str, number: int, total: int) -> str:
    """The file name of shard `number` (from 0) of `total`."""
    return f"{stem}-{number:05}-of-{total:05}.parquet"


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    leaves = _leaves(schema)
    return pq.ParquetWriter(
        path,
        schema,
        compression={leaf: "none" if leaf == "image.bytes" else "zstd" for leaf in leaves},
        use_dictionary=[leaf for leaf in leaves if leaf in ("class_name", "split", "strategy")],
        write_page_index=True,
        write_page_checksum=True,
    )


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


def with_features(
    schema: pa.Schema, made_from: Mapping[str, str], told: Mapping[str, Any] | None = None
) -> pa.Schema:
    """Add the metadata by which Hugging Face `datasets` decodes the `image` column.

    Our own readers check the rest: the format, and the digests the rows are `made_from`; `told` is
    stored with it.
    """
    own = {"format": FORMAT, "made_from": dict(sorted(made_from.items()))}
    if told is not None:
        own["told"] = dict(told)
    return schema.with_metadata({"huggingface": _features_of(schema), "pairsynth": json.dumps(own)})


def _features_of(schema: pa.Schema) -> bytes:
    features = {column.name: _feature(column.type) for column in schema}
    return json.dumps({"info": {"features": features}}).encode()


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
    wanted = [folder / shard_name(stem, i, total) for i in range(total)]
    if found != wanted:
        odd = sorted({path.name for path in found} ^ {path.name for path in wanted})
        raise InputError(f"{folder}: shards do not match: {', '.join(odd)}; restore or remake them")
    return found


def read_shards(folder: Path, stem: str, columns: list[str] | None = None) -> pa.Table:
    """All rows of the shards of `stem`, checked page by page.

    Raises:
        InputError: naming the damaged file.
    """
    return pa.concat_tables(read_shard(path, columns) for path in shards(folder, stem))


def read_shard(path: Path, columns: list[str] | None = None) -> pa.Table:
    """All rows of one shard, checked page by page.

    Raises:
        InputError: where it is damaged.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _check_schema(path, file.schema_arrow, columns or [])
            table = file.read(columns=columns)
            table.validate(full=True)  # a damaged header can make words of other bytes
    except (OSError, ValueError, pa.ArrowException) as error:  # also of Arrow's own messages
        raise_if_out_of_memory(error)
        raise InputError(f"{path} is damaged ({error}); {remake(path.parent)}") from error
    return table


def made_from(table: pa.Table) -> dict[str, str]:
    """The digests, by name, of what the rows of `read_shards` were made from."""
    told: dict[str, str] = _own_metadata(table.schema.metadata).get("made_from", {})
    return told


def _own_metadata(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((metadata or {}).get(b"pairsynth", b"{}"))
    return found


def _check_schema(path: Path, schema: pa.Schema, columns: Sequence[str]) -> None:
    found = _own_metadata(schema.metadata).get("format")
    if found != FORMAT:
        raise InputError(
            f"{path} is of format {found}, this pairsynth reads {FORMAT}; {remake(path.parent)}"
        )
    # Names and types of columns have no checksum, but stand in the file twice.
    if schema.metadata.get(b"huggingface") != _features_of(schema):
        raise ValueError("its columns are not as they were written")
    if gone := sorted(set(columns) - set(schema.names)):
        raise ValueError(f"it has no column {', '.join(gone)}")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
