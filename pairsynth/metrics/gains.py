"""Paired gains between probes of equal seeds, and verdicts on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

# A gain whose whole interval is within this share of what real pairs alone reach is none to name.
SAME = 0.1


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over probes and its 95 % t-interval."""

    value: float | None
    low: float | None
    high: float | None
    count: int


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of `values`; None without values, no interval for a single one."""
    if not values:
        return Mean(value=None, low=None, high=None, count=0)
    middle = float(np.mean(values))
    if len(values) < 2:
        return Mean(value=middle, low=None, high=None, count=1)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(student.ppf(0.975, len(values) - 1)) * error
    return Mean(value=middle, low=middle - half, high=middle + half, count=len(values))


def verdict_of(found: Mean, level: float | None) -> str:
    """helps, harms, same (within `SAME` of `level`), or unsure; "" where there is no interval."""
    if found.low is None or found.high is None:
        return ""
    if found.low > 0 or found.high < 0:
        return "helps" if found.low > 0 else "harms"
    return "same" if max(-found.low, found.high) <= SAME * (level or 0.0) else "unsure"
