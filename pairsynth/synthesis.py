"""Novel pairs by the full 2 x 2: {prototype, density} x {text, image} (Xie and Bao, 2017).

Every pair draws from its own stream of rng and is made in the block of pairs that its
number falls in, so pair i is the same whatever the number of pairs and whoever makes it.

Shapes: N rows, A candidates, D psi's dimension, Z noise, C channels of phi.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from pairsynth import seeds
from pairsynth.artifacts import read_shard
from pairsynth.dataset import Refusals, pair_id, pair_shards
from pairsynth.decoding import MAX_WORDS
from pairsynth.duplicates import Seen
from pairsynth.filters import FILTERS, Looks
from pairsynth.image_files import encode
from pairsynth.images import to_image
from pairsynth.latents import FILLING, STRATEGIES, Latent, SynthesisInputs, settle
from pairsynth.mappings import Mappings
from pairsynth.metrics.novelty import (
    COPY,
    FALSE_ALARMS,
    KINDS,
    NEW,
    RECOMBINATION,
    Novelty,
)
from pairsynth.metrics.wording import Standard

BLOCK = 50

# Why a candidate does not become a pair: nothing of it is new, a filter refuses it, it is there
# already, less of it is new than of another, another agrees better, or both agree well and the
# other's words are more nearly as rare as a person's.
NOT_NEW = (COPY, RECOMBINATION)
DUPLICATE = "duplicate"
LESS_NEW, LESS_CONSISTENT, LESS_APT = "less new", "less consistent", "less apt words"
REASONS = (*NOT_NEW, *FILTERS, DUPLICATE, LESS_NEW, LESS_CONSISTENT, LESS_APT)


# ---------------------------------------------------------------- closing a pair


@dataclass(frozen=True)
class Pair:
    """A finished pair. consistency: cosine of psi(caption) and the image's joint vector.

    fault: the filter that refuses it, and why; None where it is sound.
    """

    number: int
    strategy: str
    latent: Latent
    pixels: Tensor
    caption: str
    consistency: float
    novelty: Novelty
    fault: tuple[str, str] | None = None


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
            if pair.fault is not None:
                yield pair, *pair.fault
            elif pair.novelty.kind == COPY:
                yield pair, COPY, f"copy of {nearest} and its caption"
            elif pair.novelty.kind == RECOMBINATION:
                yield pair, RECOMBINATION, f"image of {nearest}, caption of another: both seen"
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


def synthesize(
    world: SynthesisInputs, refusals: Refusals | None = None, numbers: range | None = None
) -> Iterator[Pair]:
    """The pairs of these numbers in order, but for those of which no candidate is to be kept.

    Block by block: memory does not grow with their number. refusals: told of all the others.
    numbers: all of a run from the begin of a block on; None: 0 to `config.pairs` - 1. Among them
    no pair is there twice.
    """
    refusals = refusals or Refusals()
    numbers = range(world.config.pairs) if numbers is None else numbers
    seen = Seen(world.novelty.hashes.distance)
    for start in range(numbers.start, numbers.stop, BLOCK):
        block = close(world, [draft(world, number) for number in range(start, start + BLOCK)])
        for choice in block[: numbers.stop - start]:
            refused, kept = list(choice.reasons()), choice.kept
            twin = None if kept is None else seen.twin(kept.number, kept.caption, kept.pixels)
            if kept is not None and twin is not None:
                refused.append((kept, DUPLICATE, same_as(twin)))
                kept = None
            for row in refused:
                refusals.add(row[1], functools.partial(_refused_row, *row))
            refusals.left_out += kept is None
            if kept is not None:
                yield kept


def same_as(twin: int) -> str:
    """Why a pair that is there already as `twin` is refused."""
    return f"the same as {pair_id(twin)}"


def draft(world: SynthesisInputs, number: int) -> Draft:
    """Everything about pair `number` that is left to chance."""
    rng = seeds.stream(world.seed, "pair", number)
    filling = number >= FILLING
    shares = np.array(world.config.filling_shares if filling else world.config.shares)
    strategy = list(STRATEGIES)[int(rng.choice(len(shares), p=shares / shares.sum()))]
    latent = STRATEGIES[strategy](world.drawing(number), rng)
    tries = world.config.candidates
    noise = torch.from_numpy(rng.standard_normal((tries, world.mappings.gan.noise))).float()
    draws = torch.from_numpy(rng.random((tries, MAX_WORDS))).float()
    return Draft(number, strategy, latent, noise, draws, world.standard.draw(rng))


def close(world: SynthesisInputs, drafts: list[Draft]) -> list[Choice]:
    """Carry each latent into the other domain and back, and choose among the candidates."""
    latents = settle(world, [one.latent for one in drafts])
    drafts = [replace(one, latent=latent) for one, latent in zip(drafts, latents, strict=True)]
    chosen: dict[int, Choice] = {}
    for source, carry in (("text", _from_text), ("image", _from_image)):
        group = [one for one in drafts if one.strategy.startswith(source)]
        if group:
            with parametrize.cached():  # the spectral norm of a layer once, not at every look
                tried = iter(_candidates(world, group, carry))
            for one in group:
                own = list(islice(tried, world.config.candidates))
                chosen[one.number] = screen(own, world.standard, one.surprise)
    return [chosen[one.number] for one in drafts]


def screen(candidates: list[Pair], standard: Standard, surprise: float) -> Choice:
    """Choose among the candidates that no filter refuses."""
    sound = [pair for pair in candidates if pair.fault is None]
    faulty = [pair for pair in candidates if pair.fault is not None]
    choice = choose(sound, standard, surprise)
    return replace(choice, refused=[*faulty, *choice.refused])


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
    scores = (psi * world.mappings.encoder.embed_images(pixels)).sum(1)
    novelty = world.novelty.judge(pixels, captions, psi)
    looks = Looks(pixels=pixels, captions=captions, consistency=scores)
    columns = (pixels, captions, scores.tolist(), novelty, world.thresholds.faults(looks))
    return [
        Pair(one.number, one.strategy, one.latent, *row)
        for one, *row in zip(owners, *columns, strict=True)
    ]


# ---------------------------------------------------------------- the dataset


def rows(world: SynthesisInputs, pairs: Iterable[Pair]) -> Iterator[dict[str, Any]]:
    """Pairs as rows of `dataset.PAIRS`."""
    names = dict(zip(world.examples.class_ids.tolist(), world.examples.class_names, strict=True))
    for pair in pairs:
        latent, new = pair.latent, pair.novelty
        yield {
            "pair_id": pair_id(pair.number),
            "image": _image(pair),
            "caption": pair.caption,
            "strategy": pair.strategy,
            "source_ids": latent.sources,
            "blend_weight": latent.share,
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
        "pair_id": pair_id(pair.number),
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


def _image(pair: Pair) -> dict[str, Any]:
    return {"bytes": encode(to_image(pair.pixels)), "path": f"{pair_id(pair.number)}.png"}


def facts(world: SynthesisInputs) -> dict[str, Any]:
    """What card and manifest tell of the dataset besides its counts."""
    return {
        "source_images": len(world.examples),
        "made_from": dict(sorted(world.made_from.items())),
        "seed": world.seed,
        "size": world.mappings.gan.size,
        "distance": world.novelty.threshold,
        "hash_distance": world.novelty.hashes.distance,
        "novelty_recall": world.novelty.recall,
        "false_alarms": FALSE_ALARMS,
        "filters": world.thresholds.stated(),
    }


def figures(folder: Path, refusals: Refusals) -> dict[str, float | int]:
    """What `synthesize` reports: what the shards hold, and how many were refused."""
    kinds, sums, strategies = Counter[str](), Counter[str](), Counter[str]()
    for path in pair_shards(folder):
        columns = read_shard(path, ["novelty", "strategy", "consistency"]).to_pydict()
        kinds.update(columns["novelty"])
        strategies.update(columns["strategy"])
        for strategy, value in zip(columns["strategy"], columns["consistency"], strict=True):
            sums[strategy] += value
    told: dict[str, float | int] = {"pairs": strategies.total()}
    for strategy, count in sorted(strategies.items()):
        told[f"{strategy}_pairs"] = count
        told[f"{strategy}_consistency"] = sums[strategy] / count
    for kind in KINDS:
        told[f"{kind.replace(',', '').replace(' ', '_')}_pairs"] = kinds[kind]
    for reason in REASONS:
        told[f"refused_{reason.replace(' ', '_')}"] = refusals.counts[reason]
    return told | {"left_out": refusals.left_out}
