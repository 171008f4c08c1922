"""Cycles between images and captions: what is left of an image or a caption after k turns."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth.evaluation.context import EvaluationContext, evenly_spaced
from pairsynth.lexicon import Lexicon
from pairsynth.mappings import Turn
from pairsynth.metrics.agreement import attribute_agreement
from pairsynth.metrics.captions import bleu, rotated, word_agreement
from pairsynth.text import normalize

CLAIM_NEAR = 0.95
ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class CyclePoint:
    """One measure after one turn of a cycle. shuffled: the same for unrelated pairs."""

    start: str
    turn: int
    measure: str
    value: float | None
    shuffled: float | None


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One turn of all cycles from images or from texts, and the measures after it."""

    start: str
    turn: Turn
    points: list[CyclePoint]


def walk(context: EvaluationContext) -> Iterator[Walk]:
    """`config.turns` turns from images, then as many from captions."""
    yield from image_cycle(context)
    yield from text_cycle(context)


def image_cycle(context: EvaluationContext) -> Iterator[Walk]:
    """v -> t -> v' ...: cosines of phi and of pixels to the start, and words of the first turn."""
    rows = evenly_spaced(len(context.test), context.config.cycled)
    pixels = context.test.pixels[rows]
    phi = context.mappings.phi(pixels).flatten(1).cpu()  # (N, C, 4, 4) -> (N, 16 C)
    turns = context.mappings.image_cycle(pixels, context.noise(len(rows), "image_cycle"))
    first: list[str] = []
    for number, turn in zip(range(1, context.config.turns + 1), turns, strict=False):
        back = turn.phi.flatten(1).cpu()
        points = _cosines("image", number, "phi", phi, back)
        # (N, 3, S, S) in [0, 255] -> (N, 3 S S) in [-1, 1]
        flat = [p.flatten(1).float() / 127.5 - 1 for p in (pixels, turn.pixels)]
        points += _cosines("image", number, "pixel", *flat)
        first = first or turn.captions
        if number > 1:
            points += _words_kept(context.lexicon, "image", number, first, turn.captions)
        yield Walk(start="image", turn=turn, points=points)


def text_cycle(context: EvaluationContext) -> Iterator[Walk]:
    """t -> v -> t' ...: cosines of psi to the start, words kept, and the rank of the caption."""
    rows = evenly_spaced(len(context.test), context.config.cycled)
    captions = [context.test.captions[row][0] for row in rows]
    psi = context.mappings.psi(captions)
    turns = context.mappings.text_cycle(captions, context.noise(len(rows), "text_cycle"))
    for number, turn in zip(range(1, context.config.turns + 1), turns, strict=False):
        back = context.mappings.psi(turn.captions)
        points = _cosines("text", number, "psi", psi, back)
        points += _words_kept(context.lexicon, "text", number, captions, turn.captions)
        rank = CyclePoint(
            start="text",
            turn=number,
            measure="own_median_rank",
            value=_median_rank(context, captions, psi, back),
            shuffled=_median_rank(context, captions, psi, _shuffled(back)),
        )
        yield Walk(start="text", turn=turn, points=[*points, rank])


def _median_rank(
    context: EvaluationContext, captions: list[str], psi: Tensor, back: Tensor
) -> float:
    """Median rank of the first caption, by psi, among all test captions; ties count as misses.

    Captions with the same words as the first do not count as others.
    """
    own = (back * psi).sum(1, keepdim=True)  # (N, 1)
    # (N, D) (D, M) -> (N, M): test captions at least as near as the own one
    ahead = (back @ context.embeddings["test"].psi.T) >= own - ROUNDING
    words = [normalize(caption) for caption in context.test.flat_captions]
    same = torch.tensor([[normalize(caption) == one for one in words] for caption in captions])
    return float((1 + (ahead & ~same).sum(1)).double().median())


