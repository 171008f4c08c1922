"""The dataset that comes out is read by everybody's tools, and says what is in it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairsynth import artifacts, card, dataset, whole_files
from pairsynth.dataset import PAIRS, REFUSED, read_manifest
from pairsynth.errors import InputError
from pairsynth.image_files import decode
from pairsynth.pairs import PairDataset
from tests.rows import FACTS, KINDS, STRATEGIES, image, refusals, row, write_pairs

# ---------------------------------------------------------------- everybody's tools


def test_hugging_face_datasets_sees_images(
    pairs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()

    def load(*name: str) -> Any:
        where = str(tmp_path / "cache")
        return datasets.load_dataset(str(pairs_folder), *name, cache_dir=where, split="train")

    loaded = load()
    assert len(loaded) == loaded.info.splits["train"].num_examples == 20
    assert list(loaded.features) == PAIRS.names
    assert isinstance(loaded.features["image"], datasets.Image)
    for i in (0, 7, 19):
        item = loaded[i]
        assert np.array_equal(np.asarray(item["image"]), image(i).permute(1, 2, 0).numpy())
        assert item["caption"] == row(i)["caption"]
        assert item["source_ids"] == row(i)["source_ids"]
        assert item["blend_weight"] == row(i)["blend_weight"]
        assert item["class_id"] == row(i)["class_id"]
    assert load("refused")["why"] == ["copy of a"] * 3


def by_pandas(data: Path) -> list[dict[str, Any]]:
    import pandas as pd

    return [
        {str(k): v for k, v in one.items()}
        for one in pd.read_parquet(data)[COLUMNS].to_dict("records")
    ]


def by_pyarrow(data: Path) -> list[dict[str, Any]]:
    import pyarrow.dataset as ds

    found: list[dict[str, Any]] = ds.dataset(data).to_table(COLUMNS).to_pylist()
    return found


def by_duckdb(data: Path) -> list[dict[str, Any]]:
    import duckdb

    with duckdb.connect() as connection:
        words = f"select {', '.join(COLUMNS)} from '{data}/*.parquet'"
        found = connection.execute(words).fetchall()
    return [dict(zip(COLUMNS, one, strict=True)) for one in found]


def by_polars(data: Path) -> list[dict[str, Any]]:
    import polars as pl

    return pl.read_parquet(data).select(COLUMNS).to_dicts()


COLUMNS = ["pair_id", "image", "caption", "blend_weight"]
READERS = [by_pandas, by_pyarrow, by_duckdb, by_polars]


@pytest.mark.parametrize("read", READERS)
def test_other_tools_read_the_folder(
    pairs_folder: Path, read: Callable[[Path], list[dict[str, Any]]]
) -> None:
    """The folder as it is. Refused candidates are not there."""
    found = sorted(read(pairs_folder / "data"), key=lambda one: one["pair_id"])
    assert [one["pair_id"] for one in found] == [row(i)["pair_id"] for i in range(20)]
    assert [one["caption"] for one in found] == [row(i)["caption"] for i in range(20)]
    assert [one["blend_weight"] == 0.25 for one in found] == [i % 2 == 0 for i in range(20)]
    for i in (0, 19):
        pixels = np.asarray(decode(bytes(found[i]["image"]["bytes"])))
        assert np.array_equal(pixels, image(i).permute(1, 2, 0).numpy())


Captions = Callable[[Path], list[str]]


def hugging_face(cache: Path) -> Captions:
    import datasets

    datasets.disable_progress_bars()

    def read(folder: Path) -> list[str]:
        told = datasets.load_dataset(str(folder), cache_dir=str(cache), split="train")
        return list(told["caption"])

    return read


def open_duckdb(cache: Path) -> Captions:
    """One connection for both looks, with what it keeps of files."""
    import duckdb

    connection = duckdb.connect()

    def read(folder: Path) -> list[str]:
        words = f"select caption from '{folder}/data/*.parquet' order by pair_id"
        return [one for (one,) in connection.execute(words).fetchall()]

    return read


def captions_by(read: Callable[[Path], list[dict[str, Any]]]) -> Callable[[Path], Captions]:
    return lambda cache: lambda folder: [one["caption"] for one in read(folder / "data")]


SIX: dict[str, Callable[[Path], Captions]] = {
    "pandas": captions_by(by_pandas),
    "pyarrow": captions_by(by_pyarrow),
    "polars": captions_by(by_polars),
    "DuckDB": open_duckdb,
    "datasets": hugging_face,
    "PairDataset": lambda cache: lambda folder: [one["caption"] for one in PairDataset(folder)],
}


@pytest.mark.parametrize("count", [20, 35], ids=["as many, as large", "more"])
@pytest.mark.parametrize("reader", SIX)
def test_what_a_second_run_made_is_seen(
    pairs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, count: int
) -> None:
    """Caches go by path, size, time or, the one of `datasets`, by the card: none is taken in."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    read = SIX[reader](tmp_path / "cache")
    before = read(pairs_folder)
    with whole_files.new_folder(pairs_folder) as again:
        changed = ({**row(i), "caption": f"{row(i)['caption'][:-1]}?"} for i in range(count))
        write_pairs(again, changed, count, FACTS, refusals())
    assert before == [row(i)["caption"] for i in range(20)]
    assert read(pairs_folder) == [f"{row(i)['caption'][:-1]}?" for i in range(count)]


