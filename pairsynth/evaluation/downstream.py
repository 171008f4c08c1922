"""Use: do synthetic pairs help? Pupils learn from real pairs, with synthetic ones and without.

Protocol. `use_seeds` pupils learn in each trial, each from its own share of the train images (the
smaller share part of the larger, as many of each class as can be) and its own first weights, both
the same in all trials: gains are taken pupil by pupil. Heads learn on frozen features (probes.py).
Two trials have real pairs alone: for as many steps as those with synthetic ones beside them take,
so as many real images are seen (`real`), and for twice as many, so as many images of any kind are
seen (`real_longer`); the better of the two is what synthetic pairs have to beat. Synthetic pairs
are added in three ways (`WAYS`): a batch of them beside each real batch at full weight or at less,
or all first and the real ones last. Of the way that does best the trial is repeated with half of
the pairs: the more consistent ones, and any.

All that is chosen is chosen on val images, and told of test images; no generator saw either.

Tasks: `retrieval`, recall@10 between images and a caption each, mean of both ways; `captioning`,
how likely the words of people's captions are to the pupil (geometric mean of p, of the words
pupils know); `attributes`, mean average precision over words of the lexicon: learned from what
captions name, real and synthetic alike, asked of what half of an image's captions agree on;
`classes`, accuracy, where train and test share classes and pairs have some (`synthesize.classes:
same` gives them; a share of the train images then is so many of each class).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pairsynth import seeds
from pairsynth.evaluation import probes
from pairsynth.evaluation.context import EvaluationContext, Pairs, evenly_spaced
from pairsynth.evaluation.probes import Lessons, Pupils, Share
from pairsynth.evaluation.recipes import ALONE, HALVES, REAL, SHARES, WAYS, Trial, Way, best_of
from pairsynth.examples import Examples
from pairsynth.inference import inference
from pairsynth.metrics.agreement import retrieval
from pairsynth.metrics.feature_extractors import Features
from pairsynth.text import Vocabulary

EXAMINED, PART = 500, 100
AGREED, LEAST = 0.5, 5
RANK = 10


@dataclass(frozen=True)
class Exam:
    """Real images, by their features (N, F), and what is asked about them.

    tokens: int64 (N, T), a caption each. truth: 0 or 1, (N, W). targets: the class, int64 (N).
    """

    features: Tensor
    tokens: Tensor
    truth: Tensor
    targets: Tensor


@dataclass(frozen=True)
class School:
    """Everything pupils learn from and are examined in; classes: those of train and test."""

    context: EvaluationContext
    pairs: Pairs
    features: Features

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words that pupils know."""
        return probes.vocabulary_of(self.context.train.flat_captions)

    @cached_property
    def classes(self) -> list[int]:
        """The classes that train and test share."""
        train, test = self.context.train, self.context.test
        return sorted((set(train.class_ids.tolist()) & set(test.class_ids.tolist())) - {-1})

    @cached_property
    def real(self) -> Lessons:
        """All train pairs."""
        train = self.context.train
        return self._lessons(train.pixels, train.captions, train.class_ids)

    @cached_property
    def synthetic(self) -> Lessons:
        """All synthetic pairs."""
        captions = [[one] for one in self.pairs.captions]
        return self._lessons(self.pairs.pixels, captions, self.pairs.class_ids)

    @cached_property
    def exams(self) -> tuple[Exam, Exam]:
        """Of val images and of test images."""
        return self._exam(self.context.examples["val"]), self._exam(self.context.test)

    def _lessons(
        self, pixels: Tensor, captions: Sequence[Sequence[str]], class_ids: Tensor
    ) -> Lessons:
        features = self.features(pixels)
        known = self.vocabulary, self.classes, self.context.lexicon
        found = probes.prepare(features, captions, class_ids, *known)
        return found.to(self.context.mappings.device)

    def _exam(self, images: Examples) -> Exam:
        rows = evenly_spaced(len(images), EXAMINED)
        place = {class_id: i for i, class_id in enumerate(self.classes)}
        references = [images.captions[row] for row in rows]
        device = self.context.mappings.device
        return Exam(
            self.features(images.pixels[rows]).to(device),
            self.vocabulary.encode([own[0] for own in references], probes.LENGTH).to(device),
            torch.stack(
                [probes.named(own, self.context.lexicon).mean(0) >= AGREED for own in references]
            ),
            torch.tensor([place.get(int(images.class_ids[row]), -1) for row in rows]),
        )

    @cached_property
    def orders(self) -> list[Tensor]:
        """For each pupil the rows of train, of which it has the first: of each class one, again."""
        groups, found = self.real.groups.cpu(), []
        for seed in range(self.context.config.use_seeds):
            rng = seeds.torch_stream(self.context.seed, "use", seed, "shares")
            order = torch.randperm(len(groups), generator=rng)
            same = groups[order].argsort(stable=True)
            starts = groups[order][same]
            begins = torch.searchsorted(starts, starts)
            met = torch.empty_like(order)
            met[same] = torch.arange(len(order)) - begins
            found.append(order[met.argsort(stable=True)])
        return found

    def kept(self, way: Way) -> list[Tensor]:
        """For each pupil the rows of the synthetic pairs that it learns from."""
        count, pupils = len(self.pairs), self.context.config.use_seeds
        half = max(1, count // 2)
        if way.kept == "consistent":
            best = torch.tensor(self.pairs.consistency).argsort(descending=True, stable=True)
            return [best[:half]] * pupils
        if way.kept == "any":
            return [
                torch.randperm(
                    count, generator=seeds.torch_stream(self.context.seed, "use", seed, "any")
                )[:half]
                for seed in range(pupils)
            ]
        return [torch.arange(count)] * pupils


def use(context: EvaluationContext, pairs: Pairs) -> Iterator[Trial]:
    """The trials, one after another."""
    if not context.config.use_steps:
        return
    features = probes.eyes(context.mappings.device)
    place = School(context, pairs, probes.reader(features, context.train.pixels))
    yield trial(place, ALONE, 0.0)
    for share in SHARES:
        found = []
        for way in (*REAL, *WAYS):
            found.append(trial(place, way, share))
            yield found[-1]
        best = best_of(found).way
        for kept in HALVES:
            yield trial(place, replace(best, name=f"{best.name}_{kept}_half", kept=kept), share)


def count(context: EvaluationContext) -> int:
    """How many trials `use` makes."""
    each = len(REAL) + len(WAYS) + len(HALVES)
    return 1 + len(SHARES) * each if context.config.use_steps else 0


def trial(place: School, way: Way, share: float) -> Trial:
    """Teach the pupils in one way and examine them."""
    context, pupils = place.context, place.context.config.use_seeds
    least = max(2, round(share * len(place.real)))
    real = Share("real", place.real, [own[:least] for own in place.orders])
    pairs = Share("synthetic", place.synthetic, place.kept(way), way.weight or 1.0)
    starts = [seeds.digest(context.seed, "use", seed, "weights") for seed in range(pupils)]
    lessons = place.real
    sizes = lessons.features.shape[1], len(place.classes), lessons.named.shape[1]
    with torch.random.fork_rng(devices=[]):
        taught = Pupils(starts, place.vocabulary, *sizes).to(context.mappings.device)
    orders = [seeds.digest(context.seed, "use", seed, "order") for seed in range(pupils)]
    probes.train(taught, _phases(way, real, pairs), context.config.use_steps, orders)
    told = (real,) * way.real + (pairs,) * way.synthetic
    known = any(bool((one.lessons.targets[one.rows[0]] >= 0).any()) for one in told)
    val, test = ({**examine(taught, exam)} for exam in place.exams)
    for scores in (val, test) if not known else ():
        scores["classes"] = None
    counts = (least if way.real else 0, len(pairs.rows[0]) if way.synthetic else 0)
    return Trial(way=way, share=share, real=counts[0], pairs=counts[1], val=val, test=test)


def _phases(way: Way, real: Share, pairs: Share) -> list[list[Share]]:
    if way.first:
        return [[pairs], [real]]
    together = [real] * way.real + [pairs] * way.synthetic
    return [together] * (2 if way.longer else 1)


def examine(pupils: Pupils, exam: Exam) -> dict[str, list[float] | None]:
    """What each pupil knows, task by task; None where the exam cannot ask."""
    features = exam.features[None]
    with inference(pupils):
        seen = pupils.see(features).cpu()
        read = pupils.read(exam.tokens.expand(pupils.count, -1, -1)).cpu()
        names = pupils.names(features).cpu()
        said = pupils.classes(features).argmax(2).cpu()
    known = exam.targets >= 0
    precision = [mean_precision(one, exam.truth) for one in names]
    right = (said == exam.targets)[:, known].double().mean(1).tolist()
    return {
        "retrieval": [_found(*one) for one in zip(seen, read, strict=True)],
        "captioning": likelihoods(pupils, exam),
        "attributes": [one for one in precision if one is not None] or None,
        "classes": right if known.any() else None,
    }


def _found(seen: Tensor, read: Tensor) -> float:
    """Recall@10, the mean of both ways."""
    ways = [retrieval(a, b, (RANK,)).recall[RANK].value for a, b in ((seen, read), (read, seen))]
    return sum(way or 0.0 for way in ways) / 2


def likelihoods(pupils: Pupils, exam: Exam) -> list[float]:
    """For each pupil the geometric mean of p over the words of the captions."""
    total, words = torch.zeros(pupils.count), torch.zeros(pupils.count)
    for features, tokens in zip(exam.features.split(PART), exam.tokens.split(PART), strict=True):
        with inference(pupils):
            told = tokens.expand(pupils.count, -1, -1)
            chances, counts = pupils.write(features[None], told)
        total += (chances * counts).sum((1, 2)).cpu()
        words += counts.sum((1, 2)).cpu()
    return (total / words.clamp(min=1)).exp().tolist()


def mean_precision(scores: Tensor, truth: Tensor) -> float | None:
    """Mean average precision over the columns of (N, W) that are true, and false, often enough.

    Of equal scores those that are wrong come first.
    """
    often = truth.sum(0)
    columns = ((often >= LEAST) & (often <= len(truth) - LEAST)).nonzero()[:, 0]
    if not len(columns):
        return None
    scores, hits = scores[:, columns], truth[:, columns].double()
    wrong_first = hits.argsort(dim=0, stable=True)
    scores, hits = scores.gather(0, wrong_first), hits.gather(0, wrong_first)
    hits = hits.gather(0, scores.argsort(dim=0, descending=True, stable=True))
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)[:, None]
    return float(((precision * hits).sum(0) / hits.sum(0)).mean())
