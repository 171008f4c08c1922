"""How much memory a step of training takes, asked before any of it is taken.

A machine that has less does not always say so: Linux hands out more than there is, and kills.
"""

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from pairsynth.errors import InputError

Made = TypeVar("Made")

# Beside its weights a network has their gradients, two averages of Adam's and a copy at the end.
COPIES = 5
CGROUP = Path("/sys/fs/cgroup/memory.max")


def available() -> int:
    """Bytes that this process may have: of the machine, of its control group, of its limit."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    found += [limit] if limit != resource.RLIM_INFINITY else []
    told = CGROUP.read_text().strip() if CGROUP.exists() else ""
    found += [int(told)] if told.isdecimal() else []
    return min(found)


def check_bytes(needed: int, what: str, mend: str) -> None:
    """Refuse to take `needed` bytes for `what` where there are not as many.

    Raises:
        InputError: with `mend`, which names the parameter.
    """
    if needed > available():
        raise InputError(
            f"{what}: {needed / 1e9:,.1f} GB of memory are needed, and there are "
            f"{available() / 1e9:,.1f}; {mend}"
        )


def check_training(
    section: str,
    widths: str,
    make: Callable[[], Made],
    networks: Callable[[Made], list[nn.Module]],
    step: Callable[[Made], object],
) -> None:
    """Refuse a training of networks for which there is not enough memory.

    They are made, and taken through a `step` forwards, on a device that has shapes and no numbers.
    On a GPU a step is its own affair: CUDA says when it has no more.
    section, widths: of params.yaml, and the parameters by which networks grow.

    Raises:
        InputError: naming the parameters to lower.
    """
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.device("meta"), saved_tensors_hooks(count, lambda tensor: tensor):
        made = make()
        weights = [weight for one in networks(made) for weight in one.parameters()]
        size = sum(weight.untyped_storage().nbytes() for weight in weights)
        check_bytes(COPIES * size, f"params.yaml: {section}", f"lower {widths}")
        if torch.cuda.is_available():
            return
        outcome = step(made)
        for weight in weights:
            kept.pop(weight.untyped_storage()._cdata, None)
    mend = f"lower {section}.batch_size, or {widths}"
    # A processor that multiplies in bfloat16 keeps half as much: what may do is not refused.
    check_bytes(COPIES * size + sum(kept.values()) // 2, f"params.yaml: {section}", mend)
    del outcome
