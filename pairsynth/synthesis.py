"""Novel pairs by the full 2 x 2: {prototype, density} x {text, image} (Xie and Bao, 2017).

Every pair draws from its own stream of rng and is made in the block of pairs that its
number falls in, so pair i is the same whatever the number of pairs.

Shapes: N rows, A candidates, D psi's dimension, Z noise, C channels of phi.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth import seeds
from pairsynth.artifacts import read_shards
from pairsynth.config import check, check_between
from pairsynth.dataset import Refusals
from pairsynth.decoding import MAX_WORDS
from pairsynth.errors import InputError
from pairsynth.examples import Embeddings, Pictures
from pairsynth.images import center_crop, encode, to_picture
from pairsynth.mappings import Mappings, between
from pairsynth.metrics.novelty import (
    COPY,
    FALSE_ALARMS,
    KINDS,
    NEW,
    RECOMBINATION,
    Novelty,
    NoveltyIndex,
)
from pairsynth.metrics.wording import Standard
from pairsynth.mixture import Mixture

BLOCK = 64

CLASSES = ("same", "other", "any")

# Why a candidate does not become a pair: nothing of it is new, less than of another, another agrees
# better, or both agree well and the other's words are more nearly as rare as a person's.
NOT_NEW = (COPY, RECOMBINATION)
LESS_NEW, LESS_CONSISTENT, LESS_APT = "less new", "less consistent", "less apt words"
REASONS = (*NOT_NEW, LESS_NEW, LESS_CONSISTENT, LESS_APT)


@dataclass(frozen=True)
class SynthesisConfig:
    """Section `synthesize` of params.yaml.

    pairs: pairs to try; one whose every candidate stands in the train split is left out.
    text_prototype: share of pairs from psi between two captions.
    text_density: share of pairs from psi drawn from the mixture over captions.
    image_prototype: share of pairs from phi between two pictures.
    image_density: share of pairs from phi drawn from the mixture over pictures.
    classes: whether the two of a prototype are of the same class, of another, or any two.
    margin: lambda is drawn evenly between this and 1 minus this.
    candidates: tries for each; which is kept, `choose` says.
    """

    pairs: int
    text_prototype: float
    text_density: float
    image_prototype: float
    image_density: float
    classes: str
    margin: float
    candidates: int

    def __post_init__(self) -> None:
        check_between(self, 0, 10_000_000, "pairs")
        check_between(self, 0, 1_000_000, *STRATEGIES)
        check(sum(self.shares) > 0, "text_prototype", 0, "above 0 for one strategy at least")
        check(self.classes in CLASSES, "classes", self.classes, f"one of {CLASSES}")
        check(0 <= self.margin <= 0.5, "margin", self.margin, "0 to 0.5")
        check_between(self, 1, 100, "candidates")

    @property
    def shares(self) -> list[float]:
        """The four shares, in the order of `STRATEGIES`."""
        return [getattr(self, key) for key in STRATEGIES]


@dataclass(frozen=True)
class SynthesisInputs:
    """What synthesis draws from: train pictures, their psi, the mixtures, the networks.

    standard: what candidates are held to. made_from: digests, by name, of all of these.
    """

    pictures: Pictures
    embeddings: Embeddings
    mixtures: Mapping[str, Mixture]
    mappings: Mappings
    novelty: NoveltyIndex
    standard: Standard
    config: SynthesisConfig
    seed: int
    made_from: Mapping[str, str]
    by_class: dict[int, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        if len(self.pictures) < 2:
            raise InputError("synthesize: fewer than two train pictures; nothing lies between")
        groups: dict[int, list[int]] = {}
        for row, class_id in enumerate(self.pictures.class_ids.tolist()):
            groups.setdefault(class_id, []).append(row)
        object.__setattr__(self, "by_class", groups)


@dataclass(frozen=True)
class Latent:
    """Where a pair starts: a psi (D) or a phi (C, 4, 4), and how it was come by.

    sources: "image_id" or "image_id#caption" of the two of a prototype. share: its lambda.
    component: of the mixture. class_id: where both sources are of one known class.
    """

    vector: Tensor
    sources: list[str]
    share: float | None = None
    component: int | None = None
    class_id: int | None = None


def text_prototype(world: SynthesisInputs, rng: np.random.Generator) -> Latent:
    """lambda psi(t_i) + (1 - lambda) psi(t_j)."""
    rows = _two_pictures(world, rng)
    places = [int(rng.integers(len(world.pictures.captions[row]))) for row in rows]
    share = _share(world, rng)
    first = world.pictures.first_caption
    left, right = (
        world.embeddings.psi[int(first[r]) + p] for r, p in zip(rows, places, strict=True)
    )
    sources = [f"{world.pictures.ids[r]}#{p}" for r, p in zip(rows, places, strict=True)]
    vector = between(left, right, torch.tensor(share))
    return Latent(vector, sources, share, class_id=_common_class(world, rows))


def text_density(world: SynthesisInputs, rng: np.random.Generator) -> Latent:
    """psi* from the mixture over captions."""
    vector, component = world.mixtures["psi"].sample(rng)
    return Latent(F.normalize(torch.from_numpy(vector).float(), dim=0), [], component=component)


def image_prototype(world: SynthesisInputs, rng: np.random.Generator) -> Latent:
    """lambda phi(v_i) + (1 - lambda) phi(v_j)."""
    rows = _two_pictures(world, rng)
    share = _share(world, rng)
    pixels = center_crop(world.pictures.pixels[rows], world.mappings.gan.size)
    left, right = world.mappings.phi(pixels).cpu()
    sources = [world.pictures.ids[row] for row in rows]
    vector = share * left + (1 - share) * right
    return Latent(vector, sources, share, class_id=_common_class(world, rows))


def image_density(world: SynthesisInputs, rng: np.random.Generator) -> Latent:
    """phi* from the mixture over pictures, mapped back through its PCA."""
    vector, component = world.mixtures["phi"].sample(rng)
    return Latent(torch.from_numpy(vector).float().unflatten(0, (-1, 4, 4)), [], None, component)


STRATEGIES: Mapping[str, Callable[[SynthesisInputs, np.random.Generator], Latent]] = {
    "text_prototype": text_prototype,
    "text_density": text_density,
    "image_prototype": image_prototype,
    "image_density": image_density,
}


def _share(world: SynthesisInputs, rng: np.random.Generator) -> float:
    margin = world.config.margin
    return float(rng.uniform(margin, 1 - margin))


def _common_class(world: SynthesisInputs, rows: list[int]) -> int | None:
    left, right = (int(world.pictures.class_ids[row]) for row in rows)
    return left if left == right >= 0 else None


def _two_pictures(world: SynthesisInputs, rng: np.random.Generator) -> list[int]:
    """Two rows, by the rule of `classes`; any other where the class has no other picture."""
    count = len(world.pictures)
    left = int(rng.integers(count))
    siblings = world.by_class[int(world.pictures.class_ids[left])]
    if world.config.classes == "same" and len(siblings) > 1:
        right = siblings[int(rng.integers(len(siblings) - 1))]
        return [left, right if right != left else siblings[-1]]
    while True:
        right = int(rng.integers(count))
        other = world.config.classes != "other" or len(siblings) == count
        if right != left and (other or right not in siblings):
            return [left, right]


# ---------------------------------------------------------------- closing a pair


@dataclass(frozen=True)
class Pair:
    """A finished pair. consistency: cosine of psi(caption) and the picture's joint vector."""

    number: int
    strategy: str
    latent: Latent
    pixels: Tensor
    caption: str
    consistency: float
    novelty: Novelty


