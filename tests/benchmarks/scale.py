"""Many images, many pairs: what novelty costs a candidate; pairs a second; memory they take.

    python -m tests.benchmarks.scale novelty --rows 1000000
    python -m tests.benchmarks.scale pairs data params.yaml
    python -m tests.benchmarks.scale memory data params.yaml --pairs 10000 --pairs 200000

Pairs are made with one and with four candidates, in turns, so that a busy machine is as unfair to
the one as to the other. Times are of the processor, not of the clock. Memory is that of the stage,
as the system has it, at its most: of the first process and of each worker.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from ruamel.yaml import YAML
from torch.nn import functional as F

from pairsynth import config, synthesis
from pairsynth.dataset import INPUTS
from pairsynth.latents import SynthesisConfig
from pairsynth.metrics.nearest import Directions, Indexed, IndexedBits
from pairsynth.metrics.novelty import hashes, thumbnails
from pairsynth.shard_making import ShardFactory

app = typer.Typer()
NAMES = ("pictures", "embeddings", "encoder.pt", "gan.pt", "captioner.pt", "gmm.npz")


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
    options = config.load(SynthesisConfig, "synthesize", params)
    paths = dict(zip(INPUTS, (data / name for name in NAMES), strict=True))
    factory = ShardFactory(**paths, config=options, seed=config.load_seed(params), device="cpu")
    inputs = factory.inputs()
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


@app.command()
def memory(
    data: Path,
    params: Path,
    pairs: Annotated[list[int], typer.Option()],
    workers: int = 2,
) -> None:
    """The most memory of the stage's processes, for each number of pairs; Linux alone tells it."""
    for count in pairs:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            tree = YAML().load(params)
            tree["synthesize"]["pairs"] = count
            YAML().dump(tree, folder / "params.yaml")
            words = [sys.executable, "-m", "stages.synthesize", *(str(data / one) for one in NAMES)]
            words += [str(folder / one) for one in ("synthetic", "metrics.json")]
            words += ["--params", str(folder / "params.yaml"), "--workers", str(workers)]
            environment = {**os.environ, "PAIRSYNTH_RESUME_DIR": str(folder / "resume")}
            most = watched(subprocess.Popen(words, env=environment))
            made = config.read(folder / "metrics.json")["pairs"]
        first, *others = (f"{size:.0f}" for size in most)
        typer.echo(
            f"{count:,} tried, {made:,} pairs: {first} MB, workers {' and '.join(others)} MB"
        )


def watched(process: subprocess.Popen[bytes]) -> list[float]:
    """The most memory, in MB, of a process and of each that it starts."""
    most: dict[str, float] = {}
    while process.poll() is None:
        own = Path(f"/proc/{process.pid}")
        with suppress(OSError):
            children = (own / f"task/{process.pid}/children").read_text().split()
            for one in (str(process.pid), *children):
                told = (own.parent / one / "status").read_text()
                if found := re.search(r"VmHWM:\s+(\d+) kB", told):
                    most[one] = int(found[1]) / 1000
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(process.returncode)
    return [size for size in most.values() if size > 100]  # the other is multiprocessing's own


if __name__ == "__main__":
    app()
