"""The one reader of params.yaml: a section becomes a frozen dataclass, or a clear refusal."""

import importlib
import math
import reprlib
import sys
import warnings
from dataclasses import fields
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLWarning

from pairsynth.errors import InputError

Config = TypeVar("Config")


class Precision(StrEnum):
    """The number format of training; auto: whichever is faster on the processor at hand."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


# Section -> the dataclass that it becomes, named and not imported: no stage is to depend on the
# code of another, which it only asks whether its parameters are in order.
SECTIONS = {
    "download": "pairsynth.sources.contract:DownloadConfig",
    "embed": "pairsynth.encoder_training:EncoderConfig",
    "train_gan": "pairsynth.gan_training:GanConfig",
    "train_captioner": "pairsynth.captioner_training:CaptionerConfig",
    "fit_gmm": "pairsynth.mixture_fitting:MixtureConfig",
    "synthesize": "pairsynth.latents:SynthesisConfig",
    "evaluate": "pairsynth.evaluation.context:EvaluationConfig",
}
SINGLE = ("seed", "precision", "processes")  # values of no section
# Old names of parameters, by which older copies of params.yaml may still call them.
RENAMED = {
    "generator_rate": "generator_lr",
    "discriminator_rate": "discriminator_lr",
    "momentum": "beta1",
    "average": "ema_decay",
    "garden_pictures": "garden_images",
}

# Modules that are loaded for nothing else: no result depends on them.
ONLY_CHECKED: set[str] = set()

NOTHING = "data/none"  # DVC wants a path to watch where a parameter names none

MOST_PROCESSES = 64
MOST, LONGEST = 10**9, 1000  # of a whole number; letters of a word or a path
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = _shown.maxlong = 100
_shown.maxlevel = 2


def named(path: str) -> str:
    """The file, folder or address that a parameter names; empty where it is not set."""
    return "" if path == NOTHING else path


def check_all(path: Path) -> None:
    """Check the parameters of all stages, so that a bad one is found before any long run.

    Raises:
        InputError: as `load` does, for the first section with an error; for an unknown section; as
            `load_seed` and `load_processes` do.
    """
    before, tree = set(sys.modules), read(path)
    for section in tree:
        if section not in (*SINGLE, *SECTIONS):
            raise InputError(
                f"{path}: {_shown.repr(section)} is not a known section; known are "
                f"{', '.join((*SINGLE, *SECTIONS))}"
            )
    load_seed(path)
    load_precision(path)
    load_processes(path)
    for section, place in SECTIONS.items():
        module, name = place.split(":")
        load(getattr(importlib.import_module(module), name), section, path)
    ONLY_CHECKED.update(set(sys.modules) - before)


def load(kind: type[Config], section: str, path: Path) -> Config:
    """Read `section` of the YAML file at `path` into the frozen dataclass `kind`.

    Every field must be given and no other key may be; integers are accepted where a float is
    asked for. Range checks are the dataclass's own (`__post_init__`, see `check`).

    Raises:
        InputError: naming the file, section, key and value, and what is allowed.
    """
    tree = read(path)
    if not isinstance(tree.get(section), dict):
        known = ", ".join(key for key, value in tree.items() if isinstance(value, dict))
        raise InputError(f"{path}: there is no section {section!r}; it has {known}")
    given = tree[section]
    types = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if RENAMED.get(key) in names:
            raise InputError(f"{path}: {section}.{key} is called {RENAMED[key]} now; rename it")
        if key not in names:
            raise InputError(
                f"{path}: {section}.{_name(key)} is not a known parameter; known are "
                f"{', '.join(names)}"
            )
    for name in names:
        if name not in given:
            raise InputError(f"{path}: {section}.{name} is missing; add it under {section}:")
    values = {name: _typed(given[name], types[name], f"{section}.{name}", path) for name in names}
    try:
        return kind(**values)
    except ValueError as error:
        raise InputError(f"{path}: {section}.{error}") from error


def load_seed(path: Path) -> int:
    """Read the one `seed`, a non-negative integer, of the YAML file at `path`."""
    seed = read(path).get("seed")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise InputError(
            f"{path}: seed is {_shown.repr(seed)}; give a whole number from 0 to 2**63 - 1"
        )
    return seed


def load_precision(path: Path) -> Precision:
    """Read the `precision`, auto where none is given, of the YAML file at `path`."""
    given = read(path).get("precision", "auto")
    if given not in list(Precision):
        raise InputError(
            f"{path}: precision is {_shown.repr(given)}; allowed are {', '.join(Precision)}"
        )
    return Precision(given)


def load_processes(path: Path) -> int:
    """Read the one `processes`, 1 to `MOST_PROCESSES`, of the YAML file at `path`."""
    found = read(path).get("processes")
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= MOST_PROCESSES:
        raise InputError(
            f"{path}: processes is {_shown.repr(found)}; give a whole number from 1 to "
            f"{MOST_PROCESSES}"
        )
    return found


def check(holds: bool, key: str, value: object, allowed: str) -> None:
    """Refuse `value` of `key` unless `holds`; `load` adds file and section to the message."""
    if not holds:
        raise ValueError(f"{key} is {_shown.repr(value)}; allowed is {allowed}")


def check_between(section: object, low: float, high: float, *keys: str) -> None:
    """Refuse a value of `keys` of the dataclass `section` that is not from `low` to `high`."""
    for key in keys:
        value = getattr(section, key)
        check(low <= value <= high, key, value, f"{low:,} to {high:,}")


def read(path: Path) -> dict[str, Any]:
    """The YAML 1.2 mapping in the file at `path`, as plain Python values."""
    try:
        tree = _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run from the project's folder") from error
    except RecursionError as error:
        raise InputError(f"{path}: not readable as YAML: nested too deeply") from error
    except Exception as error:  # of a tag that does not fit, the library raises many kinds
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: not readable as YAML: {reason}") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected sections of parameters, found {type(tree).__name__}")
    return tree


@lru_cache(maxsize=2)  # a stage asks ten times, and the parser takes its time
def _parsed(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", YAMLWarning)  # an anchor that is set twice
        return YAML(typ="safe", pure=True).load(text)


def _typed(value: Any, wanted: Any, key: str, path: Path) -> Any:
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) <= MOST else math.inf
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{path}: {key} is {value}; give a finite number")
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise InputError(
            f"{path}: {key} is {_shown.repr(value)}, of type {type(value).__name__}; "
            f"give a value of type {wanted.__name__}"
        )
    if isinstance(value, int) and abs(value) > MOST:
        raise InputError(f"{path}: {key} is {_shown.repr(value)}; allowed is {MOST:,} at most")
    if isinstance(value, str) and (len(value) > LONGEST or not value.isprintable()):
        raise InputError(
            f"{path}: {key} is {_shown.repr(value)}; allowed are {LONGEST:,} letters at most, none "
            "of which is a control character"
        )
    return value


def _name(key: object) -> str:
    plain = isinstance(key, str) and key.isprintable() and len(key) < 100
    return str(key) if plain else _shown.repr(key)
