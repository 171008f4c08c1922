"""Make the data set shard by shard, each a range of pair numbers.

A shard depends only on its numbers and its `ShardFactory`, so it is the same whichever process
makes it. Finished shards are kept until the data set is complete, under a digest of everything that
decides them; shards of an earlier data set with the same digest are reused.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import threadpoolctl
import torch
import typer

from pairsynth import dataset, duplicates, engines, mixture, origin, seeds, synthesis
from pairsynth.artifacts import (
    file_digest,
    read_shard,
    read_shards,
    shard_name,
    shards,
    write_shard,
)
from pairsynth.dataset import (
    DATA,
    INPUTS,
    PAIRS,
    REFUSED,
    REFUSED_DATA,
    SHOWN_OF_EACH,
    Refusals,
    complete,
    number_of,
    pair_shards,
    read_manifest,
)
from pairsynth.engines import Progress, Worker
from pairsynth.errors import InputError
from pairsynth.examples import pixel_bytes, read_embeddings, read_examples
from pairsynth.filters import NONE, calibrate
from pairsynth.latents import FILLING, SynthesisConfig, SynthesisInputs, fillable
from pairsynth.mappings import load_mappings
from pairsynth.metrics import wording
from pairsynth.metrics.novelty import NoveltyIndex
from pairsynth.synthesis import BLOCK, DUPLICATE, same_as
from pairsynth.whole_files import write_whole

STAGE = origin.ROOT / "stages" / "synthesize.py"
# A shard of which more is left out than this stops the run.
HOPELESS, ENOUGH_TO_TELL = 0.98, 200
FIXED = 700_000_000  # bytes of a process: libraries, networks, a block of pairs


@dataclass(frozen=True, kw_only=True)
class Span:
    """The pair numbers of a shard: `count` from `first` on."""

    first: int
    count: int

    @property
    def numbers(self) -> range:
        """The numbers as a range."""
        return range(self.first, self.first + self.count)

    def __str__(self) -> str:
        return f"{self.first:08}-{self.count:05}"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A shard as bytes: the Parquet file of its pairs, and that of its refused candidates."""

    pairs: bytes
    refused: bytes


