"""Which commit made a report: that of the code, whatever else was committed since."""

from pathlib import Path

import pytest

from pairsynth.report import provenance
from tests.workspace import run


def commit(folder: Path, name: str) -> str:
    (folder / name).parent.mkdir(exist_ok=True)
    with (folder / name).open("a") as file:
        file.write("a\n")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", name)
    return run(folder, "git", "rev-parse", "HEAD").stdout.strip()


def test_commits_of_what_a_run_made_are_passed_over(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "-q")
    names = [commit(tmp_path, name) for name in ("pairsynth/a.py", "stages/b.py")]
    for name in ("dvc.lock", "metrics/a.json", "README.md"):
        commit(tmp_path, name)
    found = provenance.of_code(tmp_path)
    assert found is not None
    assert (found.name, found.changed) == (names[1], False)
    day = run(tmp_path, "git", "show", "-s", "--format=%cs", names[1]).stdout.strip()
    assert found.day == day


@pytest.mark.parametrize("name", ["pairsynth/a.py", "pairsynth/new.py"])
def test_edits_that_are_not_committed_are_told(tmp_path: Path, name: str) -> None:
    run(tmp_path, "git", "init", "-q")
    commit(tmp_path, "pairsynth/a.py")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    clean = provenance.of_code(tmp_path)
    assert clean is not None
    assert not clean.changed
    (tmp_path / name).write_text("b\n")
    found = provenance.of_code(tmp_path)
    assert found is not None
    assert found.changed


def test_where_git_does_not_know_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert provenance.of_code(tmp_path) is None
    run(tmp_path, "git", "init", "-q")
    assert provenance.of_code(tmp_path) is None
    commit(tmp_path, "README.md")
    assert provenance.of_code(tmp_path) is None
    commit(tmp_path, "stages/a.py")
    assert provenance.of_code(tmp_path) is not None
    monkeypatch.setenv("PATH", "")
    assert provenance.of_code(tmp_path) is None
