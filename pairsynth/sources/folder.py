"""The source `folder`: the user's own images in any supported layout."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from pairsynth import seeds
from pairsynth.errors import InputError
from pairsynth.image_files import decode
from pairsynth.minimums import FEWEST, need_images
from pairsynth.sources import layouts
from pairsynth.sources.contract import DownloadConfig, Example, SourceLog
from pairsynth.sources.entries import Entry, UserFolder, complete_splits
from pairsynth.sources.metadata import Columns

# every 20 neighbours give 14/3/3, the first 10 already have two of val and two of test
PATTERN = [
    {1: "val", 8: "val", 15: "val", 4: "test", 9: "test", 18: "test"}.get(i, "train")
    for i in range(20)
]


def folder(config: DownloadConfig, seed: int, cache: Path, log: SourceLog) -> Iterator[Example]:
    """Images under `config.folder`, in the order of their paths; the path is the image_id.

    Captions: by the first layout of `layouts.read` that the folder has. Classes: the column of
    that name, else the subfolder. Splits: the column, else names of tables or packs such as
    train-000.tar, else folders that are called train, val and test, else drawn by `seed`.
    `cache` stays unused.

    Raises:
        InputError: no folder, fewer usable images than `minimums.FEWEST`, too few classes for
            the split; anything unusable where `config.broken` is refuse.
    """
    if not config.folder or not Path(config.folder).is_dir():
        raise InputError(
            f"download.folder is {config.folder!r}: no such folder (looked for "
            f"{Path(config.folder).resolve()}); name the folder of your images"
        )
    columns = Columns(image=config.image_column, caption=config.caption_column)
    user_folder = UserFolder(
        root=Path(config.folder), broken=config.broken, log=log, columns=columns
    )
    entries = layouts.read(user_folder)
    entries = {name: entry for name, entry in entries.items() if _usable(user_folder, name, entry)}
    complete_splits(user_folder, entries, seed, config.split == "class")
    user_folder.say()
    splits = _assign(config, seed, user_folder, entries) if entries else {}
    need_images(str(user_folder.root), Counter(splits.values()), log.refused)
    classes = sorted({_class_of(entry) for entry in entries.values()} - {""})
    for name, split in splits.items():
        try:
            image = decode(entries[name].read())
        except (OSError, ValueError) as error:
            user_folder.refuse(name, str(error))
            continue
        class_name = _class_of(entries[name])
        yield Example(
            image_id=name,
            class_id=classes.index(class_name) if class_name else -1,
            class_name=class_name,
            split=split,
            image=image,
            captions=tuple(entries[name].captions),
        )


def _class_of(entry: Entry) -> str:
    return next(iter(entry.class_names), "")


def _usable(user_folder: UserFolder, name: str, entry: Entry) -> bool:
    for what, values in (("class", entry.class_names), ("split", entry.splits)):
        if len(values) > 1:
            user_folder.refuse(
                name, f"has more than one {what}: {', '.join(map(repr, sorted(values)))}"
            )
            return False
    if not entry.captions:
        user_folder.refuse(name, "no usable caption")
    return bool(entry.captions)


def _assign(
    config: DownloadConfig, seed: int, user_folder: UserFolder, entries: dict[str, Entry]
) -> dict[str, str]:
    """The split of each image: given by the metadata, by its class, or drawn within it."""
    members = defaultdict(list)
    for name, entry in entries.items():
        members[_class_of(entry)].append(name)
    given = {name: entry.splits for name, entry in entries.items() if any(entry.splits)}
    if given:
        return _check_given(config, user_folder, entries, members)
    if config.split == "class":
        of_class = _draw_classes(seed, user_folder, members)
        return {name: of_class[_class_of(entry)] for name, entry in entries.items()}
    drawn = [
        name
        for label in sorted(members)
        for name in sorted(members[label], key=lambda name: seeds.digest(seed, "folder", name))
    ]
    splits = {name: PATTERN[i % len(PATTERN)] for i, name in enumerate(drawn)}
    return {name: splits[name] for name in entries}


def _draw_classes(
    seed: int, user_folder: UserFolder, members: dict[str, list[str]]
) -> dict[str, str]:
    """Class -> split, for about 70, 15 and 15 % of the images, at least one class in each."""
    if members.get(""):
        raise InputError(
            f"{user_folder.root}: {members[''][0]} and {len(members['']) - 1} more images "
            "have no class; put each class in a subfolder, or set "
            "download.split=image"
        )
    if len(members) < 3:
        raise InputError(
            f"{user_folder.root}: classes are {', '.join(sorted(members))}; a split by class "
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
            f"{user_folder.root}: a split by class would leave {total - held} of {total} images to "
            f"learn from, the classes are so unequal ({sizes}); set download.split=image"
        )
    return {label: splits.get(label, "train") for label in order}


def _check_given(
    config: DownloadConfig,
    user_folder: UserFolder,
    entries: dict[str, Entry],
    members: dict[str, list[str]],
) -> dict[str, str]:
    splits = {name: next(iter(entry.splits)) for name, entry in entries.items()}
    for name, split in splits.items():
        if not split:
            raise InputError(
                f"{user_folder.root}: {name} has no split in the metadata, others have; "
                "give every image one, or none"
            )
    for label in sorted(set(members) - {""}) if config.split == "class" else []:
        found = sorted({splits[name] for name in members[label]})
        if len(found) > 1:
            raise InputError(
                f"{user_folder.root}: images of class {label!r} are in {found[0]} and in "
                f"{found[1]}; a split by class keeps them together: mend the "
                "metadata, or set download.split=image"
            )
    return splits
