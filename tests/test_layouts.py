"""Folders laid out as public captioned sets are: files of each, written here by other means."""

import csv
import io
import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pairsynth.errors import InputError
from pairsynth.sources.contract import Example, SourceLog
from pairsynth.sources.folder import folder
from tests.options import DOWNLOAD

COUNT = 24
WORDS = ("red", "blue", "white", "pink")


def shade(i: int) -> tuple[int, int, int]:
    return (10 * i, 255 - 10 * i, 7 * i)


def png(i: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), shade(i)).save(buffer, "PNG")
    return buffer.getvalue()


def said(i: int, j: int = 0) -> str:
    return f"a {WORDS[(i + j) % 4]} flower, number {i}"


def put(path: Path, content: str | bytes | Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def images(root: Path, pattern: str, numbers: range = range(COUNT)) -> None:
    for i in numbers:
        put(root / pattern.format(i), png(i))


def read(root: Path, log: SourceLog | None = None, **how: Any) -> dict[str, Example]:
    options = replace(DOWNLOAD, folder=str(root), **how)
    found = list(folder(options, 0, root / "cache", log or SourceLog()))
    assert len({one.image_id for one in found}) == len(found)
    return {one.image_id: one for one in found}


def number_of(one: Example) -> int:
    """By its colour: which image it is, whatever it is called."""
    return int(np.asarray(one.image)[0, 0, 0]) // 10


def check(
    found: dict[str, Example], numbers: Sequence[int] = range(COUNT), captions: int = 1
) -> None:
    """All are there, and each has the captions that were written of it."""
    assert sorted(map(number_of, found.values())) == list(numbers)
    for one in found.values():
        i = number_of(one)
        assert one.captions == tuple(said(i, j) for j in range(captions))


def splits(found: dict[str, Example]) -> dict[str, list[int]]:
    """Numbers by split."""
    told: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for one in found.values():
        told[one.split].append(number_of(one))
    return {split: sorted(numbers) for split, numbers in told.items()}


# ---------------------------------------------------------------- documents


def coco(names: dict[int, str], captions: int = 2) -> dict[str, Any]:
    order = list(names)[::-1]
    return {
        "info": {"year": 2017},
        "licenses": [],
        "images": [{"id": 900 + i, "file_name": name, "width": 6} for i, name in names.items()],
        "annotations": [
            {"image_id": 900 + i, "id": 10 * i + j, "caption": said(i, j)}
            for j in range(captions)
            for i in order
        ],
    }


def test_coco(tmp_path: Path) -> None:
    images(tmp_path, "train2017/{:012}.jpg", range(16))
    images(tmp_path, "val2017/{:012}.jpg", range(16, 24))
    for split, numbers in (("train", range(16)), ("val", range(16, 24))):
        names = {i: f"{i:012}.jpg" for i in numbers}
        put(tmp_path / f"annotations/captions_{split}2017.json", coco(names))
        put(tmp_path / f"annotations/instances_{split}2017.json", "{not read")
    log = SourceLog()
    found = read(tmp_path, log)
    check(found, captions=2)
    told = splits(found)
    assert told["val"] == list(range(16, 24))
    assert sorted(told["train"] + told["test"]) == list(range(16))
    assert 1 <= len(told["test"]) <= 4
    assert {one.class_name for one in found.values()} == {""}
    assert log.notes == [
        "folder: captions from annotations/captions_train2017.json, annotations/"
        "captions_val2017.json with columns file_name, caption; classes not known; splits "
        "of the files' names, test drawn from train"
    ]
    assert [what for what, _ in log.refused] == [
        "annotations/instances_train2017.json",
        "annotations/instances_val2017.json",
    ]
    with pytest.raises(InputError, match=r"no image is given for test, .*split=image: then test"):
        read(tmp_path, split="class")


def test_one_bad_entry_of_coco_costs_that_entry(tmp_path: Path) -> None:
    images(tmp_path, "images/{}.png")
    document = coco({i: f"{i}.png" for i in range(COUNT)}, 1)
    document["annotations"] += [{"image_id": 5, "caption": "x"}, 7, {"image_id": 903, "text": ""}]
    document["annotations"][0]["caption"] = {"no": "text"}
    document["images"] += [None, {"id": 8000, "file_name": "../x.png"}]
    put(tmp_path / "captions.json", document)
    log = SourceLog()
    check(read(tmp_path, log), range(COUNT - 1))
    assert log.refused == [
        ("captions.json annotation 25", "of no image (its image_id is none of theirs)"),
        ("captions.json annotation 26", "of no image (its image_id is none of theirs)"),
        ("captions.json annotation 27", "no caption; it has image_id, text"),
        (
            "captions.json image 923",
            "no caption (columns looked for: caption, captions, text, prompt, description, "
            "sentence, sentences, raw, comment, title, alt_text, txt, paragraph, tags; "
            "there are: id, file_name, width, caption)",
        ),
        ("captions.json image 25", "not a JSON object {...} with an id"),
        (
            "captions.json image 8000",
            "names '../x.png', which is no image under this folder",
        ),
        ("images/23.png", "no usable caption"),
    ]
    with pytest.raises(InputError, match=r"captions.json annotation 25: of no image .*broken=skip"):
        read(tmp_path, broken="refuse")


@pytest.mark.parametrize("below", [True, False])
def test_karpathy(tmp_path: Path, below: bool) -> None:
    """dataset_coco.json with its folders, dataset_flickr8k.json without."""
    place = "val2014" if below else "Flicker8k_Dataset"
    images(tmp_path, place + "/{:03}.jpg")
    kinds = ["train"] * 10 + ["restval"] * 4 + ["val"] * 5 + ["test"] * 5
    document = {
        "dataset": "coco",
        "images": [
            {
                **({"filepath": place, "cocoid": i} if below else {}),
                "filename": f"{i:03}.jpg",
                "imgid": i,
                "sentids": [2 * i, 2 * i + 1],
                "split": kinds[i],
                "sentences": [
                    {"tokens": said(i, j).split(), "raw": said(i, j), "imgid": i, "sentid": j}
                    for j in range(2)
                ],
            }
            for i in range(COUNT)
        ],
    }
    put(tmp_path / "dataset_coco.json", document)
    log = SourceLog()
    found = read(tmp_path, log)
    check(found, captions=2)
    assert splits(found) == {
        "train": list(range(14)),
        "val": list(range(14, 19)),
        "test": list(range(19, 24)),
    }
    assert log.refused == []


@pytest.mark.parametrize(
    "document",
    [
        {f"{i}.png": said(i) for i in range(COUNT)},
        {f"{i}.png": [said(i)] for i in range(COUNT)},
        {f"{i}.png": {"caption": said(i)} for i in range(COUNT)},
        {str(i): {"image": f"img/{i}.png", "text": said(i)} for i in range(COUNT)},
        [{"image": f"img/{i}.png", "caption": said(i)} for i in range(COUNT)],
        [[f"{i}.png", said(i)] for i in range(COUNT)],
        {"data": [{"file_name": f"{i}.png", "prompt": said(i)} for i in range(COUNT)]},
        {"annotations": [{"image": f"{i}.png", "caption": [said(i)]} for i in range(COUNT)]},
        "\n".join(json.dumps({"image": f"{i}.png", "caption": said(i)}) for i in range(COUNT)),
    ],
)
def test_plain_json(tmp_path: Path, document: Any) -> None:
    images(tmp_path, "img/{}.png")
    put(tmp_path / "mine.json", document)
    put(tmp_path / "config.json", {"model": "x", "size": 3})
    log = SourceLog()
    check(read(tmp_path, log))
    assert [what for what, _ in log.refused] == ["config.json"]


def test_json_by_split(tmp_path: Path) -> None:
    images(tmp_path, "{}.png")
    parts = {"train": range(12), "validation": range(12, 18), "test": range(18, 24)}
    document = {
        key: [{"image": f"{i}.png", "caption": said(i)} for i in numbers]
        for key, numbers in parts.items()
    }
    put(tmp_path / "all.json", document)
    found = read(tmp_path)
    check(found)
    assert list(map(len, splits(found).values())) == [12, 6, 6]


def test_flickr8k_of_kaggle(tmp_path: Path) -> None:
    images(tmp_path, "Images/{}_ab.jpg")
    with (tmp_path / "captions.txt").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption"])
        table.writerows([f"{i}_ab.jpg", said(i, j)] for i in range(COUNT) for j in range(5))
    log = SourceLog()
    found = read(tmp_path, log)
    assert sorted(map(number_of, found.values())) == list(range(COUNT))
    for one in found.values():  # of five captions the fifth says what the first did
        assert one.captions == tuple(said(number_of(one), j) for j in range(4))
    assert set(found) == {f"Images/{i}_ab.jpg" for i in range(COUNT)}
    assert log.notes == [
        "folder: captions from captions.txt with columns image, caption; classes not known; "
        "splits drawn by image"
    ]
    assert {why for _, why in log.refused} == {
        f"a second time the same caption of Images/{i}_ab.jpg" for i in range(COUNT)
    }


SPLIT = {"train": range(12), "dev": range(12, 18), "test": range(18, 23)}


def flickr_lines() -> str:
    return "".join(f"{i}.jpg#{j}\t{said(i, j)}\n" for i in range(COUNT) for j in range(2))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Flickr_8k.{}Images.txt", "{}.jpg"),
        ("{}.txt", "{}"),
        ("lists/{}_list.txt", "../Images/{}.jpg"),
        ("Flickr8k_{}.txt", "Images\\{}.JPG"),
    ],
)
@pytest.mark.parametrize("layout", ["token", "csv", "texts"])
def test_official_lists_of_splits_are_honoured(
    tmp_path: Path, name: str, line: str, layout: str
) -> None:
    images(tmp_path, "Images/{}.jpg")
    if layout == "token":
        put(tmp_path / "Flickr8k.token.txt", flickr_lines())
    elif layout == "csv":
        rows = [f'{i}.jpg,"{said(i, j)}"' for i in range(COUNT) for j in range(2)]
        put(tmp_path / "captions.txt", "\n".join(["image,caption", *rows]))
    else:
        for i in range(COUNT):
            put(tmp_path / f"Images/{i}.txt", f"{said(i, 0)}\n{said(i, 1)}\n")
    for split, numbers in SPLIT.items():
        text = "".join(line.format(i) + "\r\n" for i in numbers)
        put(tmp_path / name.format(split), text)
    log = SourceLog()
    found = read(tmp_path, log)
    check(found, range(23), captions=2)
    wanted = {"val" if split == "dev" else split: list(numbers) for split, numbers in SPLIT.items()}
    assert splits(found) == wanted
    lists = ", ".join(sorted(name.format(split) for split in SPLIT))
    assert log.notes[0].endswith(f"splits of {lists}")
    assert log.refused == [
        ("Images/23.jpg", f"passed over: in none of the lists of splits ({lists})")
    ]


