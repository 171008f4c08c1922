"""The synthetic pairs as a torch `Dataset`: any order, many workers, slices.

The columns beside the image are held in memory as Arrow arrays, some 300 bytes a pair, and shared
with forked workers. Images stay uncompressed in their files, which are memory-mapped. When a row
group is first used it is read whole against its checksums, and the place of each image is noted;
from then on an image is a slice of the map.
"""

import bisect
import os
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from pairsynth.artifacts import read_shard
from pairsynth.dataset import PAIRS, pair_shards
from pairsynth.errors import InputError
from pairsynth.image_files import decode
from pairsynth.images import to_network, to_tensor
from pairsynth.whole_files import remake

BESIDE = [name for name in PAIRS.names if name != "image"]

Where = Callable[[Mapping[str, Any]], bool]


class PairDataset(Dataset[dict[str, Any]]):
    """Pairs as a map-style torch dataset.

    An item has every column of its row, `image` as float32 (3, S, S) in [-1, 1]. A slice is a
    `PairDataset` of those rows, which shares all with this one.
    """

    def __init__(self, folder: str | Path, where: Where | None = None) -> None:
        """folder: of the dataset. where: keeps the rows (without image) it is true of.

        Raises:
            InputError: where the dataset is missing or damaged, or `where` is true of no row.
        """
        self.paths = pair_shards(Path(folder))
        self.stamps = [_stamp(path) for path in self.paths]
        tables = [read_shard(path, BESIDE) for path in self.paths]
        self.maps = self._map()
        table = pa.concat_tables(tables).combine_chunks()
        self.columns = {name: table[name] for name in BESIDE}
        counts = [_counts(one) for one in self.maps]
        self.groups = [(i, group) for i, one in enumerate(counts) for group in range(len(one))]
        self.starts = list(accumulate((rows for one in counts for rows in one), initial=0))
        self.begins: NDArray[np.int64] = np.full(len(table), -1)
        self.lengths: NDArray[np.int64] = np.zeros(len(table), np.int64)
        self.rows: NDArray[np.int64] = np.arange(len(table))
        if where is not None:
            self.rows = self.rows[[bool(where(row)) for row in _dicts(table)]]
            if not len(self.rows):
                raise InputError(
                    f"{folder}: where= is true of none of its {len(table):,} pairs; loosen it"
                )

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> "PairDataset": ...

    def __getitem__(self, index: int | slice) -> "dict[str, Any] | PairDataset":
        if isinstance(index, slice):
            part = object.__new__(PairDataset)
            part.__dict__ = {**self.__dict__, "rows": self.rows[index]}
            return part
        row = int(self.rows[index])
        image = to_network(to_tensor(decode(self._image(row)))[None])[0].contiguous()
        beside = {name: column[row].as_py() for name, column in self.columns.items()}
        return {name: image if name == "image" else beside[name] for name in PAIRS.names}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "maps"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self.maps = self._map()

    def _map(self) -> list[pa.Buffer]:
        """Memory maps of the files; no file stays open."""
        maps = []
        for path, stamp in zip(self.paths, self.stamps, strict=True):
            if not path.exists() or _stamp(path) != stamp:
                raise InputError(f"{path} was made anew since it was opened; open it again")
            with pa.memory_map(str(path)) as file:
                maps.append(file.read_buffer())
        return maps

    def _image(self, row: int) -> bytes:
        group = bisect.bisect_right(self.starts, row) - 1
        shard, number = self.groups[group]
        if self.begins[row] < 0:
            first, end = self.starts[group : group + 2]
            try:
                places = _places(self.maps[shard], number)
            except (OSError, ValueError, pa.ArrowException) as error:
                path = self.paths[shard]
                raise InputError(f"{path} is damaged ({error}); {remake(path.parent)}") from error
            self.begins[first:end], self.lengths[first:end] = places.T
        begin, length = int(self.begins[row]), int(self.lengths[row])
        data: bytes = self.maps[shard].slice(begin, length).to_pybytes()
        return data


def _stamp(path: Path) -> tuple[int, int, int]:
    """Identifies a file, so that a replacement under the same name is noticed."""
    told = os.stat(path)
    return told.st_ino, told.st_size, told.st_mtime_ns


def _counts(file: pa.Buffer) -> list[int]:
    """Rows of each row group."""
    told = pq.read_metadata(pa.BufferReader(file))
    return [told.row_group(group).num_rows for group in range(told.num_row_groups)]


def _dicts(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(1024):
        yield from batch.to_pylist()


def _places(file: pa.Buffer, group: int) -> NDArray[np.int64]:
    """Where each image of a row group begins in its file and how long it is: (rows, 2).

    The row group is read as Parquet, against its checksums; then each image's bytes are searched
    for after those of the one before, so that a match is the image whatever the layout.

    Raises:
        OSError: where a checksum does not match.
        ValueError: where an image's bytes are not in the file uncompressed.
    """
    with pq.ParquetFile(pa.BufferReader(file), page_checksum_verification=True) as parquet:
        told = parquet.metadata.row_group(group)
        names = [told.column(i).path_in_schema for i in range(told.num_columns)]
        chunk = told.column(names.index("image.bytes"))
        table = parquet.read_row_group(group, ["image.bytes"], use_threads=False)
    start, size = chunk.data_page_offset, chunk.total_compressed_size
    data = file.slice(start, size).to_pybytes()
    places, place = [], 0
    for image in table["image"].to_pylist():
        place = data.find(image["bytes"], place)
        if place < 0:
            raise ValueError("an image lies there packed, or not in its place")
        places.append((start + place, len(image["bytes"])))
        place += len(image["bytes"])
    return np.array(places, np.int64)


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch for a `DataLoader`: images stacked (N, 3, S, S), all else as lists."""
    batch: dict[str, Any] = {key: [item[key] for item in items] for key in items[0]}
    return {**batch, "image": torch.stack(batch["image"])}
