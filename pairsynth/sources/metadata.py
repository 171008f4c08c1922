"""Tables of captions as people have them: which file, which columns, what stands in a cell.

One bad row costs that row: it is refused with its file and line, and the rest is read.
"""

import ast
import csv
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairsynth.errors import InputError
from pairsynth.text import tokenize

# In the order of preference.
NAMES = tuple(f"{name}.{end}" for name in ("metadata", "captions") for end in
              ("jsonl", "csv", "tsv", "parquet"))  # fmt: skip
FILE_KEYS = (
    *("file_name", "filename", "file", "image", "image_name", "image_path", "image_file"),
    *("file_path", "filepath", "path", "img", "picture"),
)
CAPTION_KEYS = (
    *("caption", "captions", "text", "prompt", "description", "sentence", "sentences"),
    "raw",
)
CLASS_KEYS = ("class", "label", "class_name", "category")
SPLIT_KEYS = ("split", "subset", "partition", "set")
SPELLINGS = {
    **dict.fromkeys(("train", "training", "trainset", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "tst"), "test"),
}
SEPARATORS = ",;\t|"
LONGEST = 10_000  # letters of a caption

Refuse = Callable[[str, str], None]
Row = dict[str, Any]


def caption_of(text: str) -> tuple[str, str | None]:
    """A caption with single spaces instead of line breaks and the like, and what is wrong with it.

    The second is None where it can be used.
    """
    caption = " ".join(unicodedata.normalize("NFC", text).split(" "))
    caption = re.sub(r"[ \t\r\n]+", " ", caption).strip()
    if not caption:
        return caption, "empty caption"
    if len(caption) > LONGEST:
        return caption, f"the caption has {len(caption):,} letters, more than {LONGEST:,}"
    for letter in caption:
        if unicodedata.category(letter) in ("Cc", "Cs"):
            return caption, f"control character U+{ord(letter):04X} in the caption"
    if not any(letter.isalpha() for letter in caption) or not set(tokenize(caption)) - {","}:
        return caption, f"no word in the caption {caption[:40]!r}"
    return caption, None


def split_of(value: str) -> str | None:
    """train, val or test, however it is spelt; None for any other word."""
    return SPELLINGS.get(value.strip().lower())


def first(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """What stands under the first of `keys` that has something."""
    return next((row[key] for key in keys if row.get(key) not in (None, "")), None)


def captions_in(row: Row) -> list[Any]:
    """What stands in the column of captions, or in the numbered ones: of any type, maybe none.

    A cell that holds a list as JSON or Python writes it is that list.
    """
    given = first(row, CAPTION_KEYS)
    if given is None:
        words = "|".join(CAPTION_KEYS)
        numbered = [key for key in row if re.fullmatch(rf"(?:{words})_?\d+", key)]
        return [row[key] for key in numbered if row[key] not in (None, "")]
    if isinstance(given, str) and given.strip().startswith("[") and given.strip().endswith("]"):
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(given)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            if isinstance(found, list) and all(isinstance(one, str) for one in found):
                return found
    return list(given) if isinstance(given, list | tuple) else [given]


class Names:
    """The pictures of a folder by the names that people give them in a table."""

    def __init__(self, root: Path, pictures: Sequence[str]) -> None:
        self.root = root.resolve()
        self.exact = {_plain(name): name for name in pictures}
        self.folded: dict[str, set[str]] = {}
        self.bare: dict[str, set[str]] = {}
        for name in pictures:
            self.folded.setdefault(_plain(name).casefold(), set()).add(name)
            self.bare.setdefault(PurePosixPath(_plain(name)).name, set()).add(name)

    def find(self, given: str, below: str) -> str | None:
        r"""The picture called `given` in a table of the subfolder `below`; None where none is.

        NFC and NFD are one, so are `\` and `/`, spaces at the ends do not count, an absolute path
        may lead into the folder, letters may differ in case where only one picture fits, and so
        may the folder be left out.
        """
        name = _plain(given)
        if name.startswith("/"):
            here = _plain(str(self.root)) + "/"
            places = [name.removeprefix(here)] if name.startswith(here) else []
        else:
            places = [_plain(str(PurePosixPath(below, name))), name]
        for place in places:
            if place in self.exact:
                return self.exact[place]
            fits = self.folded.get(place.casefold(), set())
            if len(fits) == 1:
                return next(iter(fits))
        fits = self.bare.get(name, set())
        return next(iter(fits)) if len(fits) == 1 else None


def _plain(name: str) -> str:
    name = unicodedata.normalize("NFC", name).strip().replace("\\", "/")
    return str(PurePosixPath(name))


def rows(root: Path, table: str, refuse: Refuse) -> Iterator[tuple[str, Row]]:
    """(line or row, its values by the column's plain name) of a table below `root`.

    Raises:
        InputError: where the file as a whole cannot be read.
    """
    path = root / table
    try:
        if path.suffix == ".parquet":
            found: Iterator[tuple[str, Any]] = (
                (f"row {i}", row)
                for i, row in enumerate(
                    pq.read_table(path, page_checksum_verification=True).to_pylist(), start=1
                )
            )
        else:
            text = decode_text(path.read_bytes())
            found = (_jsonl if path.suffix == ".jsonl" else _csv)(text, table, refuse)
        for place, row in found:
            yield place, {_column(key): value for key, value in row.items()}
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _column(name: object) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


def decode_text(data: bytes) -> str:
    """UTF-8 with or without a byte order mark; ValueError names the byte."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start}); save it as UTF-8") from error


def _jsonl(text: str, table: str, refuse: Refuse) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(text.rstrip().split("\n"), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            refuse(f"{table} line {number}", f"not JSON: {error}")
            continue
        if isinstance(row, dict):
            yield f"line {number}", row
        else:
            refuse(f"{table} line {number}", "not a JSON object {...}")


def _csv(text: str, table: str, refuse: Refuse) -> Iterator[tuple[str, Row]]:
    records = _records(text, table, refuse, _separator(text.partition("\n")[0]))
    _, header = next(records, (0, []))
    for number, cells in records:
        where = f"line {number}"
        if len(cells) > len(header):
            refuse(
                f"{table} {where}",
                "more columns than the header has; put captions with commas in quotes",
            )
        elif cells:
            yield where, dict(zip(header, cells, strict=False))


def _separator(header: str) -> str:
    """What stands between the columns: of `SEPARATORS` the one by which most names are known."""
    known = {*FILE_KEYS, *CAPTION_KEYS, *CLASS_KEYS, *SPLIT_KEYS}

    def named(separator: str) -> int:
        return sum(_column(cell.strip('"')) in known for cell in header.split(separator))

    return max(SEPARATORS, key=named)


def _records(
    text: str, table: str, refuse: Refuse, separator: str
) -> Iterator[tuple[int, list[str]]]:
    """(number of its last line, cells) of each record; a cell in quotes may hold line breaks.

    A quote that is never closed costs its own line: what follows is read as if it were not there.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
    start = 0
    while start < len(lines):
        end, quotes = start, lines[start].count('"')
        while quotes % 2 and end + 1 < len(lines) and end - start < 50:
            end += 1
            quotes += lines[end].count('"')
        if quotes % 2:
            end = start
        try:
            record = "\n".join(lines[start : end + 1])
            cells = next(csv.reader([record], delimiter=separator, strict=True), [])
        except csv.Error as error:
            refuse(f"{table} line {start + 1}", f"a quote or a cell that cannot be read: {error}")
            start += 1
            continue
        start = end + 1
        yield start, cells
