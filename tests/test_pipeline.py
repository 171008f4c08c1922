"""The whole pipeline, tiny, through DVC and the real stage commands, in a checkout of its own."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pairsynth import verification
from pairsynth.dataset import read_manifest
from pairsynth.pairs import PairDataset
from stages import train_gan
from tests.workspace import run

ROOT = Path(__file__).parent.parent
STAGES = [
    "download",
    "embed",
    "train_gan",
    "train_captioner",
    "fit_gmm",
    "synthesize",
    "evaluate",
]
# The report measures nothing: it has no metrics of its own.
ALL = [*STAGES, "report"]


def change(folder: Path, section: str, key: str, value: object) -> None:
    yaml = YAML()
    tree = yaml.load(folder / "params.yaml")
    tree[section][key] = value
    yaml.dump(tree, folder / "params.yaml")


def test_every_declared_output_is_there(checkout: Path) -> None:
    tree = YAML(typ="safe").load(checkout / "dvc.yaml")
    for stage in ALL:
        for kind in ("outs", "metrics", "plots"):
            for out in tree["stages"][stage].get(kind, []):
                path = checkout / (next(iter(out)) if isinstance(out, dict) else out)
                assert path.exists(), path
    assert not list(checkout.rglob("*.tmp"))


def test_metrics_are_flat_numbers(checkout: Path) -> None:
    for stage in STAGES:
        values = json.loads((checkout / f"metrics/{stage}.json").read_text())
        assert values
        assert all(isinstance(v, float | int | str | None) for v in values.values())


def test_pairs_can_be_loaded(checkout: Path) -> None:
    manifest = read_manifest(checkout / "data/synthetic")
    pairs = PairDataset(checkout / "data/synthetic")
    assert len(pairs) == manifest["pairs"] == 64 - manifest["left_out"]
    assert tuple(pairs[0]["image"].shape) == (3, 32, 32)
    table = pd.read_parquet(checkout / "data/synthetic/data")
    assert table["caption"].str.len().min() > 0
    assert set(table["strategy"]) == {
        f"{source}_{way}" for source in ("text", "image") for way in ("prototype", "density")
    }


def test_a_second_repro_does_nothing(checkout: Path) -> None:
    done = run(checkout, "dvc", "repro")
    assert "Running stage" not in done.stdout
    assert "up to date" in done.stdout


def test_a_forced_repro_leaves_the_lock_unchanged(checkout: Path) -> None:
    """Same commit, parameters and machine: the same bytes, from training to the last PNG."""
    before = (checkout / "dvc.lock").read_text()
    run(checkout, "dvc", "repro", "--force", "--single-item", "train_gan")
    run(checkout, "dvc", "repro", "--force", "--single-item", "evaluate")
    run(checkout, "dvc", "repro", "--force", "--single-item", "report")
    assert (checkout / "dvc.lock").read_text() == before


@pytest.mark.parametrize(
    ("section", "key", "value", "stale"),
    [
        ("evaluate", "turns", 3, {"evaluate"}),
        ("synthesize", "margin", 0.2, {"synthesize"}),
        ("fit_gmm", "held_out", 0.3, {"fit_gmm"}),
        ("train_captioner", "epochs", 2, {"train_captioner"}),
        ("train_gan", "epochs", 2, {"train_gan"}),
        ("embed", "epochs", 2, {"embed"}),
    ],
)
def test_a_parameter_makes_its_own_stage_stale(
    checkout: Path, section: str, key: str, value: object, stale: set[str]
) -> None:
    """`dvc status` names the stage whose inputs changed; those after it follow their inputs.

    The report names every parameter, so it is drawn anew with each.
    """
    before = (checkout / "params.yaml").read_text()
    try:
        change(checkout, section, key, value)
        status = json.loads(run(checkout, "dvc", "status", "--json").stdout)
        assert set(status) == {*stale, "report"}
    finally:
        (checkout / "params.yaml").write_text(before)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train_gan", "epochs", -1, "train_gan.epochs is -1; allowed is 1 to 10,000"),
        ("train_gan", "epochs", "many", "train_gan.epochs is 'many', of type str"),
        ("train_gan", "epoch", 3, "train_gan.epoch is not a known parameter"),
    ],
)
def test_a_bad_parameter_ends_the_stage_with_one_line(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    section: str,
    key: str,
    value: object,
    message: str,
) -> None:
    before = (checkout / "params.yaml").read_text()
    words = YAML(typ="safe").load(checkout / "dvc.yaml")["stages"]["train_gan"]["cmd"].split()
    monkeypatch.chdir(checkout)
    try:
        change(checkout, section, key, value)
        done = CliRunner().invoke(train_gan.app, words[3:])
    finally:
        (checkout / "params.yaml").write_text(before)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_edit_of_the_template_draws_the_report_and_no_more(checkout: Path) -> None:
    page = checkout / "pairsynth/report/templates/style.css"
    before = page.read_text()
    try:
        page.write_text(before + "\n")
        assert set(json.loads(run(checkout, "dvc", "status", "--json").stdout)) == {"report"}
    finally:
        page.write_text(before)


def test_an_experiment_runs_beside_the_workspace(checkout: Path) -> None:
    run(checkout, "git", "add", "-A")
    run(checkout, "git", "commit", "-qm", "results")
    run(checkout, "dvc", "exp", "run", "--temp", "-n", "more-turns", "-S", "evaluate.turns=3")
    shown = run(checkout, "dvc", "exp", "show", "--csv").stdout
    assert "more-turns" in shown
    assert run(checkout, "dvc", "metrics", "diff", "HEAD", "more-turns").returncode == 0
    assert "evaluate" in run(checkout, "dvc", "dag").stdout
    assert "turns: 2" in (checkout / "params.yaml").read_text()


def test_plots_are_drawn_offline(checkout: Path) -> None:
    run(checkout, "dvc", "plots", "show", "-o", "plots")
    assert (checkout / "plots/index.html").stat().st_size > 10_000


def test_a_change_in_the_folder_of_images_is_noticed(checkout: Path) -> None:
    assert "up to date" in run(checkout, "dvc", "status", "download").stdout
    added = checkout / "data/own/rose.txt"
    added.write_text("a red flower")
    told = run(checkout, "dvc", "status", "download").stdout
    added.unlink()
    assert "data/own" in told
    assert "download" in told
    assert "up to date" in run(checkout, "dvc", "status", "download").stdout


def test_verify_finds_whatever_is_not_what_the_lock_tells_of(
    checkout: Path, tmp_path: Path
) -> None:
    """Metrics, and the ends of Parquet files that no reader looks at."""
    for name in ("data", "metrics", "dvc.lock"):
        source = checkout / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    assert list(verification.recorded(tmp_path / "dvc.lock")) == []
    shard = next((tmp_path / "data/embeddings").glob("val-*"))
    for path in (tmp_path / "metrics/use.csv", shard):
        content = bytearray(path.read_bytes())
        content[-9] ^= 1
        path.chmod(0o644)
        path.write_bytes(content)
    found = list(verification.recorded(tmp_path / "dvc.lock"))
    assert [finding.path for finding in found] == [shard.parent, tmp_path / "metrics/use.csv"]
    assert "dvc repro --force --single-item embed" in found[0].detail
    assert found[1].detail.startswith(f"{tmp_path}/metrics/use.csv is not what ")
    assert "dvc repro --force --single-item evaluate" in found[1].detail


def test_verify_finds_an_output_whose_entry_in_the_lock_is_gone(
    checkout: Path, tmp_path: Path
) -> None:
    for name in ("data", "metrics"):
        shutil.copytree(checkout / name, tmp_path / name)
    shutil.copy(checkout / "dvc.yaml", tmp_path)
    lock = (checkout / "dvc.lock").read_text()
    (tmp_path / "dvc.lock").write_text(lock)
    assert list(verification.recorded(tmp_path / "dvc.lock")) == []
    (tmp_path / "dvc.lock").write_text(lock.replace("path: data/gan.pt", "path: data/gaN.pt"))
    found = list(verification.recorded(tmp_path / "dvc.lock"))
    assert [finding.path for finding in found] == [tmp_path / "data/gan.pt"]
    assert "tells nothing of" in found[0].detail
    assert "dvc repro train_gan" in found[0].detail
