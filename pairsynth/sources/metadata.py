"""Read tables of captions in common formats: files, columns, cells.

A bad row is refused with its file and line, and the rest is read.
"""

import ast
import codecs
import csv
import io
import json
import re
import tokenize
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairsynth.errors import InputError, raise_if_out_of_memory
from pairsynth.image_files import endings
from pairsynth.text import tokenize as words_of

# In the order of preference.
NAMES = tuple(f"{name}.{end}" for name in ("metadata", "captions") for end in
              ("jsonl", "csv", "tsv", "parquet"))  # fmt: skip
FILE_KEYS = (
    *("file_name", "filename", "file", "image", "image_name", "image_path", "image_file"),
    *("image_file_name", "image_filename"),
    *("file_path", "filepath", "path", "img", "picture", "image_id", "image_url", "url"),
)
CAPTION_KEYS = (
    *("caption", "captions", "text", "prompt", "description", "sentence", "sentences"),
    *("raw", "comment", "title", "alt_text", "txt", "paragraph", "tags"),
)
CLASS_KEYS = ("class", "class_name", "label", "category", "cls")
SPLIT_KEYS = ("split", "subset", "partition", "set")
SPELLINGS = {
    **dict.fromkeys(("train", "training", "trainset", "tr", "restval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "tst"), "test"),
}
_SET = re.compile(r"[\W_]*(set|split|data|images?)$")
# Of what is no caption, though its name has the word: caption_id, text_length.
_ABOUT = {"id", "ids", "number", "count", "length", "len", "score", "url", "lang", "source",
          "tokens", "sentid", "sentids"}  # fmt: skip
# Ends of the names of columns that name files: input_file_name.
_FILE_ENDS = ("_file_name", "_filename", "_file_path", "_filepath", "_file", "_image", "_img")
SEPARATORS = ",;\t|"
LONGEST = 10_000  # letters of a caption
LINES = 50  # that a record may go over
# Flickr30k Entities: [/EN#1/people A man] walks.
_ENTITY = re.compile(r"\[/EN#\d+(?:/\w+)* ([^][]*)\]")

Refuse = Callable[[str, str], None]
Row = dict[str, Any]


def caption_of(text: str) -> tuple[str, str | None]:
    """The caption with all white space as single spaces; and its fault, or None if it is usable."""
    caption = _ENTITY.sub(r"\1", unicodedata.normalize("NFC", text))
    caption = re.sub(r"[ \t\r\n]+", " ", caption).strip()
    if not caption:
        return caption, "empty caption"
    if len(caption) > LONGEST:
        return caption, f"the caption has {len(caption):,} letters, more than {LONGEST:,}"
    for letter in caption:
        if unicodedata.category(letter) in ("Cc", "Cs"):
            return caption, f"control character U+{ord(letter):04X} in the caption"
    if not any(letter.isalpha() for letter in caption) or not set(words_of(caption)) - {","}:
        return caption, f"no word in the caption {caption[:40]!r}"
    return caption, None


def split_of(value: str) -> str | None:
    """train, val or test in any spelling (Training Set, test_images); else None."""
    word = value.strip().lower()
    return SPELLINGS.get(word) or SPELLINGS.get(_SET.sub("", word))


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Column names given by the user; empty: found by the default order of preference."""

    image: str = ""
    caption: str = ""

    @property
    def images(self) -> Sequence[str]:
        """Columns that may name the image, in order of preference."""
        return (column(self.image),) if self.image else FILE_KEYS

    @property
    def captions(self) -> Sequence[str]:
        """Columns that may hold captions, in order of preference."""
        return (column(self.caption),) if self.caption else CAPTION_KEYS

    def of_image(self, row: Mapping[str, Any]) -> str | None:
        """The column that names the image of this row, or None.

        Where there is no such column, the only one whose name ends like a file's is used.
        """
        key = chosen(row, self.images)
        if key is not None or self.image:
            return key
        alike = [key for key in row if key.endswith(_FILE_ENDS)]
        return chosen(row, alike) if len(alike) == 1 else None

    def name_in(self, row: Mapping[str, Any]) -> str | None:
        """The name of the image of this row, a number as text; or None."""
        value = row.get(self.of_image(row) or "")
        if isinstance(value, float) and value.is_integer():  # as pandas makes of a number
            return str(int(value))
        return str(value) if type(value) in (str, int) else None

    def of_captions(self, row: Mapping[str, Any]) -> list[str]:
        """The caption column of this row with its numbered ones, or none.

        Where there is no such column, the only one with a word for captions in its name is used.
        """
        key = chosen(row, self.captions)
        if key is not None and self.caption:
            return [key]
        for word in self.captions if key is None else [key]:
            numbered = [one for one in row if re.fullmatch(rf"{re.escape(word)}_?\d+", one)]
            if key or numbered:
                return [one for one in (key, *numbered) if one and _is_told(row[one])]
        return [] if self.caption or any(key in row for key in self.captions) else _alike(row)

    def check(self, where: str, there: Iterable[str]) -> None:
        """Check that the columns `there` have those that the user named.

        Raises:
            InputError: naming the parameter and the columns.
        """
        known = list(there)
        for name, option in ((self.image, "image_column"), (self.caption, "caption_column")):
            if name and column(name) not in known:
                raise InputError(
                    f"{where} has no column {name!r}, which download.{option} names; there are: "
                    f"{', '.join(known)[:300] or 'none'}"
                )


def _alike(row: Mapping[str, Any]) -> list[str]:
    """The one column that has a word for captions in its name: blip_caption, caption_text."""
    words = {key: {*key.split("_")} for key in row}
    found = [key for key, own in words.items() if own & {*CAPTION_KEYS} and not own & _ABOUT]
    return found if len(found) == 1 and _is_told(row[found[0]]) else []


def chosen(row: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    """The first of `keys` with a value in the row."""
    return next((key for key in keys if _is_told(row.get(key))), None)


def first(row: Mapping[str, Any], keys: Iterable[str]) -> Any:
    """The value of the first of `keys` that has one."""
    key = chosen(row, keys)
    return None if key is None else row[key]


def _is_told(value: Any) -> bool:
    """Whether a cell has a value; numeric tables write NaN for none."""
    return value is not None and value != "" and not (isinstance(value, float) and value != value)


def captions_in(row: Row, columns: Columns) -> list[Any]:
    """The values of the caption column or the numbered ones, of any type, maybe none.

    A cell with a list as JSON, Python or numpy writes it becomes that list; of an object, as in
    COCO and Karpathy's lists, the caption in it is taken.
    """
    found: list[Any] = []
    for key in columns.of_captions(row):
        cell = row[key]
        if isinstance(cell, str):
            cell = _list_in(cell) or cell
        found += cell if isinstance(cell, list | tuple) else [cell]
    return [one for cell in found for one in _said(cell)]


def _list_in(cell: str) -> list[str] | None:
    """The strings of a list written as text, with commas, or without as numpy does."""
    if not (cell.strip().startswith("[") and cell.strip().endswith("]")):
        return None
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return _python_list(cell)
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else None


def _python_list(cell: str) -> list[str] | None:
    # Token by token: Python itself would join two texts that have no comma between them.
    try:
        parts = list(tokenize.generate_tokens(io.StringIO(cell.strip()).readline))
        others = {one.string.strip() for one in parts if one.type != tokenize.STRING}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a \d in a text
            texts = [ast.literal_eval(one.string) for one in parts if one.type == tokenize.STRING]
    except (tokenize.TokenError, SyntaxError, ValueError, MemoryError):
        return None
    whole = others <= {"[", "]", ",", ""} and all(isinstance(one, str) for one in texts)
    return texts if whole else None


def _said(value: Any) -> list[Any]:
    """The captions of a value; in COCO and Karpathy's lists, and on the Hub, it is an object."""
    if not isinstance(value, Mapping):
        return [value]
    words = value.get("tokens")
    joined = " ".join(map(str, words)) if isinstance(words, list) else None
    told = first(value, CAPTION_KEYS) or joined
    return told if isinstance(told, list) else [told]


def rows(root: Path, table: str, refuse: Refuse) -> Iterator[tuple[str, Row]]:
    """(line or row, plain column name -> value) of a table below `root`.

    Raises:
        InputError: where the file as a whole cannot be read.
    """
    path = root / table
    try:
        if path.suffix.lower() == ".parquet":
            found = _parquet(path, table, refuse)
        else:
            text = decode_text(path.read_bytes())
            of_lines = path.suffix.lower() == ".jsonl"
            found = (json_lines if of_lines else _csv)(text, table, refuse)
        for place, row in found:
            yield place, plain_row(row)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise_if_out_of_memory(error)
        raise InputError(f"{path}: cannot be read: {error}") from error


def plain_row(row: Mapping[Any, Any]) -> Row:
    """The row by the plain names of its columns."""
    return {column(key): value for key, value in row.items()}


def column(name: object) -> str:
    """The plain name of a column: lower case, `_` for a space or a hyphen."""
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


def _parquet(path: Path, table: str, refuse: Refuse) -> Iterator[tuple[str, Row]]:
    start = 1
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(1024):
            for i, row in batch_rows(batch, table, start, refuse):
                yield f"row {start + i}", row
            start += len(batch)


def batch_rows(
    batch: pa.RecordBatch, where: str, start: int, refuse: Refuse
) -> Iterator[tuple[int, Row]]:
    """(place, row) of a batch; a row whose text is not UTF-8 is refused."""
    try:
        yield from enumerate(batch.to_pylist())
        return
    except ValueError:
        pass  # a row at a time, then
    for i in range(len(batch)):
        try:
            (row,) = batch.slice(i, 1).to_pylist()
        except ValueError as error:
            refuse(f"{where} row {start + i}", f"cannot be read: {error}")
        else:
            yield i, row


def decode_text(data: bytes) -> str:
    """UTF-8 with or without a byte order mark, or UTF-16 with one; ValueError names the byte."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        kind = "UTF-16" if wide else "UTF-8"
        raise ValueError(f"not {kind} (byte {error.start}); save it as UTF-8") from error


def json_lines(text: str, table: str, refuse: Refuse) -> Iterator[tuple[str, Row]]:
    """(line, object) of JSON Lines; a line that is not one is refused."""
    for number, line in enumerate(text.rstrip().split("\n"), start=1):
        if not line.strip():
            continue
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
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    spared = re.match(r"sep=.\n|(#.*\n)+", text)  # a spreadsheet's own word, or remarks
    skipped = spared[0].count("\n") if spared else 0
    separator = _separator(text.split("\n", skipped + 2)[skipped : skipped + 2])
    records = _records(text, table, refuse, separator, skipped)
    _, header = next(records, (0, []))
    if _is_headless(header):
        records = _records(text, table, refuse, separator, skipped)
        known = ["caption", "file_name"] if _is_file(header[1]) else ["file_name", "caption"]
        header = [*known, *(f"column_{i}" for i in range(3, len(header) + 1))]
    for number, cells in records:
        where = f"line {number}"
        if len(cells) > len(header) and column(header[-1]) in CAPTION_KEYS:
            cells[len(header) - 1 :] = [separator.join(cells[len(header) - 1 :])]
        if len(cells) > len(header):
            refuse(
                f"{table} {where}",
                "more columns than the header has; put captions with commas in quotes",
            )
        elif cells:
            yield where, dict(zip(header, cells, strict=False))


def _separator(lines: Sequence[str]) -> str:
    """The separator, of `SEPARATORS`, that gives the most known column names in the first line.

    Where none gives any, it is one that divides both of the first two lines, rather no comma.
    """
    known = {*FILE_KEYS, *CAPTION_KEYS, *CLASS_KEYS, *SPLIT_KEYS}

    def fitness(separator: str) -> tuple[int, bool, bool, bool]:
        cells = [cell.strip(' "\r') for cell in lines[0].split(separator)]
        named = sum(column(cell) in known for cell in cells)
        divides = all(separator in line for line in lines)
        return named, _is_headless(cells), divides, divides and separator != ","

    return max(SEPARATORS, key=fitness)


def _is_headless(cells: Sequence[str]) -> bool:
    """Whether the first line is a row, not a header: an image and a caption, in either order.

    An image without its ending is one word with a digit, and a caption has three words or more.
    """
    if len(cells) > 1 and _is_file(cells[0]):
        return True
    if len(cells) != 2:
        return False
    sentence = len(cells[1].split()) > 2 and re.fullmatch(r"\S*\d\S*", cells[0].strip())
    return bool(sentence) or (_is_file(cells[1]) and len(cells[1].split()) == 1)


def _is_file(cell: str) -> bool:
    return cell.strip().lower().endswith(tuple(endings()))


def _records(
    text: str, table: str, refuse: Refuse, separator: str, start: int
) -> Iterator[tuple[int, list[str]]]:
    """(number of its last line, cells) of each record; quoted cells may hold line breaks.

    start: the number of lines before the first.

    A line with a quote that is never closed is refused, and reading goes on after it.
    """
    lines = text.split("\n")
    while start < len(lines):
        taken = 0

        def following() -> Iterator[str]:
            nonlocal taken
            for line in lines[start : start + LINES]:  # noqa: B023
                taken += 1
                yield line + "\n"

        try:
            cells = next(csv.reader(following(), delimiter=separator, strict=True), [])
        except csv.Error as error:
            refuse(f"{table} line {start + 1}", f"a quote or a cell that cannot be read: {error}")
            taken, cells = 1, None
        start += taken
        if cells is not None:
            yield start, cells
