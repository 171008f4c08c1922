"""Two processes train what one would: the same weights in both, as good as those of one."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pairsynth import parallel
from pairsynth.errors import InputError
from tests import two_processes
from tests.two_processes import WORK
from tests.workspace import ROOT, gradient, smoke_params

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def torchrun(*words: str) -> str:
    done = subprocess.run(
        [*TORCHRUN, "--nproc-per-node=2", "-m", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes ended with."""
    folder = tmp_path_factory.mktemp("two")
    torchrun("tests.two_processes", str(folder))
    return folder


def ended(folder: Path, name: str, rank: int) -> dict[str, Any]:
    done: dict[str, Any] = torch.load(folder / f"{name}-{rank}.pt", weights_only=True)
    return done


@pytest.mark.parametrize("name", WORK)
def test_both_end_with_the_same_weights(folder: Path, name: str) -> None:
    first, second = (ended(folder, name, rank) for rank in (0, 1))
    assert first["weights"].keys() == second["weights"].keys()
    for key, value in first["weights"].items():
        assert torch.equal(value, second["weights"][key]), key
    assert first["reports"] == second["reports"]


def test_gradients_are_those_of_the_whole_batch(folder: Path) -> None:
    found = ended(folder, "gradients", 0)["weights"]
    wanted = two_processes.gradients()["weights"]
    for key in ("against", "moved"):
        assert torch.allclose(found[key], wanted[key], atol=1e-6), key


@pytest.mark.parametrize(
    ("name", "key", "band"),
    [
        ("embed", "loss", 0.3),
        ("train_gan", "discriminator_loss", 0.3),
        ("train_gan", "real", 0.5),
        ("gan-cls", "discriminator_loss", 0.3),
        ("train_captioner", "val_loss", 0.15),
    ],
)
def test_two_processes_train_as_well_as_one(folder: Path, name: str, key: str, band: float) -> None:
    two, ones = ended(folder, name, 0)["reports"], []
    for seed in (1, 2, 3):  # runs of one process differ by a standard deviation of 0.1 themselves
        torch.manual_seed(seed)
        ones.append(WORK[name]()["reports"])
    for one in ones:
        assert len(two) == len(one)
        assert two[-1].get("images") == one[-1].get("images")
        assert two[-1].get("words", 0) == pytest.approx(one[-1].get("words", 0), rel=0.05)
    late, *alone = (
        statistics.mean(report[key] for report in reports[-5:]) for reports in (two, *ones)
    )
    assert abs(late - statistics.mean(alone)) < band
    if key.endswith("loss"):
        assert late < two[0][key]


def test_the_first_alone_goes_on_afterwards(folder: Path) -> None:
    assert [path.name for path in folder.glob("left-*")] == ["left-0"]
    assert (folder / "left-0").read_text() == "2"


def train_gan(whole: Path, out: Path, params: Path) -> subprocess.CompletedProcess[str]:
    """The stage as dvc.yaml starts it."""
    words = [whole / "pictures", whole / "embeddings", whole / "encoder.pt", out / "gan.pt"]
    words += [out / name for name in ("gan.json", "gan.csv", "samples.png", "progress.png")]
    return subprocess.run(
        [sys.executable, "-m", "stages.train_gan", *map(str, words), "--params", str(params)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip


def test_a_fault_is_told_once_before_processes_start(whole: Path, tmp_path: Path) -> None:
    """torchrun would tell it twice, with tracebacks of its own."""
    copy, params = tmp_path / "whole", smoke_params(tmp_path)
    shutil.copytree(whole, copy)
    (copy / "encoder.pt").write_bytes(b"none")
    params.write_text(params.read_text().replace("processes: 1", "processes: 2"))
    done = train_gan(copy, tmp_path / "out", params)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*encoder.pt.*\n", done.stderr), done.stderr


def test_the_stage_itself_in_two_processes(whole: Path, tmp_path: Path) -> None:
    out, params = tmp_path / "out", smoke_params(tmp_path)
    params.write_text(params.read_text().replace("processes: 1", "processes: 2"))
    done = train_gan(whole, out, params)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("drawn images of different captions") == 1
    assert json.loads((out / "gan.json").read_text())["processes"] == 2
    names = {"gan.pt", "gan.json", "gan.csv", "samples.png", "progress.png"}
    assert {path.name for path in out.iterdir()} == names


def test_one_process_leaves_all_as_it_is() -> None:
    rows = torch.arange(6.0)
    assert (parallel.size(), parallel.rank()) == (1, 0)
    assert parallel.join(torch.device("cpu")) == torch.device("cpu")
    for act in (parallel.own, parallel.same, parallel.total, parallel.mean, parallel.gather):
        assert torch.equal(act(rows), rows)
    parallel.leave()
    rng = torch.Generator().manual_seed(3)
    before = rng.get_state()
    parallel.draw_apart(rng, 1, "embed", 1)
    assert torch.equal(rng.get_state(), before)
    layer = torch.nn.BatchNorm1d(2)
    layer(torch.randn(4, 2)).sum().backward()
    told = [gradient(layer.weight), layer.get_buffer("running_mean")]
    kept = [tensor.clone() for tensor in told]
    parallel.agree(layer)
    parallel.average_gradients(layer)
    parallel.average_buffers(layer)
    assert all(torch.equal(a, b) for a, b in zip(told, kept, strict=True))


@pytest.mark.parametrize(("wanted", "rows", "batch"), [(32, 100, 30), (32, 7, 6), (3, 100, 3)])
def test_batches_are_shared_evenly(
    wanted: int, rows: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "size", lambda: 3)
    assert parallel.whole_batch(wanted, rows) == batch


def test_a_batch_smaller_than_the_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "size", lambda: 8)
    with pytest.raises(InputError, match="8 processes cannot share a batch of 4 of 100 rows"):
        parallel.whole_batch(4, 100)
