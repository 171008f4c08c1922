"""Read lists of captions as public data sets have them: JSON documents, and Flickr's lines.

COCO's `images` and `annotations`, Karpathy's `images` with `sentences`, any list of objects, an
object of captions by file; `name.jpg#0`, a tab, a caption. Tables are read by `metadata`.
"""

import functools
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from pairsynth.errors import InputError
from pairsynth.image_files import endings
from pairsynth.sources import metadata
from pairsynth.sources.metadata import Columns, Refuse, Row, decode_text, first, split_of
from pairsynth.sources.names import Names

ENDINGS = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".token")
# COCO's other documents, which are large and hold no captions.
WITHOUT_CAPTIONS = ("instances_", "person_keypoints_", "image_info_", "stuff_", "panoptic_")
PEEKED = 100  # rows that tell what a list is


@functools.cache
def _flickr() -> re.Pattern[str]:
    """name.jpg#0, a tab, a caption; name.jpg#zhc#0, a space; or no number, but an ending."""
    ending = "|".join(re.escape(one) for one in sorted(endings(), key=len, reverse=True))
    return re.compile(
        r"\s*(\S[^\t]*?)(?:#[a-z]+)?#\d+\s*\t(.*)"
        rf"|\s*(\S[^\t,;|]*?(?:{ending}))(?:(?:#[a-z]+)?#\d+)?[: ] *(\S.*)",
        re.IGNORECASE,
    )


def split_in_name(name: str) -> str | None:
    """The split that a path names, by a folder such as val2017, or by a word of the file's name.

    Such words are in train-0001 and in trainImages.
    """
    *folders, last = PurePosixPath(name).parts or ("",)
    told = [split_of_folder(one) for one in folders]
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", PurePosixPath(last).stem)
    told += map(split_of, words)
    return next(filter(None, told), None)


def split_of_folder(name: str) -> str | None:
    """The split that a folder's name means, maybe with a year as in train2017."""
    return split_of(re.sub(r"[\W_]*\d*$", "", name))


def splits_in_names(names: Sequence[str]) -> dict[str, str]:
    """Path -> split, if every path names one and they differ; else empty."""
    told = {name: split for name in names if (split := split_in_name(name))}
    return told if len(told) == len(names) and len(set(told.values())) > 1 else {}


@dataclass(frozen=True, kw_only=True)
class Peek:
    """What the first rows of a file contain.

    columns: all their columns. names_images: whether any row names an existing image.
    fault: why the file cannot be read; empty where it can.
    """

    columns: list[str]
    names_images: bool = False
    fault: str = ""

    def __str__(self) -> str:
        return self.fault or f"columns {', '.join(self.columns)[:200] or 'none'}"


def peek(root: Path, name: str, known: Names, columns: Columns) -> Peek:
    """Look at the first rows of the file `name` below `root`; known: the images of the folder."""
    there: dict[str, None] = {}
    below, names = str(PurePosixPath(name).parent), False
    if PurePosixPath(name).name.startswith(WITHOUT_CAPTIONS):
        return Peek(columns=[], fault="no captions, by COCO's names")
    try:
        for _, row in islice(rows(root, name, lambda _what, _why: None), PEEKED):
            there |= dict.fromkeys(row)
            file = columns.name_in(row)
            captioned = file is not None and bool(columns.of_captions(row))
            names = names or (captioned and known.find(file or "", below) is not None)
    except InputError as error:
        return Peek(columns=[], fault=str(error).partition(": ")[2][:200])
    return Peek(columns=list(there), names_images=names)


def rows(root: Path, name: str, refuse: Refuse) -> Iterator[tuple[str, Row]]:
    """(place, plain column name -> value) of each row of a list of captions.

    Raises:
        InputError: where the file as a whole cannot be read.
    """
    path = root / name
    ending = path.suffix.lower()
    if ending not in (".json", ".txt", ".token"):
        yield from metadata.rows(root, name, refuse)
        return
    try:
        text = decode_text(path.read_bytes())
        if ending == ".json":
            for place, row in _of_json(text, name, refuse):
                yield place, metadata.plain_row(row)
            return
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if _flickr().fullmatch(text.partition("\n")[0].rstrip("\r")):
        yield from _of_flickr(text, name, refuse)
    else:
        yield from metadata.rows(root, name, refuse)


def single(path: Path) -> Row:
    """The one object of a JSON file, as img2dataset writes it beside each image.

    Raises:
        OSError, ValueError, RecursionError: where it cannot be read or is none.
    """
    row = json.loads(decode_text(path.read_bytes()))
    if not isinstance(row, dict):
        raise ValueError("not a JSON object {...}")
    return metadata.plain_row(row)


def _of_flickr(text: str, name: str, refuse: Refuse) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(text.rstrip().split("\n"), start=1):
        found = _flickr().fullmatch(line.rstrip("\r"))
        if found:
            file, caption = found[1] or found[3], found[2] if found[1] else found[4]
            yield f"line {number}", {"file_name": file, "caption": caption}
        else:
            refuse(f"{name} line {number}", "not of the form name.jpg#0, a tab, and a caption")


