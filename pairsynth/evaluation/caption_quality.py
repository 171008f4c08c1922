"""The quality of captions: against references, as sentences, and how varied they are."""

from collections.abc import Callable, Iterator, Sequence

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
    POINTS,
    SCORE,
    SHARE,
    WORDS,
    Claim,
    End,
    Measure,
)
from pairsynth.lexicon import Lexicon
from pairsynth.metrics.agreement import Share, attribute_agreement
from pairsynth.metrics.captions import (
    bleu,
    meteor_stems,
    most_frequent,
    nearest_caption,
    rotated,
    rouge_l,
    word_agreement,
)
from pairsynth.metrics.cider import CiderD
from pairsynth.metrics.diversity import distinct, mean_words, self_bleu, vocabulary_coverage
from pairsynth.metrics.sentences import LanguageModel, number_agreement, numbers, repeating
from pairsynth.seeds import stream

READ = 5000  # captions of people, at most, that the language model and the numbers are learned from


def by_batch(work: Callable[[list[int]], list[str]], count: int, batch: int = 128) -> list[str]:
    """The results of `work` for rows 0 to count - 1, a batch at a time."""
    rows = list(range(count))
    return [one for i in range(0, count, batch) for one in work(rows[i : i + batch])]


def captioned(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """Scores of captions of test images against references, beside baselines.

    The first caption of an image counts as a person's, so everything is scored against the others;
    the captioner also against all. Where attributes are known: how often a caption names the true
    one.
    """
    rows = evenly_spaced(len(context.test), context.config.captioned)
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
        "shuffled_person": rotated(people),
        "shifted_person": rotated(people, 1),
    }
    others = [own[1:] or own for own in references]
    cider = CiderD(context.train.captions)
    for subject, captions in subjects.items():
        found = scores(captions, others, cider, context.lexicon)
        yield from plain_figures("captions", subject, found, len(rows))
        yield from _named(context, subject, captions, rows)
    everything = {f"{k}_all_references": v for k, v in bleu(written, references).items()}
    yield from plain_figures("captions", "captioner", everything, len(rows))


def scores(
    captions: Sequence[str],
    references: Sequence[Sequence[str]],
    cider: CiderD,
    lexicon: Lexicon,
) -> dict[str, float | None]:
    """All scores of captions against the references of their images."""
    words = word_agreement(captions, references, lexicon)
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
    """The share of captions naming an attribute that are right; of all, for the first attribute."""
    if context.test.attributes is None:
        return
    truth, named = [context.test.attributes[row] for row in rows], context.lexicon.named
    for name, share in attribute_agreement(captions, truth, named).items():
        yield share_figure("captions", subject, name, share)
    for name in list(context.lexicon.attributes)[:1]:
        said = [named(caption).get(name) for caption in captions]
        right = sum(s == t[name] for s, t in zip(said, truth, strict=True))
        yield share_figure("captions", subject, f"{name}_of_all", Share(right, len(rows)))


