"""Oxford-102 flowers with Reed's captions, read straight from the official archives."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scipy.io

from pairsynth.config import named
from pairsynth.errors import InputError, raise_if_out_of_memory
from pairsynth.image_files import decode
from pairsynth.seeds import digest
from pairsynth.sources.archives import archive_members
from pairsynth.sources.contract import SPLITS, DownloadConfig, Example, SourceLog
from pairsynth.sources.fetching import Check, Missing, checksum, fetch, read_checksums

IMAGES, LABELS, SETID = "102flowers.tgz", "imagelabels.mat", "setid.mat"
CAPTIONS = "cvpr2016_flowers.tar.gz"
FILES = (IMAGES, LABELS, SETID, CAPTIONS)
SUMS, SUMS_BYTES = "SHA256SUMS", 1 << 20  # which may have so many
DRIVE_FILE, DRIVE_KEY = "0B0ywwgffWnLLcms2WWJQRFNSWXM", "0-Av8zFbeDDvNcF1sSjDR32w"
# confirm=t answers the page that asks whether a large file may come unscanned; not by way of
# gdown, which drops the resource key that files as old as this one need (its issue 281)
DRIVE = (
    f"https://drive.usercontent.google.com/download?id={DRIVE_FILE}&resourcekey={DRIVE_KEY}"
    "&export=download&confirm=t"
)
DRIVE_PAGE = f"https://drive.google.com/file/d/{DRIVE_FILE}/view?resourcekey={DRIVE_KEY}"
COUNT, LINES = 8189, 10  # images, captions of each; Reed's archive has no published checksum


@dataclass(frozen=True, kw_only=True)
class Reed:
    """The captions archive: image_id -> (class_id, lines), split -> its class_ids."""

    captions: dict[str, tuple[int, tuple[str, ...]]]
    classes: dict[str, frozenset[int]]


def oxford102(config: DownloadConfig, seed: int, cache: Path, log: SourceLog) -> Iterator[Example]:
    """Oxford-102 in the order of its image archive; `seed` changes nothing.

    Captions without a letter (`{}`) are left out and recorded in `log` whatever the policy: the
    official files have thirteen.

    Raises:
        InputError: for files that cannot be fetched or do not belong together; for unusable images
            where `config.broken` is refuse.
    """
    paths = locate(named(config.mirror), cache)
    reed = read_captions(paths[CAPTIONS])
    labels = _read_matrix(paths[LABELS], "labels")
    splits = (
        _split_by_class(paths, reed, labels)
        if config.split == "class"
        else (_split_by_image(paths[SETID], len(labels)))
    )
    seen = set()
    for name, data in archive_members(paths[IMAGES]):
        match = re.fullmatch(r"jpg/(image_(\d{5}))\.jpg", name)
        if match is None:
            continue
        image_id, number = match[1], int(match[2])
        seen.add(image_id)
        if not 1 <= number <= len(labels):
            raise InputError(
                f"{paths[LABELS]}: has {len(labels)} labels and none for {name} of "
                f"{IMAGES}; fetch both files anew"
            )
        label = labels[number - 1]
        try:
            captions = _captions_of(image_id, label, paths[CAPTIONS], reed, log)
            image = decode(data)
        except ValueError as error:
            _refuse(config, log, f"{IMAGES}/{name}", str(error))
            continue
        yield Example(
            image_id=image_id,
            class_id=label - 1,
            class_name=_flowers102().classes[label - 1],
            split=splits[number],
            image=image,
            captions=captions,
        )
    _expect_all(config, log, paths, reed, seen)


def locate(mirror: str, cache: Path) -> dict[str, Path]:
    """The paths of the four files, checked: in a mirror folder, else downloaded to `cache`.

    Raises:
        InputError: where a file is missing, is another one, or cannot be fetched.
    """
    if re.match(r"https?://", mirror):
        # of its own, so that two mirrors never mix
        mirror = mirror.rstrip("/")
        return _fetch_mirror(mirror, cache / f"mirror-{digest(0, mirror):016x}")
    if not mirror:
        return _fetch_official(cache)
    folder = Path(mirror)
    if not folder.is_dir():
        raise InputError(
            f"download.mirror is {mirror!r}: no such folder (looked for "
            f"{folder.resolve()}); give a folder or an http(s) address"
        )
    sums = _read_sums(folder / SUMS) if (folder / SUMS).exists() else None
    for name in FILES:
        try:
            _checks(sums, folder)[name](folder / name)
        except OSError as error:
            raise InputError(
                f"{folder / name}: cannot be read ({error.strerror}); download.mirror "
                f"must hold {', '.join(FILES)}"
            ) from error
        except ValueError as error:
            raise InputError(
                f"{folder / name}: {error}; copy it anew from where the mirror came from"
            ) from error
    return {name: folder / name for name in FILES}


def read_captions(path: Path) -> Reed:
    """Read every caption file under text_c10, and the class lists, of Reed's archive."""
    captions: dict[str, tuple[int, tuple[str, ...]]] = {}
    classes = {}
    for name, data in archive_members(path):
        text = re.fullmatch(r".*text_c10/class_(\d{5})/(image_\d{5})\.txt", name)
        listing = re.fullmatch(r"(?:.*/)?(train|val|test)classes\.txt", name)
        if text is None and listing is None:
            continue
        try:
            lines = data.decode("utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: {name} is not UTF-8 (byte {error.start}); fetch the archive anew"
            ) from error
        if text is not None:
            captions[text[2]] = (int(text[1]), tuple(line.strip() for line in lines))
        elif listing is not None:
            classes[listing[1]] = frozenset(
                map(int, re.findall(r"class_(\d{5})", "\n".join(lines)))
            )
    if not captions:
        raise InputError(
            f"{path}: holds no text_c10/class_NNNNN/image_NNNNN.txt; fetch the archive anew"
        )
    return Reed(captions=captions, classes=classes)


