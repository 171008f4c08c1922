"""The gallery: pairs beside the nearest training image; refused candidates with reasons."""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from pairsynth.artifacts import read_shards
from pairsynth.dataset import check_count, read_refused, read_rows, read_some
from pairsynth.examples import read_list
from pairsynth.image_files import decode, fit
from pairsynth.images import to_image
from pairsynth.report.results import Results, Row, number

SIDE = 64
# Pairs in the page, of which the browser shows `PAGE` at a time, and `GLANCE` stand at its top.
# A pair takes about 4 kB: more of them would make a file that browsers open slowly.
MOST = 2500
ENDS = 500
PAGE = 24
GLANCE = 8
REFUSED_INPUTS = 100

COLUMNS = [
    *("pair_id", "image", "caption", "strategy", "source_ids", "blend_weight", "component"),
    *("consistency", "novelty", "nearest_image_id", "nearest_image_distance"),
    *("nearest_caption", "nearest_caption_similarity"),
]
REFUSED = ["image", "caption", "strategy", "reason", "why", "consistency", "nearest_image_id"]


@dataclass(frozen=True, kw_only=True)
class PairCard:
    """A pair or a refused candidate as the page shows it; images are data URLs.

    facts: (label, value) pairs shown below. why: the reason of a refusal.
    """

    title: str
    caption: str
    strategy: str
    novelty: str
    score: float
    distance: float
    image: str
    nearest: str
    nearest_id: str
    nearest_caption: str
    facts: list[tuple[str, str]]
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Everything the gallery shows.

    pairs: those shown, of `total`. refused: candidates. inputs: (item, reason) that `download`
    refused, some of `inputs_total`. findings: what `download` found odd -> examples (item, what).
    distances: of each pair's image to its nearest training image.
    """

    pairs: list[PairCard]
    total: int
    refused: list[PairCard]
    inputs: list[tuple[str, str]]
    inputs_total: int
    findings: dict[str, list[tuple[str, str]]]
    distances: list[float]

    @property
    def glance(self) -> list[PairCard]:
        """A few of the pairs, evenly spaced from best to worst."""
        places = (np.arange(GLANCE) + 0.5) / GLANCE * len(self.pairs)
        return [self.pairs[place] for place in dict.fromkeys(places.astype(int).tolist())]

    @property
    def first(self) -> list[PairCard]:
        """The pairs that are in the page before its script runs."""
        return self.pairs[:PAGE]

    @property
    def records(self) -> dict[str, Any]:
        """The pairs for the page's script; each nearest training image once, by id."""
        cards = [{**vars(card), "nearest": ""} for card in self.pairs]
        return {
            "page": PAGE,
            "pairs": cards,
            "nearest": {card.nearest_id: card.nearest for card in self.pairs},
        }


def read_gallery(examples: Path, synthetic: Path, results: Results) -> Gallery:
    """Read the data set, and the training images nearest to its pairs.

    Raises:
        InputError: where a part is missing or damaged, or there is no pair.
    """
    table = read_rows(synthetic, ["consistency", "nearest_image_distance"])
    check_count(synthetic, len(table), 1)
    scores, distances = (
        np.asarray(table[name], float) for name in ("consistency", "nearest_image_distance")
    )
    shown = read_some(synthetic, choose(scores, distances), COLUMNS).to_pylist()
    refused = read_refused(synthetic, REFUSED).to_pylist()
    often = Counter(row["reason"] for row in refused)
    refused.sort(key=lambda row: often[row["reason"]])  # the rarest reason first
    near = _nearest(examples, {row["nearest_image_id"] for row in (*shown, *refused)})
    judged = {row["pair_id"]: row for row in results.curves.get("pairs", [])}
    inputs = [(item, reason) for item, reason in read_list(examples, "refused.csv")]
    return Gallery(
        pairs=[_pair(row, near, judged.get(row["pair_id"], {})) for row in shown],
        total=len(table),
        refused=[_refusal(row, near) for row in refused],
        inputs=inputs[:REFUSED_INPUTS],
        inputs_total=len(inputs),
        findings=_findings(examples),
        distances=distances.tolist(),
    )


