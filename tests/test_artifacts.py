"""What lies between stages: whole or not at all, the same after reading, damage noticed."""

import csv
import errno
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pairsynth import artifacts, checkpoints, whole_files
from pairsynth.artifacts import (
    IMAGES,
    ShardWriter,
    embeddings_schema,
    file_digest,
    read_shards,
    shards,
    write_image,
)
from pairsynth.checkpoints import load_checkpoint, save_checkpoint
from pairsynth.errors import InputError
from pairsynth.examples import (
    Embeddings,
    Examples,
    read_embeddings,
    read_examples,
    read_list,
)
from pairsynth.image_files import decode
from pairsynth.images import to_image, to_tensor
from pairsynth.whole_files import (
    MAKERS,
    new_folder,
    write_csv,
    write_json,
    write_reports,
    write_whole,
)
from tests.workspace import write_examples


def write_embeddings(folder: Path, examples: Examples, embeddings: Embeddings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    first = examples.first_caption.tolist()
    schema = embeddings_schema(embeddings.psi.shape[1])
    with ShardWriter(folder, "train", schema, {"encoder": "psi"}) as writer:
        for i, image_id in enumerate(examples.ids):
            own = list(embeddings.psi[first[i] : first[i + 1]].numpy())
            known = {"image_id": image_id, "source_digest": examples.digests[i]}
            writer.write({**known, "image": embeddings.image[i].numpy(), "psi": own})


def flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << (bit % 8)
    return bytes(damaged)


# ---------------------------------------------------------------- whole files


def test_a_file_is_written_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "file.bin"
    write_whole(target, b"old")
    write_whole(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]


FULL_DISK = """
import resource, sys
from pathlib import Path
from pairsynth.whole_files import write_whole
from pairsynth.checkpoints import save_checkpoint
import torch
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
folder = Path(sys.argv[1])
for write in (
    lambda: write_whole(folder / "gan.pt", b"x" * 100_000),
    lambda: save_checkpoint(folder / "gan.pt", "gan", {}, {"w": torch.zeros(100_000)}),
    lambda: write_whole(folder / "new.pt", b"x" * 100_000),
):
    try:
        write()
    except OSError as error:
        print(error.errno)
"""


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "gan.pt").write_bytes(b"the last good copy")
    said = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == [str(errno.EFBIG)] * 3
    assert (tmp_path / "gan.pt").read_bytes() == b"the last good copy"
    assert [path.name for path in tmp_path.iterdir()] == ["gan.pt"]


def test_a_new_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "data" / "pictures"
    for name in ("old", "new"):
        with new_folder(target) as folder:
            (folder / name).write_text(name)
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in target.parent.iterdir()] == ["pictures"]


def fill_and_fail(target: Path, error: type[BaseException]) -> None:
    with new_folder(target) as folder:
        (folder / "half").write_text("half")
        raise error("interrupted")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, InputError])