def test_an_image_in_two_lists_of_splits_is_refused(tmp_path: Path) -> None:
    images(tmp_path, "{}.jpg")
    put(tmp_path / "Flickr8k.token.txt", flickr_lines())
    for split, numbers in (("train", range(18)), ("test", range(17, 24))):
        put(tmp_path / f"{split}.txt", "".join(f"{i}.jpg\n" for i in numbers))
    log = SourceLog()
    assert 17 not in map(number_of, read(tmp_path, log).values())
    assert ("17.jpg", "has more than one split: 'test', 'train'") in log.refused


@pytest.mark.parametrize("beside", ["captions.txt", "Flickr8k.token.txt"])
def test_karpathys_splits_are_honoured_beside_other_captions(tmp_path: Path, beside: str) -> None:
    images(tmp_path, "Images/{}.jpg")
    rows = [f'{i}.jpg,"{said(i, j)}"' for i in range(COUNT) for j in range(2)]
    table = "\n".join(["image,caption", *rows])
    put(tmp_path / beside, table if beside == "captions.txt" else flickr_lines())
    known = [
        {"filename": f"{i}.jpg", "split": split, "sentences": [{"raw": "another"}]}
        for split, numbers in {"restval": range(9), "train": range(9, 12), "val": range(12, 18),
                               "test": range(18, 23)}.items()
        for i in numbers
    ]  # fmt: skip
    put(tmp_path / "dataset_flickr8k.json", {"images": known, "dataset": "flickr8k"})
    log = SourceLog()
    found = read(tmp_path, log)
    if beside == "captions.txt":
        check(found, range(23), captions=2)
        assert log.notes[0].endswith("splits of dataset_flickr8k.json")
    told = splits(found)
    assert (told["val"], told["test"]) == (list(range(12, 18)), list(range(18, 23)))


def test_splits_of_the_rows_go_before_lists(tmp_path: Path) -> None:
    images(tmp_path, "{}.jpg")
    told = ["train", "val", "test", "train"]
    rows = [f'{i}.jpg,"{said(i)}",{told[i % 4]}' for i in range(COUNT)]
    put(tmp_path / "metadata.csv", "\n".join(["file_name,caption,split", *rows]))
    for split, numbers in SPLIT.items():
        put(tmp_path / f"{split}.txt", "".join(f"{i}.jpg\n" for i in numbers))
    log = SourceLog()
    found = read(tmp_path, log)
    check(found)
    assert splits(found)["val"] == list(range(1, COUNT, 4))
    assert ("dev.txt", "passed over: the captions' own rows tell the splits") in log.refused


def test_texts_that_only_look_like_lists_of_splits_are_none(tmp_path: Path) -> None:
    images(tmp_path, "{}.jpg")
    put(tmp_path / "Flickr8k.token.txt", flickr_lines())
    put(tmp_path / "train.txt", "how it was trained\n")
    put(tmp_path / "test.txt", b"\xff\xfe")
    log = SourceLog()
    check(read(tmp_path, log), captions=2)
    assert "splits drawn by image" in log.notes[0]


@pytest.mark.parametrize("name", ["Flickr8k.token.txt", "results_20130124.token"])
def test_flickr_tokens(tmp_path: Path, name: str) -> None:
    images(tmp_path, "flickr30k_images/{}.jpg")
    lines = [f"{i}.jpg#{j}\t{said(i, j)}" for i in range(COUNT) for j in range(3)]
    put(tmp_path / name, "\n".join([*lines[:7], "no such line", *lines[7:]]) + "\n")
    put(tmp_path / "Flickr8k.lemma.token.txt", "\n".join(f"{i}.jpg#0\tlemma" for i in range(9)))
    put(tmp_path / "readme.txt", "about\n")
    log = SourceLog()
    check(read(tmp_path, log), captions=3)
    assert log.refused[-1] == (
        f"{name} line 8",
        "not of the form name.jpg#0, a tab, and a caption",
    )
    others = ["Flickr8k.lemma.token.txt", "readme.txt"]
    assert sorted(what for what, _ in log.refused[:-1]) == others


