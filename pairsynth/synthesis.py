"""Novel pairs by the full 2 x 2: {prototype, density} x {text, image} (Xie and Bao, 2017).

Every pair has a random stream of its own and is made in the block of pairs that its number falls
in, so pair i is the same whatever the number of pairs and whichever process makes it.

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
from pairsynth.captioner import MAX_WORDS
from pairsynth.dataset import Refusals, pair_id, pair_shards
from pairsynth.duplicates import Seen
from pairsynth.filters import FILTERS, Candidates
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


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A finished pair. consistency: cosine of psi(caption) and the image's joint vector.

    fault: the filter that refuses it, and why; None where none does.
    """

    number: int
    strategy: str
    latent: Latent
    pixels: Tensor
    caption: str
    consistency: float
    novelty: Novelty
    fault: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The outcome of one draft: the pair kept, if any candidate is new, and all the others.

    standard: from this consistency on, candidates are ranked by their words.
    """

    kept: Pair | None
    refused: list[Pair]
    standard: float

    def reasons(self) -> Iterator[tuple[Pair, str, str]]:
        """Each refused candidate with its reason, one of `REASONS`, and an explanation."""
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


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A pair's latent and all its random numbers: noise (A, Z), draws (A, MAX_WORDS).

    surprise: how rare its words should be, in bits per word.
    """

    number: int
    strategy: str
    latent: Latent
    noise: Tensor
    draws: Tensor
    surprise: float


def synthesize(
    inputs: SynthesisInputs, refusals: Refusals | None = None, numbers: range | None = None
) -> Iterator[Pair]:
    """The pairs of these numbers in order, without those that have no candidate to keep.

    They are made block by block: memory does not grow with their number. refusals: gets all other
    candidates. numbers: a range from the start of a block on; None: 0 to `config.pairs` - 1. A pair
    like an earlier one of the range is refused as a duplicate.
    """
    refusals = refusals or Refusals()
    numbers = range(inputs.config.pairs) if numbers is None else numbers
    seen = Seen(inputs.novelty.hashes.distance)
    for start in range(numbers.start, numbers.stop, BLOCK):
        block = close(inputs, [draft(inputs, number) for number in range(start, start + BLOCK)])
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


def draft(inputs: SynthesisInputs, number: int) -> Draft:
    """Draw everything random about pair `number`."""
    rng = seeds.stream(inputs.seed, "pair", number)
    filling = number >= FILLING
    shares = np.array(inputs.config.filling_shares if filling else inputs.config.shares)
    strategy = list(STRATEGIES)[int(rng.choice(len(shares), p=shares / shares.sum()))]
    latent = STRATEGIES[strategy](inputs.drawing(number), rng)
    tries = inputs.config.candidates
    noise = torch.from_numpy(rng.standard_normal((tries, inputs.mappings.gan.noise))).float()
    draws = torch.from_numpy(rng.random((tries, MAX_WORDS))).float()
    return Draft(
        number=number,
        strategy=strategy,
        latent=latent,
        noise=noise,
        draws=draws,
        surprise=inputs.standard.draw(rng),
    )


def close(inputs: SynthesisInputs, drafts: list[Draft]) -> list[Choice]:
    """Map each latent to an image and a caption, and choose among the candidates."""
    latents = settle(inputs, [one.latent for one in drafts])
    drafts = [replace(one, latent=latent) for one, latent in zip(drafts, latents, strict=True)]
    chosen: dict[int, Choice] = {}
    for source, carry in (("text", _from_text), ("image", _from_image)):
        group = [one for one in drafts if one.strategy.startswith(source)]
        if group:
            with parametrize.cached():  # the spectral norm of a layer once, not at every look
                tried = iter(_candidates(inputs, group, carry))
            for one in group:
                own = list(islice(tried, inputs.config.candidates))
                chosen[one.number] = screen(own, inputs.standard, one.surprise)
    return [chosen[one.number] for one in drafts]


