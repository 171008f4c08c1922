"""The default source: flowers drawn from a seed, without any download.

A species is a set of attributes, balanced over the garden; its images vary in pose, light and
clutter. What is drawn is known, so `Example.attributes` is the ground truth for captions. Every
species and every image has a random stream of its own, so that more of either leave the others
unchanged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pairsynth.seeds import stream
from pairsynth.sources.contract import DownloadConfig, Example, SourceLog
from pairsynth.sources.garden_captions import ATTRIBUTES, captions
from pairsynth.sources.garden_drawing import Appearance, appearance, draw

__all__ = ["ATTRIBUTES", "CLASHES", "Species", "garden", "grow"]

VAL, TEST = 0.25, 0.13  # of the species or of each species' images; the rest is for training
# Centre colours that are hard to tell from the petals around them.
CLASHES: dict[str, tuple[str, ...]] = {
    "yellow": ("yellow",),
    "orange": ("yellow",),
    "white": ("white",),
    "lavender": ("white",),
    "purple": ("purple",),
    "blue": ("purple",),
}
FIRST_NAMES = (
    "dusky", "meadow", "mountain", "silver", "velvet", "northern", "evening", "river",
    "desert", "island", "painted", "whispering", "weeping", "courtly", "winter", "spotted",
    "creeping", "fairy", "coastal", "highland", "morning", "shepherd's", "hermit's", "gilded",
)  # fmt: skip
LAST_NAMES = (
    "bellwort", "starflower", "campion", "cranesbill", "avens", "gentian", "milkwort", "bugle",
    "mallow", "speedwell", "primrose", "windflower", "cinquefoil", "tansy", "larkspur", "saxifrage",
    "sundrop", "betony", "soapwort", "marigold", "periwinkle", "toadflax", "stonecrop", "celandine",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Species:
    """One kind of flower: number, name, named attributes, and the rest of its appearance."""

    number: int
    name: str
    attributes: dict[str, str]
    appearance: Appearance


def garden(config: DownloadConfig, seed: int, cache: Path, log: SourceLog) -> Iterator[Example]:
    """`garden_species` x `garden_images` examples, species by species; see `Source`.

    The images are drawn at `image_size`; `cache` stays empty and nothing is refused.
    """
    species = grow(config.garden_species, seed)
    of_species = _splits(len(species), seed, "species")
    for kind in species:
        of_images = _splits(config.garden_images, seed, "pictures", kind.number)
        for i in range(config.garden_images):
            split = of_species[kind.number] if config.split == "class" else of_images[i]
            yield _example(kind, i, split, config.image_size, seed)


def _example(kind: Species, image: int, split: str, size: int, seed: int) -> Example:
    path = ("garden", kind.number, image)
    return Example(
        image_id=f"garden-{kind.number:04d}-{image:03d}",
        class_id=kind.number,
        class_name=kind.name,
        split=split,
        image=draw(kind.attributes, kind.appearance, size, stream(seed, *path)),
        captions=captions(kind.attributes, stream(seed, *path, "captions")),
        attributes=dict(kind.attributes),
    )


def grow(count: int, seed: int) -> list[Species]:
    """The first `count` species of the garden of `seed`, no two with the same attributes."""
    decks = {name: _Deck(values, seed, name) for name, values in ATTRIBUTES.items()}
    names = _names(seed)
    taken: set[tuple[str, ...]] = set()
    species = []
    for number in range(count):
        attributes = _combination(decks)
        while tuple(attributes.values()) in taken:
            attributes = _combination(decks)
        taken.add(tuple(attributes.values()))
        own = appearance(attributes, stream(seed, "garden", number, "look"))
        species.append(
            Species(number=number, name=next(names), attributes=attributes, appearance=own)
        )
    return species


class _Deck:
    """Deals the values of one attribute in shuffled rounds, each equally often."""

    def __init__(self, values: tuple[str, ...], seed: int, name: str) -> None:
        self.values = values
        self.rng = stream(seed, "garden", "deck", name)
        self.left: list[str] = []

    def deal(self, barred: tuple[str, ...] = ()) -> str:
        """The next value that is not in `barred`; skipped values come first next time."""
        if all(value in barred for value in self.left):
            self.left += [str(value) for value in self.rng.permutation(self.values)]
        value = next(value for value in self.left if value not in barred)
        self.left.remove(value)
        return value


def _combination(decks: dict[str, _Deck]) -> dict[str, str]:
    """One value of every attribute; the centre's colour differs from the petals'."""
    dealt: dict[str, str] = {}
    for name, deck in decks.items():
        barred = CLASHES.get(dealt["petal_colour"], ()) if name == "centre_colour" else ()
        dealt[name] = deck.deal(barred)
    return dealt


def _names(seed: int) -> Iterator[str]:
    """Invented names of two parts, each once; numbered once all are used."""
    pairs = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    order = stream(seed, "garden", "names").permutation(len(pairs))
    edition = 1
    while True:
        suffix = "" if edition == 1 else f" {edition}"
        yield from (pairs[i] + suffix for i in order)
        edition += 1


def _splits(count: int, seed: int, *path: str | int) -> list[str]:
    """A split for each of `count` things, 62, 25 and 13 %; none is empty from three on."""
    least = 1 if count >= 3 else 0
    val, test = (max(least, round(share * count)) for share in (VAL, TEST))
    labels = ["train"] * (count - val - test) + ["val"] * val + ["test"] * test
    order = stream(seed, "garden", "split", *path).permutation(count)
    return [labels[i] for i in np.argsort(order)]
