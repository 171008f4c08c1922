"""How fast this machine multiplies in each precision: python -m tests.benchmarks.precision

A product of two squares of 2,048, and 3 x 3 convolutions forwards and backwards at the widths of
the garden and of Oxford-102's profile, as the stages do them: channels last, weights in float32.
Where other work runs beside it, add --cpu-seconds, with OMP_NUM_THREADS=1 before the command.
"""

import statistics
import time
from collections.abc import Callable

import torch
import typer
from torch.nn import functional as F

from pairsynth import devices
from pairsynth.config import Precision

SIDE = 2048
# Name -> images, channels in and out, side.
CONVOLUTIONS = {
    "3 x 3 convolution, 32 to 64 channels at 32": (32, 32, 64, 32),
    "3 x 3 convolution, 64 to 128 channels at 16": (64, 64, 128, 16),
    "3 x 3 convolution, 256 to 512 channels at 8": (64, 256, 512, 8),
}

Work = Callable[[], float]  # what it did, in operations


def product(device: torch.device) -> Work:
    """One large matrix product."""
    left, right = torch.rand(2, SIDE, SIDE, device=device)

    def work() -> float:
        with devices.autocast(device):
            left @ right
        return 2.0 * SIDE**3

    return work


def convolution(device: torch.device, shape: tuple[int, int, int, int]) -> Work:
    """One convolution and its two gradients."""
    count, into, out, side = shape
    maps = torch.rand(count, into, side, side, device=device)
    maps = maps.to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.rand(out, into, 3, 3, device=device, requires_grad=True)

    def work() -> float:
        with devices.autocast(device):
            F.conv2d(maps, weight, padding=1).sum().backward()
        return 3 * 2.0 * count * into * out * 9 * side**2

    return work


def rate(work: Work, device: torch.device, clock: Callable[[], float]) -> float:
    """Operations in a second."""
    start = clock()
    done = sum(work() for _ in range(5))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return done / (clock() - start)


def main(rounds: int = 5, device: str = "auto", cpu_seconds: bool = False) -> None:
    """Print GFLOP/s in float32 and in bfloat16, which take turns, and what `auto` chooses."""
    where = devices.choose(device, Precision.auto)
    clock = time.process_time if cpu_seconds else time.perf_counter
    works = {"product of 2,048 cubed": product(where)}
    works |= {name: convolution(where, shape) for name, shape in CONVOLUTIONS.items()}
    typer.echo(f"{'GFLOP a CPU-second' if cpu_seconds else 'GFLOP/s':48}float32  bfloat16")
    for name, work in works.items():
        found: dict[Precision, list[float]] = {Precision.float32: [], Precision.bfloat16: []}
        for number in range(rounds + 1):
            for asked, rates in found.items():
                devices.ask(asked)
                told = rate(work, where, clock)
                rates += [told] if number else []  # the first round only warms up
        plain, half = (statistics.median(rates) / 1e9 for rates in found.values())
        typer.echo(f"  {name:46}{plain:7,.0f}  {half:8,.0f}  {half / plain:5.2f} x")


if __name__ == "__main__":
    typer.run(main)