def screen(candidates: list[Pair], standard: Standard, surprise: float) -> Choice:
    """`choose` among the candidates that no filter refuses."""
    sound = [pair for pair in candidates if pair.fault is None]
    faulty = [pair for pair in candidates if pair.fault is not None]
    choice = choose(sound, standard, surprise)
    return replace(choice, refused=[*faulty, *choice.refused])


def choose(candidates: list[Pair], standard: Standard, surprise: float) -> Choice:
    """Choose the new candidate that agrees as real pairs do and has words as rare as a person's.

    Candidates are ranked by three things in order. Both image and caption are new, before only one:
    one in five held-out real captions stands in train too, so a seen caption is no defect, but two
    new halves are better. Consistency is at least that of `standard`; below it, more is better.
    Above it, the surprise of the caption should be nearest to `surprise`, that of a real caption
    drawn for the pair. The first of equals wins.
    """

    def merit(i: int) -> tuple[bool, bool, float]:
        pair = candidates[i]
        agrees = pair.consistency >= standard.consistency
        off = abs(standard.surprise(pair.caption) - surprise)
        return pair.novelty.kind == NEW, agrees, -off if agrees else pair.consistency

    fresh = [i for i, pair in enumerate(candidates) if pair.novelty.kind not in NOT_NEW]
    best = max(fresh, key=merit, default=None)
    others = [pair for i, pair in enumerate(candidates) if i != best]
    return Choice(
        kept=None if best is None else candidates[best],
        refused=others,
        standard=standard.consistency,
    )


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


def _candidates(inputs: SynthesisInputs, group: list[Draft], carry: Carry) -> list[Pair]:
    """All candidates of the drafts, draft by draft, made as one batch."""
    tries = inputs.config.candidates
    owners = [one for one in group for _ in range(tries)]
    latents = torch.stack([one.latent.vector for one in owners])  # (N, D) or (N, C, 4, 4)
    # of drafts (A, Z) and (A, MAX_WORDS) to (N, Z) and (N, MAX_WORDS), N = A drafts
    noise, draws = (torch.cat([getattr(one, k) for one in group]) for k in ("noise", "draws"))
    pixels, captions = carry(inputs.mappings, latents, noise, draws)
    psi = inputs.mappings.psi(captions)
    scores = (psi * inputs.mappings.encoder.embed_images(pixels)).sum(1)
    novelty = inputs.novelty.judge(pixels, captions, psi)
    tried = Candidates(pixels=pixels, captions=captions, consistency=scores)
    faults = inputs.thresholds.faults(tried)
    return [
        Pair(
            number=one.number,
            strategy=one.strategy,
            latent=one.latent,
            pixels=pixels[i],
            caption=captions[i],
            consistency=float(scores[i]),
            novelty=novelty[i],
            fault=faults[i],
        )
        for i, one in enumerate(owners)
    ]


# ---------------------------------------------------------------- the dataset


def rows(inputs: SynthesisInputs, pairs: Iterable[Pair]) -> Iterator[dict[str, Any]]:
    """Pairs as rows of `dataset.PAIRS`."""
    names = dict(zip(inputs.examples.class_ids.tolist(), inputs.examples.class_names, strict=True))
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
            "seed": inputs.seed,
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


def facts(inputs: SynthesisInputs) -> dict[str, Any]:
    """The entries of card and manifest besides the counts."""
    return {
        "source_images": len(inputs.examples),
        "made_from": dict(sorted(inputs.made_from.items())),
        "seed": inputs.seed,
        "size": inputs.mappings.gan.size,
        "distance": inputs.novelty.threshold,
        "hash_distance": inputs.novelty.hashes.distance,
        "novelty_recall": inputs.novelty.recall,
        "false_alarms": FALSE_ALARMS,
        "filters": inputs.thresholds.stated(),
    }


def summary(folder: Path, refusals: Refusals) -> dict[str, float | int]:
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
