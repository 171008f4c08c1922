"""The commit of the code that draws the report."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("pairsynth", "stages")


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The last commit that changed the code. changed: whether there are uncommitted edits."""

    name: str
    day: str
    changed: bool


def of_code(root: Path = ROOT) -> Commit | None:
    """The commit of the code in `root`; None where git does not know.

    Commits of metrics, dvc.lock or documents are ignored, so that committing the results of a run
    does not change the commit in the report.
    """
    told = _git(root, "-c", "log.showSignature=false", "log", "-1", "--format=%H %cs", "--", *CODE)
    edits = _git(root, "status", "--porcelain", "--", *CODE)
    if not told or edits is None:
        return None
    name, day = told.split()
    return Commit(name=name, day=day, changed=bool(edits))


def _git(root: Path, *words: str) -> str | None:
    """The output of git; None where it is not installed or `root` is not in a repository."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
