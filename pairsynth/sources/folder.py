"""The user's own pictures, with captions in text files or in one metadata file."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pairsynth import seeds
from pairsynth.errors import InputError
from pairsynth.images import decode, endings
from pairsynth.minimums import FEWEST, need_images
from pairsynth.sources import metadata
from pairsynth.sources.contract import SPLITS, Account, DownloadConfig, Example
from pairsynth.sources.metadata import caption_of, decode_text, first, split_of

TEXTS = (".txt", ".caption", ".captions")
# every 20 neighbours give 14/3/3, the first 10 already have two of val and two of test
PATTERN = [
    {1: "val", 8: "val", 15: "val", 4: "test", 9: "test", 18: "test"}.get(i, "train")
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

    Captions: a table (`metadata.NAMES`) at the top or in the subfolders, else a text file of each
    picture's name. Classes: the table's column, else the subfolder. Splits: the table's column,
    else top folders that are called train, val and test, else drawn by `seed`. `cache` stays
    unused.

    Raises:
        InputError: no folder, fewer usable images than `minimums.FEWEST`, too few classes for
            the split; anything unusable where `config.broken` is refuse.
    """
    if not config.folder or not Path(config.folder).is_dir():
        raise InputError(
            f"download.folder is {config.folder!r}: no such folder (looked for "
            f"{Path(config.folder).resolve()}); name the folder of your pictures"
        )
    desk = Desk(Path(config.folder), config.broken, account)
    pictures, texts, tables = _scan(desk)
    read, said = (_from_tables, tables) if tables else (_from_texts, texts)
    entries = read(desk, pictures, said)
    entries = {name: entry for name, entry in entries.items() if _usable(desk, name, entry)}
    splits = _assign(config, seed, desk, entries) if entries else {}
    need_images(str(desk.root), Counter(splits.values()), account.refused)
    classes = sorted({_class_of(entry) for entry in entries.values()} - {""})
    for name, split in splits.items():
        try:
            picture = decode((desk.root / name).read_bytes())
        except (OSError, ValueError) as error:
            desk.refuse(name, str(error))
            continue
        class_name = _class_of(entries[name])
        yield Example(
            name,
            classes.index(class_name) if class_name else -1,
            class_name,
            split,
            picture,
            tuple(entries[name].captions),
        )


def _scan(desk: Desk) -> tuple[list[str], list[str], list[str]]:
    """Paths from the root of all pictures, texts and tables, sorted; hidden files are passed over.

    Of several tables in one folder the first of `metadata.NAMES` counts.
    """
    known = endings()
    pictures, texts, tables = [], [], []
    for path in _files(desk):
        name = path.relative_to(desk.root).as_posix()
        if not _is_utf8(name):
            desk.refuse(ascii(name), "the file's name is not UTF-8; rename it")
        elif not path.is_file():
            desk.refuse(name, "a link that leads nowhere, or not a plain file")
        elif path.suffix.lower() in known:
            pictures.append(name)
        elif path.suffix.lower() in TEXTS:
            texts.append(name)
        elif path.name in metadata.NAMES:
            tables.append(name)
        else:
            desk.account.refuse(name, "passed over: not a kind of picture that is read")
    if not pictures:
        raise InputError(
            f"{desk.root}: holds no pictures, in no subfolder either (looked for "
            f".jpg, .png, .webp and {len(known) - 3} more endings)"
        )
    for folder_name in {_subfolder(name) for name in tables}:
        beside = [name for name in tables if _subfolder(name) == folder_name]
        if len(beside) > 1:
            raise InputError(f"{desk.root}: has {' and '.join(beside)}; keep the one that counts")
    return pictures, texts, tables


def _files(desk: Desk) -> list[Path]:
    """All files below the root, through linked folders too, none of them twice."""
    found, seen = [], {os.path.realpath(desk.root)}
    for place, folders, names in os.walk(desk.root, followlinks=True):
        kept = []
        for name in sorted(folders):
            path = Path(place, name)
            if name.startswith("."):
                continue
            if os.path.realpath(path) in seen:
                where = path.relative_to(desk.root).as_posix()
                desk.account.refuse(where, "a link to a folder that is read already")
                continue
            seen.add(os.path.realpath(path))
            kept.append(name)
        folders[:] = kept
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


def _from_texts(desk: Desk, pictures: list[str], texts: list[str]) -> dict[str, Entry]:
    """Pictures and the text file of the same name or stem beside them, never by position."""
    owners = defaultdict(list)
    for name in pictures:
        owners[str(PurePosixPath(name).with_suffix(""))].append(name)
    known, stems = set(pictures), {}
    for text in texts:
        stem = str(PurePosixPath(text).with_suffix(""))  # of 7.jpg.txt that is the picture itself
        stems[str(PurePosixPath(stem).with_suffix("")) if stem in known else stem] = text
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
            entries[names[0]] = Entry(_read_lines(desk, stems[stem]))
    return _placed({name: entries[name] for name in pictures if name in entries})


