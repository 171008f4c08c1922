"""The synthetic dataset on disk: its folder, schema and manifest.

    README.md, manifest.json                the card; what made the rows, and every file's SHA-256
    data/train-00000-of-00004.parquet       the pairs, `PAIRS_PER_SHARD` numbers to a shard
    refused/refused-00000-of-00001.parquet  some of the candidates that did not become pairs

Pair numbers alone decide which shard a pair is in, so shard k has the same bytes whichever process
makes it, in any order.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pairsynth import card
from pairsynth.artifacts import (
    IMAGE,
    check_source,
    file_digest,
    read_shard,
    read_shards,
    shard_name,
    shards,
    write_shard,
)
from pairsynth.errors import InputError
from pairsynth.whole_files import as_json, remake, rounded, write_json, write_whole

PAIRS = pa.schema(
    [
        ("pair_id", pa.string()),
        ("image", IMAGE),
        ("caption", pa.string()),
        ("strategy", pa.string()),
        ("source_ids", pa.list_(pa.string())),
        ("blend_weight", pa.float32()),
        ("component", pa.int32()),
        ("seed", pa.int64()),
        ("class_id", pa.int32()),
        ("class_name", pa.string()),
        ("consistency", pa.float32()),
        ("novelty", pa.string()),
        ("caption_seen", pa.bool_()),
        ("nearest_image_id", pa.string()),
        ("nearest_image_distance", pa.float32()),
        ("nearest_image_ratio", pa.float32()),
        ("nearest_caption_id", pa.string()),
        ("nearest_caption", pa.string()),
        ("nearest_caption_similarity", pa.float32()),
    ]
)

# Candidates that did not become pairs, in a folder of their own: no pair is found among them.
REFUSED = pa.schema(
    [
        ("pair_id", pa.string()),
        ("image", IMAGE),
        ("caption", pa.string()),
        ("strategy", pa.string()),
        ("reason", pa.string()),
        ("why", pa.string()),
        ("consistency", pa.float32()),
        ("nearest_image_id", pa.string()),
        ("nearest_image_distance", pa.float32()),
        ("nearest_caption", pa.string()),
    ]
)
SHOWN_OF_EACH = 60
MANIFEST = "manifest.json"
# What pairs are made from, as the manifest names it.
INPUTS = ("pictures", "embeddings", "encoder", "gan", "captioner", "mixtures")

PAIRS_PER_SHARD = 1000
DATA, REFUSED_DATA = "data", "refused"


class Refusals:
    """Candidates that did not become pairs: counted by reason, the first few of each reason kept.

    left_out: pairs whose candidates are all faulty or copies.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rows: list[dict[str, Any]] = []
        self.left_out = 0

    def add(self, reason: str, row: Callable[[], dict[str, Any]]) -> None:
        """Count a candidate; `row`, which makes its row of `REFUSED`, is called only to keep it."""
        self.counts[reason] += 1
        if self.counts[reason] <= SHOWN_OF_EACH:
            self.rows.append(row())


# ---------------------------------------------------------------- writing


def pair_id(number: int) -> str:
    """The id of pair `number`."""
    return f"pair-{number:07}"


def number_of(pair: str) -> int:
    """The number of the pair with the id `pair`.

    Raises:
        InputError: where it is not an id.
    """
    digits = pair.removeprefix("pair-")
    if digits == pair or not digits.isascii() or not digits.isdecimal():
        raise InputError(f"{pair!r} is the name of no pair; they are called like {pair_id(123)}")
    return int(digits)


def complete(folder: Path, facts: Mapping[str, Any], refusals: Refusals) -> None:
    """Write refused candidates, card and manifest beside the shards that are in `folder`/data.

    facts: source_images, made_from (digests by name), seed, size, distance and false_alarms for
    the card, and anything else to store in the manifest.
    """
    (folder / REFUSED_DATA).mkdir()
    one = folder / REFUSED_DATA / shard_name("refused", 0, 1)
    write_shard(one, refusals.rows, REFUSED)
    tables = {name: _count(folder, name) for name in ("strategy", "novelty")}
    tables["refused"] = refusals.counts
    pairs = tables["strategy"].total()
    told = {**facts, "pairs": pairs, "left_out": refusals.left_out}
    configs = {"default": _config(folder, DATA, "train")}
    if refusals.rows:  # Hugging Face's reader refuses a split without rows
        configs["refused"] = _config(folder, REFUSED_DATA, "refused")
    first = read_shard(pair_shards(folder)[0], ["caption"])["caption"]
    language = card.language_of(first.to_pylist())
    words = card.card({**told, "language": language, "configs": configs}, tables, SHOWN_OF_EACH)
    write_whole(folder / "README.md", words.encode())
    files = {name: file_digest(path) for name, path in _files(folder).items()}
    told |= {"refused": dict(sorted(refusals.counts.items())), "sha256": files}
    told = rounded(told)
    write_json(folder / MANIFEST, {**told, "digest": _digest(told)})