def _flowers102() -> Any:
    """torchvision's addresses and checksums; imported here, since that takes a second."""
    from torchvision.datasets import Flowers102

    return Flowers102


def _checks(sums: dict[str, str] | None, place: Path | str) -> dict[str, Check]:
    """A check for each file: by the mirror's own checksums, or against the official content."""
    if sums is None:
        official = {name: checksum("md5", md5) for name, md5 in _flowers102()._file_dict.values()}
        return official | {CAPTIONS: _check_captions}
    missing = [name for name in FILES if name not in sums]
    if missing:
        raise InputError(f"{place}/{SUMS}: lists no {missing[0]}; it must list {', '.join(FILES)}")
    return {name: checksum("sha256", sums[name]) for name in FILES}


def _check_captions(path: Path) -> None:
    """Raises ValueError unless this is Reed's archive, whole."""
    try:
        captions = read_captions(path).captions
    except InputError as error:
        raise ValueError(error.message) from error
    if len(captions) != COUNT:
        raise ValueError(f"it has captions of {len(captions):,} images, wanted are {COUNT:,}")
    for image_id, (_, lines) in captions.items():
        if len(lines) != LINES:
            raise ValueError(f"{image_id}.txt has {len(lines)} lines, wanted are {LINES}")


def _read_sums(path: Path) -> dict[str, str]:
    try:
        return read_checksums(path)
    except ValueError as error:
        raise InputError(f"{path}: {error}; write it anew with sha256sum") from error


def _fetch_mirror(mirror: str, cache: Path) -> dict[str, Path]:
    filled = all((cache / name).exists() for name in FILES)
    if not filled:  # the mirror may have been renewed since its checksums were fetched
        (cache / SUMS).unlink(missing_ok=True)
    sums = None
    if not filled or (cache / SUMS).exists():
        with suppress(Missing):
            sums = _read_sums(fetch(f"{mirror}/{SUMS}", cache / SUMS, _check_sums, SUMS_BYTES))
    checks = _checks(sums, mirror)
    return {name: fetch(f"{mirror}/{name}", cache / name, checks[name]) for name in FILES}


def _check_sums(path: Path) -> None:
    read_checksums(path)


def _fetch_official(cache: Path) -> dict[str, Path]:
    checks, prefix = _checks(None, cache), _flowers102()._download_url_prefix
    captions = _fetch_captions(cache / CAPTIONS)  # first: if it fails, it fails before 345 MB
    return {CAPTIONS: captions} | {
        name: fetch(prefix + name, cache / name, checks[name]) for name in (LABELS, SETID, IMAGES)
    }


