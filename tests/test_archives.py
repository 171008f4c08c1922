"""Archives that want to do harm, and such as are merely damaged."""

import gzip
import io
import random
import tarfile
from pathlib import Path

import pytest

from pairsynth.errors import InputError
from pairsynth.sources.archives import archive_members

BODY = random.Random(1).randbytes(50_000)


def archive(path: Path, *members: tuple[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            if isinstance(content, bytes):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                content.name = name
                tar.addfile(content)
    return path


def special(kind: bytes, linkname: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo()
    member.type, member.linkname = kind, linkname
    return member


def test_members_in_order(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tgz", ("d", special(tarfile.DIRTYPE)), ("d/b", b"2" * 512),
                   ("./d/a", b"1"), ("d/empty", b""))  # fmt: skip
    assert list(archive_members(path)) == [("d/b", b"2" * 512), ("d/a", b"1"), ("d/empty", b"")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("../x", b"", "leads out"),
        ("a/../../x", b"", "leads out"),
        ("/etc/x", b"", "leads out"),
        ("C:\\x", b"", "leads out"),
        ("x", special(tarfile.SYMTYPE, "/etc/passwd"), "link or a device"),
        ("x", special(tarfile.LNKTYPE, "../x"), "link or a device"),
        ("x", special(tarfile.CHRTYPE), "link or a device"),
        ("x", special(tarfile.FIFOTYPE), "link or a device"),
        ("./first", b"", "is there twice"),
        ("x", bytes(5000), "unpacks to 5,000 bytes, more than 4,096"),
        ("n" * 5000, b"", "far more than it should"),
    ],
)
def test_hostile_members(
    tmp_path: Path, name: str, content: bytes | tarfile.TarInfo, message: str
) -> None:
    path = archive(tmp_path / "a.tgz", ("first", b"1"), (name, content))
    with pytest.raises(InputError, match=message):
        list(archive_members(path, largest=4096))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tgz"]


def test_bomb_by_total(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tgz", *[(str(i), bytes(4000)) for i in range(30)])
    with pytest.raises(InputError, match="far more than it should"):
        list(archive_members(path, total=100_000))


def pax(body: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A header of extra keys, as it stands in a tar file."""
    member = tarfile.TarInfo("pax")
    member.type, member.size = kind, len(body)
    return member.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"9" * 100_000, "headers are far longer"),
        (b"9" * 3000 + b" path=x\n", "number without end"),
        (b"30 comment=" + b"x" * 200_000, "headers are far longer"),
        (b"22 GNU.sparse.major=1\n", "or a sparse file"),
    ],
)
def test_headers_of_archives_are_bounded(
    tmp_path: Path, kind: bytes, body: bytes, message: str
) -> None:
    path = tmp_path / "a.tgz"
    plain = gzip.decompress(archive(path, ("a", b"1")).read_bytes())
    for before in (b"", plain[:1024]):  # as the first header, and as a later one
        path.write_bytes(gzip.compress(before + pax(body, kind) + plain))
        with pytest.raises(InputError, match=message):
            list(archive_members(path))


def test_a_sparse_member_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tgz", ("first", b"1"), ("x", special(tarfile.GNUTYPE_SPARSE)))
    with pytest.raises(InputError, match="member 'x' is a link or a device, not a plain file"):
        list(archive_members(path))


def test_empty_members_have_an_end(tmp_path: Path) -> None:
    headers = b"".join(tarfile.TarInfo(str(i)).tobuf() for i in range(70_000))
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(headers + bytes(1024), 1))
    with pytest.raises(InputError, match="headers are far longer"):
        list(archive_members(path))


def test_headers_of_an_ordinary_archive_with_extra_keys_are_read(tmp_path: Path) -> None:
    name = "é" * 300
    member = tarfile.TarInfo(name)
    member.pax_headers = {"mtime": "1234567890.123456789", "comment": "x" * 500}
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member)
    assert list(archive_members(path)) == [(name, b"")]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_archives_cut_short(tmp_path: Path, share: float) -> None:
    path = archive(tmp_path / "a.tgz", *[(str(i), BODY[i : i + 9000]) for i in range(5)])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)] if share < 0.9 else whole[:-1])
    with pytest.raises(InputError, match=r"a.tgz: not a whole .tar.gz archive .*fetch it again"):
        list(archive_members(path))


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tgz", ("a", b"1"), ("b", b"2"), ("c", b"3"))
    plain = bytearray(gzip.decompress(path.read_bytes()))
    plain[1024 + 150] ^= 1  # in the checksum of b's header
    path.write_bytes(gzip.compress(plain))
    with pytest.raises(InputError, match="a header is damaged"):
        list(archive_members(path))
    path.write_bytes(b"<html>")
    with pytest.raises(InputError, match="not a whole"):
        list(archive_members(path))
