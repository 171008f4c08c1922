"""What an item of the data set costs to read: python -m tests.benchmarks.reading data/synthetic

Milliseconds of the processor an item, in order and shuffled, once through: what a row group costs
when it is touched first is in it. Beside it Hugging Face's reader, on the same rows.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

from pairsynth.pairs import PairDataset


def cost(title: str, opened: Callable[[], Any], order: Sequence[int]) -> None:
    """Open, take every item of `order`, and print what one took."""
    start = time.process_time()
    items = opened()
    ready = time.process_time()
    for row in order:
        items[int(row)]["image"]
    end = time.process_time()
    each = 1000 * (end - ready) / len(order)
    typer.echo(f"{title:36} {each:6.3f} CPU-ms an item, {ready - start:6.2f} s to open")


def main(folder: Path, most: int = 20_000) -> None:
    """Read at most `most` items of the data set in `folder` in either order."""
    import datasets

    count = min(len(PairDataset(folder)), most)
    orders = {"in order": range(count), "shuffled": np.random.default_rng(0).permutation(count)}
    with tempfile.TemporaryDirectory() as cache:

        def hugging_face() -> Any:
            return datasets.load_dataset(str(folder), cache_dir=cache, split="train")

        for name, order in orders.items():
            cost(f"PairDataset, {name}", lambda: PairDataset(folder), order)  # type: ignore[arg-type]
            cost(f"Hugging Face datasets, {name}", hugging_face, order)  # type: ignore[arg-type]


if __name__ == "__main__":
    typer.run(main)
