"""Find out which layout a folder has, and read its captions."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from pairsynth.errors import InputError, raise_if_out_of_memory
from pairsynth.image_files import endings
from pairsynth.sources import documents, entries, metadata, packed, split_lists
from pairsynth.sources.entries import Entry, UserFolder, stem_of
from pairsynth.sources.names import Names, composed

TEXTS = (".txt", ".caption", ".captions")
SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar")


@dataclass(kw_only=True)
class Found:
    """The files of a folder by kind, as sorted paths from the root.

    lists: possible lists of captions. tables: lists named as in Hugging Face's imagefolder. packs:
    files that hold images. of_splits: files that name splits and are not used for captions.
    """

    images: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    packs: list[str] = field(default_factory=list)
    of_splits: dict[str, split_lists.Splits] = field(default_factory=dict)


def read(folder: UserFolder) -> dict[str, Entry]:
    """The entries of all images of the folder, by the first of these layouts that it has.

    A table (`metadata.NAMES`); texts with the images' names beside them or in another folder; lists
    of captions; tars and Parquet files with the images inside. Unused files are recorded. Lists of
    splits are applied.

    Raises:
        InputError: where there are no images or no captions, listing what there is.
    """
    found = _scan(folder)
    if not found.images:
        return _from_packs(folder, found)
    known = Names(folder.root, found.images)
    found.of_splits = split_lists.texts_of_names(
        folder, sorted({*found.texts} - _beside(found)), known
    )
    found.texts = [name for name in found.texts if name not in found.of_splits]
    return split_lists.honour(folder, _captioned(folder, found, known), found.of_splits)


def _captioned(folder: UserFolder, found: Found, known: Names) -> dict[str, Entry]:
    """The entries of images that are files of their own."""
    named = bool(folder.columns.image or folder.columns.caption)
    beside = _beside(found)
    texts = [] if named else found.texts  # which have no columns
    stems = entries.by_stem(found.images, [*texts, *sorted(beside - {*found.texts})])
    if not beside:
        objects = [name for name in found.lists if name.lower().endswith(".json")]
        stems = entries.by_ends(found.images, texts)
        stems = stems or entries.by_ends(found.images, objects)
    if named:
        stems = {stem: name for stem, name in stems.items() if _has_caption(folder, name)}
    covered = sum(stem_of(name) in stems for name in found.images)
    if found.tables:
        chosen = _checked_tables(folder, found.tables, known)
    elif 2 * covered >= len(found.images):
        chosen = []
    else:
        chosen = _chosen_lists(folder, found, known, beside, not stems)
    if not chosen and found.packs and not stems:
        return _from_packs(folder, found)
    for name in found.packs:
        folder.pass_over(name, "images lie beside it as files of their own")
    if chosen:
        others = [*found.texts, *found.lists] if found.tables else sorted(beside)
        _pass_over(folder, others, chosen[0])
        return entries.from_tables(folder, found.images, known, chosen)
    if named:
        _pass_over(folder, found.texts, "the JSON objects with the images' names")
    used = {*stems.values()}
    for name in (*sorted(set(found.lists) - beside - used), *sorted(set(texts) - used)):
        folder.pass_over(name, "captions are taken from the texts with the images' names")
    return entries.from_texts(folder, found.images, stems)


def _has_caption(folder: UserFolder, name: str) -> bool:
    """Whether the JSON object has the caption that the user named; a named image is a table's."""
    try:
        row = documents.single(folder.root / name)
    except (OSError, ValueError, RecursionError):
        return False
    return not folder.columns.image and bool(folder.columns.of_captions(row))


def _from_packs(folder: UserFolder, found: Found) -> dict[str, Entry]:
    _pass_over(folder, [*found.tables, *found.lists, *found.texts], found.packs[0])
    for name in found.images:
        folder.refuse(name, f"no captions; images are taken from {found.packs[0]} and the like")
    return entries.from_packs(folder, found.packs, endings())


# ---------------------------------------------------------------- what lies in the folder


def _scan(folder: UserFolder) -> Found:
    """Sort the files of the folder by kind; hidden files are ignored."""
    found, known = Found(), endings()
    for path in _files(folder):
        name = path.relative_to(folder.root).as_posix()
        if not _is_utf8(name):
            folder.refuse(ascii(name), "the file's name is not UTF-8; rename it")
        elif not path.is_file():
            folder.refuse(name, "a link that leads nowhere, or not a plain file")
        else:
            _sort_in(folder, found, path, name, known)
    if not found.images and not found.packs:
        there = [*found.tables, *found.lists, *found.texts]
        there += [f"{what} ({why})" for what, why in folder.log.refused]
        raise InputError(
            f"{folder.root}: holds no images, in no subfolder either (looked for .jpg, .png, .webp "
            f"and {len(known) - 3} more endings, .tar, and .parquet with bytes of images); there "
            f"are: {', '.join(there[:10])[:500] or 'no files'}"
        )
    return found


def _sort_in(
    folder: UserFolder, found: Found, path: Path, name: str, known: frozenset[str]
) -> None:
    ending = path.suffix.lower()
    if ending in known:
        found.images.append(name)
    elif ending in TEXTS:
        found.texts.append(name)
    elif ending == ".tar":
        found.packs.append(name)
    elif ending in COMPRESSED:
        folder.pass_over(name, "it is compressed; unpack it (of a .tar.gz: gunzip it)")
    elif ending == ".arrow":
        folder.pass_over(name, "it is Arrow; write Parquet: load_from_disk(...).to_parquet(...)")
    elif ending == ".parquet" and path.name not in metadata.NAMES:
        _sort_in_parquet(folder, found, path, name)
    elif path.name in metadata.NAMES and not (ending == ".parquet" and _holds_images(path)):
        found.tables.append(name)
    elif ending == ".parquet":
        found.packs.append(name)
    elif re.search(r"_stats\.json$", name):
        folder.pass_over(name, "img2dataset's own account")
    elif ending in documents.ENDINGS:
        found.lists.append(name)
    elif ending in SPREADSHEETS:
        folder.pass_over(name, "it is a spreadsheet; save it as CSV")
    else:
        folder.pass_over(name, "not a kind of file that is read")