@pytest.mark.parametrize("read", READERS)
def test_other_tools_read_a_folder_without_rows(
    pairs_folder: Path, read: Callable[[Path], list[dict[str, Any]]]
) -> None:
    with whole_files.new_folder(pairs_folder) as again:
        write_pairs(again, (), 0, FACTS)
    assert read(pairs_folder / "data") == []


def test_a_set_of_refusals_without_any_is_readable(tmp_path: Path) -> None:
    import duckdb
    import pandas as pd
    import polars as pl

    write_pairs(tmp_path, [row(0)], 1, FACTS)
    assert list(pd.read_parquet(tmp_path / "refused")) == REFUSED.names
    assert pl.read_parquet(tmp_path / "refused").columns == REFUSED.names
    with duckdb.connect() as connection:
        words = f"select count(reason) from '{tmp_path}/refused/*.parquet'"
        assert connection.execute(words).fetchall() == [(0,)]
    assert dataset.read_refused(tmp_path).num_rows == 0


def test_every_column_has_a_name_that_sql_takes_unquoted(pairs_folder: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        names = ", ".join(PAIRS.names)
        words = f"select {names} from '{pairs_folder}/data/*.parquet' order by pair_id"
        assert len(connection.execute(words).fetchall()) == 20


def test_the_schema_is_the_one_that_is_stated(pairs_folder: Path) -> None:
    table = dataset.read_rows(pairs_folder)
    assert table.schema.equals(PAIRS)
    assert table["novelty"].to_pylist() == [row(i)["novelty"] for i in range(20)]


@pytest.mark.parametrize("rows", [[], [0], [19, 0, 7, 8, 7], list(range(20)), [3, 11]])
def test_some_rows_are_those_of_all_in_their_order(pairs_folder: Path, rows: list[int]) -> None:
    """Of shards of 8, 8 and 4."""
    assert dataset.count_rows(pairs_folder) == [8, 8, 4]
    found = dataset.read_some(pairs_folder, rows, ["caption", "image"])
    assert found.column_names == ["caption", "image"]
    assert found["caption"].to_pylist() == [row(i)["caption"] for i in rows]
    assert found["image"].to_pylist() == [row(i)["image"] for i in rows]


# ---------------------------------------------------------------- card and manifest


def test_the_card_holds_the_numbers(pairs_folder: Path) -> None:
    text = (pairs_folder / "README.md").read_text(encoding="utf-8")
    for told in (
        "20 synthetic pairs",
        "1,234",
        "0123456789abcdef",
        "seed 1712",
        "0.0432",
        "1%",
        "32 x 32",
    ):
        assert told in text
    for strategy in STRATEGIES:
        assert f"| {strategy} | 5 |" in text
    for kind in KINDS:
        assert f"| {kind} | 4 |" in text
    assert "| copy | 2 |\n| less consistent | 1 |" in text
    assert "its number goes to no other:\n1." in text
    for column in PAIRS.names:
        assert column in text
    assert "{" not in text


def test_the_card_says_what_the_hub_asks(pairs_folder: Path) -> None:
    """As its own library reads it, against what the files hold."""
    from huggingface_hub import DatasetCard

    told = DatasetCard.load(pairs_folder / "README.md").data.to_dict()
    assert told["license"] == "other"
    assert told["size_categories"] == ["n<1K"]
    assert "language" not in told  # "flower number 3" is of no language that a program can tell
    assert {"synthetic", "pairsynth"} <= set(told["tags"])
    assert told["task_categories"] == ["text-to-image", "image-to-text"]
    (pairs, refused), infos = told["configs"], told["dataset_info"]
    assert (pairs["config_name"], refused["config_name"]) == ("default", "refused")
    assert pairs["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    assert refused["data_files"] == [{"split": "train", "path": "refused/refused-*.parquet"}]
    assert [one["splits"][0]["num_examples"] for one in infos] == [20, 3]
    size = sum(path.stat().st_size for path in dataset.pair_shards(pairs_folder))
    images = sum(len(row(i)["image"]["bytes"]) for i in range(20))
    assert infos[0]["download_size"] == size
    assert infos[0]["dataset_size"] == infos[0]["splits"][0]["num_bytes"] > images


def test_no_refused_pairs_are_announced_where_there_are_none(tmp_path: Path) -> None:
    write_pairs(tmp_path, [row(0)], 1, FACTS)
    assert "refused/" not in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("captions", "language"),
    [
        (["This flower is red, with a yellow centre", "it has the widest petals", "red"], "en"),
        (["eine rote Blume", "die Blüte hat fünf Blätter", "the rose"], ""),
        ([], ""),
    ],
)
def test_english_is_told_by_its_words(captions: list[str], language: str) -> None:
    assert card.language_of(captions) == language


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        *((0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K")),
        *((2_000_000, "1M<n<10M"), (10**9, "100M<n<1B")),
    ],
)
def test_size_categories_are_those_of_the_hub(rows: int, word: str) -> None:
    assert card.size_category(rows) == word


# ---------------------------------------------------------------- names and older sets


@pytest.mark.parametrize("name", ["", "pair-", "pair-x", "pair--1", "7", "pair-٣"])
def test_a_name_of_no_pair_is_refused(name: str) -> None:
    assert dataset.number_of("pair-0000123") == 123
    with pytest.raises(InputError, match=r"is the name of no pair; they are called like pair-"):
        dataset.number_of(name)


def test_a_data_set_of_an_older_pairsynth_is_named(tmp_path: Path) -> None:
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "synthetic/train-00000-of-00001.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"of an older pairsynth.*called lambda; remake it: dvc"):
        read_manifest(tmp_path / "synthetic")


@pytest.mark.parametrize("name", [".DS_Store", "data/x.parquet", "refused/notes.txt", "more/a"])
def test_what_does_not_belong_is_named(pairs_folder: Path, name: str) -> None:
    (pairs_folder / name).parent.mkdir(exist_ok=True)
    (pairs_folder / name).write_bytes(b"")
    with pytest.raises(InputError, match=rf"{name} is not of this data set, .*; move it away"):
        read_manifest(pairs_folder)


def test_links_that_lead_nowhere_and_empty_folders_do_not_belong(pairs_folder: Path) -> None:
    (pairs_folder / "empty").mkdir()
    (pairs_folder / "link").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"empty, link is not of this data set"):
        read_manifest(pairs_folder)


