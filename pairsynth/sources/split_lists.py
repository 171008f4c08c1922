"""Files that name the split of images when the captions do not: Flickr8k's
`Flickr_8k.trainImages.txt` with one name per line, Karpathy's JSON beside another list of captions.
"""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from pairsynth.sources import documents
from pairsynth.sources.entries import Entry, UserFolder
from pairsynth.sources.metadata import FILE_KEYS, SPLIT_KEYS, decode_text, first, split_of
from pairsynth.sources.names import Names

Splits = dict[str, str]  # image -> split


def texts_of_names(folder: UserFolder, texts: Iterable[str], known: Names) -> dict[str, Splits]:
    """Text file -> its splits, for files named after a split with one image name per line.

    Names may lack the ending, as in Flickr30k Entities; half of the images may be missing.
    """
    found = {}
    for text in texts:
        split = documents.split_in_name(text)
        if split:
            names = _lines(folder, text)
            below = str(PurePosixPath(text).parent)
            images = [image for name in names if (image := known.find(name, below))]
            if images and 2 * len(images) >= len(names):
                found[text] = dict.fromkeys(images, split)
    return found if len({split for told in found.values() for split in told.values()}) > 1 else {}


def _lines(folder: UserFolder, text: str) -> list[str]:
    try:
        lines = decode_text((folder.root / text).read_bytes()).split("\n")
    except (OSError, ValueError):
        return []  # whoever reads it for its captions says why
    return [line.strip() for line in lines if line.strip()]


def of_document(folder: UserFolder, name: str, known: Names) -> Splits:
    """The splits in the rows of a list of captions."""
    return dict(_rows(folder, name, known))


def _rows(folder: UserFolder, name: str, known: Names) -> Iterator[tuple[str, str]]:
    below = str(PurePosixPath(name).parent)
    for _, row in documents.rows(folder.root, name, lambda _what, _why: None):
        file, split = first(row, FILE_KEYS), split_of(str(first(row, SPLIT_KEYS)))
        image = known.find(file, below) if isinstance(file, str) else None
        if image and split:
            yield image, split


def honour(
    folder: UserFolder, entries: dict[str, Entry], lists: dict[str, Splits]
) -> dict[str, Entry]:
    """Apply the splits of `lists` to the entries, unless the captions' own rows have splits.

    Images in none of the lists are left out, as the official splits leave some out.
    """
    if not lists or folder.taken.get("splits", "").startswith("of column"):
        for name in lists:
            folder.pass_over(name, "the captions' own rows tell the splits")
        return entries
    told = [(image, split) for one in lists.values() for image, split in one.items()]
    kept = {image for image, _ in told}
    for name in sorted(entries.keys() - kept):
        folder.pass_over(name, f"in none of the lists of splits ({', '.join(lists)[:200]})")
    for image in kept & entries.keys():
        entries[image].splits = set()
    for image, split in told:
        if image in entries:
            entries[image].splits.add(split)
    folder.taken["splits"] = f"of {', '.join(lists)}"
    return {name: entry for name, entry in entries.items() if name in kept}
