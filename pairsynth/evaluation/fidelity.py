"""Are drawn pictures like real ones, as sets: in three views, beside real and degraded ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth.config import named
from pairsynth.efficientnet import JUDGE, installed
from pairsynth.evaluation.context import EvaluationContext, Figure, Pairs, spread
from pairsynth.metrics import distributions
from pairsynth.metrics.feature_extractors import (
    Features,
    View,
    fitted,
    imagenet_features,
    pixel_features,
    pretrained_features,
    random_features,
)
from pairsynth.seeds import torch_stream

DEGRADED, COMPARISONS = 4, 4
CAPTIONS, DRAWS = 32, 6
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
        if name == "imagenet":
            yield list(variety(context, view))


def views(context: EvaluationContext) -> Mapping[str, Features]:
    """Pixels, a random network, the judge, ImageNet's network, and what the user has weights of.

    Each is standardised on train pictures, but for ImageNet's network, which sees the same in all
    data sets. What a view sees in a set is kept: some sets stand in several comparisons.
    """
    train, weights = context.train.pixels, named(context.config.judge_weights)
    kinds: dict[str, Features] = {
        "pixels": pixel_features(train),
        "random": random_features(),
        "judge": context.judge.image_features,
    }
    if context.clip is not None:
        kinds["pretrained"] = context.clip.image_vectors
    elif weights:
        kinds["pretrained"] = pretrained_features(Path(weights))
    found: dict[str, Features] = {name: fitted(kind, train) for name, kind in kinds.items()}
    if installed(JUDGE):
        plain = imagenet_features(context.mappings.device)
        found["imagenet"] = View(plain, torch.zeros(1), torch.ones(1))
    return {name: lru_cache(maxsize=None)(view) for name, view in found.items()}


def count(context: EvaluationContext) -> int:
    """How many comparisons `likeness` makes."""
    imagenet = installed(JUDGE)
    return COMPARISONS * (3 + bool(named(context.config.judge_weights)) + imagenet) + imagenet


def degrade(pixels: Tensor) -> Tensor:
    """uint8 pictures (N, 3, S, S) with a quarter of their resolution."""
    small = F.avg_pool2d(pixels.float(), DEGRADED)
    size = pixels.shape[-1]
    return F.interpolate(small, size=(size, size), mode="bilinear").round().to(torch.uint8)


def _some(pixels: Tensor, count: int) -> Tensor:
    return pixels[spread(len(pixels), count)]


def compare(view: Features, one: Comparison, name: str, seed: int) -> Iterator[Figure]:
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


def variety(context: EvaluationContext, view: Features) -> Iterator[Figure]:
    """How much images drawn from one caption differ in `view`, beside real ones of one class.

    `apart` is the mean distance of two images of one caption (or class) over that of two of
    different ones: strange images lie farther apart, whatever they show, and this takes it out.
    `apart_share` is the one over the other. Classes of one image and unknown ones tell nothing.
    """
    test, rows = context.test, spread(len(context.test), CAPTIONS)
    psi = context.mappings.psi([test.captions[row][0] for row in rows]).repeat_interleave(DRAWS, 0)
    drawn = view(context.mappings.draw(psi, context.noise(len(psi), "variety"))).split(DRAWS)
    known = test.class_ids[test.class_ids >= 0].unique()
    every = [(test.class_ids == one).nonzero()[:DRAWS, 0] for one in known]
    classes = [own for own in every if len(own) > 1]
    classes = [classes[i] for i in spread(len(classes), CAPTIONS)]
    real = [view(test.pixels[own]) for own in classes]
    apart = {"drawn_of_one_caption": relative(drawn), "real_of_one_class": relative(real)}
    for name, value in apart.items():
        count = len(drawn if name == "drawn_of_one_caption" else real)
        yield Figure("images_imagenet", name, "apart", value, None, None, count)
    own, wanted = apart.values()
    share = own / wanted if own is not None and wanted else None
    yield Figure(
        "images_imagenet", "drawn_of_one_caption", "apart_share", share, None, None, len(drawn)
    )


def relative(sets: Sequence[Tensor]) -> float | None:
    """Mean distance of two rows of one set (n, F) over that of rows of two sets; None for one."""
    if len(sets) < 2:
        return None
    within = torch.stack([torch.pdist(one.double()).mean() for one in sets]).mean()
    firsts = torch.stack([one[0] for one in sets]).double()
    return float(within / torch.pdist(firsts).mean())
