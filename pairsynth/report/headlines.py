"""The figures that answer a reader's questions, each between its floor and its ceiling."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pairsynth.report.results import Key, Measured, Results

SHARE = "share"
SCORE = "score"
COUNT = "count"


@dataclass(frozen=True)
class Headline:
    """One row: what is claimed, and where its figures stand in metrics/evaluate.csv.

    key: the pipeline's. floors, ceilings: (what it is, its key), those that are there are shown.
    unit: SHARE is shown in percent, SCORE with two digits, COUNT with one. less: less is better.
    """

    says: str
    key: Key
    floors: Sequence[tuple[str, Key]] = ()
    ceilings: Sequence[tuple[str, Key]] = ()
    unit: str = SHARE
    less: bool = False


@dataclass(frozen=True)
class Mark:
    """A number to show: what it is, in words; the number; where it stands on the row's scale."""

    label: str
    text: str
    place: float


@dataclass(frozen=True)
class Line:
    """A headline with its numbers; places in percent of the scale, whose right end is better."""

    says: str
    value: Mark
    interval: str
    span: tuple[float, float] | None
    floors: list[Mark]
    ceilings: list[Mark]
    count: int
    less: bool


ATTRIBUTES = {
    "petal_colour": "petal colour",
    "centre_colour": "centre colour",
    "petal_shape": "petal shape",
    "background": "background",
}

PAIRS: list[Headline] = [
    *(
        Headline(
            f"Caption and picture of a pair agree on the {words}",
            ("pairs", "all", name),
            [
                ("pairs shuffled", ("pairs", "shuffled", name)),
                ("next pair's caption", ("pairs", "shifted", name)),
            ],
            [
                ("real pairs", ("pairs", "real_pairs", name)),
                ("the judge on real pictures", ("judge", "real_pictures", name)),
            ],
        )
        for name, words in ATTRIBUTES.items()
    ),
    Headline(
        "A pair's own caption is found first of 100",
        ("pairs", "all", "r_precision"),
        [
            ("pairs shuffled", ("pairs", "shuffled", "r_precision")),
            ("next pair's caption", ("pairs", "shifted", "r_precision")),
        ],
        [("real pairs", ("pairs", "real_pairs", "r_precision"))],
    ),
    Headline(
        "A pair's own caption is among the first 10 of all",
        ("retrieval", "pairs", "image_to_text_recall_at_10"),
        [("pairs shuffled", ("retrieval", "pairs_shuffled", "image_to_text_recall_at_10"))],
        [("real pictures", ("retrieval", "real_pictures", "image_to_text_recall_at_10"))],
    ),
    *(
        Headline(
            f"A picture drawn from a test caption shows the {words} named",
            ("drawn", "from_test_captions", name),
            [("other captions", ("drawn", "shuffled_captions", name))],
            [("real pictures", ("drawn", "real_pictures", name))],
        )
        for name, words in ATTRIBUTES.items()
    ),
    Headline(
        "The caption it was drawn from is found first of 100",
        ("drawn", "from_test_captions", "r_precision"),
        [("other captions", ("drawn", "shuffled_captions", "r_precision"))],
        [("real pictures", ("drawn", "real_pictures", "r_precision"))],
    ),
]

CAPTIONS: list[Headline] = [
    Headline(
        "A caption of a test picture names the right petal colour",
        ("captions", "captioner", "petal_colour_of_all"),
        [("other captions", ("captions", "shuffled_person", "petal_colour_of_all"))],
        [("a person's", ("captions", "person", "petal_colour_of_all"))],
    ),
    *(
        Headline(
            f"{words} of captions of test pictures",
            ("captions", "captioner", name),
            [
                ("other captions", ("captions", "shuffled_person", name)),
                ("nearest neighbour's", ("captions", "nearest_neighbour", name)),
                ("the most frequent", ("captions", "most_frequent", name)),
            ],
            [("a person's", ("captions", "person", name))],
            unit,
        )
        for name, words, unit in (
            ("bleu_1", "BLEU-1", COUNT),
            ("bleu_4", "BLEU-4", COUNT),
            ("cider_d", "CIDEr-D", SCORE),
            ("colours_f1", "F1 of the colours", SCORE),
            ("shapes_f1", "F1 of the shapes", SCORE),
        )
    ),
    Headline(
        "Of all test classes a picture's own is nearest by its captions, in the space of psi",
        ("psi", "test_pictures", "class_first"),
        [("pictures of others", ("psi", "shuffled_pictures", "class_first"))],
    ),
]

PICTURES: list[Headline] = [
    *(
        Headline(
            f"KID of {words}, features of the judge",
            ("images_judge", subject, "kid"),
            [("real pictures blurred", ("images_judge", "degraded_test_and_train", "kid"))],
            [("real against real", ("images_judge", "real_test_and_train", "kid"))],
            SCORE,
            less=True,
        )
        for subject, words in (
            ("drawn_and_test", "pictures drawn from test captions"),
            ("pairs_and_train", "pictures of pairs"),
        )
    ),
    *(
        Headline(
            says,
            ("images_judge", "drawn_and_test", name),
            [("real pictures blurred", ("images_judge", "degraded_test_and_train", name))],
            [("real against real", ("images_judge", "real_test_and_train", name))],
            less=less,
        )
        for name, says, less in (
            ("precision", "Drawn pictures that lie among real ones (precision)", False),
            ("recall", "Real pictures that lie among drawn ones (recall)", False),
            ("told_apart", "Drawn and real pictures told apart by a classifier", True),
        )
    ),
]

