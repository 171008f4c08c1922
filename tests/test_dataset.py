"""The dataset that comes out is read by everybody's tools, and says what is in it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pairsynth import artifacts, dataset
from pairsynth.dataset import (
    PAIRS,
    PairDataset,
    Refusals,
    collate,
    read_manifest,
    write_pairs,
)
from pairsynth.errors import InputError
from pairsynth.images import decode, encode, to_picture

STRATEGIES = ("text_prototype", "text_density", "image_prototype", "image_density")
KINDS = ("new", "new image, seen caption", "seen image, new caption", "recombination", "copy")
FACTS: dict[str, Any] = {
    "source_pictures": 1234,
    "made_from": {"pictures": "0123456789abcdef"},
    "seed": 1712,
    "size": 32,
    "distance": 0.04321,
    "false_alarms": 0.01,
}


def picture(i: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(i)
    return torch.randint(256, (3, 32, 32), generator=rng).to(torch.uint8)


def row(i: int) -> dict[str, Any]:
    text = i % 2 == 0
    return {
        "pair_id": f"pair-{i:07}",
        "image": {"bytes": encode(to_picture(picture(i))), "path": f"pair-{i:07}.png"},
        "caption": f"flower number {i}, «ünïcode»",
        "strategy": STRATEGIES[i % 4],
        "source_ids": ["a#0", "b#1"] if text else [],
        "lambda": 0.25 if text else None,
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


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of three rows and shards of two or three groups."""
    monkeypatch.setattr(artifacts, "ROWS_PER_GROUP", 3)
    monkeypatch.setattr(artifacts, "BYTES_PER_SHARD", 20_000)


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


@pytest.fixture
def folder(tmp_path: Path, small_groups: None) -> Path:
    """A dataset of 20 rows in several shards of several row groups."""
    path = tmp_path / "synthetic"
    path.mkdir()
    write_pairs(path, (row(i) for i in range(20)), FACTS, refusals())
    assert len(artifacts.shards(path, "train")) >= 2
    return path


# ---------------------------------------------------------------- everybody's tools


def test_hugging_face_datasets_sees_pictures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    files = [str(path) for path in artifacts.shards(folder, "train")]
    loaded = datasets.load_dataset(
        "parquet", data_files={"train": files}, cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert len(loaded) == 20
    assert list(loaded.features) == PAIRS.names
    assert isinstance(loaded.features["image"], datasets.Image)
    for i in (0, 7, 19):
        item = loaded[i]
        assert np.array_equal(np.asarray(item["image"]), picture(i).permute(1, 2, 0).numpy())
        assert item["caption"] == row(i)["caption"]
        assert item["source_ids"] == row(i)["source_ids"]
        assert item["lambda"] == row(i)["lambda"]
        assert item["class_id"] == row(i)["class_id"]


def by_pandas(files: list[Path]) -> list[dict[str, Any]]:
    import pandas as pd

    frame = pd.concat([pd.read_parquet(path) for path in files])
    return frame[["pair_id", "image", "caption"]].to_dict("records")  # type: ignore[return-value]  # names of columns are words


def by_pyarrow(files: list[Path]) -> list[dict[str, Any]]:
    import pyarrow.dataset as ds

    table = ds.dataset([str(path) for path in files]).to_table(["pair_id", "image", "caption"])
    return table.to_pylist()


def by_duckdb(files: list[Path]) -> list[dict[str, Any]]:
    import duckdb

    with duckdb.connect() as connection:
        found = connection.execute(
            "select pair_id, image, caption from read_parquet(?) order by pair_id",
            [[str(path) for path in files]],
        ).fetchall()
    return [dict(zip(("pair_id", "image", "caption"), one, strict=True)) for one in found]


def by_polars(files: list[Path]) -> list[dict[str, Any]]:
    import polars as pl

    frame = pl.concat([pl.read_parquet(path) for path in files])
    return frame.select("pair_id", "image", "caption").to_dicts()


@pytest.mark.parametrize("read", [by_pandas, by_pyarrow, by_duckdb, by_polars])
def test_other_tools_read_the_same_rows(
    folder: Path, read: Callable[[list[Path]], list[dict[str, Any]]]
) -> None:
    found = read(artifacts.shards(folder, "train"))
    assert [one["pair_id"] for one in found] == [row(i)["pair_id"] for i in range(20)]
    assert [one["caption"] for one in found] == [row(i)["caption"] for i in range(20)]
    for i in (0, 19):
        pixels = np.asarray(decode(bytes(found[i]["image"]["bytes"])))
        assert np.array_equal(pixels, picture(i).permute(1, 2, 0).numpy())


def test_the_schema_is_the_one_that_is_stated(folder: Path) -> None:
    table = artifacts.read_shards(folder, "train")
    assert table.schema.equals(PAIRS)
    assert table["novelty"].to_pylist() == [row(i)["novelty"] for i in range(20)]


# ---------------------------------------------------------------- the torch dataset


def test_items_are_rows_with_the_picture_as_a_tensor(folder: Path) -> None:
    pairs = PairDataset(folder)
    assert len(pairs) == 20
    for i in (0, 2, 3, 11, 19):
        item = pairs[i]
        assert item["image"].dtype == torch.float32
        assert torch.allclose(item["image"], picture(i).float() / 127.5 - 1)
        assert list(item) == PAIRS.names
        for key, value in row(i).items():
            if key != "image":
                known = pytest.approx(value) if isinstance(value, float) else value
                assert item[key] == known
    assert pairs[-1]["pair_id"] == pairs[19]["pair_id"]
    with pytest.raises(IndexError):
        pairs[20]


def test_a_dataset_is_iterated_once_through(folder: Path) -> None:
    assert [item["pair_id"] for item in PairDataset(str(folder))] == [
        row(i)["pair_id"] for i in range(20)
    ]


CHOICES: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "novel": lambda one: one["novelty"] == "new",
    "later": lambda one: one["pair_id"] >= "pair-0000011",
    "none": lambda one: False,
    "all": lambda one: "image" not in one,
}


