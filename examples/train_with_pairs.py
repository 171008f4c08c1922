"""Train a small image-text model with synthetic pairs as the recipe says, and without, and compare.

    python examples/train_with_pairs.py            # beside 5 % of the real pairs
    python examples/train_with_pairs.py --share 0.2

Reads data/pictures, data/synthetic and metrics/use.csv as `dvc repro` leaves them, with nothing of
pairsynth itself: a page to start one's own training from. A minute on the garden, two cores.
"""

import argparse
import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, WIDTH, BATCH, RATE = 32, 64, 64, 3e-3


def read(paths: list[Path]) -> tuple[Tensor, list[list[str]], list[float]]:
    """Images (N, 3, 32, 32), their captions, and the consistency of pairs."""
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    images = [Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB") for row in rows]
    pixels = np.stack([np.asarray(image.resize((SIDE, SIDE))) for image in images])
    captions = [row.get("captions") or [row["caption"]] for row in rows]
    scores = [row.get("consistency") or 0.0 for row in rows]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1, captions, scores


def recipe(table: Path, share: float) -> str:
    """The way of using pairs for retrieval that `evaluate` recommends at this share, or ""."""
    with table.open() as file:
        for row in csv.DictReader(file):
            known = row["task"] == "retrieval" and row["recipe"] == "1"
            if known and abs(float(row["share"]) - share) < 1e-6:
                print(f"recipe: {row['arm']}, gain on test {row['gain']}")
                return row["arm"]
    return ""


class Model(nn.Module):
    """Strided convolutions, and a bag of words, into one space."""

    def __init__(self, words: dict[str, int]) -> None:
        super().__init__()
        self.words = words
        layers: list[nn.Module] = []
        for width, wider in ((3, 32), (32, 64), (64, 96)):
            layers += [nn.Conv2d(width, wider, 4, 2, 1), nn.BatchNorm2d(wider), nn.ReLU()]
        self.trunk = nn.Sequential(*layers, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(96, WIDTH))
        self.bag = nn.EmbeddingBag(len(words) + 1, WIDTH, mode="sum")

    def read(self, captions: list[str]) -> Tensor:
        """Unit vectors (N, D) of captions."""
        rows = [[self.words.get(word, 0) for word in one.lower().split()] for one in captions]
        starts = np.cumsum([0, *map(len, rows)])[:-1]
        flat = torch.tensor([word for row in rows for word in row], dtype=torch.long)
        return F.normalize(self.bag(flat, torch.from_numpy(starts)), dim=1)

    def loss(self, images: Tensor, captions: list[list[str]], rng: np.random.Generator) -> Tensor:
        """Each image is to find its caption, and each caption its image."""
        told = [own[int(rng.integers(len(own)))] for own in captions]
        seen = F.normalize(self.trunk(images), dim=1)
        logits, own = 10 * seen @ self.read(told).T, torch.arange(len(images))
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


Set = tuple[Tensor, list[list[str]]]


def train(model: Model, phases: list[list[tuple[Set, float]]], steps: int, seed: int) -> None:
    """`steps` steps of each phase: a batch of each of its sets, each loss with its weight."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps * len(phases))
    for step in range(steps * len(phases)):
        optimizer.zero_grad()
        for (images, captions), weight in phases[step // steps]:
            rows = rng.choice(len(images), min(BATCH, len(images)), replace=False)
            loss = model.loss(images[rows], [captions[row] for row in rows], rng)
            (weight * loss).backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def recall(model: Model, images: Tensor, captions: list[list[str]]) -> float:
    """How often a test image's first caption is among the ten nearest to it."""
    model.eval()
    scores = F.normalize(model.trunk(images), dim=1) @ model.read([own[0] for own in captions]).T
    rank = (scores > scores.diagonal()[:, None]).sum(1)
    return float((rank < 10).float().mean())


def main() -> None:
    """Real alone, for as many steps in all, and with pairs by the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=0.05, help="of the real pairs")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--metrics", type=Path, default=Path("metrics"))
    asked = parser.parse_args()

    examples = asked.data / "pictures"
    images, captions, _ = read(sorted(examples.glob("train-*.parquet")))
    test = read(sorted(examples.glob("test-*.parquet")))
    found = sorted((asked.data / "synthetic").rglob("train-*.parquet"))
    made, written, scores = read([path for path in found if "refused" not in path.parts])
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    chosen = chosen[: max(2, round(asked.share * len(images)))]
    real = (images[chosen], [captions[row] for row in chosen.tolist()])

    way = recipe(asked.metrics / "use.csv", asked.share)
    if way.endswith("consistent_half"):
        best = np.argsort(scores)[len(scores) // 2 :]
        made, written = made[best], [written[row] for row in best]
    pairs = (made, written)
    together = [[(real, 1.0), (pairs, 0.3 if "lighter" in way else 1.0)]]
    with_pairs = [[(pairs, 1.0)], [(real, 1.0)]] if "first" in way else together
    trials = {"real alone": [[(real, 1.0)], [(real, 1.0)]]}
    if way:
        trials[f"with {len(made):,} pairs"] = with_pairs
    else:
        print(f"recipe: add no pairs beside {asked.share:.0%} of the real ones, for retrieval")

    counts = Counter(word for own in captions for one in own for word in one.lower().split())
    words = {word: i + 1 for i, word in enumerate(counts)}
    for name, phases in trials.items():
        torch.manual_seed(0)
        model = Model(words)
        train(model, phases, asked.steps, seed=0)
        print(
            f"{name}: {recall(model, test[0], test[1]):.3f} of the test images find their caption"
        )


if __name__ == "__main__":
    main()