def _findings(examples: Path) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for finding, item, what in read_list(examples, "survey.csv"):
        found.setdefault(finding, []).append((item, what))
    return found


def choose(scores: Sequence[float] | Any, distances: Sequence[float] | Any) -> list[int]:
    """Up to `MOST` rows, best first: the best, the worst, the least new, evenly spaced others."""
    order = np.argsort(-np.asarray(scores), kind="stable").tolist()
    if len(order) > MOST:
        closest = np.argsort(np.asarray(distances), kind="stable").tolist()
        chosen = set(order[:ENDS] + order[-ENDS:] + closest[:ENDS])
        others = [row for row in order if row not in chosen]
        places = np.linspace(0, len(others) - 1, MOST - len(chosen)).round().astype(int)
        chosen |= {others[place] for place in places}
        order = [row for row in order if row in chosen]
    return order


def _nearest(examples: Path, wanted: set[str]) -> dict[str, str]:
    table = read_shards(examples, "train", ["image_id", "image"])
    ids = table["image_id"].to_pylist()
    rows = [row for row, image_id in enumerate(ids) if image_id in wanted]
    images = table["image"].take(rows).to_pylist()
    return {ids[row]: small(image["bytes"]) for row, image in zip(rows, images, strict=True)}


JUDGED = {
    "judge_similarity": ("judge's cosine", "{:.2f}"),
    "judge_rank": ("judge's rank", "{:.0f}"),
    "image_ratio": ("first to second nearest", "{:.2f}"),
    "longest_copied": ("words in a row from train", "{:.0f}"),
    "closest_bleu": ("closest BLEU", "{:.2f}"),
}


def _pair(row: Mapping[str, Any], near: Mapping[str, str], judged: Row) -> PairCard:
    facts = [
        ("consistency", f"{row['consistency']:.2f}"),
        ("distance", f"{row['nearest_image_distance']:.3f}"),
        ("caption cosine", f"{row['nearest_caption_similarity']:.2f}"),
    ]
    if row["blend_weight"] is not None:
        facts.append(("blend weight", f"{row['blend_weight']:.2f}"))
    if row["component"] is not None:
        facts.append(("component", str(row["component"])))
    for key, (label, form) in JUDGED.items():
        value = number(judged.get(key))
        if value is not None:
            facts.append((label, form.format(value)))
    return PairCard(
        title=row["pair_id"],
        caption=row["caption"],
        strategy=row["strategy"],
        novelty=row["novelty"],
        score=row["consistency"],
        distance=row["nearest_image_distance"],
        image=small(row["image"]["bytes"]),
        nearest=near[row["nearest_image_id"]],
        nearest_id=row["nearest_image_id"],
        nearest_caption=row["nearest_caption"],
        facts=facts,
    )


def _refusal(row: Mapping[str, Any], near: Mapping[str, str]) -> PairCard:
    return PairCard(
        title=row["reason"],
        caption=row["caption"],
        strategy=row["strategy"],
        novelty=row["reason"],
        score=row["consistency"],
        distance=0.0,
        image=small(row["image"]["bytes"]),
        nearest=near[row["nearest_image_id"]],
        nearest_id=row["nearest_image_id"],
        nearest_caption="",
        facts=[],
        why=row["why"],
    )


# ---------------------------------------------------------------- images in the page


def small(data: bytes) -> str:
    """An image file as a small WebP image in a data URL."""
    return address(fit(decode(data), SIDE))


def addresses(pixels: Tensor | Iterable[Tensor]) -> list[str]:
    """uint8 images (N, 3, S, S) as data URLs."""
    return [address(to_image(one)) for one in pixels]


def address(image: Image.Image, quality: int = 88) -> str:
    """An image as WebP in a data URL; equal pixels give equal URLs."""
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
