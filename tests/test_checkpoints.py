"""Files with a right digest that are not what we write: other options, shapes, types, values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pairsynth import checkpoints, mixture
from pairsynth.artifacts import FORMAT
from pairsynth.captioner import load_captioner
from pairsynth.checkpoints import load_checkpoint, save_checkpoint
from pairsynth.encoders import load_encoder
from pairsynth.errors import InputError
from pairsynth.gan import Gan, load_gan

CPU = torch.device("cpu")
LOADERS: dict[str, Callable[[Path], Any]] = {
    "encoder": lambda path: load_encoder(path, CPU),
    "gan": lambda path: load_gan(path, CPU),
    "captioner": lambda path: load_captioner(path, CPU),
}
# For each network an option that is a size, and a weight.
SIZE = {"encoder": "hidden", "gan": "noise", "captioner": "hidden"}
WEIGHT = {"encoder": "text.out.weight", "gan": "generator.seed.weight", "captioner": "out.weight"}
REFUSED = r".*does not fit this version of pairsynth .*remake it: dvc repro --force"


def saved(folder: Path, kind: str, options: dict[str, Any], state: dict[str, Any]) -> Path:
    """A checkpoint with a digest that is right, whatever it holds."""
    path = folder / f"{kind}.pt"
    content = {"format": FORMAT, "kind": kind, "options": options, "state": state}
    torch.save({**content, "digest": checkpoints._digest(content)}, path)
    return path


def place(kind: str, state: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Where in the state the weight of `WEIGHT` lies, and its name there."""
    network, _, name = WEIGHT[kind].partition(".")
    return (state[network], name) if kind == "gan" else (state, WEIGHT[kind])


OPTIONS: dict[str, Callable[[str, dict[str, Any]], object]] = {
    "none": lambda kind, options: options.clear(),
    "one is gone": lambda kind, options: options.pop(SIZE[kind]),
    "one more": lambda kind, options: options.update(depth=3),
    "no number": lambda kind, options: options.update({SIZE[kind]: "many"}),
    "a half": lambda kind, options: options.update({SIZE[kind]: 8.5}),
    "a truth": lambda kind, options: options.update({SIZE[kind]: True}),
    "nothing": lambda kind, options: options.update({SIZE[kind]: None}),
    "below zero": lambda kind, options: options.update({SIZE[kind]: -8}),
    "zero": lambda kind, options: options.update({SIZE[kind]: 0}),
    "a terabyte": lambda kind, options: options.update({SIZE[kind]: 1_000_000}),
    "without end": lambda kind, options: options.update({SIZE[kind]: 10**400}),
    "one larger": lambda kind, options: options.update({SIZE[kind]: options[SIZE[kind]] + 1}),
}


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("change", OPTIONS)
def test_options_that_are_not_ours_are_refused(
    kind: str, change: str, whole: Path, tmp_path: Path
) -> None:
    options, state = load_checkpoint(whole / f"{kind}.pt", kind)
    OPTIONS[change](kind, options)
    path = saved(tmp_path, kind, options, state)
    with pytest.raises(InputError, match=f"{kind}.pt{REFUSED}"):
        LOADERS[kind](path)


STATES: dict[str, Callable[[dict[str, Any], str], object]] = {
    "gone": lambda state, name: state.pop(name),
    "one more": lambda state, name: state.update(other=torch.zeros(1)),
    "another shape": lambda state, name: state.update({name: state[name][:, :-1]}),
    "another type": lambda state, name: state.update({name: state[name].double()}),
    "whole numbers": lambda state, name: state.update({name: state[name].int()}),
    "a word": lambda state, name: state.update({name: "heavy"}),
    "not a number": lambda state, name: state.update({name: state[name] * float("nan")}),
    "without end": lambda state, name: state.update({name: state[name] * float("inf")}),
}


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("change", STATES)
def test_weights_that_are_not_ours_are_refused(
    kind: str, change: str, whole: Path, tmp_path: Path
) -> None:
    options, state = load_checkpoint(whole / f"{kind}.pt", kind)
    STATES[change](*place(kind, state))
    path = saved(tmp_path, kind, options, state)
    with pytest.raises(InputError, match=f"{kind}.pt{REFUSED}"):
        LOADERS[kind](path)