def _holds_images(path: Path) -> bool:
    try:
        return packed.image_column(pq.read_schema(path)) is not None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise_if_out_of_memory(error)
        return False


def _sort_in_parquet(folder: UserFolder, found: Found, path: Path, name: str) -> None:
    try:
        schema = pq.read_schema(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise_if_out_of_memory(error)
        folder.refuse(name, f"cannot be read: {error}")
        return
    if packed.is_refused_pairs(schema):
        folder.pass_over(name, "pairs that synthesize refused")
    elif packed.image_column(schema) is not None:
        found.packs.append(name)
    elif path.with_suffix(".tar").exists() or path.with_suffix("").is_dir():
        folder.pass_over(name, "img2dataset's own account")
    else:
        found.lists.append(name)


def _files(folder: UserFolder) -> list[Path]:
    """All files below the root, through linked folders too, each once."""
    found, seen = [], {os.path.realpath(folder.root)}
    for place, folders, names in os.walk(folder.root, followlinks=True):
        kept = []
        for name in sorted(folders):
            path = Path(place, name)
            if name.startswith("."):
                continue
            if os.path.realpath(path) in seen:
                where = path.relative_to(folder.root).as_posix()
                folder.log.refuse(where, "a link to a folder that is read already")
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


# ---------------------------------------------------------------- which of it counts


def _beside(found: Found) -> set[str]:
    """The texts and JSON objects that have the name or the stem of an image beside them."""
    names = [one for name in found.images for one in (stem_of(name), composed(name))]
    known = {name.casefold() for name in names}
    objects = [name for name in found.lists if name.lower().endswith(".json")]
    return {name for name in (*found.texts, *objects) if stem_of(name).casefold() in known}


def _checked_tables(folder: UserFolder, tables: list[str], known: Names) -> list[str]:
    for below in {str(PurePosixPath(name).parent) for name in tables}:
        beside = [name for name in tables if str(PurePosixPath(name).parent) == below]
        if len(beside) > 1:
            raise InputError(f"{folder.root}: has {' and '.join(beside)}; keep the one that counts")
    if folder.columns.image or folder.columns.caption:
        for name in tables:
            peek = documents.peek(folder.root, name, known, folder.columns)
            if not peek.fault:
                folder.columns.check(str(folder.root / name), peek.columns)
    return tables


def _chosen_lists(
    folder: UserFolder, found: Found, known: Names, beside: set[str], wanted: bool
) -> list[str]:
    """In each folder the list to use, or several that differ only in the split of their names.

    wanted: whether captions must come from lists, since there are no texts.

    Raises:
        InputError: where there is none, and nothing else that would tell captions.
    """
    peeks = {
        name: documents.peek(folder.root, name, known, folder.columns)
        for name in (*found.lists, *found.texts)
        if name not in beside
    }
    fits = sorted((name for name, peek in peeks.items() if peek.names_images), key=_rank)
    if not fits and wanted and not found.packs:
        others = [f"{name} ({why})" for name, why in folder.log.refused]
        _refuse_lists(folder, peeks, others)
    families = {str(PurePosixPath(name).parent): _family(name) for name in reversed(fits)}
    chosen = sorted(
        name for name in fits if _family(name) == families[str(PurePosixPath(name).parent)]
    )
    for name in sorted(set(peeks) - set(chosen)):
        if name in fits and any(key in peeks[name].columns for key in metadata.SPLIT_KEYS):
            found.of_splits[name] = split_lists.of_document(folder, name, known)
        elif name in fits:
            folder.pass_over(name, f"captions are taken from {chosen[0]}")
        elif chosen:
            folder.pass_over(name, f"no captions of the images that are here ({peeks[name]})")
    return chosen


def _rank(name: str) -> tuple[bool, int, int, str]:
    """Sort key: names with captions or metadata first, then by ending, then the shortest."""
    path = PurePosixPath(name)
    endings = (*documents.ENDINGS, *TEXTS)
    called = path.stem.lower().startswith(("captions", "metadata"))
    return not called, endings.index(path.suffix.lower()), len(path.name), name


def _family(name: str) -> str:
    """The name with a star for the word that names a split: captions_*2017.json."""

    def starred(word: re.Match[str]) -> str:
        return "*" if metadata.split_of(word[0]) else word[0]

    return re.sub(r"[a-z]+", starred, PurePosixPath(name).name.lower())


def _refuse_lists(folder: UserFolder, peeks: dict[str, documents.Peek], others: list[str]) -> None:
    """Raise the error that no list is usable, with the files and columns that there are."""
    columns = folder.columns
    named = [f"{path} ({peek})" for path, peek in peeks.items()]
    there = "; ".join([*named[:8], *others[:8]])
    raise InputError(
        f"{folder.root}: no captions: no text with the name of an image beside it, and no table or "
        "list with a column of images that are here and one of captions; there are: "
        f"{there or 'images alone'}. If one of these has captions, name its columns by "
        "download.image_column and download.caption_column; looked for were, for images, "
        f"{', '.join(columns.images)}; for captions, {', '.join(columns.captions)}"
    )


def _pass_over(folder: UserFolder, names: list[str], chosen: str) -> None:
    """Record files as unused in one line, since there may be one per image."""
    if names:
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        folder.pass_over(f"{names[0]}{more}", f"captions are taken from {chosen}")
