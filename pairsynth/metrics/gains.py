"""Gains over pupils that learned from the same seeds, and whether they tell anything."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

# A gain whose whole interval is within this share of what real pairs alone reach is none to name.
SAME = 0.1


@dataclass(frozen=True)
class Mean:
    """A mean over pupils and its 95 % t-interval."""

    value: float | None
    low: float | None
    high: float | None
    count: int


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of none is None, and one value has no interval."""
    if not values:
        return Mean(None, None, None, 0)
    middle = float(np.mean(values))
    if len(values) < 2:
        return Mean(middle, None, None, 1)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(student.ppf(0.975, len(values) - 1)) * error
    return Mean(middle, middle - half, middle + half, len(values))


def verdict_of(found: Mean, level: float | None) -> str:
    """helps, harms, same, or unsure; "" where nothing is known."""
    if found.low is None or found.high is None:
        return ""
    if found.low > 0 or found.high < 0:
        return "helps" if found.low > 0 else "harms"
    return "same" if max(-found.low, found.high) <= SAME * (level or 0.0) else "unsure"
