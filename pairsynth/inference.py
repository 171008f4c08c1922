"""Evaluation mode: no dropout, running statistics of batch norm, no gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def inference(*networks: nn.Module) -> Iterator[None]:
    """Put `networks` into evaluation mode without gradients; afterwards restore each part's mode.

    Code that uses a network asks for this itself and does not rely on the training loop: a training
    resumed after its last epoch never runs the code at the end of an epoch.
    """
    parts = [part for network in networks for part in network.modules()]
    training = [part.training for part in parts]
    for network in networks:
        network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in zip(parts, training, strict=True):
            part.training = mode