NOVELTY: list[Headline] = [
    *(
        Headline(
            says,
            ("novelty", "pairs", name),
            ceilings=[("real pairs held out", ("novelty", "real_held_out", name))],
            less=less,
        )
        for name, says, less in (
            ("all_new", "Picture and caption are both new", False),
            ("new_image_seen_caption", "New picture, caption seen word for word", True),
            ("seen_image_new_caption", "Picture seen, new caption", True),
            ("recombination", "Both seen, never together", True),
            ("copy", "Copies of a training pair", True),
        )
    ),
    Headline(
        "Longest run of words copied from one training caption",
        ("novelty", "pairs", "longest_copied_words"),
        ceilings=[("real captions held out", ("novelty", "real_held_out", "longest_copied_words"))],
        unit=COUNT,
        less=True,
    ),
    *(
        Headline(
            says,
            ("variety", "pairs", name),
            ceilings=[("real captions of test", ("variety", "test", name))],
            unit=SCORE,
            less=less,
        )
        for name, says, less in (
            ("distinct_2", "Distinct pairs of words among all (distinct-2)", False),
            ("self_bleu", "How alike the captions are (self-BLEU)", True),
            ("vocabulary_coverage", "Share of the train words in use", False),
        )
    ),
    *(
        Headline(
            f"Training pictures planted as copies, {words}, that are found",
            ("novelty", "planted_100", f"{kind}_found_by_seen"),
            [("false alarms", ("novelty", "real_held_out", "seen_alarms"))],
        )
        for kind, words in (
            ("exact", "as they are"),
            ("mirrored", "mirrored"),
            ("jpeg", "as JPEG"),
            ("shifted", "moved by two pixels of 64"),
        )
    ),
]

SUMMARY = (
    ("novelty", "pairs", "all_new"),
    ("pairs", "all", "petal_colour"),
    ("pairs", "all", "r_precision"),
    ("images_judge", "drawn_and_test", "kid"),
)


def lines(results: Results, headlines: Sequence[Headline]) -> list[Line]:
    """Those of the headlines whose own figure was measured."""
    found = results.figures
    return [_line(found, one) for one in headlines if one.key in found]


def summary(results: Results) -> list[Line]:
    """The few that stand at the top."""
    every = {one.key: one for one in (*PAIRS, *NOVELTY, *PICTURES)}
    return lines(results, [every[key] for key in SUMMARY])


def _line(figures: Mapping[Key, Measured], one: Headline) -> Line:
    own = figures[one.key]
    floors = list(_known(figures, one.floors))
    ceilings = list(_known(figures, one.ceilings))
    numbers = [own, *(found for _, found in (*floors, *ceilings))]
    ends = (own.low, own.high, *(n.value for n in numbers))
    scale = Scale(one.unit, one.less, [n for n in ends if n is not None])
    interval, span = "", None
    if own.low is not None and own.high is not None:
        interval = f"{scale.text(own.low)} to {scale.text(own.high)}"
        span = scale.between(own.low, own.high)
    return Line(
        one.says,
        scale.mark("pipeline", own.value),
        interval,
        span,
        [scale.mark(label, found.value) for label, found in floors],
        [scale.mark(label, found.value) for label, found in ceilings],
        own.count,
        one.less,
    )


def _known(
    figures: Mapping[Key, Measured], wanted: Sequence[tuple[str, Key]]
) -> Iterator[tuple[str, Measured]]:
    return ((label, figures[key]) for label, key in wanted if key in figures)


@dataclass(frozen=True)
class Scale:
    """How the numbers of one row are written, and where they stand."""

    unit: str
    less: bool
    numbers: Sequence[float]

    def text(self, value: float) -> str:
        """The number as people read it."""
        if self.unit == SHARE:
            return f"{100 * value:.1f} %"
        return f"{value:.2f}" if self.unit == SCORE else f"{value:.1f}"

    def place(self, value: float) -> float:
        """0 to 100: shares from 0 to 1, all else from 0 (or the least) to a little over the most.

        Turned about where less is better, so that right is better everywhere.
        """
        low = min(0.0, *self.numbers, 0.0)
        high = 1.0 if self.unit == SHARE else 1.05 * max(*self.numbers, 1e-9)
        share = (value - low) / (high - low)
        return round(100 * (1 - share if self.less else share), 2)

    def mark(self, label: str, value: float) -> Mark:
        """`value` as a mark on the scale."""
        return Mark(label, self.text(value), self.place(value))

    def between(self, low: float, high: float) -> tuple[float, float]:
        """Left end and width of an interval."""
        left, right = sorted((self.place(low), self.place(high)))
        return left, round(right - left, 2)
