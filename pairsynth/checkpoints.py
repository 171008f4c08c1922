"""Trained networks as files: tensors and plain values with a digest of all of it, and no code."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pairsynth.artifacts import FORMAT, file_digest
from pairsynth.errors import InputError, raise_if_out_of_memory
from pairsynth.whole_files import maker, remake, write_whole

Made = TypeVar("Made")


def save_checkpoint(
    path: Path, kind: str, options: Mapping[str, Any], state: Mapping[str, Any]
) -> None:
    """Save a network: its `kind`, the plain-valued `options` that rebuild it, its `state`.

    The file carries a digest of all of it, so that damage is noticed on loading.

    Raises:
        ValueError: where a tensor is not finite: such weights are never saved.
    """
    for name, tensor in _tensors(state):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{kind}: {name} is not finite, so {path} was not written")
    content = {"format": FORMAT, "kind": kind, "options": dict(options), "state": _plain(state)}
    buffer = io.BytesIO()
    torch.save({**content, "digest": _digest(content)}, buffer)
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The (options, state) that `save_checkpoint` wrote. Runs no code from the file.

    Raises:
        InputError: where it is missing, damaged, of another kind or of another format.
        MemoryError: where memory is short, which does not mean that the file is damaged.
    """
    if not path.exists():
        raise InputError(f"{path} is missing; run: dvc repro {maker(path)}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        stated = content.pop("digest")
        damaged = stated != _digest(content)
        found = (content["kind"], content["format"])
        options, state = dict(content["options"]), dict(content["state"])
    except Exception as error:  # torch raises many kinds, all of them meaning: not our file
        raise_if_out_of_memory(error)
        raise InputError(
            f"{path} is damaged or not ours ({type(error).__name__}); {remake(path)}"
        ) from error
    if damaged:
        raise InputError(f"{path} is damaged: its digest does not match; {remake(path)}")
    if found != (kind, FORMAT):
        told = "{} of format {}".format(*found)
        raise InputError(f"{path} holds a {told}, not a {kind} of format {FORMAT}; {remake(path)}")
    return options, state


def checked_digest(path: Path, kind: str) -> str:
    """Read a checkpoint whole, check it, and return the digest of its file.

    Raises:
        InputError: as `load_checkpoint` does.
    """
    load_checkpoint(path, kind)
    return file_digest(path)


def rebuild(
    path: Path,
    options: Mapping[str, Any],
    state: Mapping[str, Any],
    make: Callable[..., Made],
    networks: Callable[[Made], Mapping[str, nn.Module]],
) -> Made:
    """What `make(**options)` builds, with the weights `state`, both as read from `path`.

    It is built on the meta device first, so that forged options cannot allocate memory that the
    file has no weights for. networks: maps what was built to its networks, by the names in `state`.

    Raises:
        InputError: where options or weights do not fit such networks.
    """
    try:
        _check_options(options)
        with torch.device("meta"):
            for name, network in networks(make(**options)).items():
                _check_weights(network.state_dict(), state[name])
        made = make(**options)
        for name, network in networks(made).items():
            network.load_state_dict(state[name])
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise_if_out_of_memory(e)
        reason = f"{type(e).__name__}: {' '.join(str(e).split())[:200]}"
        raise InputError(
            f"{path} does not fit this version of pairsynth ({reason}); {remake(path)}"
        ) from e
    return made


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that are not strings, lists, named digests or plausible integers."""
    for key, value in options.items():
        size = type(value) is int and 1 <= value < 2**20
        if not size and type(value) not in (str, list, dict):
            raise ValueError(f"{key} is {value!r}")


def _check_weights(wanted: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
    for name in wanted.keys() ^ found.keys():
        raise ValueError(f"{name} is {'missing' if name in wanted else 'not known'}")
    for name, weight in wanted.items():
        one = found[name]
        if (one.dtype, one.shape) != (weight.dtype, weight.shape):
            told = [f"{t.dtype} {tuple(t.shape)}" for t in (one, weight)]
            raise ValueError(f"{name} is {told[0]}, not {told[1]}")
        if not bool(one.isfinite().all()):
            raise ValueError(f"{name} is not finite")


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from _tensors(child, f"{name}.{key}" if name else str(key))


def _plain(value: Any) -> Any:
    """Tensors moved to the CPU in one standard layout, so that equal weights give equal bytes."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    return value


def _digest(content: Mapping[str, Any]) -> str:
    total = hashlib.sha256()
    for name, tensor in _tensors(content):
        total.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        total.update(
            tensor.contiguous().view(torch.uint8).numpy().tobytes()
            if tensor.ndim
            else repr(tensor.item()).encode()
        )
    total.update(repr(_without_tensors(content)).encode())
    return total.hexdigest()


def _without_tensors(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_tensors(child) for key, child in value.items()}
    return "tensor" if isinstance(value, Tensor) else value