@pytest.mark.parametrize("part", ["options", "state"])
@pytest.mark.parametrize("value", [None, 3, "words", [1, 2]])
def test_a_checkpoint_of_other_parts_is_not_ours(part: str, value: object, tmp_path: Path) -> None:
    parts: dict[str, Any] = {"options": {}, "state": {}} | {part: value}
    path = saved(tmp_path, "gan", **parts)
    with pytest.raises(InputError, match=r"gan.pt is damaged or not ours"):
        load_gan(path, CPU)


@pytest.mark.parametrize("kind", LOADERS)
def test_what_was_made_from_words_is_refused(kind: str, whole: Path, tmp_path: Path) -> None:
    options, state = load_checkpoint(whole / f"{kind}.pt", kind)
    path = saved(tmp_path, kind, {**options, "made_from": "words"}, state)
    with pytest.raises(InputError, match=f"{kind}.pt{REFUSED}"):
        LOADERS[kind](path)
    with pytest.raises(InputError, match=f"{kind}.pt was made from another pictures"):
        checkpoints_of(kind)(path, CPU, pictures="words")


def checkpoints_of(kind: str) -> Callable[..., Any]:
    loaders: dict[str, Callable[..., Any]] = {
        "encoder": load_encoder,
        "gan": load_gan,
        "captioner": load_captioner,
    }
    return loaders[kind]


def test_looking_without_memory_draws_no_random_number(whole: Path) -> None:
    """What follows a load stays what it was before networks were looked at first."""
    torch.manual_seed(1)
    Gan.build(**load_checkpoint(whole / "gan.pt", "gan")[0])
    after = torch.get_rng_state()
    torch.manual_seed(1)
    load_gan(whole / "gan.pt", CPU)
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize("reader", [*LOADERS, "mixtures"])
def test_too_little_memory_is_no_damage(
    reader: str, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(torch, "load", none_left)
    monkeypatch.setattr(mixture, "_arrays", none_left)
    with pytest.raises(MemoryError):
        LOADERS.get(reader, mixture.load)(
            whole / ("gmm.npz" if reader == "mixtures" else f"{reader}.pt")
        )


def test_memory_that_ends_while_networks_are_built_is_no_damage(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(checkpoints, "_check_weights", none_left)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        load_gan(whole / "gan.pt", CPU)


def test_mixtures_of_other_vectors_are_refused(whole: Path) -> None:
    found = mixture.load(whole / "gmm.npz")
    sizes = {name: len(one.mean) for name, one in found.items()}
    assert mixture.load(whole / "gmm.npz", sizes).keys() == {"phi", "psi"}
    with pytest.raises(InputError, match=r"gmm.npz is over .*'psi': 8}, not over .*'psi': 9}"):
        mixture.load(whole / "gmm.npz", sizes | {"psi": 9})


def test_mixtures_over_one_of_two_are_refused(whole: Path, tmp_path: Path) -> None:
    found = mixture.load(whole / "gmm.npz")
    mixture.save(tmp_path / "gmm.npz", {"psi": found["psi"]}, {})
    with pytest.raises(InputError, match=r"gmm.npz is over {'psi': 8}, not over"):
        mixture.load(tmp_path / "gmm.npz", {"phi": 1, "psi": 8})


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.complex128])
def test_mixtures_of_other_numbers_are_refused(
    kind: type[np.generic], whole: Path, tmp_path: Path
) -> None:
    found = mixture.load(whole / "gmm.npz")
    other = {
        name: mixture.Mixture(**{key: value.astype(kind) for key, value in vars(one).items()})
        for name, one in found.items()
    }
    mixture.save(tmp_path / "gmm.npz", other, {})
    with pytest.raises(InputError, match=r"gmm.npz is damaged"):
        mixture.load(tmp_path / "gmm.npz")


def test_what_is_saved_is_loaded(whole: Path, tmp_path: Path) -> None:
    options, state = load_checkpoint(whole / "gan.pt", "gan")
    save_checkpoint(tmp_path / "gan.pt", "gan", options, state)
    assert load_gan(tmp_path / "gan.pt", CPU).options == options