def _shuffled(rows: Tensor) -> Tensor:
    """Rows (N, ...) rotated by half their number."""
    return rows.roll(max(1, len(rows) // 2), 0)


def _cosines(start: str, turn: int, name: str, before: Tensor, after: Tensor) -> list[CyclePoint]:
    """Cosines raw and centred: nonnegative features have high cosines even if unrelated."""
    center = before.mean(0)
    return [
        CyclePoint(
            start=start,
            turn=turn,
            measure=measure,
            value=_cosine(a, b),
            shuffled=_cosine(a, _shuffled(b)),
        )
        for measure, a, b in (
            (f"{name}_cosine", before, after),
            (f"{name}_cosine_centred", before - center, after - center),
        )
    ]


def _cosine(left: Tensor, right: Tensor) -> float:
    return float(F.cosine_similarity(left, right).mean())


def _words_kept(
    lexicon: Lexicon, start: str, turn: int, before: list[str], after: list[str]
) -> list[CyclePoint]:
    """How captions after a turn match the first ones: BLEU, and F1 of the lexicon's words.

    Also the share of the first captions' words of the lexicon's first kind (colours) that are kept,
    and the same for its first attribute (petal colour), where it has one.
    """
    first, both = [[caption] for caption in before], (after, rotated(after))
    agreed = [word_agreement(captions, first, lexicon) for captions in both]
    values = {"bleu_4": [bleu(captions, first)["bleu_4"] for captions in both]} | {
        f"{kind}_f1": [one[kind].f1 for one in agreed] for kind in lexicon.kinds
    }
    for kind in list(lexicon.kinds)[:1]:
        values[f"{kind}_kept"] = [one[kind].recall for one in agreed]
    named = lexicon.named
    kept = [attribute_agreement(before, [named(c) for c in captions], named) for captions in both]
    for name in list(lexicon.attributes)[:1]:
        if all(name in one for one in kept):
            values[f"{name}_kept"] = [share[name].value for share in kept]
    return [
        CyclePoint(start=start, turn=turn, measure=measure, value=value, shuffled=chance)
        for measure, (value, chance) in values.items()
    ]


def summary(walks: list[Walk]) -> dict[str, float | None]:
    """All points by flat keys, each with its value for unrelated pairs; and half-lives."""
    told: dict[str, float | None] = {}
    for point in (point for one in walks for point in one.points):
        key = f"cycle_{point.start}_turn_{point.turn}_{point.measure}"
        told[key] = point.value
        told[f"{key}_shuffled"] = point.shuffled
    for start, name in (("image", "phi"), ("image", "pixel"), ("text", "psi")):
        told[f"cycle_{start}_{name}_half_life"] = half_life(walks, start, name)
    return told


def half_life(walks: list[Walk], start: str, name: str) -> int | None:
    """The turn at which the centred cosine's excess over chance is half of that of turn 1.

    None where that does not happen within the turns measured, or turn 1 is not above chance.
    """
    above = {
        point.turn: gap
        for point in _points(walks, start, f"{name}_cosine_centred")
        if (gap := _gap(point)) is not None
    }
    begun = above.get(1, 0.0)
    fallen = [turn for turn, gap in sorted(above.items()) if gap <= begun / 2]
    return fallen[0] if begun > 0 and fallen else None


def _points(walks: list[Walk], start: str, measure: str) -> list[CyclePoint]:
    points = [point for one in walks for point in one.points]
    return [point for point in points if (point.start, point.measure) == (start, measure)]


def _gap(point: CyclePoint) -> float | None:
    if point.value is None or point.shuffled is None:
        return None
    return point.value - point.shuffled


def verdict(walks: list[Walk]) -> str:
    """Whether the paper's claim holds after the last turn from images, in words.

    "cos(phi(v), phi(v')) is close to 1 while the cosine of pixels need not be": close means
    `CLAIM_NEAR` or more. The weaker claim that meaning survives at all is read from centred cosines
    above those of unrelated images.
    """
    phi, pixel, phi_centred, pixel_centred = (
        _points(walks, "image", f"{name}_cosine{kind}")[-1]
        for kind in ("", "_centred")
        for name in ("phi", "pixel")
    )
    near = "stays close to 1" if (phi.value or 0.0) >= CLAIM_NEAR else "does not stay close to 1"
    kept, lost = _gap(phi_centred) or 0.0, _gap(pixel_centred) or 0.0
    if kept <= 0:
        more = "and is no nearer than that of unrelated images"
    elif kept > lost:
        more = "but keeps more of its image than pixels do"
    else:
        more = "and keeps no more of its image than pixels do"
    if near == "stays close to 1":
        more = more.replace("but", "and")
    return (
        f"after turn {phi.turn} the cosine of phi is {phi.value:.2f} (unrelated images "
        f"{phi.shuffled:.2f}), of pixels {pixel.value:.2f} ({pixel.shuffled:.2f}): phi {near}, "
        f"{more} (centred, above chance: {kept:.2f} against {lost:.2f})"
    )


def cycles_sheet(
    context: EvaluationContext, walks: list[Walk], rows: int = 4
) -> tuple[Tensor, list[str], int, str]:
    """The first cycles of each kind, a row each, for `sheets.captioned_sheet`.

    From images: each image above the caption it got, which the next is drawn from. From
    captions: the first caption under an empty frame, then each image above the caption it got.
    """
    images = [one.turn for one in walks if one.start == "image"]
    texts = [one.turn for one in walks if one.start == "text"]
    chosen = evenly_spaced(len(context.test), context.config.cycled)[:rows]
    start = context.test.pixels[chosen]
    empty = torch.full_like(start, 255)
    pixels = [[start, *(turn.pixels[:rows] for turn in images)]]
    pixels += [[empty, *(turn.pixels[:rows] for turn in texts)]]
    captions = [[*(turn.captions[:rows] for turn in images), [""] * len(chosen)]]
    begun = [context.test.captions[row][0] for row in chosen]
    captions += [[begun, *(turn.captions[:rows] for turn in texts)]]
    # turns + 1 of (rows, 3, S, S) -> (rows, turns + 1, 3, S, S) -> (cells, 3, S, S)
    cells = torch.cat([torch.stack(kind, 1).flatten(0, 1) for kind in pixels])
    told = [c for kind in captions for row in zip(*kind, strict=True) for c in row]
    return cells, told, len(images) + 1, "cycles: from images above, from captions below"