def _placed(entries: dict[str, Entry]) -> dict[str, Entry]:
    """The same, with what the folders tell of classes, and of splits where all are called so."""
    tops = {name.partition("/")[0] if "/" in name else "" for name in entries}
    splits = all(map(split_of, tops)) and len({split_of(top) for top in tops}) > 1
    for name, entry in entries.items():
        top, _, rest = name.partition("/")
        if splits and not any(entry.splits):
            entry.splits = {split_of(top) or ""}
        own = _subfolder(rest if splits else name)
        entry.class_names = {told or own for told in entry.class_names or {""}}
    return entries


def _read_lines(desk: Desk, name: str) -> list[str]:
    """The usable captions of one text file, one a line."""
    try:
        text = decode_text((desk.root / name).read_bytes())
    except (OSError, ValueError) as error:
        desk.refuse(name, str(error))
        return []
    captions = []
    # not splitlines(): it would break lines at control characters and hide them
    for number, line in enumerate(text.rstrip().replace("\r\n", "\n").split("\n"), start=1):
        caption, fault = caption_of(line)
        if fault:
            desk.refuse(f"{name} line {number}", fault)
        else:
            captions.append(caption)
    return captions


def _from_tables(desk: Desk, pictures: list[str], tables: list[str]) -> dict[str, Entry]:
    known, seen = metadata.Names(desk.root, pictures), set()
    entries: dict[str, Entry] = defaultdict(Entry)
    for table in tables:
        for place, row in metadata.rows(desk.root, table, desk.refuse):
            where = f"{table} {place}"
            name = _picture_of(desk, where, table, row, known)
            split = first(row, metadata.SPLIT_KEYS)
            if name is None:
                continue
            if split and split_of(str(split)) is None:
                desk.refuse(where, f"split is {split!r}; allowed is {', '.join(SPLITS)}")
                continue
            entry, class_name = entries[name], first(row, metadata.CLASS_KEYS)
            entry.splits.add(split_of(str(split)) or "" if split else "")
            entry.class_names.add("" if class_name is None else str(class_name))
            for caption in _captions_in(desk, where, row):
                if (name, caption) in seen:
                    desk.refuse(where, f"a second time the same caption of {name}")
                else:
                    seen.add((name, caption))
                    entry.captions.append(caption)
    for name in pictures:
        if name not in entries:
            desk.refuse(name, f"no captions: no row of {' or '.join(tables[:3])} names it")
    return _placed({name: entries[name] for name in pictures if name in entries})


def _picture_of(
    desk: Desk, where: str, table: str, row: metadata.Row, known: metadata.Names
) -> str | None:
    """The picture that a row names; None, and a refusal, where it names none."""
    given = first(row, metadata.FILE_KEYS)
    if not isinstance(given, str):
        there = ", ".join(row)[:200]
        looked = ", ".join(metadata.FILE_KEYS)
        desk.refuse(where, f"names no picture (columns looked for: {looked}; there are: {there})")
        return None
    name = known.find(given, _subfolder(table))
    if name is None:
        desk.refuse(where, f"names {given[:200]!r}, which is no picture under this folder")
    return name


def _captions_in(desk: Desk, where: str, row: dict[str, Any]) -> Iterator[str]:
    for given in metadata.captions_in(row) or [None]:
        if given is None:
            looked, there = ", ".join(metadata.CAPTION_KEYS), ", ".join(row)[:200]
            fault: str | None = f"no caption (columns looked for: {looked}; there are: {there})"
        elif not isinstance(given, str):
            fault = f"the caption is {given!r}, not text"
        else:
            caption, fault = caption_of(given)
        if fault:
            desk.refuse(where, fault)
        else:
            yield caption


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
    """Classes by split so that about 70, 15 and 15 % of the pictures are in each, and one class."""
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
    total = sum(map(len, members.values()))
    splits: dict[str, str] = {}
    taken, wanted = {"val": 0, "test": 0}, 0.15 * total
    for label in order:
        size = len(members[label])
        split = min(taken, key=lambda one: taken[one])
        # A class that would lead further away than it leads near is passed over.
        nearer = abs(taken[split] + size - wanted) < abs(taken[split] - wanted)
        if nearer and len(order) - len(splits) > 3 - len({*splits.values(), split}):
            splits[label] = split
            taken[split] += size
    for split in taken:  # all classes were too large for the share, or the few left are too small
        left = sorted(
            (label for label in order if label not in splits), key=lambda label: len(members[label])
        )
        for label in left[:-1]:
            if taken[split] < FEWEST[split]:
                splits[label] = split
                taken[split] += len(members[label])
    held = sum(len(members[label]) for label in splits)
    if total - held < max(
        sum(len(members[label]) for label, one in splits.items() if one == split)
        for split in ("val", "test")
    ):
        sizes = ", ".join(f"{label}: {len(members[label])}" for label in sorted(members)[:10])
        raise InputError(
            f"{desk.root}: a split by class would leave {total - held} of {total} pictures to "
            f"learn from, the classes are so unequal ({sizes}); set download.split=image"
        )
    return {label: splits.get(label, "train") for label in order}


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
    for label in sorted(set(members) - {""}) if config.split == "class" else []:
        found = sorted({splits[name] for name in members[label]})
        if len(found) > 1:
            raise InputError(
                f"{desk.root}: pictures of class {label!r} are in {found[0]} and in "
                f"{found[1]}; a split by class keeps them together: mend the "
                "metadata, or set download.split=image"
            )
    return splits
