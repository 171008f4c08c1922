"""The dataset that comes out: its schema, its card, and a torch `Dataset` over its shards."""

import bisect
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import Dataset

from pairsynth.artifacts import IMAGE, ShardWriter, check_source, file_digest, shards
from pairsynth.errors import InputError
from pairsynth.image_files import decode
from pairsynth.images import to_network, to_tensor
from pairsynth.whole_files import remake, rounded, write_json, write_whole

PAIRS = pa.schema(
    [
        ("pair_id", pa.string()),
        ("image", IMAGE),
        ("caption", pa.string()),
        ("strategy", pa.string()),
        ("source_ids", pa.list_(pa.string())),
        ("lambda", pa.float32()),
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

CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: train-*.parquet
task_categories:
- image-to-text
- text-to-image
tags:
- synthetic
---
# Synthetic pairs of image and caption

{pairs:,} synthetic pairs: pictures of {size} x {size} pixels and their captions, made by pairsynth
from {source_pictures:,} captioned pictures (digest {made_from[pictures]}, seed {seed}), after
Xie and Bao, *Synthesizing Novel Pairs of Image and Text* (arXiv 1712.06682).

| strategy | pairs |
| --- | ---: |
{strategies}

| novelty | pairs |
| --- | ---: |
{novelty}

Of the candidates tried these were refused; `refused/` shows the first {shown} of each reason. A
pair without any candidate that is new is left out and its number goes to no other: {left_out:,}.

| refused because | candidates |
| --- | ---: |
{refused}

A picture counts as seen where it is nearer to a training picture than {distance:.4f} (root mean
square difference of 16 x 16 thumbnails), where it is far nearer to one than to all others, or
where it has nearly the hashes of one. Of real held-out pictures {false_alarms:.0%} at most are so
near. A caption counts as seen where it stands word for word among the training captions.

## Columns
| column | meaning |
| --- | --- |
| pair_id | `pair-NNNNNNN`; the same number is the same pair in every run of the same seed |
| image, caption | the pair; the picture is a PNG file in `bytes` |
| strategy | text_prototype, text_density, image_prototype or image_density: where it started |
| source_ids, lambda | prototypes: both sources (`image_id#caption` for text), the first's share |
| component | density: the component of the mixture |
| seed | the seed of the run |
| class_id, class_name | where both sources are of one class |
| consistency | cosine of the caption's and the picture's vectors, by the encoder that made psi |
| novelty, caption_seen | what is new: the whole, one part, only the combination, nothing |
| nearest_image_id, nearest_image_distance | the nearest training picture, mirrored or not |
| nearest_image_ratio | that distance over the distance to the second nearest; a copy's is near 0 |
| nearest_caption, nearest_caption_similarity | the nearest training caption, by psi |
| nearest_caption_id | `image_id#caption` of it |

Made by machine: the captions describe the pictures as far as a small captioner sees. The licence
of the pictures it was made from binds what was learned from them.
"""


class Refusals:
    """Candidates that did not become pairs: all counted by reason, the first of each kept to show.

    left_out: pairs without any candidate that is new.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rows: list[dict[str, Any]] = []
        self.left_out = 0

    def add(self, reason: str, row: Callable[[], dict[str, Any]]) -> None:
        """Count one; `row`, of `REFUSED`, is only asked for where it is among those kept."""
        self.counts[reason] += 1
        if self.counts[reason] <= SHOWN_OF_EACH:
            self.rows.append(row())


def write_pairs(
    folder: Path,
    rows: Iterable[Mapping[str, Any]],
    facts: Mapping[str, Any],
    refusals: Refusals | None = None,
) -> None:
    """Write shards, card and manifest of a dataset into `folder`, row by row.

    facts: source_pictures, made_from (digests by name), seed, size, distance and false_alarms for
    the card, and whatever else the manifest is to tell. refusals: may fill up while `rows` are
    made.
    """
    refusals = refusals or Refusals()
    strategies: Counter[str] = Counter()
    novelty: Counter[str] = Counter()
    with ShardWriter(folder, "train", PAIRS) as writer:
        for row in rows:
            writer.write(dict(row))
            strategies[row["strategy"]] += 1
            novelty[row["novelty"]] += 1
    (folder / "refused").mkdir()
    with ShardWriter(folder / "refused", "refused", REFUSED) as writer:
        for row in refusals.rows:
            writer.write(row)
    tables = {"strategies": strategies, "novelty": novelty, "refused": refusals.counts}
    told = {**facts, "pairs": strategies.total(), "left_out": refusals.left_out}
    lines = {name: _lines(table) for name, table in tables.items()}
    write_whole(folder / "README.md", CARD.format(shown=SHOWN_OF_EACH, **told, **lines).encode())
    files = {str(path.relative_to(folder)): file_digest(path) for path in _files(folder)}
    told |= {"refused": dict(sorted(refusals.counts.items())), "sha256": files}
    told = rounded(told)
    write_json(folder / MANIFEST, {**told, "digest": _digest(told)})


def _files(folder: Path) -> list[Path]:
    """Every file below the folder but the manifest."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in found if path != folder / MANIFEST]


def _digest(told: Mapping[str, Any]) -> str:
    """A fingerprint of all that the manifest tells."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _lines(table: Counter[str]) -> str:
    return "\n".join(f"| {name} | {count:,} |" for name, count in sorted(table.items()))


def read_manifest(folder: Path, **wanted: str) -> dict[str, Any]:
    """What `write_pairs` told of a dataset, every file of it checked against that.

    wanted: digests, by name, of what the pairs must have been made from.

    Raises:
        InputError: where a file or the manifest is missing or damaged, a file is not the one that
            the manifest tells of, or is one that it does not tell of.
    """
    shards(folder, "train")
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        stated = manifest.pop("digest")
        told = {name: str(digest) for name, digest in manifest["sha256"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is missing or damaged ({error}); {remake(folder)}") from error
    if stated != _digest(manifest):
        raise InputError(f"{path} is damaged: its digest does not match; {remake(folder)}")
    found = {str(file.relative_to(folder)): file for file in _files(folder)}
    gone = sorted(told.keys() - found)
    if gone:
        raise InputError(f"{folder}: {', '.join(gone)} of {path} is missing; {remake(folder)}")
    foreign = sorted(found.keys() - told)
    if foreign:
        raise InputError(
            f"{folder}: {', '.join(foreign)} is not of this data set, as {path} tells; move it away"
        )
    for name, file in found.items():
        if told[name] != file_digest(file):
            raise InputError(f"{file} is not the file that {path} tells of; {remake(folder)}")
    check_source(folder, manifest.get("made_from", {}), **wanted)
    return manifest


class PairDataset(Dataset[dict[str, Any]]):
    """Pairs as a map-style torch dataset; one row group at a time is in memory.

    An item has every column of its row, `image` as float32 (3, S, S) in [-1, 1].
    """

    def __init__(
        self, folder: str | Path, where: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> None:
        """folder: the dataset's. where: keep only the rows (without image) it is true of."""
        self.held: tuple[int, pa.Table] = (-1, PAIRS.empty_table())
        self.groups: list[tuple[Path, int]] = []
        self.rows: list[int] = []
        self.starts = [0]
        for path in shards(Path(folder), "train"):
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    self.groups.append((path, group))
                    self.starts.append(self.starts[-1] + file.metadata.row_group(group).num_rows)
                if where is not None:
                    columns = [name for name in file.schema_arrow.names if name != "image"]
                    base = self.starts[-1] - file.metadata.num_rows
                    kept = enumerate(file.read(columns=columns).to_pylist())
                    self.rows += [base + i for i, row in kept if where(row)]
        if where is None:
            self.rows = list(range(self.starts[-1]))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        group = bisect.bisect_right(self.starts, row) - 1
        if self.held[0] != group:
            self.held = (group, _read_group(*self.groups[group]))
        item = self.held[1].slice(row - self.starts[group], 1).to_pylist()[0]
        picture = to_tensor(decode(item["image"]["bytes"]))
        return {**item, "image": to_network(picture[None])[0].contiguous()}

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))


def _read_group(path: Path, group: int) -> pa.Table:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read_row_group(group)


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch for a `DataLoader`: images stacked (N, 3, S, S), all else as lists."""
    batch: dict[str, Any] = {key: [item[key] for item in items] for key in items[0]}
    return {**batch, "image": torch.stack(batch["image"])}
