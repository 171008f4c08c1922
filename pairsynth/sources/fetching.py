"""Download files, with resumption and checks."""

import errno
import hashlib
import http.client
import io
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests
import requests.adapters
import urllib3
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from pairsynth.errors import InputError

ATTEMPTS = 5  # in a row without one new byte
PAUSE = 1.0  # seconds before the second attempt, doubled before each further one
TIMEOUT = (10.0, 30.0)  # seconds to connect, seconds of silence
CHUNK = 1 << 18
LEAST, MINUTE = 6000, 60.0  # bytes that must come in so many seconds
LARGEST = 4 << 30  # bytes of a download

Check = Callable[[Path], None]
"""Raises ValueError with the reason when the file is not the one that is wanted."""


class Missing(InputError):
    """The server answers, and has no such file."""


class _Unsteady(Exception):
    """An answer of the server that may be better on the next attempt."""


UNSTEADY = (_Unsteady, requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)


def checksum(algorithm: str, expected: str) -> Check:
    """A check that the digest of a file by `algorithm` (md5, sha256) is `expected`, in hex."""

    def check(path: Path) -> None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != expected.lower():
            raise ValueError(f"its {algorithm} is {found}, wanted is {expected}")

    return check


def read_checksums(path: Path) -> dict[str, str]:
    """File name -> SHA-256 from a file as `sha256sum` writes it; raises ValueError."""
    sums = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?(\S.*)", line)
        if match is None:
            raise ValueError(f"line {number} is not `SHA-256  name`: {line[:60]!r}")
        sums[match[2]] = match[1]
    return sums


class _Pace:
    """Stops a download that is too slow, over all its connections.

    Only bytes of the file count: a server may send headers, chunk sizes and trailers without end.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.begin()

    def begin(self) -> None:
        """Begin another `MINUTE`."""
        self.begun, self.bytes = time.monotonic(), 0

    def check(self) -> None:
        """Refuse to go on where a `MINUTE` is over in which less than `LEAST` bytes came."""
        if time.monotonic() - self.begun < MINUTE:
            return
        if self.bytes < LEAST:
            raise InputError(
                f"{self.url}: too slow, {self.bytes:,} bytes in {MINUTE:.0f} seconds; check the "
                "network and run again: it goes on where it stopped"
            )
        self.begin()


class _Paced(io.RawIOBase):
    """A connection that checks the pace with whatever is received, headers included.

    The timeout of requests is for silence only, which a server avoids by sending a byte now and
    then.
    """

    def __init__(self, raw: io.RawIOBase, pace: _Pace) -> None:
        self.raw, self.pace = raw, pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        count = self.raw.readinto(buffer)
        self.pace.check()
        return count

    def close(self) -> None:
        self.raw.close()
        super().close()


class _PacedAdapter(requests.adapters.HTTPAdapter):
    """An adapter of requests whose connections keep to `pace`."""

    def __init__(self, pace: _Pace) -> None:
        super().__init__()

        class Response(http.client.HTTPResponse):
            def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
                super().__init__(sock, *args, **kwargs)
                self.fp = io.BufferedReader(_Paced(self.fp.detach(), pace))

            def begin(self) -> None:
                pace.begin()
                super().begin()

        self.response = Response

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The pool of connections for an address."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        told = {"response_class": self.response}
        pool.ConnectionCls = type("Paced", (pool.ConnectionCls,), told)
        return pool


def fetch(url: str, target: Path, check: Check, largest: int = LARGEST) -> Path:
    """Download `url` to `target`, unless `target` already passes `check`.

    Bytes are collected in `target`.part, from which an interrupted download continues; the file is
    renamed when complete and checked. largest: the most bytes it may have.

    Raises:
        Missing: the server has no such file.
        InputError: no or too slow a network, a web page instead of the file, a redirect loop, wrong
            or too much content (which is deleted), no disk space.
    """
    part = target.with_name(target.name + ".part")
    with _storing(part):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and _fault(target, check) is None:
            return target
        while True:
            resumed = part.exists()
            _complete(url, part, largest)
            fault = _fault(part, check)
            if fault is None:
                break
            _discard(part)
            if not resumed:  # a part may have been begun on older content; a fresh file was not
                raise InputError(
                    f"{url}: {fault}; the download was deleted: try again later, "
                    "or name another place in download.mirror"
                )
        os.replace(part, target)
        _discard(part)
    return target


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    """Turn system errors on writing `path` (no space, no permission) into InputError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise InputError(
                f"{path}: no disk space left; make room and run again: what is there is kept"
            ) from error
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "mend the folder's permissions and run again"
        ) from error