def test_flickr30k_results(tmp_path: Path) -> None:
    images(tmp_path, "flickr30k_images/flickr30k_images/{}.jpg")
    lines = ["image_name| comment_number| comment"]
    lines += [f"{i}.jpg| {j}| {said(i, j)}" for i in range(COUNT) for j in range(3)]
    lines[10] = "3.jpg| 0   a line that lacks its bar"  # as one of the real file does
    put(tmp_path / "flickr30k_images/results.csv", "\n".join(lines))
    log = SourceLog()
    found = read(tmp_path, log)
    assert found["flickr30k_images/flickr30k_images/4.jpg"].captions == tuple(
        said(4, j) for j in range(3)
    )
    assert found["flickr30k_images/flickr30k_images/3.jpg"].captions == (said(3, 1), said(3, 2))
    assert {what for what, _ in log.refused} == {"flickr30k_images/results.csv line 11"}


def test_open_clip(tmp_path: Path) -> None:
    images(tmp_path, "pics/{}.png")
    rows = [f"pics/{i}.png\t{said(i)}" for i in range(COUNT)]
    put(tmp_path / "train.csv", "\n".join(["filepath\ttitle", *rows[:20]]))
    put(tmp_path / "val.csv", "\n".join(["filepath\ttitle", *rows[20:]]))
    found = read(tmp_path)
    check(found)
    assert splits(found)["val"] == [20, 21, 22, 23]


def test_a_quote_that_stands_for_inches_costs_no_row(tmp_path: Path) -> None:
    images(tmp_path, "{}.png")
    rows = [f'{i}.png;a {i} 5" flower' if i in (3, 9) else f"{i}.png;{said(i)}" for i in range(24)]
    put(tmp_path / "captions.csv", "\n".join(["file;caption", *rows]))
    log = SourceLog()
    found = read(tmp_path, log)
    assert log.refused == []
    assert found["9.png"].captions == ('a 9 5" flower',)
    assert found["5.png"].captions == (said(5),)


@pytest.mark.parametrize(
    "cell",
    [
        "['{0}' '{1}']",
        "['{0}'\n '{1}']",
        "['{0}', '{1}']",
        '["{0}", "{1}"]',
    ],
)
def test_lists_as_numpy_python_and_json_write_them(tmp_path: Path, cell: str) -> None:
    images(tmp_path, "{}.png")
    rows = [
        {"image": f"{i}.png", "captions": cell.format(said(i), said(i, 1))} for i in range(COUNT)
    ]
    put(tmp_path / "captions.jsonl", "\n".join(map(json.dumps, rows)))
    check(read(tmp_path), captions=2)


@pytest.mark.parametrize("names", ["caption_0,caption_1", "caption0,caption1", "Text 1,Text 2"])
def test_numbered_columns(tmp_path: Path, names: str) -> None:
    images(tmp_path, "{}.png")
    rows = [f'{i}.png,"{said(i)}","{said(i, 1)}",9' for i in range(COUNT)]
    put(tmp_path / "metadata.csv", "\n".join([f"file_name,{names},width", *rows]))
    check(read(tmp_path), captions=2)


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_a_table_without_a_header(tmp_path: Path, separator: str) -> None:
    images(tmp_path, "{}.png")
    lines = [f'{i}.png{separator}"{said(i)}"' for i in range(COUNT)]
    put(tmp_path / "mine.tsv", "\n".join(lines))
    check(read(tmp_path))


def test_texts_in_a_folder_of_their_own(tmp_path: Path) -> None:
    """As CUB's text_c10 lies beside images."""
    for i in range(COUNT):
        label = ("rose", "tulip")[i % 2]
        put(tmp_path / f"images/{label}/{i // 2}.jpg", png(i))
        put(tmp_path / f"text/{label}/{i // 2}.txt", said(i))
    log = SourceLog()
    found = read(tmp_path, log)
    check(found)
    assert log.refused == []
    assert {(number_of(one) % 2, one.class_name) for one in found.values()} == {
        (0, "rose"),
        (1, "tulip"),
    }
    assert log.notes[0].startswith("folder: captions from the .txt files with the images' names")


# ---------------------------------------------------------------- what is refused, and how


def test_no_captions_at_all(tmp_path: Path) -> None:
    images(tmp_path, "{}.png")
    put(tmp_path / "about.csv", "id,width\n1,2\n")
    put(tmp_path / "broken.json", "{")
    with pytest.raises(InputError) as raised:
        read(tmp_path)
    message = raised.value.message
    assert "no captions: no text with the name of an image beside it" in message
    assert "for captions, caption, captions, text, prompt," in message
    assert "there are: about.csv (columns id, width); broken.json (cannot be read" in message


def test_no_images_at_all(tmp_path: Path) -> None:
    put(tmp_path / "about.csv", "id,width\n1,2\n")
    put(tmp_path / "set.tar.gz", b"")
    with pytest.raises(InputError, match=r"holds no images.*there are: about.csv, set.tar.gz"):
        read(tmp_path)


def test_columns_that_the_user_names(tmp_path: Path) -> None:
    images(tmp_path, "{}.png")
    rows = [
        {"file_name": "no.png", "image": f"{i}.png", "caption": "no", "Alt-Text": said(i)}
        for i in range(COUNT)
    ]
    for name in ("metadata.jsonl", "mine.jsonl"):
        put(tmp_path / name, "\n".join(map(json.dumps, rows)))
        check(read(tmp_path, image_column="image", caption_column="alt text"))
        (tmp_path / name).unlink()
    put(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError) as raised:
        read(tmp_path, caption_column="words")
    assert raised.value.message == (
        f"{tmp_path / 'metadata.jsonl'} has no column 'words', which download.caption_column "
        "names; there are: file_name, image, caption, alt_text"
    )
    with pytest.raises(InputError, match=r"no column 'img', which download.image_column names"):
        read(tmp_path, image_column="img")
    (tmp_path / "metadata.jsonl").rename(tmp_path / "mine.jsonl")
    with pytest.raises(InputError, match=r"no captions: .*; there are: .*; for captions, words$"):
        read(tmp_path, caption_column="words")


def test_a_text_beside_one_image_does_not_outweigh_a_list_of_all(tmp_path: Path) -> None:
    images(tmp_path, "{}.png")
    put(tmp_path / "0.txt", "about the set")
    put(tmp_path / "mine.json", {f"{i}.png": said(i) for i in range(COUNT)})
    log = SourceLog()
    check(read(tmp_path, log))
    assert log.refused == [("0.txt", "passed over: captions are taken from mine.json")]


