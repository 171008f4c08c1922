"""From a source to checked, split, resized images in shards, with an account of the rest."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pairsynth.artifacts import SPLITS
from pairsynth.errors import InputError
from pairsynth.examples import read_examples
from pairsynth.image_files import stored_size
from pairsynth.sources import acquisition
from pairsynth.sources.acquisition import SHOWN, SOURCES, Acquisition, acquire, examples
from pairsynth.sources.contract import DownloadConfig, Example, SourceLog
from tests.options import DOWNLOAD


def config(source: str = "folder", size: int = 32, folder: str = "") -> DownloadConfig:
    return replace(DOWNLOAD, source=source, image_size=size, folder=folder)


def found(splits: tuple[str, ...] = SPLITS, each: int = 4) -> Iterator[Example]:
    for split in splits:
        for i in range(each):
            shade = SPLITS.index(split) * 50
            image = Image.new("RGB", (50 + i, 90), (i * 40, 100, shade))
            captions = tuple(f"caption {j} of {split} {i}" for j in range(i + 1))
            yield Example(
                image_id=f"{split}-{i}",
                class_id=i % 2,
                class_name=f"class {i % 2}",
                split=split,
                image=image,
                captions=captions,
            )


def test_every_split_is_written_and_counted(tmp_path: Path) -> None:
    report = acquire(config(), found(), SourceLog(), tmp_path)
    assert report.kept == 12
    for split in SPLITS:
        examples = read_examples(tmp_path, split)
        assert examples.ids == [f"{split}-{i}" for i in range(4)]
        assert examples.class_ids.tolist() == [0, 1, 0, 1]
        assert examples.class_names == ["class 0", "class 1"] * 2
        assert [len(own) for own in examples.captions] == [1, 2, 3, 4]
        assert examples.captions[2][1] == f"caption 1 of {split} 2"
        assert examples.attributes is None
        assert report.summary[f"{split}_images"] == 4
        assert report.summary[f"{split}_captions"] == 10
        assert report.summary[f"{split}_classes"] == 2
    assert report.summary["source"] == "folder"
    assert report.summary["image_size"] == 32
    json.dumps(report.summary)


@pytest.mark.parametrize("size", [32, 64])
def test_photographs_keep_a_margin_and_drawings_need_none(tmp_path: Path, size: int) -> None:
    for source in SOURCES:
        folder = tmp_path / source
        folder.mkdir()
        acquire(config(source, size), found(), SourceLog(), folder)
        side = size if source == "garden" else stored_size(size)
        pixels = read_examples(folder, "train").pixels
        assert pixels.shape == (4, 3, side, side)
        wanted = np.array([40, 100, 0])
        assert np.array_equal(pixels[1, :, side // 2, side // 2].numpy(), wanted)


def test_attributes_are_kept(tmp_path: Path) -> None:
    told = {"petals": "5", "colour": "red"}
    drawn = (replace(example, attributes=told) for example in found())
    acquire(config("garden"), drawn, SourceLog(), tmp_path)
    assert read_examples(tmp_path, "val").attributes == [told] * 4


def test_no_class_is_a_class_too(tmp_path: Path) -> None:
    def unknown() -> Iterator[Example]:
        for one in found():
            yield Example(
                image_id=one.image_id,
                class_id=-1,
                class_name="",
                split=one.split,
                image=one.image,
                captions=one.captions,
            )

    acquire(config(), unknown(), SourceLog(), tmp_path)
    assert read_examples(tmp_path, "train").class_ids.tolist() == [-1] * 4


@pytest.mark.parametrize("lost", SPLITS)
def test_a_split_without_images_is_refused(tmp_path: Path, lost: str) -> None:
    rest = tuple(split for split in SPLITS if split != lost)
    with pytest.raises(InputError, match=f"download: too few .*, {lost} has 0 and needs"):
        acquire(config(), found(rest), SourceLog(), tmp_path)


def test_a_source_that_fails_leaves_no_finished_shard(tmp_path: Path) -> None:
    def broken() -> Iterator[Example]:
        yield from found(("train",))
        raise InputError("the site is down")

    with pytest.raises(InputError, match="the site is down"):
        acquire(config(), broken(), SourceLog(), tmp_path)
    assert not list(tmp_path.glob("*-of-*.parquet"))


def refused(folder: Path) -> list[dict[str, str]]:
    with (folder / "refused.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_was_refused_is_listed_with_its_reason(tmp_path: Path) -> None:
    log = SourceLog()
    log.refuse("a.jpg", "9000 x 9000 pixels, more than 64,000,000")
    log.refuse('b, "the second".jpg', "not a readable image")
    report = acquire(config(), found(), log, tmp_path)
    assert report.summary["refused"] == 2
    assert refused(tmp_path) == [
        {"item": "a.jpg", "reason": "9000 x 9000 pixels, more than 64,000,000"},
        {"item": 'b, "the second".jpg', "reason": "not a readable image"},
    ]


def test_the_list_of_what_was_refused_has_its_header_when_it_is_empty(tmp_path: Path) -> None:
    acquire(config(), found(), SourceLog(), tmp_path)
    assert (tmp_path / "refused.csv").read_text().strip() == "item,reason"


def test_lines_tell_the_first_and_count_the_rest() -> None:
    summary = {f"{split}_images": 1000 for split in SPLITS}
    log = SourceLog()
    report = Acquisition(summary=summary, log=log, findings=[])
    assert report.lines() == ["kept 3,000 images, refused 0 items"]
    for i in range(SHOWN + 5):
        log.refuse(f"{i}.jpg", "broken")
    lines = report.lines()
    assert lines[0] == f"kept 3,000 images, refused {SHOWN + 5} items"
    assert lines[1] == "  refused 0.jpg: broken"
    assert len(lines) == SHOWN + 2
    assert lines[-1] == "  ... and 5 more, in refused.csv"


def test_an_image_in_two_splits_is_refused_in_the_second(tmp_path: Path) -> None:
    def doubled() -> Iterator[Example]:
        yield from found()
        for split in SPLITS:
            again = next(found(("test",)))
            yield replace(again, image_id=f"again-{split}", split=split)

    report = acquire(config(), doubled(), SourceLog(), tmp_path)
    why = "the same image as test-0, which is in another split"
    assert refused(tmp_path) == [
        {"item": f"again-{split}", "reason": why} for split in ("train", "val")
    ]
    assert report.summary["test_images"] == 5
    assert report.summary["twins"] == 0  # they are blank
    refusing = replace(config(), broken="refuse")
    with pytest.raises(InputError, match=f"again-train: {why}; remove one, or set download.broken"):
        acquire(refusing, doubled(), SourceLog(), tmp_path)


def test_what_is_odd_is_counted_listed_and_said(tmp_path: Path) -> None:
    report = acquire(config(size=64), found(), SourceLog(), tmp_path)
    assert report.summary["blank"] == report.summary["enlarged"] == 12
    assert report.lines()[1:] == [
        "  12 images are smaller than the size wanted, and were enlarged (train-0: 50 x 90 pixels)",
        "  12 images are of one colour (train-0: colour (0, 100, 0))",
    ]
    with (tmp_path / "survey.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["item"] for row in rows[:12]] == [row["item"] for row in rows[12:]]
    assert rows[0] == {
        "finding": "12 images are smaller than the size wanted, and were enlarged",
        "item": "train-0",
        "what": "50 x 90 pixels",
    }


def test_what_was_taken_for_what_is_said_before_all_else() -> None:
    log = SourceLog(notes=["folder: captions from a.csv"])
    report = Acquisition(summary={f"{split}_images": 1 for split in SPLITS}, log=log, findings=[])
    assert report.lines() == ["folder: captions from a.csv", "kept 3 images, refused 0 items"]


def test_a_source_that_is_not_in_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"download.source is 'flickr'; allowed is one of"):
        examples(config("flickr"), 1, tmp_path, SourceLog())


def test_the_garden_comes_through_the_table(tmp_path: Path) -> None:
    log = SourceLog()
    options = replace(DOWNLOAD, source="garden", split="class", garden_images=2)
    report = acquire(options, examples(options, 1, tmp_path / "cache", log), log, tmp_path)
    assert report.kept == 12
    ids = [set(read_examples(tmp_path, split).class_ids.tolist()) for split in SPLITS]
    assert not ids[0] & ids[1]
    assert not ids[0] & ids[2]
    assert not ids[1] & ids[2]
    assert set(acquisition.DRAWN_TO_SIZE) <= set(SOURCES)
