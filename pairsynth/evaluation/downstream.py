"""Use: do synthetic pairs help? Pupils learn from real pairs, from synthetic ones, from both.

Protocol. Every probe takes `use_steps` steps of the same batch from the same first weights; in
the arm `both` each batch is half real, half synthetic. Real pictures are a share of the train
split, the smaller share part of the larger; each of `use_seeds` seeds draws its own shares,
weights and order. All are tested on the same pictures of the test split, which neither the
generators nor any probe saw. The words that probes know are those of all train captions.

Tasks: `retrieval`, recall@10 between test pictures and a caption each, mean of both ways;
`captioning`, CIDEr-D of captions of test pictures; `attributes`, mean average precision over
words of the lexicon: learned from what captions name, real and synthetic alike, tested on what
half of a test picture's captions agree on; `classes`, accuracy, where train and test share
classes. A synthetic pair has a class only where both its sources are of one: without any, the arm
`synthetic` cannot learn classes and is left out of that task.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student
from sklearn.metrics import average_precision_score
from torch import Tensor

from pairsynth import seeds
from pairsynth.decoding import decode
from pairsynth.evaluation import probes
from pairsynth.evaluation.context import EvaluationContext, Figure, Pairs, spread
from pairsynth.evaluation.probes import Lessons, Probe
from pairsynth.inference import inference
from pairsynth.metrics.agreement import retrieval
from pairsynth.metrics.cider import CiderD
from pairsynth.text import Vocabulary
from pairsynth.whole_files import write_csv

TASKS = ("retrieval", "captioning", "attributes", "classes")
SHARES = (0.05, 0.2, 1.0)
ARMS = [("synthetic", 0.0), *((arm, share) for share in SHARES for arm in ("real", "both"))]
EXAMINED, CAPTIONED = 500, 200
AGREED, LEAST = 0.5, 5
RANK = 10


@dataclass(frozen=True)
class Outcome:
    """How well one probe did in one task: a row of metrics/use.csv.

    share: of the train pictures. real, synthetic: pictures it learned from.
    value: None where the arm cannot learn the task.
    """

    task: str
    arm: str
    share: float
    real: int
    synthetic: int
    seed: int
    value: float | None


@dataclass(frozen=True)
class Exam:
    """Real test pictures at 32 x 32 and what is asked about them.

    captions: one a picture. references: all. truth: 0 or 1, (N, W). targets: the class, int64 (N).
    """

    pixels: Tensor
    captions: list[str]
    references: list[list[str]]
    truth: Tensor
    targets: Tensor
    cider: CiderD


@dataclass(frozen=True)
class School:
    """Everything probes learn from and are examined in; `shared`: the classes of both splits."""

    real: Lessons
    synthetic: Lessons
    exam: Exam
    vocabulary: Vocabulary
    shared: list[int]


def school(context: EvaluationContext, pairs: Pairs) -> School:
    """Lessons and exam from the train split, the pairs and the test split."""
    train, test = context.train, context.test
    device = context.mappings.device
    vocabulary = Vocabulary.build(train.flat_captions, "word", 2)
    shared = sorted((set(train.class_ids.tolist()) & set(test.class_ids.tolist())) - {-1})
    rows = spread(len(test), EXAMINED)
    references = [test.captions[row] for row in rows]
    place = {class_id: i for i, class_id in enumerate(shared)}
    exam = Exam(
        probes.small(test.pixels[rows]),
        [own[0] for own in references],
        references,
        torch.stack([probes.named(own, context.lexicon).mean(0) >= AGREED for own in references]),
        torch.tensor([place.get(int(test.class_ids[row]), -1) for row in rows]),
        CiderD(train.captions),
    )
    return School(
        probes.prepare(
            train.pixels, train.captions, train.class_ids, vocabulary, shared, context.lexicon
        ).to(device),
        probes.prepare(
            pairs.pixels,
            [[one] for one in pairs.captions],
            pairs.class_ids,
            vocabulary,
            shared,
            context.lexicon,
        ).to(device),
        exam,
        vocabulary,
        shared,
    )


def use(context: EvaluationContext, pairs: Pairs) -> Iterator[list[Outcome]]:
    """The outcomes of one probe after another: every arm and share, seed by seed."""
    if not context.config.use_steps:
        return
    place = school(context, pairs)
    for seed in range(context.config.use_seeds):
        for arm, share in ARMS:
            yield list(_taught(context, place, arm, share, seed))


def count(context: EvaluationContext) -> int:
    """How many probes `use` teaches."""
    return len(ARMS) * context.config.use_seeds if context.config.use_steps else 0


def _taught(
    context: EvaluationContext, place: School, arm: str, share: float, seed: int
) -> Iterator[Outcome]:
    order = torch.randperm(
        len(place.real), generator=seeds.torch_stream(context.seed, "use", seed, "shares")
    )
    rows = order[: max(2, round(share * len(order)))] if share else order[:0]
    others = torch.arange(0 if arm == "real" else len(place.synthetic))
    sources = [
        (lessons, own)
        for lessons, own in ((place.real, rows), (place.synthetic, others))
        if len(own)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.digest(context.seed, "use", seed, "weights"))
        probe = Probe(place.vocabulary, len(place.shared), place.exam.truth.shape[1]).to(
            context.mappings.device
        )
        rng = seeds.torch_stream(context.seed, "use", seed, "order")
        probes.train(probe, sources, context.config.use_steps, rng)
    values = examine(probe, place.exam)
    if not any(bool((lessons.targets[own] >= 0).any()) for lessons, own in sources):
        values["classes"] = None
    for task in TASKS:
        yield Outcome(task, arm, share, len(rows), len(others), seed, values[task])


def examine(probe: Probe, exam: Exam) -> dict[str, float | None]:
    """What a probe knows, task by task; None where the exam cannot ask."""
    tokens = probe.vocabulary.encode(exam.captions, probes.LENGTH)
    with inference(probe):
        maps = probe.maps(exam.pixels)
        features = maps.mean((2, 3))
        read = probe.read(tokens.to(features.device)).cpu()
        seen, named = probe.see(features).cpu(), probe.names(features).cpu()
        said = probe.classes(features).argmax(1).cpu()
    ways = [retrieval(a, b, (RANK,)).recall[RANK].value for a, b in ((seen, read), (read, seen))]
    some = spread(len(exam.captions), CAPTIONED)
    written = decode(probe.writer, maps[some])
    known = exam.targets >= 0
    return {
        "retrieval": sum(way or 0.0 for way in ways) / 2,
        "captioning": exam.cider(written, [exam.references[i] for i in some]),
        "attributes": mean_precision(named, exam.truth),
        "classes": float((said == exam.targets)[known].double().mean()) if known.any() else None,
    }


def mean_precision(scores: Tensor, truth: Tensor) -> float | None:
    """Mean average precision over the columns of (N, W) that are true, and false, often enough."""
    often = truth.sum(0)
    columns = ((often >= LEAST) & (often <= len(truth) - LEAST)).nonzero()[:, 0].tolist()
    found = [average_precision_score(truth[:, j].numpy(), scores[:, j].numpy()) for j in columns]
    return float(np.mean(found)) if found else None


# ---------------------------------------------------------------- what it comes to


def write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write metrics/use.csv; the header alone where nothing was measured."""
    names = [field.name for field in fields(Outcome)]
    write_csv(path, names, [[getattr(one, name) for name in names] for one in outcomes])


