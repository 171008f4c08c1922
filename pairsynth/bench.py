"""What is measured, with what: test pictures, pairs, the judge, and how a figure is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pairsynth.artifacts import (
    SPLITS,
    Embeddings,
    Pictures,
    read_embeddings,
    read_pictures,
    read_shards,
)
from pairsynth.config import check
from pairsynth.errors import InputError
from pairsynth.images import center_crop, decode, network_size, to_tensor
from pairsynth.judges import Judge
from pairsynth.mappings import Mappings
from pairsynth.metrics.agreement import Share
from pairsynth.metrics.novelty import NoveltyIndex
from pairsynth.seeds import torch_stream


@dataclass(frozen=True)
class EvaluationConfig:
    """Section `evaluate` of params.yaml.

    captioned: test pictures captioned, and test captions drawn, at most.
    pairs: pairs judged at most, spread evenly.
    cycled: test pictures, and test captions, that go through cycles at most.
    turns: turns of each cycle.
    judge_epochs: passes of the judge over the val pictures.
    """

    captioned: int
    pairs: int
    cycled: int
    turns: int
    judge_epochs: int

    def __post_init__(self) -> None:
        for key in ("captioned", "pairs", "cycled"):
            check(getattr(self, key) >= 2, key, getattr(self, key), "2 or more")
        for key in ("turns", "judge_epochs"):
            check(getattr(self, key) >= 1, key, getattr(self, key), "1 or more")


@dataclass(frozen=True)
class Figure:
    """One number: `measure` of `subject` in `group`, its 95 % interval, over `count` cases."""

    group: str
    subject: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    count: int

    @property
    def key(self) -> str:
        """Its flat key in metrics/evaluate.json."""
        return f"{self.group}_{self.subject}_{self.measure}"


@dataclass(frozen=True)
class Bench:
    """What is measured, and by whom; pictures are cut to the size of the networks."""

    mappings: Mappings
    judge: Judge
    pictures: Mapping[str, Pictures]
    embeddings: Mapping[str, Embeddings]
    novelty: NoveltyIndex
    config: EvaluationConfig
    seed: int

    @property
    def train(self) -> Pictures:
        """What the networks learned from."""
        return self.pictures["train"]

    @property
    def test(self) -> Pictures:
        """What no network saw."""
        return self.pictures["test"]

    def noise(self, count: int, name: str) -> Tensor:
        """Noise (count, Z) of its own for `name`."""
        return torch.randn(
            count, self.mappings.gan.noise, generator=torch_stream(self.seed, "evaluate", name)
        )


@dataclass(frozen=True)
class Drawn:
    """Test pictures by row, the caption each was drawn anew from, uint8 (N, 3, S, S)."""

    rows: list[int]
    captions: list[str]
    pixels: Tensor


@dataclass(frozen=True)
class Pairs:
    """Synthetic pairs: captions, uint8 pictures (N, 3, S, S), strategies, kinds of novelty."""

    captions: list[str]
    pixels: Tensor
    strategies: list[str]
    kinds: list[str]

    def of(self, strategy: str) -> "Pairs":
        """Those of one strategy."""
        rows = [i for i, one in enumerate(self.strategies) if one == strategy]
        return Pairs(
            [self.captions[i] for i in rows],
            self.pixels[rows],
            [strategy] * len(rows),
            [self.kinds[i] for i in rows],
        )


def read_pairs(folder: Path, most: int) -> Pairs:
    """At most `most` pairs of the dataset in `folder`, evenly spread.

    Raises:
        InputError: where the dataset is missing or damaged, or has fewer than two pairs.
    """
    columns = ["image", "caption", "strategy", "novelty"]
    table = read_shards(folder, "train", columns)
    if len(table) < 2:
        raise InputError(f"{folder} has {len(table)} pairs; set synthesize.pairs to 2 or more")
    found = table.take(spread(len(table), most)).to_pydict()
    pixels = torch.stack([to_tensor(decode(image["bytes"])) for image in found["image"]])
    return Pairs(found["caption"], pixels, found["strategy"], found["novelty"])


def draw_again(bench: Bench) -> Drawn:
    """Test pictures drawn from a caption each, at most `config.captioned`, evenly spread."""
    rows = spread(len(bench.test), bench.config.captioned)
    captions = [bench.test.captions[row][-1] for row in rows]
    psi, noise = bench.mappings.psi(captions), bench.noise(len(rows), "drawn")
    parts = zip(psi.split(128), noise.split(128), strict=True)
    return Drawn(rows, captions, torch.cat([bench.mappings.draw(p, n) for p, n in parts]))


def spread(total: int, most: int) -> list[int]:
    """At most `most` of `total` rows, evenly spread."""
    return torch.linspace(0, total - 1, min(total, most)).round().long().tolist()


def read_splits(
    pictures: Path, embeddings: Path
) -> tuple[dict[str, Pictures], dict[str, Embeddings]]:
    """All splits, cut to the size of the networks, and their embeddings."""
    found = {split: read_pictures(pictures, split) for split in SPLITS}
    vectors = {split: read_embeddings(embeddings, split, found[split]) for split in SPLITS}
    return {split: _cut(one) for split, one in found.items()}, vectors


def _cut(pictures: Pictures) -> Pictures:
    size = network_size(pictures.pixels.shape[-1])
    return replace(pictures, pixels=center_crop(pictures.pixels, size))


def share_figure(group: str, subject: str, measure: str, share: Share) -> Figure:
    """A figure that is a share, with its interval."""
    return Figure(group, subject, measure, share.value, *share.interval, share.count)


def figures(found: Sequence[Figure]) -> dict[str, float | None]:
    """The figures by their flat keys, for metrics/evaluate.json."""
    return {figure.key: figure.value for figure in found}


def gallery(pairs: Pairs, columns: int) -> tuple[Tensor, list[str], int, str]:
    """The first `columns` pairs of each strategy, for `figures.gallery`."""
    rows = []
    for strategy in sorted(set(pairs.strategies)):
        rows += [i for i, one in enumerate(pairs.strategies) if one == strategy][:columns]
    captions = [f"{pairs.strategies[i].replace('_', ' ')}: {pairs.captions[i]}" for i in rows]
    return pairs.pixels[rows], captions, columns, "novel pairs, the first of each strategy"
