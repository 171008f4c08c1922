"""How fast the work inside the stages is: python -m tests.benchmarks.speed

Rates are medians over rounds in which the candidates take turns, so that a machine whose speed
drifts treats all alike; the ratio is taken round by round. Where other work runs beside it, count
seconds of the processor instead: OMP_NUM_THREADS=1 python -m tests.benchmarks.speed --cpu-seconds
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import typer
from ruamel.yaml import YAML

from pairsynth import config, devices, gan_training, seeds
from pairsynth.batches import Batch, Batches
from pairsynth.captioner import MAX_WORDS, Captioner, likelihood_loss
from pairsynth.decoding import decode_beam
from pairsynth.examples import Embeddings, Examples
from pairsynth.gan import Gan
from pairsynth.nonfinite import gradient_norm
from pairsynth.text import SPECIALS, Vocabulary
from tests.benchmarks.plain import PlainCaptioner, PlainStep, plain_loss

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")

Work = Callable[[], int]


clock = time.perf_counter


def race(title: str, unit: str, works: dict[str, Work], rounds: int) -> None:
    """Print the median rate of each work, and its median ratio to the first."""
    for work in works.values():
        work()
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = clock()
            rates[name].append(work() / (clock() - start))
    first = next(iter(rates.values()))
    typer.echo(title)
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(found, first, strict=True))
        typer.echo(f"  {name:36} {statistics.median(found):10,.0f} {unit}/s  {ratio:6.2f} x")


def examples(count: int, size: int) -> Examples:
    """Noise in classes of four, with one caption each."""
    pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    ids = [str(i) for i in range(count)]
    return Examples(
        ids=ids,
        class_ids=torch.arange(count) // 4,
        class_names=ids,
        pixels=pixels,
        captions=[["a flower"]] * count,
        attributes=None,
    )


def gan_step(objective: str) -> Work:
    """An epoch of training at the widths of params.yaml."""
    options = config.load(gan_training.GanConfig, "train_gan", ROOT / "params.yaml")
    batch = options.batch_size
    data = examples(4 * batch, 64)
    vectors = torch.nn.functional.normalize(torch.randn(len(data), 128), dim=1)
    gan = Gan.build(
        objective,
        size=64,
        dimension=128,
        noise=options.noise,
        generator_channels=options.generator_channels,
        discriminator_channels=options.discriminator_channels,
    ).to(CPU)
    rng = seeds.torch_stream(0, "benchmark")
    embeddings = Embeddings(image=vectors, psi=vectors)
    noise = torch.randn(len(data), options.noise)
    batches = Batches(data, embeddings, noise, batch, 64, CPU)
    step = gan_training.Step(gan, options, rng)

    def work() -> int:
        for one in batches.epoch(rng):
            step(one)
        return len(data)

    return work


def peers_gan() -> Gan:
    """The paper's networks at the size of public code: 1,024 numbers in psi, 64 channels."""
    torch.manual_seed(0)
    return Gan.build(
        "gan-cls",
        size=64,
        dimension=1024,
        noise=100,
        generator_channels=64,
        discriminator_channels=64,
    )


def papers_options() -> gan_training.GanConfig:
    """params.yaml as the profile `paper` leaves `train_gan`."""
    yaml = YAML(typ="safe")
    given = yaml.load(ROOT / "params.yaml")
    changes = yaml.load(ROOT / "pairsynth" / "profiles" / "paper.yaml")
    return gan_training.GanConfig(**(given["train_gan"] | changes["train_gan"]))


def peers_batch() -> tuple[torch.Tensor, ...]:
    """64 images of 64 x 64, psi of their captions and of wrong ones."""
    psi = torch.nn.functional.normalize(torch.randn(128, 1024), dim=1)
    return (torch.rand(64, 3, 64, 64) * 2 - 1, *psi.chunk(2))


def plain_gan_step() -> Work:
    """A step of GAN-CLS, straightforward."""
    step, batch = PlainStep(peers_gan(), 2e-4), peers_batch()

    def work() -> int:
        step(*batch)
        return 64

    return work