def _fetch_captions(target: Path) -> Path:
    """Reed's archive from Google Drive, or where the user has put it by hand."""
    if target.exists():
        try:
            _check_captions(target)
        except ValueError as error:
            raise InputError(f"{target}: {error}; delete it and run again") from error
        return target
    try:
        return fetch(DRIVE, target, _check_captions)
    except InputError as error:
        raise InputError(
            f"{error.message}. Or fetch {DRIVE_PAGE} by hand and save it as {target}, or set "
            "download.mirror"
        ) from error


def _read_matrix(path: Path, key: str) -> list[int]:
    """The row of integers under `key` of a MATLAB file, or InputError."""
    try:
        content: dict[str, Any] = scipy.io.loadmat(path)
        return [int(value) for value in content[key].ravel()]
    except Exception as error:  # scipy promises no kind of error for damaged files
        raise_if_out_of_memory(error)
        raise InputError(
            f"{path}: cannot be read as a MATLAB file with {key!r} "
            f"({type(error).__name__}: {error}); fetch it anew"
        ) from error


def _split_by_class(paths: dict[str, Path], reed: Reed, labels: list[int]) -> dict[int, str]:
    path = paths[CAPTIONS]
    for split in SPLITS:
        if not reed.classes.get(split):
            raise InputError(
                f"{path}: has no {split}classes.txt that names classes; fetch it "
                "anew, or set download.split=image"
            )
    of_class: dict[int, str] = {}
    for split in SPLITS:
        for label in reed.classes[split]:
            if label in of_class:
                raise InputError(
                    f"{path}: class_{label:05d} is in {of_class[label]}classes.txt "
                    f"and in {split}classes.txt; set download.split=image"
                )
            of_class[label] = split
    lost = set(labels) - set(of_class)
    if lost or not set(labels) <= set(range(1, len(_flowers102().classes) + 1)):
        raise InputError(
            f"{paths[LABELS]}: labels {sorted(lost)[:5]} are in no class list of "
            f"{path}; fetch both anew, or set download.split=image"
        )
    return {number: of_class[label] for number, label in enumerate(labels, start=1)}


def _split_by_image(path: Path, count: int) -> dict[int, str]:
    splits: dict[int, str] = {}
    for split, key in zip(SPLITS, ("trnid", "valid", "tstid"), strict=True):
        for number in _read_matrix(path, key):
            if number in splits:
                raise InputError(
                    f"{path}: image {number} is in {splits[number]} and in {split}; "
                    "fetch the file anew"
                )
            splits[number] = split
    if set(splits) != set(range(1, count + 1)):
        raise InputError(
            f"{path}: splits {len(splits)} images, the labels are of {count}; fetch both files anew"
        )
    return splits


def _captions_of(
    image_id: str, label: int, path: Path, reed: Reed, log: SourceLog
) -> tuple[str, ...]:
    """The usable captions of an image; ValueError: none; InputError: those of another class."""
    if image_id not in reed.captions:
        raise ValueError(f"no captions in {CAPTIONS}")
    folder, lines = reed.captions[image_id]
    if folder != label:
        raise InputError(
            f"{path}: {image_id}.txt lies in class_{folder:05d}, its label is "
            f"{label}: captions and labels do not belong together; fetch both anew"
        )
    usable = []
    for number, line in enumerate(lines, start=1):
        if any(letter.isalpha() for letter in line):
            usable.append(line)
        else:
            log.refuse(f"{CAPTIONS}/{image_id}.txt line {number}", f"no word in {line!r}")
    if not usable:
        raise ValueError("no usable caption")
    return tuple(usable)


def _expect_all(
    config: DownloadConfig, log: SourceLog, paths: dict[str, Path], reed: Reed, seen: set[str]
) -> None:
    """Check after the last image that there were any, and that no captions are left over."""
    if not seen:
        raise InputError(f"{paths[IMAGES]}: holds no jpg/image_NNNNN.jpg; fetch it anew")
    for image_id in sorted(set(reed.captions) - seen):
        _refuse(config, log, f"{CAPTIONS}/{image_id}.txt", f"no image in {IMAGES}")


def _refuse(config: DownloadConfig, log: SourceLog, what: str, why: str) -> None:
    log.refuse_by(config.broken, what, why, named=what, mend="fetch the archive anew")