def test_a_folder_that_failed_leaves_nothing_and_keeps_the_old(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "pictures"
    with pytest.raises(error):
        fill_and_fail(target, error)
    assert list(tmp_path.iterdir()) == []
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(error):
        fill_and_fail(target, error)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    assert (target / "old").read_text() == "old"


def test_json_is_rounded_and_nan_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "metrics.json"
    write_json(target, {"loss": 0.12345678, "count": 3, "name": "x"})
    assert json.loads(target.read_text()) == {"loss": 0.123457, "count": 3, "name": "x"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(target, {"loss": float("nan")})
    assert json.loads(target.read_text())["count"] == 3


@dataclass(frozen=True)
class Report:
    epoch: int
    loss: float


def test_reports_become_csv_with_a_header(tmp_path: Path) -> None:
    target = tmp_path / "curve.csv"
    write_reports(target, [Report(1, 1 / 3), Report(2, 1e-9)])
    assert target.read_text() == "epoch,loss\n1,0.333333\n2,1e-09\n"


def test_csv_keeps_commas_quotes_and_line_ends(tmp_path: Path) -> None:
    target = tmp_path / "refused.csv"
    rows = [
        {"item": "a, b.jpg", "reason": '9000 x 9000 pixels, more than 64,000,000; "huge"'},
        {"item": "c.jpg", "reason": "two\nlines"},
    ]
    write_csv(target, list(rows[0]), [list(row.values()) for row in rows])
    with target.open(newline="") as file:
        assert list(csv.DictReader(file)) == rows


def test_csv_of_no_rows_is_a_header_and_none_is_nothing(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ("item", "share"), iter(()))
    assert (tmp_path / "a.csv").read_text() == "item,share\n"
    write_csv(tmp_path / "a.csv", ("item", "share"), ((i, s) for i, s in ((1, None), (2, 2 / 3))))
    assert (tmp_path / "a.csv").read_text() == "item,share\n1,\n2,0.666667\n"


def test_an_image_is_written_as_png(tmp_path: Path, examples: Examples) -> None:
    write_image(tmp_path / "p.png", to_image(examples.pixels[0]))
    assert torch.equal(to_tensor(decode((tmp_path / "p.png").read_bytes())), examples.pixels[0])


# ---------------------------------------------------------------- images and embeddings


def test_images_come_back_as_they_went(tmp_path: Path, examples: Examples) -> None:
    write_examples(tmp_path, examples, "train")
    back = read_examples(tmp_path, "train")
    assert back.ids == examples.ids
    assert torch.equal(back.class_ids, examples.class_ids)
    assert back.class_names == examples.class_names
    assert torch.equal(back.pixels, examples.pixels)
    assert back.pixels.dtype == torch.uint8
    assert back.captions == examples.captions
    assert back.attributes is None
    assert back.digest == examples.digest


def test_attributes_come_back_as_mappings(tmp_path: Path, four: Examples) -> None:
    write_examples(tmp_path, four, "train", [json.dumps({"petals": str(i)}) for i in range(4)])
    attributes = read_examples(tmp_path, "train").attributes
    assert attributes is not None
    assert [row["petals"] for row in attributes] == ["0", "1", "2", "3"]


def test_captions_are_flattened_image_by_image(examples: Examples) -> None:
    first, flat = examples.first_caption, examples.flat_captions
    assert len(first) == len(examples) + 1
    assert len(flat) == int(first[-1]) == sum(map(len, examples.captions))
    for i in range(len(examples)):
        assert flat[first[i] : first[i + 1]] == examples.captions[i]


def test_the_digest_of_images_changes_with_ids_captions_and_order(four: Examples) -> None:
    others = [
        replace(four, ids=["x", *four.ids[1:]]),
        replace(four, captions=[["x"], *four.captions[1:]]),
        replace(four, captions=four.captions[::-1]),
    ]
    others.append(replace(four, pixels=four.pixels.flip(3)))
    assert len({four.digest, *(other.digest for other in others)}) == 5
    assert replace(four).digest == four.cut(8).digest == four.digest


def test_embeddings_by_another_encoder_or_of_other_pixels_are_refused(
    tmp_path: Path, examples: Examples, embeddings: Embeddings
) -> None:
    write_embeddings(tmp_path, examples, embeddings)
    with pytest.raises(InputError, match=r"was made from another encoder; remake it"):
        read_embeddings(tmp_path, "train", examples, "another")
    pixels = examples.pixels.clone()
    pixels[3, 0, 0, 0] ^= 1
    with pytest.raises(InputError, match=r"of another image or other .* 1-red-3 \(1 in"):
        read_embeddings(tmp_path, "train", replace(examples, pixels=pixels), "psi")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 0.0, 2.0])
def test_vectors_that_are_no_unit_vectors_are_refused(
    tmp_path: Path, examples: Examples, embeddings: Embeddings, value: float
) -> None:
    image = embeddings.image.clone()
    image[2] *= value
    write_embeddings(tmp_path, examples, Embeddings(image=image, psi=embeddings.psi))
    with pytest.raises(InputError, match="train has no vectors of unit length; remake it"):
        read_embeddings(tmp_path, "train", examples, "psi")