@pytest.mark.parametrize("choice", CHOICES)
def test_where_keeps_the_rows_it_is_true_of(folder: Path, choice: str) -> None:
    pairs = PairDataset(folder, where=CHOICES[choice])
    rest = [{key: value for key, value in row(i).items() if key != "image"} for i in range(20)]
    wanted = [one["pair_id"] for one in rest if CHOICES[choice](one)]
    assert len(pairs) == len(wanted)
    assert [item["pair_id"] for item in pairs] == wanted
    for item in pairs:
        assert torch.allclose(item["image"], picture(int(item["pair_id"][5:])).float() / 127.5 - 1)


def test_a_data_loader_shuffles_and_batches(folder: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    loader = DataLoader(
        PairDataset(folder), batch_size=8, shuffle=True, collate_fn=collate, generator=rng
    )
    seen = []
    for batch in loader:
        assert batch["image"].shape[1:] == (3, 32, 32)
        assert len(batch["image"]) == len(batch["caption"]) == len(batch["lambda"])
        for picture_, pair_id in zip(batch["image"], batch["pair_id"], strict=True):
            assert torch.allclose(picture_, picture(int(pair_id[5:])).float() / 127.5 - 1)
        seen += batch["pair_id"]
    assert seen != sorted(seen)
    assert sorted(seen) == [row(i)["pair_id"] for i in range(20)]


def test_one_group_is_in_memory_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[tuple[Path, int]] = []
    read = dataset._read_group

    def counted(path: Path, group: int) -> list[dict[str, Any]]:
        reads.append((path, group))
        return read(path, group)

    monkeypatch.setattr(dataset, "_read_group", counted)
    pairs = PairDataset(folder)
    for _ in pairs:
        pass
    assert reads == pairs.groups
    reads.clear()
    for i in (0, 1, 19, 0):
        assert pairs[i]["pair_id"] == f"pair-{i:07}"
    assert reads == [pairs.groups[0], pairs.groups[-1], pairs.groups[0]]


def test_a_dataset_that_was_made_anew_is_read_anew(folder: Path) -> None:
    assert PairDataset(folder)[0]["pair_id"] == "pair-0000000"
    with artifacts.new_folder(folder) as again:
        write_pairs(again, (row(i) for i in range(5, 25)), FACTS)
    assert PairDataset(folder)[0]["pair_id"] == "pair-0000005"


def test_damage_is_noticed_on_reading(folder: Path) -> None:
    path = artifacts.shards(folder, "train")[0]
    data = bytearray(path.read_bytes())
    place = data.index(encode(to_picture(picture(1)))) + 500
    data[place] ^= 1
    path.write_bytes(data)
    pairs = PairDataset(folder)
    with pytest.raises((OSError, InputError), match=r"checksum|CRC|damaged"):
        pairs[1]


def test_no_dataset_says_which_stage_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is missing; run: dvc repro synthesize"):
        PairDataset(tmp_path / "synthetic")


# ---------------------------------------------------------------- card and manifest


def test_the_card_holds_the_numbers(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nconfigs:\n")
    assert "path: train-*.parquet" in card
    for told in (
        "20 synthetic pairs",
        "1,234",
        "0123456789abcdef",
        "seed 1712",
        "0.0432",
        "1%",
        "32 x 32",
    ):
        assert told in card
    for strategy in STRATEGIES:
        assert f"| {strategy} | 5 |" in card
    for kind in KINDS:
        assert f"| {kind} | 4 |" in card
    assert "| copy | 2 |\n| less consistent | 1 |" in card
    assert "its number goes to no other: 1." in card
    for column in PAIRS.names:
        assert column in card
    assert "{" not in card


def rewrite_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Another manifest, with the digest of what it tells now."""
    told = json.loads((folder / "manifest.json").read_text())
    told.pop("digest")
    change(told)
    told["digest"] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(told))


def test_the_manifest_tells_the_facts_and_every_shard(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest["pairs"] == 20
    assert {key: manifest[key] for key in FACTS} == FACTS
    assert manifest["refused"] == {"copy": 2, "less consistent": 1}
    assert manifest["left_out"] == 1
    found = artifacts.shards(folder, "train")
    others = [*artifacts.shards(folder / "refused", "refused"), folder / "README.md"]
    assert manifest["sha256"] == {
        str(path.relative_to(folder)): artifacts.file_digest(path) for path in (*found, *others)
    }
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["README.md", "manifest.json", "refused", *(path.name for path in found)]
    )


def test_refused_candidates_are_not_among_the_pairs(folder: Path) -> None:
    """Neither the glob of the README nor the card's names a file of theirs."""
    shown = artifacts.read_shards(folder / "refused", "refused").to_pylist()
    assert [one["caption"] for one in shown] == [row(i)["caption"] for i in range(3)]
    assert {one["why"] for one in shown} == {"copy of a"}
    assert len(PairDataset(folder)) == 20
    assert not [path for path in folder.glob("*.parquet") if "refused" in path.name]


def test_a_changed_file_of_refusals_is_found(folder: Path) -> None:
    path = artifacts.shards(folder / "refused", "refused")[0]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=rf"{path.name} is not the file .*dvc repro --force"):
        read_manifest(folder)


def test_a_changed_shard_is_not_the_one_of_the_manifest(folder: Path) -> None:
    path = artifacts.shards(folder, "train")[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"{path.name} is not the file .*dvc repro --force"):
        read_manifest(folder)


def test_swapped_shards_are_found(folder: Path) -> None:
    one, other = artifacts.shards(folder, "train")[:2]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    with pytest.raises(InputError, match=rf"{one.name} is not the file"):
        read_manifest(folder)


def test_a_manifest_of_another_dataset_is_found(folder: Path) -> None:
    rewrite_manifest(folder, lambda told: told["sha256"].clear())
    with pytest.raises(InputError, match=r"README.md, .* not of this data set, .*; move it away"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "content",
    [
        *(None, b"", b"{", b"\xff\xfe", b"null", b"3", b"[]", b'"sha256"', b"{}"),
        *(b'{"sha256": null}', b'{"sha256": []}'),
    ],
)
def test_a_missing_or_garbled_manifest_is_refused_and_named(
    folder: Path, content: bytes | None
) -> None:
    path = folder / "manifest.json"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_manifest(folder)
    message = raised.value.message
    assert message.startswith(f"{path} is missing or damaged (")
    assert "; remake it: dvc repro --force --single-item" in message
    assert "\n" not in message


def test_missing_shards_are_named(folder: Path) -> None:
    lost = artifacts.shards(folder, "train")[-1]
    lost.unlink()
    with pytest.raises(InputError, match=lost.name):
        read_manifest(folder)


def test_equal_rows_give_equal_folders(tmp_path: Path, small_groups: None) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_pairs(tmp_path / name, (row(i) for i in range(10)), FACTS, refusals())
    for path in sorted((tmp_path / "a").rglob("*.*")):
        again = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == again.read_bytes()


def test_a_dataset_of_no_pairs_is_a_dataset(tmp_path: Path) -> None:
    write_pairs(tmp_path, iter(()), FACTS)
    assert read_manifest(tmp_path)["pairs"] == 0
    assert len(PairDataset(tmp_path)) == 0
    assert list(PairDataset(tmp_path)) == []


def test_a_shard_that_is_gone_is_missed_by_the_manifest(tmp_path: Path) -> None:
    """Where its fellows were renamed, so that their names tell nothing, the manifest still does."""
    write_pairs(tmp_path, [row(i) for i in range(4)], FACTS)
    gone = "train-00001-of-00001.parquet"
    rewrite_manifest(tmp_path, lambda told: told["sha256"].update({gone: "0"}))
    with pytest.raises(InputError, match=rf"{gone} of .* is missing; remake it"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["README.md", "refused/refused-00000-of-00001.parquet"])
@pytest.mark.parametrize("harm", ["flipped", "gone"])
def test_every_file_is_covered_by_the_manifest(folder: Path, name: str, harm: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if harm == "flipped":
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path.name} (is not the file|of .* is missing)"):
        read_manifest(folder)


@pytest.mark.parametrize("name", ["train-x.parquet", "refused/notes.txt", "deep/er"])
def test_foreign_files_are_named(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    with pytest.raises(InputError, match=rf": {name} is not of this data set"):
        read_manifest(folder)


def test_a_changed_figure_of_the_manifest_is_found(folder: Path) -> None:
    path = folder / "manifest.json"
    whole = path.read_text()
    for told in ('"pairs": 20', '"seed": 1712', '"left_out": 1', '"copy": 2'):
        assert told in whole
        path.write_text(whole.replace(told, told[:-1] + "9"))
        with pytest.raises(InputError, match="damaged: its digest does not match; remake it"):
            read_manifest(folder)


def test_pairs_made_from_something_else_are_refused(folder: Path) -> None:
    assert read_manifest(folder, **FACTS["made_from"])
    with pytest.raises(InputError, match="was made from another pictures; remake it"):
        read_manifest(folder, pictures="another")
    with pytest.raises(InputError, match="was made from another gan; remake it"):
        read_manifest(folder, gan="one that is not told of")
