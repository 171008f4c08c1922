"""`pairsynth look`: what `download` made, before the long run: images, splits, words, time."""

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import typer
from torch.nn import functional as F

from pairsynth import (
    captioner_training,
    config,
    console,
    devices,
    encoder_training,
    gan_training,
    seeds,
)
from pairsynth.artifacts import SPLITS, write_image
from pairsynth.captioner_training import CaptionerConfig
from pairsynth.collapse_monitor import CollapseMonitor
from pairsynth.config import Precision
from pairsynth.encoder_training import EncoderConfig, SeenImages
from pairsynth.examples import Embeddings, Examples, read_examples, read_list
from pairsynth.gan_training import GanConfig
from pairsynth.sheets import captioned_sheet
from pairsynth.text import tokenize

IMAGES, COLUMNS = 12, 6
WORDS = 15  # the most frequent, named
SHOWN = 3  # of what was refused, and of each oddity
SAMPLE = 256  # images that the pace is measured on
# What fit_gmm, synthesize, evaluate and report took together in the runs of docs/results.md, as
# shares of what the three trainings took.
REST = (0.27, 0.57)


def show(data: Path, params: Path, output: Path, seed: int) -> None:
    """Write a sheet of some train images with a caption each, and print a summary of the data.

    Raises:
        InputError: where data/pictures or the parameters cannot be used.
    """
    folder = data / "pictures"
    options = config.load(EncoderConfig, "embed", params)
    splits = {split: read_examples(folder, split) for split in SPLITS}
    train = splits["train"]
    chosen = seeds.stream(seed, "look").permutation(len(train))[:IMAGES].tolist()
    told = [train.captions[i][0] for i in chosen]
    title = f"{len(chosen)} of {len(train):,} train images"
    write_image(output, captioned_sheet(train.pixels[chosen], told, COLUMNS, title))
    typer.echo(output)
    for line in (*counted(splits), *worded(train, options.min_count), *odd(folder)):
        typer.echo(console.line(line))


def counted(splits: dict[str, Examples]) -> Iterator[str]:
    """One line per split: how many images, captions and classes."""
    for split, one in splits.items():
        classes = len(set(one.class_ids.tolist()))
        captions = len(one.flat_captions)
        yield f"{split:<9}{len(one):,} images, {captions:,} captions, {classes:,} classes"


def worded(train: Examples, least: int) -> Iterator[str]:
    """A line on the vocabulary: its size, words rarer than `embed.min_count`, the most frequent."""
    tokens = [[one for one in tokenize(text) if one != ","] for text in train.flat_captions]
    lengths = [len(one) for one in tokens]
    counts = Counter(word for one in tokens for word in one)
    rare = sum(count < least for count in counts.values())
    most = ", ".join(word for word, _ in counts.most_common(WORDS))
    yield (
        f"captions {statistics.median(lengths):g} words in the middle, from {min(lengths)} to "
        f"{max(lengths)}"
    )
    yield (
        f"words    {len(counts):,} different, {rare:,} of them less than {least} times in all "
        f"(embed.min_count), which psi will not know; the most frequent: {most}"
    )


def odd(folder: Path) -> Iterator[str]:
    """Lines on what `download` refused and found odd, such as near-duplicates."""
    refused = read_list(folder, "refused.csv")
    named = "; ".join(f"{item}: {reason}" for item, reason in refused[:SHOWN])
    yield f"refused  {len(refused):,}" + (f", such as {named}" if refused else "")
    found: dict[str, list[str]] = defaultdict(list)
    for finding, item, what in read_list(folder, "survey.csv"):
        found[finding].append(f"{item}: {what}")
    for finding, examples in found.items():
        yield f"odd      {finding}; such as {'; '.join(examples[:SHOWN])}"
    if not found:
        yield "odd      nothing: no near-duplicates, shared captions, small or blank images"


