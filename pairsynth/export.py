"""Export the synthetic data set: WebDataset, a folder of images, Croissant."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairsynth.dataset import DATA, PAIRS, pair_shards, read_manifest
from pairsynth.errors import InputError
from pairsynth.whole_files import check_outputs, new_folder, write_json

ROWS = 64  # that are held at a time

Row = dict[str, Any]
Export = Callable[[Path, Path, Mapping[str, Any]], None]


def export(synthetic: Path, kind: str, target: Path) -> int:
    """Write the data set in `synthetic` in another format to `target`, whole or not at all.

    kind: one of `EXPORTS`. Returns how many pairs it has.

    Raises:
        InputError: where the data set is missing or damaged, or something stands at `target`.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target}: something is there already; give another path, or move it")
    check_outputs([synthetic], folders=[target])
    told = read_manifest(synthetic)
    with new_folder(target) as folder:
        EXPORTS[kind](synthetic, folder, told)
    pairs: int = told["pairs"]
    return pairs


def _rows(shard: Path) -> Iterator[tuple[bytes, Row]]:
    """Image and other columns of each row."""
    with pq.ParquetFile(shard, page_checksum_verification=True) as file:
        for batch in file.iter_batches(ROWS):
            for row in batch.to_pylist():
                yield row.pop("image")["bytes"], row


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False)


# ---------------------------------------------------------------- WebDataset


def webdataset(synthetic: Path, folder: Path, told: Mapping[str, Any]) -> None:
    """One tar per shard with rows: KEY.png, KEY.txt (the caption) and KEY.json (all else)."""
    number = 0
    for shard in pair_shards(synthetic):
        if not pq.read_metadata(shard).num_rows:
            continue  # WebDataset refuses a tar without samples
        place = folder / f"train-{number:06}.tar"
        with tarfile.open(place, "w", format=tarfile.USTAR_FORMAT) as tar:
            for image, row in _rows(shard):
                parts = {"png": image, "txt": row["caption"].encode(), "json": _line(row).encode()}
                for ending, data in parts.items():
                    member = tarfile.TarInfo(f"{row['pair_id']}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        number += 1


# ---------------------------------------------------------------- a folder of images


def images(synthetic: Path, folder: Path, told: Mapping[str, Any]) -> None:
    """images/KEY.png and one line each in metadata.jsonl, as the source `folder` reads them."""
    (folder / "images").mkdir()
    with (folder / "metadata.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
        for shard in pair_shards(synthetic):
            for image, row in _rows(shard):
                name = f"images/{row['pair_id']}.png"
                (folder / name).write_bytes(image)
                lines.write(_line({"file_name": name, **row}) + "\n")


# ---------------------------------------------------------------- Croissant


CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in (
            *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty"),
            *("fileObject", "fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key"),
            *("md5", "parentField", "path", "recordSet", "references", "regex", "repeated"),
            *("replace", "samplingRate", "separator", "source", "subField", "transform"),
        )
    },
}
TYPES = {
    pa.string(): "sc:Text",
    pa.bool_(): "sc:Boolean",
    pa.float32(): "sc:Float",
    pa.int32(): "sc:Integer",
    pa.int64(): "sc:Integer",
}


def croissant(synthetic: Path, folder: Path, told: Mapping[str, Any]) -> None:
    """The shards as they are, and croissant.json, which describes them."""
    (folder / DATA).mkdir()
    for shard in pair_shards(synthetic):
        shutil.copyfile(shard, folder / DATA / shard.name)
    shards = [name for name in told["sha256"] if name.startswith(f"{DATA}/")]
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "synthetic-pairs-of-image-and-caption",
        "description": f"{told['pairs']:,} synthetic pairs of image and caption, made by pairsynth",
        "license": "as-the-source-images",
        "creator": {"@type": "sc:Organization", "name": "pairsynth"},
        "citeAs": "Xie and Bao, Synthesizing Novel Pairs of Image and Text, arXiv 1712.06682, 2017",
        "version": "1.0.0",
        "distribution": [_file(name, told["sha256"][name]) for name in shards] + [_file_set()],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "pairs",
                "key": {"@id": "pairs/pair_id"},
                "field": [_field(column) for column in PAIRS],
            }
        ],
    }
    write_json(folder / "croissant.json", described)


def _file(name: str, digest: str) -> Row:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": "application/x-parquet",
        "sha256": digest,
    }


def _file_set() -> Row:
    return {
        "@type": "cr:FileSet",
        "@id": "shards",
        "encodingFormat": "application/x-parquet",
        "includes": f"{DATA}/*.parquet",
    }


def _field(column: pa.Field) -> Row:
    source: Row = {"fileSet": {"@id": "shards"}, "extract": {"column": column.name}}
    field: Row = {"@type": "cr:Field", "@id": f"pairs/{column.name}", "source": source}
    if column.name == "image":
        source["transform"] = {"jsonPath": "bytes"}
        return {**field, "dataType": "sc:ImageObject"}
    if pa.types.is_list(column.type):
        return {**field, "dataType": TYPES[column.type.value_type], "repeated": True}
    return {**field, "dataType": TYPES[column.type]}


EXPORTS: Mapping[str, Export] = {
    "webdataset": webdataset,
    "folder": images,
    "croissant": croissant,
}
