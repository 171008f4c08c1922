"""The house, checked: floors, stage dependencies, parameters, paths, style limits."""

import ast
import dataclasses
import importlib
import inspect
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA
from ruamel.yaml import YAML

from pairsynth import origin
from pairsynth.artifacts import file_digest
from pairsynth.evaluation import measuring
from pairsynth.report import page, results
from tests.options import SECTIONS

ROOT = Path(__file__).parent.parent
FLOORS = {
    "ground": (
        "arguments artifacts card checkpoints config console contrastive devices efficientnet "
        "engines errors examples image_files images inference lexicon memory minimums "
        "nonfinite origin parallel pixel_depth pretrained profile resume sampling seeds sheets "
        "text whole_files"
    ),
    "parts": "batches captioner collapse_monitor dataset encoders gan metrics mixture sources",
    "joints": (
        "critic decoding duplicates export filters left_open mappings mixture_fitting pairs strips"
    ),
    "beginnings": "latents",
    "acts": (
        "captioner_training encoder_training evaluation exploration gan_training report synthesis "
        "verification"
    ),
    "runs": "shard_making",
    "proofs": "replay",
    "commands": "__main__ cli preview showing stages",
}
FLOOR = {name: i for i, names in enumerate(FLOORS.values()) for name in names.split()}
# The mappings write by decoding; the report shows what people can also draw for themselves; the
# command line hands on to what needs torch.
NEIGHBOURS = {
    ("mappings", "decoding"),
    ("report", "exploration"),
    ("__main__", "cli"),
    ("cli", "showing"),
    ("cli", "preview"),
}
# An edit of it makes no stage stale: it shows progress and turns errors into exit codes, and what
# passes through it comes out as it went in.
PRESENTATION = origin.PRESENTATION
STAGES = [*SECTIONS, "report"]
FORBIDDEN = {"utils", "helpers", "common", "manager", "base"}


def code() -> list[Path]:
    return sorted([*ROOT.glob("pairsynth/**/*.py"), *ROOT.glob("stages/*.py")])


def pipeline() -> dict[str, Any]:
    tree: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")
    return tree


