"""Novelty: are pairs new, would copies be detected, are sets too near to train as a whole."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import torch
from PIL import Image
from torch import Tensor

from pairsynth.evaluation.context import (
    EvaluationContext,
    Figure,
    evenly_spaced,
    plain_figures,
    share_figure,
)
from pairsynth.evaluation.made import Made
from pairsynth.evaluation.table import (
    LESS,
    MORE,
    NEAR,
    SCORE,
    SHARE,
    WORDS,
    Claim,
    End,
    Measure,
    Part,
)
from pairsynth.images import to_image, to_tensor
from pairsynth.metrics import memorisation
from pairsynth.metrics.agreement import Share
from pairsynth.metrics.copying import closest_bleu, longest_copied
from pairsynth.metrics.feature_extractors import fitted
from pairsynth.metrics.novelty import FALSE_ALARMS, KINDS, NEW, Neighbours, NoveltyIndex, thumbnails
from pairsynth.text import normalize

PLANTED = (0.01, 0.05, 1.0)
QUALITY, SHIFT = 75, 32


def copied(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """How much captions of pairs copy from train captions, beside equally many real ones."""
    rows = made.rows
    train, held_out = context.train.flat_captions, [own[0] for own in context.test.captions]
    size = min(len(rows), len(held_out))
    real = [held_out[i] for i in evenly_spaced(len(held_out), size)]
    some = [rows[i] for i in evenly_spaced(len(rows), size)]
    found = {
        "pairs": ([row.longest_copied for row in some], [row.closest_bleu for row in some]),
        "real_held_out": (longest_copied(real, train), closest_bleu(real, train)[0]),
    }
    for subject, (runs, closest) in found.items():
        values = {"longest_copied_words": sum(runs) / size, "closest_bleu": sum(closest) / size}
        yield from plain_figures("novelty", subject, values, size)


def kinds(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """Kinds of novelty of pairs, beside real held-out pairs and pairs of the training set.

    A caption counts as seen where it is in train word for word, which many real ones are.
    """
    index, rows = context.novelty, made.rows
    yield from _kinds("pairs", [row.novelty for row in rows])
    yield _seen(index, "pairs", [row.caption for row in rows])
    captions = [own[0] for own in context.test.captions]
    psi = context.embeddings["test"].psi[context.test.first_caption[:-1]]
    held_out = index.judge(context.test.pixels, captions, psi)
    yield from _kinds("real_held_out", [one.kind for one in held_out])
    yield _seen(index, "real_held_out", context.test.flat_captions)
    some = evenly_spaced(len(context.train), len(rows))
    own = [context.train.captions[row][0] for row in some]
    psi = context.embeddings["train"].psi[context.train.first_caption[:-1][some]]
    copies = index.judge(context.train.pixels[some], own, psi)
    yield from _kinds("training_copies", [one.kind for one in copies])
    yield _seen(index, "training_copies", own)


def _kinds(subject: str, found: Sequence[str]) -> Iterator[Figure]:
    counts = Counter(found)
    for kind in KINDS:
        name = "all_new" if kind == NEW else kind.replace(",", "").replace(" ", "_")
        yield share_figure("novelty", subject, name, Share(counts[kind], len(found)))


def _seen(index: NoveltyIndex, subject: str, captions: Sequence[str]) -> Figure:
    seen = sum(normalize(caption) in index.owners for caption in captions)
    return share_figure("novelty", subject, "caption_seen", Share(seen, len(captions)))


# ---------------------------------------------------------------- planted copies


def as_jpeg(pixels: Tensor) -> Tensor:
    """uint8 images (N, 3, S, S) after a JPEG file of quality 75."""
    found = []
    for image in pixels:
        file = BytesIO()
        to_image(image).save(file, "JPEG", quality=QUALITY)
        found.append(to_tensor(Image.open(file, formats=("JPEG",))))
    return torch.stack(found)


def translated(pixels: Tensor) -> Tensor:
    """uint8 images (N, 3, S, S) moved right and down by 1/32 of their side, edges repeated."""
    size, step = pixels.shape[-1], pixels.shape[-1] // SHIFT
    places = (torch.arange(size) - step).clamp(min=0)  # (S), where each row or column comes from
    return pixels[..., places, :][..., places]


PLANTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "exact": lambda pixels: pixels,
    "mirrored": lambda pixels: pixels.flip(3),
    "jpeg": as_jpeg,
    "shifted": translated,
}


@dataclass(frozen=True, kw_only=True)
class Detectors:
    """The detectors of copied images: the rules of `novelty`, and the judge's features."""

    index: NoveltyIndex
    judge: Neighbours

    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        """Detector -> rows (N) that it flags; `seen`: flagged by any rule of `novelty`."""
        _, flags = self.index.alarms(pixels)
        near = self.judge.find(pixels)
        seen = torch.stack(list(flags.values())).any(0)  # (3, N) -> (N)
        return flags | {"seen": seen, "judge": self.judge.alarming(near) | self.judge.lonely(near)}


