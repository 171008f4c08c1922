"""The origin of an artifact: digests of the code files, versions of libraries, the device.

It is the same when the same commit runs again on the same machine, so it holds no commit (a run's
metrics are part of the next one), no date and no path.
"""

import ast
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pairsynth import devices
from pairsynth.artifacts import file_digest

ROOT = Path(__file__).parents[1]
# What passes through it comes out as it went in: no result depends on it.
PRESENTATION = "pairsynth/console.py"
# What last bits can come from: pairs are drawn by NumPy and computed by torch, images are packed
# by Pillow and laid down by Arrow.
COMPUTING = ("pairsynth", "torch", "numpy", "pillow", "pyarrow")


def of(script: Path, device: torch.device) -> dict[str, Any]:
    """The origin of what a stage makes, run as `script` on `device`."""
    return {
        "code": code(script),
        "versions": {name: importlib.metadata.version(name) for name in COMPUTING},
        "device": _name(device),
        "precision": str(devices.precision(device)).removeprefix("torch."),
    }


def code(script: Path) -> dict[str, str]:
    """Path -> digest of each of our files that `script` imports, itself included."""
    todo, found = [script.resolve()], {}
    while todo:
        file = todo.pop()
        name = file.relative_to(ROOT).as_posix()
        if name not in found and name != PRESENTATION:
            found[name] = file_digest(file)[:16]
            todo += _imported(file)
    return dict(sorted(found.items()))


def _imported(file: Path) -> list[Path]:
    """Our files that a file imports, also inside of functions."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    files = [ROOT / f"{name.replace('.', '/')}.py" for name in names]
    return [one for one in files if one.exists() and one.parent != ROOT]


def _name(device: torch.device) -> str:
    """The processor's name: other kinds sum in other orders, so that last bits may differ."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"


def differences(told: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The differences between two origins as `of` returns them, each in words."""
    found = []
    for kind, word in (("code", "other code"), ("versions", "another version")):
        before, after = told.get(kind, {}), now[kind]
        odd = sorted(name for name in before.keys() | after if before.get(name) != after.get(name))
        found += [f"{word} of {', '.join(odd)}"] if odd else []
    for kind in ("device", "precision"):
        if told.get(kind) != now[kind]:
            found.append(f"{kind} {now[kind]}, not {told.get(kind)}")
    return found