def imports(path: Path) -> set[Path]:
    """The files of ours that a file imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    files = [ROOT / f"{name.replace('.', '/')}.py" for name in names]
    return {file for file in files if file.exists() and file.parent != ROOT}


def closure(path: Path) -> set[str]:
    todo, seen = [path], set()
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += imports(file)
    return {str(file.relative_to(ROOT)) for file in seen}


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] == "stages" else parts[1]


def functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    for path in code():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield path, node


@pytest.mark.parametrize("path", code(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    if path.name == "__init__.py":
        assert not imports(path), "an __init__ that imports hides the floors"
        return
    own = room(path)
    for imported in imports(path):
        other = room(imported)
        if FLOOR[own] == 0 or other == own or (own, other) in NEIGHBOURS:
            assert FLOOR[other] <= FLOOR[own]
        else:
            assert FLOOR[other] < FLOOR[own], f"{own} imports {other}, on its own floor or above"


def test_every_module_has_a_floor() -> None:
    rooms = {room(path) for path in code() if path.name != "__init__.py"}
    assert rooms <= set(FLOOR)


def test_dvc_yaml_is_valid() -> None:
    COMPILED_MULTI_STAGE_SCHEMA(pipeline())


@pytest.mark.parametrize("stage", STAGES)
def test_code_deps_are_the_import_closure(stage: str) -> None:
    deps = {dep for dep in pipeline()["stages"][stage]["deps"] if dep.endswith(".py")}
    assert deps == closure(ROOT / f"stages/{stage}.py") - {PRESENTATION}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_tells_of_the_very_code_that_it_depends_on(stage: str) -> None:
    deps = [dep for dep in pipeline()["stages"][stage]["deps"] if dep.endswith(".py")]
    told = origin.code(ROOT / f"stages/{stage}.py")
    assert told == {dep: file_digest(ROOT / dep)[:16] for dep in sorted(deps)}


def test_presentation_has_nothing_that_work_could_come_from() -> None:
    """Of ours it knows the errors alone, so nothing it does can depend on data or networks."""
    assert closure(ROOT / PRESENTATION) == {PRESENTATION, "pairsynth/errors.py"}


EDITS = {
    # what is edited -> the stages that go stale by themselves (what depends on them follows)
    "pairsynth/encoders.py": {"embed", "synthesize", "evaluate", "report"},
    "pairsynth/decoding.py": {"synthesize", "evaluate", "report"},
    "pairsynth/mixture_fitting.py": {"fit_gmm"},
    "pairsynth/console.py": set(),
    "pairsynth/captioner_training.py": {"train_captioner"},
    "pairsynth/gan_training.py": {"train_gan"},
    "pairsynth/synthesis.py": {"synthesize"},
    "pairsynth/engines.py": {"synthesize"},
    "pairsynth/filters.py": {"synthesize", "report"},
    "pairsynth/verification.py": set(),
    "pairsynth/cli.py": set(),
    "pairsynth/replay.py": set(),
    "pairsynth/export.py": set(),
    "pairsynth/pairs.py": set(),
    "pairsynth/latents.py": {"synthesize", "report"},
    "pairsynth/report/headlines.py": {"report"},
    "pairsynth/sources/garden_captions.py": {"download"},
    "pairsynth/evaluation/caption_quality.py": {"evaluate"},
}


@pytest.mark.parametrize("edited", EDITS)
def test_an_edit_makes_stale_what_it_touches_and_nothing_else(edited: str) -> None:
    """A text encoder, a beam, the fitting of mixtures, a line of progress, a loop, the filter."""
    assert (ROOT / edited).exists()
    stale = {stage for stage in STAGES if edited in pipeline()["stages"][stage]["deps"]}
    assert stale == EDITS[edited]


def outputs(stage: str) -> list[str]:
    tree = pipeline()["stages"][stage]
    kinds = [tree.get(kind, []) for kind in ("outs", "metrics", "plots")]
    return [next(iter(out)) if isinstance(out, dict) else out for kind in kinds for out in kind]


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_of_a_command_is_declared(stage: str) -> None:
    tree = pipeline()["stages"][stage]
    declared = [*tree["deps"], *outputs(stage)]
    words = tree["cmd"].split()
    assert words[:3] == ["python", "-m", f"stages.{stage}"]
    # The report takes the two folders, evaluate that of the metrics: the next tests say of which
    # files below them they are.
    folders = {"report": {"data", "metrics"}, "evaluate": {"metrics"}}.get(stage, set())
    assert set(words[3:]) - folders <= set(declared)
    assert tree["desc"]


def test_what_parameters_name_is_watched() -> None:
    """Whatever a user names by its path is a dependency, so that an edit of it is noticed."""
    tree = YAML(typ="safe").load(ROOT / "params.yaml")
    paths = {
        (section, key)
        for section, values in tree.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if isinstance(value, str) and value and (ROOT / value).exists()
    }
    assert {"folder", "mirror", "image_weights", "judge_weights"} == {key for _, key in paths}
    for section, key in paths:
        assert f"${{{section}.{key}}}" in pipeline()["stages"][section]["deps"]


def test_evaluate_declares_all_it_writes() -> None:
    assert set(outputs("evaluate")) == {f"metrics/{name}" for name in measuring.FILES}


def test_few_numbers_are_metrics_of_dvc() -> None:
    """What one compares runs by; all else lies beside it, and stands in no table of DVC."""
    found = {s: [next(iter(m)) for m in pipeline()["stages"][s].get("metrics", [])] for s in STAGES}
    assert {stage: paths for stage, paths in found.items() if paths} == {
        "embed": ["metrics/embed.json"],
        "train_gan": ["metrics/train_gan.json"],
        "train_captioner": ["metrics/train_captioner.json"],
        "evaluate": ["metrics/headline.json"],
    }


def test_the_report_depends_on_all_it_reads() -> None:
    """What another stage writes and the report would read is a dep, and nothing else is."""
    written = {path for stage in SECTIONS for path in outputs(stage)}
    reads = {f"data/{name}" for name in page.DATA} | {f"metrics/{name}" for name in results.files()}
    deps = {dep for dep in pipeline()["stages"]["report"]["deps"] if not dep.endswith(".py")}
    assert deps - {"pairsynth/report/templates"} == written & reads
    assert "pairsynth/report/templates" in deps
    assert pipeline()["stages"]["report"]["params"] == ["seed", "precision", "processes", *SECTIONS]


@pytest.mark.parametrize("stage", STAGES)
def test_stages_that_multiply_in_it_are_given_the_precision(stage: str) -> None:
    """An edit of `precision` makes stale what is trained in it."""
    main = inspect.signature(importlib.import_module(f"stages.{stage}").main)
    given = "precision" in pipeline()["stages"][stage].get("params", [])
    assert given == ("precision" in main.parameters or stage == "report")


def test_params_have_exactly_the_fields() -> None:
    tree = YAML(typ="safe").load(ROOT / "params.yaml")
    assert list(tree) == ["seed", "precision", "processes", *SECTIONS]
    for section, kind in SECTIONS.items():
        assert list(tree[section]) == [field.name for field in dataclasses.fields(kind)]


@pytest.mark.parametrize("kind", SECTIONS.values(), ids=lambda kind: kind.__name__)
def test_every_field_is_documented(kind: Any) -> None:
    for field in dataclasses.fields(kind):
        assert f"    {field.name}: " in kind.__doc__


def test_functions_are_short() -> None:
    lengths = []
    for path, node in functions():
        length = node.end_lineno - node.lineno + 1 if node.end_lineno else 0
        lengths.append(length)
        assert length <= 60, f"{path}: {node.name} has {length} lines"
    assert statistics.median(lengths) <= 10


def test_files_have_good_names_and_size() -> None:
    for path in code():
        assert not FORBIDDEN & set(path.stem.split("_")), path
        assert len(path.read_text().splitlines()) <= 450, path


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


@pytest.mark.parametrize("path", code(), ids=lambda path: str(path.relative_to(ROOT)))
def test_public_things_have_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in public(tree.body):
        assert ast.get_docstring(node), f"{node.name} has no docstring"