def test_tables_that_a_table_outweighs_are_told(tmp_path: Path) -> None:
    images(tmp_path, "{}.png")
    rows = [{"image": f"{i}.png", "caption": said(i)} for i in range(COUNT)]
    put(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    put(tmp_path / "mine.json", rows)
    put(tmp_path / "0.txt", "old")
    tar(tmp_path / "all.tar", *sample(0))
    log = SourceLog()
    check(read(tmp_path, log))
    assert log.refused == [
        ("all.tar", "passed over: images lie beside it as files of their own"),
        ("0.txt and 1 more", "passed over: captions are taken from metadata.jsonl"),
    ]


def test_lists_that_do_not_count_are_told(tmp_path: Path) -> None:
    images(tmp_path, "{}.png")
    rows = [{"image": f"{i}.png", "caption": said(i)} for i in range(COUNT)]
    put(tmp_path / "a.json", rows)
    put(tmp_path / "b.jsonl", "\n".join(map(json.dumps, rows)))
    put(tmp_path / "c.csv", "url,size\nx,1\n")
    log = SourceLog()
    check(read(tmp_path, log))
    assert log.refused == [
        ("b.jsonl", "passed over: captions are taken from a.json"),
        ("c.csv", "passed over: no captions of the images that are here (columns url, size)"),
    ]


def test_one_folder_that_holds_all_is_no_class(tmp_path: Path) -> None:
    images(tmp_path, "data/rose/{}.png", range(12))
    images(tmp_path, "data/tulip/{}.png", range(12, 24))
    for i in range(COUNT):
        name = f"data/{'rose' if i < 12 else 'tulip'}/{i}.txt"
        put(tmp_path / name, said(i))
    log = SourceLog()
    found = read(tmp_path, log)
    check(found)
    assert Counter(one.class_name for one in found.values()) == {"rose": 12, "tulip": 12}
    assert log.notes == [
        "folder: captions from the .txt files beside the images; classes of the subfolders; "
        "splits drawn by image"
    ]


# ---------------------------------------------------------------- packs


def tar(path: Path, *members: tuple[str, bytes | str | tarfile.TarInfo]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            data = content.encode() if isinstance(content, str) else content
            if isinstance(data, bytes):
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(data), 0.5  # which needs an extended header
                archive.addfile(member, io.BytesIO(data))
            else:
                data.name = name
                archive.addfile(data)
    return path


def sample(i: int, kind: str = "txt") -> list[tuple[str, bytes | str]]:
    told = json.dumps({"caption": said(i), "url": "http://x", "key": f"{i:04}"})
    texts: dict[str, list[tuple[str, bytes | str]]]
    texts = {"txt": [("txt", said(i))], "json": [("json", told)]}
    texts["both"] = [*texts["txt"], ("json", told.replace("flower", "weed"))]
    return [(f"{i:04}.{end}", data) for end, data in [("jpg", png(i)), *texts[kind]]]


@pytest.mark.parametrize("kind", ["txt", "json", "both"])
def test_webdataset(tmp_path: Path, kind: str) -> None:
    for split, numbers in (("train", range(12)), ("val", range(12, 18)), ("test", range(18, 24))):
        members = [one for i in numbers for one in sample(i, kind)]
        tar(tmp_path / f"shards/{split}-000.tar", *members)
    log = SourceLog()
    found = read(tmp_path, log, broken="refuse")
    check(found)
    assert list(map(len, splits(found).values())) == [12, 6, 6]
    assert "shards/val-000.tar/0013" in found
    assert log.refused == []
    column = "caption" if kind == "json" else "txt"
    assert log.notes == [
        "folder: captions from shards/test-000.tar, shards/train-000.tar, shards/val-000.tar with "
        f"columns {column}; classes not known; splits of the files' names"
    ]


def test_img2dataset_tars(tmp_path: Path) -> None:
    for shard in range(2):
        members = [one for i in range(12 * shard, 12 * shard + 12) for one in sample(i, "both")]
        tar(tmp_path / f"{shard:05}.tar", *members)
        put(tmp_path / f"{shard:05}_stats.json", {"count": 12})
        table = [{"url": "http://x", "key": f"{i:04}", "caption": said(i)} for i in range(9)]
        pq.write_table(pa.Table.from_pylist(table), tmp_path / f"{shard:05}.parquet")
    log = SourceLog()
    check(read(tmp_path, log))
    assert log.refused == [
        (f"{shard:05}{end}", "passed over: img2dataset's own account")
        for shard in range(2)
        for end in (".parquet", "_stats.json")
    ]


@pytest.mark.parametrize("kind", ["txt", "json", "both"])
def test_img2dataset_files(tmp_path: Path, kind: str) -> None:
    for i in range(COUNT):
        shard = f"{i // 12:05}"
        for name, data in sample(i, kind):
            put(tmp_path / shard / f"{shard}{name}", data)
        put(tmp_path / f"{shard}_stats.json", {"count": 12})
    pq.write_table(pa.table({"url": ["x"], "key": ["y"]}), tmp_path / "00000.parquet")
    log = SourceLog()
    found = read(tmp_path, log)
    check(found)
    assert {one.class_name for one in found.values()} == {""}
    assert {why for _, why in log.refused} == {"passed over: img2dataset's own account"}


def test_classes_and_splits_inside_a_tar(tmp_path: Path) -> None:
    members: list[tuple[str, bytes | str]] = []
    for i in range(COUNT):
        place = f"./{('train', 'val', 'test')[i % 3]}/{('rose', 'tulip')[i % 2]}"
        members.append((f"{place}/{i}.png", png(i)))
        if i < 6:
            members.append((f"{place}/{i}.cls", str(i % 5)))
        members.append((f"{place}/{i}.txt", said(i)))
    tar(tmp_path / "all.tar", *members)
    found = read(tmp_path)
    check(found)
    for one in found.values():
        i = number_of(one)
        assert one.split == ("train", "val", "test")[i % 3]
        assert one.class_name == (str(i % 5) if i < 6 else ("rose", "tulip")[i % 2])


def special(kind: bytes, linkname: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo()
    member.type, member.linkname = kind, linkname
    return member


def test_one_bad_member_costs_one_sample(tmp_path: Path) -> None:
    members: list[Any] = [one for i in range(COUNT) for one in sample(i)]
    members[2] = ("0001.jpg", b"<html>")
    members[5] = ("0002.txt", b"\xff")
    members[8] = ("0004.jpg", special(tarfile.SYMTYPE, "/etc/passwd"))
    members += [("../0030.jpg", png(1)), ("0003.jpg", png(9)), ("0031.json", "{"), ("a/", "")]
    members += [("0032.jpg", png(1)), ("0032.png", png(2)), ("0032.txt", "two")]
    members += [("0033.jpg", png(1)), ("0033.json", '{"caption": ')]
    tar(tmp_path / "all.tar", *members)
    log = SourceLog()
    found = read(tmp_path, log)
    assert sorted(map(number_of, found.values())) == [0, 3, *range(5, COUNT)]
    refused = dict(log.refused)
    assert refused["all.tar/0001"].startswith("not a readable image")
    assert refused["all.tar/0002.txt"].startswith("cannot be read: not UTF-8")
    assert refused["all.tar/0004.jpg"] == "a link, a device or a sparse file, not a plain one"
    assert refused["all.tar/0004"].startswith("0 images of this key; members: .txt")
    assert refused["all.tar/../0030.jpg"].startswith("a name that leads out of the archive")
    assert refused["all.tar/0003.jpg"] == "a second member of the same name"
    assert refused["all.tar/0032"].startswith("2 images of this key; members: .jpg, .png, .txt")
    assert refused["all.tar/0033.json"].startswith("cannot be read: Expecting value")
    with pytest.raises(InputError, match=r"all.tar/0004.jpg: a link.*broken=skip"):
        read(tmp_path, broken="refuse")


@pytest.mark.parametrize("cut", [300, 1030, 1700, 40_000])
def test_a_tar_cut_short_is_read_as_far_as_it_goes(tmp_path: Path, cut: int) -> None:
    path = tar(tmp_path / "b.tar", *[one for i in range(12, COUNT) for one in sample(i)])
    whole = path.read_bytes()
    tar(tmp_path / "a.tar", *[one for i in range(12) for one in sample(i)])
    path.write_bytes(whole[:-cut])
    log = SourceLog()
    found = read(tmp_path, log)
    assert set(range(12)) <= set(map(number_of, found.values()))
    assert all(one.captions == (said(number_of(one)),) for one in found.values())
    assert any(what == "b.tar" and "as far as it goes" in why for what, why in log.refused) or (
        cut < 10_240 and len(found) == COUNT
    )


def test_damaged_and_endless_headers_of_tars(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", *[one for i in range(12) for one in sample(i)])
    path = tar(tmp_path / "b.tar", *[one for i in range(12, COUNT) for one in sample(i)])
    whole = bytearray(path.read_bytes())
    at = whole.index(b"0015.jpg")
    whole[at] ^= 1
    path.write_bytes(bytes(whole))
    log = SourceLog()
    assert sorted(map(number_of, read(tmp_path, log).values())) == list(range(15))
    (what, why), *_ = log.refused
    assert what == "b.tar"
    assert why.endswith("it is read as far as it goes")
    long = tarfile.TarInfo("pax")
    long.type, long.size = tarfile.XHDTYPE, 100_000
    path.write_bytes(long.tobuf(tarfile.USTAR_FORMAT) + b"9" * 100_352 + bytes(1024))
    log = SourceLog()
    assert len(read(tmp_path, log)) == 12
    assert "more than it should" in log.refused[0][1]


def test_images_beside_tars_count_where_they_have_captions(tmp_path: Path) -> None:
    tar(tmp_path / "all.tar", *[one for i in range(COUNT) for one in sample(i)])
    put(tmp_path / "preview.png", png(0))
    log = SourceLog()
    check(read(tmp_path, log))
    assert log.refused[0][0] == "preview.png"
    images(tmp_path, "own/{}.png", range(12))
    for i in range(12):
        put(tmp_path / f"own/{i}.txt", said(i))
    log = SourceLog()
    check(read(tmp_path, log), range(12))
    assert ("all.tar", "passed over: images lie beside it as files of their own") in log.refused


def test_members_that_the_user_names(tmp_path: Path) -> None:
    members: list[tuple[str, bytes | str]] = []
    for i in range(COUNT):
        told = json.dumps({"caption": "no", "alt": said(i)})
        members += [(f"{i}.png", png(0)), (f"{i}.seg.png", png(i)), (f"{i}.json", told)]
    tar(tmp_path / "all.tar", *members)
    check(read(tmp_path, image_column="seg.png", caption_column="alt"))
    with pytest.raises(InputError, match=r"all.tar has no column 'x', which .*there are: .*alt"):
        read(tmp_path, caption_column="x")


# ---------------------------------------------------------------- Parquet


def hub(path: Path, numbers: range, features: Any = None, **columns: Any) -> Path:
    """Rows as the library `datasets` writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "image": {"bytes": png(i), "path": f"{i}.png"},
            **{key: make(i) for key, make in columns.items()},
        }
        for i in numbers
    ]
    table = pa.Table.from_pylist(rows)
    if features:
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
    pq.write_table(table, path, row_group_size=5)
    return path


HUB = {"train": range(12), "validation": range(12, 18), "test": range(18, 24)}


@pytest.mark.parametrize(
    ("key", "make", "captions"),
    [
        ("text", said, 1),
        ("caption", lambda i: [said(i), said(i, 1)], 2),
        ("sentences", lambda i: [{"raw": said(i, j), "sentid": j} for j in range(2)], 2),
    ],
)
def test_parquet_of_the_hub(tmp_path: Path, key: str, make: Any, captions: int) -> None:
    for split, numbers in HUB.items():
        name = f"data/{split}-00000-of-00002.parquet"
        feature = {"label": {"names": ["rose", "tulip"], "_type": "ClassLabel"}}
        hub(tmp_path / name, numbers, feature, **{key: make, "label": lambda i: i % 2})
    log = SourceLog()
    found = read(tmp_path, log, broken="refuse")
    check(found, captions=captions)
    assert list(map(len, splits(found).values())) == [12, 6, 6]
    assert "data/train-00000-of-00002.parquet:1" in found
    for one in found.values():
        assert one.class_name == ("rose", "tulip")[number_of(one) % 2]
    assert log.notes[0].endswith(
        f"with columns {key}, label; classes of column label; splits of the files' names"
    )


def test_ids_of_rows_are_taken_where_no_two_are_the_same(tmp_path: Path) -> None:
    columns = {"caption": said, "image_id": lambda i: f"my/{i}"}
    hub(tmp_path / "a.parquet", range(12), **columns)
    hub(tmp_path / "b.parquet", range(12, 24), **columns)
    assert set(read(tmp_path)) == {f"my/{i}" for i in range(COUNT)}
    hub(tmp_path / "b.parquet", range(12, 24), **{**columns, "image_id": lambda i: f"my/{i - 6}"})
    found = read(tmp_path)
    check(found)
    assert set(found) == {f"{name}.parquet:{i}" for name in "ab" for i in range(1, 13)}


def test_rows_of_one_id_and_one_image_are_one_image_with_all_their_captions(tmp_path: Path) -> None:
    rows = [
        {"image": {"bytes": png(i), "path": None}, "cocoid": 100 + i, "caption": said(i, j)}
        for i in range(COUNT)
        for j in range(3)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "all.parquet")
    log = SourceLog()
    found = read(tmp_path, log, broken="refuse")
    assert log.refused == []
    assert list(found) == [str(100 + i) for i in range(COUNT)]
    for i, one in enumerate(found.values()):
        assert one.captions == tuple(said(i, j) for j in range(3))


def test_binary_columns_and_those_that_the_user_names(tmp_path: Path) -> None:
    rows = [{"jpg": png(i), "mask": png(0), "caption": "no", "Alt": said(i)} for i in range(COUNT)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "0.parquet")
    check(read(tmp_path, caption_column="alt"))
    found = read(tmp_path, caption_column="alt", image_column="mask")
    assert set(map(number_of, found.values())) == {0}
    with pytest.raises(InputError) as raised:
        read(tmp_path, caption_column="words")
    assert raised.value.message == (
        f"{tmp_path / '0.parquet'} has no column 'words', which download.caption_column names; "
        "there are: jpg, mask, caption, alt"
    )
    pq.write_table(pa.Table.from_pylist(rows).drop(["caption"]), tmp_path / "0.parquet")
    with pytest.raises(InputError, match=r"0.parquet: no column of captions .*are: jpg, mask, Alt"):
        read(tmp_path)


def test_one_bad_cell_costs_one_row(tmp_path: Path) -> None:
    rows: list[dict[str, Any]]
    rows = [{"image": {"bytes": png(i), "path": None}, "text": said(i)} for i in range(COUNT)]
    rows[3]["image"] = {"bytes": b"<html>", "path": None}
    rows[4]["image"] = {"bytes": None, "path": "x/4.png"}
    rows[5]["image"] = None
    rows[6]["text"] = None
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "0.parquet")
    log = SourceLog()
    found = read(tmp_path, log)
    assert sorted(map(number_of, found.values())) == [0, 1, 2, *range(7, COUNT)]
    refused = dict(log.refused)
    assert refused["0.parquet:4"].startswith("not a readable image")
    assert refused["0.parquet:5"] == "no bytes inside, the path 'x/4.png' alone"
    assert refused["0.parquet:6"] == "the file is empty"
    assert refused["0.parquet row 7"].startswith("no caption (columns looked for: caption,")


@pytest.mark.parametrize("column", ["image", "text"])
def test_a_damaged_row_group_costs_its_rows(tmp_path: Path, column: str) -> None:
    path = hub(tmp_path / "0.parquet", range(COUNT), text=said)
    meta = pq.read_metadata(path)
    name = "image.bytes" if column == "image" else "text"
    group = meta.row_group(1)
    chunk = next(
        group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == name
    )
    data = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    for i in range(start + 30, start + chunk.total_compressed_size - 30):
        data[i] ^= 255
    path.write_bytes(bytes(data))
    log = SourceLog()
    found = read(tmp_path, log)
    assert sorted(map(number_of, found.values())) == [*range(5), *range(10, COUNT)]
    assert any("damaged" in why for _, why in log.refused)


def test_a_text_that_is_not_utf8_costs_one_row(tmp_path: Path) -> None:
    path = hub(tmp_path / "0.parquet", range(COUNT), text=said)
    pq.write_table(pq.read_table(path), path, compression="none", use_dictionary=False)
    data = path.read_bytes()
    path.write_bytes(data.replace(said(7).encode(), said(7).encode().replace(b"pink", b"p\xffnk")))
    log = SourceLog()
    found = read(tmp_path, log)
    assert sorted(map(number_of, found.values())) == [*range(7), *range(8, COUNT)]
    ((what, why),) = log.refused
    assert what == "0.parquet row 8"
    assert why.startswith("cannot be read: 'utf-8' codec can't decode")


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    hub(tmp_path / "a.parquet", range(COUNT), text=said)
    put(tmp_path / "b.parquet", b"PAR1")
    log = SourceLog()
    check(read(tmp_path, log))
    assert log.refused[0][0] == "b.parquet"
    assert log.refused[0][1].startswith("cannot be read: ")


def test_what_download_writes_is_a_source(whole: Path) -> None:
    given = {split: pq.read_table(whole / "pictures" / f"{split}-00000-of-00001.parquet")
             for split in ("train", "val", "test")}  # fmt: skip
    found = read(whole / "pictures")
    wanted = {
        row["image_id"]: (split, row["class_name"], tuple(row["captions"]))
        for split, table in given.items()
        for row in table.to_pylist()
    }
    assert {
        name: (one.split, one.class_name, one.captions) for name, one in found.items()
    } == wanted


def test_what_synthesize_writes_is_a_source_without_what_it_refused(whole: Path) -> None:
    log = SourceLog()
    found = read(whole / "synthetic", log)
    table = pq.read_table(next((whole / "synthetic/data").glob("train-*.parquet")))
    assert set(found) == set(table["pair_id"].to_pylist())
    refused = next((whole / "synthetic/refused").glob("*.parquet"))
    name = refused.relative_to(whole / "synthetic").as_posix()
    assert (name, "passed over: pairs that synthesize refused") in log.refused


# ---------------------------------------------------------------- names as people write them


def rows_of(name: str, text: str = "{}") -> list[str]:
    return [name.format(i) + "," + text.format(f'"{said(i)}"') for i in range(COUNT)]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ("image,caption", "{}"),
        ("image_id,caption", "{}.jpg"),
        ("image_id,caption", "{}"),
        ("image,caption", "set/{}"),
        ("image_url,caption", "http://host/a%20b/{}.jpg?size=1"),
        ("url,caption", "https://host/SET/{}.JPG"),
        ("image,caption", "s%65t/{}.jpg"),
        ("Image Name,Caption Text", "{}.jpg"),
        ("file,blip_caption", "{}.jpg"),
        ("file,en_text", "{}.jpg"),
        ("sep=,\nimage,caption", "{}.jpg"),
        ("# of mine\n# by hand\nimage,caption", "{}.jpg"),
    ],
)
@pytest.mark.parametrize("table", ["metadata.csv", "mine.csv"])
def test_tables_as_people_write_them(tmp_path: Path, head: str, name: str, table: str) -> None:
    images(tmp_path, "set/{}.jpg")
    put(tmp_path / table, "\n".join([head, *rows_of(name)]))
    log = SourceLog()
    check(read(tmp_path, log))
    assert log.refused == []


def test_an_ending_left_out_may_not_be_guessed(tmp_path: Path) -> None:
    images(tmp_path, "set/{}.jpg")
    put(tmp_path / "set/3.png", png(23))
    put(tmp_path / "metadata.csv", "\n".join(["image,caption", *rows_of("{}")]))
    log = SourceLog()
    assert 3 not in map(number_of, read(tmp_path, log).values())
    assert ("metadata.csv line 5", "names '3', which is no image under this folder") in (
        log.refused
    )


def test_a_column_without_a_name_tells_nothing(tmp_path: Path) -> None:
    """The index that pandas writes was taken for the split."""
    images(tmp_path, "{}.jpg")
    rows = [f'{i},{i}.jpg,"{said(i)}"' for i in range(COUNT)]
    put(tmp_path / "metadata.csv", "\n".join([",image,caption", *rows]))
    log = SourceLog()
    check(read(tmp_path, log))
    assert log.refused == []


def test_two_columns_that_may_be_captions_are_not_guessed_between(tmp_path: Path) -> None:
    images(tmp_path, "{}.jpg")
    rows = [f'{i}.jpg,"{said(i)}",rot' for i in range(COUNT)]
    put(tmp_path / "metadata.csv", "\n".join(["file,caption_en,caption_de", *rows]))
    with pytest.raises(InputError, match=r"there are: file, caption_en, caption_de"):
        read(tmp_path)
    check(read(tmp_path, caption_column="caption_en"))


def test_remarks_before_a_table_keep_the_numbers_of_its_lines(tmp_path: Path) -> None:
    images(tmp_path, "{}.jpg")
    rows = rows_of("{}.jpg")
    rows[2] = "no.jpg,x"
    put(tmp_path / "metadata.csv", "\n".join(["# mine", "image,caption", *rows]))
    log = SourceLog()
    check(read(tmp_path, log), [*range(2), *range(3, COUNT)])
    assert log.refused[0][0] == "metadata.csv line 5"


def test_empty_lines_of_json_lines_are_nothing(tmp_path: Path) -> None:
    images(tmp_path, "{}.jpg")
    lines = [json.dumps({"file_name": f"{i}.jpg", "text": said(i)}) for i in range(COUNT)]
    put(tmp_path / "metadata.jsonl", "\n\n".join(lines))
    log = SourceLog()
    check(read(tmp_path, log))
    assert log.refused == []


@pytest.mark.parametrize("absolute", [True, False])
def test_kohyas_list_names_images_without_their_endings(tmp_path: Path, absolute: bool) -> None:
    images(tmp_path, "img/{}.jpg")
    below = f"{tmp_path}/img/" if absolute else ""
    told = {f"{below}{i}": {"caption": said(i), "tags": "x"} for i in range(COUNT)}
    put(tmp_path / "meta_cap.json", told)
    check(read(tmp_path))


@pytest.mark.parametrize("names", [("Train Set", "Validation_Set", "test-images"),
                                   ("training_data", "val images", "TESTSPLIT")])  # fmt: skip
def test_folders_that_are_called_by_splits_at_length(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for i in range(COUNT):
        put(tmp_path / names[i % 3] / f"{i}.jpg", png(i))
        put(tmp_path / names[i % 3] / f"{i}.txt", said(i))
    found = read(tmp_path)
    check(found)
    assert splits(found)["val"] == list(range(1, COUNT, 3))


def test_a_refusal_names_what_was_passed_over(tmp_path: Path) -> None:
    images(tmp_path, "{}.jpg")
    put(tmp_path / "captions.xlsx", b"PK")
    with pytest.raises(InputError, match=r"no captions: .*there are: captions.xlsx \(passed"):
        read(tmp_path)


# ---------------------------------------------------------------- public sets, in small


def lines_of(form: str, separator: str = "\n", captions: int = 1) -> str:
    """A line of each caption: {0} is the image's number, {1} the caption, {2} the caption's."""
    return separator.join(
        form.format(i, said(i, j), j) for i in range(COUNT) for j in range(captions)
    )


@pytest.mark.parametrize(
    ("image", "name", "text", "captions"),
    [
        ("{}.png", "flickr8kzhc.caption.txt", lines_of("{0}.png#zhc#{2} {1}", captions=2), 2),
        ("v_{}.png", "human-written-caption.txt", lines_of("v_{0}#zhm#0\t{1}"), 1),
        ("{}.png", "captions.txt", lines_of("{0}.png {1}"), 1),
        ("{}.png", "captions.txt", lines_of("{0}.png: {1}"), 1),
        ("a b {}.png", "captions.txt", lines_of("a b {0}.png: {1}"), 1),
        ("ROCO_{}.png", "captions.txt", lines_of("ROCO_{0}\t {1}"), 1),
        ("{}.png", "training.tsv", lines_of("{1}\thttp://host/a/{0}.png"), 1),
        ("{}.png", "captions.txt", "image,caption\n" + lines_of("{0}.png,{1}"), 1),
        ("{}.png", "metadata.csv", "image|caption\n" + lines_of("{0}.png|{1}"), 1),
        ("{}.png", "metadata.csv", "input_file_name;text\n" + lines_of("{0}.png;{1}"), 1),
        ("{}.png", "mine.csv", "input_image;text\n" + lines_of("{0}.png;{1}"), 1),
        ("{}.png", "mine.csv", "image;tags\n" + lines_of("{0}.png;{1}"), 1),
    ],
)
def test_lists_as_public_sets_write_them(
    tmp_path: Path, image: str, name: str, text: str, captions: int
) -> None:
    images(tmp_path, f"images/{image}")
    put(tmp_path / name, text)
    check(read(tmp_path), captions=captions)


@pytest.mark.parametrize(
    "document",
    [
        {"file_name": [f"{i}.png" for i in range(COUNT)], "caption": [*map(said, range(COUNT))]},
        {
            "file_name": {str(i): f"{i}.png" for i in range(COUNT)},
            "caption": {str(i): said(i) for i in range(COUNT)},
        },
        {
            "image_urls": [f"http://host/a/{i}.png" for i in range(COUNT)],
            "user_ids": ["x"] * COUNT,
            "captions": [*map(said, range(COUNT))],
        },
    ],
    ids=["lists", "pandas", "SBU"],
)
def test_json_by_column(tmp_path: Path, document: Any) -> None:
    images(tmp_path, "images/{}.png")
    put(tmp_path / "mine.json", document)
    check(read(tmp_path))


def test_llava(tmp_path: Path) -> None:
    images(tmp_path, "images/{:05}.png")
    turns = [
        [{"from": "human", "value": "Describe it.\n<image>"}, {"from": "gpt", "value": said(i)}]
        for i in range(COUNT)
    ]
    rows = [{"image": f"{i:05}.png", "conversations": turns[i]} for i in range(COUNT)]
    put(tmp_path / "mine.json", rows)
    check(read(tmp_path))


@pytest.mark.parametrize("pattern", ["{:06}.png", "COCO_val2014_{:012}.png", "train/{:05}.png"])
@pytest.mark.parametrize("number", [int, str, float])
def test_numbers_name_images_without_their_zeros(
    tmp_path: Path, pattern: str, number: type
) -> None:
    """As COCO's other captions have them, and what pandas or a spreadsheet makes of 00042."""
    images(tmp_path, pattern)
    rows = [json.dumps({"image_id": number(i), "caption": said(i)}) for i in range(COUNT)]
    put(tmp_path / "captions.jsonl", "\n".join(rows))
    check(read(tmp_path))


def test_a_number_that_fits_two_images_is_refused(tmp_path: Path) -> None:
    images(tmp_path, "{}.png")
    put(tmp_path / "a_007.png", png(7))
    put(tmp_path / "b_007.png", png(7))
    rows = [json.dumps({"image_id": i or "0007", "caption": said(i)}) for i in range(COUNT)]
    put(tmp_path / "captions.jsonl", "\n".join(rows))
    check(read(tmp_path), range(1, COUNT))


def test_flickr30k_entities_without_their_marks(tmp_path: Path) -> None:
    images(tmp_path, "images/{}.png")
    for i in range(COUNT):
        marked = f"[/EN#{i}/people/other a {WORDS[i % 4]} flower] , number [/EN#7/x {i}]"
        put(tmp_path / f"Sentences/{i}.txt", marked)
    found = read(tmp_path)
    assert found["images/5.png"].captions == ("a blue flower , number 5",)


@pytest.mark.parametrize("place", ["00000/{:09}.json", "notes/{:09}.json"])
@pytest.mark.parametrize("text", [True, False])
def test_a_column_that_the_user_names_of_json_objects(
    tmp_path: Path, place: str, text: bool
) -> None:
    images(tmp_path, "00000/{:09}.png")
    for i in range(COUNT):
        put(tmp_path / place.format(i), {"caption": "no", "extra_caption": "no", "alt": said(i)})
        if text and place.startswith("0"):
            put(tmp_path / f"00000/{i:09}.txt", "no")
    check(read(tmp_path, caption_column="alt"))


def test_a_spreadsheet_is_to_be_saved_as_csv(tmp_path: Path) -> None:
    images(tmp_path, "{}.png")
    put(tmp_path / "captions.xlsx", b"PK")
    with pytest.raises(InputError, match=r"captions.xlsx .*save it as CSV"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["metadata.jsonl", "mine.jsonl", "mine.json"])
def test_numbers_name_images(tmp_path: Path, name: str) -> None:
    images(tmp_path, "{}.png")
    rows = [json.dumps({"image_id": i, "caption": said(i)}) for i in range(COUNT)]
    put(tmp_path / name, "\n".join(rows))
    check(read(tmp_path))


def test_of_several_columns_of_files_the_images_is_taken(tmp_path: Path) -> None:
    images(tmp_path, "{}.png")
    images(tmp_path / "masks", "m{}.png")
    rows = [
        {"mask_file_name": f"masks/m{COUNT - 1 - i}.png", "image_file_name": f"{i}.png"}
        | {"text": said(i)}
        for i in range(COUNT)
    ]
    put(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    found = read(tmp_path)
    check(found)
    assert all("masks" not in name for name in found)
    short = [{"mask_file_name": "masks/m1.png", "input_file_name": "1.png", "text": "red one"}]
    put(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, short)))
    with pytest.raises(InputError, match=r"names no image .*download.image_column may name one"):
        read(tmp_path, broken="refuse")


@pytest.mark.parametrize("below", [True, False])
def test_nwpu_captions_by_class_and_numbered(tmp_path: Path, below: bool) -> None:
    document: dict[str, list[Any]] = {"airport": [], "beach": []}
    for i in range(COUNT):
        name = list(document)[i % 2]
        images(tmp_path, f"images/{name}/{{}}.png", range(i, i + 1))
        row = {"filename": f"{i}.png", "imgid": i, "split": ("train", "val", "test")[i % 3]}
        row |= {"filepath": name} if below else {}
        document[name].append(row | {"raw": said(i), "raw_1": said(i, 1), "raw_2": said(i, 2)})
    put(tmp_path / "dataset_nwpu.json", document)
    found = read(tmp_path)
    check(found, captions=3)
    assert splits(found)["val"] == list(range(1, COUNT, 3))
    assert {one.class_name for one in found.values()} == {"airport", "beach"}


@pytest.mark.parametrize("named", [True, False])
def test_an_object_an_image_in_a_folder_of_their_own(tmp_path: Path, named: bool) -> None:
    images(tmp_path, "images/P{}.png")
    for i in range(COUNT):
        told: dict[str, Any] = {"image": f"P{i}.png"} if named else {}
        told |= {"caption": said(i), "objects": [{"id": 3, "referring": "the plane"}]}
        put(tmp_path / f"annotations/P{i}.json", told)
    check(read(tmp_path))


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_headers_that_are_not_known_are_divided_and_told(tmp_path: Path, separator: str) -> None:
    images(tmp_path, "{}.png")
    text = separator.join(("Datei, Bild", "Beschreibung")) + "\n"
    put(tmp_path / "liste.csv", text + lines_of(f"{{0}}.png{separator}{{1}}"))
    with pytest.raises(InputError, match=r"liste.csv \(columns datei,_bild, beschreibung\)"):
        read(tmp_path)
    check(read(tmp_path, image_column="Datei, Bild", caption_column="Beschreibung"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
def test_spreadsheets_mark_how_they_write(tmp_path: Path, encoding: str) -> None:
    images(tmp_path, "{}.png")
    mark = "" if encoding in ("utf-16", "utf-8-sig") else "\ufeff"
    text = mark + "file_name\tcaption\r\n" + lines_of("{0}.png\t{1}, schön", "\r\n")
    put(tmp_path / "metadata.csv", text.encode(encoding))
    found = read(tmp_path)
    assert {one.captions for one in found.values()} == {
        (said(i) + ", schön",) for i in range(COUNT)
    }


def test_all_captions_of_a_sample_count(tmp_path: Path) -> None:
    listed = [
        (f"{i:04}.{end}", data)
        for i in range(COUNT)
        for end, data in (("png", png(i)), ("json", json.dumps([said(i), said(i, 1)])))
    ]
    tar(tmp_path / "lists/a.tar", *listed)
    check(read(tmp_path / "lists"), captions=2)
    apart = [
        (f"{i:04}.{end}", data)
        for i in range(COUNT)
        for end, data in (("png", png(i)), ("0.txt", said(i)), ("1.txt", said(i, 1)))
    ]
    tar(tmp_path / "apart/a.tar", *apart)
    check(read(tmp_path / "apart"), captions=2)


def test_lists_inside_objects_of_the_hub(tmp_path: Path) -> None:
    told = [{"raw": [said(i), said(i, 1)], "sentid": [2 * i, 2 * i + 1]} for i in range(COUNT)]
    table = pa.table({"image": [{"bytes": png(i)} for i in range(COUNT)], "sentences": told})
    put(tmp_path / "a/train.parquet", b"")
    pq.write_table(table, tmp_path / "a/train.parquet")
    check(read(tmp_path / "a"), captions=2)
    flat = {"sentences_raw": [one["raw"] for one in told]}
    flat |= {"sentences_tokens": [[["a"]]] * COUNT, "sentences_sentid": [[1]] * COUNT}
    put(tmp_path / "b/train.parquet", b"")
    pq.write_table(pa.table({"image": table["image"], **flat}), tmp_path / "b/train.parquet")
    check(read(tmp_path / "b"), captions=2)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("all.zip", "it is compressed; unpack it"),
        ("train/data.arrow", "it is Arrow; write Parquet"),
    ],
)
def test_what_has_to_be_unpacked_is_said(tmp_path: Path, name: str, why: str) -> None:
    put(tmp_path / name, b"PK")
    with pytest.raises(InputError, match=rf"holds no images.*there are: {name} .*{why}"):
        read(tmp_path)


def test_texts_beside_images_compare_as_people_see_them(tmp_path: Path) -> None:
    for i in range(COUNT):
        put(tmp_path / normalize("NFC", f"Blüte {i}.PNG"), png(i))
        put(tmp_path / normalize("NFD", f"blüte {i}.txt"), said(i))
    log = SourceLog()
    check(read(tmp_path, log))
    assert log.refused == []


def test_a_text_of_the_same_letters_goes_before_one_that_is_alike(tmp_path: Path) -> None:
    images(tmp_path, "a{}.png")
    for i in range(COUNT):
        put(tmp_path / f"a{i}.txt", said(i))
        put(tmp_path / f"A{i}.txt", "another one")
    log = SourceLog()
    check(read(tmp_path, log))
    assert dict(log.refused)["A7.txt"].startswith("passed over: captions are taken from")


def test_a_second_text_of_an_image_is_told(tmp_path: Path) -> None:
    images(tmp_path, "{}.png")
    for i in range(COUNT):
        put(tmp_path / f"{i}.txt", said(i))
    put(tmp_path / "7.caption", "another one")
    log = SourceLog()
    check(read(tmp_path, log))
    assert [what for what, _ in log.refused] == ["7.caption"]


def test_of_two_names_that_look_the_same_the_very_one_is_taken(tmp_path: Path) -> None:
    forms = [("NFC", 0), ("NFD", 1)]
    for form, i in forms:
        put(tmp_path / normalize(form, "é.png"), png(i))  # type: ignore[arg-type]
    images(tmp_path, "{}.png", range(2, COUNT))
    rows = [(normalize(form, "é.png"), said(i)) for form, i in forms]  # type: ignore[arg-type]
    rows += [(f"{i}.png", said(i)) for i in range(2, COUNT)]
    lines = [json.dumps({"file_name": name, "text": text}) for name, text in rows]
    put(tmp_path / "metadata.jsonl", "\n".join(lines))
    check(read(tmp_path))