def rewrite_manifest(pairs_folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Another manifest, with the digest of what it tells now."""
    told = json.loads((pairs_folder / "manifest.json").read_text())
    told.pop("digest")
    change(told)
    told["digest"] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    whole_files.write_json(pairs_folder / "manifest.json", told)


def test_the_manifest_tells_the_facts_and_every_shard(pairs_folder: Path) -> None:
    manifest = read_manifest(pairs_folder)
    assert manifest["pairs"] == 20
    assert {key: manifest[key] for key in FACTS} == FACTS
    assert manifest["refused"] == {"copy": 2, "less consistent": 1}
    assert manifest["left_out"] == 1
    found = dataset.pair_shards(pairs_folder)
    found += [pairs_folder / "refused/refused-00000-of-00001.parquet", pairs_folder / "README.md"]
    assert manifest["sha256"] == {
        str(path.relative_to(pairs_folder)): artifacts.file_digest(path) for path in found
    }
    assert sorted(path.name for path in pairs_folder.iterdir()) == [
        *("README.md", "data", "manifest.json", "refused"),
    ]


def test_refused_candidates_are_not_among_the_pairs(pairs_folder: Path) -> None:
    """Neither the glob of the README nor the card's names a file of theirs."""
    shown = dataset.read_refused(pairs_folder).to_pylist()
    assert [one["caption"] for one in shown] == [row(i)["caption"] for i in range(3)]
    assert {one["why"] for one in shown} == {"copy of a"}
    assert not list((pairs_folder / "data").glob("refused*"))


def test_a_changed_file_of_refusals_is_found(pairs_folder: Path) -> None:
    path = artifacts.shards(pairs_folder / "refused", "refused")[0]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=rf"{path.name} is not the file .*dvc repro --force"):
        read_manifest(pairs_folder)


def test_a_changed_shard_is_not_the_one_of_the_manifest(pairs_folder: Path) -> None:
    path = dataset.pair_shards(pairs_folder)[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"{path.name} is not the file .*dvc repro --force"):
        read_manifest(pairs_folder)


def test_swapped_shards_are_found(pairs_folder: Path) -> None:
    one, other = dataset.pair_shards(pairs_folder)[:2]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    with pytest.raises(InputError, match=rf"{one.name} is not the file"):
        read_manifest(pairs_folder)


