"""Check the arguments of a command before any network is loaded.

Slow imports are made where they are used, and torch is never imported, so that an error is
immediate.
"""

import glob
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pairsynth.errors import InputError
from pairsynth.whole_files import check_outputs, maker

if TYPE_CHECKING:
    from PIL import Image

NETWORKS = ("encoder", "gan", "captioner")
DEVICES = re.compile(r"auto|(cpu|cuda|mps|xpu)(:\d+)?")
SENTENCES_OF_A_SHEET = 100
STANDARD_INPUT = "-"


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence to draw; place: the quoted argument, or the file and line it stands in."""

    text: str
    place: str


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image file. named: it was given by its own name, so an unreadable one is an error."""

    path: Path
    named: bool


def check_device(device: str) -> None:
    """Refuse an unknown device.

    Raises:
        InputError: naming the known ones.
    """
    if not DEVICES.fullmatch(device):
        raise InputError(f"--device {device}: no device is called so; use auto, cpu or cuda")


def check_networks(data: Path, device: str, *besides: str) -> None:
    """Refuse an unknown device, or a folder without the three networks.

    besides: further files that must be in the folder.

    Raises:
        InputError: naming the file and the stage that makes it.
    """
    check_device(device)
    for path in (data / name for name in (*(f"{one}.pt" for one in NETWORKS), *besides)):
        if not path.is_file():
            raise InputError(f"{path} is missing; run: dvc repro {maker(path)}")


def check_output(output: Path, *endings: str, folder: bool = False) -> None:
    """Refuse a file name with none of these `endings`, or a path that cannot be written.

    folder: a name without an ending is allowed too, and names a folder to make.

    Raises:
        InputError: naming the option and what is allowed.
    """
    is_folder = folder and not output.suffix
    if not is_folder and output.suffix.lower() not in endings:
        wanted = " or ".join(endings) + (", or a folder's without an ending" if folder else "")
        raise InputError(f"--output {output}: give a name that ends in {wanted}")
    try:
        check_outputs(**{"folders" if is_folder else "files": [output]})
    except InputError as error:
        raise InputError(f"--output {error}") from error


def check_sheet(output: Path, count: int) -> None:
    """Refuse to put too many sentences on one sheet.

    Raises:
        InputError: with the number, suggesting a folder instead.
    """
    if output.suffix and count > SENTENCES_OF_A_SHEET:
        raise InputError(
            f"--output {output}: a sheet shows {SENTENCES_OF_A_SHEET} sentences at most, and these "
            f"are {count:,}; give a folder's name, without an ending"
        )


def sentences(given: Sequence[str]) -> list[Sentence]:
    """All sentences of the arguments: a sentence, a text file with one per line, or `-` for stdin.

    Raises:
        InputError: for a file that is missing, is not text or has no sentence.
    """
    return [sentence for one in given for sentence in _sentences(one)]


def _sentences(given: str) -> list[Sentence]:
    if given != STANDARD_INPUT and not os.path.isfile(given):
        if given.lower().endswith(".txt"):
            raise InputError(f"{given}: no such file")
        return [Sentence(text=given, place=repr(given))]
    from_stdin = given == STANDARD_INPUT
    name = "standard input" if from_stdin else given
    try:
        data = sys.stdin.buffer.read() if from_stdin else Path(given).read_bytes()
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: this is no UTF-8 text; give one sentence a line") from error
    found = [
        Sentence(text=line.strip(), place=f"{name}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not found:
        raise InputError(f"{name}: no sentence is in it; give one a line")
    return found


def images(given: Sequence[str]) -> list[ImageFile]:
    """The images of the arguments (files, folders searched recursively, globs), each once.

    Raises:
        InputError: for an argument that is missing or holds no image, or a named file that is
            no image.
    """
    found: dict[Path, ImageFile] = {}
    for one in given:
        for file in _images(one):
            found.setdefault(file.path, file)
    for file in found.values():
        if file.named:
            opened(file.path)
    return list(found.values())


def _images(given: str) -> list[ImageFile]:
    from pairsynth.image_files import endings

    path, known = Path(given), endings()
    if path.is_file():
        return [ImageFile(path=path, named=True)]
    if path.is_dir():
        inside = sorted(path.rglob("*"))
        hidden = [any(part[0] == "." for part in one.relative_to(path).parts) for one in inside]
        inside = [one for one, hide in zip(inside, hidden, strict=True) if not hide]
    elif glob.has_magic(given):
        inside = [Path(one) for one in sorted(glob.glob(given, recursive=True))]
    else:
        raise InputError(f"{given}: no such file or folder")
    kept = [one for one in inside if one.suffix.lower() in known and one.is_file()]
    if not kept:
        raise InputError(f"{given}: no image is there; give images, or a folder that has some")
    return [ImageFile(path=one, named=False) for one in kept]


def is_image(text: str) -> bool:
    """Whether `text` names an image file rather than being a sentence.

    Raises:
        InputError: where it has an image's ending and there is no such file.
    """
    from pairsynth.image_files import endings

    if os.path.isfile(text):
        return True
    if text.lower().endswith(tuple(endings())):
        raise InputError(f"{text}: no such file")
    return False


def opened(path: Path) -> "Image.Image":
    """The image at `path`, upright RGB.

    Raises:
        InputError: with the reason, where it cannot be read.
    """
    from pairsynth.image_files import decode

    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
