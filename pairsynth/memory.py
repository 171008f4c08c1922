"""Check before a training that a step of it fits into memory.

A failed allocation does not always say so: Linux promises more than there is, then kills.
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
    """Bytes this process can still take: the least of machine, control group and process limit."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    found += [limit] if limit != resource.RLIM_INFINITY else []
    told = CGROUP.read_text().strip() if CGROUP.exists() else ""
    found += [int(told)] if told.isdecimal() else []
    return min(found)


def check_bytes(needed: int, what: str, mend: str) -> None:
    """Refuse to go on where `what` needs more than the available bytes.

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

    The networks are built, and run through a forward `step`, on the meta device, which has shapes
    but no data. On a GPU a step is not checked: CUDA reports a lack of memory itself.
    section, widths: the section of params.yaml, and its parameters that make networks larger.

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
