"""Filters: thresholds read off real images and captions, and what each refuses."""

import math

import pytest
import torch

from pairsynth.captioner import MAX_WORDS
from pairsynth.encoders import JointEncoder
from pairsynth.examples import Embeddings, Examples
from pairsynth.filters import (
    FILTERS,
    FLAT,
    INCONSISTENT,
    REPEATING,
    SATURATED,
    UNFINISHED,
    Candidates,
    Thresholds,
    calibrate,
    contrast,
    repetition,
    saturation,
    words,
)


@pytest.fixture(scope="module")
def thresholds(val: Examples, encoder: JointEncoder) -> Thresholds:
    vectors = Embeddings(
        image=encoder.embed_images(val.pixels), psi=encoder.embed_captions(val.flat_captions)
    )
    return calibrate(val, vectors, 32)


def candidates(val: Examples, **changes: object) -> Candidates:
    """Twelve real pairs, sound in every way but for the changes."""
    told = {
        "pixels": val.pixels,
        "captions": [own[0] for own in val.captions],
        "consistency": torch.ones(12),
    }
    return Candidates(**{**told, **changes})  # type: ignore[arg-type]


def odd(val: Examples, name: str) -> Candidates:
    """The first two as no image or caption should be, of the kind that the filter is for."""
    pixels, captions = val.pixels.clone(), [own[0] for own in val.captions]
    consistency = torch.ones(12)
    if name == UNFINISHED:
        captions[:2] = [" ".join(f"word{i}" for i in range(MAX_WORDS))] * 2
    elif name == REPEATING:
        captions[:2] = ["the petals are red and the petals are red and the petals are red"] * 2
    elif name == FLAT:
        pixels[:2] = 140
    elif name == SATURATED:
        pixels[:2, :, :24] = 255
        pixels[:2, :, 24:] = 0
    else:
        consistency[:2] = -1
    return Candidates(pixels=pixels, captions=captions, consistency=consistency)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_refuses_its_own_fault_and_no_real_pair(
    name: str, thresholds: Thresholds, val: Examples
) -> None:
    assert thresholds.faults(candidates(val)) == [None] * 12
    found = thresholds.faults(odd(val, name))
    assert found[2:] == [None] * 10
    for fault in found[:2]:
        assert fault is not None
        reason, why = fault
        assert reason == name
        assert why.startswith(f"{name}: ")
        assert f" {FILTERS[name].unit}, {'more' if FILTERS[name].over else 'less'} than " in why


def test_measures_by_hand() -> None:
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    pixels[0, :, :2] = 200
    pixels[1] = 255
    pixels[1, 0, 0] = 7
    told = Candidates(
        pixels=pixels,
        captions=["a red, a red, a red flower", "one two"],
        consistency=torch.zeros(2),
    )
    assert words(told).tolist() == [9, 2]
    # a red , | red , a | , a red | a red , | red , a | , a red | a red flower: 4 of 7 are new
    assert repetition(told).tolist() == pytest.approx([3 / 7, 0])
    grey = torch.tensor([200.0] * 8 + [0.0] * 8)
    assert float(contrast(told)[0]) == pytest.approx(float(grey.std()), rel=1e-5)
    assert saturation(told).tolist() == pytest.approx([0.5, 12 / 16])


def test_what_is_common_among_real_ones_is_no_fault(val: Examples) -> None:
    """Long captions, drawings of two tones, images of one colour."""
    vectors = Embeddings(image=torch.eye(12), psi=torch.eye(len(val.flat_captions))[:, :12])
    long = [[" ".join(["so"] * 60)] for _ in range(12)]
    two_tones = torch.zeros_like(val.pixels)
    two_tones[:, :, 10:] = 255
    drawn = Examples(
        ids=val.ids,
        class_ids=val.class_ids,
        class_names=val.class_names,
        pixels=two_tones,
        captions=long,
        attributes=None,
    )
    found = calibrate(drawn, vectors, 32)
    assert found.values[UNFINISHED] == math.inf
    assert found.values[SATURATED] == 1
    assert found.values[REPEATING] > 0.9
    assert found.faults(candidates(drawn, captions=[own[0] for own in long])) == [None] * 12
    even = Examples(
        ids=val.ids,
        class_ids=val.class_ids,
        class_names=val.class_names,
        pixels=two_tones * 0,
        captions=val.captions,
        attributes=None,
    )
    assert calibrate(even, vectors, 32).values[FLAT] == 0
    stated = {row["name"]: row for row in found.stated()}
    assert list(stated) == list(FILTERS)
    assert stated[UNFINISHED]["threshold"] is None
    assert stated[SATURATED] == {
        "name": SATURATED,
        "threshold": 1.0,
        "unit": "share",
        "refused": "over",
        "of": FILTERS[SATURATED].meaning,
    }


def test_agreement_is_measured_against_real_ones_thrown_together(val: Examples) -> None:
    """Each image is at 1 with its own caption, at 0 with any other: half are not under 0."""
    first = val.first_caption
    psi = torch.zeros(len(val.flat_captions), 12)
    for row in range(12):
        psi[int(first[row]) : int(first[row + 1]), row] = 1
    found = calibrate(val, Embeddings(image=torch.eye(12), psi=psi), 32)
    assert found.values[INCONSISTENT] == 0