def paper_step() -> Work:
    """A step of GAN-CLS as `train_gan` does it with the profile `paper`, all that a step costs."""
    gan, (images, psi, wrong) = peers_gan().to(CPU), peers_batch()
    options = papers_options()
    step = gan_training.Step(gan, options, seeds.torch_stream(0, "benchmark"))
    ema = gan_training.EMA(gan.generator, options.ema_decay)
    batch = Batch(
        images=images,
        psi=psi,
        wrong_psi=wrong,
        noise=torch.randn(64, options.noise),
        class_ids=torch.arange(64),
        rival_psi=wrong,
        rival_class_ids=torch.arange(64, 128),
    )

    def work() -> int:
        step(batch)
        gradient_norm(gan.discriminator), gradient_norm(gan.generator)
        ema.update(gan.generator)
        return 64

    return work


WORDS, CHANNELS, HIDDEN = 2400, 512, 512


def captioner() -> tuple[Captioner, torch.Tensor]:
    """An untrained captioner of 2,400 words and phi (256, 512, 4, 4)."""
    words = (*SPECIALS, *(f"w{i}" for i in range(WORDS - len(SPECIALS))))
    model = Captioner(Vocabulary("word", words), CHANNELS, HIDDEN).eval()
    return model, torch.randn(256, CHANNELS, 4, 4)


def reading() -> Work:
    """A step of captioner training as `train_captioner` does it, on 32 captions."""
    model, phi = captioner()
    tokens = torch.randint(len(SPECIALS), WORDS, (32, 20))
    optimizer = torch.optim.AdamW(model.train().parameters(), 1e-4, fused=True)

    def work() -> int:
        with devices.autocast(CPU):
            logits = model(phi[:32], tokens)
        loss = likelihood_loss(logits.float(), tokens)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return tokens.numel()

    return work


def plain_reading() -> Work:
    """The same on an LSTM stepped word by word."""
    model, phi = PlainCaptioner(WORDS, CHANNELS, HIDDEN), torch.randn(32, CHANNELS, 4, 4)
    tokens = torch.randint(len(SPECIALS), WORDS, (32, 20))
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def work() -> int:
        loss = plain_loss(model(phi, tokens), tokens)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return tokens.numel()

    return work


def one_by_one(write: Callable[[torch.Tensor], object], phi: torch.Tensor) -> Work:
    """Captions for 4 phi, each in a call of its own."""

    def work() -> int:
        for row in phi[:4].split(1):
            write(row)
        return 4

    return work


def together(
    write: Callable[[Captioner, torch.Tensor], Sequence[str]], model: Captioner, phi: torch.Tensor
) -> Work:
    """Captions for all phi, in one call."""
    return lambda: len(write(model, phi))


def gan_at_our_widths(rounds: int) -> None:
    """The two objectives."""
    works = {"hinge": gan_step("hinge"), "gan-cls networks": gan_step("gan-cls")}
    race("training the GAN at the widths of params.yaml", "images", works, rounds)


def gan_at_peers_widths(rounds: int) -> None:
    """Target: 3 x."""
    works = {"straightforward": plain_gan_step(), "pairsynth, profile paper": paper_step()}
    race("training the GAN at the size of public code", "images", works, rounds)


def captioner_training(rounds: int) -> None:
    """Target: 3 x."""
    works = {"word by word": plain_reading(), "pairsynth": reading()}
    race("training the captioner", "tokens", works, rounds)


def beam(rounds: int) -> None:
    """Target: 15 x."""
    plain, (model, phi) = PlainCaptioner(WORDS, CHANNELS, HIDDEN).eval(), captioner()
    works = {
        "one at a time": one_by_one(plain.beam, phi),
        "pairsynth": together(decode_beam, model, phi),
    }
    race(f"decoding, beam 5, {MAX_WORDS} words each", "captions", works, rounds)


RACES = (gan_at_our_widths, gan_at_peers_widths, captioner_training, beam)


def main(rounds: int = 5, only: str = "", cpu_seconds: bool = False) -> None:
    """Run all races, or those whose name begins with `only`."""
    global clock
    clock = time.process_time if cpu_seconds else time.perf_counter
    torch.manual_seed(0)
    for run in RACES:
        if run.__name__.startswith(only):
            run(rounds)


if __name__ == "__main__":
    typer.run(main)
