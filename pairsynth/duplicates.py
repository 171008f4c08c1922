"""Pairs that are there already: the same words, and nearly the same image.

Shapes: N pairs, S side of an image.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pairsynth.artifacts import read_shard
from pairsynth.dataset import number_of
from pairsynth.image_files import decode
from pairsynth.images import to_tensor
from pairsynth.metrics.novelty import hashes
from pairsynth.text import normalize


class Seen:
    """Pairs so far, by their words. Of an image it keeps its hash, 24 bytes.

    distance: images whose hashes are nearer (root mean square of the bits) are nearly the same.
    """

    def __init__(self, distance: float) -> None:
        self.distance = distance
        self.pairs: dict[str, tuple[list[int], bytearray]] = {}

    def twin(self, number: int, caption: str, pixels: Tensor) -> int | None:
        """The first pair so far that has the words of this and nearly its image (3, S, S).

        None: there is none, and this is among them from now on.
        """
        bits = hashes(pixels[None])[0].numpy().astype(np.uint8)
        own = np.packbits(bits)
        numbers, packed = self.pairs.setdefault(normalize(caption), ([], bytearray()))
        others = np.frombuffer(bytes(packed), np.uint8).reshape(-1, len(own))
        apart = np.sqrt(np.bitwise_count(own ^ others).sum(1) / len(bits))
        near = np.flatnonzero((apart == 0) | (apart < self.distance))
        if len(near):
            return numbers[near[0]]
        numbers.append(number)
        packed += own.tobytes()
        return None


def between_shards(shards: Sequence[Path], distance: float) -> dict[Path, dict[int, int]]:
    """By shard the rows that an earlier one has already, each with the number of that pair.

    Images are looked at only where words come again: in memory are 8 bytes for each other pair.

    Raises:
        InputError: where a shard is damaged.
    """
    words = [_words(shard) for shard in shards]
    values, counts = np.unique(np.concatenate(words), return_counts=True)
    again, seen = values[counts > 1], Seen(distance)
    found: dict[Path, dict[int, int]] = {}
    for shard, own in zip(shards, words, strict=True):
        rows = np.flatnonzero(np.isin(own, again))
        if not len(rows):
            continue
        table = read_shard(shard, ["pair_id", "caption", "image"]).take(rows)
        for row, one in zip(rows.tolist(), table.to_pylist(), strict=True):
            pixels = to_tensor(decode(one["image"]["bytes"]))
            twin = seen.twin(number_of(one["pair_id"]), one["caption"], pixels)
            if twin is not None:
                found.setdefault(shard, {})[row] = twin
    return found


def _words(shard: Path) -> NDArray[np.uint64]:
    """A fingerprint of the words of each row (N)."""
    captions = read_shard(shard, ["caption"])["caption"].to_pylist()
    digests = [hashlib.blake2b(normalize(one).encode(), digest_size=8).digest() for one in captions]
    return np.frombuffer(b"".join(digests), np.uint64)
