"""Which commit the code that draws the report is of."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("pairsynth", "stages")


@dataclass(frozen=True)
class Commit:
    """The last commit that changed the code. changed: the code has edits that are in none."""

    name: str
    day: str
    changed: bool


def of_code(root: Path = ROOT) -> Commit | None:
    """The commit of the code in `root`; None where git does not know.

    Commits of metrics, dvc.lock or documents are passed over: what a run made can be committed
    without the report naming another commit when it is drawn again.
    """
    told = _git(root, "-c", "log.showSignature=false", "log", "-1", "--format=%H %cs", "--", *CODE)
    edits = _git(root, "status", "--porcelain", "--", *CODE)
    if not told or edits is None:
        return None
    name, day = told.split()
    return Commit(name, day, bool(edits))


def _git(root: Path, *words: str) -> str | None:
    """What git says; None where it is not installed or `root` is in no repository."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
