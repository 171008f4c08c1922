"""Fidelity tells real from degraded, and says the same whatever else is measured."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pairsynth.efficientnet import JUDGE, installed
from pairsynth.encoders import JointEncoder
from pairsynth.evaluation import fidelity, judges
from pairsynth.evaluation.context import Drawn, EvaluationContext, Figure, Pairs
from pairsynth.evaluation.fidelity import degrade, relative, variety
from pairsynth.evaluation.made import Made
from pairsynth.examples import Examples
from pairsynth.images import to_tensor
from pairsynth.lexicon import Lexicon
from pairsynth.mappings import Mappings
from pairsynth.metrics.distributions import kid, manifold, vendi
from pairsynth.metrics.feature_extractors import Features, imagenet_features
from pairsynth.metrics.novelty import NoveltyIndex
from pairsynth.seeds import stream
from pairsynth.sources import garden_drawing
from pairsynth.sources.garden import grow
from tests.conftest import draw
from tests.options import EVALUATION
from tests.rows import embedded


@pytest.fixture(scope="module")
def context(val: Examples, encoder: JointEncoder, mappings: Mappings) -> EvaluationContext:
    """Real images of two draws, 60 of each, and an untrained judge."""
    splits = {"train": draw(11, 15), "val": val, "test": draw(12, 15)}
    vectors = {name: embedded(encoder, one) for name, one in splits.items()}
    torch.manual_seed(0)
    judge = judges.build(val, 32).eval()
    novelty = NoveltyIndex(splits["train"], vectors["train"].psi, val, 32)
    config = replace(EVALUATION, captioned=60, pairs=60)
    return EvaluationContext(
        mappings=mappings,
        judge=judge,
        examples=splits,
        embeddings=vectors,
        novelty=novelty,
        config=config,
        seed=5,
        lexicon=Lexicon(),
    )


def pairs(pixels: torch.Tensor) -> Pairs:
    count = len(pixels)
    ids = [f"pair-{i:07}" for i in range(count)]
    unknown = torch.full((count,), -1)
    return Pairs(
        ids=ids,
        captions=["a flower"] * count,
        pixels=pixels,
        strategies=["text_density"] * count,
        consistency=[0.5] * count,
        class_ids=unknown,
    )


def seen_by(context: EvaluationContext, name: str) -> Features:
    view = fidelity.view_of(context, name)
    assert view is not None
    return view


def in_every_view(
    context: EvaluationContext, drawn: torch.Tensor, made: torch.Tensor
) -> list[Figure]:
    ours = Made(drawn=Drawn(rows=[], captions=[], pixels=drawn), pairs=pairs(made), rows=[])
    return [figure for part in fidelity.PARTS.values() for figure in part(context, ours)]


def measured(context: EvaluationContext, pixels: torch.Tensor) -> dict[str, Figure]:
    return {figure.key: figure for figure in in_every_view(context, context.test.pixels, pixels)}


@pytest.fixture(scope="module")
def found(context: EvaluationContext) -> dict[str, Figure]:
    return measured(context, draw(13, 15).pixels)


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
def test_degraded_images_are_further_from_real_ones(found: dict[str, Figure], view: str) -> None:
    real = value(found, f"images_{view}_real_test_and_train_kid")
    assert value(found, f"images_{view}_degraded_test_and_train_kid") > 2 * abs(real)


def test_real_images_that_came_out_as_pairs_are_like_real_ones(found: dict[str, Figure]) -> None:
    pairs, real = (
        value(found, f"images_random_{one}_and_train_kid") for one in ("pairs", "real_test")
    )
    degraded = value(found, "images_random_degraded_test_and_train_kid")
    assert abs(pairs) < degraded / 2
    assert abs(real) < degraded / 2
    assert value(found, "images_random_drawn_and_test_recall") == 1


def test_collapsed_pairs_are_seen(context: EvaluationContext) -> None:
    """One image again and again: nothing is covered and there is one of a kind."""
    found = measured(context, context.train.pixels[:1].expand(60, -1, -1, -1))
    assert value(found, "images_random_pairs_and_train_vendi") == pytest.approx(1, abs=1e-3)
    assert value(found, "images_random_pairs_and_train_coverage") < 0.3


def test_vendi_is_of_the_features_of_the_view(
    context: EvaluationContext, found: dict[str, Figure]
) -> None:
    features = seen_by(context, "random")(context.test.pixels)
    wanted = vendi(features)
    assert value(found, "images_random_real_test_and_train_vendi") == pytest.approx(wanted)


def test_few_images_leave_out_what_needs_many(context: EvaluationContext) -> None:
    small = {**context.examples, "test": draw(12, 1)}
    few = replace(context, examples=small)
    figures = in_every_view(few, draw(12, 1).pixels, draw(13, 1).pixels)
    measures = {figure.measure for figure in figures}
    assert measures - {"apart", "apart_share"} == {"kid", "vendi", "vendi_real"}


def test_degraded_images_keep_size_and_mean(val: Examples) -> None:
    found = degrade(val.pixels)
    assert found.shape == val.pixels.shape
    assert found.dtype == torch.uint8
    assert abs(float(found.float().mean() - val.pixels.float().mean())) < 2
    assert float(found.float().std()) < float(val.pixels.float().std())


# ---------------------------------------------------------------- what the eye sees

with_weights = pytest.mark.skipif(
    not installed(JUDGE), reason="the extra imagenet is not installed"
)


def flowers(first: int, count: int) -> torch.Tensor:
    """Garden flowers of `count` species, two of each, uint8 (2 count, 3, 64, 64)."""
    species = grow(first + count, 3)[first:]
    drawn = [
        garden_drawing.draw(kind.attributes, kind.appearance, 64, stream(3, "test", kind.number, i))
        for kind in species
        for i in range(2)
    ]
    return torch.stack([to_tensor(one) for one in drawn])


def blocks_shuffled(pixels: torch.Tensor, side: int = 8) -> torch.Tensor:
    """The blocks of each image in an order of chance: colours and texture stay, form goes."""
    unfolded = F.unfold(pixels.float(), side, stride=side)
    rng = torch.Generator().manual_seed(0)
    orders = [torch.randperm(unfolded.shape[-1], generator=rng) for _ in pixels]
    mixed = torch.stack([one[:, order] for one, order in zip(unfolded, orders, strict=True)])
    return F.fold(mixed, pixels.shape[-2:], side, stride=side).to(torch.uint8)


def smears(pixels: torch.Tensor) -> torch.Tensor:
    """Soft noise of each image's own mean colour and contrast: what a poor generator draws."""
    rng = torch.Generator().manual_seed(1)
    flat = pixels.float()
    soft = torch.randn(len(pixels), 3, 8, 8, generator=rng)
    soft = F.interpolate(soft, size=pixels.shape[-2:], mode="bicubic")
    found = flat.mean((2, 3), keepdim=True) + flat.std((2, 3), keepdim=True) * soft
    return found.clamp(0, 255).to(torch.uint8)


