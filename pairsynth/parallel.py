"""Data-parallel training in processes started by `torchrun`: each learns from its share of every
batch, and all take the same step.

Gradients are averaged by hand instead of by torch's DistributedDataParallel, which expects one
`forward` per step, while these networks are called by parts (phi, then score), twice a step, and
spectral norm recomputes their weights each time. In a single process every function here returns
its argument unchanged.
"""

import atexit
import os
import sys
from typing import Any

import torch
from torch import Tensor, distributed, nn

from pairsynth.errors import InputError
from pairsynth.seeds import digest


def launch(module: str, processes: int) -> None:
    """Restart the command `module` under torchrun with so many processes, unless already there.

    This process does nothing after it, so inputs are checked before.
    """
    if processes > 1 and not distributed.is_torchelastic_launched():
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        words = [sys.executable, "-m", *launcher, "-m", module, *sys.argv[1:]]
        sys.stdout.flush()
        os.execv(sys.executable, words)


def join(device: torch.device) -> torch.device:
    """Join the process group if `torchrun` started this process; return the device to use."""
    if not distributed.is_torchelastic_launched():
        return device
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    atexit.register(distributed.destroy_process_group)
    if device.type == "cuda":
        device = torch.device("cuda", distributed.get_node_local_rank())
        torch.cuda.set_device(device)
    return device


def leave() -> None:
    """End all processes but the first, which alone writes the outputs."""
    if size() > 1:
        distributed.barrier()
        if rank():
            raise SystemExit(0)


def size() -> int:
    """The number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def whole_batch(wanted: int, rows: int) -> int:
    """Rows of a batch over all processes: `wanted`, at most `rows`, divisible by their number.

    Raises:
        InputError: where a process would be left without a row.
    """
    batch = min(wanted, rows) // size() * size()
    if not batch:
        raise InputError(f"{size()} processes cannot share a batch of {wanted} of {rows} rows")
    return batch


def own(rows: Tensor) -> Tensor:
    """This process's share of the rows (N) of a batch."""
    return rows[rank() :: size()]


def same(drawn: Tensor) -> Tensor:
    """The tensor `drawn` of the first process."""
    if size() > 1:
        distributed.broadcast(drawn, 0)
    return drawn


def agree(*networks: nn.Module) -> None:
    """Copy the weights of the first process to all."""
    for network in networks:
        for tensor in network.state_dict().values():
            same(tensor)


def draw_apart(rng: torch.Generator, seed: int, stage: str, epoch: int) -> None:
    """Give each process random numbers of its own for crops, noise and dropout in this epoch.

    The first process continues its stream. The others are seeded anew in every epoch, so that a
    resumed training need not store their state.
    """
    if rank():
        rng.manual_seed(digest(seed, stage, "process", rank(), epoch))
        torch.manual_seed(digest(seed, stage, "dropout", rank(), epoch))


def total(values: Tensor) -> Tensor:
    """The sum over all processes."""
    if size() > 1:
        distributed.all_reduce(values)
    return values


def mean(values: Tensor) -> Tensor:
    """The mean over all processes."""
    return total(values) / size()


def average_gradients(*networks: nn.Module) -> None:
    """Replace each gradient by its mean over all processes, the gradient of the whole batch."""
    if size() > 1:
        _average([p.grad for n in networks for p in n.parameters() if p.grad is not None])


def average_before(optimizer: torch.optim.Optimizer) -> None:
    """Average the gradients of the parameters of `optimizer` before each of its steps."""

    def hook(*_: Any) -> None:
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        _average([p.grad for p in weights if p.grad is not None])

    if size() > 1:
        optimizer.register_step_pre_hook(hook)


@torch.no_grad()
def average_buffers(*networks: nn.Module) -> None:
    """Average the floating-point buffers (batch statistics) over all processes."""
    if size() > 1:
        _average([b for n in networks for b in n.buffers() if b.is_floating_point()])


def _average(tensors: list[Tensor]) -> None:
    if not tensors:
        return
    together = mean(torch.cat([tensor.flatten() for tensor in tensors]))
    parts = together.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


class _Gather(torch.autograd.Function):
    """All-gather of rows whose backward pass returns each gradient to its process."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return total(gradients[0].contiguous()).chunk(size())[rank()]


def gather(rows: Tensor) -> Tensor:
    """The rows (N, ...) of all processes in their order, for a loss over the whole batch."""
    return _Gather.apply(rows) if size() > 1 else rows
