"""Are drawn pictures like real ones, as sets: in three views, beside real and degraded ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth.evaluation.context import EvaluationContext, Figure, Pairs, spread
from pairsynth.metrics import distributions
from pairsynth.metrics.feature_extractors import (
    Features,
    View,
    fitted,
    pixel_features,
    pretrained_features,
    random_features,
)
from pairsynth.seeds import torch_stream

DEGRADED, COMPARISONS = 4, 4
FRECHET_FEATURES, ROWS_FOR_FRECHET = 32, 16


@dataclass(frozen=True)
class Comparison:
    """One set of pictures beside another that it should be like: uint8 (N, 3, S, S)."""

    subject: str
    pixels: Tensor
    real: Tensor


def fidelity(context: EvaluationContext, drawn: Tensor, pairs: Pairs) -> Iterator[list[Figure]]:
    """Pictures drawn from test captions against test, those of pairs against train.

    The ceiling is real against real, train against test: other flowers, other pictures. The floor
    is test pictures that lost their detail, against train.
    """
    size = min(len(drawn), len(context.test), len(context.train), len(pairs.pixels))
    test, train = _some(context.test.pixels, size), _some(context.train.pixels, size)
    comparisons = [
        Comparison("drawn_and_test", _some(drawn, size), test),
        Comparison("pairs_and_train", _some(pairs.pixels, size), train),
        Comparison("real_test_and_train", test, train),
        Comparison("degraded_test_and_train", degrade(test), train),
    ]
    for name, view in views(context).items():
        for one in comparisons:
            yield list(compare(view, one, name, context.seed))


def views(context: EvaluationContext) -> Mapping[str, View]:
    """Pixels, a random network, the judge, and what the user has weights of.

    Each is standardised on train pictures.
    """
    train, weights = context.train.pixels, context.config.judge_weights
    kinds: dict[str, Features] = {
        "pixels": pixel_features(train),
        "random": random_features(),
        "judge": context.judge.image_features,
    }
    if context.clip is not None:
        kinds["pretrained"] = context.clip.image_vectors
    elif weights:
        kinds["pretrained"] = pretrained_features(Path(weights))
    return {name: fitted(features, train) for name, features in kinds.items()}


def count(context: EvaluationContext) -> int:
    """How many comparisons `likeness` makes."""
    return COMPARISONS * (3 + bool(context.config.judge_weights))


def degrade(pixels: Tensor) -> Tensor:
    """uint8 pictures (N, 3, S, S) with a quarter of their resolution."""
    small = F.avg_pool2d(pixels.float(), DEGRADED)
    size = pixels.shape[-1]
    return F.interpolate(small, size=(size, size), mode="bilinear").round().to(torch.uint8)


def _some(pixels: Tensor, count: int) -> Tensor:
    return pixels[spread(len(pixels), count)]


def compare(view: View, one: Comparison, name: str, seed: int) -> Iterator[Figure]:
    """How alike the two sets are in one view, of group `images_NAME`."""
    real, drawn = view(one.real), view(one.pixels)
    rng = torch_stream(seed, "likeness", name, one.subject)

    def told(measure: str, value: float | None, *interval: float | None) -> Figure:
        low, high = interval or (None, None)
        return Figure(f"images_{name}", one.subject, measure, value, low, high, len(drawn))

    kernel = distributions.kid(real, drawn, rng)
    yield told("kid", kernel.value, kernel.low, kernel.high)
    yield told("vendi", distributions.vendi(drawn))
    yield told("vendi_real", distributions.vendi(real))
    if len(real) >= ROWS_FOR_FRECHET:
        parts = distributions.principal(real, drawn, min(FRECHET_FEATURES, len(real) // 4))
        yield told("frechet_infinity", distributions.frechet_infinity(*parts, rng))
    if len(real) > distributions.NEIGHBOURS:
        shape = distributions.manifold(real, drawn)
        for measure in ("precision", "recall", "density", "coverage"):
            yield told(measure, getattr(shape, measure))
        apart = distributions.told_apart(real, drawn)
        yield told("told_apart", apart.value, *apart.interval)