def _fault(path: Path, check: Check) -> str | None:
    try:
        check(path)
    except ValueError as error:
        return str(error)
    return None


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version(part).unlink(missing_ok=True)


def _version(part: Path) -> Path:
    """The file beside a part with the ETag or date of the content it was started from."""
    return part.with_name(part.name + "-version")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _complete(url: str, part: Path, largest: int) -> None:
    """Transfer until the part is complete; give up after `ATTEMPTS` without a new byte."""
    failures, furthest, pace = 0, _size(part), _Pace(url)
    while True:
        try:
            return _transfer(url, part, largest, pace)
        except UNSTEADY as error:
            failures = 1 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            if failures >= ATTEMPTS:
                raise InputError(
                    f"{url}: not reachable ({_root(error)}), tried {failures} times; check "
                    "the network and run again: it goes on where it stopped"
                ) from error
            time.sleep(PAUSE * 2 ** (failures - 1))
        except requests.TooManyRedirects as error:
            raise InputError(f"{url}: redirects in circles; check the address") from error
        except (requests.RequestException, ValueError, OverflowError) as error:
            # the latter two where a redirect leads to what is no address
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"{url}: cannot be fetched ({reason}); check the address") from error


def _root(error: BaseException) -> str:
    """The innermost error, without the exceptions wrapped around it."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__


def _transfer(url: str, part: Path, largest: int, pace: _Pace) -> None:
    """Request the missing bytes of the part once, and append them as they arrive."""
    begun = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if begun:
        headers["Range"] = f"bytes={begun}-"
        if _version(part).exists():
            headers["If-Range"] = _version(part).read_text(encoding="utf-8")
    with ExitStack() as stack:

        def close(response: requests.Response, **_: object) -> None:
            stack.callback(response.close)
            if response.is_redirect:  # requests would read its body, however long, into memory
                response.close()

        hooks = {"response": close}
        session = stack.enter_context(requests.Session())
        for scheme in ("http://", "https://"):
            session.mount(scheme, _PacedAdapter(pace))
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT, hooks=hooks)
        if response.status_code == 416 and begun:
            return  # nothing is lacking; whether it is the right content, the check will tell
        _examine(response, url)
        if response.status_code == 206:
            _examine_range(response, part, begun)
        else:
            begun = 0
        _note_version(response, part)
        with part.open("ab" if begun else "wb") as file:
            for chunk in _shown(response, part.stem, begun):
                begun += len(chunk)
                pace.bytes += len(chunk)
                if begun > largest:
                    _discard(part)
                    raise InputError(
                        f"{url}: longer than the {largest:,} bytes that it may have; the download "
                        "was deleted: check the address"
                    )
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())


def _examine(response: requests.Response, url: str) -> None:
    """Refuse an answer that is not the file: an error, or a web page with status 200."""
    status = response.status_code
    if status in (404, 410):
        raise Missing(f"{url}: no such file there (status {status}); check the address")
    if status == 429 or status >= 500:
        raise _Unsteady(f"status {status} {response.reason}")
    if status not in (200, 206):
        raise InputError(
            f"{url}: refused with status {status} {response.reason}; check the address"
        )
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise InputError(
            f"{url}: answered with a web page instead of the file; check the address, "
            "and whether the network wants a login"
        )


def _examine_range(response: requests.Response, part: Path, begun: int) -> None:
    given = response.headers.get("Content-Range", "")
    if not given.startswith(f"bytes {begun}-"):
        _discard(part)
        raise _Unsteady(f"asked for bytes from {begun}, got {given!r}")


def _note_version(response: requests.Response, part: Path) -> None:
    tag = response.headers.get("ETag", "")
    version = response.headers.get("Last-Modified", "") if tag[:1] != '"' else tag
    if version:  # weak tags ("W/...") do not promise equal bytes and are not allowed in If-Range
        _version(part).write_text(version, encoding="utf-8")
    else:
        _version(part).unlink(missing_ok=True)


def _shown(response: requests.Response, name: str, begun: int) -> Iterator[bytes]:
    """The raw bytes of the body, with a progress bar on terminals.

    Raw, because requests would unpack a .tgz that the server labels `Content-Encoding: gzip`.
    """
    length = response.headers.get("Content-Length", "")
    total = begun + int(length) if length.isdecimal() else None
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total, completed=begun)
        # not stream(), which waits for a whole chunk however slowly it comes
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            progress.advance(task, len(chunk))
            yield chunk
