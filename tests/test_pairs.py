"""The torch dataset gives each row with its own image, in any order, from any process."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from pairsynth import dataset, pairs, whole_files
from pairsynth.dataset import PAIRS
from pairsynth.errors import InputError
from pairsynth.pairs import PairDataset, collate
from tests.rows import FACTS, image, row, write_pairs


def assert_is_row(item: dict[str, Any], i: int) -> None:
    """`item` is row `i` of tests.rows."""
    assert list(item) == PAIRS.names
    assert item["image"].dtype == torch.float32
    assert torch.allclose(item["image"], image(i).float() / 127.5 - 1)
    for key, value in row(i).items():
        if key != "image":
            assert item[key] == (pytest.approx(value) if isinstance(value, float) else value)


def test_items_are_rows_with_the_image_as_a_tensor(pairs_folder: Path) -> None:
    found = PairDataset(pairs_folder)
    assert len(found) == 20
    for i in (0, 2, 3, 11, 19):
        assert_is_row(found[i], i)
    assert found[-1]["pair_id"] == found[19]["pair_id"]
    with pytest.raises(IndexError):
        found[20]


def test_a_dataset_is_iterated_once_through(pairs_folder: Path) -> None:
    assert [item["pair_id"] for item in PairDataset(str(pairs_folder))] == [
        row(i)["pair_id"] for i in range(20)
    ]


CHOICES: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "novel": lambda one: one["novelty"] == "new",
    "later": lambda one: one["pair_id"] >= "pair-0000011",
    "all": lambda one: "image" not in one,
}


@pytest.mark.parametrize("choice", CHOICES)
def test_where_keeps_the_rows_it_is_true_of(pairs_folder: Path, choice: str) -> None:
    found = PairDataset(pairs_folder, where=CHOICES[choice])
    rest = [{key: value for key, value in row(i).items() if key != "image"} for i in range(20)]
    wanted = [one["pair_id"] for one in rest if CHOICES[choice](one)]
    assert len(found) == len(wanted)
    assert [item["pair_id"] for item in found] == wanted
    for item in found:
        assert torch.allclose(item["image"], image(int(item["pair_id"][5:])).float() / 127.5 - 1)


def test_a_data_loader_shuffles_and_batches(pairs_folder: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    loader = DataLoader(
        PairDataset(pairs_folder), batch_size=8, shuffle=True, collate_fn=collate, generator=rng
    )
    seen = []
    for batch in loader:
        assert batch["image"].shape[1:] == (3, 32, 32)
        assert len(batch["image"]) == len(batch["caption"]) == len(batch["blend_weight"])
        for image_, pair_id in zip(batch["image"], batch["pair_id"], strict=True):
            assert torch.allclose(image_, image(int(pair_id[5:])).float() / 127.5 - 1)
        seen += batch["pair_id"]
    assert seen != sorted(seen)
    assert sorted(seen) == [row(i)["pair_id"] for i in range(20)]


def test_each_row_group_is_read_once_in_any_order(
    pairs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = pairs._places

    def counted(file: Any, group: int) -> Any:
        reads.append(group)
        return read(file, group)

    monkeypatch.setattr(pairs, "_places", counted)
    found = PairDataset(pairs_folder)
    for i in (7, 19, 0, 12, 1, *range(20), 19, 0):
        assert_is_row(found[i], i)
    assert sorted(reads) == [0, 0, 0, 1, 1, 1, 2, 2]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker")  # on one processor
@pytest.mark.parametrize("sent", [False, True], ids=["forked", "as it is sent"])
def test_many_workers_give_the_same_items(pairs_folder: Path, sent: bool) -> None:
    found = PairDataset(pairs_folder)
    assert_is_row(found[3], 3)  # what one process has looked up is of use to the others
    rest = pickle.loads(pickle.dumps(found[1:])) if sent else found[1:]  # as spawned ones get it
    loader = DataLoader(rest, batch_size=4, num_workers=2, collate_fn=collate)
    seen = [pair for batch in loader for pair in zip(batch["pair_id"], batch["image"], strict=True)]
    assert [pair_id for pair_id, _ in seen] == [row(i)["pair_id"] for i in range(1, 20)]
    for pair_id, pixels in seen:
        assert torch.allclose(pixels, image(int(pair_id[5:])).float() / 127.5 - 1)


def test_a_slice_is_a_dataset_of_those_rows(pairs_folder: Path) -> None:
    found = PairDataset(pairs_folder, where=lambda one: one["class_id"] is None)
    assert [item["pair_id"] for item in found] == [f"pair-{i:07}" for i in range(1, 20, 2)]
    part = found[2:-1:3]
    assert isinstance(part, PairDataset)
    assert len(part) == 3
    for item, i in zip(part, (5, 11, 17), strict=True):
        assert_is_row(item, i)
    assert_is_row(part[1:][-1], 17)
    assert list(found[20:]) == []
    assert len(found) == 10


def test_a_filter_that_is_true_of_nothing_is_refused(pairs_folder: Path) -> None:
    with pytest.raises(InputError, match=r"where= is true of none of its 20 pairs; loosen it"):
        PairDataset(pairs_folder, where=lambda one: one["novelty"] == "New")


def test_a_dataset_that_was_made_anew_is_read_anew(pairs_folder: Path) -> None:
    """One that was opened before stays what it was, and is not taken up by another process."""
    before = PairDataset(pairs_folder)
    stored = pickle.dumps(before)
    with whole_files.new_folder(pairs_folder) as again:
        write_pairs(again, (row(i) for i in range(5, 25)), 25, FACTS)
    assert_is_row(PairDataset(pairs_folder)[0], 5)
    assert_is_row(before[0], 0)
    assert_is_row(before[19], 19)
    with pytest.raises(InputError, match=r"was made anew since it was opened; open it again"):
        pickle.loads(stored)


def test_damage_is_noticed_on_reading(pairs_folder: Path) -> None:
    path = dataset.pair_shards(pairs_folder)[0]
    data = bytearray(path.read_bytes())
    place = data.index(row(1)["image"]["bytes"]) + 500
    data[place] ^= 1
    path.write_bytes(data)
    found = PairDataset(pairs_folder)
    assert_is_row(found[4], 4)
    with pytest.raises(InputError, match=rf"{path.name} is damaged \(.*(checksum|CRC).*remake it"):
        found[1]


def test_images_that_do_not_lie_there_as_they_are_are_refused(pairs_folder: Path) -> None:
    """Rewritten by another program, packed."""
    path = dataset.pair_shards(pairs_folder)[0]
    pq.write_table(pq.read_table(path), path, compression="zstd", use_dictionary=False)
    with pytest.raises(InputError, match=r"an image lies there packed, or not in its place"):
        PairDataset(pairs_folder)[0]


def test_no_dataset_says_which_stage_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is missing; run: dvc repro synthesize"):
        PairDataset(tmp_path / "synthetic")
