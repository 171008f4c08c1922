"""The README keeps its word: commands exist, keys exist, snippets run, files are listed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from pairsynth import card, dataset, export
from pairsynth.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.S | re.M)
SHELL = [
    line.split(" #")[0].strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
]
PYTHON = [block for language, block in BLOCKS if language == "python"]
PAGE = (ROOT / "docs/the-data-set.md").read_text()
ON_PAGE = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.S | re.M)


@pytest.mark.parametrize("line", [line for line in SHELL if line.startswith("make ")])
def test_make_targets_exist(line: str) -> None:
    target = line.split()[1]
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ci_runs_the_readme_commands() -> None:
    script = (ROOT / ".ci/run").read_text().splitlines()
    assert {"make repro", "make test"} <= {line.strip() for line in script}


@pytest.mark.parametrize("line", [line for line in SHELL if line.startswith("pairsynth ")])
def test_commands_and_options_exist(line: str) -> None:
    name, *words = line.split()[1:]
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert name in commands
    known = {option for param in commands[name].params for option in param.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_parameter_named_exists() -> None:
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    named = re.findall(r"-S ([a-z_]+)\.([a-z_]+)=", README)
    named += re.findall(r"`(download|embed|train_gan|synthesize|evaluate)\.([a-z_]+)", README)
    named = [one for one in named if one[1] not in ("csv", "json")]
    assert len(named) > 8
    for section, key in named:
        assert key in params[section], f"{section}.{key}"


def test_the_readme_is_for_a_reader() -> None:
    assert len(README.splitlines()) <= 200


def test_the_tree_lists_every_module() -> None:
    tree = (ROOT / "docs/architecture.md").read_text()
    for path in ROOT.glob("pairsynth/*.py"):
        if path.name != "__init__.py":
            assert path.name in tree, path.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_linked_file_exists(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_the_columns_are_those_of_the_data_set() -> None:
    for name in dataset.PAIRS.names:
        assert f"{name}" in card.BODY
    row = README.split("One row a pair:")[1].split("The card")[0]
    for name in re.findall(r"`([a-z_]+)`", row):
        assert name in dataset.PAIRS.names


def test_the_page_of_the_data_set_knows_its_columns_and_commands() -> None:
    table = PAGE.split("## Columns")[1].split("##")[0]
    assert set(dataset.PAIRS.names) <= set(re.findall(r"`([a-z_]+)`", table))
    commands = get_command(app).commands  # type: ignore[attr-defined]
    lines = [line for kind, block in ON_PAGE if kind == "sh" for line in block.splitlines()]
    used = [line.split() for line in lines if line.startswith("pairsynth ")]
    assert {words[1] for words in used} == {"replay", "verify", "export"}
    for _, name, *words in used:
        known = {option for param in commands[name].params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= known
    forms = {words[words.index("--to") + 1] for words in used if "--to" in words}
    assert forms == set(export.EXPORTS)


@pytest.mark.parametrize(
    "code",
    [*PYTHON, *(block for kind, block in ON_PAGE if kind == "python")],
    ids=["torch", "datasets", "datasets, on the page", "torch, slices"],
)
def test_snippets_run(code: str, checkout: Path) -> None:
    """In the folder of the tiny pipeline run, offline."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        cwd=checkout,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(checkout), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
