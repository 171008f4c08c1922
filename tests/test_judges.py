"""The judge learns what real images show, and its answers do not depend on the batch."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from pairsynth import seeds
from pairsynth.evaluation import judges
from pairsynth.evaluation.judges import Judge
from pairsynth.examples import Examples
from tests.workspace import undone

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def told(examples: Examples) -> Examples:
    """The 24 images with their colour as a known attribute."""
    return replace(examples, attributes=[{"colour": name} for name in examples.class_names])


@pytest.fixture(scope="module")
def judge(told: Examples) -> Iterator[Judge]:
    with undone():
        seeds.fix(0, "judge")
        model = judges.build(told, 32)
        assert len(list(judges.train(model, told, 40, 0, CPU, batch=12))) == 40
        yield model


def test_it_reads_the_attributes_of_images_it_never_saw(judge: Judge, val: Examples) -> None:
    seen = [one["colour"] for one in judge.assess(val.pixels).attributes]
    right = sum(a == b for a, b in zip(seen, val.class_names, strict=True))
    assert right >= 10


def test_it_finds_the_caption_of_images_it_never_saw(judge: Judge, val: Examples) -> None:
    captions = [f"this flower is {name}" for name in ("red", "blue", "yellow", "white")]
    found = (judge.image_vectors(val.pixels) @ judge.caption_vectors(captions).T).argmax(1)
    right = sum(
        name in captions[i] for name, i in zip(val.class_names, found.tolist(), strict=True)
    )
    assert right >= 10


def test_vectors_are_of_unit_length(judge: Judge, val: Examples) -> None:
    for found in (judge.image_vectors(val.pixels), judge.caption_vectors(val.flat_captions)):
        assert torch.allclose(found.norm(dim=1), torch.ones(len(found)), atol=1e-5)


@pytest.mark.parametrize("batch", [1, 5])
def test_the_batch_changes_nothing(judge: Judge, val: Examples, batch: int) -> None:
    whole, parts = judge.image_features(val.pixels), judge.image_features(val.pixels, batch)
    assert torch.allclose(whole, parts, atol=1e-5)
    captions = val.flat_captions
    one = torch.cat([judge.caption_vectors([caption]) for caption in captions])
    assert torch.allclose(judge.caption_vectors(captions), one, atol=1e-5)


def test_without_attributes_it_still_learns_to_match(examples: Examples) -> None:
    model = judges.build(examples, 32)
    losses = [report.loss for report in judges.train(model, examples, 12, 0, CPU, batch=12)]
    assert losses[-1] < losses[0]
    assert model.assess(examples.pixels[:2]).attributes == [{}, {}]


def test_images_without_a_margin_are_shaken_too(examples: Examples) -> None:
    shaken = judges.shake(examples.pixels, 32, torch.Generator().manual_seed(0))
    assert shaken.shape == examples.pixels.shape
    assert shaken.dtype == torch.uint8
    assert not torch.equal(shaken, examples.pixels)
