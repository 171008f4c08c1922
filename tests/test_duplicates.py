"""Pairs that are there already: of the same words, and nearly the same image."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from pairsynth import duplicates
from pairsynth.duplicates import Seen, between_shards
from pairsynth.image_files import encode
from pairsynth.images import to_image
from tests.rows import row, write_pairs_shard


def smooth(seed: int) -> torch.Tensor:
    """An image whose hash a little brightness does not change."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 4, 4, generator=rng) * 200
    return F.interpolate(coarse, 32, mode="bilinear")[0].to(torch.uint8)


def test_words_and_image_make_a_twin() -> None:
    seen = Seen(0.1)
    assert seen.twin(3, "A red flower.", smooth(0)) is None
    assert seen.twin(4, "a red flower", smooth(1)) is None
    assert seen.twin(5, "a blue flower", smooth(0)) is None
    assert seen.twin(6, "a red flower", smooth(0)) == 3
    assert seen.twin(7, "A RED FLOWER", smooth(1) + 1) == 4
    assert seen.twin(8, "a red flower", smooth(2)) is None


@pytest.mark.parametrize(("distance", "twin"), [(0.0, None), (0.07, None), (0.08, 1)])
def test_nearly_is_by_the_share_of_bits(
    monkeypatch: pytest.MonkeyPatch, distance: float, twin: int | None
) -> None:
    """One bit of 191 is a root mean square of 0.0724; no bit is a twin at any distance."""
    bits = {False: torch.zeros(1, 191), True: torch.zeros(1, 191)}
    bits[True][0, 190] = 1
    monkeypatch.setattr(duplicates, "hashes", lambda pixels: bits[bool(pixels.any())])
    seen = Seen(distance)
    dark, bright = torch.zeros(3, 32, 32), torch.ones(3, 32, 32)
    assert seen.twin(1, "red", dark) is None
    assert seen.twin(2, "red", bright) == twin
    assert seen.twin(3, "red", dark) == 1


def pair(i: int, caption: str, seed: int) -> dict[str, Any]:
    image = {"bytes": encode(to_image(smooth(seed))), "path": "x.png"}
    return {**row(i), "caption": caption, "image": image}


def test_rows_that_an_earlier_shard_has_are_found(tmp_path: Path) -> None:
    rows = [
        [pair(0, "red", 0), pair(1, "red", 1), pair(2, "blue", 2)],
        [],
        [pair(8, "Red", 1), pair(9, "blue", 3), pair(11, "white", 0)],
        [pair(12, "blue", 3), pair(13, "white!", 0), pair(14, "blue", 2), pair(15, "red", 4)],
    ]
    for number, own in enumerate(rows):
        write_pairs_shard(tmp_path, number, len(rows), own)
    shards = sorted((tmp_path / "data").iterdir())
    found = between_shards(shards, 0.1)
    assert found == {shards[2]: {0: 1}, shards[3]: {0: 9, 1: 11, 2: 2}}
    assert between_shards(shards[:2], 0.1) == {}


def test_images_are_looked_at_only_where_words_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def counted(seen: Seen, number: int, *_: object) -> None:
        looked.append(number)

    monkeypatch.setattr(Seen, "twin", counted)
    for number in range(2):
        own = [pair(8 * number + i, f"flower {i + 3 * number}", i) for i in range(4)]
        write_pairs_shard(tmp_path, number, 2, own)
    assert between_shards(sorted((tmp_path / "data").iterdir()), 0.1) == {}
    assert looked == [3, 8]