@dataclass(frozen=True)
class Choice:
    """What became of one draft: the pair kept, if any candidate is new, and all the others.

    standard: the consistency from which on it is the words that count.
    """

    kept: Pair | None
    refused: list[Pair]
    standard: float

    def reasons(self) -> Iterator[tuple[Pair, str, str]]:
        """Each candidate refused, its reason (one of `REASONS`), and the reason in words."""
        for pair in self.refused:
            nearest = pair.novelty.nearest_image
            if pair.novelty.kind == COPY:
                yield pair, COPY, f"copy of {nearest} and its caption"
            elif pair.novelty.kind == RECOMBINATION:
                yield pair, RECOMBINATION, f"picture of {nearest}, caption of another: both seen"
            elif self.kept is not None and self.kept.novelty.kind == NEW != pair.novelty.kind:
                yield pair, LESS_NEW, f"{pair.novelty.kind}; of the one kept both are new"
            elif self.kept is not None and pair.consistency >= self.standard:
                yield pair, LESS_APT, "words too plain or too rare beside those of the one kept"
            elif self.kept is not None:
                least = min(self.kept.consistency, self.standard)
                scores = f"{pair.consistency:.3f} < {least:.3f}"
                yield pair, LESS_CONSISTENT, f"less consistent than asked for: {scores}"


