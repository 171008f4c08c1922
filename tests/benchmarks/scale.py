"""Many training images: what novelty costs a candidate, and memory; and pairs a second.

    python -m tests.benchmarks.scale novelty --rows 1000000
    python -m tests.benchmarks.scale pairs data params.yaml

Pairs are made with one and with four candidates, in turns, so that a busy machine is as unfair to
the one as to the other. Times are of the processor, not of the clock.
"""

import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch.nn import functional as F

from pairsynth import config, synthesis
from pairsynth.dataset import INPUTS
from pairsynth.latents import SynthesisConfig
from pairsynth.metrics.nearest import Directions, Indexed, IndexedBits
from pairsynth.metrics.novelty import hashes, thumbnails
from pairsynth.shard_making import Recipe

app = typer.Typer()


def peak() -> float:
    """The most memory this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def drawn(count: int, seed: int) -> torch.Tensor:
    """Smooth images of 16 x 16 pixels, uint8 (N, 3, 16, 16)."""
    rng = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, count, 20_000):
        coarse = torch.rand(min(20_000, count - start), 3, 4, 4, generator=rng)
        smooth = F.interpolate(coarse, 16, mode="bilinear") * 255
        parts.append(smooth.to(torch.uint8))
    return torch.cat(parts)


@app.command()
def novelty(rows: int = 1_000_000, asked: int = 400, dimension: int = 64) -> None:
    """Build the three indexes over synthetic rows and ask them for the nearest of others."""
    torch.set_num_threads(1)
    train, others = drawn(rows, 0), drawn(asked, 1)
    rng = torch.Generator().manual_seed(2)
    psi = F.normalize(torch.randn(rows, dimension, generator=rng), dim=1)
    queries = F.normalize(torch.randn(asked, dimension, generator=rng), dim=1)
    typer.echo(f"{rows:,} rows, {peak():.2f} GB before the indexes")
    total = 0.0
    for name, make, what in (
        ("thumbnails", lambda: Indexed(thumbnails, train), others),
        ("hashes", lambda: IndexedBits(hashes, train), others),
        ("captions", lambda: Directions(psi), queries),
    ):
        start = time.process_time()
        index = make()
        built = time.process_time()
        for part in what.split(50):
            index.find(part)
        each = (time.process_time() - built) / asked * 1000
        total += each
        recall = f", recall {index.recall:.3f}" if hasattr(index, "recall") else ""
        typer.echo(f"{name}: built in {built - start:.0f} s, {each:.2f} ms a candidate{recall}")
    typer.echo(f"together {total:.2f} ms a candidate, peak {peak():.2f} GB")


@app.command()
def pairs(
    data: Path, params: Path, blocks: int = 4, turns: Annotated[int, typer.Option(min=1)] = 3
) -> None:
    """Pairs a CPU-second at one candidate and at four, in one process of one thread."""
    names = ("pictures", "embeddings", "encoder.pt", "gan.pt", "captioner.pt", "gmm.npz")
    options = config.load(SynthesisConfig, "synthesize", params)
    paths = dict(zip(INPUTS, (data / name for name in names), strict=True))
    recipe = Recipe(**paths, config=options, seed=config.load_seed(params), device="cpu")
    inputs = recipe.inputs()
    count = blocks * synthesis.BLOCK
    for turn in range(turns + 1):
        for candidates in (1, 4):
            chosen = replace(inputs, config=replace(options, candidates=candidates))
            start = time.process_time()
            made = synthesis.synthesize(chosen, numbers=range(turn * count, (turn + 1) * count))
            found = len(list(synthesis.rows(chosen, made)))
            if turn:  # the first warms up
                rate = found / (time.process_time() - start)
                typer.echo(f"{candidates} candidates: {rate:.0f} pairs/CPU-s")


if __name__ == "__main__":
    app()