# ---------------------------------------------------------------- how long it will take


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The measured speed of a training here, and the estimated seconds of all its epochs."""

    stage: str
    rate: float
    unit: str
    seconds: float

    def __str__(self) -> str:
        return f"  {self.stage:<17}{lasting(self.seconds):>8}   {self.rate:,.0f} {self.unit}/s"


def tell_pace(data: Path, params: Path, seed: int, device: str, precision: Precision) -> None:
    """Train each network for two short epochs and print how long all epochs would take.

    Raises:
        InputError: where parameters, or the machine, do not allow one of the trainings.
    """
    train = read_examples(data / "pictures", "train")
    where = devices.choose(device, precision)
    seeds.fix(seed, "look")
    typer.echo("an estimate, by a few seconds of each training on this machine as it is just now:")
    total = 0.0
    for pace in paces(train, params, seed, where):
        typer.echo(pace)
        total += pace.seconds
    low, high = (lasting(share * total) for share in REST)
    typer.echo(f"  the other stages: {low} to {high}, if they take the share of the recorded runs")
    typer.echo(f"  all: about {lasting(total * (1 + sum(REST) / 2))}")


def paces(train: Examples, params: Path, seed: int, device: torch.device) -> Iterator[Pace]:
    """The pace of each training with its parameters, on some of the train images."""
    some = _some(train)
    images, captions = len(train), len(train.flat_captions)

    encoding = config.load(EncoderConfig, "embed", params)
    short = replace(encoding, epochs=2)
    encoder = encoder_training.build(short, some).to(device)
    seen = SeenImages(encoder, {"train": some, "val": some}, device)
    rate = _rate(encoder_training.train(encoder, seen, short, seed, device), "images")
    yield _pace("embed", rate, "images", images * encoding.epochs)

    drawing = config.load(GanConfig, "train_gan", params)
    quick = replace(drawing, epochs=2)
    psi = F.normalize(torch.randn(len(some.flat_captions), encoding.dimension), dim=1)
    vectors = Embeddings(image=psi[: len(some)], psi=psi)
    gan = gan_training.build(quick, some, vectors, "").to(device)
    monitor = CollapseMonitor(some, vectors, gan.size, gan.noise, seed, device)
    training = gan_training.train(gan, some, vectors, quick, seed, device, monitor)
    yield _pace("train_gan", _rate(training, "images"), "images", images * drawing.epochs)

    reading = config.load(CaptionerConfig, "train_captioner", params)
    brief = replace(reading, epochs=2)
    captioner = captioner_training.build(brief, some, gan.eval(), "").to(device)
    reports = captioner_training.train(captioner, gan, some, some, brief, seed, device)
    words: list[int] = []
    rate = _rate(reports, "words", words.append)
    share = captions / len(some.flat_captions)
    yield _pace("train_captioner", rate, "words", words[-1] * share * reading.epochs)


def _pace(stage: str, rate: float, unit: str, work: float) -> Pace:
    return Pace(stage=stage, rate=rate, unit=unit, seconds=work / rate)


def _rate(
    reports: Iterator[Any], unit: str, note: Callable[[int], object] = lambda _: None
) -> float:
    """Units per second in the second epoch; the first one includes the warm-up."""
    next(reports)
    start = time.perf_counter()
    report = next(reports)
    note(getattr(report, unit))
    return float(getattr(report, unit)) / (time.perf_counter() - start)


def _some(train: Examples) -> Examples:
    """`SAMPLE` evenly spaced images, enough to measure the speed."""
    rows = torch.linspace(0, len(train) - 1, min(SAMPLE, len(train))).long().tolist()
    return Examples(
        ids=[train.ids[i] for i in rows],
        class_ids=train.class_ids[rows],
        class_names=[train.class_names[i] for i in rows],
        pixels=train.pixels[rows],
        captions=[train.captions[i] for i in rows],
        attributes=None,
    )


def lasting(seconds: float) -> str:
    """A duration in words, with two digits or so."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            count = seconds / size
            return f"{count:.1f} {unit}" if count < 10 else f"{count:.0f} {unit}"
    return f"{seconds:.0f} s"
