"""What captions, pictures and pairs are worth; every figure beside its floor and its ceiling."""

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from pairsynth.evaluation.context import (
    Drawn,
    EvaluationContext,
    Figure,
    Pairs,
    plain_figures,
    share_figure,
    spread,
)
from pairsynth.evaluation.judges import Look
from pairsynth.metrics.agreement import (
    Rivals,
    Share,
    attribute_agreement,
    r_precision,
    retrieval,
    zero_shot,
)
from pairsynth.metrics.captions import (
    bleu,
    meteor_stems,
    most_frequent,
    nearest_caption,
    rouge_l,
    shifted,
)
from pairsynth.metrics.cider import CiderD
from pairsynth.metrics.diversity import distinct, mean_words, self_bleu, vocabulary_coverage
from pairsynth.metrics.lexicon import word_agreement
from pairsynth.sources.garden_captions import named


def evaluate(context: EvaluationContext, drawn: Drawn, pairs: Pairs) -> Iterator[list[Figure]]:
    """The figures, group by group."""
    yield list(judged(context))
    yield list(classes_told(context))
    yield list(captioned(context))
    yield list(drawn_agree(context, drawn))
    yield list(paired(context, pairs))
    yield list(found_again(context, drawn, pairs))
    yield list(varied(context, pairs))
    yield list(seen_by_clip(context, drawn, pairs))


def by_batch(work: Callable[[list[int]], list[str]], count: int, batch: int = 128) -> list[str]:
    """The answers of `work` to rows 0 to count - 1, a batch at a time."""
    rows = list(range(count))
    return [one for i in range(0, count, batch) for one in work(rows[i : i + batch])]


# ---------------------------------------------------------------- the judge and the captioner


def judged(context: EvaluationContext) -> Iterator[Figure]:
    """The judge's own accuracy on real test pictures, attribute by attribute."""
    seen = context.judge.look(context.test.pixels).shown
    for name in context.judge.attributes:
        right = sum(
            s[name] == t[name] for s, t in zip(seen, context.test.attributes or [], strict=True)
        )
        yield share_figure("judge", "real_pictures", name, Share(right, len(seen)))


