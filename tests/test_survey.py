"""What is odd in a set of captioned images is found, and what is not is left alone."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from pairsynth.sources.contract import Example
from pairsynth.sources.languages import language_of
from pairsynth.sources.survey import BITS, SHADES, Survey, near_pairs, perceptual_hash, script_of


def scene(seed: int, side: int = 96) -> Image.Image:
    """A smooth random image, unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def surveyed(
    images: Sequence[Image.Image], splits: Sequence[str] = (), captions: Sequence[str] = ()
) -> dict[str, tuple[int, list[tuple[str, str]]]]:
    survey = Survey(size=64)
    for i, image in enumerate(images):
        split = splits[i] if splits else "train"
        caption = captions[i] if captions else f"image {i}"
        survey.note(
            Example(
                image_id=str(i),
                class_id=0,
                class_name="",
                split=split,
                image=image,
                captions=(caption,),
            ),
            image,
        )
    return {one.kind: (one.count, one.examples) for one in survey.findings()}


def test_images_that_look_the_same_are_twins() -> None:
    image = scene(0)
    smaller = image.resize((48, 48)).resize((96, 96))
    brighter = ImageEnhance.Brightness(image).enhance(1.03)
    others = [scene(seed) for seed in range(1, 40)]
    found = surveyed([image, smaller, *others, brighter])
    assert set(found) == {"twins"}
    assert found["twins"] == (2, [("1", "like 0, in train"), ("41", "like 0, in train")])


def test_twins_in_other_splits_are_said_apart() -> None:
    splits = ["train", "test", "val"]
    brighter = ImageEnhance.Brightness(scene(0)).enhance(1.03)
    found = surveyed([scene(0), brighter, scene(1)], splits)
    assert found == {"twins_across_splits": (1, [("1", "like 0, in train")])}


def test_the_same_pixels_in_another_split_are_named_and_not_taken_in() -> None:
    survey = Survey(size=64)
    told = [
        survey.note(
            Example(
                image_id=name,
                class_id=0,
                class_name="",
                split=split,
                image=scene(0),
                captions=("a flower",),
            ),
            scene(0),
        )
        for name, split in (("a", "train"), ("b", "train"), ("c", "test"))
    ]
    assert told == [None, None, "a"]
    assert survey.ids == ["a", "b"]


def test_another_colour_or_the_mirror_image_is_no_twin() -> None:
    image = scene(3)
    red, green, blue = image.split()
    recoloured = Image.merge("RGB", (blue, green, red))
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert surveyed([image, recoloured, mirrored]) == {}


def test_blank_images_are_no_twins() -> None:
    found = surveyed([Image.new("RGB", (64, 64), "red")] * 2)
    assert found == {"blank": (2, [("0", "colour (255, 0, 0)"), ("1", "colour (255, 0, 0)")])}


def test_all_near_pairs_are_found() -> None:
    """Beside a search through all pairs."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(1, 2**63, 60).astype(np.uint64)
    for i in range(30, 60):  # each a few bits away from an earlier one
        flipped = rng.choice(63, i % 8, replace=False)
        hashes[i] = int(hashes[i - 30]) ^ sum(1 << int(bit) for bit in flipped)
    thumbnails = rng.integers(0, 12, (60, 5), np.uint8)
    wanted = {
        (b, a)
        for a, b in itertools.combinations(range(60), 2)
        if (int(hashes[a]) ^ int(hashes[b])).bit_count() <= BITS
        and np.abs(thumbnails[a].astype(int) - thumbnails[b]).mean() <= SHADES
    }
    assert len(wanted) > 10
    assert set(near_pairs(hashes, thumbnails)) == wanted


def test_captions_that_many_images_share() -> None:
    captions = ["a flower", "a red flower", "a flower", "a flower"]
    found = surveyed([scene(seed) for seed in range(4)], captions=captions)
    told = "3 images have the same caption"
    assert found == {"without_own_caption": (3, [("0", told), ("2", told), ("3", told)])}


def test_captions_in_another_script() -> None:
    captions = ["a red flower", "a blue one", "красный цветок", "a flower, 花"]
    found = surveyed([scene(seed) for seed in range(4)], captions=captions)
    assert found == {"other_script": (1, [("2", "Cyrillic: красный цветок")])}


@pytest.mark.parametrize(
    ("caption", "script"),
    [("Blüte", "LATIN"), ("цветок", "CYRILLIC"), ("红色的花", "CJK"), ("ดอกไม้", "THAI"), ("5", "")],
)
def test_scripts_by_their_letters(caption: str, script: str) -> None:
    assert script_of(caption) == script


def test_captions_in_another_language() -> None:
    captions = [
        "a red flower with two leaves",
        "eine rote Blume mit zwei Blättern",
        "the petals are in the shade",
        "rote Blume",
    ]
    found = surveyed([scene(seed) for seed in range(4)], captions=captions)
    told = "German: eine rote Blume mit zwei Blättern"
    assert found == {"other_language": (1, [("1", told)])}


@pytest.mark.parametrize(
    ("caption", "language"),
    [
        ("a plane is on the runway", "English"),
        ("An old man in a hat, by the door.", "English"),
        ("man in wheelchair", ""),
        ("Ein Mann mit Hut steht vor einer Tür", "German"),
        ("Un homme avec un chapeau est devant une porte", "French"),
        ("Un hombre con sombrero y una maleta", "Spanish"),
        ("Um homem com uma mala no chão", "Portuguese"),
        ("Un uomo che tiene una valigia nel parco degli alberi e gli amici", "Italian"),
        ("Een man met een hoed", "Dutch"),
        ("En man med hatt och ett paraply", "Swedish"),
        ("Mężczyzna jest w parku, z psem się bawi", "Polish"),
        ("Bir adam ve iki köpek", "Turkish"),
        ("Seorang pria dengan topi di taman yang luas", "Indonesian"),
        ("một người đàn ông và những bông hoa của tôi", "Vietnamese"),
        ("red flower", ""),
        ("man in hat", ""),
        ("красный цветок и синий", ""),
        ("", ""),
    ],
)
def test_languages_by_their_small_words(caption: str, language: str) -> None:
    assert language_of(caption) == language


def test_a_hash_has_half_of_its_bits_set() -> None:
    assert {perceptual_hash(scene(seed)).bit_count() for seed in range(20)} == {32}


def test_small_images_are_told_by_their_size() -> None:
    found = surveyed([scene(0), scene(1, 40)])
    assert found == {"enlarged": (1, [("1", "40 x 40 pixels")])}
