"""The examples run on what a pipeline leaves, and do what the recipe says."""

import subprocess
import sys
from pathlib import Path

import pytest

from pairsynth.examples import Examples
from tests.workspace import ROOT, write_examples, write_synthetic

SCRIPT = ROOT / "examples/train_with_pairs.py"
COLUMNS = "task,share,arm,gain,recipe"


@pytest.fixture
def folder(tmp_path: Path, examples: Examples) -> Path:
    for split in ("train", "test"):
        write_examples(tmp_path / "data/pictures", examples, split)
    write_synthetic(tmp_path / "data/synthetic", examples)
    (tmp_path / "metrics").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("retrieval,0.2,synthetic_first,0.04,1", ["recipe: synthetic_first", "with 24 pairs: "]),
        ("retrieval,0.2,both_consistent_half,0.04,1", ["with 12 pairs: "]),
        ("retrieval,0.2,both_lighter,0.04,0", ["recipe: add no pairs beside 20% of the real"]),
        ("captioning,0.2,both,0.04,1", ["recipe: add no pairs beside 20% of the real"]),
    ],
)
def test_it_trains_as_the_recipe_says(folder: Path, row: str, words: list[str]) -> None:
    (folder / "metrics/use.csv").write_text(f"{COLUMNS}\n{row}\n")
    done = subprocess.run(
        [sys.executable, SCRIPT, "--share", "0.2", "--steps", "2"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "real alone: " in done.stdout
    assert all(one in done.stdout for one in words)
    assert ("with " in done.stdout) == (row.startswith("retrieval") and row.endswith("1"))
