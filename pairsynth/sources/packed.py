"""Images inside other files: WebDataset's tars, and Parquet with the bytes in a column.

Captions and other values are read at once, the bytes of images one at a time when needed.
"""

import functools
import json
import tarfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairsynth.errors import raise_if_out_of_memory
from pairsynth.sources import metadata
from pairsynth.sources.archives import is_plain, members_in_place
from pairsynth.sources.metadata import (
    CAPTION_KEYS,
    CLASS_KEYS,
    FILE_KEYS,
    SPLIT_KEYS,
    Columns,
    Refuse,
    Row,
    column,
    decode_text,
)

LARGEST, LONGEST = 256 << 20, 1 << 20  # bytes of an image, of a text in a tar
TEXTS = (".txt", ".caption", ".captions", ".text")
IMAGE_KEYS = (*FILE_KEYS, "jpg", "jpeg", "png", "webp", "photo")
ID_KEYS = ("image_id", "pair_id", "cocoid", "imgid", "img_id")
BATCH = 32  # images of a Parquet file that are held at a time
DAMAGE = (OSError, ValueError, pa.ArrowException)


@dataclass(frozen=True, kw_only=True)
class Packed:
    """One image inside a file.

    name: unique in the folder. image_id: its id in the row, maybe not unique. place: its path
    inside the file, whose folders may name its class. where: its row, for refusals.
    read: returns its bytes; raises ValueError with the reason where it cannot.
    """

    name: str
    image_id: str
    place: str
    where: str
    row: Row
    read: Callable[[], bytes]


def images(
    root: Path, name: str, columns: Columns, endings: Collection[str], refuse: Refuse
) -> Iterator[Packed]:
    """The images in the file `name` below `root`, in order. endings: of images inside a tar.

    Damaged parts are refused, and the rest is read.

    Raises:
        InputError: where a column that the user named is missing.
    """
    if name.lower().endswith(".parquet"):
        yield from _of_parquet(root, name, columns, refuse)
    else:
        yield from _of_tar(root, name, columns, endings, refuse)


# ---------------------------------------------------------------- Parquet


def is_refused_pairs(schema: pa.Schema) -> bool:
    """Whether it is a file of refused candidates written by `synthesize`."""
    return b"pairsynth" in (schema.metadata or {}) and {"pair_id", "reason"} <= set(schema.names)


def image_column(schema: pa.Schema) -> str | None:
    """The column with bytes of images: Hugging Face's {bytes, path}, or plain bytes."""
    structs = [
        one.name
        for one in schema
        if pa.types.is_struct(one.type) and one.type.get_field_index("bytes") >= 0
    ]
    plain = [
        one.name
        for one in schema
        if pa.types.is_binary(one.type) or pa.types.is_large_binary(one.type)
    ]
    for names in (structs, plain):
        by_name = {column(name): name for name in names}
        if names:
            return str(next((by_name[key] for key in IMAGE_KEYS if key in by_name), names[0]))
    return None


