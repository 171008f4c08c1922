"""A checkout of its own for tests of the whole pipeline, and commands run in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from pairsynth.dataset import read_manifest

ROOT = Path(__file__).parent.parent


def run(folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    bin_folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "HOME": str(folder)}
    environment |= {"PYTHONPATH": "", "DVC_NO_ANALYTICS": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "a", f"GIT_{role}_EMAIL": "a@b"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def make_checkout(folder: Path) -> None:
    """A commit of the working tree with the smoke profile, after `dvc repro`."""
    for name in ("pairsynth", "stages", ".dvc"):
        skip = shutil.ignore_patterns("__pycache__", "cache", "tmp", "*.tmp")
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    run(folder, sys.executable, "-m", "pairsynth.cli", "profile", "smoke")
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "smoke")
    run(folder, "dvc", "repro")


def facts_of(synthetic: Path) -> dict[str, Any]:
    """What `write_pairs` was told of the dataset in `synthetic`, without what it counted."""
    counted = ("pairs", "left_out", "refused", "sha256")
    return {k: v for k, v in read_manifest(synthetic).items() if k not in counted}
