"""Downstream use: do synthetic pairs help probes that learn from real pairs?

Protocol. In each trial `use_seeds` probes (probes.py) are trained on frozen features. Each has its
own share of the train images (smaller shares are part of larger ones, balanced over classes) and
its own initial weights, both the same in all trials, so that gains are paired. Two trials have real
pairs only: `real` for the steps that trials with synthetic pairs beside them take (equal real
images seen), and `real_longer` for twice as many (equal images seen); the better one is the
baseline. Synthetic pairs are added in three ways (`WAYS`): a batch of them beside each real batch,
at full or lower weight, or all first and the real ones last. The trial of the best way is repeated
with half of the pairs: the more consistent half, and a random half.

All choices are made on val images and reported on test images; no generator saw either.

Tasks: `retrieval`, recall@10 between images and a caption each, mean of both ways; `captioning`,
the geometric mean of p over the words of people's captions (known words only); `attributes`, mean
average precision over words of the lexicon: the words of captions are learned, the words that half
of an image's captions share are tested; `classes`, accuracy, where train and test share classes and
pairs have some (`synthesize.classes: same` gives them; a share of the train images then is that
share of each class).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pairsynth import seeds
from pairsynth.evaluation import probes
from pairsynth.evaluation.context import EvaluationContext, Pairs, evenly_spaced
from pairsynth.evaluation.probes import Portion, ProbeExamples, Probes
from pairsynth.evaluation.recipes import ALONE, HALVES, REAL, SHARES, WAYS, Trial, Way, best_of
from pairsynth.examples import Examples
from pairsynth.inference import inference
from pairsynth.metrics.agreement import retrieval
from pairsynth.metrics.feature_extractors import Features
from pairsynth.text import Vocabulary

EXAMINED, PART = 500, 100
AGREED, LEAST = 0.5, 5
RANK = 10


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Real images that probes are tested on: features (N, F), and the answers.

    tokens: int64 (N, T), one caption each. truth: 0 or 1, (N, W). targets: int64 (N), the class or
    -1.
    """

    features: Tensor
    tokens: Tensor
    truth: Tensor
    targets: Tensor


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that probes are trained and tested on."""

    context: EvaluationContext
    pairs: Pairs
    features: Features

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the probes."""
        return probes.vocabulary_of(self.context.train.flat_captions)

    @cached_property
    def classes(self) -> list[int]:
        """The classes that train and test share."""
        train, test = self.context.train, self.context.test
        return sorted((set(train.class_ids.tolist()) & set(test.class_ids.tolist())) - {-1})

    @cached_property
    def real(self) -> ProbeExamples:
        """The real pairs: all of train."""
        train = self.context.train
        return self._examples(train.pixels, train.captions, train.class_ids)

    @cached_property
    def synthetic(self) -> ProbeExamples:
        """The synthetic pairs."""
        captions = [[one] for one in self.pairs.captions]
        return self._examples(self.pairs.pixels, captions, self.pairs.class_ids)

    @cached_property
    def question_sets(self) -> tuple[Questions, Questions]:
        """The questions on val images and on test images."""
        return self._questions(self.context.examples["val"]), self._questions(self.context.test)

    def _examples(
        self, pixels: Tensor, captions: Sequence[Sequence[str]], class_ids: Tensor
    ) -> ProbeExamples:
        features = self.features(pixels)
        known = self.vocabulary, self.classes, self.context.lexicon
        found = probes.prepare(features, captions, class_ids, *known)
        return found.to(self.context.mappings.device)

    def _questions(self, images: Examples) -> Questions:
        rows = evenly_spaced(len(images), EXAMINED)
        place = {class_id: i for i, class_id in enumerate(self.classes)}
        references = [images.captions[row] for row in rows]
        device = self.context.mappings.device
        return Questions(
            features=self.features(images.pixels[rows]).to(device),
            tokens=self.vocabulary.encode([own[0] for own in references], probes.LENGTH).to(device),
            truth=torch.stack(
                [probes.named(own, self.context.lexicon).mean(0) >= AGREED for own in references]
            ),
            targets=torch.tensor([place.get(int(images.class_ids[row]), -1) for row in rows]),
        )

    @cached_property
    def orders(self) -> list[Tensor]:
        """For each probe a random order of train that takes one row of each class in turn.

        A share of the train images is the first part of it.
        """
        groups, found = self.real.groups.cpu(), []
        for seed in range(self.context.config.use_seeds):
            rng = seeds.torch_stream(self.context.seed, "use", seed, "shares")
            order = torch.randperm(len(groups), generator=rng)  # (N)
            same = groups[order].argsort(stable=True)
            starts = groups[order][same]
            begins = torch.searchsorted(starts, starts)
            # met: how many rows of the same group come before in this order, (N)
            met = torch.empty_like(order)
            met[same] = torch.arange(len(order)) - begins
            found.append(order[met.argsort(stable=True)])
        return found

    def kept(self, way: Way) -> list[Tensor]:
        """For each probe the rows of the synthetic pairs that it learns from."""
        total, count = len(self.pairs), self.context.config.use_seeds
        half = max(1, total // 2)
        if way.kept == "consistent":
            best = torch.tensor(self.pairs.consistency).argsort(descending=True, stable=True)
            return [best[:half]] * count
        if way.kept == "any":
            return [
                torch.randperm(
                    total, generator=seeds.torch_stream(self.context.seed, "use", seed, "any")
                )[:half]
                for seed in range(count)
            ]
        return [torch.arange(total)] * count


def use(context: EvaluationContext, pairs: Pairs) -> Iterator[Trial]:
    """The trials, one after another."""
    if not context.config.use_steps:
        return
    features = probes.frozen_features(context.mappings.device)
    experiment = Experiment(
        context=context, pairs=pairs, features=probes.reader(features, context.train.pixels)
    )
    yield trial(experiment, ALONE, 0.0)
    for share in SHARES:
        found = []
        for way in (*REAL, *WAYS):
            found.append(trial(experiment, way, share))
            yield found[-1]
        best = best_of(found).way
        for kept in HALVES:
            yield trial(
                experiment, replace(best, name=f"{best.name}_{kept}_half", kept=kept), share
            )


def count(context: EvaluationContext) -> int:
    """How many trials `use` makes."""
    each = len(REAL) + len(WAYS) + len(HALVES)
    return 1 + len(SHARES) * each if context.config.use_steps else 0


def trial(experiment: Experiment, way: Way, share: float) -> Trial:
    """Train the probes in one way and test them."""
    context, count = experiment.context, experiment.context.config.use_seeds
    least = max(2, round(share * len(experiment.real)))
    real = Portion(
        name="real", examples=experiment.real, rows=[own[:least] for own in experiment.orders]
    )
    pairs = Portion(
        name="synthetic",
        examples=experiment.synthetic,
        rows=experiment.kept(way),
        weight=way.weight or 1.0,
    )
    starts = [seeds.digest(context.seed, "use", seed, "weights") for seed in range(count)]
    examples = experiment.real
    sizes = examples.features.shape[1], len(experiment.classes), examples.named.shape[1]
    with torch.random.fork_rng(devices=[]):
        taught = Probes(starts, experiment.vocabulary, *sizes).to(context.mappings.device)
    orders = [seeds.digest(context.seed, "use", seed, "order") for seed in range(count)]
    probes.train(taught, _phases(way, real, pairs), context.config.use_steps, orders)
    told = (real,) * way.real + (pairs,) * way.synthetic
    known = any(bool((one.examples.targets[one.rows[0]] >= 0).any()) for one in told)
    val, test = ({**examine(taught, one)} for one in experiment.question_sets)
    for scores in (val, test) if not known else ():
        scores["classes"] = None
    counts = (least if way.real else 0, len(pairs.rows[0]) if way.synthetic else 0)
    return Trial(way=way, share=share, real=counts[0], pairs=counts[1], val=val, test=test)


def _phases(way: Way, real: Portion, pairs: Portion) -> list[list[Portion]]:
    if way.first:
        return [[pairs], [real]]
    together = [real] * way.real + [pairs] * way.synthetic
    return [together] * (2 if way.longer else 1)


def examine(taught: Probes, questions: Questions) -> dict[str, list[float] | None]:
    """The score of each probe, task by task; None where the questions have no answers."""
    features = questions.features[None]  # (1, N, F), the same for all K probes
    with inference(taught):
        seen = taught.see(features).cpu()  # (K, N, D)
        read = taught.read(questions.tokens.expand(taught.count, -1, -1)).cpu()
        names = taught.names(features).cpu()
        said = taught.classes(features).argmax(2).cpu()  # (K, N, C) -> (K, N)
    known = questions.targets >= 0
    precision = [mean_precision(one, questions.truth) for one in names]
    right = (said == questions.targets)[:, known].double().mean(1).tolist()
    return {
        "retrieval": [_found(*one) for one in zip(seen, read, strict=True)],
        "captioning": likelihoods(taught, questions),
        "attributes": [one for one in precision if one is not None] or None,
        "classes": right if known.any() else None,
    }


def _found(seen: Tensor, read: Tensor) -> float:
    """Recall@10, the mean of both directions."""
    ways = [retrieval(a, b, (RANK,)).recall[RANK].value for a, b in ((seen, read), (read, seen))]
    return sum(way or 0.0 for way in ways) / 2


def likelihoods(taught: Probes, questions: Questions) -> list[float]:
    """For each probe (K) the geometric mean of p over the words of the captions."""
    total, words = torch.zeros(taught.count), torch.zeros(taught.count)
    for features, tokens in zip(
        questions.features.split(PART), questions.tokens.split(PART), strict=True
    ):
        with inference(taught):
            told = tokens.expand(taught.count, -1, -1)
            chances, counts = taught.write(features[None], told)
        total += (chances * counts).sum((1, 2)).cpu()
        words += counts.sum((1, 2)).cpu()
    return (total / words.clamp(min=1)).exp().tolist()


def mean_precision(scores: Tensor, truth: Tensor) -> float | None:
    """Mean average precision over the columns of (N, W) that are true and false often enough.

    Among equal scores the wrong ones are ranked first.
    """
    often = truth.sum(0)
    columns = ((often >= LEAST) & (often <= len(truth) - LEAST)).nonzero()[:, 0]
    if not len(columns):
        return None
    scores, hits = scores[:, columns], truth[:, columns].double()
    # AP = mean over hits of (hits so far) / (rows so far), rows by falling score
    wrong_first = hits.argsort(dim=0, stable=True)  # (N, columns)
    scores, hits = scores.gather(0, wrong_first), hits.gather(0, wrong_first)
    hits = hits.gather(0, scores.argsort(dim=0, descending=True, stable=True))
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)[:, None]
    return float(((precision * hits).sum(0) / hits.sum(0)).mean())
