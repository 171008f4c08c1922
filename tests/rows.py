"""Rows of a small data set whose every value is known, and vectors of small examples."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from pairsynth import dataset
from pairsynth.artifacts import shard_name, write_shard
from pairsynth.dataset import DATA, PAIRS, Refusals, complete, number_of
from pairsynth.encoders import JointEncoder
from pairsynth.examples import Embeddings, Examples
from pairsynth.image_files import encode
from pairsynth.images import to_image

STRATEGIES = ("text_prototype", "text_density", "image_prototype", "image_density")
KINDS = ("new", "new image, seen caption", "seen image, new caption", "recombination", "copy")
FACTS: dict[str, Any] = {
    "source_images": 1234,
    "made_from": {"pictures": "0123456789abcdef"},
    "seed": 1712,
    "size": 32,
    "distance": 0.04321,
    "false_alarms": 0.01,
}


def image(i: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(i)
    return torch.randint(256, (3, 32, 32), generator=rng).to(torch.uint8)


def row(i: int) -> dict[str, Any]:
    text = i % 2 == 0
    return {
        "pair_id": f"pair-{i:07}",
        "image": {"bytes": encode(to_image(image(i))), "path": f"pair-{i:07}.png"},
        "caption": f"flower number {i}, «ünïcode»",
        "strategy": STRATEGIES[i % 4],
        "source_ids": ["a#0", "b#1"] if text else [],
        "blend_weight": 0.25 if text else None,
        "component": None if text else i,
        "seed": 1712,
        "class_id": 3 if text else None,
        "class_name": "rose" if text else None,
        "consistency": i / 100,
        "novelty": KINDS[i % 5],
        "caption_seen": i % 3 == 0,
        "nearest_image_id": "a",
        "nearest_image_distance": 0.5,
        "nearest_caption": "a flower",
        "nearest_caption_similarity": 0.75,
    }


def refusals() -> Refusals:
    """Three candidates refused, and one pair left out."""
    found = Refusals()
    for i in range(3):
        keys = ("pair_id", "image", "caption", "strategy", "consistency", "nearest_image_id")
        one = {key: row(i)[key] for key in keys} | {"reason": "copy", "why": "copy of a"}
        near = {key: row(i)[key] for key in ("nearest_image_distance", "nearest_caption")}
        found.add("copy" if i else "less consistent", (one | near).copy)
    found.left_out = 1
    return found


def write_pairs_shard(
    folder: Path, number: int, total: int, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write shard `number` of `total`, whose pairs are those of its numbers, into `folder`/data."""
    (folder / DATA).mkdir(exist_ok=True)
    write_shard(folder / DATA / shard_name("train", number, total), map(dict, rows), PAIRS)


def write_pairs(
    folder: Path,
    rows: Iterable[Mapping[str, Any]],
    tried: int,
    facts: Mapping[str, Any],
    refusals: Refusals | None = None,
) -> None:
    """Write a whole dataset into `folder`, row by row.

    rows: the pairs 0 to `tried` - 1 in order, but for those left out. facts, refusals: as of
    `complete`; the refusals may fill up while `rows` are made.
    """
    total, done = max(1, -(-tried // dataset.PAIRS_PER_SHARD)), 0
    shard = groupby(rows, lambda row: number_of(row["pair_id"]) // dataset.PAIRS_PER_SHARD)
    for number, group in shard:
        for empty in range(done, number):
            write_pairs_shard(folder, empty, total, ())
        write_pairs_shard(folder, number, total, group)
        done = number + 1
    for empty in range(done, total):
        write_pairs_shard(folder, empty, total, ())
    complete(folder, facts, refusals or Refusals())


def embedded(encoder: JointEncoder, examples: Examples) -> Embeddings:
    """The vectors of `examples`, as `embed` would write them."""
    return Embeddings(
        image=encoder.embed_images(examples.pixels),
        psi=encoder.embed_captions(examples.flat_captions),
    )
