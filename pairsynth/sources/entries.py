"""Gather captions, class and split of each image, from texts, tables, lists or packs."""

import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pairsynth import seeds
from pairsynth.errors import InputError
from pairsynth.sources import documents, metadata, packed
from pairsynth.sources.contract import SPLITS, SourceLog
from pairsynth.sources.metadata import (
    CLASS_KEYS,
    SPLIT_KEYS,
    Columns,
    Row,
    caption_of,
    decode_text,
    first,
    split_of,
)
from pairsynth.sources.names import Names, composed
from pairsynth.sources.packed import Packed


@dataclass(kw_only=True)
class Entry:
    """What is known of one image; more than one class or split is a contradiction.

    read: returns its bytes; raises OSError or ValueError. place: the path whose folders may name
    class and split.
    """

    read: Callable[[], bytes]
    place: str
    captions: list[str] = field(default_factory=list)
    class_names: set[str] = field(default_factory=set)
    splits: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class UserFolder:
    """A folder of the user's images while it is read.

    root: its path. broken: the policy of `download.broken`. log: gets refusals and notes. columns:
    those that the user named. taken: captions, columns, classes, splits -> in words, where they
    come from.
    """

    root: Path
    broken: str
    log: SourceLog
    columns: Columns
    taken: dict[str, str] = field(default_factory=dict)

    def refuse(self, what: str, why: str) -> None:
        """Leave `what` out and record why, or raise, by the policy of `download.broken`."""
        self.log.refuse_by(self.broken, what, why, named=str(self.root / what), mend="mend it")

    def pass_over(self, what: str, why: str) -> None:
        """Record that the file `what` is not used, and why."""
        self.log.refuse(what, f"passed over: {why}")

    def say(self) -> None:
        """Add a note on where captions, classes and splits were taken from."""
        taken = self.taken
        columns = f" with columns {taken['columns']}" if taken.get("columns") else ""
        self.log.notes.append(
            f"folder: captions from {taken['captions']}{columns}; "
            f"classes {taken['classes']}; splits {taken['splits']}"
        )


class _Notes:
    """Collects entries row by row, and the columns that were used."""

    def __init__(self, folder: UserFolder) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        self.seen: set[tuple[str, str]] = set()
        self.columns: dict[str, None] = {}

    def add(
        self, where: str, row: Row, name: str, make: Callable[[], Entry], split_of_file: str = ""
    ) -> None:
        """Add a row about the image `name` to its entry, which `make` creates.

        split_of_file: the split in the name of the file, for rows that have none.
        """
        split, class_name = first(row, SPLIT_KEYS) or split_of_file, first(row, CLASS_KEYS)
        if split and split_of(str(split)) is None:
            self.folder.refuse(where, f"split is {split!r}; allowed is {', '.join(SPLITS)}")
            return
        if name not in self.entries:
            self.entries[name] = make()
        entry = self.entries[name]
        entry.splits.add(split_of(str(split)) or "" if split else "")
        entry.class_names.add("" if class_name is None else str(class_name))
        for caption in captions_in(self.folder, where, row):
            if (name, caption) in self.seen:
                self.folder.refuse(where, f"a second time the same caption of {name}")
            else:
                self.seen.add((name, caption))
                entry.captions.append(caption)
        used = self.folder.columns.of_captions(row)
        used += [key for keys in (CLASS_KEYS, SPLIT_KEYS) if (key := metadata.chosen(row, keys))]
        self.columns |= dict.fromkeys(used)


def captions_in(folder: UserFolder, where: str, row: Row) -> Iterator[str]:
    """The usable captions of a row; the others are refused."""
    for given in metadata.captions_in(row, folder.columns) or [None]:
        if given is None:
            fault: str | None = f"no caption ({_looked(row, folder.columns.captions, 'caption')})"
        elif not isinstance(given, str):
            fault = f"the caption is {given!r:.200}, not text"
        else:
            caption, fault = caption_of(given)
        if fault:
            folder.refuse(where, fault)
        else:
            yield caption


def _looked(row: Row, columns: Sequence[str], what: str) -> str:
    """The columns looked for and those there are, and the parameter that may name another."""
    told = f"columns looked for: {', '.join(columns)}; there are: {', '.join(row)[:200]}"
    missing = not any(one in row for one in columns)
    return told + (f"; download.{what}_column may name one" if missing else "")


def _file(folder: UserFolder, name: str) -> Entry:
    return Entry(read=functools.partial(Path.read_bytes, folder.root / name), place=name)


def _in_words(names: Collection[str]) -> str:
    few = ", ".join(list(names)[:3])
    return few if len(names) <= 3 else f"{few} and {len(names) - 3:,} more"


# ---------------------------------------------------------------- texts beside the images


def stem_of(name: str) -> str:
    """The path without the last ending, with composed accents."""
    return composed(str(PurePosixPath(name).with_suffix("")))