@dataclass(frozen=True)
class Draft:
    """A pair's latent and all the chance it will meet: noise (A, Z), draws (A, MAX_WORDS).

    surprise: how rare its words should be, in bits a word.
    """

    number: int
    strategy: str
    latent: Latent
    noise: Tensor
    draws: Tensor
    surprise: float


def synthesize(world: SynthesisInputs, refusals: Refusals | None = None) -> Iterator[Pair]:
    """The pairs 0 to `config.pairs` - 1 in order, but for those of which no candidate is new.

    Block by block: memory does not grow with their number. refusals: told of all the others.
    """
    refusals = refusals or Refusals()
    for start in range(0, world.config.pairs, BLOCK):
        block = close(world, [draft(world, number) for number in range(start, start + BLOCK)])
        for choice in block[: world.config.pairs - start]:
            _account(refusals, choice)
            if choice.kept is not None:
                yield choice.kept


def _account(refusals: Refusals, choice: Choice) -> None:
    refusals.left_out += choice.kept is None
    for pair, reason, why in choice.reasons():
        refusals.add(reason, functools.partial(_refused_row, pair, reason, why))


def draft(world: SynthesisInputs, number: int) -> Draft:
    """Everything about pair `number` that is left to chance."""
    rng = seeds.stream(world.seed, "pair", number)
    shares = np.array(world.config.shares)
    strategy = list(STRATEGIES)[int(rng.choice(len(shares), p=shares / shares.sum()))]
    latent = STRATEGIES[strategy](world, rng)
    tries = world.config.candidates
    noise = torch.from_numpy(rng.standard_normal((tries, world.mappings.gan.noise))).float()
    draws = torch.from_numpy(rng.random((tries, MAX_WORDS))).float()
    return Draft(number, strategy, latent, noise, draws, world.standard.draw(rng))


def close(world: SynthesisInputs, drafts: list[Draft]) -> list[Choice]:
    """Carry each latent into the other domain and back, and choose among the candidates."""
    chosen: dict[int, Choice] = {}
    for source, carry in (("text", _from_text), ("image", _from_image)):
        group = [one for one in drafts if one.strategy.startswith(source)]
        if group:
            tried = iter(_candidates(world, group, carry))
            for one in group:
                candidates = list(islice(tried, world.config.candidates))
                chosen[one.number] = choose(candidates, world.standard, one.surprise)
    return [chosen[one.number] for one in drafts]


def choose(candidates: list[Pair], standard: Standard, surprise: float) -> Choice:
    """Of the new candidates that agree as real pairs do, that with words as rare as a person's.

    New: of both halves, before of one half: a real caption that is held out stands in train one
    time in five, so a captioner that writes such captions is no defect, but a data set of novel
    pairs has better ones to choose from. As real pairs do: their consistency is `standard`'s or
    more; of those that fall short, the most consistent. As rare: their surprise is nearest to
    `surprise`, that of a real caption drawn for the pair. The first among equals.
    """

    def merit(i: int) -> tuple[bool, bool, float]:
        pair = candidates[i]
        agrees = pair.consistency >= standard.consistency
        off = abs(standard.surprise(pair.caption) - surprise)
        return pair.novelty.kind == NEW, agrees, -off if agrees else pair.consistency

    fresh = [i for i, pair in enumerate(candidates) if pair.novelty.kind not in NOT_NEW]
    best = max(fresh, key=merit, default=None)
    others = [pair for i, pair in enumerate(candidates) if i != best]
    return Choice(None if best is None else candidates[best], others, standard.consistency)


Carry = Callable[[Mappings, Tensor, Tensor, Tensor], tuple[Tensor, list[str]]]


def _from_text(
    mappings: Mappings, psi: Tensor, noise: Tensor, draws: Tensor
) -> tuple[Tensor, list[str]]:
    """psi* -> v = f(psi*) -> t = g(phi(v))."""
    pixels = mappings.draw(psi, noise)
    return pixels, mappings.describe_freely(mappings.phi(pixels), draws)