class _Bytes:
    """Reads cells of one column of a Parquet file, with a few rows in memory at a time.

    It is fast for rows in order; an earlier row restarts from the beginning.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.group = -1
        self.batches: Iterator[pa.RecordBatch] = iter(())
        self.start = self.end = 0
        self.cells: pa.Array | None = None
        self.fault = ""

    def read(self, group: int, row: int) -> bytes:
        """The bytes in row `row` of row group `group`."""
        if group != self.group or row < self.start:
            self.group, self.start, self.end, self.fault = group, 0, 0, ""
            self.batches = self._batches(group)
        try:
            while row >= self.end and not self.fault:
                batch = next(self.batches, None)
                if batch is None:
                    raise ValueError("the column ends before its row group does")
                self.cells = batch.column(0)
                self.start, self.end = self.end, self.end + len(self.cells)
        except DAMAGE as error:
            raise_if_out_of_memory(error)
            self.fault, self.start = f"the Parquet file is damaged here: {error}", 0
        if self.fault or self.cells is None:
            raise ValueError(self.fault)
        cell = self.cells[row - self.start].as_py()
        if isinstance(cell, dict):
            if cell["bytes"] is None and cell.get("path"):
                raise ValueError(f"no bytes inside, the path {cell['path'][:200]!r} alone")
            cell = cell["bytes"]
        return cell or b""

    def _batches(self, group: int) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self.path, page_checksum_verification=True, memory_map=True) as file:
            yield from file.iter_batches(BATCH, row_groups=[group], columns=[self.name])


def _of_parquet(root: Path, name: str, columns: Columns, refuse: Refuse) -> Iterator[Packed]:
    path = root / name
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except DAMAGE as error:
        raise_if_out_of_memory(error)
        refuse(name, f"cannot be read: {error}")
        return
    with file:
        schema = file.schema_arrow
        columns.check(str(path), map(column, schema.names))
        named = {column(one): one for one in schema.names}
        wanted = named[column(columns.image)] if columns.image else image_column(schema) or ""
        told = [one for one in schema.names if one != wanted and _tells(column(one), columns)]
        if not columns.of_captions(dict.fromkeys(map(column, told), "?")):
            looked, there = ", ".join(columns.captions), ", ".join(schema.names)[:300]
            refuse(name, f"no column of captions (looked for: {looked}; there are: {there})")
            return
        cells, number = _Bytes(path, wanted), 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            for i, row in _rows(file, group, told, name, number + 1, refuse):
                read = functools.partial(cells.read, group, i)
                where, own = f"{name} row {number + i + 1}", f"{name}:{number + i + 1}"
                image_id = metadata.first(row, ID_KEYS)
                yield Packed(
                    name=own,
                    image_id=str(image_id or ""),
                    place="",
                    where=where,
                    row=row,
                    read=read,
                )
            number += count


def _tells(name: str, columns: Columns) -> bool:
    known = {*ID_KEYS, *CLASS_KEYS, *SPLIT_KEYS, *columns.captions}
    return name in known or bool(columns.of_captions({name: "?"}))


def _rows(
    file: pq.ParquetFile, group: int, told: list[str], name: str, start: int, refuse: Refuse
) -> Iterator[tuple[int, Row]]:
    """(place, row) of one row group without its images, class numbers replaced by names.

    start: number of its first row.
    """
    place = 0
    classes = _class_names(file.schema_arrow)
    batches = file.iter_batches(1024, row_groups=[group], columns=told)
    while True:
        try:
            batch = next(batches, None)
            if batch is None and place < file.metadata.row_group(group).num_rows:
                raise ValueError("a column ends before its row group does")
        except DAMAGE as error:
            raise_if_out_of_memory(error)
            where = f"{name} row {start + place}"
            refuse(where, f"from here to the end of its row group the file is damaged: {error}")
            return
        if batch is None:
            return
        for i, row in metadata.batch_rows(batch, name, start + place, refuse):
            for key, names in classes.items():
                if isinstance(row.get(key), int) and 0 <= row[key] < len(names):
                    row[key] = names[row[key]]
            yield place + i, metadata.plain_row(row)
        place += len(batch)


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Column -> class names by number, as the library `datasets` stores them in its files."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told.get("info", {}).get("features", {})
        found = {key: one.get("names") for key, one in features.items() if isinstance(one, dict)}
    except (ValueError, AttributeError, RecursionError):
        return {}
    return {
        key: names
        for key, names in found.items()
        if isinstance(names, list) and all(isinstance(one, str) for one in names)
    }


# ---------------------------------------------------------------- tars


def _of_tar(
    root: Path, name: str, columns: Columns, endings: Collection[str], refuse: Refuse
) -> Iterator[Packed]:
    """The images of a tar; members with the same key (path up to the first dot) are one sample."""
    path = root / name
    samples = _samples(path, name, refuse)
    shown = {"." + columns.image} if columns.image else endings
    there: dict[str, None] = {}
    found = []
    for key, members in samples.items():
        where = f"{name}/{key[:200]}"
        there |= dict.fromkeys(ending[1:] for ending in members)
        own = [one for one in members if one in shown]
        own = own or [one for one in members if "." + one.rpartition(".")[2] in shown]
        if len(own) != 1 and not columns.image:
            refuse(where, f"{len(own)} images of this key; members: {', '.join(members)[:200]}")
            continue
        row = _told(path, members, where, columns, refuse)
        there |= dict.fromkeys(row)
        if own:
            read = functools.partial(_read, path, members[own[0]])
            found.append(
                (
                    members[own[0]][0],
                    Packed(
                        name=f"{name}/{key}",
                        image_id="",
                        place=key,
                        where=where,
                        row=row,
                        read=read,
                    ),
                )
            )
    if samples:
        columns.check(str(path), map(column, there))
    for _, one in sorted(found, key=lambda pair: pair[0]):  # as they lie, for the disk's sake
        yield one


_Place = tuple[int, int]  # where the bytes of a member begin, how many they are


def _samples(path: Path, name: str, refuse: Refuse) -> dict[str, dict[str, _Place]]:
    """Key -> ending -> place, of every plain file in the tar."""
    samples: dict[str, dict[str, _Place]] = {}
    try:
        with path.open("rb") as file:
            for member in members_in_place(file, path.stat().st_size):
                if member.isdir():
                    continue
                fault = _fault(member)
                where = f"{name}/{member.name[:200]}"
                folder, _, last = member.name.removeprefix("./").rpartition("/")
                key, point, ending = last.partition(".")
                kinds = samples.setdefault(f"{folder}/{key}" if folder else key, {})
                if fault or point + ending.lower() in kinds:
                    refuse(where, fault or "a second member of the same name")
                elif key:  # else a hidden file
                    kinds[point + ending.lower()] = (member.offset_data, member.size)
    except (OSError, ValueError) as error:
        refuse(name, f"{error}; it is read as far as it goes")
    return {key: kinds for key, kinds in samples.items() if kinds}


def _fault(member: tarfile.TarInfo) -> str:
    path = PurePosixPath(member.name)
    if not is_plain(member):
        return "a link, a device or a sparse file, not a plain one"
    if path.is_absolute() or ".." in path.parts or not member.name.isprintable():
        return "a name that leads out of the archive, or has control characters"
    return f"{member.size:,} bytes, more than {LARGEST:,}" if member.size > LARGEST else ""


def _read(path: Path, place: _Place) -> bytes:
    with path.open("rb") as file:
        file.seek(place[0])
        data = file.read(place[1])
    if len(data) < place[1]:
        raise ValueError("cut short: the archive ends before it does")
    return data


def _told(
    path: Path, members: dict[str, _Place], where: str, columns: Columns, refuse: Refuse
) -> Row:
    """The values from the texts and the JSON of one key; texts go before JSON captions."""
    row: dict[str, Any] = {}
    for ending, place in members.items():
        kind = "." + ending.rpartition(".")[2]
        if kind not in (*TEXTS, ".json", ".cls"):
            continue
        try:
            if place[1] > LONGEST:
                raise ValueError(f"{place[1]:,} bytes of text, more than {LONGEST:,}")
            text = decode_text(_read(path, place)).strip()
            if kind == ".json":
                told = json.loads(text)
                told = told if isinstance(told, dict) else {"captions": told}
                row = {**metadata.plain_row(told), **row}
            elif kind == ".cls":
                row["class"] = text
            elif text:
                lines = text.replace("\r\n", "\n").split("\n")
                row["txt"] = [*dict.fromkeys([*row.get("txt", []), *lines])]
        except (OSError, ValueError, RecursionError) as error:
            refuse(f"{where}{ending}", f"cannot be read: {error}")
    if "txt" in row and not columns.caption:
        row = {key: value for key, value in row.items() if key == "txt" or key not in CAPTION_KEYS}
    return row