def by_stem(images: list[str], texts: list[str]) -> dict[str, str]:
    """Stem -> its text file, or a JSON file of that stem where there is no text.

    Letter case may differ where only one image fits, and the image has no text of its own case.
    """
    known = {composed(name) for name in images}
    owners, folded = {stem_of(name) for name in images}, defaultdict(set)
    for owner in owners:
        folded[owner.casefold()].add(owner)
    stems, others = dict[str, str](), dict[str, str]()
    for text in sorted(texts, key=lambda name: not name.lower().endswith(".json")):
        stem = stem_of(text)  # of 7.jpg.txt that is the image itself
        stem = stem_of(stem) if stem in known else stem
        (stems if stem in owners else others)[stem] = text
    for stem, text in others.items():
        alike = folded[stem.casefold()]
        stems.setdefault(min(alike) if len(alike) == 1 else stem, text)
    return stems


def by_ends(images: list[str], texts: list[str]) -> dict[str, str]:
    """Stem of an image -> its text in another folder: images/rose/1.jpg, captions/rose/1.txt.

    The ends of the paths must match in as many parts as it takes to make each image unique.
    """
    for length in (1, 2, 3):
        owners: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for name in images:
            owners[PurePosixPath(stem_of(name)).parts[-length:]].add(stem_of(name))
        if any(len(stems) > 1 for stems in owners.values()):
            continue
        found: dict[str, list[str]] = defaultdict(list)
        for text in texts:
            for stem in owners.get(PurePosixPath(stem_of(text)).parts[-length:], ()):
                found[stem].append(text)
        return {stem: own[0] for stem, own in found.items() if len(own) == 1}
    return {}


def from_texts(folder: UserFolder, images: list[str], stems: dict[str, str]) -> dict[str, Entry]:
    """Entries of images with text files, matched by stem, never by position."""
    owners = defaultdict(list)
    for name in images:
        owners[stem_of(name)].append(name)
    for stem in sorted(set(stems) - set(owners)):
        folder.refuse(stems[stem], "captions without an image of the same stem")
    entries = {}
    for stem, names in owners.items():
        if stem not in stems:
            for name in names:
                folder.refuse(name, f"no captions: there is no {stem}.txt")
        elif len(names) > 1:
            for name in names:
                folder.refuse(
                    name, f"{stems[stem]} may belong to any of {', '.join(names)}; rename them"
                )
        else:
            entries[names[0]] = _beside(folder, names[0], stems[stem])
    endings = dict.fromkeys(PurePosixPath(text).suffix for text in stems.values())
    beside = all(str(PurePosixPath(text).parent) == str(PurePosixPath(stem).parent)
                 for stem, text in stems.items())  # fmt: skip
    where = "beside the images" if beside else "with the images' names"
    folder.taken["captions"] = f"the {'/'.join(endings)} files {where}"
    return placed(folder, {name: entries[name] for name in images if name in entries})


def _beside(folder: UserFolder, image: str, text: str) -> Entry:
    if not text.lower().endswith(".json"):
        entry = _file(folder, image)
        entry.captions = _read_lines(folder, text)
        return entry
    notes = _Notes(folder)
    try:
        row = documents.single(folder.root / text)
    except (OSError, ValueError, RecursionError) as error:
        folder.refuse(text, f"cannot be read: {error}")
    else:
        notes.add(text, row, image, lambda: _file(folder, image))
    return notes.entries.get(image) or _file(folder, image)


def _read_lines(folder: UserFolder, name: str) -> list[str]:
    """The usable captions of a text file, one per line."""
    try:
        text = decode_text((folder.root / name).read_bytes())
    except (OSError, ValueError) as error:
        folder.refuse(name, str(error))
        return []
    captions = []
    # not splitlines(): it would break lines at control characters and hide them
    for number, line in enumerate(text.rstrip().replace("\r\n", "\n").split("\n"), start=1):
        caption, fault = caption_of(line)
        if fault:
            folder.refuse(f"{name} line {number}", fault)
        else:
            captions.append(caption)
    return captions


# ---------------------------------------------------------------- tables and lists


def from_tables(
    folder: UserFolder, images: list[str], known: Names, tables: list[str]
) -> dict[str, Entry]:
    """Entries of images by the rows of tables or lists that name them."""
    notes, used = _Notes(folder), dict[str, None]()
    splits = documents.splits_in_names(tables)
    for table in tables:
        for place, row in documents.rows(folder.root, table, folder.refuse):
            where = f"{table} {place}"
            name = _image_of(folder, where, table, row, known)
            if name is None:
                continue
            used |= dict.fromkeys([folder.columns.of_image(row) or ""])
            make = functools.partial(_file, folder, name)
            notes.add(where, row, name, make, splits.get(table, ""))
    for name in images:
        if name not in notes.entries:
            folder.refuse(name, f"no captions: no row of {' or '.join(tables[:3])} names it")
    folder.taken["captions"] = _in_words(tables)
    _say_columns(folder, {**used, **notes.columns}, bool(splits))
    return placed(folder, {name: notes.entries[name] for name in images if name in notes.entries})


def _say_columns(folder: UserFolder, used: dict[str, None], by_name: bool) -> None:
    folder.taken["columns"] = ", ".join(key for key in used if key)
    column = next((key for key in SPLIT_KEYS if key in used), "")
    if column or by_name:
        folder.taken["splits"] = f"of column {column}" if column else "of the files' names"
    column = next((key for key in CLASS_KEYS if key in used), "")
    if column:
        folder.taken["classes"] = f"of column {column}"


