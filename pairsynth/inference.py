"""Networks in use: no dropout, the running statistics of batch norm, no gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def inference(*networks: nn.Module) -> Iterator[None]:
    """Use `networks` for what runs inside; then each of their parts is in the mode it was in.

    Whoever uses a network says so, instead of trusting the loop that trained it to have left it
    ready: a training that is resumed after its last epoch never comes to the end of one.
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