def test_a_manifest_of_another_dataset_is_found(pairs_folder: Path) -> None:
    rewrite_manifest(pairs_folder, lambda told: told["sha256"].clear())
    with pytest.raises(InputError, match=r"README.md, .* not of this data set, .*; move it away"):
        read_manifest(pairs_folder)


@pytest.mark.parametrize(
    "content",
    [
        *(None, b"", b"{", b"\xff\xfe", b"null", b"3", b"[]", b'"sha256"', b"{}"),
        *(b'{"sha256": null}', b'{"sha256": []}'),
    ],
)
def test_a_missing_or_garbled_manifest_is_refused_and_named(
    pairs_folder: Path, content: bytes | None
) -> None:
    path = pairs_folder / "manifest.json"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_manifest(pairs_folder)
    message = raised.value.message
    assert message.startswith(f"{path} is missing or damaged (")
    assert "; remake it: dvc repro --force --single-item" in message
    assert "\n" not in message


def test_missing_shards_are_named(pairs_folder: Path) -> None:
    lost = dataset.pair_shards(pairs_folder)[-1]
    lost.unlink()
    with pytest.raises(InputError, match=lost.name):
        read_manifest(pairs_folder)


def test_equal_rows_give_equal_folders(tmp_path: Path, small_groups: None) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_pairs(tmp_path / name, (row(i) for i in range(10)), 10, FACTS, refusals())
    for path in sorted((tmp_path / "a").rglob("*.*")):
        again = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == again.read_bytes()


def test_a_dataset_of_no_pairs_is_a_dataset(tmp_path: Path) -> None:
    write_pairs(tmp_path, iter(()), 0, FACTS)
    assert read_manifest(tmp_path)["pairs"] == 0
    assert len(PairDataset(tmp_path)) == 0
    assert list(PairDataset(tmp_path)) == []
    with pytest.raises(InputError, match=r"where= is true of none of its 0 pairs"):
        PairDataset(tmp_path, where=lambda one: True)


def test_a_shard_that_is_gone_is_missed_by_the_manifest(tmp_path: Path) -> None:
    """Where its fellows were renamed, so that their names tell nothing, the manifest still does."""
    write_pairs(tmp_path, [row(i) for i in range(4)], 4, FACTS)
    gone = "data/train-00001-of-00001.parquet"
    rewrite_manifest(tmp_path, lambda told: told["sha256"].update({gone: "0"}))
    with pytest.raises(InputError, match=rf"{gone} of .* is missing; remake it"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["README.md", "refused/refused-00000-of-00001.parquet"])
@pytest.mark.parametrize("harm", ["flipped", "gone"])
def test_every_file_is_covered_by_the_manifest(pairs_folder: Path, name: str, harm: str) -> None:
    path = pairs_folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if harm == "flipped":
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path.name} (is not the file|of .* is missing)"):
        read_manifest(pairs_folder)


@pytest.mark.parametrize("name", ["train-x.parquet", "refused/notes.txt", "deep/er"])
def test_foreign_files_are_named(pairs_folder: Path, name: str) -> None:
    (pairs_folder / name).parent.mkdir(exist_ok=True)
    (pairs_folder / name).write_text("x")
    with pytest.raises(InputError, match=rf": {name} is not of this data set"):
        read_manifest(pairs_folder)


def test_a_changed_figure_of_the_manifest_is_found(pairs_folder: Path) -> None:
    path = pairs_folder / "manifest.json"
    whole = path.read_text()
    for told in ('"pairs": 20', '"seed": 1712', '"left_out": 1', '"copy": 2'):
        assert told in whole
        path.write_text(whole.replace(told, told[:-1] + "9"))
        with pytest.raises(InputError, match="damaged: its digest does not match; remake it"):
            read_manifest(pairs_folder)


def test_pairs_made_from_something_else_are_refused(pairs_folder: Path) -> None:
    assert read_manifest(pairs_folder, **FACTS["made_from"])
    with pytest.raises(InputError, match="was made from another pictures; remake it"):
        read_manifest(pairs_folder, pictures="another")
    with pytest.raises(InputError, match="was made from another gan; remake it"):
        read_manifest(pairs_folder, gan="one that is not told of")


@pytest.mark.parametrize("name", ["README.md", "manifest.json", "data", "refused"])
def test_a_bit_that_is_flipped_anywhere_is_found(pairs_folder: Path, name: str) -> None:
    path = pairs_folder / name
    path = next(path.iterdir()) if path.is_dir() else path
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(len(whole), size=60):
        data = bytearray(whole)
        data[place] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"damaged|is not the file|is missing|older pairsynth"):
            read_manifest(pairs_folder)
    path.write_bytes(whole)
    read_manifest(pairs_folder)