def _count(folder: Path, column: str) -> Counter[str]:
    """How often each value occurs in `column`, counted shard by shard."""
    counts: Counter[str] = Counter()
    for path in pair_shards(folder):
        counts.update(read_shard(path, [column])[column].to_pylist())
    return counts


def _config(folder: Path, data: str, stem: str) -> dict[str, Any]:
    """The card's entry for the shards in one subfolder."""
    files, rows, size = shards(folder / data, stem), 0, 0
    for file in files:  # the metadata of one takes some 100 kB of memory
        facts = pq.read_metadata(file)
        rows += facts.num_rows
        size += sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
    content = "".join(map(file_digest, files))
    return {
        "path": f"{data}/{stem}-*.parquet",
        "digest": hashlib.sha256(content.encode()).hexdigest(),
        "num_bytes": size,
        "num_examples": rows,
        "download_size": sum(file.stat().st_size for file in files),
    }


# ---------------------------------------------------------------- reading


def pair_shards(folder: Path) -> list[Path]:
    """The shards of pairs, in order.

    Raises:
        InputError: where one is missing, or the dataset was made by an older pairsynth.
    """
    if list(folder.glob("train-*.parquet")) and not (folder / DATA).exists():
        raise InputError(
            f"{folder} is of an older pairsynth: its shards lie beside the card, and blend_weight "
            f"is called lambda; {remake(folder)}"
        )
    return shards(folder / DATA, "train")


def read_rows(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """All pairs of the dataset in `folder`, or these columns of them, checked page by page.

    Raises:
        InputError: naming what is missing or damaged.
    """
    pair_shards(folder)
    return read_shards(folder / DATA, "train", columns)


def count_rows(folder: Path) -> list[int]:
    """How many pairs each shard of the dataset in `folder` has."""
    return [pq.read_metadata(path).num_rows for path in pair_shards(folder)]


def check_count(folder: Path, count: int, least: int) -> None:
    """Refuse a dataset of fewer pairs than are needed.

    Raises:
        InputError: where `count` is below `least`.
    """
    if count < least:
        raise InputError(
            f"{folder} has {count} pairs, and {least} are needed; set synthesize.pairs to more, or "
            f"see in {folder}/refused why candidates were"
        )


def read_some(folder: Path, rows: Sequence[int], columns: list[str] | None = None) -> pa.Table:
    """Those `rows` of the dataset in `folder`, in their order; in memory is a shard at a time.

    Raises:
        InputError: naming what is missing or damaged.
    """
    wanted, first = np.unique(np.array(rows, np.int64)), 0
    parts = []
    for path, count in zip(pair_shards(folder), count_rows(folder), strict=True):
        own = wanted[(wanted >= first) & (wanted < first + count)] - first
        if len(own) or not first:  # the first tells the columns where there are no rows
            parts.append(read_shard(path, columns).take(own))
        first += count
    return pa.concat_tables(parts).take(np.searchsorted(wanted, rows))


def read_refused(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """The stored candidates that did not become pairs; see `read_rows`."""
    return read_shards(folder / REFUSED_DATA, "refused", columns)


def _files(folder: Path) -> dict[str, Path]:
    """All files below the folder but the manifest, and all empty folders."""
    found = (path for path in sorted(folder.rglob("*")) if path != folder / MANIFEST)
    return {
        str(path.relative_to(folder)): path
        for path in found
        if path.is_symlink() or not path.is_dir() or not any(path.iterdir())
    }


def _digest(told: Mapping[str, Any]) -> str:
    """A digest of the manifest's content."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def read_told(folder: Path) -> dict[str, Any]:
    """The content of the manifest; the files it lists are not checked.

    Raises:
        InputError: where it is missing or damaged.
    """
    pair_shards(folder)
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
        manifest: dict[str, Any] = json.loads(text)
        same = text == as_json(manifest)  # JSON has several ways to write a thing
        stated = manifest.pop("digest")
        manifest["sha256"] = {name: str(one) for name, one in manifest["sha256"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is missing or damaged ({error}); {remake(folder)}") from error
    if not same or stated != _digest(manifest):
        raise InputError(f"{path} is damaged: its digest does not match; {remake(folder)}")
    return manifest


def read_manifest(folder: Path, **wanted: str) -> dict[str, Any]:
    """The content of the manifest, every file of the dataset checked against it.

    wanted: digests, by name, of what the pairs must have been made from.

    Raises:
        InputError: where a file or the manifest is missing or damaged, or a file differs from the
            manifest or is not listed in it.
    """
    manifest, path = read_told(folder), folder / MANIFEST
    told, found = manifest["sha256"], _files(folder)
    gone = sorted(told.keys() - found)
    if gone:
        raise InputError(f"{folder}: {', '.join(gone)} of {path} is missing; {remake(folder)}")
    foreign = sorted(found.keys() - told)
    if foreign:
        raise InputError(
            f"{folder}: {', '.join(foreign)} is not of this data set, as {path} tells; move it away"
        )
    for name, file in found.items():
        if not file.is_file() or told[name] != file_digest(file):
            raise InputError(f"{file} is not the file that {path} tells of; {remake(folder)}")
    check_source(folder, manifest.get("made_from", {}), **wanted)
    return manifest
