"""The user's own pictures, with captions in text files or in one metadata file."""

import csv
import io
import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pairsynth import seeds
from pairsynth.errors import InputError
from pairsynth.images import decode
from pairsynth.sources.contract import SPLITS, Account, DownloadConfig, Example

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
FILE_KEYS = ("file_name", "file", "image", "path")
CAPTION_KEYS = ("caption", "captions", "text")
CLASS_KEYS = ("class", "label", "class_name")
FEWEST = 10  # usable pictures
# every 20 neighbours give 14/3/3, the first 10 already have both val and test
PATTERN = [
    {1: "val", 8: "val", 15: "val", 4: "test", 11: "test", 18: "test"}.get(i, "train")
    for i in range(20)
]


@dataclass
class Entry:
    """What is said of one picture; more than one class or split contradict each other."""

    captions: list[str] = field(default_factory=list)
    class_names: set[str] = field(default_factory=set)
    splits: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Desk:
    """Where refusals go, by the policy of `download.broken`."""

    root: Path
    broken: str
    account: Account

    def refuse(self, what: str, why: str) -> None:
        """Leave `what` out and note why, or end here, by the policy of `download.broken`."""
        if self.broken == "refuse":
            raise InputError(f"{self.root / what}: {why}; mend it, or set download.broken=skip")
        self.account.refuse(what, why)


def folder(config: DownloadConfig, seed: int, cache: Path, account: Account) -> Iterator[Example]:
    """Pictures under `config.folder` sorted by path, the path from there being the image_id.

    Captions: metadata.jsonl, .csv or .parquet at the top, else a .txt of each picture's stem.
    Classes: the metadata's column, else the subfolder. Splits: the metadata's column, else drawn
    by `seed`. `cache` stays unused.

    Raises:
        InputError: no folder, fewer than 10 usable pictures, too few classes for the split;
            anything unusable where `config.broken` is refuse.
    """
    if not config.folder or not Path(config.folder).is_dir():
        raise InputError(
            f"download.folder is {config.folder!r}: no such folder (looked for "
            f"{Path(config.folder).resolve()}); name the folder of your pictures"
        )
    desk = Desk(Path(config.folder), config.broken, account)
    pictures, texts = _scan(desk)
    metadata = [name for name in METADATA if (desk.root / name).is_file()]
    if len(metadata) > 1:
        raise InputError(f"{desk.root}: has {' and '.join(metadata)}; keep the one that counts")
    entries = (
        _from_metadata(desk, metadata[0], pictures)
        if metadata
        else _from_texts(desk, pictures, texts)
    )
    entries = {name: entry for name, entry in entries.items() if _usable(desk, name, entry)}
    _enough(desk, len(entries))
    splits = _assign(config, seed, desk, entries)
    classes = sorted({_class_of(entry) for entry in entries.values()} - {""})
    counts = dict.fromkeys(SPLITS, 0)
    for name, split in splits.items():
        try:
            picture = decode((desk.root / name).read_bytes())
        except (OSError, ValueError) as error:
            desk.refuse(name, str(error))
            continue
        counts[split] += 1
        class_name = _class_of(entries[name])
        yield Example(
            name,
            classes.index(class_name) if class_name else -1,
            class_name,
            split,
            picture,
            tuple(entries[name].captions),
        )
    _enough(desk, sum(counts.values()))
    for split, count in counts.items():
        if not count:
            raise InputError(
                f"{desk.root}: no usable picture is left for {split}; mend the "
                "pictures refused, or add some"
            )


def caption_fault(caption: str) -> str | None:
    """Why `caption` cannot be used, or None."""
    if not caption.strip():
        return "empty caption"
    for letter in caption:
        if unicodedata.category(letter) in ("Cc", "Cs") and letter != "\t":
            return f"control character U+{ord(letter):04X} in the caption"
    if not any(letter.isalpha() for letter in caption):
        return f"no word in the caption {caption.strip()[:40]!r}"
    return None


