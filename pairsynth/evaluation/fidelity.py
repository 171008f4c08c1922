"""Fidelity: are sets of drawn images like real ones, in several views, with floor and ceiling.

The leading view is a network trained on ImageNet: small networks trained on small sets see colour
and texture, not shape, and give blurred images good scores.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth.config import named
from pairsynth.efficientnet import JUDGE, installed
from pairsynth.evaluation.context import EvaluationContext, Figure, evenly_spaced
from pairsynth.evaluation.made import Made
from pairsynth.evaluation.table import LESS, MORE, NEAR, SCORE, SHARE, Claim, End, Measure, Part
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

LEADING = "imagenet"
VIEWS = ("pixels", "random", "judge", "pretrained", LEADING)
DEGRADED = 4
CAPTIONS, DRAWS = 32, 6
FRECHET_FEATURES, ROWS_FOR_FRECHET = 32, 16


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A set of images and the real set that it should be like, both uint8 (N, 3, S, S)."""

    subject: str
    pixels: Tensor
    real: Tensor


def in_view(name: str, context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """Images drawn from test captions against test, those of pairs against train, in one view.

    The ceiling compares real test images with train. The floor compares test images of lower
    resolution with train. Nothing where the view is not available.
    """
    view = view_of(context, name)
    if view is None:
        return
    drawn, pairs = made.drawn.pixels, made.pairs.pixels
    size = min(len(drawn), len(context.test), len(context.train), len(pairs))
    test, train = _some(context.test.pixels, size), _some(context.train.pixels, size)
    for one in (
        Comparison(subject="drawn_and_test", pixels=_some(drawn, size), real=test),
        Comparison(subject="pairs_and_train", pixels=_some(pairs, size), real=train),
        Comparison(subject="real_test_and_train", pixels=test, real=train),
        Comparison(subject="degraded_test_and_train", pixels=degrade(test), real=train),
    ):
        yield from compare(view, one, name, context.seed)
    if name == LEADING:
        yield from variety(context, view)


def view_of(context: EvaluationContext, name: str) -> Features | None:
    """A view of images; None where its weights are not installed or not given.

    Each is standardised on train images, but for the ImageNet network, so that its figures compare
    across data sets. Features are cached, since some sets are in several comparisons.
    """
    train, weights = context.train.pixels, named(context.config.judge_weights)
    view: Features
    if name == "imagenet":
        if not installed(JUDGE):
            return None
        plain = imagenet_features(context.mappings.device)
        view = View(features=plain, mean=torch.zeros(1), deviation=torch.ones(1))
    elif name == "pixels":
        view = fitted(pixel_features(train), train)
    elif name == "random":
        view = fitted(random_features(), train)
    elif name == "judge":
        view = fitted(context.judge.image_features, train)
    elif context.clip is not None:
        view = fitted(context.clip.image_vectors, train)
    elif weights:
        view = fitted(pretrained_features(Path(weights)), train)
    else:
        return None
    return lru_cache(maxsize=None)(view)


def degrade(pixels: Tensor) -> Tensor:
    """uint8 images (N, 3, S, S) with a quarter of their resolution."""
    small = F.avg_pool2d(pixels.float(), DEGRADED)  # (N, 3, S / 4, S / 4)
    size = pixels.shape[-1]
    return F.interpolate(small, size=(size, size), mode="bilinear").round().to(torch.uint8)


def _some(pixels: Tensor, count: int) -> Tensor:
    return pixels[evenly_spaced(len(pixels), count)]


def compare(view: Features, one: Comparison, name: str, seed: int) -> Iterator[Figure]:
    """All distances between the two sets in one view, as figures of group `images_NAME`."""
    real, drawn = view(one.real), view(one.pixels)
    rng = torch_stream(seed, "likeness", name, one.subject)

    def told(measure: str, value: float | None, *interval: float | None) -> Figure:
        low, high = interval or (None, None)
        return Figure(
            group=f"images_{name}",
            subject=one.subject,
            measure=measure,
            value=value,
            low=low,
            high=high,
            count=len(drawn),
        )

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

    `apart` is the mean distance between images of one caption (or class) divided by that between
    different captions, which cancels that unrealistic images lie further apart in general.
    `apart_share` is the value of drawn images divided by that of real ones. Classes of one image
    and unknown classes are left out.
    """
    test, rows = context.test, evenly_spaced(len(context.test), CAPTIONS)
    # (captions, D) -> (captions DRAWS, D)
    psi = context.mappings.psi([test.captions[row][0] for row in rows]).repeat_interleave(DRAWS, 0)
    drawn = view(context.mappings.draw(psi, context.noise(len(psi), "variety"))).split(DRAWS)
    known = test.class_ids[test.class_ids >= 0].unique()
    every = [(test.class_ids == one).nonzero()[:DRAWS, 0] for one in known]
    classes = [own for own in every if len(own) > 1]
    classes = [classes[i] for i in evenly_spaced(len(classes), CAPTIONS)]
    real = [view(test.pixels[own]) for own in classes]
    apart = {"drawn_of_one_caption": relative(drawn), "real_of_one_class": relative(real)}
    for name, value in apart.items():
        count = len(drawn if name == "drawn_of_one_caption" else real)
        yield Figure(
            group="images_imagenet",
            subject=name,
            measure="apart",
            value=value,
            low=None,
            high=None,
            count=count,
        )
    own, wanted = apart.values()
    share = own / wanted if own is not None and wanted else None
    yield Figure(
        group="images_imagenet",
        subject="drawn_of_one_caption",
        measure="apart_share",
        value=share,
        low=None,
        high=None,
        count=len(drawn),
    )


def relative(sets: Sequence[Tensor]) -> float | None:
    """Mean distance within sets (n, F) divided by that between sets; None for a single set."""
    if len(sets) < 2:
        return None
    within = torch.stack([torch.pdist(one.double()).mean() for one in sets]).mean()
    firsts = torch.stack([one[0] for one in sets]).double()  # (sets, F), one row of each
    # Where all images are one, nothing differs, whatever it is measured by.
    return float(within / torch.pdist(firsts).mean()) if within else 0.0


PARTS: dict[str, Part] = {name: partial(in_view, name) for name in VIEWS}
BLURRED = [End(says="real images blurred", subject="degraded_test_and_train")]
REAL = [End(says="real against real", subject="real_test_and_train")]
DRAWN, PAIRS = "drawn_and_test", "pairs_and_train"


def _fidelity(
    view: str, name: str, unit: str, better: str, *claims: tuple[str, str, str]
) -> Measure:
    """claims: subject, words, headline key; reported only for the views with a name in words."""
    eyes = {LEADING: "a network of ImageNet", "judge": "the judge"}
    shown = claims if view in eyes else ()
    return Measure(
        group=f"images_{view}",
        name=name,
        unit=unit,
        better=better,
        function=PARTS[view],
        section="alike",
        claims=[
            Claim(
                subject=subject,
                says=f"{words}, seen by {eyes[view]}",
                headline=headline if view == LEADING else "",
            )
            for subject, words, headline in shown
        ],
        floors=BLURRED,
        ceilings=REAL,
    )


def _measures(view: str) -> list[Measure]:
    return [
        _fidelity(
            view,
            "kid",
            SCORE,
            LESS,
            (DRAWN, "KID of images drawn from test captions", "kid_drawn"),
            (PAIRS, "KID of images of pairs", "kid_pairs"),
        ),
        _fidelity(
            view,
            "precision",
            SHARE,
            MORE,
            (DRAWN, "Drawn images that lie among real ones (precision)", "precision"),
        ),
        _fidelity(
            view,
            "recall",
            SHARE,
            MORE,
            (DRAWN, "Real images that lie among drawn ones (recall)", "recall"),
        ),
        _fidelity(
            view,
            "told_apart",
            SHARE,
            LESS,
            (DRAWN, "Drawn and real images told apart by a classifier", ""),
        ),
        _fidelity(view, "frechet_infinity", SCORE, LESS),
        _fidelity(view, "vendi*", SCORE, NEAR),
        _fidelity(view, "density", SCORE, MORE),
        _fidelity(view, "coverage", SHARE, MORE),
    ]


MEASURES = [
    *(
        measure
        for view in (LEADING, "judge", *VIEWS[:2], "pretrained")
        for measure in _measures(view)
    ),
    Measure(
        group=f"images_{LEADING}",
        name="apart",
        unit=SCORE,
        better=NEAR,
        function=PARTS[LEADING],
        section="alike",
        claims=[
            Claim(
                subject="drawn_of_one_caption",
                says="How much images of one caption differ, over those of different captions",
                headline="differs",
            )
        ],
        ceilings=[End(says="real images of one class", subject="real_of_one_class")],
    ),
    Measure(
        group=f"images_{LEADING}",
        name="apart_share",
        unit=SHARE,
        better=NEAR,
        function=PARTS[LEADING],
    ),
]
