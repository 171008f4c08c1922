"""Cycles between the domains: what of a picture, of a caption, is left after k turns."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth.bench import Bench, spread
from pairsynth.mappings import Turn
from pairsynth.metrics.agreement import attribute_agreement
from pairsynth.metrics.captions import bleu, shifted
from pairsynth.sources.garden_captions import named


@dataclass(frozen=True)
class CyclePoint:
    """One measure after one turn of a cycle, beside the same of pairs that do not belong."""

    start: str
    turn: int
    measure: str
    value: float
    shuffled: float


@dataclass(frozen=True)
class Walk:
    """One turn of all cycles of one kind, and what was measured after it."""

    start: str
    turn: Turn
    points: list[CyclePoint]


def walk(bench: Bench) -> Iterator[Walk]:
    """`config.turns` turns from pictures, then as many from captions."""
    yield from image_cycle(bench)
    yield from text_cycle(bench)


def image_cycle(bench: Bench) -> Iterator[Walk]:
    """v -> t -> v' ...: does phi survive better than pixels do?"""
    rows = spread(len(bench.test), bench.config.cycled)
    pixels = bench.test.pixels[rows]
    phi = bench.mappings.phi(pixels).flatten(1).cpu()
    turns = bench.mappings.image_cycle(pixels, bench.noise(len(rows), "image_cycle"))
    for number, turn in zip(range(1, bench.config.turns + 1), turns, strict=False):
        back = turn.phi.flatten(1).cpu()
        points = _cosines("image", number, "phi", phi, back)
        flat = [p.flatten(1).float() / 127.5 - 1 for p in (pixels, turn.pixels)]
        yield Walk("image", turn, [*points, *_cosines("image", number, "pixel", *flat)])


def text_cycle(bench: Bench) -> Iterator[Walk]:
    """t -> v -> t' ...: what of the caption is left?"""
    rows = spread(len(bench.test), bench.config.cycled)
    captions = [bench.test.captions[row][0] for row in rows]
    psi = bench.mappings.psi(captions)
    turns = bench.mappings.text_cycle(captions, bench.noise(len(rows), "text_cycle"))
    for number, turn in zip(range(1, bench.config.turns + 1), turns, strict=False):
        points = _cosines("text", number, "psi", psi, bench.mappings.psi(turn.captions))
        yield Walk("text", turn, [*points, *_words_kept(number, captions, turn.captions)])


def _cosines(start: str, turn: int, name: str, before: Tensor, after: Tensor) -> list[CyclePoint]:
    """Cosine raw and centred: features of one sign look alike even where they are unrelated."""
    center = before.mean(0)
    return [
        CyclePoint(start, turn, measure, _cosine(a, b), _cosine(a, b.roll(len(b) // 2, 0)))
        for measure, a, b in (
            (f"{name}_cosine", before, after),
            (f"{name}_cosine_centred", before - center, after - center),
        )
    ]


def _cosine(left: Tensor, right: Tensor) -> float:
    return float(F.cosine_similarity(left, right).mean())


def _words_kept(turn: int, before: list[str], after: list[str]) -> list[CyclePoint]:
    """BLEU of the caption against the first one, and how often petals keep their colour."""
    first, last = [[caption] for caption in before], shifted(after)
    points = [
        CyclePoint(
            "text", turn, "bleu_4", bleu(after, first)["bleu_4"], bleu(last, first)["bleu_4"]
        )
    ]
    started = [named(caption) for caption in before]
    kept, chance = (
        attribute_agreement(before, [named(c) for c in captions], named)
        for captions in (after, last)
    )
    if any("petal_colour" in one for one in started):
        values = [share["petal_colour"].value or 0.0 for share in (kept, chance)]
        points.append(CyclePoint("text", turn, "petal_colour_kept", *values))
    return points


def figures(walks: list[Walk]) -> dict[str, float | None]:
    """The points by flat keys, each beside its control."""
    told: dict[str, float | None] = {}
    for point in (point for one in walks for point in one.points):
        key = f"cycle_{point.start}_turn_{point.turn}_{point.measure}"
        told[key] = point.value
        told[f"{key}_shuffled"] = point.shuffled
    return told


def gallery(bench: Bench, walks: list[Walk], rows: int = 4) -> tuple[Tensor, list[str], int, str]:
    """The first cycles of each kind, a row each, for `figures.gallery`.

    From pictures: each picture above the caption it got, which the next is drawn from. From
    captions: the first caption under an empty frame, then each picture above the caption it got.
    """
    images = [one.turn for one in walks if one.start == "image"]
    texts = [one.turn for one in walks if one.start == "text"]
    chosen = spread(len(bench.test), bench.config.cycled)[:rows]
    start = bench.test.pixels[chosen]
    empty = torch.full_like(start, 255)
    pixels = [[start, *(turn.pixels[:rows] for turn in images)]]
    pixels += [[empty, *(turn.pixels[:rows] for turn in texts)]]
    captions = [[*(turn.captions[:rows] for turn in images), [""] * len(chosen)]]
    begun = [bench.test.captions[row][0] for row in chosen]
    captions += [[begun, *(turn.captions[:rows] for turn in texts)]]
    cells = torch.cat([torch.stack(kind, 1).flatten(0, 1) for kind in pixels])
    told = [c for kind in captions for row in zip(*kind, strict=True) for c in row]
    return cells, told, len(images) + 1, "cycles: from pictures above, from captions below"