@with_weights
def test_sets_come_out_in_the_order_in_which_a_person_ranks_them() -> None:
    """Other flowers, these at 16 px, blocks in disorder, smears, one flower again and again."""
    view, rng = imagenet_features(torch.device("cpu")), torch.Generator()
    real, others = view(flowers(0, 30)), flowers(30, 30)
    sets = [others, degrade(others), blocks_shuffled(others), smears(others)]
    sets.append(others[:1].expand_as(others))
    found = [kid(real, view(one), rng.manual_seed(0)).value for one in sets]
    assert found == sorted(found)
    assert found[1] > 5 * abs(found[0])
    assert manifold(real, view(sets[-1])).recall < 0.1
    assert manifold(real, view(sets[0])).precision > manifold(real, view(sets[1])).precision


@with_weights
def test_draws_of_one_caption_are_compared_with_real_images_of_one_class(
    context: EvaluationContext,
) -> None:
    found = {figure.key: figure for figure in variety(context, seen_by(context, "imagenet"))}
    drawn = value(found, "images_imagenet_drawn_of_one_caption_apart")
    real = value(found, "images_imagenet_real_of_one_class_apart")
    assert value(found, "images_imagenet_drawn_of_one_caption_apart_share") == drawn / real
    features = seen_by(context, "imagenet")(context.test.pixels)
    within = [
        np.linalg.norm(features[i] - features[j])
        for kind in range(4)
        for i, j in itertools.combinations(range(15 * kind, 15 * kind + 6), 2)
    ]
    between = [
        np.linalg.norm(features[i] - features[j])
        for i, j in itertools.combinations(range(0, 60, 15), 2)
    ]
    assert real == pytest.approx(np.mean(within) / np.mean(between), rel=0.02)


def test_what_differs_is_measured_by_how_much_others_do() -> None:
    rng = torch.Generator().manual_seed(0)
    middles = 10 * torch.randn(40, 16, generator=rng)
    sets = [middle + torch.randn(6, 16, generator=rng) for middle in middles]
    found = relative(sets)
    assert found == pytest.approx(0.1, rel=0.1)
    assert relative([3 * one for one in sets]) == pytest.approx(found)
    assert relative([one[:1].expand(6, -1) for one in sets]) == 0
    assert relative(sets[:1]) is None
    assert relative([sets[0][:1].expand(6, -1)] * 40) == 0


@with_weights
def test_without_two_images_of_one_known_class_variety_has_nothing_beside_it(
    context: EvaluationContext,
) -> None:
    nobody = replace(context.test, class_ids=torch.full((60,), -1))
    alone = replace(context, examples={**context.examples, "test": nobody})
    found = {figure.key: figure for figure in variety(alone, seen_by(context, "pixels"))}
    assert found["images_imagenet_real_of_one_class_apart"].value is None
    assert found["images_imagenet_drawn_of_one_caption_apart_share"].value is None
    assert value(found, "images_imagenet_drawn_of_one_caption_apart") > 0


def test_without_the_extra_the_view_is_left_out(
    context: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fidelity, "installed", lambda _: False)
    assert fidelity.view_of(context, "imagenet") is None
    figures = in_every_view(context, context.test.pixels, context.test.pixels)
    assert {one.group for one in figures} == {"images_pixels", "images_random", "images_judge"}
