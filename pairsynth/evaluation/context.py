"""What evaluation works with: splits, pairs, networks, the judge; and figures, its results."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import torch
from torch import Tensor

from pairsynth import lexicon
from pairsynth.artifacts import SPLITS, file_digest
from pairsynth.config import check_between, named
from pairsynth.dataset import check_count, read_manifest, read_rows, read_some
from pairsynth.efficientnet import JUDGE, TEACHER, digest, installed
from pairsynth.evaluation import judges
from pairsynth.evaluation.judges import Judge
from pairsynth.examples import Embeddings, Examples, read_embeddings, read_examples
from pairsynth.image_files import decode, network_size
from pairsynth.images import to_tensor
from pairsynth.lexicon import Lexicon
from pairsynth.mappings import Mappings
from pairsynth.metrics.agreement import Rivals, Share
from pairsynth.metrics.clip import Clip, load_clip
from pairsynth.metrics.novelty import NoveltyIndex
from pairsynth.minimums import need_images
from pairsynth.seeds import torch_stream


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Section `evaluate` of params.yaml.

    captioned: test images captioned, and test captions drawn, at most.
    pairs: pairs judged at most, spread evenly.
    cycled: test images, and test captions, that go through cycles at most.
    turns: turns of each cycle.
    judge_epochs: passes of the judge over the val images.
    judge_weights: the user's pretrained weights for a further view of images: a torchvision state
        dict, named like resnet18-f37072fd.pth, or the folder of a CLIP, which then judges pairs as
        well; empty: none.
    use_steps: training steps of each probe of downstream use; 0: use is not measured.
    use_seeds: probes in each trial, 3 or more, for the interval.
    """

    captioned: int
    pairs: int
    cycled: int
    turns: int
    judge_epochs: int
    judge_weights: str
    use_steps: int
    use_seeds: int

    def __post_init__(self) -> None:
        check_between(self, 2, 1_000_000, "captioned", "pairs", "cycled")
        check_between(self, 1, 1000, "turns")
        check_between(self, 1, 10_000, "judge_epochs")
        check_between(self, 0, 1_000_000, "use_steps")
        check_between(self, 3, 100, "use_seeds")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One result: `measure` of `subject` in `group`, its 95 % interval, over `count` cases."""

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


@dataclass(frozen=True, kw_only=True)
class EvaluationContext:
    """Everything evaluation reads; images are cropped to the size of the networks."""

    mappings: Mappings
    judge: Judge
    examples: Mapping[str, Examples]
    embeddings: Mapping[str, Embeddings]
    novelty: NoveltyIndex
    config: EvaluationConfig
    seed: int
    lexicon: Lexicon

    @property
    def train(self) -> Examples:
        """The split that the networks learned from."""
        return self.examples["train"]

    @property
    def test(self) -> Examples:
        """The split that no network saw."""
        return self.examples["test"]

    @cached_property
    def rivals(self) -> Rivals:
        """The first captions of the test images as rivals, with the judge's vectors."""
        captions = [own[0] for own in self.test.captions]
        return Rivals(captions, self.judge.caption_vectors(captions))

    @cached_property
    def clip(self) -> Clip | None:
        """The user's CLIP, where `judge_weights` is a folder."""
        weights = named(self.config.judge_weights)
        folder = Path(weights)
        return load_clip(folder, self.mappings.device) if weights and folder.is_dir() else None

    def noise(self, count: int, name: str) -> Tensor:
        """Noise (count, Z) from the random stream `name`."""
        return torch.randn(
            count, self.mappings.gan.noise, generator=torch_stream(self.seed, "evaluate", name)
        )


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Images drawn from captions of test images: rows of test, captions, uint8 (N, 3, S, S)."""

    rows: list[int]
    captions: list[str]
    pixels: Tensor


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Synthetic pairs: ids, captions, uint8 images (N, 3, S, S), strategies, consistency.

    class_ids: int64 (N), -1 where a pair has no class.
    """

    ids: list[str]
    captions: list[str]
    pixels: Tensor
    strategies: list[str]
    consistency: list[float]
    class_ids: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> "Pairs":
        """The pairs of `rows`."""
        return Pairs(
            ids=[self.ids[i] for i in rows],
            captions=[self.captions[i] for i in rows],
            pixels=self.pixels[list(rows)],
            strategies=[self.strategies[i] for i in rows],
            consistency=[self.consistency[i] for i in rows],
            class_ids=self.class_ids[list(rows)],
        )

    def of(self, strategy: str) -> "Pairs":
        """The pairs of one strategy."""
        return self.take([i for i, one in enumerate(self.strategies) if one == strategy])


def read_pairs(folder: Path, most: int, **wanted: str) -> tuple[Pairs, str]:
    """Up to `most` pairs of the dataset in `folder`, evenly spaced by id; and its digest.

    wanted: digests, by name, of what they must have been made from.

    Raises:
        InputError: where the dataset is missing or damaged, differs from its manifest, was made
            from other inputs, or has fewer than two pairs.
    """
    manifest = read_manifest(folder, **wanted)
    columns = ["pair_id", "image", "caption", "strategy", "consistency", "class_id"]
    order = pc.sort_indices(read_rows(folder, ["pair_id"])["pair_id"])
    check_count(folder, len(order), 2)
    chosen = order.take(evenly_spaced(len(order), most)).to_pylist()
    found = read_some(folder, chosen, columns).to_pydict()
    pixels = torch.stack([to_tensor(decode(image["bytes"])) for image in found["image"]])
    class_ids = torch.tensor([-1 if one is None else one for one in found["class_id"]])
    names = ("pair_id", "caption", "strategy", "consistency")
    ids, captions, strategies, consistency = (found[name] for name in names)
    return Pairs(
        ids=ids,
        captions=captions,
        pixels=pixels,
        strategies=strategies,
        consistency=consistency,
        class_ids=class_ids,
    ), _digest(manifest)


