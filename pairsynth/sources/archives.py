"""Read tar archives safely: plain files only, the size of headers and members bounded."""

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pairsynth.errors import InputError

CHUNK = 1 << 18
HEADER, HEADERS = 4096, 32 << 20  # bytes of one header, of all together

DAMAGE = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, RecursionError)


class _Box:
    """A file object for tarfile with limits that include headers.

    in_headers: whether a header is being read. Python needs minutes for a long number in a header,
    and reads the map of a sparse file without limit.
    """

    def __init__(
        self, file: IO[bytes] | gzip.GzipFile, largest: int, total: int, headers: int = HEADERS
    ) -> None:
        self.file, self.largest, self.total, self.most = file, largest, total, headers
        self.tell = file.tell
        self.in_headers, self.headers = True, 0

    def read(self, size: int) -> bytes:
        if size > self.largest or self.file.tell() > self.total:
            raise ValueError("it unpacks to far more than it should")
        data = self.file.read(size)
        if self.in_headers:
            self._examine(data)
        return data

    def _examine(self, header: bytes) -> None:
        self.headers += len(header)
        if len(header) > HEADER or self.headers > self.most:
            raise ValueError("its headers are far longer than they should be")
        if re.search(rb"\d{256}|GNU\.sparse", header):
            raise ValueError("a header holds a number without end, or a sparse file")

    def seek(self, position: int) -> int:
        if position > self.total:
            raise ValueError("it unpacks to far more than it should")
        return self.file.seek(position)


def archive_members(
    path: Path, largest: int = 64 << 20, total: int = 4 << 30
) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file in a .tar.gz in order, one at a time, without unpacking.

    largest, total: bytes that one member and the whole archive may unpack to.

    Raises:
        InputError: the archive is damaged, cut short or too big, or has a member that is unsafe
            (link, device, name outside the archive) or occurs twice.
    """
    # a local tuple: an archive left half read may be closed while Python clears its modules
    damage = DAMAGE
    seen: set[str] = set()
    try:
        with gzip.open(path) as file:
            box: Any = _Box(file, largest, total)
            with tarfile.open(fileobj=box, mode="r:") as tar:
                while (member := _next(tar, box)) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # else they pile up
                    if not member.isdir():
                        name = _safe_name(path, member, seen, largest)
                        content = tar.extractfile(member)
                        assert content is not None
                        yield name, content.read()
            # tarfile stops at a damaged header as if it were the end, and before gzip's checksum
            for rest in iter(lambda: box.read(min(CHUNK, largest)), b""):
                if rest.strip(b"\0"):
                    raise ValueError("a header is damaged")
    except damage as error:
        raise InputError(
            f"{path}: not a whole .tar.gz archive ({error}); delete it and fetch it again"
        ) from error


def _next(tar: tarfile.TarFile, box: _Box) -> tarfile.TarInfo | None:
    box.in_headers = True
    member = tar.next()
    box.in_headers = False
    return member


def _safe_name(path: Path, member: tarfile.TarInfo, seen: set[str], largest: int) -> str:
    name = PurePosixPath(member.name)
    fault = ""
    if member.size > largest:
        fault = f"unpacks to {member.size:,} bytes, more than {largest:,}"
    elif not is_plain(member):
        fault = "is a link or a device, not a plain file"
    elif name.is_absolute() or ".." in name.parts or re.search(r"[\\:\0]", member.name):
        fault = "has a name that leads out of the archive"
    elif str(name) in seen:
        fault = "is there twice"
    if fault:
        raise InputError(
            f"{path}: member {member.name!r} {fault}; get the archive from a place you trust"
        )
    seen.add(str(name))
    return str(name)


def members_in_place(file: IO[bytes], size: int) -> Iterator[tarfile.TarInfo]:
    """Every member of an uncompressed tar of `size` bytes, with the place of its data.

    The data is skipped. Read plain files only (`is_plain`).

    Raises:
        ValueError: with the reason, after yielding the members before it, where a header is damaged
            or unsafe, or the end of the archive is missing.
    """
    box: Any = _Box(file, HEADER, size, size)
    try:
        with tarfile.open(fileobj=box, mode="r:") as tar:
            while (member := _next(tar, box)) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else they pile up
                yield member
            file.seek(tar.offset)
    except DAMAGE as error:
        raise ValueError(f"not a whole tar archive ({error})") from error
    # tarfile stops at a damaged header as if it were the end
    end = file.read(tarfile.BLOCKSIZE)
    if end.strip(b"\0"):
        raise ValueError(f"a header is damaged, at byte {file.tell() - len(end):,}")
    if len(end) < tarfile.BLOCKSIZE:
        raise ValueError("not a whole tar archive (its end is missing)")


def is_plain(member: tarfile.TarInfo) -> bool:
    """Whether it is a regular file: no link, device, folder or sparse file."""
    return member.isreg() and not member.issparse()
