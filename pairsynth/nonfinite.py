"""Stop a training at a non-finite loss or gradient, before anything is saved."""

import torch
from torch import Tensor, nn

from pairsynth.errors import InputError


def gradient_norm(network: nn.Module) -> Tensor:
    """The norm of all gradients of `network` together, left on its device without a sync."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients, foreach=True)


def check_finite(values: Tensor, names: str, stage: str, epoch: int, mend: str) -> Tensor:
    """Return `values`, one row per step, if all are finite.

    names: what the columns are. mend: advice for the message.

    Raises:
        InputError: naming stage, epoch and step.
    """
    bad = (~values.isfinite().all(1)).nonzero()
    if len(bad):
        step = int(bad[0])
        told = ", ".join(f"{value:g}" for value in values[step].tolist())
        raise InputError(f"{stage}: {names} are {told} in epoch {epoch}, step {step + 1}; {mend}")
    return values