def _digest(manifest: Mapping[str, Any]) -> str:
    """A digest of a dataset, from the digests of its files."""
    told = json.dumps(manifest["sha256"], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def draw_again(context: EvaluationContext) -> Drawn:
    """Draw an image from one caption of each of up to `config.captioned` test images."""
    rows = evenly_spaced(len(context.test), context.config.captioned)
    captions = [context.test.captions[row][-1] for row in rows]
    psi, noise = context.mappings.psi(captions), context.noise(len(rows), "drawn")
    parts = zip(psi.split(128), noise.split(128), strict=True)
    return Drawn(
        rows=rows,
        captions=captions,
        pixels=torch.cat([context.mappings.draw(p, n) for p, n in parts]),
    )


def evenly_spaced(total: int, most: int) -> list[int]:
    """Up to `most` of `total` rows, evenly spaced from the first to the last."""
    return torch.linspace(0, total - 1, min(total, most)).round().long().tolist()


def read_splits(
    examples: Path, embeddings: Path, encoder: str
) -> tuple[dict[str, Examples], dict[str, Embeddings]]:
    """All splits, cropped to the size of the networks, and their embeddings.

    encoder: digest of the encoder that must have made the embeddings.

    Raises:
        InputError: where one is missing, damaged or too small.
    """
    found = {split: read_examples(examples, split) for split in SPLITS}
    need_images(str(examples), {split: len(one) for split, one in found.items()})
    vectors = {split: read_embeddings(embeddings, split, found[split], encoder) for split in SPLITS}
    size = network_size(found["train"].pixels.shape[-1])
    return {split: one.cut(size) for split, one in found.items()}, vectors


def build(
    examples: Path,
    splits: Mapping[str, Examples],
    vectors: Mapping[str, Embeddings],
    mappings: Mappings,
    config: EvaluationConfig,
    seed: int,
) -> EvaluationContext:
    """The context of an evaluation, with an untrained judge, and the lexicon in `examples`.

    Raises:
        InputError: where the lexicon of the set is missing or damaged.
    """
    size, train, val = mappings.gan.size, splits["train"], splits["val"]
    return EvaluationContext(
        mappings=mappings,
        judge=judges.build(val, size).to(mappings.device),
        examples=splits,
        embeddings=vectors,
        novelty=NoveltyIndex(train, vectors["train"].psi, val, size),
        config=config,
        seed=seed,
        lexicon=lexicon.read(examples),
    )


def provenance(context: EvaluationContext, pairs_digest: str) -> dict[str, str]:
    """What was measured, and by whom, for metrics/evaluate.json.

    Fingerprints of images, of pairs, and of the networks that learned elsewhere and judge here:
    figures of two runs can be compared where these are the same.
    """
    images = " ".join(f"{split}:{one.digest}" for split, one in context.examples.items())
    judges = {name: digest(name) for name in (JUDGE, TEACHER) if installed(name)}
    if given := named(context.config.judge_weights):
        judges["judge_weights"] = _digest_of_all(Path(given))
    told = " ".join(f"{name}:{one[:16]}" for name, one in judges.items())
    return {"images_digest": images, "pairs_digest": pairs_digest, "judges_digest": told}


def _digest_of_all(path: Path) -> str:
    """That of a file, or of all files in a folder."""
    if path.is_file():
        return file_digest(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    told = "".join(f"{file.relative_to(path)} {file_digest(file)}\n" for file in files)
    return hashlib.sha256(told.encode()).hexdigest()


def share_figure(group: str, subject: str, measure: str, share: Share) -> Figure:
    """A figure that is a share, with its interval."""
    low, high = share.interval
    return Figure(
        group=group,
        subject=subject,
        measure=measure,
        value=share.value,
        low=low,
        high=high,
        count=share.count,
    )


def plain_figures(
    group: str, subject: str, values: Mapping[str, float | None], count: int
) -> Iterator[Figure]:
    """Figures without an interval, by measure."""
    for measure, value in values.items():
        yield Figure(
            group=group,
            subject=subject,
            measure=measure,
            value=value,
            low=None,
            high=None,
            count=count,
        )


def pairs_sheet(pairs: Pairs, columns: int) -> tuple[Tensor, list[str], int, str]:
    """The first `columns` pairs of each strategy, for `sheets.captioned_sheet`."""
    rows = []
    for strategy in sorted(set(pairs.strategies)):
        rows += [i for i, one in enumerate(pairs.strategies) if one == strategy][:columns]
    captions = [f"{pairs.strategies[i].replace('_', ' ')}: {pairs.captions[i]}" for i in rows]
    return pairs.pixels[rows], captions, columns, "novel pairs, the first of each strategy"