def _of_json(text: str, name: str, refuse: Refuse) -> Iterator[tuple[str, Row]]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
        yield from metadata.json_lines(text, name, refuse)  # under another ending
        return
    if not isinstance(document, dict):
        yield from _of_list(document, "entry", None, name, refuse)
        return
    if table := _of_columns(document):
        yield from ((f"row {number}", row) for number, row in enumerate(table, start=1))
        return
    images, notes = document.get("images"), document.get("annotations")
    if isinstance(images, list) and isinstance(notes, list):
        yield from _of_coco(images, notes, name, refuse)
        return
    lists = {key: value for key, value in document.items() if _holds_objects(value)}
    by_split = {key: value for key, value in lists.items() if split_of(key)}
    main = next((one for one in ("images", "annotations", "data") if one in lists), None)
    if by_split:
        for key, entries in by_split.items():
            yield from _of_list(entries, f"{key} entry", key, name, refuse)
    elif main:
        yield from _of_list(lists[main], "entry", None, name, refuse)
    elif _is_row(metadata.plain_row(document)):
        yield "object", document
    elif lists:
        for key, entries in lists.items():
            yield from _of_list(entries, f"{key} entry"[:80], None, name, refuse)
    else:
        yield from _by_name(document)


def _is_row(row: Row) -> bool:
    """Whether an object is about one image: it has texts for its file and for a caption."""
    told = (first(row, metadata.FILE_KEYS), first(row, metadata.CAPTION_KEYS))
    return all(isinstance(one, str) for one in told)


def _holds_objects(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, dict) for one in value)


def _of_list(
    entries: Any, word: str, split: str | None, name: str, refuse: Refuse
) -> Iterator[tuple[str, Row]]:
    """Rows of a list of objects (Karpathy's too), or of pairs of a file and its captions."""
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        if isinstance(entry, dict):
            yield f"{word} {number}", {**({"split": split} if split else {}), **_joined(entry)}
        elif isinstance(entry, list) and len(entry) > 1 and isinstance(entry[0], str):
            yield f"{word} {number}", {"file_name": entry[0], "captions": entry[1:]}
        else:
            refuse(f"{name} {word} {number}", "not a JSON object {...}")


def _of_columns(document: dict[str, Any]) -> list[Row]:
    """The rows of an object of columns, as pandas writes it (SBU's too); else none.

    A column is a list, or an object by row; that of files may be called in the plural.
    """
    columns = {}
    for key, value in metadata.plain_row(document).items():
        if isinstance(value, list | dict):
            name = key.removesuffix("s") if key.removesuffix("s") in metadata.FILE_KEYS else key
            columns[name] = list(value.values() if isinstance(value, dict) else value)
    files = columns.get(metadata.chosen(columns, metadata.FILE_KEYS) or "", [])
    known = {key: cells for key, cells in columns.items() if len(cells) == len(files)}
    told = metadata.chosen(known, metadata.CAPTION_KEYS)
    if told is None or not all(isinstance(one, str | int) for one in files):
        return []
    return [dict(zip(known, cells, strict=True)) for cells in zip(*known.values(), strict=True)]


def _joined(row: Row) -> Row:
    """Karpathy's `filepath` is the folder in which `filename` is; LLaVA's `gpt` says a caption."""
    turns = row.get("conversations")
    if isinstance(turns, list):
        said = [turn for turn in turns if isinstance(turn, dict) and turn.get("from") == "gpt"]
        return {**row, "caption": said[0].get("value") if said else None}
    name, below = row.get("filename"), row.get("filepath")
    if not (isinstance(name, str) and isinstance(below, str)):
        return row
    return {**row, "filename": f"{below}/{name}"}


def _of_coco(
    images: list[Any], notes: list[Any], name: str, refuse: Refuse
) -> Iterator[tuple[str, Row]]:
    known = {str(one.get("id")) for one in images if isinstance(one, dict)}
    said: dict[str, list[Any]] = defaultdict(list)
    for number, note in enumerate(notes, start=1):
        if not isinstance(note, dict) or str(note.get("image_id")) not in known:
            refuse(f"{name} annotation {number}", "of no image (its image_id is none of theirs)")
        elif first(note, metadata.CAPTION_KEYS) is None:
            refuse(f"{name} annotation {number}", f"no caption; it has {', '.join(note)[:99]}")
        else:
            said[str(note["image_id"])].append(first(note, metadata.CAPTION_KEYS))
    for number, image in enumerate(images, start=1):
        if isinstance(image, dict) and image.get("id") is not None:
            captions = said.pop(str(image["id"]), [])
            yield f"image {image['id']!r}"[:80], {**image, "caption": captions}
        else:
            refuse(f"{name} image {number}", "not a JSON object {...} with an id")


def _by_name(document: dict[str, Any]) -> Iterator[tuple[str, Row]]:
    """Rows of an object that maps files to a caption, captions, or an object with them."""
    for name, value in document.items():
        row = value if isinstance(value, dict) else {"captions": value}
        if metadata.chosen(metadata.plain_row(row), metadata.FILE_KEYS) is None:
            row = {"file_name": name, **row}
        yield f"entry {name[:80]!r}", row
