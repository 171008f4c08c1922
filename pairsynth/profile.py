"""Named sets of parameters, applied to params.yaml in place; its comments and order stay."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pairsynth import config
from pairsynth.errors import InputError
from pairsynth.whole_files import write_whole

FOLDER = Path(__file__).with_name("profiles")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One parameter, `section.key`, and its values before and after."""

    key: str
    old: object
    new: object


def profiles(folder: Path = FOLDER) -> dict[str, str]:
    """Profile name -> the comment in the first line of its file."""
    paths = sorted(folder.glob("*.yaml"))
    return {path.stem: path.read_text().partition("\n")[0].lstrip("# ") for path in paths}


def apply(name: str, params: Path, folder: Path = FOLDER) -> list[Change]:
    """Write the values of the profile `name` to the YAML file `params`; return what changed.

    Raises:
        InputError: for an unknown profile, a key that `params` lacks or a value of another type;
            `params` then stays as it is.
    """
    known = profiles(folder)
    if name not in known:
        raise InputError(f"there is no profile {name!r}; there are {', '.join(known)}")
    config.read(params)
    writer = _yaml()
    tree = writer.load(params.read_text(encoding="utf-8"))
    wanted = _yaml().load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    changes = [
        change
        for section, values in wanted.items()
        for key, value in values.items()
        if (change := _set(tree, section, key, value, params))
    ]
    if changes:
        buffer = io.BytesIO()
        writer.dump(tree, buffer)
        write_whole(params, buffer.getvalue())
    return changes


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    return yaml


def _set(tree: Any, section: str, key: str, value: Any, params: Path) -> Change | None:
    values = tree.get(section)
    if not isinstance(values, dict) or key not in values:
        raise InputError(
            f"{params}: there is no {section}.{key}; restore it: git checkout {params}"
        )
    old = values[key]
    if _kind(old) is not _kind(value):
        raise InputError(f"{params}: {section}.{key} is {old!r}, of another type than {value!r}")
    values[key] = value
    return None if old == value else Change(key=f"{section}.{key}", old=old, new=value)


def _kind(value: object) -> type:
    """str, bool, or float for any number: integers and floats may replace one another."""
    if isinstance(value, bool | str):
        return bool if isinstance(value, bool) else str
    return float if isinstance(value, int | float) else type(value)