def test_rows_of_another_split_or_twice_are_refused(tmp_path: Path, four: Examples) -> None:
    def write(folder: str, **splits: Examples) -> Path:
        for split, one in splits.items():
            write_examples(tmp_path / folder, one, split)
        return tmp_path / folder

    other = replace(four, ids=[f"{one}-val" for one in four.ids])
    folder = write("exchanged", train=four, val=other)
    train, val = (shards(folder, split)[0] for split in ("train", "val"))
    train.rename(folder / "aside")
    val.rename(train)
    (folder / "aside").rename(val)
    with pytest.raises(InputError, match=r"of the split 'val' lies in a shard of train; remake it"):
        read_examples(folder, "train")
    folder = write("doubled", train=four)
    [train] = shards(folder, "train")
    shutil.copy(train, folder / "train-00001-of-00002.parquet")
    train.rename(folder / "train-00000-of-00002.parquet")
    with pytest.raises(InputError, match=rf"{four.ids[0]} stands in train and again in train; rem"):
        read_examples(folder, "train")
    folder = write("leaked", train=four, test=four)
    with pytest.raises(InputError, match=rf"{four.ids[0]} stands in train and again in test; rem"):
        read_examples(folder, "test")


@pytest.mark.parametrize(
    "content",
    [
        *(
            None,
            b"",
            b"itel,reason\na,b\n",
            b"item,reason\na\n",
            b'item,reason\na,"b\n',
            b"item\xff",
        ),
        b"item,reason\na,b\nitem,reason\na,b\n",
    ],
)
def test_a_damaged_list_is_named_with_its_stage(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "pictures/refused.csv"
    path.parent.mkdir()
    path.write_bytes(b"item,reason\na,b\nc,d\n")
    assert read_list(path.parent, "refused.csv") == [["a", "b"], ["c", "d"]]
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"^\S*refused.csv is .*damaged.*--single-item download$"):
        read_list(path.parent, "refused.csv")


def test_embeddings_come_back_as_they_went(
    tmp_path: Path, examples: Examples, embeddings: Embeddings
) -> None:
    write_embeddings(tmp_path, examples, embeddings)
    back = read_embeddings(tmp_path, "train", examples, "psi")
    assert torch.equal(back.image, embeddings.image)
    assert torch.equal(back.psi, embeddings.psi)
    assert back.psi.dtype == torch.float32


def test_embeddings_of_other_images_or_captions_are_refused(
    tmp_path: Path, examples: Examples, embeddings: Embeddings
) -> None:
    write_embeddings(tmp_path, examples, embeddings)
    other = replace(examples, ids=examples.ids[::-1])
    with pytest.raises(InputError, match=r"is of other images; remake it: dvc repro --force"):
        read_embeddings(tmp_path, "train", other, "psi")
    more = replace(examples, captions=[[*examples.captions[0], "one"], *examples.captions[1:]])
    with pytest.raises(InputError, match=r"other captions for 1-red-0 \(1 in all\); remake it"):
        read_embeddings(tmp_path, "train", more, "psi")


# ---------------------------------------------------------------- folders


def fill(path: Path, content: str) -> None:
    with whole_files.new_folder(path) as folder:
        (folder / "file").write_text(content)


@pytest.mark.parametrize("can", [True, False])
def test_a_folder_is_replaced_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can: bool
) -> None:
    if not can:
        monkeypatch.setattr(whole_files, "_exchange", lambda one, other: False)
    for content in ("old", "new"):
        fill(tmp_path / "data/out", content)
        assert (tmp_path / "data/out/file").read_text() == content
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["out"]


