"""The user's own images: every way to caption them, and everything that can be wrong."""

import json
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pairsynth.errors import InputError
from pairsynth.image_files import encode
from pairsynth.sources.acquisition import acquire
from pairsynth.sources.contract import DownloadConfig, Example, SourceLog
from pairsynth.sources.folder import folder
from pairsynth.sources.metadata import caption_of
from tests.options import DOWNLOAD

IMAGE = encode(Image.new("RGB", (20, 16), "red"))
HALF = encode(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)))


def config(root: Path | str, split: str = "image", broken: str = "skip") -> DownloadConfig:
    return replace(DOWNLOAD, image_size=64, split=split, broken=broken, folder=str(root))


def read(root: Path, log: SourceLog | None = None, seed: int = 0, **how: str) -> list[Example]:
    return list(folder(config(root, **how), seed, root / "cache", log or SourceLog()))


def add(root: Path, name: str, text: str | bytes | None = "a red flower\n") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(IMAGE)
    if text is not None:
        path.with_suffix(".txt").write_bytes(text.encode() if isinstance(text, str) else text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve captioned images in three subfolders."""
    for label in ("aster", "rose", "tulip"):
        for i in range(4):
            add(tmp_path / "mine", f"{label}/{i}.png", f"a red {label}\nflower number {i}\n")
    return tmp_path / "mine"


def write_rows(root: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    """Rows as metadata of that kind; the text files go."""
    for text in root.rglob("*.txt"):
        text.unlink()
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), root / "metadata.parquet")
    elif kind == "jsonl":
        (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(f'"{value}"' for value in row.values()) for row in rows]
        (root / "metadata.csv").write_text("\n".join([",".join(rows[0]), *lines]), "utf-8-sig")


def rows_for(root: Path, **more: Any) -> list[dict[str, Any]]:
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    return [{"file_name": name, "caption": f"a flower, {name}", **more} for name in names]


def test_text_files_and_subfolders(root: Path) -> None:
    log = SourceLog()
    examples = read(root, log)
    assert log.refused == []
    assert [example.image_id for example in examples][:2] == ["aster/0.png", "aster/1.png"]
    assert examples[4].captions == ("a red rose", "flower number 0")
    assert [example.class_id for example in examples] == [0] * 4 + [1] * 4 + [2] * 4
    assert examples[4].class_name == "rose"
    assert examples[4].image.size == (20, 16)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("key", ["file_name", "file", "image", "path"])
def test_metadata_of_each_kind(root: Path, kind: str, key: str) -> None:
    rows = [{key: row["file_name"], "text": row["caption"]} for row in rows_for(root)]
    write_rows(root, kind, [*rows[::-1], {key: "rose/0.png", "text": "a second caption"}])
    log = SourceLog()
    rose = read(root, log)[4]
    assert log.refused == []
    assert (rose.image_id, rose.class_name) == ("rose/0.png", "rose")
    assert rose.captions == ("a flower, rose/0.png", "a second caption")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_lists_of_captions(root: Path, kind: str) -> None:
    rows = [{"file": row["file_name"], "captions": ["one", "two"]} for row in rows_for(root)]
    write_rows(root, kind, rows)
    assert {example.captions for example in read(root)} == {("one", "two")}


def test_classes_and_splits_of_the_metadata(root: Path) -> None:
    rows = rows_for(root)
    for i, row in enumerate(rows):
        row |= {"label": "odd" if i % 2 else "even", "split": ("train", "val", "test")[i % 3]}
    write_rows(root, "csv", rows)
    examples = read(root)
    assert [example.split for example in examples] == ["train", "val", "test"] * 4
    assert [example.class_name for example in examples] == ["even", "odd"] * 6
    with pytest.raises(InputError, match="class 'even' are in test and in train; a split by class"):
        read(root, split="class")
    del rows[3]["split"]
    write_rows(root, "jsonl", rows)
    (root / "metadata.csv").unlink()
    with pytest.raises(InputError, match=r"aster/3.png has no split in the metadata, others have"):
        read(root)


def test_without_classes(tmp_path: Path) -> None:
    for i in range(10):
        add(tmp_path, f"{i}.png")
    examples = read(tmp_path)
    assert {(example.class_id, example.class_name) for example in examples} == {(-1, "")}
    assert {example.split for example in examples} == {"train", "val", "test"}
    with pytest.raises(InputError, match=r"have no class; .* or set download.split=image"):
        read(tmp_path, split="class")


def test_split_by_class_is_disjoint_and_follows_the_seed(root: Path) -> None:
    seen = set()
    for seed in range(6):
        found = defaultdict(set)
        for example in read(root, seed=seed, split="class"):
            found[example.split].add(example.class_name)
        assert sorted(map(len, found.values())) == [1, 1, 1]
        seen.add(tuple(found["test"]))
    assert len(seen) > 1


def test_split_by_class_needs_three(root: Path) -> None:
    (root / "tulip").rename(root / "rose" / "more")
    read(root, split="class")
    for path in (root / "rose/more").iterdir():
        path.rename(root / "rose" / f"more{path.name}")
    with pytest.raises(InputError, match=r"classes are aster, rose; .* 3 or more: .*split=image"):
        read(root, split="class")


def test_split_by_image_is_in_every_class_and_stays(tmp_path: Path) -> None:
    for i in range(40):
        add(tmp_path, f"{'ab'[i % 2]}/{i}.png")
    examples = read(tmp_path)
    for label in "ab":
        splits = [example.split for example in examples if example.class_name == label]
        assert [splits.count(split) for split in ("train", "val", "test")] == [14, 3, 3]
    assert [e.split for e in read(tmp_path)] == [e.split for e in examples]
    assert [e.split for e in read(tmp_path, seed=1)] != [e.split for e in examples]


def test_formats_hidden_files_and_others(root: Path) -> None:
    for name in ("a.JPG", "b.webp", "c.gif", "d.tiff", "e.bmp"):
        Image.new("RGB", (9, 9)).save(root / name)
        (root / name).with_suffix(".txt").write_text("black")
    (root / ".hidden.jpg").write_bytes(b"")
    (root / ".git").mkdir()
    (root / ".git" / "x.jpg").write_bytes(b"")
    (root / "notes.md").write_text("mine")
    log = SourceLog()
    assert len(read(root, log, broken="refuse")) == 17
    assert log.refused == [("notes.md", "passed over: not a kind of file that is read")]


TEXT_FAULTS: list[tuple[str, str | bytes | None, str, str]] = [
    ("rose/9.png", None, "rose/9.png", "no captions: there is no rose/9.txt"),
    ("rose/9.png", "", "rose/9.txt line 1", "empty caption"),
    ("rose/9.png", "a rose\n\nred", "rose/9.txt line 2", "empty caption"),
    ("rose/9.png", "red\r\n{}\r\n", "rose/9.txt line 2", "no word in the caption '{}'"),
    ("rose/9.png", "a\x1brose", "rose/9.txt line 1", "control character U+001B in the caption"),
    ("rose/9.png", "a\x0brose", "rose/9.txt line 1", "control character U+000B in the caption"),
    ("rose/9.png", b"caf\xe9", "rose/9.txt", "not UTF-8 (byte 3); save it as UTF-8"),
    ("rose/9.png", b"\xff\xfea", "rose/9.txt", "not UTF-16 (byte 2); save it as UTF-8"),
    ("rose/3.jpg", None, "rose/3.jpg",
     "rose/3.txt may belong to any of rose/3.jpg, rose/3.png; rename them"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "what", "why"), TEXT_FAULTS)
def test_faults_of_text_files(
    root: Path, name: str, text: str | bytes | None, what: str, why: str
) -> None:
    add(root, name, text)
    log = SourceLog()
    read(root, log)
    assert (what, why) in log.refused
    with pytest.raises(InputError) as raised:
        read(root, broken="refuse")
    assert raised.value.message == f"{root / what}: {why}; mend it, or set download.broken=skip"


def test_captions_without_an_image(root: Path) -> None:
    (root / "rose" / "3.png").unlink()
    log = SourceLog()
    assert len(read(root, log)) == 11
    assert log.refused == [("rose/3.txt", "captions without an image of the same stem")]


def test_a_byte_order_mark_is_no_part_of_the_caption(root: Path) -> None:
    add(root, "rose/0.png", b"\xef\xbb\xbfa rose")
    assert read(root, broken="refuse")[4].captions == ("a rose",)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the file is empty"),
        (b"<html>", "not a readable image"),
        (HALF[: len(HALF) // 2], "not a readable image"),
    ],
)
def test_broken_images(root: Path, data: bytes, why: str) -> None:
    (root / "rose" / "1.png").write_bytes(data)
    log = SourceLog()
    assert len(read(root, log)) == 11
    assert [what for what, _ in log.refused] == ["rose/1.png"]
    with pytest.raises(InputError, match=rf"rose/1.png: {why}.*download.broken=skip"):
        read(root, broken="refuse")


def test_links_to_nowhere_and_odd_names(root: Path) -> None:
    (root / "lost.png").symlink_to("nowhere.png")
    with open(os.path.join(os.fsencode(root), b"caf\xe9.png"), "wb") as file:
        file.write(IMAGE)
    log = SourceLog()
    assert len(read(root, log)) == 12
    assert sorted(why for _, why in log.refused) == [
        "a link that leads nowhere, or not a plain file",
        "the file's name is not UTF-8; rename it",
    ]


ROSE = {"file_name": "rose/0.png", "caption": "again"}


@pytest.mark.parametrize(
    ("row", "what", "why"),
    [
        ({"caption": "x"}, "line 13", "names no image (columns looked for: file_name, file"),
        ({"file_name": "x.png"}, "line 13", "names 'x.png', which is no image under this"),
        ({"file_name": "../x.png"}, "line 13", "names '../x.png', which is no image under"),
        ({"file_name": "/x.png"}, "line 13", "names '/x.png', which is no image under"),
        ({"file_name": 7.5}, "line 13", "names no image"),
        ({"file_name": 7}, "line 13", "names '7', which is no image under this folder"),
        (ROSE | {"caption": None}, "line 13", "no caption (columns looked for: caption, captions"),
        (ROSE | {"caption": []}, "line 13", "no caption"),
        (ROSE | {"caption": ["fine", " "]}, "line 13", "empty caption"),
        (ROSE | {"caption": 5}, "line 13", "the caption is 5, not text"),
        (ROSE | {"caption": "\ud800 rose"}, "line 13", "control character U+D800"),
        (ROSE | {"caption": "a flower, rose/0.png"}, "line 13", "a second time the same caption"),
        (ROSE | {"split": "mine"}, "line 13", "split is 'mine'; allowed is train, val, test"),
        (ROSE | {"class": "lily"}, "rose/0.png", "has more than one class: 'lily', 'rose'"),
        (ROSE | {"split": "val"}, "rose/0.png", "has more than one split: '', 'val'"),
        ([], "line 13", "not a JSON object {...}"),
    ],
)
def test_faults_of_rows(root: Path, row: Any, what: str, why: str) -> None:
    write_rows(root, "jsonl", [*rows_for(root), row])
    with pytest.raises(InputError) as raised:
        read(root, broken="refuse")
    what = what.replace("line", "metadata.jsonl line")
    assert raised.value.message.startswith(f"{root / what}: {why}")
    log = SourceLog()
    assert len(read(root, log)) >= 11
    assert any(item == what and reason.startswith(why) for item, reason in log.refused)


def test_an_image_that_no_row_names(root: Path) -> None:
    write_rows(root, "csv", rows_for(root)[:-1])
    log = SourceLog()
    assert len(read(root, log)) == 11
    assert log.refused == [("tulip/3.png", "no captions: no row of metadata.csv names it")]


def test_unquoted_commas_and_broken_json(root: Path) -> None:
    lines = ["caption,file_name", *(f"a flower,{row['file_name']}" for row in rows_for(root))]
    (root / "metadata.csv").write_text("\n".join([*lines, "red, and round,rose/0.png\n"]))
    with pytest.raises(InputError, match=r"csv line 14: more columns than the header .*in quotes"):
        read(root, broken="refuse")
    (root / "metadata.csv").unlink()
    (root / "metadata.jsonl").write_text('{"file_name": ')
    with pytest.raises(InputError, match=r"metadata.jsonl line 1: not JSON: Expecting value"):
        read(root, broken="refuse")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.csv", b"file,caption\n\xff", r"metadata.csv: cannot be read: not UTF-8"),
        ("metadata.parquet", b"PAR1", r"metadata.parquet: cannot be read: "),
        ("metadata.csv", b"", r"too few usable images, train has 0 and needs 4, val has 0"),
    ],
)
def test_metadata_that_cannot_be_read(root: Path, name: str, content: bytes, message: str) -> None:
    (root / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(root)


def test_two_metadata_files(root: Path) -> None:
    write_rows(root, "csv", rows_for(root))
    write_rows(root, "jsonl", rows_for(root))
    with pytest.raises(InputError, match=r"has metadata.csv and metadata.jsonl; keep the one"):
        read(root)


@pytest.mark.parametrize("name", ["", "nowhere", "mine/rose/0.png"])
def test_no_folder(root: Path, name: str) -> None:
    path = str(root.parent / name) if name else ""
    with pytest.raises(InputError, match=r"download.folder is '.*': no such folder .looked for"):
        list(folder(config(path), 0, root, SourceLog()))


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no images.*looked for .jpg, .png, .webp and"):
        read(tmp_path)


def test_too_few_usable_images(root: Path, tmp_path: Path) -> None:
    for name in ("aster", "rose"):
        for path in (root / name).glob("*.txt"):
            path.unlink()
    with pytest.raises(InputError, match=r"mine: too few .*test has 0 .*8 items. aster/0.png: no"):
        read(root)


def test_a_split_left_empty_by_broken_images(root: Path, tmp_path: Path) -> None:
    lost = [e.image_id for e in read(root) if e.split == "test"]
    for name in lost:
        (root / name).write_bytes(b"")
    log = SourceLog()
    found = folder(config(root), 0, root / "cache", log)
    with pytest.raises(InputError, match=r"test has 0 and needs 2; .*: the file is empty"):
        acquire(config(root), found, log, tmp_path)


@pytest.mark.parametrize("caption", ["红色的花", "красный цветок", "सुंदर फूल", "ดอกไม้", "ß"])
def test_captions_in_any_script(caption: str) -> None:
    assert caption_of(caption) == (caption, None)


def test_a_caption_is_one_line_of_single_spaces() -> None:
    assert caption_of(" a\tred \n flower\r\n") == ("a red flower", None)
    assert caption_of("scho\u0308n") == ("schön", None)


def test_marks_of_entities_are_no_words() -> None:
    marked = "[/EN#1/people Two men] and [/EN#22/people/other a dog] [sic] run ."
    assert caption_of(marked) == ("Two men and a dog [sic] run .", None)
    assert caption_of("  ")[1] == "empty caption"
    assert caption_of("x" * 20_000)[1] == "the caption has 20,000 letters, more than 10,000"


# ---------------------------------------------------------------- folders as people have them


def captions_of(found: list[Example]) -> dict[str, tuple[str, ...]]:
    return {one.image_id: one.captions for one in found}


def bare(root: Path, names: list[str]) -> Path:
    for name in names:
        add(root, name, None)
    return root


TWELVE = [f"{i:02}.png" for i in range(12)]


@pytest.mark.parametrize("ending", [".txt", ".caption", ".png.txt", ".TXT"])
def test_texts_of_either_ending_beside_the_image(tmp_path: Path, ending: str) -> None:
    bare(tmp_path, TWELVE)
    for name in TWELVE:
        (tmp_path / f"{name.removesuffix('.png')}{ending}").write_text(f"flower {name[:2]} is red")
    assert captions_of(read(tmp_path))["07.png"] == ("flower 07 is red",)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(("file", "words"), [("file_name", "caption"), ("Image Path", "Prompt")])
def test_columns_and_separators_as_people_write_them(
    tmp_path: Path, separator: str, file: str, words: str
) -> None:
    bare(tmp_path, TWELVE)
    lines = [file + separator + words, *(f"{n}{separator}a red flower, {n[:2]}" for n in TWELVE)]
    if separator == ",":
        lines = [lines[0], *(f'{n},"a red flower, {n[:2]}"' for n in TWELVE)]
    (tmp_path / "metadata.csv").write_text("\r\n".join(lines))
    assert captions_of(read(tmp_path))["07.png"] == ("a red flower, 07",)


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ('["red", "blue"]', ("red", "blue")),
        ("['red', 'blue']", ("red", "blue")),
        ("[a red one]", ("[a red one]",)),
        ("red\nblue", ("red blue",)),
    ],
)
def test_lists_and_lines_in_a_cell(tmp_path: Path, cell: str, wanted: tuple[str, ...]) -> None:
    bare(tmp_path, TWELVE)
    rows = [{"file_name": name, "caption": cell} for name in TWELVE]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert captions_of(read(tmp_path))["07.png"] == wanted


def test_numbered_columns_of_captions(tmp_path: Path) -> None:
    bare(tmp_path, TWELVE)
    lines = ["image,caption_1,caption_2,size", *(f"{name},red,blue,3" for name in TWELVE)]
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    assert captions_of(read(tmp_path))["07.png"] == ("red", "blue")


@pytest.mark.parametrize("bad", ['"red" flower', '"never closed', "x" * 200_000])
def test_one_bad_row_costs_that_row(tmp_path: Path, bad: str) -> None:
    bare(tmp_path, TWELVE)
    lines = ["file_name,caption", *(f"{name},a red flower" for name in TWELVE)]
    lines[6] = f"05.png,{bad}"
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    log = SourceLog()
    assert len(read(tmp_path, log)) == 11
    assert log.refused[0][0] == "metadata.csv line 7"
    assert {what for what, _ in log.refused} == {"metadata.csv line 7", "05.png"}


@pytest.mark.parametrize(
    "given",
    [
        "set a\\é.png",
        "set a/e\u0301.png",
        " set a/é.png ",
        "./set a/é.png",
        "SET A/É.PNG",
        "{root}",
        "/content/drive/mine/set a/é.png",
        "C:\\Users\\me\\set a\\é.png",
    ],
)
def test_names_compare_as_people_see_them(tmp_path: Path, given: str) -> None:
    bare(tmp_path, [*TWELVE, "set a/é.png"])
    given = str(tmp_path / "set a/é.png") if given == "{root}" else given
    rows = [{"file_name": name, "caption": "red"} for name in [*TWELVE, given]]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    log = SourceLog()
    assert "set a/é.png" in captions_of(read(tmp_path, log))
    assert log.refused == []


def test_an_absolute_path_that_is_another_file_is_refused(tmp_path: Path) -> None:
    """And one that leads into the folder by another name of it is not."""
    bare(tmp_path / "own", TWELVE)
    bare(tmp_path / "others", TWELVE)
    (tmp_path / "linked").symlink_to(tmp_path / "own")
    places = {name: tmp_path / ("others" if name == "00.png" else "linked") for name in TWELVE}
    rows = [{"file_name": str(place / name), "caption": "red"} for name, place in places.items()]
    (tmp_path / "own/metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert set(captions_of(read(tmp_path / "own"))) == set(TWELVE[1:])


@pytest.mark.parametrize("order", ["{split}/{kind}", "{kind}/{split}"])
def test_splits_are_those_of_any_level_of_folders(tmp_path: Path, order: str) -> None:
    for split in ("train", "val", "test"):
        for kind in ("rose", "tulip"):
            for name in TWELVE[:5]:
                add(tmp_path, f"{order.format(split=split, kind=kind)}/{name}", "a red flower")
    found = {(one.split in one.image_id.split("/"), one.class_name) for one in read(tmp_path)}
    assert found == {(True, "rose"), (True, "tulip")}


def test_a_bare_name_is_that_of_the_only_file_of_it(tmp_path: Path) -> None:
    """As Flickr's captions name the files of Images/."""
    bare(tmp_path / "Images", TWELVE)
    bare(tmp_path / "more", ["00.png"])
    rows = [{"file_name": name, "caption": "red"} for name in TWELVE]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    log = SourceLog()
    assert set(captions_of(read(tmp_path, log))) == {f"Images/{name}" for name in TWELVE[1:]}
    assert log.refused[0] == (
        "metadata.jsonl line 1",
        "names '00.png', which is no image under this folder",
    )


def test_letter_case_that_fits_two_images_is_refused(tmp_path: Path) -> None:
    bare(tmp_path, [*TWELVE, "a/x.png", "A/x.png"])
    rows = [{"file_name": name, "caption": "red"} for name in [*TWELVE, "a/X.png"]]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    log = SourceLog()
    assert len(read(tmp_path, log)) == 12
    assert ("metadata.jsonl line 13", "names 'a/X.png', which is no image under this folder") in (
        log.refused
    )


@pytest.mark.parametrize("tables", [True, False])
def test_folders_called_train_validation_and_test_are_the_splits(
    tmp_path: Path, tables: bool
) -> None:
    for folder_name in ("train", "validation", "test"):
        bare(tmp_path / folder_name, [f"rose/{name}" for name in TWELVE[:5]])
        rows = [{"file_name": f"rose/{name}", "text": "red"} for name in TWELVE[:5]]
        if tables:
            told = "\n".join(map(json.dumps, rows))
            (tmp_path / folder_name / "metadata.jsonl").write_text(told)
        else:
            for name in TWELVE[:5]:
                (tmp_path / folder_name / "rose" / name).with_suffix(".txt").write_text("red")
    found = read(tmp_path)
    assert {(one.image_id.split("/")[0], one.split) for one in found} == {
        ("train", "train"),
        ("validation", "val"),
        ("test", "test"),
    }
    assert {one.class_name for one in found} == {"rose"}


def test_linked_folders_are_read_and_loops_are_not(root: Path, tmp_path: Path) -> None:
    add(tmp_path / "elsewhere", "x.png", "a red flower")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "rose/loop").symlink_to(root)
    log = SourceLog()
    assert "linked/x.png" in captions_of(read(root, log))
    assert log.refused == [("rose/loop", "a link to a folder that is read already")]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("sizes", [[60, 1, 1, 1, 1], [30, 20, 10, 10, 5, 5], [7] * 10, [40, 9, 9]])