def _image_of(folder: UserFolder, where: str, table: str, row: Row, known: Names) -> str | None:
    """The image that a row names; None where it names none, which is recorded."""
    given = folder.columns.name_in(row)
    if given is None:
        folder.refuse(where, f"names no image ({_looked(row, folder.columns.images, 'image')})")
        return None
    name = known.find(given, "" if "/" not in table else table.rpartition("/")[0])
    if name is None:
        folder.refuse(where, f"names {given[:200]!r}, which is no image under this folder")
    return name


# ---------------------------------------------------------------- packs


def from_packs(folder: UserFolder, packs: list[str], endings: Collection[str]) -> dict[str, Entry]:
    """Entries of images inside tars and Parquet files, in their order there.

    They are named by the ids of their rows if all rows of an id hold the same image, as in sets
    with one row per caption; else by file and row or key.
    """
    notes, splits = _Notes(folder), documents.splits_in_names(packs)
    found = [
        (pack, one)
        for pack in packs
        for one in packed.images(folder.root, pack, folder.columns, endings, folder.refuse)
    ]
    by_id = _ids_are_names([one for _, one in found])
    for pack, one in found:
        name = one.image_id if by_id and one.image_id else one.name
        make = functools.partial(Entry, read=one.read, place=one.place)
        notes.add(one.where, one.row, name, make, splits.get(pack, ""))
    folder.taken["captions"] = _in_words(packs)
    _say_columns(folder, notes.columns, bool(splits))
    return placed(folder, notes.entries)


def _ids_are_names(found: list[Packed]) -> bool:
    rows = defaultdict(list)
    for one in found:
        rows[one.image_id or one.name].append(one)
    try:
        return all(
            len({hashlib.sha256(one.read()).digest() for one in same}) == 1
            for same in rows.values()
            if len(same) > 1
        )
    except (OSError, ValueError):
        return False


# ---------------------------------------------------------------- what folders tell


def placed(folder: UserFolder, entries: dict[str, Entry]) -> dict[str, Entry]:
    """The entries with classes from their folders, and splits where a level of folders names them.

    A folder that holds all images is ignored, and so are img2dataset's numbered ones.
    """
    folders = {name: _folders(entry.place) for name, entry in entries.items()}
    shared = 0
    while (
        folders
        and all(len(own) > shared for own in folders.values())
        and (len({own[shared] for own in folders.values()}) == 1)
    ):
        shared += 1
    below = {name: own[shared:] for name, own in folders.items()}
    level = _level_of_splits(list(below.values()))
    for name, entry in entries.items():
        own = below[name]
        if level is not None:
            if not any(entry.splits):
                entry.splits = {documents.split_of_folder(own[level]) or ""}
                folder.taken["splits"] = "of the folders"
            own = own[:level] + own[level + 1 :]
        entry.class_names = {given or "/".join(own) for given in entry.class_names or {""}}
        if own and any(entry.class_names):
            folder.taken.setdefault("classes", "of the subfolders")
    folder.taken.setdefault("classes", "not known")
    return entries


def _level_of_splits(paths: Sequence[Sequence[str]]) -> int | None:
    """The level at which every path has a folder called by a split: train/rose, or rose/train."""
    for level, names in enumerate(zip(*paths, strict=False)):
        told = set(map(documents.split_of_folder, names))
        if None not in told and len(told) > 1:
            return level
    return None


def _folders(place: str) -> tuple[str, ...]:
    *folders, last = PurePosixPath(place).parts or ("",)
    stem = last.partition(".")[0]
    numbered = folders and folders[-1].isdigit() and len(folders[-1]) >= 5 and stem.isdigit()
    return tuple(folders[:-1] if numbered and stem.startswith(folders[-1]) else folders)


def complete_splits(
    folder: UserFolder, entries: dict[str, Entry], seed: int, by_class: bool
) -> None:
    """Draw a missing split from train; drop the given splits where all are the same.

    Raises:
        InputError: where whole classes would have to be drawn.
    """
    given = {split for entry in entries.values() for split in entry.splits}
    if len(given) == 1 and given != {""}:
        for entry in entries.values():
            entry.splits = {""}
        given = {""}
    if given <= {""}:
        folder.taken["splits"] = f"drawn by {'class' if by_class else 'image'}"
    if "" in given or given not in ({"train", "val"}, {"train", "test"}):
        return
    (missing,) = set(SPLITS) - given
    if by_class:
        raise InputError(
            f"{folder.root}: no image is given for {missing}, and classes are to be kept together; "
            f"give some, or set download.split=image: then {missing} is drawn from train"
        )
    train = [name for name, entry in entries.items() if entry.splits == {"train"}]
    order = sorted(train, key=lambda name: seeds.digest(seed, "folder", name))
    for name in order[3::7]:
        entries[name].splits = {missing}
    folder.taken["splits"] = f"{folder.taken.get('splits', 'given')}, {missing} drawn from train"
