"""Oxford-102 from tiny archives in the official layout, by every route."""

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import scipy.io
from PIL import Image
from torchvision.datasets import Flowers102

from pairsynth.errors import InputError
from pairsynth.image_files import encode
from pairsynth.sources import fetching
from pairsynth.sources import oxford102 as module
from pairsynth.sources.contract import DownloadConfig, Example, SourceLog
from pairsynth.sources.oxford102 import oxford102
from tests.options import DOWNLOAD

LABELS = [3, 3, 1, 1, 2, 2]  # of image_00001 to image_00006
LISTS = {"train": [3], "val": [2], "test": [1]}


def config(mirror: Path | str, split: str = "class", broken: str = "skip") -> DownloadConfig:
    return replace(
        DOWNLOAD, source="oxford102", image_size=64, split=split, broken=broken, mirror=str(mirror)
    )


def image(number: int) -> bytes:
    return encode(Image.new("RGB", (20, 16), (number * 40, 100, 0)))


def archive(path: Path, members: dict[str, bytes]) -> None:
    """Equal members give equal bytes: no time of day in the header, or checksums would change."""
    with (
        gzip.GzipFile(path, "wb", mtime=0) as file,
        tarfile.open(fileobj=file, mode="w") as tar,
    ):
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def matlab(path: Path, values: dict[str, Any]) -> None:
    """A MATLAB file; scipy writes the time of day into its first 116 bytes, which are free text."""
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, values)  # type: ignore[arg-type]  # the stubs know paths alone
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:])


