"""Filters that refuse faulty candidates: a fault in image or caption, or two that do not match.

A filter is an entry of `FILTERS`. Its threshold is calibrated on real held-out images and captions
where possible: what is common among them is not a fault.

Shapes: N candidates, S side of an image.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pairsynth.captioner import MAX_WORDS
from pairsynth.examples import Embeddings, Examples
from pairsynth.images import center_crop
from pairsynth.text import tokenize

# Of the real ones, so many may be beyond what a threshold is reckoned from.
RARE = 0.01
REPEATED = 0.2

UNFINISHED, REPEATING = "unfinished caption", "repeating caption"
FLAT, SATURATED, INCONSISTENT = "flat image", "saturated image", "inconsistent"


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Candidates to filter: pixels uint8 (N, 3, S, S), captions (N), consistency (N)."""

    pixels: Tensor
    captions: Sequence[str]
    consistency: Tensor


@dataclass(frozen=True, kw_only=True)
class Filter:
    """An entry of the table.

    unit: of value and threshold. over: whether values over or under the threshold are refused.
    meaning: what the value is. measure: the values (N). limit: the threshold, from values of real
    pairs (M).
    """

    unit: str
    over: bool
    meaning: str
    measure: Callable[[Candidates], Tensor]
    limit: Callable[[Tensor], float]


def words(candidates: Candidates) -> Tensor:
    """How many words and commas each caption has (N)."""
    return torch.tensor([float(len(tokenize(caption))) for caption in candidates.captions])


def repetition(candidates: Candidates) -> Tensor:
    """The share of a caption's word trigrams that occurred earlier in it (N)."""
    return torch.tensor([_repetition(tokenize(caption)) for caption in candidates.captions])


def _repetition(tokens: Sequence[str]) -> float:
    runs = [tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def contrast(candidates: Candidates) -> Tensor:
    """The standard deviation of an image's brightness, in grey levels (N)."""
    return candidates.pixels.float().mean(1).flatten(1).std(1)  # (N, S, S) -> (N, S S) -> (N)


def saturation(candidates: Candidates) -> Tensor:
    """The share of pixels with every channel at 0 or at 255 (N)."""
    ends = (candidates.pixels == 0) | (candidates.pixels == 255)  # (N, 3, S, S)
    return ends.all(1).flatten(1).float().mean(1)  # (N, S, S) -> (N, S S) -> (N)


def agreement(candidates: Candidates) -> Tensor:
    """The cosine between the vectors of image and caption (N)."""
    return candidates.consistency


def _unless_common(real: Tensor) -> float:
    """A caption of the greatest length was cut short, unless real captions are that long too."""
    return MAX_WORDS - 1.0 if _quantile(real, 1 - RARE) < MAX_WORDS else math.inf


FILTERS: Mapping[str, Filter] = {
    UNFINISHED: Filter(
        unit="words",
        over=True,
        meaning="its length; a captioner that finds no end is cut short",
        measure=words,
        limit=_unless_common,
    ),
    REPEATING: Filter(
        unit="share",
        over=True,
        meaning="of three words in a row, those that stood in it before",
        measure=repetition,
        limit=lambda real: max(REPEATED, _quantile(real, 1 - RARE)),
    ),
    FLAT: Filter(
        unit="grey levels",
        over=False,
        meaning="the standard deviation of its brightness; near 0 it is one even colour",
        measure=contrast,
        limit=lambda real: _quantile(real, RARE) / 4,
    ),
    SATURATED: Filter(
        unit="share",
        over=True,
        meaning="of its pixels, those at the end of the scale in every channel",
        measure=saturation,
        limit=lambda real: (1 + _quantile(real, 1 - RARE)) / 2,
    ),
    INCONSISTENT: Filter(
        unit="cosine",
        over=False,
        meaning="of its halves' vectors; real ones thrown together agree as much, half of them",
        measure=agreement,
        limit=lambda real: _quantile(real, 0.5),
    ),
}


def _quantile(values: Tensor, share: float) -> float:
    """The quantile `share` of values (N), without interpolation."""
    ordered = values.sort().values
    return float(ordered[min(int(share * len(ordered)), len(ordered) - 1)])


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The threshold of each of `FILTERS`, by name; an infinite one refuses nothing."""

    values: Mapping[str, float]

    def faults(self, candidates: Candidates) -> list[tuple[str, str] | None]:
        """For each candidate (N) the first filter that refuses it, and why; None: no fault."""
        found: list[tuple[str, str] | None] = [None] * len(candidates.captions)
        for name, one in FILTERS.items():
            threshold, values = self.values[name], one.measure(candidates)
            refused = values > threshold if one.over else values < threshold
            for row in refused.nonzero().flatten().tolist():
                found[row] = found[row] or (name, self._why(name, float(values[row])))
        return found

    def _why(self, name: str, value: float) -> str:
        one = FILTERS[name]
        side = "more" if one.over else "less"
        return f"{name}: {value:.3g} {one.unit}, {side} than {self.values[name]:.3g}"

    def stated(self) -> list[dict[str, Any]]:
        """The thresholds as rows for the manifest: name, threshold, unit, direction, meaning."""
        return [
            {
                "name": name,
                "threshold": round(self.values[name], 6) if self._is_used(name) else None,
                "unit": one.unit,
                "refused": "over" if one.over else "under",
                "of": one.meaning,
            }
            for name, one in FILTERS.items()
        ]

    def _is_used(self, name: str) -> bool:
        return math.isfinite(self.values[name])


NONE = Thresholds(
    values={name: math.inf if one.over else -math.inf for name, one in FILTERS.items()}
)


def calibrate(held_out: Examples, vectors: Embeddings, size: int) -> Thresholds:
    """The thresholds from real held-out images at `size` pixels, their captions and vectors.

    For agreement each image is paired with a caption of the image half the split away.
    """
    others = vectors.psi[held_out.first_caption[:-1]].roll(len(held_out) // 2, 0)
    candidates = Candidates(
        pixels=center_crop(held_out.pixels, size),
        captions=held_out.flat_captions,
        consistency=(others * vectors.image).sum(1),
    )
    return Thresholds(
        values={name: one.limit(one.measure(candidates)) for name, one in FILTERS.items()}
    )
