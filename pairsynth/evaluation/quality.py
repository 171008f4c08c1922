"""Whether images and captions agree: by the judge, by psi, and by the user's CLIP."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from pairsynth.evaluation.context import (
    Drawn,
    EvaluationContext,
    Figure,
    evenly_spaced,
    plain_figures,
    share_figure,
)
from pairsynth.evaluation.judges import JudgedImages
from pairsynth.evaluation.made import Made
from pairsynth.evaluation.table import (
    LESS,
    MORE,
    RANK,
    SCORE,
    SHARE,
    Claim,
    End,
    Measure,
    Part,
)
from pairsynth.metrics.agreement import (
    Rivals,
    Share,
    attribute_agreement,
    r_precision,
    retrieval,
    zero_shot,
)
from pairsynth.metrics.captions import rotated


def judged(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """The judge's own accuracy on real test images, attribute by attribute."""
    seen = context.judge.assess(context.test.pixels).attributes
    for name in context.judge.attributes:
        right = sum(
            s[name] == t[name] for s, t in zip(seen, context.test.attributes or [], strict=True)
        )
        yield share_figure("judge", "real_images", name, Share(right, len(seen)))


def classes_told(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """How well psi classifies test images by the captions of their classes, beside shuffled images.

    Under the class split no network saw these classes: zero-shot classification and retrieval.
    """
    test, vectors = context.test, context.embeddings["test"]
    captions = test.class_ids.repeat_interleave(test.first_caption.diff())
    moved = vectors.image.roll(len(test) // 2, 0)
    for subject, images in (("test_images", vectors.image), ("shuffled_images", moved)):
        found = zero_shot(images, test.class_ids, vectors.psi, captions)
        if found is not None:
            yield share_figure("psi", subject, "class_first", found.first)
            precision = {"class_precision_at_50": found.precision}
            yield from plain_figures("psi", subject, precision, found.classes)


def drawn_agree(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """Agreement of images drawn from test captions, beside real images and shuffled captions."""
    yield from agreement_of(context, made.drawn)


def agreement_of(context: EvaluationContext, drawn: Drawn) -> Iterator[Figure]:
    """The figures of `drawn_agree` for any images drawn from test captions."""
    real, seen = (
        context.judge.assess(one) for one in (context.test.pixels[drawn.rows], drawn.pixels)
    )
    others, nextdoor = rotated(drawn.captions), rotated(drawn.captions, 1)
    yield from _agree(context, "drawn", "from_test_captions", drawn.captions, seen)
    yield from _agree(context, "drawn", "real_images", drawn.captions, real)
    yield from _agree(context, "drawn", "shuffled_captions", others, seen)
    yield from _agree(context, "drawn", "shifted_captions", nextdoor, seen)


def paired(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """Agreement in synthetic pairs, all and by strategy, beside shuffled and real test pairs.

    Floors: captions rotated by half the list, and by one row.
    """
    pairs = made.pairs
    seen = context.judge.assess(pairs.pixels)
    for strategy in ("", *sorted(set(pairs.strategies))):
        rows = [i for i, one in enumerate(pairs.strategies) if strategy in ("", one)]
        own, part = [pairs.captions[i] for i in rows], seen.take(rows)
        yield from _agree(context, "pairs", strategy or "all", own, part)
        for floor, by in (("shuffled", 0), ("shifted", 1)):
            yield from _agree(
                context, "pairs", f"{strategy}_{floor}".strip("_"), rotated(own, by), part
            )
    rows = evenly_spaced(len(context.test), len(pairs))
    captions = [context.test.captions[row][-1] for row in rows]
    real = context.judge.assess(context.test.pixels[rows])
    yield from _agree(context, "pairs", "real_pairs", captions, real)


def _agree(
    context: EvaluationContext,
    group: str,
    subject: str,
    captions: Sequence[str],
    seen: JudgedImages,
) -> Iterator[Figure]:
    """R-precision by the judge; where it has attributes, agreement on each and on all."""
    if not captions:
        return
    read = context.judge.caption_vectors(captions)
    found = r_precision(context.rivals.ranks(seen.vectors, read, captions))
    yield share_figure(group, subject, "r_precision", found)
    if context.judge.attributes:
        agreed = attribute_agreement(captions, seen.attributes, context.lexicon.named)
        for name, share in agreed.items():
            yield share_figure(group, subject, name, share)
        right, count = (
            sum(getattr(one, of) for one in agreed.values()) for of in ("right", "count")
        )
        yield share_figure(group, subject, "attributes", Share(right, count))


def found_again(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """Retrieval between captions and images by the judge, in sets of equal size."""
    drawn, pairs = made.drawn, made.pairs
    size = min(len(drawn.rows), len(pairs))
    some, few = evenly_spaced(len(pairs.captions), size), evenly_spaced(len(drawn.rows), size)
    captions, own = [pairs.captions[i] for i in some], [drawn.captions[i] for i in few]
    real = context.test.pixels[[drawn.rows[i] for i in few]]
    yield from _find(context, "pairs", captions, pairs.pixels[some])
    yield from _find(context, "pairs_shuffled", rotated(captions), pairs.pixels[some])
    yield from _find(context, "pairs_shifted", rotated(captions, 1), pairs.pixels[some])
    yield from _find(context, "drawn", own, drawn.pixels[few])
    yield from _find(context, "real_images", own, real)


def _find(
    context: EvaluationContext, subject: str, captions: Sequence[str], pixels: Tensor
) -> Iterator[Figure]:
    seen, read = context.judge.image_vectors(pixels), context.judge.caption_vectors(captions)
    for way, found in (
        ("text_to_image", retrieval(read, seen)),
        ("image_to_text", retrieval(seen, read)),
    ):
        for k, share in found.recall.items():
            yield share_figure("retrieval", subject, f"{way}_recall_at_{k}", share)
        others = {f"{way}_median_rank": found.median_rank, f"{way}_margin": found.margin}
        yield from plain_figures("retrieval", subject, others, len(captions))


def seen_by_clip(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """R-precision and mean cosine by the user's CLIP, where there is one, beside floor and ceiling.

    The mean cosine is CLIPScore (Hessel et al., arXiv 2104.08718) without its factor of 2.5.
    """
    if context.clip is None:
        return
    drawn, pairs = made.drawn, made.pairs
    first = [own[0] for own in context.test.captions]
    rivals = Rivals(first, context.clip.caption_vectors(first))
    for subject, captions, pixels in (
        ("drawn", drawn.captions, drawn.pixels),
        ("real_images", drawn.captions, context.test.pixels[drawn.rows]),
        ("pairs", pairs.captions, pairs.pixels),
        ("pairs_shuffled", rotated(pairs.captions), pairs.pixels),
    ):
        seen, read = context.clip.image_vectors(pixels), context.clip.caption_vectors(captions)
        found = r_precision(rivals.ranks(seen, read, captions))
        yield share_figure("clip", subject, "r_precision", found)
        cosine = {"cosine": float((seen * read).sum(1).mean())}
        yield from plain_figures("clip", subject, cosine, len(captions))


# Each group of figures: its function, its floors and its ceilings.
PAIRS: tuple[Part, list[End], list[End]] = (
    paired,
    [
        End(says="pairs shuffled", subject="shuffled"),
        End(says="next pair's caption", subject="shifted"),
    ],
    [End(says="real pairs", subject="real_pairs")],
)
DRAWN: tuple[Part, list[End], list[End]] = (
    drawn_agree,
    [End(says="other captions", subject="shuffled_captions")],
    [End(says="real images", subject="real_images")],
)
JUDGE = End(says="the judge on real images", group="judge", subject="real_images")


def _agrees(name: str, claim: Claim, of: tuple[Part, list[End], list[End]], *more: End) -> Measure:
    function, floors, ceilings = of
    return Measure(
        group="pairs" if function is paired else "drawn",
        name=name,
        unit=SHARE,
        better=MORE,
        function=function,
        section="agree",
        claims=[claim],
        floors=floors,
        ceilings=[*ceilings, *more],
    )


def _plain(group: str, name: str, unit: str, better: str, function: Part) -> Measure:
    return Measure(group=group, name=name, unit=unit, better=better, function=function)


MEASURES = [
    _plain("judge", "*", SHARE, MORE, judged),
    Measure(
        group="psi",
        name="class_first",
        unit=SHARE,
        better=MORE,
        function=classes_told,
        section="alike",
        claims=[
            Claim(
                subject="test_images",
                says="Of all test classes an image's own is nearest by its captions, "
                "in the space of psi",
                headline="psi_classes",
            )
        ],
        floors=[End(says="images of others", subject="shuffled_images")],
    ),
    _plain("psi", "class_precision_at_50", SHARE, MORE, classes_told),
    _agrees(
        "r_precision",
        Claim(
            subject="all",
            says="A pair's own caption is found first of {among}",
            headline="pairs_found",
        ),
        PAIRS,
    ),
    _agrees(
        "attributes",
        Claim(
            subject="all",
            says="Caption and image of a pair agree on an attribute that is named",
            headline="pairs_agree",
        ),
        PAIRS,
    ),
    _agrees("*", Claim(subject="all", says="A pair agrees on the {star}"), PAIRS, JUDGE),
    _agrees(
        "r_precision",
        Claim(
            subject="from_test_captions",
            says="The caption that an image was drawn from is found first of {among}",
            headline="drawn_found",
        ),
        DRAWN,
    ),
    _agrees(
        "attributes",
        Claim(
            subject="from_test_captions",
            says="An image drawn from a test caption shows an attribute that it names",
            headline="drawn_agree",
        ),
        DRAWN,
    ),
    _agrees(
        "*",
        Claim(subject="from_test_captions", says="A drawn image shows the {star} named"),
        DRAWN,
        JUDGE,
    ),
    Measure(
        group="retrieval",
        name="image_to_text_recall_at_10",
        unit=SHARE,
        better=MORE,
        function=found_again,
        section="agree",
        claims=[Claim(subject="pairs", says="A pair's own caption is among the first 10 of all")],
        floors=[End(says="pairs shuffled", subject="pairs_shuffled")],
        ceilings=[End(says="real images", subject="real_images")],
    ),
    _plain("retrieval", "*_recall_at_*", SHARE, MORE, found_again),
    _plain("retrieval", "*_median_rank", RANK, LESS, found_again),
    _plain("retrieval", "*_margin", SCORE, MORE, found_again),
    _plain("clip", "r_precision", SHARE, MORE, seen_by_clip),
    _plain("clip", "cosine", SCORE, MORE, seen_by_clip),
]