def test_a_split_by_class_weighs_images(tmp_path: Path, sizes: list[int], seed: int) -> None:
    for label, size in enumerate(sizes):
        for i in range(size):
            add(tmp_path, f"{label}/{i}.png")
    found = read(tmp_path, seed=seed, split="class")
    share = {s: sum(one.split == s for one in found) / sum(sizes) for s in ("train", "val", "test")}
    assert share["train"] >= 0.55
    assert share["val"] > 0
    assert share["test"] > 0


def test_a_class_split_too_small_for_the_later_stages_is_refused(tmp_path: Path) -> None:
    for label, size in enumerate([60, 1, 1, 1]):
        for i in range(size):
            add(tmp_path, f"{label}/{i}.png")
    with pytest.raises(InputError, match=r"too few usable images, test has 1 and needs 2; add"):
        read(tmp_path, split="class")


def test_classes_too_unequal_to_be_split_are_refused(tmp_path: Path) -> None:
    for label, size in (("a", 2), ("b", 12), ("c", 12)):
        for i in range(size):
            add(tmp_path, f"{label}/{i}.png")
    for seed in range(5):
        shares = [one.split for one in read(tmp_path, seed=seed, split="class")]
        assert shares.count("train") >= max(shares.count("val"), shares.count("test"))


def test_split_folders_without_classes_need_no_other_split(tmp_path: Path) -> None:
    for folder_name in ("train", "val", "test"):
        for name in TWELVE[:4]:
            add(tmp_path, f"{folder_name}/{name}", "red")
    found = read(tmp_path, split="class")
    assert {one.split for one in found} == {"train", "val", "test"}
    assert {one.class_id for one in found} == {-1}
