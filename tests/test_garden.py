"""The garden: the same flowers from the same seed, balanced, and described truthfully."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pairsynth.seeds import stream
from pairsynth.sources import garden_captions
from pairsynth.sources.contract import SPLITS, Example, SourceLog
from pairsynth.sources.garden import ATTRIBUTES, CLASHES, Species, garden, grow
from pairsynth.sources.garden_captions import WORDS
from tests.options import DOWNLOAD

SIZE = 64


def grown(
    species: int = 6, examples: int = 4, size: int = SIZE, split: str = "class", seed: int = 0
) -> list[Example]:
    config = replace(
        DOWNLOAD,
        source="garden",
        image_size=size,
        split=split,
        broken="refuse",
        garden_species=species,
        garden_images=examples,
    )
    return list(garden(config, seed, Path("unused"), SourceLog()))


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return grown(species=160, examples=1)


@pytest.fixture(scope="module")
def species() -> list[Species]:
    return grow(160, 0)


@pytest.fixture(scope="module")
def written(species: list[Species]) -> list[tuple[dict[str, str], str, dict[str, str]]]:
    """Thousands of (attributes, caption, what the grammar says it named)."""
    rng = stream(1, "captions")
    return [
        (kind.attributes, *garden_captions.write(kind.attributes, rng))
        for kind in species
        for _ in range(30)
    ]


def truth(example: Example) -> dict[str, str]:
    assert example.attributes is not None
    return example.attributes


def test_the_same_seed_grows_the_same_garden() -> None:
    first, second = grown(), grown()
    assert [e.image.tobytes() for e in first] == [e.image.tobytes() for e in second]
    assert [e.captions for e in first] == [e.captions for e in second]
    assert first[0].image.tobytes() != grown(seed=1)[0].image.tobytes()


def test_an_image_does_not_depend_on_how_much_else_is_grown() -> None:
    few = {e.image_id: e for e in grown(species=6, examples=2)}
    many = {e.image_id: e for e in grown(species=9, examples=3)}
    assert set(few) < set(many)
    for image_id, example in few.items():
        assert example.image.tobytes() == many[image_id].image.tobytes()
        assert example.captions == many[image_id].captions
        assert example.class_name == many[image_id].class_name


@pytest.mark.parametrize("size", [32, 64, 128])
def test_images_have_the_size_asked_for(size: int) -> None:
    examples = [e.image for e in grown(examples=1, size=size)]
    assert {(p.mode, p.size) for p in examples} == {("RGB", (size, size))}
    assert all(np.asarray(p).std() > 20 for p in examples)


def test_the_flower_is_the_same_at_every_size() -> None:
    for small, large in zip(grown(examples=1, size=64), grown(examples=1, size=128), strict=True):
        reduced = large.image.resize((64, 64), Image.Resampling.BOX)
        gap = np.abs(np.asarray(reduced, float) - np.asarray(small.image, float))
        assert gap.mean() < 8


def test_identifiers_and_names_are_unique(examples: list[Example]) -> None:
    assert len({e.image_id for e in examples}) == len(examples) == 160
    names = {e.class_id: e.class_name for e in examples}
    assert sorted(names) == list(range(160))
    assert len(set(names.values())) == 160


def test_names_do_not_run_out() -> None:
    names = [kind.name for kind in grow(700, 0)]
    assert len(set(names)) == 700


def test_names_do_not_leak_into_captions(examples: list[Example]) -> None:
    vocabulary = set(" ".join(c for e in examples for c in e.captions).replace(",", "").split())
    assert not vocabulary & set(" ".join(e.class_name for e in examples).split())


@pytest.mark.parametrize("count", [6, 7, 20])
def test_class_split_leaves_no_split_empty(count: int) -> None:
    examples = grown(species=count, examples=1, size=32)
    assert {e.split for e in examples} == set(SPLITS)


def test_class_split_has_reeds_shares(examples: list[Example]) -> None:
    assert [sum(e.split == split for e in examples) for split in SPLITS] == [99, 40, 21]


def test_class_split_is_disjoint() -> None:
    assert len({(e.class_id, e.split) for e in grown(examples=5, size=32)}) == 6


def test_image_split_puts_every_species_in_every_split() -> None:
    examples = grown(examples=8, size=32, split="image")
    assert len({(e.class_id, e.split) for e in examples}) == 6 * len(SPLITS)
    assert sum(e.split == "train" for e in examples) == 6 * 5


def test_no_two_species_have_the_same_attributes() -> None:
    kinds = grow(600, 3)
    assert len({tuple(kind.attributes.values()) for kind in kinds}) == 600


def test_centres_stand_out_from_petals(species: list[Species]) -> None:
    for kind in species:
        barred = CLASHES.get(kind.attributes["petal_colour"], ())
        assert kind.attributes["centre_colour"] not in barred


def test_values_are_balanced(species: list[Species]) -> None:
    for name, values in ATTRIBUTES.items():
        counts = [sum(kind.attributes[name] == value for kind in species) for value in values]
        assert min(counts) >= 0.6 * len(species) / len(values), (name, counts)


def test_every_value_occurs_in_training(examples: list[Example]) -> None:
    for name, values in ATTRIBUTES.items():
        assert {truth(e)[name] for e in examples if e.split == "train"} == set(values)


def test_each_image_has_ten_different_captions(examples: list[Example]) -> None:
    assert all(len(set(e.captions)) == len(e.captions) == 10 for e in examples)


def test_captions_read_like_reeds(examples: list[Example]) -> None:
    captions = [c for e in examples for c in e.captions]
    assert all(c == c.lower() and c == c.strip() and "<" not in c for c in captions)
    assert not any(c.endswith((".", ",")) or "  " in c or " ," in c for c in captions)
    lengths = [len(c.split()) for c in captions]
    assert min(lengths) <= 4
    assert max(lengths) >= 25
    assert len(set(captions)) > 0.95 * len(captions)
    vocabulary = set(" ".join(captions).replace(",", "").split())
    assert 140 <= len(vocabulary) <= 250


def test_captions_are_true(examples: list[Example]) -> None:
    for example in examples:
        for caption in example.captions:
            assert WORDS.named(caption).items() <= truth(example).items(), caption


def test_the_reader_finds_all_that_the_grammar_says(
    written: list[tuple[dict[str, str], str, dict[str, str]]],
) -> None:
    for attributes, caption, said in written:
        assert said.items() <= attributes.items()
        assert WORDS.named(caption) == said, caption


def test_no_number_of_petals_is_half_the_truth(
    written: list[tuple[dict[str, str], str, dict[str, str]]],
) -> None:
    for attributes, caption, said in written:
        if "petal_count" in said and attributes["arrangement"] == "layered":
            assert f"two layers of {said['petal_count']}" in caption


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("petal_colour", 0.95, 1.0),
        ("centre_colour", 0.60, 0.72),
        ("petal_shape", 0.60, 0.72),
        ("petal_count", 0.15, 0.35),
        ("arrangement", 0.15, 0.35),
        ("size", 0.15, 0.35),
        ("edge", 0.15, 0.35),
        ("centre_size", 0.15, 0.35),
        ("leaves", 0.15, 0.35),
        ("background", 0.15, 0.35),
    ],
)
def test_how_often_captions_name_an_attribute(
    written: list[tuple[dict[str, str], str, dict[str, str]]],
    name: str,
    least: float,
    most: float,
) -> None:
    assert least <= np.mean([name in said for _, _, said in written]) <= most


def test_every_wording_and_rule_is_used(
    written: list[tuple[dict[str, str], str, dict[str, str]]],
) -> None:
    text = " ".join(caption.replace(",", "") for _, caption, _ in written)
    for values in garden_captions.LEXICON.values():
        for way in (way for ways in values.values() for way in ways):
            assert way in text
    rules = garden_captions.rules()
    symbols = {s for _, expansions in rules.values() for e in expansions for s in e}
    assert {symbol for symbol in symbols if symbol.isupper()} == set(rules) - {"S"}


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("", {}),
        ("a photo of nothing", {}),
        ("Red.", {"petal_colour": "red"}),
        ("the center of this red flower is yellow", ["red", "yellow"]),
        ("the stamen is white and the petals are blue", ["blue", "white"]),
        ("pink petals with yellow in the center", ["pink", "yellow"]),
        ("the petals are purple and the stamen yellow", ["purple", "yellow"]),
        ("light purple flower, golden pistil", ["lavender", "yellow"]),
        ("this flower is white with a center that is green", ["white", "green"]),
        ("petals that are red and green leaves", {"petal_colour": "red"}),
        ("blue flower on a green background", {"petal_colour": "blue", "background": "green"}),
        ("a red center", {}),
        ("a small flower", {"size": "small"}),
        ("a flower with a small center", {"centre_size": "small"}),
        ("red red petals", {"petal_colour": "red"}),
    ],
)
def test_the_reader_reads_other_writers(caption: str, values: dict[str, str] | list[str]) -> None:
    if isinstance(values, list):
        values = dict(zip(("petal_colour", "centre_colour"), values, strict=True))
    assert WORDS.named(caption) == values


# What an independent eye expects: hue in degrees, saturation and value of a colour's region.
SEEN = {
    "red": ((-14, 10), (0.6, 1.0), (0.4, 1.0)),
    "orange": ((14, 38), (0.6, 1.0), (0.5, 1.0)),
    "yellow": ((43, 64), (0.5, 1.0), (0.5, 1.0)),
    "white": ((0, 360), (0.0, 0.16), (0.55, 1.0)),
    "pink": ((314, 342), (0.25, 0.62), (0.5, 1.0)),
    "lavender": ((240, 268), (0.15, 0.45), (0.5, 1.0)),
    "purple": ((275, 300), (0.4, 0.9), (0.2, 0.75)),
    "blue": ((206, 236), (0.45, 1.0), (0.35, 1.0)),
    "green": ((75, 115), (0.3, 0.9), (0.3, 0.8)),
    "brown": ((5, 35), (0.4, 0.95), (0.12, 0.5)),
}


def seen_as(pixels: NDArray[np.uint8], colour: str) -> float:
    """Share of the HSV `pixels` (count, 3) that lie in the box of `colour`."""
    hues, *rest = SEEN[colour]
    hue = pixels[:, 0] * (360 / 255)
    inside = ((hue - hues[0]) % 360) <= min(hues[1] - hues[0], 360)
    for band, (low, high) in enumerate(rest, 1):
        inside &= (pixels[:, band] >= low * 255) & (pixels[:, band] <= high * 255)
    return float(inside.mean())


def test_the_petals_have_the_named_colour(examples: list[Example]) -> None:
    """The petals' colour covers more of the image than any other petal colour does.

    Colours that the centre or the background has by right do not compete.
    """
    right = 0
    for example in examples:
        own = truth(example)["petal_colour"]
        others = {truth(example)["centre_colour"], truth(example)["background"]}
        pixels = np.asarray(example.image.convert("HSV"))[12:52, 12:52].reshape(-1, 3)
        shares = {c: seen_as(pixels, c) for c in {*ATTRIBUTES["petal_colour"]} - others | {own}}
        right += max(shares, key=lambda c: shares[c]) == own
    assert right >= 0.97 * len(examples)


def test_the_centre_has_the_named_colour(examples: list[Example]) -> None:
    """Most pixels near the middle of a large, centred-enough flower have its centre's colour."""
    shares = []
    for example in examples:
        if truth(example)["size"] == "large" and truth(example)["centre_size"] == "large":
            pixels = np.asarray(example.image.convert("HSV"))[28:36, 28:36].reshape(-1, 3)
            shares.append(seen_as(pixels, truth(example)["centre_colour"]))
    assert np.median(shares) > 0.6


def test_one_flower_can_be_described_in_hundreds_of_ways() -> None:
    attributes = grow(6, 0)[0].attributes
    rng = stream(0, "endless")
    texts = {garden_captions.write(attributes, rng)[0] for _ in range(500)}
    assert len(texts) > 400
