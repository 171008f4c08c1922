"""Likeness tells real from degraded, and says the same whatever else is measured."""

from dataclasses import replace

import pytest
import torch

from pairsynth.encoders import JointEncoder
from pairsynth.evaluation import judges
from pairsynth.evaluation.context import EvaluationConfig, EvaluationContext, Figure, Pairs
from pairsynth.evaluation.fidelity import degrade, fidelity, views
from pairsynth.examples import Embeddings, Pictures
from pairsynth.mappings import Mappings
from pairsynth.metrics.distributions import vendi
from pairsynth.metrics.novelty import NoveltyIndex
from tests.conftest import draw


@pytest.fixture(scope="module")
def scene(val: Pictures, encoder: JointEncoder, mappings: Mappings) -> EvaluationContext:
    """Real pictures of two draws, 60 of each, and an untrained judge."""
    splits = {"train": draw(11, 15), "val": val, "test": draw(12, 15)}
    vectors = {
        name: Embeddings(
            encoder.embed_images(one.pixels), encoder.embed_captions(one.flat_captions)
        )
        for name, one in splits.items()
    }
    torch.manual_seed(0)
    judge = judges.build(val, 32).eval()
    novelty = NoveltyIndex(splits["train"], vectors["train"].psi, val, 32)
    config = EvaluationConfig(60, 60, 8, 2, 1, "", 2, 3)
    return EvaluationContext(mappings, judge, splits, vectors, novelty, config, 5)


def pairs(pixels: torch.Tensor) -> Pairs:
    count = len(pixels)
    ids = [f"pair-{i:07}" for i in range(count)]
    unknown = torch.full((count,), -1)
    return Pairs(
        ids, ["a flower"] * count, pixels, ["text_density"] * count, [0.5] * count, unknown
    )


def measured(scene: EvaluationContext, pixels: torch.Tensor) -> dict[str, Figure]:
    groups = fidelity(scene, scene.test.pixels, pairs(pixels))
    return {figure.key: figure for group in groups for figure in group}


@pytest.fixture(scope="module")
def found(scene: EvaluationContext) -> dict[str, Figure]:
    return measured(scene, draw(13, 15).pixels)


def value(found: dict[str, Figure], key: str) -> float:
    told = found[key].value
    assert told is not None
    return told


@pytest.mark.parametrize("view", ["pixels", "random", "judge"])
def test_every_measure_is_told_in_every_view(found: dict[str, Figure], view: str) -> None:
    for subject in ("drawn_and_test", "pairs_and_train", "real_test_and_train"):
        for measure in ("kid", "vendi", "vendi_real", "frechet_infinity", "recall", "told_apart"):
            assert found[f"images_{view}_{subject}_{measure}"].value is not None
            assert found[f"images_{view}_{subject}_{measure}"].count == 60


@pytest.mark.parametrize("view", ["random", "judge"])
def test_degraded_pictures_are_further_from_real_ones(found: dict[str, Figure], view: str) -> None:
    real = value(found, f"images_{view}_real_test_and_train_kid")
    assert value(found, f"images_{view}_degraded_test_and_train_kid") > 2 * abs(real)


def test_real_pictures_that_came_out_as_pairs_are_like_real_ones(found: dict[str, Figure]) -> None:
    pairs, real = (
        value(found, f"images_random_{one}_and_train_kid") for one in ("pairs", "real_test")
    )
    degraded = value(found, "images_random_degraded_test_and_train_kid")
    assert abs(pairs) < degraded / 2
    assert abs(real) < degraded / 2
    assert value(found, "images_random_drawn_and_test_recall") == 1


def test_collapsed_pairs_are_seen(scene: EvaluationContext) -> None:
    """One picture again and again: nothing is covered and there is one of a kind."""
    found = measured(scene, scene.train.pixels[:1].expand(60, -1, -1, -1))
    assert value(found, "images_random_pairs_and_train_vendi") == pytest.approx(1, abs=1e-3)
    assert value(found, "images_random_pairs_and_train_coverage") < 0.3


def test_vendi_is_of_the_features_of_the_view(
    scene: EvaluationContext, found: dict[str, Figure]
) -> None:
    features = views(scene)["random"](scene.test.pixels)
    wanted = vendi(features)
    assert value(found, "images_random_real_test_and_train_vendi") == pytest.approx(wanted)


def test_few_pictures_leave_out_what_needs_many(scene: EvaluationContext) -> None:
    small = {**scene.pictures, "test": draw(12, 1)}
    groups = fidelity(replace(scene, pictures=small), draw(12, 1).pixels, pairs(draw(13, 1).pixels))
    measures = {figure.measure for group in groups for figure in group}
    assert measures == {"kid", "vendi", "vendi_real"}


def test_degraded_pictures_keep_size_and_mean(val: Pictures) -> None:
    found = degrade(val.pixels)
    assert found.shape == val.pixels.shape
    assert found.dtype == torch.uint8
    assert abs(float(found.float().mean() - val.pixels.float().mean())) < 2
    assert float(found.float().std()) < float(val.pixels.float().std())
