"""Where a pair starts: psi or phi between two captioned images, or drawn from a mixture.

Shapes: D psi's dimension, C channels of phi.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pairsynth.config import check, check_between
from pairsynth.errors import InputError
from pairsynth.examples import Embeddings, Examples
from pairsynth.filters import Thresholds
from pairsynth.images import GRID, center_crop
from pairsynth.mappings import Mappings, between
from pairsynth.metrics.novelty import NoveltyIndex
from pairsynth.metrics.wording import Standard
from pairsynth.mixture import Mixture

CLASSES = ("same", "other", "any")
# Pairs that fill up classes are numbered from here on, so that a set of more pairs keeps them.
FILLING = 10_000_000


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """Section `synthesize` of params.yaml.

    pairs: pairs to try; one whose candidates are all faulty or copies is left out.
    text_prototype: share of pairs from psi between two captions.
    text_density: share of pairs from psi drawn from the mixture over captions.
    image_prototype: share of pairs from phi between two images.
    image_density: share of pairs from phi drawn from the mixture over images.
    classes: whether the two of a prototype are of the same class, of another, or any two.
    balance: 0: the first image of a prototype is any of all; 1: of any class, rare ones as often
        as others; between: an image's weight is the size of its class to the power of minus this.
    fill: further pairs tried for each class with two images, prototypes between two of that class.
    filters: whether faulty candidates are refused (`filters.FILTERS`), or only what is not new.
    margin: lambda is drawn evenly between this and 1 minus this.
    candidates: tries for each; of those whose both halves are new, or else of those of which one
        half is, the one whose caption and image agree most is kept.
    """

    pairs: int
    text_prototype: float
    text_density: float
    image_prototype: float
    image_density: float
    classes: str
    balance: float
    fill: int
    filters: bool
    margin: float
    candidates: int

    def __post_init__(self) -> None:
        check_between(self, 0, 10_000_000, "pairs")
        check_between(self, 0, 1_000_000, *STRATEGIES)
        check(sum(self.shares) > 0, "text_prototype", 0, "above 0 for one strategy at least")
        check(self.classes in CLASSES, "classes", self.classes, f"one of {CLASSES}")
        check(0 <= self.margin <= 0.5, "margin", self.margin, "0 to 0.5")
        check_between(self, 1, 100, "candidates")
        check_between(self, 0, 1, "balance")
        check_between(self, 0, 1_000_000, "fill")
        prototypes = self.text_prototype + self.image_prototype
        check(not self.fill or prototypes > 0, "fill", self.fill, "0 without shares of prototypes")

    @property
    def shares(self) -> list[float]:
        """The four shares, in the order of `STRATEGIES`."""
        return [getattr(self, key) for key in STRATEGIES]

    @property
    def filling_shares(self) -> list[float]:
        """Shares for pairs that fill up a class: those of the prototypes, 0 for the densities."""
        return [
            share if key.endswith("prototype") else 0.0
            for key, share in zip(STRATEGIES, self.shares, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class SynthesisInputs:
    """Everything that synthesis reads: train images, their psi, the mixtures, the networks.

    standard: what candidates are measured against. novelty, thresholds: what refuses candidates.
    within: the class of both sources of a prototype; None: any. by_class: rows of each class.
    cumulated: running sums of the images' weights, None where all are equal. filled: the classes
    that `fill` makes pairs for. made_from: digests of the inputs, by name.
    """

    examples: Examples
    embeddings: Embeddings
    mixtures: Mapping[str, Mixture]
    mappings: Mappings
    novelty: NoveltyIndex
    standard: Standard
    thresholds: Thresholds
    config: SynthesisConfig
    seed: int
    made_from: Mapping[str, str]
    within: int | None = None
    by_class: dict[int, list[int]] = field(init=False)
    cumulated: NDArray[np.float64] | None = field(init=False)
    filled: list[int] = field(init=False)

    def __post_init__(self) -> None:
        if len(self.examples) < 2:
            raise InputError("synthesize: fewer than two train images; nothing lies between")
        class_ids = self.examples.class_ids.tolist()
        groups: dict[int, list[int]] = {}
        for row, class_id in enumerate(class_ids):
            groups.setdefault(class_id, []).append(row)
        object.__setattr__(self, "by_class", groups)
        sizes = np.array([len(groups[class_id]) for class_id in class_ids], dtype=np.float64)
        weights = sizes**-self.config.balance
        object.__setattr__(self, "cumulated", weights.cumsum() if self.config.balance else None)
        object.__setattr__(self, "filled", fillable(class_ids))

    def drawing(self, number: int) -> "SynthesisInputs":
        """The inputs for pair `number`; `within` is set where the pair fills up a class."""
        if number < FILLING:
            return self
        view = copy.copy(self)
        within = self.filled[(number - FILLING) % len(self.filled)]
        object.__setattr__(view, "within", within)
        return view


@dataclass(frozen=True, kw_only=True)
class Latent:
    """The start of a pair: a psi (D) or a phi (C, 4, 4), and where it comes from.

    sources: "image_id" or "image_id#caption" of a prototype's two ends. share: its lambda.
    component: of the mixture. class_id: set where both sources are of one known class.
    rows: the two images of an image prototype whose phi is not computed yet; see `settle`.
    """

    vector: Tensor
    sources: list[str]
    share: float | None = None
    component: int | None = None
    class_id: int | None = None
    rows: tuple[int, ...] = ()


def text_prototype(inputs: SynthesisInputs, rng: np.random.Generator) -> Latent:
    """lambda psi(t_i) + (1 - lambda) psi(t_j)."""
    rows = _two_images(inputs, rng)
    places = [int(rng.integers(len(inputs.examples.captions[row]))) for row in rows]
    share = _share(inputs, rng)
    first = inputs.examples.first_caption
    left, right = (
        inputs.embeddings.psi[int(first[r]) + p] for r, p in zip(rows, places, strict=True)
    )
    sources = [f"{inputs.examples.ids[r]}#{p}" for r, p in zip(rows, places, strict=True)]
    vector = between(left, right, torch.tensor(share))
    return Latent(vector=vector, sources=sources, share=share, class_id=_common_class(inputs, rows))


def text_density(inputs: SynthesisInputs, rng: np.random.Generator) -> Latent:
    """psi* from the mixture over captions."""
    vector, component = inputs.mixtures["psi"].sample(rng)
    return Latent(
        vector=F.normalize(torch.from_numpy(vector).float(), dim=0), sources=[], component=component
    )


def image_prototype(inputs: SynthesisInputs, rng: np.random.Generator) -> Latent:
    """lambda phi(v_i) + (1 - lambda) phi(v_j).

    The vector is still empty: `settle` computes it for many latents at once.
    """
    rows = _two_images(inputs, rng)
    share = _share(inputs, rng)
    sources = [inputs.examples.ids[row] for row in rows]
    class_id = _common_class(inputs, rows)
    return Latent(
        vector=torch.empty(0), sources=sources, share=share, class_id=class_id, rows=tuple(rows)
    )


def image_density(inputs: SynthesisInputs, rng: np.random.Generator) -> Latent:
    """phi* from the mixture over images, mapped back through its PCA."""
    vector, component = inputs.mixtures["phi"].sample(rng)  # (16 C), for (C, 4, 4)
    return Latent(
        vector=torch.from_numpy(vector).float().unflatten(0, (-1, GRID, GRID)),
        sources=[],
        share=None,
        component=component,
    )


STRATEGIES: Mapping[str, Callable[[SynthesisInputs, np.random.Generator], Latent]] = {
    "text_prototype": text_prototype,
    "text_density": text_density,
    "image_prototype": image_prototype,
    "image_density": image_density,
}


def settle(inputs: SynthesisInputs, latents: list[Latent]) -> list[Latent]:
    """The latents with the vectors of image prototypes, phi of all their images in one batch."""
    rows = [row for latent in latents for row in latent.rows]
    if not rows:
        return latents
    pixels = center_crop(inputs.examples.pixels[rows], inputs.mappings.gan.size)
    ends = iter(inputs.mappings.phi(pixels).cpu())  # two of (C, 4, 4) for each latent
    return [
        replace(latent, vector=latent.share * next(ends) + (1 - latent.share) * next(ends))
        if latent.rows and latent.share is not None
        else latent
        for latent in latents
    ]


def _share(inputs: SynthesisInputs, rng: np.random.Generator) -> float:
    margin = inputs.config.margin
    return float(rng.uniform(margin, 1 - margin))


def _common_class(inputs: SynthesisInputs, rows: list[int]) -> int | None:
    left, right = (int(inputs.examples.class_ids[row]) for row in rows)
    return left if left == right >= 0 else None


def _two_images(inputs: SynthesisInputs, rng: np.random.Generator) -> list[int]:
    """Two different rows as `classes` asks; any second row where the class has no other image."""
    count = len(inputs.examples)
    left = _first_image(inputs, rng)
    siblings = inputs.by_class[int(inputs.examples.class_ids[left])]
    same = inputs.within is not None or inputs.config.classes == "same"
    if same and len(siblings) > 1:
        right = siblings[int(rng.integers(len(siblings) - 1))]
        return [left, right if right != left else siblings[-1]]
    while True:
        right = int(rng.integers(count))
        other = inputs.config.classes != "other" or len(siblings) == count
        if right != left and (other or right not in siblings):
            return [left, right]


def _first_image(inputs: SynthesisInputs, rng: np.random.Generator) -> int:
    if inputs.within is not None:
        siblings = inputs.by_class[inputs.within]
        return siblings[int(rng.integers(len(siblings)))]
    if inputs.cumulated is None:
        return int(rng.integers(len(inputs.examples)))
    return int(np.searchsorted(inputs.cumulated, rng.random() * inputs.cumulated[-1], side="right"))


def fillable(class_ids: Iterable[int]) -> list[int]:
    """The known classes with two images or more, sorted."""
    sizes = Counter(class_ids)
    return sorted(one for one, size in sizes.items() if one >= 0 and size > 1)