def _from_image(
    mappings: Mappings, phi: Tensor, noise: Tensor, draws: Tensor
) -> tuple[Tensor, list[str]]:
    """phi* -> t = g(phi*) -> v = f(psi(t))."""
    captions = mappings.describe_freely(phi, draws)
    return mappings.draw(mappings.psi(captions), noise), captions


def _candidates(world: SynthesisInputs, group: list[Draft], carry: Carry) -> list[Pair]:
    """All candidates of the drafts, draft by draft."""
    tries = world.config.candidates
    owners = [one for one in group for _ in range(tries)]
    latents = torch.stack([one.latent.vector for one in owners])
    noise, draws = (torch.cat([getattr(one, k) for one in group]) for k in ("noise", "draws"))
    pixels, captions = carry(world.mappings, latents, noise, draws)
    psi = world.mappings.psi(captions)
    scores = (psi * world.mappings.encoder.embed_images(pixels)).sum(1).tolist()
    novelty = world.novelty.judge(pixels, captions, psi)
    return [
        Pair(one.number, one.strategy, one.latent, *row)
        for one, *row in zip(owners, pixels, captions, scores, novelty, strict=True)
    ]


# ---------------------------------------------------------------- the dataset


def rows(world: SynthesisInputs, pairs: Iterable[Pair]) -> Iterator[dict[str, Any]]:
    """Pairs as rows of `dataset.PAIRS`."""
    names = dict(zip(world.pictures.class_ids.tolist(), world.pictures.class_names, strict=True))
    for pair in pairs:
        latent, new = pair.latent, pair.novelty
        yield {
            "pair_id": _pair_id(pair),
            "image": _image(pair),
            "caption": pair.caption,
            "strategy": pair.strategy,
            "source_ids": latent.sources,
            "lambda": latent.share,
            "component": latent.component,
            "seed": world.seed,
            "class_id": latent.class_id,
            "class_name": None if latent.class_id is None else names[latent.class_id],
            "consistency": pair.consistency,
            "novelty": new.kind,
            "caption_seen": new.caption_seen,
            "nearest_image_id": new.nearest_image,
            "nearest_image_distance": new.image_distance,
            "nearest_image_ratio": new.image_ratio,
            "nearest_caption_id": new.nearest_caption_id,
            "nearest_caption": new.nearest_caption,
            "nearest_caption_similarity": new.caption_similarity,
        }


def _refused_row(pair: Pair, reason: str, why: str) -> dict[str, Any]:
    """A candidate as a row of `dataset.REFUSED`."""
    return {
        "pair_id": _pair_id(pair),
        "image": _image(pair),
        "caption": pair.caption,
        "strategy": pair.strategy,
        "reason": reason,
        "why": why,
        "consistency": pair.consistency,
        "nearest_image_id": pair.novelty.nearest_image,
        "nearest_image_distance": pair.novelty.image_distance,
        "nearest_caption": pair.novelty.nearest_caption,
    }


def _pair_id(pair: Pair) -> str:
    return f"pair-{pair.number:07}"


def _image(pair: Pair) -> dict[str, Any]:
    return {"bytes": encode(to_picture(pair.pixels)), "path": f"{_pair_id(pair)}.png"}


def facts(world: SynthesisInputs) -> dict[str, Any]:
    """What card and manifest tell of the dataset besides its counts."""
    return {
        "source_pictures": len(world.pictures),
        "made_from": dict(sorted(world.made_from.items())),
        "seed": world.seed,
        "size": world.mappings.gan.size,
        "distance": world.novelty.threshold,
        "false_alarms": FALSE_ALARMS,
    }


def figures(folder: Path, refusals: Refusals) -> dict[str, float | int]:
    """What `synthesize` reports: what the shards hold, and how many were refused."""
    table = read_shards(folder, "train", ["strategy", "consistency", "novelty"]).to_pandas()
    told: dict[str, float | int] = {"pairs": len(table)}
    for strategy, group in table.groupby("strategy"):
        told[f"{strategy}_pairs"] = len(group)
        told[f"{strategy}_consistency"] = float(group["consistency"].mean())
    for kind in KINDS:
        told[f"{kind.replace(',', '').replace(' ', '_')}_pairs"] = int(
            (table["novelty"] == kind).sum()
        )
    for reason in REASONS:
        told[f"refused_{reason.replace(' ', '_')}"] = refusals.counts[reason]
    return told | {"left_out": refusals.left_out}
