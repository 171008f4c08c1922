"""What is exported is read by the tools it is for, and by our own source: the same pairs."""

import gc
import io
import itertools
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pairsynth import dataset
from pairsynth import export as exporting
from pairsynth.cli import app
from pairsynth.dataset import PAIRS
from pairsynth.errors import InputError
from pairsynth.export import EXPORTS, export
from pairsynth.images import to_tensor
from pairsynth.sources.contract import SourceLog
from pairsynth.sources.folder import folder as folder_source
from tests.options import DOWNLOAD
from tests.rows import FACTS, image, row, write_pairs


def same(told: Mapping[str, Any], i: int) -> bool:
    """Whether all but the image is as in row `i`."""
    wanted = {key: value for key, value in row(i).items() if key != "image"}
    return all(
        told[key] == (pytest.approx(value) if isinstance(value, float) else value)
        for key, value in wanted.items()
    )


def is_image(found: Any, i: int) -> bool:
    return bool(torch.equal(to_tensor(found), image(i)))


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset's own
def test_webdataset_reads_the_tars(pairs_folder: Path, tmp_path: Path) -> None:
    import webdataset

    assert export(pairs_folder, "webdataset", tmp_path / "out") == 20
    tars = sorted(str(path) for path in (tmp_path / "out").iterdir())
    assert [Path(tar).name for tar in tars] == [f"train-00000{i}.tar" for i in range(3)]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil"))
    gc.collect()
    assert [one["__key__"] for one in samples] == [row(i)["pair_id"] for i in range(20)]
    for i, one in enumerate(samples):
        assert one["txt"] == row(i)["caption"]
        assert is_image(one["png"], i)
        assert same(one["json"], i)


def test_shards_without_pairs_are_no_tars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WebDataset stops at a tar without samples, and counts them without gaps."""
    monkeypatch.setattr(dataset, "PAIRS_PER_SHARD", 2)
    (tmp_path / "synthetic").mkdir()
    write_pairs(tmp_path / "synthetic", [row(0), row(4)], 8, FACTS)
    export(tmp_path / "synthetic", "webdataset", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["train-000000.tar", "train-000001.tar"]


@pytest.mark.parametrize("form", ["folder", "webdataset"])
def test_our_own_source_reads_the_same_pairs(pairs_folder: Path, tmp_path: Path, form: str) -> None:
    """The same captions, classes and pixels, none refused."""
    export(pairs_folder, form, tmp_path / "out")
    config = replace(DOWNLOAD, broken="refuse", folder=str(tmp_path / "out"))
    log = SourceLog()
    found = list(folder_source(config, 1, tmp_path / "cache", log))
    assert log.refused == []
    assert len(found) == 20
    for one in found:
        i = int(one.image_id.rpartition("pair-")[2].partition(".")[0])
        assert one.captions == (row(i)["caption"],)
        assert one.class_name == (row(i)["class_name"] or "")
        assert is_image(one.image, i)
    assert len({one.image_id for one in found}) == 20


def test_a_folder_is_read_by_hugging_face_too(
    pairs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    export(pairs_folder, "folder", tmp_path / "out")
    where = {"data_dir": str(tmp_path / "out"), "cache_dir": str(tmp_path / "cache")}
    loaded = datasets.load_dataset("imagefolder", split="train", **where)
    by_id = {one["pair_id"]: one for one in loaded}
    assert len(by_id) == 20
    for i in range(20):
        one = by_id[row(i)["pair_id"]]
        assert is_image(one["image"], i)
        assert one["caption"] == row(i)["caption"]


# Of mlcroissant's own use of others.
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame")
def test_croissant_is_valid_and_is_read(
    pairs_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import mlcroissant

    export(pairs_folder, "croissant", tmp_path / "out")
    told = mlcroissant.Dataset(tmp_path / "out/croissant.json")
    assert not told.metadata.ctx.issues.errors
    # A date would be another with every run.
    assert [one.partition("Property ")[2] for one in told.metadata.ctx.issues.warnings] == [
        '"https://schema.org/datePublished" is recommended, but does not exist.'
    ]
    assert "not standard" not in caplog.text
    assert [field.id for field in told.metadata.record_sets[0].fields] == [
        f"pairs/{name}" for name in PAIRS.names
    ]
    found = {
        one["pairs/pair_id"].decode(): one for one in itertools.islice(told.records("pairs"), 20)
    }
    assert len(found) == 20
    for i in range(20):
        one = found[row(i)["pair_id"]]
        assert one["pairs/caption"].decode() == row(i)["caption"]
        assert one["pairs/blend_weight"] == row(i)["blend_weight"]
        assert is_image(one["pairs/image"], i)


def test_croissant_names_each_file_by_its_digest(pairs_folder: Path, tmp_path: Path) -> None:
    from pairsynth.artifacts import file_digest

    export(pairs_folder, "croissant", tmp_path / "out")
    told = json.loads((tmp_path / "out/croissant.json").read_text())
    files = {
        one["contentUrl"]: one["sha256"]
        for one in told["distribution"]
        if one["@type"] == "cr:FileObject"
    }
    there = sorted((tmp_path / "out/data").iterdir())
    assert files == {f"data/{path.name}": file_digest(path) for path in there}


@pytest.mark.parametrize("form", EXPORTS)
def test_equal_data_sets_give_equal_exports(pairs_folder: Path, tmp_path: Path, form: str) -> None:
    for name in ("a", "b"):
        export(pairs_folder, form, tmp_path / name)
    files = [path for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert files
    for path in files:
        again = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("form", EXPORTS)
def test_an_export_is_whole_or_nothing(
    pairs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """The disk is full at the last file."""
    written = EXPORTS[form]

    def full(*arguments: Any) -> None:
        written(*arguments)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "EXPORTS", {form: full})
    with pytest.raises(OSError, match="No space left"):
        export(pairs_folder, form, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["synthetic"]


@pytest.mark.parametrize("form", EXPORTS)
def test_few_rows_are_held_at_a_time(
    pairs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Whatever reads a whole shard at once would be found here."""
    monkeypatch.setattr("pairsynth.artifacts.read_shard", lambda *_: pytest.fail("a whole shard"))
    monkeypatch.setattr("pyarrow.parquet.read_table", lambda *_: pytest.fail("a whole file"))
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.read", lambda *_: pytest.fail("a whole file"))
    assert export(pairs_folder, form, tmp_path / "out") == 20


def test_the_command_says_what_it_wrote(pairs_folder: Path, tmp_path: Path) -> None:
    words = ["export", str(tmp_path / "out"), "--to", "folder", "--data", str(tmp_path)]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0
    assert told.stdout == f"{tmp_path / 'out'}: 20 pairs\n"
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "something is there already; give another path, or move it" in again.stderr
    assert CliRunner().invoke(app, [*words[:3], "zip"]).exit_code == 2


def test_a_damaged_data_set_is_not_exported(pairs_folder: Path, tmp_path: Path) -> None:
    path = dataset.pair_shards(pairs_folder)[2]
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(InputError, match=rf"{path.name} is not the file"):
        export(pairs_folder, "folder", tmp_path / "out")
    shutil.rmtree(pairs_folder)
    with pytest.raises(InputError, match=r"is missing; run: dvc repro synthesize"):
        export(pairs_folder, "folder", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_are_the_very_files(pairs_folder: Path, tmp_path: Path) -> None:
    export(pairs_folder, "folder", tmp_path / "out")
    data = (tmp_path / "out/images/pair-0000007.png").read_bytes()
    assert data == row(7)["image"]["bytes"]
    assert np.asarray(Image.open(io.BytesIO(data))).shape == (32, 32, 3)