@dataclass(frozen=True, kw_only=True)
class ShardFactory:
    """Everything pairs are made from, as paths and values that can be sent to a worker.

    device: as `devices.choose` takes it.
    """

    pictures: Path
    embeddings: Path
    encoder: Path
    gan: Path
    captioner: Path
    mixtures: Path
    config: SynthesisConfig
    seed: int
    device: str

    @property
    def gpus(self) -> int:
        """GPUs for workers; 0 where the device is not a GPU."""
        return torch.cuda.device_count() if self.device.startswith("cuda") else 0

    @property
    def memory(self) -> int:
        """Estimated memory of a worker in bytes: the images twice, and a constant."""
        return 2 * sum(pixel_bytes(self.pictures, split) for split in ("train", "val")) + FIXED

    @cached_property
    def digest(self) -> str:
        """A digest of everything that decides a shard: files, parameters, code, versions.

        The number of pairs is left out: more pairs leave the others unchanged.
        """
        told = self.told()
        told["parameters"] |= {"pairs": 0, "fill": 0}
        told["seed"] = self.seed
        told["files"] = {
            f"{name} {file.name}": file_digest(file)
            for name in INPUTS
            for file in _files(getattr(self, name))
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def told(self) -> dict[str, Any]:
        """The manifest's entries on how the pairs are made, enough to make them again."""
        return {
            "inputs": {name: getattr(self, name).name for name in INPUTS},
            "parameters": asdict(self.config),
            **origin.of(STAGE, torch.device(self.device)),
        }

    def spans(self) -> list[Span]:
        """The numbers of each shard of the data set, in order.

        Raises:
            InputError: where classes are to be filled but none has two images.
        """
        base = _spans(0, self.config.pairs)
        if not self.config.fill:
            return base or [Span(first=0, count=0)]
        classes = fillable(
            read_shards(self.pictures, "train", ["class_id"])["class_id"].to_pylist()
        )
        if not classes:
            raise InputError(
                f"params.yaml: synthesize.fill = {self.config.fill}: no class of {self.pictures} "
                "has two train images to lie between; set it to 0"
            )
        return base + _spans(FILLING, self.config.fill * len(classes))

    def inputs(self, place: int = 0) -> SynthesisInputs:
        """The inputs of synthesis, read and checked. place: number of the worker, decides its GPU.

        On a CPU one thread is used, so that workers do not compete and all sums are the same to the
        last bit.
        """
        if not self.gpus:
            threadpoolctl.threadpool_limits(1)
            torch.set_num_threads(1)
        train, val = (read_examples(self.pictures, split) for split in ("train", "val"))
        seeds.fix(self.seed, "synthesize")
        where = torch.device(self.device)
        if self.gpus and where.index is None:
            where = torch.device("cuda", place % self.gpus)
        mappings = load_mappings(self.encoder, self.gan, self.captioner, where, train.digest)
        # What the encoder looked through stands after the encoder itself: a difference is told of
        # what comes first.
        source = {"pictures": train.digest, **mappings.digests, **mappings.encoder.made_from}
        psi, others = (
            read_embeddings(self.embeddings, split, one, source["encoder"])
            for split, one in (("train", train), ("val", val))
        )
        known = {name: source[name] for name in ("pictures", "encoder", "gan")}
        fitted = mixture.load(self.mixtures, mappings.sizes, **known)
        source |= {"mixtures": file_digest(self.mixtures)}
        source |= {"embeddings": psi.digest, "held_out": val.digest}
        size = mappings.gan.size
        novelty = NoveltyIndex(train, psi.psi, val, size)
        thresholds = calibrate(val, others, size) if self.config.filters else NONE
        own = others.image.repeat_interleave(val.first_caption.diff(), 0)
        asked = wording.standard(train.flat_captions, val.flat_captions, others.psi, own)
        return SynthesisInputs(
            examples=train,
            embeddings=psi,
            mixtures=fitted,
            mappings=mappings,
            novelty=novelty,
            standard=asked,
            thresholds=thresholds,
            config=self.config,
            seed=self.seed,
            made_from=source,
        )

    def open(self, place: int) -> Worker:
        """A worker: maps a `Span` to its progress, the last item with its `Shard`."""
        inputs = self.inputs(place)
        return lambda span: make(inputs, span, self.digest)


def _files(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []


def _spans(start: int, count: int) -> list[Span]:
    most = dataset.PAIRS_PER_SHARD
    return [
        Span(first=start + first, count=min(most, count - first)) for first in range(0, count, most)
    ]


# ---------------------------------------------------------------- one shard


def make(inputs: SynthesisInputs, span: Span, digest: str) -> Iterator[Progress]:
    """Make the shard of `span`; its file also stores what `stored_facts` reads.

    Raises:
        InputError: where nearly all of its pairs are refused.
    """
    refusals = Refusals()
    rows: list[dict[str, Any]] = []
    done = 0
    for pair in synthesis.synthesize(inputs, refusals, span.numbers):
        rows += synthesis.rows(inputs, [pair])
        if (passed := pair.number + 1 - span.first) >= done + BLOCK:
            yield Progress(task=span, steps=passed - done)
            done = passed
    _check_hope(span, refusals)
    told = {
        "digest": digest,
        "span": asdict(span),
        "refused": dict(sorted(refusals.counts.items())),
        "left_out": refusals.left_out,
        "facts": synthesis.facts(inputs),
    }
    with tempfile.TemporaryDirectory() as place:
        pairs, refused = Path(place) / "pairs", Path(place) / "refused"
        write_shard(pairs, rows, PAIRS, told)
        write_shard(refused, refusals.rows, REFUSED)
        shard = Shard(pairs=pairs.read_bytes(), refused=refused.read_bytes())
    yield Progress(task=span, steps=span.count - done, outcome=shard)


def _check_hope(span: Span, refusals: Refusals) -> None:
    if span.count < ENOUGH_TO_TELL or refusals.left_out < HOPELESS * span.count:
        return
    counts = ", ".join(f"{count:,} {why}" for why, count in refusals.counts.most_common())
    raise InputError(
        f"synthesize: of {span.count:,} pairs from number {span.first} on, {refusals.left_out:,} "
        f"have no candidate that is to be kept ({counts}); train train_gan and train_captioner "
        "longer, or raise synthesize.candidates"
    )


# ---------------------------------------------------------------- all shards


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The files of a finished shard; `refused` may hold the candidates of other shards too."""

    pairs: Path
    refused: Path


def make_missing(
    factory: ShardFactory,
    engine: str,
    workers: int,
    spans: Sequence[Span],
    kept: dict[Span, Kept],
    folder: Path,
) -> Iterator[None]:
    """Make and keep the shards of `spans` that are not in `kept`; yields once per pair number.

    engine, workers: as `engines.run` takes them.
    """
    missing = [span for span in spans if span not in kept]
    for report in engines.run(engine, factory, missing, workers):
        if report.outcome is not None:
            kept[report.task] = keep(folder, report.task, report.outcome)
        yield from (None for _ in range(report.steps))


def there_already(
    folder: Path, synthetic: Path, digest: str, spans: Sequence[Span]
) -> dict[Span, Kept]:
    """The finished shards of `spans`: of an interrupted run, or of the present data set."""
    kept = kept_before(synthetic, digest, spans) | kept_parts(folder, spans)
    if kept:
        typer.echo(
            f"synthesize: {len(kept):,} of {len(spans):,} shards are there already", err=True
        )
    return kept


def kept_parts(folder: Path, spans: Iterable[Span]) -> dict[Span, Kept]:
    """The shards of `spans` that an interrupted run or another process finished in `folder`."""
    found = {}
    for span in spans:
        mark = folder / f"{span}.json"
        one = Kept(pairs=folder / f"{span}.parquet", refused=folder / f"{span}-refused.parquet")
        try:
            told = json.loads(mark.read_text())
            if told == [file_digest(one.pairs), file_digest(one.refused)]:
                found[span] = one
        except (OSError, ValueError):
            continue
    return found


def keep(folder: Path, span: Span, shard: Shard) -> Kept:
    """Write a shard into `folder`; it counts as finished once its .json with digests is there."""
    one = Kept(pairs=folder / f"{span}.parquet", refused=folder / f"{span}-refused.parquet")
    write_whole(one.pairs, shard.pairs)
    write_whole(one.refused, shard.refused)
    digests = [hashlib.sha256(data).hexdigest() for data in (shard.pairs, shard.refused)]
    write_whole(folder / f"{span}.json", json.dumps(digests).encode())
    return one


def kept_before(synthetic: Path, digest: str, spans: Sequence[Span]) -> dict[Span, Kept]:
    """The shards of `spans` in the data set at `synthetic`, if sound and of this digest."""
    try:
        read_manifest(synthetic)
        [refused] = shards(synthetic / REFUSED_DATA, "refused")
        files = pair_shards(synthetic)
    except (InputError, ValueError):
        return {}
    wanted, found = set(spans), {}
    for path in files:
        told = stored_facts(path)
        if told.get("digest") == digest and (span := Span(**told["span"])) in wanted:
            found[span] = Kept(pairs=path, refused=refused)
    return found


def stored_facts(shard: Path) -> dict[str, Any]:
    """What `make` stored in the file of a shard; empty where something else wrote the file."""
    metadata = pq.read_schema(shard).metadata or {}
    told: dict[str, Any] = json.loads(metadata.get(b"pairsynth", b"{}")).get("told", {})
    return told


def join(
    folder: Path, factory: ShardFactory, kept: Mapping[Span, Kept], spans: Sequence[Span]
) -> Refusals:
    """Put the shards into the new `folder` with card and manifest; return all refusals.

    A shard is hard-linked, not copied, where the file system allows it; one with pairs that an
    earlier shard has already is rewritten without them.
    """
    refusals, dropped = Refusals(), list[dict[str, Any]]()
    facts: dict[str, Any] = {}
    repeated = _repeated(kept, spans)
    (folder / DATA).mkdir()
    for number, span in enumerate(spans):
        source, target = kept[span].pairs, folder / DATA / shard_name("train", number, len(spans))
        told = stored_facts(source)
        if source in repeated:
            told, gone = _lay_without(source, repeated[source], target, told)
            dropped += gone[: SHOWN_OF_EACH - len(dropped)]
        else:
            _lay(source, target)
        facts = told["facts"]
        refusals.counts.update(told["refused"])
        refusals.left_out += told["left_out"]
    refusals.rows = list(_shown(kept, spans, dropped))
    complete(folder, {**facts, **factory.told()}, refusals)
    return refusals


def _repeated(kept: Mapping[Span, Kept], spans: Sequence[Span]) -> dict[Path, dict[int, int]]:
    """`duplicates.between_shards` of a data set.

    Pairs that fill up classes are compared with one another only: a set of more pairs keeps them.
    """
    found: dict[Path, dict[int, int]] = {}
    for _, group in groupby(spans, lambda span: span.first >= FILLING):
        paths = [kept[span].pairs for span in group]
        distance = stored_facts(paths[0])["facts"]["hash_distance"]
        found |= duplicates.between_shards(paths, distance)
    return found


def _lay_without(
    source: Path, again: Mapping[int, int], target: Path, told: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write `source` without the rows `again`; what it tells then, and those as `REFUSED`.

    again: for each row the number of the pair that it repeats.
    """
    rows = read_shard(source).to_pylist()
    refused = Counter(told["refused"]) + Counter({DUPLICATE: len(again)})
    told = {**told, "refused": dict(sorted(refused.items()))}
    told["left_out"] += len(again)
    write_shard(target, [row for i, row in enumerate(rows) if i not in again], PAIRS, told)
    gone = [{**rows[i], "reason": DUPLICATE, "why": same_as(twin)} for i, twin in again.items()]
    return told, [{name: row[name] for name in REFUSED.names} for row in gone]


def _lay(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _shown(
    kept: Mapping[Span, Kept], spans: Sequence[Span], dropped: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The first refused of each reason, in the order of their numbers; among them the `dropped`."""
    shown: Counter[str] = Counter()
    read: dict[Path, list[dict[str, Any]]] = {}
    for span in spans:
        path = kept[span].refused
        if path not in read:
            read = {path: pq.read_table(path).to_pylist()}
        own = [row for row in (*read[path], *dropped) if number_of(row["pair_id"]) in span.numbers]
        for row in sorted(own, key=lambda row: number_of(row["pair_id"])):
            shown[row["reason"]] += 1
            if shown[row["reason"]] <= SHOWN_OF_EACH:
                yield row