class Mirror:
    """A tiny mirror to spoil: change its parts, then `write` it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.labels, self.sums = folder, list(LABELS), True
        self.images = {f"jpg/image_{i:05d}.jpg": image(i) for i in range(1, 7)}
        self.texts = {
            f"text_c10/class_{label:05d}/image_{i:05d}.txt": (
                "".join(f"flower {i} petal {line}\n" for line in range(10)).encode()
            )
            for i, label in enumerate(LABELS, start=1)
        }
        for split, labels in LISTS.items():
            self.texts[f"{split}classes.txt"] = "".join(f"class_{x:05d}\n" for x in labels).encode()
        self.texts["trainvalclasses.txt"] = b"class_00002\nclass_00003\n"
        self.setid = {"trnid": [1, 3], "valid": [2, 4], "tstid": [5, 6]}

    def write(self) -> "Mirror":
        self.folder.mkdir(exist_ok=True)
        archive(self.folder / "102flowers.tgz", {"README": b"", **self.images})
        archive(
            self.folder / "cvpr2016_flowers.tar.gz",
            {f"cvpr2016_flowers/{name}": content for name, content in self.texts.items()},
        )
        matlab(self.folder / "imagelabels.mat", {"labels": np.array([self.labels])})
        matlab(self.folder / "setid.mat", {k: [v] for k, v in self.setid.items()})
        if self.sums:
            lines = [f"{self.digest(name, 'sha256')}  {name}\n" for name in module.FILES]
            (self.folder / "SHA256SUMS").write_text("".join(lines))
        return self

    def digest(self, name: str, algorithm: str) -> str:
        return hashlib.new(algorithm, (self.folder / name).read_bytes()).hexdigest()

    def make_official(self, monkeypatch: pytest.MonkeyPatch, url: str = "") -> None:
        """From now on these are the official files."""
        names = ("102flowers.tgz", "imagelabels.mat", "setid.mat")
        pinned = {name: (name, self.digest(name, "md5")) for name in names}
        monkeypatch.setattr(Flowers102, "_file_dict", pinned)
        monkeypatch.setattr(Flowers102, "_download_url_prefix", url + "/")
        monkeypatch.setattr(module, "COUNT", len(LABELS))
        monkeypatch.setattr(module, "DRIVE", f"{url}/cvpr2016_flowers.tar.gz")


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "mirror")


@pytest.fixture
def url(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the mirror is served."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetching, "PAUSE", 0.001)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *args: None)
    handler = partial(SimpleHTTPRequestHandler, directory=str(mirror.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def read(
    tmp_path: Path, mirror: Path | str, log: SourceLog | None = None, **options: str
) -> list[Example]:
    return list(oxford102(config(mirror, **options), 0, tmp_path / "cache", log or SourceLog()))


def test_images_captions_labels_and_names(mirror: Mirror, tmp_path: Path) -> None:
    examples = read(tmp_path, mirror.write().folder)
    assert [example.image_id for example in examples] == [f"image_{i:05d}" for i in range(1, 7)]
    assert [example.class_id for example in examples] == [label - 1 for label in LABELS]
    assert examples[0].class_name == "canterbury bells"
    assert examples[1].image.getpixel((0, 0)) == (80, 100, 0)
    assert examples[1].captions == tuple(f"flower 2 petal {line}" for line in range(10))
    assert not (tmp_path / "cache").exists()


def test_split_by_class_and_by_image(mirror: Mirror, tmp_path: Path) -> None:
    folder = mirror.write().folder
    by_class = [example.split for example in read(tmp_path, folder)]
    assert by_class == ["train", "train", "test", "test", "val", "val"]
    by_image = [example.split for example in read(tmp_path, folder, split="image")]
    assert by_image == ["train", "val", "train", "val", "test", "test"]


def test_a_consumer_may_stop_early(mirror: Mirror, tmp_path: Path) -> None:
    mirror.images["jpg/image_00002.jpg"] = b"broken, and never looked at"
    source = oxford102(config(mirror.write().folder, broken="refuse"), 0, tmp_path, SourceLog())
    assert next(source).image_id == "image_00001"


def test_captions_without_a_word_are_named_whatever_the_policy(
    mirror: Mirror, tmp_path: Path
) -> None:
    mirror.texts["text_c10/class_00003/image_00001.txt"] = b"{}\na flower\n"
    log = SourceLog()
    examples = read(tmp_path, mirror.write().folder, log, broken="refuse")
    assert examples[0].captions == ("a flower",)
    where = "cvpr2016_flowers.tar.gz/image_00001.txt line 1"
    assert log.refused == [(where, "no word in '{}'")]


def spoil_image(mirror: Mirror) -> None:
    mirror.images["jpg/image_00002.jpg"] = image(2)[:60]


def lose_captions(mirror: Mirror) -> None:
    del mirror.texts["text_c10/class_00003/image_00002.txt"]


def empty_captions(mirror: Mirror) -> None:
    mirror.texts["text_c10/class_00003/image_00002.txt"] = b"{}\n--\n"


def lose_image(mirror: Mirror) -> None:
    del mirror.images["jpg/image_00002.jpg"]


@pytest.mark.parametrize(
    ("spoil", "what", "why"),
    [
        (spoil_image, "102flowers.tgz/jpg/image_00002.jpg", "not a readable image"),
        (lose_captions, "102flowers.tgz/jpg/image_00002.jpg", "no captions in cvpr2016"),
        (empty_captions, "102flowers.tgz/jpg/image_00002.jpg", "no usable caption"),
        (lose_image, "cvpr2016_flowers.tar.gz/image_00002.txt", "no image in 102flowers.tgz"),
    ],
)
def test_unusable_items_are_listed_or_refused(
    mirror: Mirror, tmp_path: Path, spoil: Callable[[Mirror], None], what: str, why: str
) -> None:
    spoil(mirror)
    log = SourceLog()
    examples = read(tmp_path, mirror.write().folder, log)
    assert [example.image_id[-1] for example in examples] == list("13456")
    assert log.refused[-1][0] == what
    assert log.refused[-1][1].startswith(why)
    with pytest.raises(InputError, match=f"{what}: {why}.*or set download.broken=skip"):
        read(tmp_path, mirror.folder, broken="refuse")


@pytest.mark.parametrize(
    ("part", "value", "split", "message"),
    [
        ("labels", [3, 3, 1], "class", r"has 3 labels and none for jpg/image_00004.jpg"),
        ("labels", [1, 3, 3, 1, 1, 2], "class", r"lies in class_00003, its label is 1: captions"),
        ("labels", [3, 3, 1, 1, 2, 9], "class", r"labels \[9\] are in no class list"),
        ("labels", [], "class", "has 0 labels"),
        ("setid", {"trnid": [1, 2], "valid": [2], "tstid": [3]}, "image", r"image 2 is in train"),
        ("setid", {"trnid": [1, 2], "valid": [3], "tstid": [4]}, "image", r"splits 4 images"),
        ("setid", {"trnid": [1, 2]}, "image", r"cannot be read as a MATLAB file with 'valid'"),
        ("images", {}, "class", r"holds no jpg/image_NNNNN.jpg"),
        ("texts", {}, "class", r"holds no text_c10/class_NNNNN/image_NNNNN.txt"),
    ],
)
def test_files_that_do_not_belong_together(
    mirror: Mirror, tmp_path: Path, part: str, value: Any, split: str, message: str
) -> None:
    setattr(mirror, part, value)
    with pytest.raises(InputError, match=message):
        read(tmp_path, mirror.write().folder, split=split)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("valclasses.txt", b"", r"has no valclasses.txt that names classes"),
        ("valclasses.txt", b"class_00003", r"class_00003 is in trainclasses.txt and in val"),
        ("text_c10/class_00003/image_00001.txt", b"\xff", r"image_00001.txt is not UTF-8 .byte 0"),
    ],
)
def test_captions_archive_refused(
    mirror: Mirror, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    mirror.texts[name] = content
    with pytest.raises(InputError, match=message):
        read(tmp_path, mirror.write().folder)


def test_a_damaged_matlab_file(mirror: Mirror, tmp_path: Path) -> None:
    mirror.write()
    (mirror.folder / "imagelabels.mat").write_bytes(b"<html>not found</html>")
    lines = [f"{mirror.digest(name, 'sha256')}  {name}\n" for name in module.FILES]
    (mirror.folder / "SHA256SUMS").write_text("".join(lines))
    with pytest.raises(InputError, match=r"imagelabels.mat: cannot be read as a MATLAB file"):
        read(tmp_path, mirror.folder)


def test_a_mirror_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"download.mirror is 'nowhere': no such folder .looked"):
        read(tmp_path, "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("setid.mat", b"x", r"setid.mat: its sha256 is .*, wanted is .*; copy it anew"),
        ("setid.mat", None, r"setid.mat: cannot be read .No such file.*must hold 102flowers.tgz"),
        ("SHA256SUMS", b"x", r"SHA256SUMS: line 1 is not .*; write it anew with sha256sum"),
        ("SHA256SUMS", b"", r"SHA256SUMS: lists no 102flowers.tgz; it must list"),
    ],
)
def test_a_spoiled_mirror_folder(
    mirror: Mirror, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    (mirror.write().folder / name).unlink()
    if content is not None:
        (mirror.folder / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path, mirror.folder)


def test_a_mirror_without_checksums_must_be_the_official_files(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.sums = False
    with pytest.raises(InputError, match=r"102flowers.tgz: its md5 is"):
        read(tmp_path, mirror.write().folder)
    mirror.make_official(monkeypatch)
    assert len(read(tmp_path, mirror.folder)) == 6
    mirror.texts["text_c10/class_00003/image_00001.txt"] = b"one line\n"
    with pytest.raises(InputError, match=r"image_00001.txt has 1 lines, wanted are 10"):
        read(tmp_path, mirror.write().folder)


def test_a_mirror_url_is_downloaded_once(
    mirror: Mirror, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.write()
    assert len(read(tmp_path, url)) == 6
    monkeypatch.setattr(requests, "get", lambda *args, **options: pytest.fail("used the network"))
    assert len(read(tmp_path, url + "/")) == 6


def test_a_mirror_url_without_checksums(
    mirror: Mirror, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.sums = False
    mirror.write().make_official(monkeypatch)
    assert len(read(tmp_path, url)) == 6
    monkeypatch.setattr(requests, "get", lambda *args, **options: pytest.fail("used the network"))
    assert len(read(tmp_path, url)) == 6


def test_a_renewed_mirror_is_noticed(mirror: Mirror, tmp_path: Path, url: str) -> None:
    mirror.write()
    setid = (mirror.folder / "setid.mat").read_bytes()
    (mirror.folder / "setid.mat").write_bytes(b"being renewed")
    with pytest.raises(InputError, match=r"setid.mat: its sha256 is .*download was deleted"):
        read(tmp_path, url)
    (mirror.folder / "setid.mat").write_bytes(setid + bytes(8))
    lines = [f"{mirror.digest(name, 'sha256')}  {name}\n" for name in module.FILES]
    (mirror.folder / "SHA256SUMS").write_text("".join(lines))
    assert len(read(tmp_path, url)) == 6


def test_the_official_route(
    mirror: Mirror, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.write().make_official(monkeypatch, url)
    assert len(read(tmp_path, "")) == 6
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == sorted(module.FILES)
    with monkeypatch.context() as offline:
        offline.setattr(requests, "get", lambda *args, **options: pytest.fail("used the network"))
        assert len(read(tmp_path, "")) == 6
    (tmp_path / "cache" / "cvpr2016_flowers.tar.gz").write_bytes(b"a page saved by hand")
    with pytest.raises(InputError, match=r"not a whole .*delete it and run again"):
        read(tmp_path, "")


def test_captions_that_drive_refuses_can_be_fetched_by_hand(
    mirror: Mirror, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    way_out = r".* Or fetch https://drive.* by hand and save it as .*, or set download.mirror"
    mirror.write().make_official(monkeypatch, url)
    captions = (mirror.folder / "cvpr2016_flowers.tar.gz").rename(tmp_path / "by_hand")
    with pytest.raises(InputError, match=r"no such file there" + way_out):
        read(tmp_path, "")
    (mirror.folder / "cvpr2016_flowers.tar.gz").write_bytes(b"<html>quota exceeded</html>")
    with pytest.raises(InputError, match=r"not a whole .tar.gz archive" + way_out):
        read(tmp_path, "")
    assert list((tmp_path / "cache").iterdir()) == []
    captions.rename(tmp_path / "cache" / "cvpr2016_flowers.tar.gz")
    assert len(read(tmp_path, "")) == 6


def test_the_address_of_the_captions_has_the_resource_key() -> None:
    assert "id=0B0ywwgffWnLLcms2WWJQRFNSWXM" in module.DRIVE
    assert "resourcekey=0-Av8zFbeDDvNcF1sSjDR32w" in module.DRIVE
