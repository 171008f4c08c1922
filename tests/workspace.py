"""What tests of stages and commands work on: artifacts of tiny images, or a whole checkout."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairsynth import profile
from pairsynth.artifacts import IMAGES, ShardWriter
from pairsynth.dataset import PAIRS, read_manifest
from pairsynth.examples import Examples
from pairsynth.image_files import encode
from pairsynth.images import to_image
from tests.rows import write_pairs

ROOT = Path(__file__).parent.parent
FACTS = {
    "source_images": 24,
    "made_from": {"pictures": "d"},
    "seed": 7,
    "size": 32,
    "distance": 0.1,
    "false_alarms": 0.01,
}


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


@contextmanager
def undone() -> Iterator[None]:
    """Around what calls `seeds.fix`: at the end this process is as it was."""
    settings: Any = torch.utils.deterministic
    filled = settings.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    settings.fill_uninitialized_memory = filled


def gradient(weight: Tensor) -> Tensor:
    """That of a weight which has one."""
    assert weight.grad is not None
    return weight.grad


def smoke_params(folder: Path) -> Path:
    """params.yaml of the smoke profile, in `folder`."""
    shutil.copy(ROOT / "params.yaml", folder)
    profile.apply("smoke", folder / "params.yaml")
    return folder / "params.yaml"


def make_checkout(folder: Path) -> None:
    """A commit of the working tree with the smoke profile, after `dvc repro`."""
    for name in ("pairsynth", "stages", ".dvc", "data/own"):
        skip = shutil.ignore_patterns("__pycache__", "cache", "tmp", "*.tmp")
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "data/none"):
        shutil.copy(ROOT / name, folder / name)
    smoke_params(folder)
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "smoke")
    run(folder, "dvc", "repro")


def write_examples(
    folder: Path, examples: Examples, split: str, attributes: list[str | None] | None = None
) -> None:
    """A split of data/pictures that holds `images`."""
    folder.mkdir(parents=True, exist_ok=True)
    with ShardWriter(folder, split, IMAGES) as writer:
        for i, image_id in enumerate(examples.ids):
            image = {"bytes": encode(to_image(examples.pixels[i])), "path": f"{image_id}.png"}
            writer.write(
                {
                    "image_id": image_id,
                    "class_id": int(examples.class_ids[i]),
                    "class_name": examples.class_names[i],
                    "split": split,
                    "image": image,
                    "captions": examples.captions[i],
                    "attributes": attributes[i] if attributes else None,
                }
            )


def write_synthetic(
    folder: Path, examples: Examples, made_from: Mapping[str, str] | None = None
) -> None:
    """A data set of 24 pairs in data/synthetic."""
    folder.mkdir()
    rows = [
        {
            **dict.fromkeys(PAIRS.names),
            "pair_id": f"pair-{i:07}",
            "image": {"bytes": encode(to_image(examples.pixels[i])), "path": f"{i}.png"},
            "caption": examples.captions[i][0],
            "strategy": "text_density",
            "novelty": "whole",
        }
        for i in range(len(examples))
    ]
    facts = {**FACTS, **({"made_from": made_from} if made_from else {})}
    write_pairs(folder, rows, len(rows), facts)


def facts_of(synthetic: Path) -> dict[str, Any]:
    """What `write_pairs` was told of the dataset in `synthetic`, without what it counted."""
    counted = ("pairs", "left_out", "refused", "sha256", "digest")
    return {k: v for k, v in read_manifest(synthetic).items() if k not in counted}
