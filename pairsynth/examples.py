"""The captioned images of one split, and their vectors, as the stages read them."""

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from pairsynth.artifacts import (
    SPLITS,
    check_source,
    made_from,
    read_shard,
    read_shards,
    shards,
)
from pairsynth.errors import InputError, raise_if_out_of_memory
from pairsynth.image_files import decode
from pairsynth.images import center_crop, to_tensor
from pairsynth.memory import check_bytes
from pairsynth.whole_files import remake

# What `download` lists beside the shards, and the columns of each list.
LISTS = {"refused.csv": ("item", "reason"), "survey.csv": ("finding", "item", "what")}


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The captioned images of one split, in memory.

    pixels: uint8 (N, 3, S, S). class_ids: int64 (N). captions: one list an image.
    attributes: what the garden drew, one mapping an image; None elsewhere.
    digests: one an image, of its id, its pixels as they were read and its captions.
    """

    ids: list[str]
    class_ids: Tensor
    class_names: list[str]
    pixels: Tensor
    captions: list[list[str]]
    attributes: list[dict[str, str]] | None
    digests: list[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = zip(self.ids, self.pixels, self.captions, strict=True)
        object.__setattr__(self, "digests", [_row_digest(*row) for row in rows])

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def first_caption(self) -> Tensor:
        """int64 (N + 1): captions of image i are rows first[i] to first[i + 1] when flattened."""
        counts = torch.tensor([len(captions) for captions in self.captions])
        return torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])

    @cached_property
    def flat_captions(self) -> list[str]:
        """All captions, image by image."""
        return [caption for captions in self.captions for caption in captions]

    def cut(self, size: int) -> "Examples":
        """The same examples, images cropped to their middle `size` pixels; digests unchanged."""
        middle = replace(self, pixels=center_crop(self.pixels, size))
        object.__setattr__(middle, "digests", self.digests)
        return middle

    @property
    def digest(self) -> str:
        """A fingerprint of these images and captions, in their order."""
        return hashlib.sha256("\n".join(self.digests).encode()).hexdigest()[:16]


def _row_digest(image_id: str, pixels: Tensor, captions: Sequence[str]) -> str:
    told = json.dumps([image_id, list(pixels.shape), list(captions)]).encode()
    return hashlib.sha256(told + pixels.contiguous().numpy().tobytes()).hexdigest()[:16]


def pixel_bytes(folder: Path, split: str) -> int:
    """Estimate in bytes the pixels of a split of data/pictures in memory, from its first image.

    0 for a split that cannot be read: `read_examples` then says why.
    """
    rows = one = 0
    try:
        for path in shards(folder, split):
            with pq.ParquetFile(path) as file:
                if not one and file.metadata.num_rows:
                    first = next(file.iter_batches(batch_size=1, columns=["image"]))
                    one = to_tensor(decode(first["image"][0]["bytes"].as_py())).numel()
                rows += file.metadata.num_rows
    except (InputError, OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
        raise_if_out_of_memory(error)
        return 0
    return rows * one


def read_examples(folder: Path, split: str) -> Examples:
    """Read one split of data/pictures.

    Raises:
        InputError: where shards are missing or damaged, are of another split, or have an image
            that stands there twice or in another split as well.
    """
    _check_ids(folder, split)
    names = ["image_id", "class_id", "class_name", "captions", "attributes"]
    table = read_shards(folder, split, names).to_pydict()
    files, count = shards(folder, split), len(table["image_id"])
    check_bytes(
        # All pixels, and the files of one shard after another.
        pixel_bytes(folder, split) + max(file.stat().st_size for file in files),
        f"{folder}: its {count:,} {split} images",
        "lower download.image_size, or make fewer of them",
    )
    pixels = torch.empty(0, 3, 0, 0, dtype=torch.uint8)
    for row, data in enumerate(_image_files(files)):
        one = to_tensor(decode(data))
        pixels = pixels if row else torch.empty(count, *one.shape, dtype=torch.uint8)
        pixels[row] = one
    attributes = [json.loads(row) for row in table["attributes"] if row is not None]
    return Examples(
        ids=table["image_id"],
        class_ids=torch.tensor(table["class_id"], dtype=torch.long),
        class_names=table["class_name"],
        pixels=pixels,
        captions=table["captions"],
        attributes=attributes if len(attributes) == len(pixels) else None,
    )


def read_list(folder: Path, name: str) -> list[list[str]]:
    """The rows of one of `LISTS`.

    Raises:
        InputError: where it is missing or damaged.
    """
    path, columns = folder / name, list(LISTS[name])
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
    except (OSError, ValueError, csv.Error) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is missing or damaged ({reason}); {remake(path)}") from error
    if header != columns or any(len(row) != len(columns) or row == header for row in rows):
        raise InputError(f"{path} is damaged: its columns are not {columns}; {remake(path)}")
    return rows


def _image_files(files: Sequence[Path]) -> Iterator[bytes]:
    """The image file of each row, with one shard in memory at a time."""
    for path in files:
        for image in read_shard(path, ["image"])["image"]:
            yield image["bytes"].as_py()


def _check_ids(folder: Path, split: str) -> None:
    """Check that every row of `split` names that split, and that no image id occurs twice."""
    seen: dict[str, str] = {}
    there = [one for one in SPLITS if one == split or list(folder.glob(f"{one}-*-of-*.parquet"))]
    for stem in there:
        table = read_shards(folder, stem, ["image_id", "split"])
        for image_id, told in zip(*table.to_pydict().values(), strict=True):
            if told != stem:
                raise InputError(
                    f"{folder}: {image_id} of the split {told!r} lies in a shard of {stem}; "
                    f"{remake(folder)}"
                )
            if image_id in seen:
                raise InputError(
                    f"{folder}: {image_id} stands in {seen[image_id]} and again in {stem}; "
                    f"{remake(folder)}"
                )
            seen[image_id] = stem


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """Vectors of one split: image (N, D), psi (captions, D), both float32 of unit length."""

    image: Tensor
    psi: Tensor

    @property
    def digest(self) -> str:
        """A fingerprint of all the vectors, in their order."""
        stored = (one.contiguous().numpy().tobytes() for one in (self.image, self.psi))
        return hashlib.sha256(b"".join(stored)).hexdigest()[:16]


def read_embeddings(folder: Path, split: str, examples: Examples, encoder: str) -> Embeddings:
    """Read one split of data/embeddings: vectors of `examples` by the encoder with this digest.

    Raises:
        InputError: where they belong to other images, captions or another encoder, or are damaged.
    """
    try:
        return _vectors_of(folder, split, examples, encoder)
    except (LookupError, AttributeError, TypeError, ValueError, pa.ArrowException) as error:
        raise_if_out_of_memory(error)  # the names of columns have no checksum
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{folder}: {split} is damaged ({reason}); {remake(folder)}") from error


def _vectors_of(folder: Path, split: str, examples: Examples, encoder: str) -> Embeddings:
    table = read_shards(folder, split)
    check_source(folder, made_from(table), encoder=encoder)
    if table["image_id"].to_pylist() != examples.ids:
        raise InputError(f"{folder}: {split} is of other images; {remake(folder)}")
    told = table["source_digest"].to_pylist()
    changed = [i for i, one in enumerate(told) if one != examples.digests[i]]
    if changed:
        raise InputError(
            f"{folder}: {split} has vectors of another image or other captions for "
            f"{examples.ids[changed[0]]} ({len(changed):,} in all); {remake(folder)}"
        )
    image = _vectors(table["image"].combine_chunks())
    psi = _vectors(table["psi"].combine_chunks().flatten())
    if len(psi) != int(examples.first_caption[-1]):
        raise InputError(f"{folder}: {split} is of other captions; {remake(folder)}")
    for vectors in (image, psi):
        if not torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-3):
            raise InputError(f"{folder}: {split} has no vectors of unit length; {remake(folder)}")
    return Embeddings(image=image, psi=psi)


def _vectors(column: pa.FixedSizeListArray) -> Tensor:
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(np.array(flat).reshape(len(column), -1))
