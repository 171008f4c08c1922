"""Whatever a file holds, it is read as it was meant or refused in a line: nothing else comes out.

Some hundreds of cases here, 10,000 by: pytest -n 0 tests/test_fuzz.py --hypothesis-profile long
What was found by it stands as a named test beside the module that was mended.
"""

import csv
import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pairsynth import config, console, mixture
from pairsynth.artifacts import SPLITS, read_shards
from pairsynth.captioner import load_captioner
from pairsynth.dataset import read_manifest, read_rows
from pairsynth.encoders import load_encoder
from pairsynth.errors import InputError
from pairsynth.examples import read_examples
from pairsynth.gan import load_gan
from pairsynth.image_files import decode
from pairsynth.report import curves, headlines, results
from pairsynth.sources.archives import archive_members
from pairsynth.sources.contract import SourceLog
from pairsynth.sources.fetching import read_checksums
from pairsynth.sources.folder import folder
from pairsynth.sources.metadata import caption_of
from pairsynth.text import Vocabulary, normalize
from tests.options import DOWNLOAD
from tests.workspace import ROOT

CPU = torch.device("cpu")
LONGEST_LINE = console.LONGEST_LINE


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the cases of one test after another write to."""
    return tmp_path_factory.mktemp("fuzz")


def refusal(read: Callable[[], Any]) -> str | None:
    """The line that a user is told where `read` refuses; None where it does not."""
    try:
        read()
    except InputError as error:
        assert error.message  # noqa: PT017
        return console.line(error.message)
    return None


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` after one to four faults: a bit, a cut, a gap, something doubled or put in."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(len(data) - 1, 0)))
        end = min(len(data), start + draw(st.integers(1, 64)))
        fault = draw(st.sampled_from(("bit", "byte", "cut", "gap", "doubled", "put in")))
        if fault in ("bit", "byte") and data:
            data[start] ^= 1 << draw(st.integers(0, 7)) if fault == "bit" else 255
        elif fault == "cut":
            del data[start:]
        elif fault == "gap":
            del data[start:end]
        elif fault == "doubled":
            data[start:start] = data[start:end]
        else:
            data[start:start] = draw(st.binary(min_size=1, max_size=32))
    return bytes(data)


# ---------------------------------------------------------------- what people write

PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
LINES = [i for i, line in enumerate(PARAMS.split("\n")) if ": " in line.split("#")[0]]
VALUES = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=40),
    st.sampled_from(
        (
            *("", "~", "yes", "true", ".nan", "-.inf", "0x1F", "0o17", "1_000", "1e400", "-0"),
            *("2024-99-99", "2024-02-30T25:61:00Z", "12:30:45", "9" * 5000, "1e-9999", "!!int abc"),
            *("!!float x", "!!timestamp no", "!!binary '?'", "!!set {a, b}", "!!omap [a]"),
            *("!!python/object:os.system x", "!local x", "&a [*a]", "*nowhere", "<<: *a", "? : ?"),
            *("[" * 400, "{" * 400, "- " * 400, "'", '"\\x00"', '"\\ud800"', "|\n x", "%YAML 9.9"),
            *("0.5", "1", "1712", "128", "class", "folder", "\x00", "\u2028", "\ufeff"),
        )
    ),
)


@st.composite
def parameters(draw: st.DrawFn) -> bytes:
    """params.yaml with some values changed, or damaged."""
    lines = PARAMS.split("\n")
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from(LINES))
        key = lines[at].partition(":")[0] if draw(st.integers(0, 9)) else draw(st.text(max_size=9))
        lines[at] = f"{key}: {draw(VALUES)}"
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    return draw(damaged(text)) if draw(st.booleans()) else text


@given(content=parameters())
def test_parameters(content: bytes, place: Path) -> None:
    """All sections are read, or the file is named with what is wrong; twice the same."""
    path = place / "params.yaml"
    path.write_bytes(content)

    def read() -> None:
        config.check_all(path)
        assert 0 <= config.load_seed(path) < 2**63

    said = refusal(read)
    assert said is None or said.startswith(str(path))
    assert refusal(read) == said


@given(text=st.text(max_size=200) | st.text("a ,'-\u2019\u0301\u4e2d\u0e01\u0e31", max_size=40))
def test_captions(text: str) -> None:
    """A caption that is taken has a word, stays as it is, and goes through numbers and back."""
    caption, fault = caption_of(text)
    if fault:
        assert len(fault) < LONGEST_LINE
        return
    assert caption_of(caption) == (caption, None)
    assert caption.encode().decode() == caption
    for unit in ("word", "character"):
        vocabulary = Vocabulary.build([caption], unit)
        told = vocabulary.decode(vocabulary.encode([caption], 10_000))[0]
        assert told
        assert normalize(told) == normalize(caption)
        again = vocabulary.decode(vocabulary.encode([told], 10_000))[0]
        assert again == told


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), colour).save(buffer, "PNG")
    return buffer.getvalue()


CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from((*(f"{i}.png" for i in range(12)), "a red flower", "train", "val", "test")),
    st.none() | st.integers() | st.floats() | st.booleans(),
    st.lists(st.text(max_size=5) | st.integers(), max_size=3),
)
COLUMNS = st.sampled_from(("file_name", "caption", "class", "split", "text", "caption_1", "x"))
ROWS = st.lists(st.dictionaries(COLUMNS | st.text(max_size=5), CELLS, max_size=4), max_size=14)


def table(kind: str, rows: list[dict[str, Any]]) -> bytes:
    """The rows as a file of that kind; where Parquet cannot hold them, each cell as its words."""
    if kind == "jsonl":
        return "\n".join(map(json.dumps, rows)).encode()
    names = list(dict.fromkeys(name for row in rows for name in row))
    if kind == "csv":
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, names)
        writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue().encode("utf-8", "replace")
    sink = io.BytesIO()
    try:
        found = pa.Table.from_pylist(rows)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        found = pa.Table.from_pylist([{name: ascii(one) for name, one in r.items()} for r in rows])
    pq.write_table(found, sink)
    return sink.getvalue()


@given(kind=st.sampled_from(("jsonl", "csv", "parquet")), rows=ROWS, data=st.data())
def test_metadata(kind: str, rows: list[dict[str, Any]], data: st.DataObject, place: Path) -> None:
    """A folder's table gives images with captions that can be used, or one line."""
    own = place / "own"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    for i in range(12):
        (own / f"{i}.png").write_bytes(png((20 * i, 0, 0)))
    rows = [*rows, *({"file_name": f"{i}.png", "caption": f"flower {i}"} for i in range(12))]
    content = table(kind, rows)
    if data.draw(st.booleans()):
        content = data.draw(damaged(content))
    (own / f"metadata.{kind}").write_bytes(content)
    options = replace(DOWNLOAD, folder=str(own))
    log = SourceLog()

    def read() -> None:
        for example in folder(options, 7, place, log):
            assert example.split in SPLITS
            assert example.captions
            assert all(caption_of(one) == (one, None) for one in example.captions)

    refusal(read)
    assert all(len(why) < LONGEST_LINE and "\n" not in what for what, why in log.refused)