@dataclass(frozen=True)
class Mean:
    """A mean over seeds and its 95 % t-interval."""

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


def value_of(outcomes: Sequence[Outcome], task: str, arm: str, share: float) -> dict[int, float]:
    """The values of one arm at one share, by seed."""
    return {
        one.seed: one.value
        for one in outcomes
        if (one.task, one.arm, one.share) == (task, arm, share) and one.value is not None
    }


def gain_of(outcomes: Sequence[Outcome], task: str, share: float) -> Mean:
    """What synthetic pairs add to real ones, seed by seed: both less real."""
    real, both = (value_of(outcomes, task, arm, share) for arm in ("real", "both"))
    return mean_of([both[seed] - real[seed] for seed in real if seed in both])


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Each arm's mean over seeds, and the gain of both over real."""
    found = []
    for task in TASKS if outcomes else ():
        told = {
            _subject(arm, share): mean_of(list(value_of(outcomes, task, arm, share).values()))
            for arm, share in ARMS
        }
        told |= {_subject("gain", share): gain_of(outcomes, task, share) for share in SHARES}
        found += [Figure("use", name, task, *vars(mean).values()) for name, mean in told.items()]
    return found


def _subject(arm: str, share: float) -> str:
    return f"{arm}_{share:.0%}".rstrip("%") if share else arm


def verdict(outcomes: Sequence[Outcome]) -> str:
    """Whether synthetic pairs help, in words, task by task."""
    if not outcomes:
        return "not measured: evaluate.use_steps is 0"
    return "; ".join(_told(outcomes, task) for task in TASKS)


def _told(outcomes: Sequence[Outcome], task: str) -> str:
    ceiling = mean_of(list(value_of(outcomes, task, "real", SHARES[-1]).values()))
    alone = mean_of(list(value_of(outcomes, task, "synthetic", 0.0).values()))
    if ceiling.value is None:
        reason = "no class is in both splits" if task == "classes" else "too few test pictures"
        return f"{task}: not measured, {reason}"
    parts = [_effect(share, gain_of(outcomes, task, share)) for share in SHARES]
    only = "cannot learn it" if alone.value is None else f"reach {alone.value:.3f}"
    return (
        f"{task}: added to real pairs, synthetic ones {', '.join(parts)}; "
        f"alone they {only} where all real ones reach {ceiling.value:.3f}"
    )


def _effect(share: float, gain: Mean) -> str:
    if gain.value is None or gain.low is None or gain.high is None:
        return f"were not measured at {share:.0%}"
    way = "help" if gain.low > 0 else "harm" if gain.high < 0 else "make no clear difference"
    return f"{way} at {share:.0%} ({gain.value:+.3f}, {gain.low:+.3f} to {gain.high:+.3f})"