def _scan(desk: Desk) -> tuple[list[str], list[str]]:
    """Paths from the root of all pictures and of all .txt, sorted; hidden files are passed over."""
    known = {
        end
        for end, kind in Image.registered_extensions().items()
        if kind in Image.OPEN or kind == "MPO"
    }
    pictures, texts = [], []
    for path in _files(desk.root):
        name = path.relative_to(desk.root).as_posix()
        if not _is_utf8(name):
            desk.refuse(ascii(name), "the file's name is not UTF-8; rename it")
        elif not path.is_file():
            desk.refuse(name, "a link that leads nowhere, or not a plain file")
        elif path.suffix.lower() in known:
            pictures.append(name)
        elif path.suffix.lower() == ".txt":
            texts.append(name)
        elif name not in METADATA:
            desk.account.refuse(name, "passed over: not a kind of picture that Pillow reads")
    if not pictures:
        raise InputError(
            f"{desk.root}: holds no pictures, in no subfolder either (looked for "
            f".jpg, .png, .webp and {len(known) - 3} more endings)"
        )
    return pictures, texts


def _files(root: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda path: path.parts)


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _subfolder(name: str) -> str:
    return "" if "/" not in name else name.rpartition("/")[0]


def _decode_text(data: bytes) -> str:
    """UTF-8 with or without a byte order mark; ValueError names the byte."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start}); save it as UTF-8") from error


def _from_texts(desk: Desk, pictures: list[str], texts: list[str]) -> dict[str, Entry]:
    """Pictures and the .txt of the same stem in the same folder, keyed, never by position."""
    owners = defaultdict(list)
    for name in pictures:
        owners[str(PurePosixPath(name).with_suffix(""))].append(name)
    stems = {str(PurePosixPath(name).with_suffix("")): name for name in texts}
    for stem in sorted(set(stems) - set(owners)):
        desk.refuse(stems[stem], "captions without a picture of the same stem")
    entries = {}
    for stem, names in owners.items():
        if stem not in stems:
            for name in names:
                desk.refuse(name, f"no captions: there is no {stem}.txt")
        elif len(names) > 1:
            for name in names:
                desk.refuse(
                    name, f"{stems[stem]} may belong to any of {', '.join(names)}; rename them"
                )
        else:
            entries[names[0]] = Entry(_read_lines(desk, stems[stem]), {_subfolder(names[0])})
    return {name: entries[name] for name in pictures if name in entries}


def _read_lines(desk: Desk, name: str) -> list[str]:
    """The usable captions of one text file, one a line."""
    try:
        text = _decode_text((desk.root / name).read_bytes())
    except (OSError, ValueError) as error:
        desk.refuse(name, str(error))
        return []
    captions = []
    # not splitlines(): it would break lines at control characters and hide them
    for number, line in enumerate(text.rstrip().replace("\r\n", "\n").split("\n"), start=1):
        fault = caption_fault(line)
        if fault:
            desk.refuse(f"{name} line {number}", fault)
        else:
            captions.append(line.strip())
    return captions


def _from_metadata(desk: Desk, metadata: str, pictures: list[str]) -> dict[str, Entry]:
    known, seen = set(pictures), set()
    entries: dict[str, Entry] = defaultdict(Entry)
    for place, row in _rows(desk, metadata):
        where = f"{metadata} {place}"
        name = _first(row, FILE_KEYS)
        if not isinstance(name, str) or not name:
            desk.refuse(where, f"names no picture (columns looked for: {', '.join(FILE_KEYS)})")
            continue
        name = str(PurePosixPath(name))
        if name not in known:
            desk.refuse(where, f"names {name!r}, which is no picture under this folder")
            continue
        split, class_name = row.get("split"), _first(row, CLASS_KEYS)
        if split and split not in SPLITS:
            desk.refuse(where, f"split is {split!r}; allowed is {', '.join(SPLITS)}")
            continue
        entry = entries[name]
        entry.splits.add(split or "")
        entry.class_names.add(_subfolder(name) if class_name in (None, "") else str(class_name))
        for caption in _captions_in(desk, where, row):
            if (name, caption) in seen:
                desk.refuse(where, f"a second time the same caption of {name}")
            else:
                seen.add((name, caption))
                entry.captions.append(caption)
    for name in pictures:
        if name not in entries:
            desk.refuse(name, f"no captions: no row of {metadata} names it")
    return {name: entries[name] for name in pictures if name in entries}


def _first(row: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


def _captions_in(desk: Desk, where: str, row: dict[str, Any]) -> Iterator[str]:
    given = _first(row, CAPTION_KEYS)
    captions = given if isinstance(given, list) else [given]
    for caption in captions or [None]:
        if caption is None:
            fault: str | None = f"no caption (columns looked for: {', '.join(CAPTION_KEYS)})"
        elif not isinstance(caption, str):
            fault = f"the caption is {caption!r}, not text"
        else:
            fault = caption_fault(caption)
        if fault:
            desk.refuse(where, fault)
        else:
            yield caption.strip()


def _rows(desk: Desk, metadata: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(line or row, its values); InputError where the file as a whole cannot be read."""
    path = desk.root / metadata
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path, page_checksum_verification=True)
            for i, row in enumerate(table.to_pylist(), start=1):
                yield f"row {i}", row
        else:
            text = _decode_text(path.read_bytes())
            yield from (_csv if path.suffix == ".csv" else _jsonl)(desk, metadata, text)
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _jsonl(desk: Desk, metadata: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.rstrip().split("\n"), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            desk.refuse(f"{metadata} line {number}", f"not JSON: {error}")
            continue
        if isinstance(row, dict):
            yield f"line {number}", row
        else:
            desk.refuse(f"{metadata} line {number}", "not a JSON object {...}")


def _csv(desk: Desk, metadata: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    for row in reader:
        if None in row:
            desk.refuse(
                f"{metadata} line {reader.line_num}",
                "more columns than the header has; put captions with commas in quotes",
            )
        else:
            yield f"line {reader.line_num}", row


def _class_of(entry: Entry) -> str:
    return next(iter(entry.class_names), "")


def _usable(desk: Desk, name: str, entry: Entry) -> bool:
    for what, values in (("class", entry.class_names), ("split", entry.splits)):
        if len(values) > 1:
            desk.refuse(name, f"has more than one {what}: {', '.join(map(repr, sorted(values)))}")
            return False
    if not entry.captions:
        desk.refuse(name, "no usable caption")
    return bool(entry.captions)


def _enough(desk: Desk, count: int) -> None:
    if count < FEWEST:
        refused = "; ".join(f"{what}: {why}" for what, why in desk.account.refused[:3])
        raise InputError(
            f"{desk.root}: {count} usable pictures with captions, at least {FEWEST} "
            f"are needed; refused were {len(desk.account.refused)} items. {refused}"
        )


def _assign(
    config: DownloadConfig, seed: int, desk: Desk, entries: dict[str, Entry]
) -> dict[str, str]:
    """The split of each picture: given by the metadata, by its class, or drawn within it."""
    members = defaultdict(list)
    for name, entry in entries.items():
        members[_class_of(entry)].append(name)
    given = {name: entry.splits for name, entry in entries.items() if any(entry.splits)}
    if given:
        return _check_given(config, desk, entries, members)
    if config.split == "class":
        of_class = _draw_classes(seed, desk, members)
        return {name: of_class[_class_of(entry)] for name, entry in entries.items()}
    drawn = [
        name
        for label in sorted(members)
        for name in sorted(members[label], key=lambda name: seeds.digest(seed, "folder", name))
    ]
    splits = {name: PATTERN[i % len(PATTERN)] for i, name in enumerate(drawn)}
    return {name: splits[name] for name in entries}


def _draw_classes(seed: int, desk: Desk, members: dict[str, list[str]]) -> dict[str, str]:
    """About 70/15/15 of the classes, at least one in each split."""
    if members.get(""):
        raise InputError(
            f"{desk.root}: {members[''][0]} and {len(members['']) - 1} more pictures "
            "have no class; put each class in a subfolder, or set "
            "download.split=image"
        )
    if len(members) < 3:
        raise InputError(
            f"{desk.root}: classes are {', '.join(sorted(members))}; a split by class "
            "needs 3 or more: add classes, or set download.split=image"
        )
    order = [sorted(members)[i] for i in seeds.stream(seed, "folder").permutation(len(members))]
    some = max(1, round(0.15 * len(order)))
    return {
        label: "val" if i < some else "test" if i < 2 * some else "train"
        for i, label in enumerate(order)
    }


def _check_given(
    config: DownloadConfig, desk: Desk, entries: dict[str, Entry], members: dict[str, list[str]]
) -> dict[str, str]:
    splits = {name: next(iter(entry.splits)) for name, entry in entries.items()}
    for name, split in splits.items():
        if not split:
            raise InputError(
                f"{desk.root}: {name} has no split in the metadata, others have; "
                "give every picture one, or none"
            )
    for label in sorted(members) if config.split == "class" else []:
        found = sorted({splits[name] for name in members[label]})
        if len(found) > 1:
            raise InputError(
                f"{desk.root}: pictures of class {label!r} are in {found[0]} and in "
                f"{found[1]}; a split by class keeps them together: mend the "
                "metadata, or set download.split=image"
            )
    return splits
