"""The interface of sources of captioned images."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from PIL import Image

from pairsynth.artifacts import SPLITS
from pairsynth.config import check
from pairsynth.errors import InputError
from pairsynth.image_files import SIZES

__all__ = ["SPLITS", "DownloadConfig", "Example", "Source", "SourceLog"]


@dataclass(frozen=True, kw_only=True)
class DownloadConfig:
    """Section `download` of params.yaml.

    source: where captioned images come from: garden, oxford102 or folder.
    image_size: side in pixels of the square image that every network sees: 32, 64 or 128.
    split: class (classes of train, val and test are disjoint) or image (every class in each).
    broken: what to do with unusable images or captions: skip (and list them) or refuse.
    garden_species: flower species that the garden grows.
    garden_images: images drawn of each species.
    mirror: folder or URL laid out like the official Oxford-102 files; empty: the official sites.
    folder: the user's own images and captions.
    image_column: column of the user's tables that names, or holds, the image; empty: by its name.
    caption_column: column that holds the captions; empty: by its name.
    """

    source: str
    image_size: int
    split: str
    broken: str
    garden_species: int
    garden_images: int
    mirror: str
    folder: str
    image_column: str = ""
    caption_column: str = ""

    def __post_init__(self) -> None:
        check(self.image_size in SIZES, "image_size", self.image_size, f"one of {SIZES}")
        check(self.split in ("class", "image"), "split", self.split, "class or image")
        check(self.broken in ("skip", "refuse"), "broken", self.broken, "skip or refuse")
        species, each = self.garden_species, self.garden_images
        check(6 <= species <= 20_000, "garden_species", species, "6 to 20,000")
        check(1 <= each <= 1000, "garden_images", each, "1 to 1,000")


@dataclass(frozen=True, kw_only=True)
class Example:
    """One captioned image, before it is resized.

    image_id: unique in its source. class_id: 0 or more, -1 where classes are unknown.
    attributes: what the garden drew (attribute -> value); None where the truth is not known.
    """

    image_id: str
    class_id: int
    class_name: str
    split: str
    image: Image.Image
    captions: tuple[str, ...]
    attributes: dict[str, str] | None = None


@dataclass
class SourceLog:
    """What a source refused, as (item, reason), and notes on how it read its input."""

    refused: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, what: str, why: str) -> None:
        """Record that `what` (a file, or file and row) was left out, and why."""
        self.refused.append((what, why))

    def refuse_by(self, policy: str, what: str, why: str, *, named: str, mend: str) -> None:
        """Refuse `what`, or raise, by the `policy` of `download.broken`.

        named: its name in the message. mend: how to correct it.

        Raises:
            InputError: where the policy is refuse.
        """
        if policy == "refuse":
            raise InputError(f"{named}: {why}; {mend}, or set download.broken=skip")
        self.refuse(what, why)


class Source(Protocol):
    """A source yields its examples in an order that depends on config and seed only.

    `cache` is a folder that outlives the run, for downloads. Unusable items are recorded in `log`,
    or raise `InputError` where `config.broken` is refuse.
    """

    def __call__(
        self, config: DownloadConfig, seed: int, cache: Path, log: SourceLog
    ) -> Iterator[Example]: ...