def classes_told(context: EvaluationContext) -> Iterator[Figure]:
    """Whether psi tells classes of test apart by their captions, beside pictures of others.

    Under the class split no network saw these classes: zero-shot classification and retrieval.
    """
    test, vectors = context.test, context.embeddings["test"]
    captions = test.class_ids.repeat_interleave(test.first_caption.diff())
    moved = vectors.image.roll(len(test) // 2, 0)
    for subject, images in (("test_pictures", vectors.image), ("shuffled_pictures", moved)):
        found = zero_shot(images, test.class_ids, vectors.psi, captions)
        if found is not None:
            yield share_figure("psi", subject, "class_first", found.first)
            precision = {"class_precision_at_50": found.precision}
            yield from plain_figures("psi", subject, precision, found.classes)


def captioned(context: EvaluationContext) -> Iterator[Figure]:
    """BLEU of captions of test pictures, against nine references each, beside the baselines.

    A person's caption is one of a picture's own, so all are measured against the others; the
    captioner against all of them besides. On the garden also how often a caption names the truth.
    """
    rows = spread(len(context.test), context.config.captioned)
    references = [context.test.captions[row] for row in rows]
    phi = context.mappings.phi(context.test.pixels[rows])
    written = by_batch(lambda part: context.mappings.describe(phi[part]), len(rows))
    people = [own[0] for own in references]
    neighbours = nearest_caption(
        context.embeddings["test"].image[rows],
        context.embeddings["train"].image,
        context.train.captions,
    )
    subjects = {
        "captioner": written,
        "person": people,
        "nearest_neighbour": neighbours,
        "most_frequent": [most_frequent(context.train.flat_captions)] * len(rows),
        "shuffled_person": shifted(people),
        "shifted_person": shifted(people, 1),
    }
    others = [own[1:] or own for own in references]
    cider = CiderD(context.train.captions)
    for subject, captions in subjects.items():
        yield from plain_figures("captions", subject, scores(captions, others, cider), len(rows))
        yield from _named(context, subject, captions, rows)
    everything = {f"{k}_all_references": v for k, v in bleu(written, references).items()}
    yield from plain_figures("captions", "captioner", everything, len(rows))


def scores(
    captions: Sequence[str], references: Sequence[Sequence[str]], cider: CiderD
) -> dict[str, float | None]:
    """All that is measured of captions against references of their pictures."""
    words = word_agreement(captions, references)
    return {
        **bleu(captions, references),
        "cider_d": cider(captions, references),
        "rouge_l": rouge_l(captions, references),
        "meteor_stems": meteor_stems(captions, references),
        **{f"{kind}_f1": agreement.f1 for kind, agreement in words.items()},
    }


def _named(
    context: EvaluationContext, subject: str, captions: Sequence[str], rows: Sequence[int]
) -> Iterator[Figure]:
    """Of the captions that name an attribute, the share right; of all, for the petals' colour."""
    if context.test.attributes is None:
        return
    truth = [context.test.attributes[row] for row in rows]
    for name, share in attribute_agreement(captions, truth, named).items():
        yield share_figure("captions", subject, name, share)
    said = [named(caption).get("petal_colour") for caption in captions]
    right = sum(s == t["petal_colour"] for s, t in zip(said, truth, strict=True))
    yield share_figure("captions", subject, "petal_colour_of_all", Share(right, len(rows)))


# ---------------------------------------------------------------- pictures and pairs


def drawn_agree(context: EvaluationContext, drawn: Drawn) -> Iterator[Figure]:
    """Pictures drawn from test captions, beside the real ones and beside others' captions."""
    real, made = (
        context.judge.look(one) for one in (context.test.pixels[drawn.rows], drawn.pixels)
    )
    others, nextdoor = shifted(drawn.captions), shifted(drawn.captions, 1)
    yield from _agree(context, "drawn", "from_test_captions", drawn.captions, made)
    yield from _agree(context, "drawn", "real_pictures", drawn.captions, real)
    yield from _agree(context, "drawn", "shuffled_captions", others, made)
    yield from _agree(context, "drawn", "shifted_captions", nextdoor, made)


def paired(context: EvaluationContext, pairs: Pairs) -> Iterator[Figure]:
    """Synthetic pairs, all and by strategy, beside shuffled ones and as many real test pairs.

    Floors: each caption moved half way round the list, and to the next row.
    """
    seen = context.judge.look(pairs.pixels)
    for strategy in ("", *sorted(set(pairs.strategies))):
        rows = [i for i, one in enumerate(pairs.strategies) if strategy in ("", one)]
        own, part = [pairs.captions[i] for i in rows], seen.take(rows)
        yield from _agree(context, "pairs", strategy or "all", own, part)
        for floor, by in (("shuffled", 0), ("shifted", 1)):
            yield from _agree(
                context, "pairs", f"{strategy}_{floor}".strip("_"), shifted(own, by), part
            )
    rows = spread(len(context.test), len(pairs))
    captions = [context.test.captions[row][-1] for row in rows]
    real = context.judge.look(context.test.pixels[rows])
    yield from _agree(context, "pairs", "real_pairs", captions, real)


def _agree(
    context: EvaluationContext, group: str, subject: str, captions: Sequence[str], seen: Look
) -> Iterator[Figure]:
    """R-precision by the judge and, on the garden, agreement on each attribute."""
    if not captions:
        return
    read = context.judge.caption_vectors(captions)
    found = r_precision(context.rivals.ranks(seen.vectors, read, captions))
    yield share_figure(group, subject, "r_precision", found)
    if context.judge.attributes:
        for name, share in attribute_agreement(captions, seen.shown, named).items():
            yield share_figure(group, subject, name, share)


def found_again(context: EvaluationContext, drawn: Drawn, pairs: Pairs) -> Iterator[Figure]:
    """How well caption and picture find each other among as many others, by the judge."""
    size = min(len(drawn.rows), len(pairs))
    some, few = spread(len(pairs.captions), size), spread(len(drawn.rows), size)
    captions, own = [pairs.captions[i] for i in some], [drawn.captions[i] for i in few]
    real = context.test.pixels[[drawn.rows[i] for i in few]]
    yield from _find(context, "pairs", captions, pairs.pixels[some])
    yield from _find(context, "pairs_shuffled", shifted(captions), pairs.pixels[some])
    yield from _find(context, "pairs_shifted", shifted(captions, 1), pairs.pixels[some])
    yield from _find(context, "drawn", own, drawn.pixels[few])
    yield from _find(context, "real_pictures", own, real)


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


def seen_by_clip(context: EvaluationContext, drawn: Drawn, pairs: Pairs) -> Iterator[Figure]:
    """R-precision and mean cosine by the user's CLIP, where there is one, beside floor and ceiling.

    The mean cosine is CLIPScore (Hessel et al., arXiv 2104.08718) without its factor of 2.5.
    """
    if context.clip is None:
        return
    first = [own[0] for own in context.test.captions]
    rivals = Rivals(first, context.clip.caption_vectors(first))
    for subject, captions, pixels in (
        ("drawn", drawn.captions, drawn.pixels),
        ("real_pictures", drawn.captions, context.test.pixels[drawn.rows]),
        ("pairs", pairs.captions, pairs.pixels),
        ("pairs_shuffled", shifted(pairs.captions), pairs.pixels),
    ):
        seen, read = context.clip.image_vectors(pixels), context.clip.caption_vectors(captions)
        found = r_precision(rivals.ranks(seen, read, captions))
        yield share_figure("clip", subject, "r_precision", found)
        cosine = {"cosine": float((seen * read).sum(1).mean())}
        yield from plain_figures("clip", subject, cosine, len(captions))


def varied(context: EvaluationContext, pairs: Pairs) -> Iterator[Figure]:
    """How varied the captions of the pairs are, beside as many of train and of test."""
    size = min(len(pairs.captions), len(context.train), len(context.test))
    subjects = {
        "pairs": pairs.captions,
        "train": [own[0] for own in context.train.captions],
        "test": [own[0] for own in context.test.captions],
    }
    for subject, captions in subjects.items():
        some = [captions[i] for i in spread(len(captions), size)]
        values = {
            "distinct_1": distinct(some, 1),
            "distinct_2": distinct(some, 2),
            "self_bleu": self_bleu(some),
            "vocabulary_coverage": vocabulary_coverage(some, context.train.flat_captions),
            "mean_words": mean_words(some),
        }
        yield from plain_figures("variety", subject, values, size)