@pytest.mark.skipif(sys.platform != "linux", reason="exchanging two names is Linux's")
def test_killed_while_a_folder_is_replaced_old_or_new_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the exchange touches the place: no moment at which it is empty or half full."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    fill(tmp_path / "out", "old")
    monkeypatch.setattr(whole_files, "_exchange", killed)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "out", "new")
    assert (tmp_path / "out/file").read_text() == "old"
    monkeypatch.undo()
    one, other = tmp_path / "out", tmp_path / "other"
    shutil.copytree(one, other)
    (other / "file").write_text("other")
    assert whole_files._exchange(one, other)
    assert [(path / "file").read_text() for path in (one, other)] == ["other", "old"]
    assert not whole_files._exchange(one, tmp_path / "gone")


def test_a_file_where_the_folder_should_come_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(NotADirectoryError):
        fill(tmp_path / "out", "new")
    assert (tmp_path / "out").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_temporaries_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getppid()):
        (tmp_path / f".out.{process}.tmp").mkdir()
        (tmp_path / f".file.{process}.tmp").write_text("")
    (tmp_path / ".out.mine.tmp").write_text("")
    fill(tmp_path / "out", "new")
    write_whole(tmp_path / "file", b"new")
    left = sorted(path.name for path in tmp_path.glob(".*"))
    assert left == sorted(
        [f".file.{os.getppid()}.tmp", ".out.mine.tmp", f".out.{os.getppid()}.tmp"]
    )


# ---------------------------------------------------------------- shards


def test_pages_carry_checksums_and_images_are_not_compressed_twice(
    tmp_path: Path, four: Examples
) -> None:
    write_examples(tmp_path, four, "train")
    [path] = shards(tmp_path, "train")
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        columns = [group.column(i) for i in range(group.num_columns)]
        told = {column.path_in_schema: column.compression for column in columns}
        assert told["image.bytes"] == "UNCOMPRESSED"
        assert told["captions.list.element"] == "ZSTD"
        told = json.loads(file.schema_arrow.metadata[b"pairsynth"])
        assert told == {"format": artifacts.FORMAT, "made_from": {}}


def test_groups_and_shards_are_bounded(
    tmp_path: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "ROWS_PER_GROUP", 5)
    monkeypatch.setattr(artifacts, "BYTES_PER_SHARD", 20_000)
    write_examples(tmp_path, examples, "train")
    found = shards(tmp_path, "train")
    assert len(found) > 1
    assert found[0].name == f"train-00000-of-{len(found):05}.parquet"
    assert sorted(tmp_path.iterdir()) == found
    for path in found:
        with pq.ParquetFile(path) as file:
            groups = range(file.num_row_groups)
            assert all(file.metadata.row_group(i).num_rows <= 5 for i in groups)
    assert read_examples(tmp_path, "train").ids == examples.ids


def test_equal_rows_give_equal_bytes(tmp_path: Path, four: Examples) -> None:
    for name in ("a", "b"):
        write_examples(tmp_path / name, four, "train")
    [one], [other] = shards(tmp_path / "a", "train"), shards(tmp_path / "b", "train")
    assert one.read_bytes() == other.read_bytes()


def test_a_writer_that_failed_leaves_no_finished_shard(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="stop"),
        ShardWriter(tmp_path, "train", IMAGES),
    ):
        raise RuntimeError("stop")
    with pytest.raises(InputError, match="is missing"):
        shards(tmp_path, "train")


def test_no_rows_are_an_empty_shard(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "train", IMAGES):
        pass
    assert read_shards(tmp_path, "train").num_rows == 0


