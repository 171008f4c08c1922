"""Trained networks as files: tensors and plain values, a digest of all of it, and no code."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairsynth.artifacts import FORMAT, file_digest, maker, remake, write_whole
from pairsynth.errors import InputError


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
    """
    if not path.exists():
        raise InputError(f"{path} is missing; run: dvc repro {maker(path)}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        stated = content.pop("digest")
        damaged = stated != _digest(content)
    except Exception as error:  # torch raises many kinds, all of them meaning: not our file
        raise InputError(
            f"{path} is damaged or not ours ({type(error).__name__}); {remake(path)}"
        ) from error
    if damaged:
        raise InputError(f"{path} is damaged: its digest does not match; {remake(path)}")
    if (content["kind"], content["format"]) != (kind, FORMAT):
        found = f"{content['kind']} of format {content['format']}"
        raise InputError(f"{path} holds a {found}, not a {kind} of format {FORMAT}; {remake(path)}")
    return content["options"], content["state"]


def checked_digest(path: Path, kind: str) -> str:
    """The digest of the file of a checkpoint, which is read whole and found sound.

    Raises:
        InputError: as `load_checkpoint` does.
    """
    load_checkpoint(path, kind)
    return file_digest(path)


def restore(network: torch.nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Give `network` the weights that `load_checkpoint` read from `path`.

    Raises:
        InputError: where they are not this network's.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} does not fit this version of pairsynth ({reason}); {remake(path)}"
        ) from error


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
