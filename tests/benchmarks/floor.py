"""How near a step of train_gan comes to its arithmetic: python -m tests.benchmarks.floor

The floor is the time that the step's multiplications would take at the rate of one large matrix
product on the same device, in the same precision. On a GPU: --device cuda, --compile to see what
torch.compile brings there, --batch for other batches.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import typer
from torch.utils.flop_counter import FlopCounterMode

from pairsynth import config, devices, seeds
from pairsynth.batches import RIVALS, Batch
from pairsynth.gan import Gan
from pairsynth.gan_training import EMA, GanConfig, Step
from tests.benchmarks.speed import ROOT, papers_options, peers_gan

SIDE = 4096


def works() -> Iterator[tuple[str, Gan, GanConfig]]:
    """The paper's step at the size of public code, and the default's at the same widths."""
    yield "the paper's", peers_gan(), papers_options()
    options = config.load(GanConfig, "train_gan", ROOT / "params.yaml")
    yield (
        "the default's",
        Gan.build(
            "hinge",
            size=64,
            dimension=128,
            noise=options.noise,
            generator_channels=64,
            discriminator_channels=64,
        ),
        options,
    )


def batch_of(count: int, psi: int, noise: int, device: torch.device) -> Batch:
    """`count` images of noise, each of a class of its own."""
    many = 2 * count + RIVALS
    vectors = torch.nn.functional.normalize(torch.randn(many, psi, device=device), dim=1)
    images = torch.rand(count, 3, 64, 64, device=device) * 2 - 1
    right, wrong, rivals = vectors.split([count, count, RIVALS])
    return Batch(
        images=images,
        psi=right,
        wrong_psi=wrong,
        noise=torch.randn(count, noise, device=device),
        class_ids=torch.arange(count, device=device),
        rival_psi=rivals,
        rival_class_ids=torch.arange(count, count + RIVALS, device=device),
    )


def seconds(work: Callable[[], object], device: torch.device, least: float = 3.0) -> float:
    """How long `work` takes, over at least `least` seconds, once it has run a few times."""
    for _ in range(3):
        work()
    done, start = 0, finished(device)
    while finished(device) - start < least:
        for _ in range(10):
            work()
        done += 10
    return (finished(device) - start) / done


def finished(device: torch.device) -> float:
    """The time when the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def matrix_rate(device: torch.device) -> float:
    """Multiplications and additions a second in a large matrix product."""
    dtype = devices.precision(device)
    left, right = torch.randn(2, SIDE, SIDE, device=device).to(dtype)
    return 2 * SIDE**3 / seconds(lambda: left @ right, device)


def main(device: str = "auto", batch: int = 64, compile: bool = False) -> None:
    """Print a line for each step."""
    chosen = devices.choose(device)
    rate = matrix_rate(chosen)
    typer.echo(f"a matrix product of {SIDE} x {SIDE}: {rate / 1e12:.2f} TFLOP/s")
    for name, gan, options in works():
        gan.to(chosen)
        data = batch_of(batch, int(gan.options["dimension"]), gan.noise, chosen)
        rng = seeds.torch_stream(0, "benchmark", device=chosen)
        with FlopCounterMode(display=False) as counter:
            Step(gan, options, rng)(data)
        step = Step(gan, replace(options, compile=compile), rng)
        ema = EMA(gan.generator, options.ema_decay)

        def work(step: Step = step, ema: EMA = ema, data: Batch = data) -> None:
            step(data)
            ema.update(step.gan.generator)

        spent, flops = seconds(work, chosen), counter.get_total_flops()
        typer.echo(
            f"{name} step: {batch / spent:,.0f} images/s, "
            f"{flops / batch / 1e9:.2f} GFLOP an image, {flops / rate / spent:.0%} of the floor"
        )


if __name__ == "__main__":
    typer.run(main)