KEYS = st.sampled_from(
    (
        *("images", "annotations", "id", "image_id", "file_name", "filepath", "caption", "data"),
        *("sentences", "raw", "tokens", "split", "train", "0.png"),
    )
)
CAPTIONED = st.recursive(
    CELLS | st.sampled_from(("0.png", "images", 900)),
    lambda one: st.lists(one, max_size=4) | st.dictionaries(KEYS, one, max_size=4),
    max_leaves=12,
)


def packed(kind: str) -> bytes:
    """Twelve samples in a tar or in a Parquet file."""
    sink = io.BytesIO()
    if kind == "parquet":
        rows = [
            {"image": {"bytes": png((20 * i, 0, 0)), "path": None}, "text": f"flower {i}"}
            for i in range(12)
        ]
        pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=4)
        return sink.getvalue()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for i in range(12):
            for ending, data in (("png", png((20 * i, 0, 0))), ("txt", b"flower %d" % i)):
                member = tarfile.TarInfo(f"{i}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return sink.getvalue()


def taken(own: Path) -> None:
    """Read the folder; what comes can be used."""
    options = replace(DOWNLOAD, folder=str(own))
    log, ids = SourceLog(), []

    def read() -> None:
        for example in folder(options, 7, own, log):
            ids.append(example.image_id)
            assert example.captions
            assert all(caption_of(one) == (one, None) for one in example.captions)

    refusal(read)
    assert len(set(ids)) == len(ids)
    assert all(why for _, why in log.refused)


@given(document=CAPTIONED, data=st.data())
def test_documents(document: Any, data: st.DataObject, place: Path) -> None:
    """JSON of any shape beside images gives captions that can be used, or one line."""
    own = place / "documents"
    if not own.exists():
        own.mkdir()
        for i in range(12):
            (own / f"{i}.png").write_bytes(png((20 * i, 0, 0)))
    content = json.dumps(document).encode()
    (own / "mine.json").write_bytes(
        data.draw(damaged(content)) if data.draw(st.booleans()) else content
    )
    more = [{"image": f"{i}.png", "caption": f"flower {i}"} for i in range(12)]
    (own / "more.json").write_text(json.dumps(more))
    taken(own)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
@given(data=st.data())
def test_packs(kind: str, data: st.DataObject, place: Path) -> None:
    """Of a damaged pack what can be read is read, and the other is whole."""
    own = place / f"packs-{kind}"
    own.mkdir(exist_ok=True)
    (own / f"a.{kind}").write_bytes(packed(kind))
    (own / f"b.{kind}").write_bytes(data.draw(damaged(packed(kind))))
    taken(own)


# ---------------------------------------------------------------- what comes from elsewhere


def image(kind: str, mode: str) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((7, 5)).convert(mode).save(buffer, kind)
    return buffer.getvalue()


IMAGES = [
    image(kind, mode)
    for kind, modes in {
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
        "JPEG": ("L", "RGB", "CMYK"),
        "GIF": ("P",),
        "BMP": ("RGB",),
        "TIFF": ("RGB", "I;16", "F"),
        "PPM": ("RGB",),
        "WEBP": ("RGBA",),
    }.items()
    for mode in modes
]


@given(content=st.sampled_from(IMAGES).flatmap(damaged) | st.binary(max_size=99))
def test_images(content: bytes) -> None:
    """An image is upright RGB, or there is a reason."""
    try:
        found = decode(content)
    except ValueError as error:
        assert 0 < len(str(error)) < LONGEST_LINE  # noqa: PT017
    else:
        assert found.mode == "RGB"
        assert min(found.size) >= 1


def members() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, size in (("jpg/a.jpg", 700), ("b" * 120, 0), ("\u00e4.txt", 3)):
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = size, {"comment": "told"}
            tar.addfile(member, io.BytesIO(bytes(size)))
    return buffer.getvalue()


@given(tar=damaged(members()), packed=st.booleans())
def test_archives(tar: bytes, packed: bool, place: Path) -> None:
    """Members have names that stay inside, or the archive is refused."""
    path = place / "archive.tgz"
    path.write_bytes(tar if packed else gzip.compress(tar))

    def read() -> None:
        for name, content in archive_members(path, 1 << 20, 1 << 22):
            assert not name.startswith("/")
            assert ".." not in Path(name).parts
            assert len(content) <= 1 << 20

    refusal(read)


@given(content=damaged(b"# sums\n" + b"ab" * 32 + b"  jpg/a.jpg\n" + b"01" * 32 + b" *b c\n"))
def test_checksum_files(content: bytes, place: Path) -> None:
    """Names with 64 digits each, or a reason."""
    path = place / "SHA256SUMS"
    path.write_bytes(content)
    try:
        found = read_checksums(path)
    except ValueError as error:
        assert 0 < len(str(error)) < LONGEST_LINE  # noqa: PT017
    else:
        assert all(name and len(digest) == 64 for name, digest in found.items())


# ---------------------------------------------------------------- what the stages wrote


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, tensors and arrays included."""
    if isinstance(one, torch.nn.Module):
        return same(one.state_dict(), other.state_dict())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, mixture.Mixture):
        return same(vars(one), vars(other))
    return bool((one == other).all()) if hasattr(one, "dtype") else bool(one == other)


READERS: dict[str, Callable[[Path], Any]] = {
    "encoder.pt": lambda data: load_encoder(data / "encoder.pt", CPU),
    "gan.pt": lambda data: vars(load_gan(data / "gan.pt", CPU))["generator"],
    "captioner.pt": lambda data: load_captioner(data / "captioner.pt", CPU),
    "gmm.npz": lambda data: mixture.load(data / "gmm.npz"),
    "pictures/val-00000-of-00001.parquet": lambda data: (
        read_examples(data / "pictures", "val").digests
    ),
    "embeddings/val-00000-of-00001.parquet": lambda data: read_shards(
        data / "embeddings", "val"
    ).to_pydict(),
    "synthetic/data/train-00000-of-00001.parquet": lambda data: read_rows(
        data / "synthetic"
    ).to_pydict(),
    "synthetic/manifest.json": lambda data: read_manifest(data / "synthetic"),
}


@given(name=st.sampled_from(list(READERS)), faults=st.data())
def test_artifacts(name: str, faults: st.DataObject, whole: Path, place: Path) -> None:
    """What is read is what was written, or it is refused."""
    data = place / "data"
    if not data.exists():
        shutil.copytree(whole, data)
    content = (whole / name).read_bytes()
    (data / name).write_bytes(faults.draw(damaged(content)))
    read = READERS[name]
    try:
        assert refusal(lambda: read(data)) or same(read(data), read(whole))
    finally:
        (data / name).write_bytes(content)


METRICS = [path for name in results.files() if (path := ROOT / "metrics" / name).exists()]


@given(path=st.sampled_from(METRICS), faults=st.data())
def test_metrics(path: Path, faults: st.DataObject, place: Path) -> None:
    """What is damaged is named with the stage that makes it, or can be shown."""
    own = place / "metrics"
    if not own.exists():
        shutil.copytree(ROOT / "metrics", own)
    target = own / path.relative_to(ROOT / "metrics")
    target.write_bytes(faults.draw(damaged(path.read_bytes())))

    def show() -> None:
        found = results.read(own)
        headlines.answers(found)
        headlines.worst(found)
        headlines.lines(found, "captions")
        curves.arms(found)
        for rows in found.curves.values():
            for row in rows:
                assert all(isinstance(cell, str) for cell in row.values())

    try:
        said = refusal(show)
        assert said is None or (str(target) in said and "dvc repro --force" in said)
    finally:
        target.write_bytes(path.read_bytes())
