"""What made an artifact is told by its content, and what is another now is named."""

import importlib.metadata
from pathlib import Path

import pytest
import torch

from pairsynth import origin
from tests.workspace import ROOT

CPU = torch.device("cpu")
STAGE = ROOT / "stages/fit_gmm.py"


def test_code_versions_and_device_are_told() -> None:
    told = origin.of(STAGE, CPU)
    assert told == origin.of(STAGE, CPU)
    assert told["versions"]["torch"] == importlib.metadata.version("torch")
    assert set(told["versions"]) == {"pairsynth", "torch", "numpy", "pillow", "pyarrow"}
    assert told["device"].startswith("cpu ")
    assert told["precision"] in ("bfloat16", "float32")


def test_an_edit_of_a_file_it_depends_on_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of no other: neither of one that no import leads to, nor of what only shows progress."""
    monkeypatch.setattr(origin, "ROOT", tmp_path)
    (tmp_path / "pairsynth").mkdir()
    files = {name: tmp_path / f"pairsynth/{name}.py" for name in ("near", "far", "other")}
    files["near"].write_text("def f():\n    from pairsynth import console, far\n")
    files["far"].write_text("import json\nimport pairsynth.near\n")
    files["other"].write_text("")
    (tmp_path / origin.PRESENTATION).write_text("")
    (tmp_path / "stages").mkdir()
    script = tmp_path / "stages/one.py"
    script.write_text("from pairsynth.near import f\n")
    before = origin.code(script)
    assert list(before) == ["pairsynth/far.py", "pairsynth/near.py", "stages/one.py"]
    files["other"].write_text("1")
    assert origin.code(script) == before
    files["far"].write_text("2")
    assert {k for k, v in origin.code(script).items() if v != before[k]} == {"pairsynth/far.py"}


def test_what_is_another_now_is_named() -> None:
    now = origin.of(STAGE, CPU)
    assert origin.differences(now, now) == []
    told = {
        "code": {**now["code"], "pairsynth/gan.py": "0", "pairsynth/seeds.py": "1"},
        "versions": {**now["versions"], "torch": "2.0"},
        "device": "a GPU",
        "precision": now["precision"],
    }
    assert origin.differences(told, now) == [
        "other code of pairsynth/gan.py, pairsynth/seeds.py",
        "another version of torch",
        f"device {now['device']}, not a GPU",
    ]