def sentences(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """Whether captions of pairs are sentences, beside people's, and these with shuffled words.

    The language model learns from val captions, which the captioner never saw.
    """
    heard = context.examples["val"].flat_captions
    heard = [heard[i] for i in evenly_spaced(len(heard), READ)]
    model, known = LanguageModel(heard), numbers(heard)
    size = min(len(made.pairs), len(context.test))
    people = [context.test.captions[i][0] for i in evenly_spaced(len(context.test), size)]
    rng = stream(context.seed, "evaluate", "sentences")
    subjects = {
        "pairs": [made.pairs.captions[i] for i in evenly_spaced(len(made.pairs), size)],
        "people": people,
        "disorder": [" ".join(rng.permutation(caption.split())) for caption in people],
    }
    for subject, captions in subjects.items():
        perplexity = {"perplexity": model.perplexity(captions)}
        yield from plain_figures("sentences", subject, perplexity, size)
        yield share_figure("sentences", subject, "numbers", number_agreement(captions, known))
        yield share_figure("sentences", subject, "repeating", repeating(captions))


def varied(context: EvaluationContext, made: Made) -> Iterator[Figure]:
    """How varied the captions of the pairs are, beside equal numbers from train and test."""
    size = min(len(made.pairs), len(context.train), len(context.test))
    subjects = {
        "pairs": made.pairs.captions,
        "train": [own[0] for own in context.train.captions],
        "test": [own[0] for own in context.test.captions],
    }
    for subject, captions in subjects.items():
        some = [captions[i] for i in evenly_spaced(len(captions), size)]
        values = {
            "distinct_1": distinct(some, 1),
            "distinct_2": distinct(some, 2),
            "self_bleu": self_bleu(some),
            "vocabulary_coverage": vocabulary_coverage(some, context.train.flat_captions),
            "mean_words": mean_words(some),
        }
        yield from plain_figures("variety", subject, values, size)


OTHERS = (
    End(says="other captions", subject="shuffled_person"),
    End(says="nearest neighbour's", subject="nearest_neighbour"),
    End(says="the most frequent", subject="most_frequent"),
)
PERSON = (End(says="a person's", subject="person"),)
PEOPLE = (End(says="people's", subject="people"),)
DISORDER = (End(says="people's words in disorder", subject="disorder"),)
REAL = (End(says="real captions of test", subject="test"),)


def _claims(says: str, headline: str = "", subject: str = "captioner") -> tuple[Claim, ...]:
    return (Claim(subject=subject, says=says, headline=headline),)


def _of_references(
    name: str, unit: str, says: str = "", headline: str = "", floors: Sequence[End] = OTHERS
) -> Measure:
    return Measure(
        group="captions",
        name=name,
        unit=unit,
        better=MORE,
        function=captioned,
        section="alike",
        claims=_claims(says, headline) if says else (),
        floors=floors,
        ceilings=PERSON,
    )


def _of_wording(
    group: str,
    name: str,
    unit: str,
    better: str,
    *,
    says: str = "",
    headline: str = "",
) -> Measure:
    whole = group == "sentences"
    return Measure(
        group=group,
        name=name,
        unit=unit,
        better=better,
        function=sentences if whole else varied,
        section="alike" if whole else "new",
        claims=_claims(says, headline, "pairs") if says else (),
        floors=DISORDER if whole else (),
        ceilings=PEOPLE if whole else REAL,
    )


MEASURES = [
    _of_references(
        "*_of_all",
        SHARE,
        "A caption of a test image names the right {star}",
        floors=OTHERS[:1],
    ),
    _of_references("bleu_1", POINTS, "BLEU-1 of captions of test images"),
    _of_references("bleu_4", POINTS, "BLEU-4 of captions of test images"),
    _of_references("bleu_*", POINTS),
    _of_references("cider_d", SCORE, "CIDEr-D of captions of test images", "cider"),
    _of_references("*_f1", SCORE, "F1 of the {star} in captions of test images"),
    _of_references("rouge_l", SCORE),
    _of_references("meteor_stems", SCORE),
    _of_references("*", SHARE),
    _of_wording(
        "sentences",
        "perplexity",
        WORDS,
        NEAR,
        says="Words that could come next, as people write (perplexity)",
        headline="perplexity",
    ),
    _of_wording(
        "sentences",
        "numbers",
        SHARE,
        MORE,
        says="Nouns agree in number with article and verb",
        headline="numbers",
    ),
    _of_wording(
        "sentences",
        "repeating",
        SHARE,
        LESS,
        says="Captions that say the same words twice",
        headline="repeating",
    ),
    _of_wording(
        "variety",
        "distinct_2",
        SCORE,
        NEAR,
        says="Distinct pairs of words among all (distinct-2)",
        headline="distinct_2",
    ),
    _of_wording("variety", "self_bleu", SCORE, NEAR, says="How alike the captions are (self-BLEU)"),
    _of_wording(
        "variety",
        "vocabulary_coverage",
        SHARE,
        NEAR,
        says="Share of the train words in use",
        headline="vocabulary",
    ),
    _of_wording("variety", "mean_words", WORDS, NEAR, says="Words in a caption"),
    _of_wording("variety", "*", SCORE, NEAR),
]
