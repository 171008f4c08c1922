"""A row of a real run comes out the same from the files that the manifest names, or it is said."""

import copy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pairsynth.cli import app
from pairsynth.dataset import INPUTS, read_rows, read_told
from pairsynth.errors import InputError
from pairsynth.image_files import encode
from pairsynth.images import to_image
from pairsynth.replay import Replayer, compare, some
from pairsynth.whole_files import new_folder
from stages import synthesize
from tests.rows import write_pairs
from tests.workspace import ROOT, facts_of, run, smoke_params

FILES = ("pictures", "embeddings", "encoder.pt", "gan.pt", "captioner.pt", "gmm.npz")


@pytest.fixture(scope="module")
def data(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose 70 pairs the stage made."""
    folder = tmp_path_factory.mktemp("replay")
    shutil.copytree(whole, folder / "data", ignore=shutil.ignore_patterns("synthetic"))
    params = smoke_params(folder)
    yaml = YAML()
    tree = yaml.load(params)
    tree["synthesize"] |= {"pairs": 70, "candidates": 2}
    yaml.dump(tree, params)
    inputs = [folder / "data" / name for name in FILES]
    synthetic, metrics = folder / "data/synthetic", folder / "metrics.json"
    synthesize.main(*inputs, synthetic, metrics, params=params, device="cpu")  # type: ignore[misc,call-arg,arg-type]
    torch.use_deterministic_algorithms(False)
    return folder / "data"


@pytest.fixture(scope="module")
def replayer(data: Path) -> Replayer:
    found = Replayer(data / "synthetic", "cpu")
    torch.use_deterministic_algorithms(False)
    return found


@pytest.fixture
def own(data: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(data, tmp_path / "data")
    return tmp_path / "data"


def change(data: Path, how: Callable[[list[dict[str, Any]]], object]) -> None:
    """Other rows, in a data set that tells it was made from the same."""
    synthetic = data / "synthetic"
    rows, facts = read_rows(synthetic).to_pylist(), facts_of(synthetic)
    how(rows)
    with new_folder(synthetic) as again:
        write_pairs(again, rows, 70, facts)


def test_the_manifest_names_all_that_made_the_rows(data: Path) -> None:
    told = read_told(data / "synthetic")
    assert told["inputs"] == dict(zip(INPUTS, FILES, strict=True))
    assert set(told["made_from"]) == {*INPUTS, "held_out"}
    assert told["parameters"]["pairs"] == 70
    assert "stages/synthesize.py" in told["code"]
    assert {"versions", "device", "precision", "seed"} <= set(told)


def test_rows_come_out_the_same(data: Path, replayer: Replayer) -> None:
    """Of every strategy, of every block, of the first and the last of one."""
    stored = {row["pair_id"]: row for row in read_rows(data / "synthetic").to_pylist()}
    numbers = (0, 1, 2, 31, 49, 50, 63, 64, 69)
    ids = [pair for number in numbers if (pair := f"pair-{number:07}") in stored]
    assert len({stored[pair]["strategy"] for pair in ids}) >= 3
    found = list(replayer.replays(ids))
    assert [one.pair for one in found] == ids
    assert {tuple(one.odd) for one in found} == {()}
    assert replayer.differences == []
    assert str(found[0]) == (
        "pair-0000000: image and caption are the same bytes, and so is all of the row"
    )


def test_a_row_that_is_another_is_told(own: Path) -> None:
    def alter(rows: list[dict[str, Any]]) -> None:
        rows[0]["caption"] += " indeed"
        grey = torch.full((3, 32, 32), 128, dtype=torch.uint8)
        rows[1]["image"]["bytes"] = encode(to_image(grey))
        rows[2]["consistency"] = np.nextafter(np.float32(rows[2]["consistency"]), np.float32(2))
        rows[2]["component"] = -1

    change(own, alter)
    ids = [row["pair_id"] for row in read_rows(own / "synthetic").to_pylist()[:4]]
    told = CliRunner().invoke(app, ["replay", *ids, "--data", str(own), "--device", "cpu"])
    assert told.exit_code == 2
    lines = told.stdout.splitlines()
    assert "NOT the same: the caption is '" in lines[0]
    assert "indeed'" in lines[0]
    assert "NOT the same: the image differs, by " in lines[1]
    assert lines[2].endswith("NOT the same: other values of component, consistency")
    assert lines[3].endswith("the same bytes, and so is all of the row")
    assert "3 of 4 pairs came out another (nothing that the manifest names is an" in told.stderr


def test_rows_are_made_again_where_only_what_the_manifest_names_is(
    data: Path, tmp_path: Path
) -> None:
    """As in a fresh clone that pulled nothing else, by commands of their own."""
    clone = tmp_path / "clone/data"
    clone.mkdir(parents=True)
    for name in ("synthetic", *read_told(data / "synthetic")["inputs"].values()):
        copied = shutil.copytree if (data / name).is_dir() else shutil.copy
        copied(data / name, clone / name)
    ids = some(clone / "synthetic", 20, np.random.default_rng(3))
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pairsynth.cli import app; app()"
    for words in (["replay", *ids], ["verify", "--replay", "20"]):
        told = run(clone.parent, sys.executable, "-c", code, *words, "--device", "cpu")
        assert told.stdout.count("are the same bytes, and so is all of the row") == 20
        assert "notice" not in told.stderr


def test_verify_makes_some_rows_again(own: Path) -> None:
    words = ["verify", "--data", str(own), "--replay", "2", "--device", "cpu"]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.stderr
    assert sum("and so is all of the row" in line for line in told.stdout.splitlines()) == 2
    manifest = own / "synthetic/manifest.json"
    manifest.write_text(manifest.read_text().replace("pairsynth/gan.py", "pairsynth/gone.py"))
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2
    assert "manifest.json is damaged: its digest does not match" in refused.stderr


def test_other_code_is_named(own: Path) -> None:
    facts = facts_of(own / "synthetic")
    facts["code"]["pairsynth/gan.py"] = "0"
    rows = read_rows(own / "synthetic").to_pylist()
    with new_folder(own / "synthetic") as again:
        write_pairs(again, rows, 70, facts)
    words = ["replay", rows[0]["pair_id"], "--data", str(own), "--device", "cpu"]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0
    assert "notice: other code of pairsynth/gan.py than when the pairs were made" in told.stderr


def test_some_are_chosen_anew_each_time(data: Path) -> None:
    folder = data / "synthetic"
    ids = read_rows(folder)["pair_id"].to_pylist()
    first, second = (some(folder, 5, np.random.default_rng(seed)) for seed in (1, 2))
    assert len(first) == 5
    assert first != second
    assert set(first) < set(ids)
    assert some(folder, 1000, np.random.default_rng(0)) == ids


def test_a_pair_that_is_not_there_is_named(replayer: Replayer) -> None:
    with pytest.raises(InputError, match=r"has no pair-0000070: .* \(the last is pair-0000069\)"):
        list(replayer.replays(["pair-70"]))
    with pytest.raises(InputError, match=r"'70' is the name of no pair"):
        list(replayer.replays(["70"]))


def test_what_was_not_made_by_the_stage_is_refused(whole: Path) -> None:
    with pytest.raises(InputError, match=r"its manifest does not tell what .*'inputs'.*remake it"):
        Replayer(whole / "synthetic", "cpu")


@pytest.mark.usefixtures("repeatable")
def test_other_inputs_are_refused(own: Path) -> None:
    facts = facts_of(own / "synthetic")
    facts["made_from"]["mixtures"] = "0"
    with new_folder(own / "synthetic") as again:
        write_pairs(again, read_rows(own / "synthetic").to_pylist(), 70, facts)
    with pytest.raises(InputError, match=r"was made from another mixtures than .*gmm.npz; dvc che"):
        Replayer(own / "synthetic", "cpu")
    (own / "gmm.npz").unlink()
    with pytest.raises(InputError, match=r"gmm.npz is missing; run: dvc repro fit_gmm"):
        Replayer(own / "synthetic", "cpu")


def test_rows_are_compared_whole(data: Path) -> None:
    stored = read_rows(data / "synthetic").slice(0, 1).to_pylist()[0]
    assert compare(stored, copy.deepcopy(stored)) == []
    assert compare(stored, None) == ["now no candidate of it is kept"]
    small = to_image(torch.zeros(3, 8, 8, dtype=torch.uint8))
    other = {**stored, "image": {**stored["image"], "bytes": encode(small)}, "strategy": "none"}
    assert compare(stored, other) == [
        "the image differs, another size",
        "other values of strategy",
    ]
    path = {**stored, "image": {**stored["image"], "path": "x.png"}}
    assert compare(stored, path) == ["the image differs, by 0 of 255 at most"]