def detectors(context: EvaluationContext) -> Detectors:
    """The detectors; the judge's distance and ratio share the false alarms on val images."""
    train, val = context.train.pixels, context.examples["val"].pixels
    view = fitted(context.judge.image_features, train)
    return Detectors(index=context.novelty, judge=Neighbours(view, train, val, FALSE_ALARMS / 2))


def planted(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """Plant copies of training images among real test images; the share found and false alarms.

    False alarms are counted on the real images that remain; alarms on the pairs are reported too.
    """
    find, test = detectors(context), context.test.pixels
    size = min(len(test), len(context.train))
    some = evenly_spaced(len(test), size)
    alarms, own = find(test[some]), find(made.pairs.pixels)
    originals = context.train.pixels[evenly_spaced(len(context.train), size)]
    found = {kind: find(plant(originals)) for kind, plant in PLANTS.items()}
    for name, flags in own.items():
        yield share_figure("novelty", "pairs", f"{name}_alarms", _share(flags))
        yield share_figure("novelty", "real_held_out", f"{name}_alarms", _share(alarms[name]))
    for share in PLANTED:
        planted = torch.zeros(size, dtype=torch.bool)
        planted[evenly_spaced(size, max(1, round(share * size)))] = True
        subject = f"planted_{share:.0%}".rstrip("%")
        for name, flags in alarms.items():
            left = _share(flags[~planted])
            yield share_figure("novelty", subject, f"{name}_false_alarms", left)
            for kind in PLANTS:
                hits = _share(found[kind][name][planted])
                yield share_figure("novelty", subject, f"{kind}_found_by_{name}", hits)


def _share(flags: Tensor) -> Share:
    return Share(int(flags.sum()), len(flags))


def memorised(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """Authenticity, C_T and nearest records on thumbnails, with equally many rows of every set.

    Measured for pairs, for real val images, and for these with training images planted among them.
    """
    sets = (
        made.pairs.pixels,
        context.examples["val"].pixels,
        context.test.pixels,
        context.train.pixels,
    )
    size = min(map(len, sets))
    own, val, test, train = (thumbnails(one[evenly_spaced(len(one), size)]) for one in sets)
    subjects = {"pairs": own, "real_held_out": val}
    for share in PLANTED:
        places = evenly_spaced(size, max(1, round(share * size)))
        mixed = val.clone()
        mixed[places] = train[places]
        subjects[f"planted_{share:.0%}".rstrip("%")] = mixed
    for subject, rows in subjects.items():
        for measure, found in (
            ("authenticity", memorisation.authenticity(rows, train)),
            ("nearer_to_train", memorisation.nearer_to_train(rows, test, train)),
        ):
            yield share_figure("novelty", subject, measure, found)
        copying = {"data_copying": memorisation.data_copying(rows, test, train)}
        yield from plain_figures("novelty", subject, copying, size)


HELD_OUT = "real_held_out"
FALSE_ALARMS_OF_REAL = End(says="false alarms", subject=HELD_OUT, name="seen_alarms")


def _of_pairs(
    name: str, unit: str, better: str, function: Part, *, says: str = "", headline: str = ""
) -> Measure:
    what = "real pairs held out" if function is kinds else "real captions held out"
    return Measure(
        group="novelty",
        name=name,
        unit=unit,
        better=better,
        function=function,
        section="new",
        claims=[Claim(subject="pairs", says=says, headline=headline)] if says else (),
        ceilings=[End(says=what, subject=HELD_OUT)],
    )


def _found(plant: str, words: str) -> Measure:
    return Measure(
        group="novelty",
        name=f"{plant}_found_by_seen",
        unit=SHARE,
        better=MORE,
        function=planted,
        section="new",
        claims=[
            Claim(
                subject="planted_100",
                says=f"Training images planted as copies, {words}, that are found",
            )
        ],
        floors=[FALSE_ALARMS_OF_REAL],
    )


MEASURES = [
    _of_pairs("all_new", SHARE, MORE, kinds, says="Image and caption are both new", headline="new"),
    _of_pairs(
        "new_image_seen_caption", SHARE, LESS, kinds, says="New image, caption seen word for word"
    ),
    _of_pairs("seen_image_new_caption", SHARE, LESS, kinds, says="Image seen, new caption"),
    _of_pairs("recombination", SHARE, LESS, kinds, says="Both seen, never together"),
    _of_pairs("copy", SHARE, LESS, kinds, says="Copies of a training pair"),
    _of_pairs("caption_seen", SHARE, LESS, kinds),
    _of_pairs(
        "longest_copied_words",
        WORDS,
        LESS,
        copied,
        says="Longest run of words copied from one training caption",
    ),
    _of_pairs("closest_bleu", SCORE, LESS, copied),
    _found("exact", "as they are"),
    _found("mirrored", "mirrored"),
    _found("jpeg", "as JPEG"),
    _found("shifted", "moved by a thirty-second of their side"),
    Measure(group="novelty", name="*_found_by_*", unit=SHARE, better=MORE, function=planted),
    _of_pairs("*_alarms", SHARE, LESS, planted),
    _of_pairs("authenticity", SHARE, NEAR, memorised),
    _of_pairs("nearer_to_train", SHARE, NEAR, memorised),
    _of_pairs("data_copying", SCORE, NEAR, memorised),
]