@pytest.fixture
def shard_folder(tmp_path: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The 24 images in three shards or more, in a folder called `images`."""
    monkeypatch.setattr(artifacts, "ROWS_PER_GROUP", 4)
    monkeypatch.setattr(artifacts, "BYTES_PER_SHARD", 20_000)
    folder = tmp_path / "pictures"
    write_examples(folder, examples, "train")
    assert len(shards(folder, "train")) >= 3
    return folder


def test_missing_shards_say_which_stage_makes_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pictures/val-\*\.parquet is missing.*repro download"):
        read_examples(tmp_path / "pictures", "val")


def test_a_missing_shard_is_named(shard_folder: Path) -> None:
    lost = shards(shard_folder, "train")[1]
    lost.unlink()
    with pytest.raises(InputError, match=lost.name):
        read_shards(shard_folder, "train")


def test_an_extra_shard_is_named(shard_folder: Path) -> None:
    found = shards(shard_folder, "train")
    extra = found[0].with_name(f"train-{len(found):05}-of-{len(found):05}.parquet")
    extra.write_bytes(found[0].read_bytes())
    with pytest.raises(InputError, match=extra.name):
        read_shards(shard_folder, "train")


def test_a_shard_of_another_run_is_named(shard_folder: Path) -> None:
    found = shards(shard_folder, "train")
    stray = found[0].with_name("train-00000-of-00001.parquet")
    stray.write_bytes(found[0].read_bytes())
    with pytest.raises(InputError, match="shards do not match"):
        read_shards(shard_folder, "train")


@pytest.mark.parametrize("name", [b"class_name", b"split", b"bytes"])
def test_one_flipped_bit_in_the_names_of_columns_is_found(
    tmp_path: Path, four: Examples, name: bytes
) -> None:
    """They have no checksum, and a column that is not there is not read, without a word."""
    write_examples(tmp_path, four, "train")
    [path] = shards(tmp_path, "train")
    whole, faults = path.read_bytes(), []
    for found in re.finditer(name, whole):
        path.write_bytes(whole[: found.start()] + bytes([name[0] ^ 1]) + whole[found.start() + 1 :])
        try:
            again = read_examples(tmp_path, "train")
        except InputError as error:
            faults.append(str(error))
        else:
            assert (again.digest, again.class_names) == (four.digest, four.class_names)
    assert faults
    assert all("train-00000-of-00001.parquet is damaged" in fault for fault in faults)


def test_a_shard_of_other_columns_is_refused(
    tmp_path: Path, examples: Examples, embeddings: Embeddings
) -> None:
    write_embeddings(tmp_path, examples, embeddings)
    with pytest.raises(InputError, match=r"parquet is damaged .it has no column split.; remake it"):
        read_examples(tmp_path, "train")


def test_one_flipped_bit_in_the_pages_of_a_shard_is_found(tmp_path: Path, four: Examples) -> None:
    write_examples(tmp_path, four, "train")
    [path] = shards(tmp_path, "train")
    whole, table = path.read_bytes(), read_shards(tmp_path, "train")
    with pq.ParquetFile(path) as file:
        columns = [file.metadata.row_group(0).column(i) for i in range(len(table.schema) + 1)]
    ends = [c.data_page_offset + c.total_compressed_size for c in columns]
    rng = np.random.default_rng(0)
    for bit in rng.integers(4 * 8, max(ends) * 8, 150).tolist():
        path.write_bytes(flipped(whole, bit))
        try:
            same = read_shards(tmp_path, "train").equals(table)
        except InputError as error:
            assert path.name in str(error)  # noqa: PT017
        else:
            assert same, f"bit {bit} changed the rows in silence"


@pytest.mark.parametrize("share", [0, 4, 0.5, -1])
def test_a_shard_cut_short_is_named(tmp_path: Path, four: Examples, share: float) -> None:
    write_examples(tmp_path, four, "train")
    [path] = shards(tmp_path, "train")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data)) if share == 0.5 else int(share)])
    with pytest.raises(InputError, match=rf"{path.name} is damaged"):
        read_examples(tmp_path, "train")


def test_a_text_file_called_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "train-00000-of-00001.parquet").write_text("<html>not found</html>")
    with pytest.raises(InputError, match=r"train-00000-of-00001.parquet is damaged"):
        read_shards(tmp_path, "train")


def test_hugging_face_features_tell_images_and_vectors() -> None:
    info = json.loads(artifacts.with_features(IMAGES, {}).metadata[b"huggingface"])
    features = info["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["class_id"] == {"dtype": "int32", "_type": "Value"}
    vectors = json.loads(artifacts.with_features(embeddings_schema(8), {}).metadata[b"huggingface"])
    assert vectors["info"]["features"]["image"]["length"] == 8
    assert vectors["info"]["features"]["image"]["feature"]["dtype"] == "float32"


# ---------------------------------------------------------------- checkpoints

OPTIONS: dict[str, Any] = {"size": 32, "name": "x", "tokens": ["a", "b"], "rate": 0.5, "flag": True}


def state() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "weights": torch.randn(4, 3),
        "scalar": torch.tensor(2.5),
        "count": torch.tensor(7),
        "empty": torch.empty(0),
        "inner": {"half": torch.randn(5).bfloat16(), "mask": torch.tensor([True, False])},
    }


def flat(values: dict[str, Any]) -> list[tuple[str, torch.Tensor]]:
    return list(checkpoints._tensors(values))


def test_a_checkpoint_comes_back_as_it_went(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "gan.pt", "gan", OPTIONS, state())
    options, loaded = load_checkpoint(tmp_path / "gan.pt", "gan")
    assert options == OPTIONS
    for (name, tensor), (other_name, other) in zip(flat(loaded), flat(state()), strict=True):
        assert name == other_name
        assert tensor.dtype == other.dtype
        assert torch.equal(tensor, other)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (5, 3, 1, 1), (1, 3, 4, 4), (4, 1, 2, 2)])
def test_equal_weights_give_equal_bytes_whatever_their_layout(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    weights = torch.randn(shape)
    layouts = (weights, weights.to(memory_format=torch.channels_last), weights.requires_grad_())
    for i, layout in enumerate(layouts):
        save_checkpoint(tmp_path / f"{i}.pt", "gan", OPTIONS, {"w": layout})
    assert len({file_digest(tmp_path / f"{i}.pt") for i in range(3)}) == 1
    assert len(file_digest(tmp_path / "0.pt")) == 64


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, number: float) -> None:
    target = tmp_path / "gan.pt"
    save_checkpoint(target, "gan", OPTIONS, state())
    before = target.read_bytes()
    bad = {"generator": {"layer.weight": torch.tensor([1.0, number])}}
    with pytest.raises(ValueError, match=r"gan: generator.layer.weight is not finite"):
        save_checkpoint(target, "gan", OPTIONS, bad)
    assert target.read_bytes() == before


def test_a_missing_checkpoint_says_which_stage_makes_it(tmp_path: Path) -> None:
    for name in ("encoder.pt", "gan.pt", "captioner.pt"):
        with pytest.raises(InputError, match=rf"{name} is missing; run: dvc repro {MAKERS[name]}"):
            load_checkpoint(tmp_path / name, "gan")


def test_a_checkpoint_of_another_kind_or_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gan.pt"
    save_checkpoint(path, "encoder", OPTIONS, state())
    with pytest.raises(InputError, match="holds a encoder of format 2, not a gan of format 2"):
        load_checkpoint(path, "gan")
    monkeypatch.setattr(checkpoints, "FORMAT", 3)
    with pytest.raises(InputError, match="not a encoder of format 3"):
        load_checkpoint(path, "encoder")


def test_flipped_bits_in_a_checkpoint_are_found(tmp_path: Path) -> None:
    path = tmp_path / "gan.pt"
    save_checkpoint(path, "gan", OPTIONS, state())
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for bit in rng.integers(0, len(whole) * 8, 250).tolist():
        path.write_bytes(flipped(whole, bit))
        try:
            options, loaded = load_checkpoint(path, "gan")
        except InputError as error:
            assert "gan.pt" in str(error)  # noqa: PT017
            refused += 1
        else:  # the bit was in padding or in a date of the container
            assert options == OPTIONS
            pairs = zip(flat(loaded), flat(state()), strict=True)
            assert all(torch.equal(one, other) for (_, one), (_, other) in pairs)
    assert refused > 50


def test_every_flipped_bit_in_the_weights_is_found(tmp_path: Path) -> None:
    path, weights = tmp_path / "gan.pt", torch.arange(1.0, 33.0)
    save_checkpoint(path, "gan", {}, {"w": weights})
    whole = path.read_bytes()
    start = whole.index(weights.numpy().tobytes())
    for bit in range(start * 8, (start + 128) * 8, 37):
        path.write_bytes(flipped(whole, bit))
        with pytest.raises(InputError, match="is damaged"):
            load_checkpoint(path, "gan")


@pytest.mark.parametrize("share", [0, 4, 0.5, -1])
def test_a_checkpoint_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "gan.pt"
    save_checkpoint(path, "gan", OPTIONS, state())
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data)) if share == 0.5 else int(share)])
    with pytest.raises(InputError, match="is damaged or not ours"):
        load_checkpoint(path, "gan")


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize("container", ["pickle", "torch"])
def test_a_hostile_checkpoint_runs_nothing(tmp_path: Path, container: str) -> None:
    mark, path = tmp_path / "mark", tmp_path / "gan.pt"
    content = {"format": 1, "kind": "gan", "options": Hostile(mark), "state": {}, "digest": ""}
    if container == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match="is damaged or not ours"):
        load_checkpoint(path, "gan")
    assert not mark.exists()
    if container == "pickle":  # the trap works: whoever unpickles it is caught
        pickle.loads(path.read_bytes())
        assert mark.exists()


def test_a_foreign_file_of_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": torch.zeros(2)}, tmp_path / "gan.pt")
    with pytest.raises(InputError, match="is damaged or not ours"):
        load_checkpoint(tmp_path / "gan.pt", "gan")


def test_a_shard_of_another_format_is_refused(tmp_path: Path, four: Examples) -> None:
    write_examples(tmp_path, four, "train")
    [path] = shards(tmp_path, "train")
    table = pq.read_table(path)
    newer = {**table.schema.metadata, b"pairsynth": b'{"format": 999}'}
    pq.write_table(table.replace_schema_metadata(newer), path)
    with pytest.raises(InputError, match="format"):
        read_shards(tmp_path, "train")


def test_the_schema_of_images_is_the_one_that_is_written(tmp_path: Path, four: Examples) -> None:
    write_examples(tmp_path, four, "train")
    assert read_shards(tmp_path, "train").schema.equals(IMAGES)
    assert read_shards(tmp_path, "train", ["image_id"]).column_names == ["image_id"]
    assert isinstance(IMAGES.field("captions").type, pa.ListType)


def test_a_message_of_arrow_that_is_no_text_is_damage(
    tmp_path: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fuzzing found a page whose damage Arrow tells in bytes that are no UTF-8."""
    write_examples(tmp_path, examples, "train")

    def told_in_bytes(*_: object, **__: object) -> None:
        b"\x9a".decode()

    monkeypatch.setattr(pq, "ParquetFile", told_in_bytes)
    with pytest.raises(InputError, match=r"train-00000-of-00001.parquet is damaged"):
        read_shards(tmp_path, "train")


@pytest.mark.parametrize("name", [b"psi", b"source_digest", b"image_id", b"made_from"])
def test_a_name_of_embeddings_that_is_damaged_is_told(
    whole: Path, tmp_path: Path, name: bytes
) -> None:
    """Names of columns and what is told beside them have no checksum of their own."""
    examples = read_examples(whole / "pictures", "train")
    digest = file_digest(whole / "encoder.pt")
    shutil.copytree(whole / "embeddings", tmp_path / "embeddings")
    path = next((tmp_path / "embeddings").glob("train-*"))
    data, wrong, refused = path.read_bytes(), name[:-1] + b"~", 0
    for place in (found.start() for found in re.finditer(re.escape(name), data)):
        path.write_bytes(data[:place] + wrong + data[place + len(name) :])
        try:
            read_embeddings(tmp_path / "embeddings", "train", examples, digest)
        except InputError as error:
            refused += "embeddings" in str(error)
    assert refused
