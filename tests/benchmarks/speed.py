"""How fast the work inside the stages is: python -m tests.benchmarks.speed

Rates are medians over rounds in which the candidates take turns, so that a machine whose speed
drifts treats all alike; the ratio is taken round by round.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import typer

from pairsynth import config, devices, gan_training, seeds
from pairsynth.artifacts import Embeddings, Pictures
from pairsynth.captioner import Captioner, decode, decode_beam, likelihood_loss
from pairsynth.gan import Gan
from pairsynth.text import SPECIALS, Vocabulary

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")

Work = Callable[[], int]


def race(title: str, unit: str, works: dict[str, Work], rounds: int) -> None:
    """Print the median rate of each work, and its median ratio to the first."""
    for work in works.values():
        work()
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            rates[name].append(work() / (time.perf_counter() - start))
    first = next(iter(rates.values()))
    typer.echo(title)
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(found, first, strict=True))
        typer.echo(f"  {name:36} {statistics.median(found):10,.0f} {unit}/s  {ratio:6.2f} x")


def pictures(count: int, size: int) -> Pictures:
    """Noise in classes of four, with one caption each."""
    pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    ids = [str(i) for i in range(count)]
    return Pictures(ids, torch.arange(count) // 4, ids, pixels, [["a flower"]] * count, None)


def gan_step(objective: str) -> Work:
    """An epoch of training at the widths of params.yaml."""
    options = config.load(gan_training.GanConfig, "train_gan", ROOT / "params.yaml")
    batch = options.batch_size
    data = pictures(4 * batch, 64)
    vectors = torch.nn.functional.normalize(torch.randn(len(data), 128), dim=1)
    widths = (options.generator_channels, options.discriminator_channels)
    gan = Gan.build(objective, 64, 128, options.noise, *widths).to(CPU)
    randomness = seeds.torch_stream(0, "benchmark")
    embeddings = Embeddings(vectors, vectors)
    batches = gan_training.Batches(data, embeddings, batch, 64, CPU)
    step = gan_training.Step(gan, options, randomness)

    def work() -> int:
        for one in batches.epoch(randomness):
            step(one)
        return len(data)

    return work


def captioner() -> tuple[Captioner, torch.Tensor]:
    """An untrained captioner of 2,000 words and phi (256, 256, 4, 4)."""
    words = (*SPECIALS, *(f"w{i}" for i in range(2000)))
    return Captioner(Vocabulary("word", words), 256, 256).eval(), torch.randn(256, 256, 4, 4)


def one_by_one(write: Callable[[torch.Tensor], Sequence[str]], phi: torch.Tensor) -> Work:
    """Captions for 32 phi, each in a call of its own."""
    return lambda: sum(len(write(row)) for row in phi[:32].split(1))


def reading() -> Work:
    """Captioner training: tokens read, forward and backward."""
    model, phi = captioner()
    tokens = torch.randint(4, 2000, (256, 20))

    def work() -> int:
        with devices.autocast(CPU):
            logits = model.train()(phi, tokens)
        likelihood_loss(logits.float(), tokens).backward()
        return tokens.numel()

    return work


def main(rounds: int = 5) -> None:
    """Run all races."""
    torch.manual_seed(0)
    race(
        "training the GAN at the widths of params.yaml",
        "images",
        {"hinge": gan_step("hinge"), "gan-cls networks": gan_step("gan-cls")},
        rounds,
    )
    race("training the captioner", "tokens", {"captioner": reading()}, rounds)
    model, phi = captioner()
    for name, write in (
        ("greedy", lambda rows: decode(model, rows)),
        ("beam 5", lambda rows: decode_beam(model, rows)),
    ):
        race(
            f"decoding, {name}",
            "captions",
            {"one at a time": one_by_one(write, phi), "batched": lambda w=write: len(w(phi))},
            rounds,
        )


if __name__ == "__main__":
    typer.run(main)
