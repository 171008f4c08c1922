"""Downloads that go wrong in every way."""

import contextlib
import hashlib
import random
import resource
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pairsynth.errors import InputError
from pairsynth.sources import fetching
from pairsynth.sources.fetching import Missing, checksum, fetch, read_checksums

BODY = random.Random(0).randbytes(100_000)
GOOD = checksum("sha256", hashlib.sha256(BODY).hexdigest())


# Answers that come a byte at a time, and do not end.
HEADS = {
    "status": b"HTTP/1.1 200 " + b"O" * 200,
    "one header": b"HTTP/1.1 200 OK\r\nContent-Type: " + b"x" * 200,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 40,
    "preliminary": b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://" + b"x" * 200,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 200,
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 40,
}


class Server(ThreadingHTTPServer):
    """Serves `body`; `fault` says how it misbehaves, `asked` which Range each request had."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.fault, self.tag = BODY, "", '"one"'
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: Any) -> None: ...

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        first, fault = len(server.asked) == 1, server.fault
        if fault.isdecimal():
            return self.send_error(int(fault))
        if fault == "unsteady" and first:
            return self.send_error(503)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if self.headers.get("If-Range", server.tag) != server.tag or fault == "no ranges":
            start = 0
        if start >= len(server.body):
            return self.send_error(416)
        if fault.startswith("to "):
            return self.answer(302, b"", Location=fault[3:])
        if fault == "trickle":
            self.answer(200, server.body, 0)
            for byte in server.body[:40]:
                self.wfile.write(bytes([byte]))
                time.sleep(0.02)
            return None
        if fault in HEADS:
            with contextlib.suppress(OSError):
                for byte in HEADS[fault]:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.02)
            return None
        if fault == "loop":
            return self.answer(302, b"", Location=server.url)
        if fault == "loop with a body":
            self.answer(302, BODY, 0, Location=server.url)
            return time.sleep(0.4)
        if fault == "page":
            return self.answer(200, b"<html>log in</html>", Content_Type="text/html; charset=x")
        if fault == "wrong range" and start:
            return self.answer(206, server.body, Content_Range="bytes 0-9/10")
        extra = {"ETag": server.tag} if server.tag else {}
        if fault == "labelled gzip":
            extra["Content_Encoding"] = "gzip"
        if start:
            extra["Content_Range"] = f"bytes {start}-{len(server.body) - 1}/{len(server.body)}"
        rest = server.body[start:]
        short = fault in ("short", "stall", "no ranges") and (first or fault == "stall")
        self.answer(206 if start else 200, rest, len(rest) // 2 if short else None, **extra)
        if fault == "stall":
            time.sleep(0.6)
        return None

    def answer(self, status: int, body: bytes, sent: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body[:sent])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetching, "PAUSE", 0.001)
    monkeypatch.setattr(fetching, "TIMEOUT", (2.0, 0.2))
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def begin(target: Path, size: int = 30_000, version: str = '"one"') -> None:
    part = target.with_name(target.name + ".part")
    part.write_bytes(BODY[:size])
    if version:
        part.with_name(part.name + "-version").write_text(version)


@pytest.mark.parametrize("fault", ["", "short", "unsteady", "no ranges", "labelled gzip"])
def test_a_file_arrives_whole_whatever_happens(server: Server, tmp_path: Path, fault: str) -> None:
    server.fault = fault
    target = tmp_path / "new" / "file.bin"
    assert fetch(server.url, target, GOOD) == target
    assert target.read_bytes() == BODY
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]


def test_an_interrupted_download_goes_on(server: Server, tmp_path: Path) -> None:
    begin(tmp_path / "file.bin")
    fetch(server.url, tmp_path / "file.bin", GOOD)
    assert server.asked == ["bytes=30000-"]


def test_a_short_body_is_continued_not_repeated(server: Server, tmp_path: Path) -> None:
    server.fault = "short"
    fetch(server.url, tmp_path / "file.bin", GOOD)
    assert server.asked == [None, "bytes=50000-"]


@pytest.mark.parametrize("version", ['"zero"', ""])
def test_content_that_changed_since_is_fetched_anew(
    server: Server, tmp_path: Path, version: str
) -> None:
    begin(tmp_path / "file.bin", version=version)
    (tmp_path / "file.bin.part").write_bytes(b"old" * 1000)
    if not version:
        server.tag = ""
    assert fetch(server.url, tmp_path / "file.bin", GOOD).read_bytes() == BODY


@pytest.mark.parametrize("size", [len(BODY), len(BODY) + 5])
def test_a_part_that_lacks_nothing(server: Server, tmp_path: Path, size: int) -> None:
    begin(tmp_path / "file.bin", size)
    if size > len(BODY):
        (tmp_path / "file.bin.part").write_bytes(BODY + b"12345")
    assert fetch(server.url, tmp_path / "file.bin", GOOD).read_bytes() == BODY


def test_a_wrong_range_is_not_appended(server: Server, tmp_path: Path) -> None:
    server.fault = "wrong range"
    begin(tmp_path / "file.bin")
    assert fetch(server.url, tmp_path / "file.bin", GOOD).read_bytes() == BODY


def test_a_filled_cache_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(BODY)
    fetch("http://127.0.0.1:1/nobody", tmp_path / "file.bin", GOOD)


def test_a_damaged_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(BODY[:-1])
    assert fetch(server.url, tmp_path / "file.bin", GOOD).read_bytes() == BODY


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("404", "no such file there .status 404"),
        ("403", "refused with status 403"),
        ("500", "not reachable .status 500 .* tried 5 times; check the network"),
        ("page", "web page instead of the file"),
        ("loop", "redirects in circles"),
        ("stall", "not reachable .*[Tt]imed out.* goes on where it stopped"),
    ],
)
def test_faults_have_their_messages(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    server.fault = fault
    if fault == "stall":
        monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    with pytest.raises(InputError, match=message) as raised:
        fetch(server.url, tmp_path / "file.bin", GOOD)
    assert "\n" not in raised.value.message
    assert isinstance(raised.value, Missing) == (fault == "404")
    assert not (tmp_path / "file.bin").exists()


@pytest.mark.parametrize(
    "nowhere", ["http://[::1", "http://x:99999999/", "http://\xff..\xff/", "gopher://x/"]
)
def test_a_redirect_to_nowhere_is_one_line(server: Server, tmp_path: Path, nowhere: str) -> None:
    server.fault = f"to {nowhere}"
    with pytest.raises(InputError, match=r"cannot be fetched|not reachable") as raised:
        fetch(server.url, tmp_path / "file.bin", GOOD)
    assert "\n" not in raised.value.message


def test_the_body_of_a_redirect_is_not_read(server: Server, tmp_path: Path) -> None:
    """It would be read into memory, however long it is; here it never comes."""
    server.fault = "loop with a body"
    with pytest.raises(InputError, match="redirects in circles"):
        fetch(server.url, tmp_path / "f", GOOD)


@pytest.mark.parametrize("fault", ["no ranges"])
def test_a_download_has_a_largest_size(server: Server, tmp_path: Path, fault: str) -> None:
    server.fault = fault
    begin(tmp_path / "file.bin")
    with pytest.raises(InputError, match=r"longer than the 40,000 bytes that it may have"):
        fetch(server.url, tmp_path / "file.bin", GOOD, largest=40_000)
    assert list(tmp_path.iterdir()) == []
    fetch(server.url, tmp_path / "file.bin", GOOD, largest=len(BODY))


def test_a_download_has_a_least_rate(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fault = "trickle"
    monkeypatch.setattr(fetching, "MINUTE", 0.1)
    with pytest.raises(InputError, match=r"too slow, \d+ bytes .*goes on where it stopped"):
        fetch(server.url, tmp_path / "file.bin", GOOD)
    assert (tmp_path / "file.bin.part").stat().st_size > 0


@pytest.mark.parametrize("head", HEADS)
def test_an_answer_whose_head_comes_a_byte_at_a_time_is_ended(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    """Silence ends by a timeout; a byte before each timeout would go on for days."""
    monkeypatch.setattr(fetching, "MINUTE", 0.4)
    server.fault = head
    with pytest.raises(InputError, match=r"too slow, [0-9]+ bytes in .*; check the network and"):
        fetch(server.url, tmp_path / "f", GOOD)
    assert len(server.asked) == 1


@pytest.mark.parametrize("head", ["one header", "trailers"])
def test_what_is_not_of_the_file_has_a_minute_whatever_its_rate(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    monkeypatch.setattr(fetching, "MINUTE", 1.5)
    monkeypatch.setattr(fetching, "LEAST", 2)
    server.fault = head
    with pytest.raises(InputError, match="too slow"):
        fetch(server.url, tmp_path / "f", GOOD)


@pytest.mark.parametrize("address", ["http://me:s3cret@127.0.0.1:1/x", "ftp://me:s3cret@x/y"])
def test_no_message_tells_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(fetching, "PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(InputError, match=r"//\*\*\*@") as raised:
        fetch(address, tmp_path / "x", GOOD)
    assert "s3cret" not in raised.value.message


def test_wrong_content_is_deleted(server: Server, tmp_path: Path) -> None:
    server.body = b"something else"
    with pytest.raises(InputError, match=r"its sha256 is .*, wanted is .*download was deleted"):
        fetch(server.url, tmp_path / "file.bin", GOOD)
    assert list(tmp_path.iterdir()) == []


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(
        InputError, match=r"not reachable .*Connection refused., tried 5 times; check the network"
    ):
        fetch(f"http://127.0.0.1:{port}/x", tmp_path / "x", GOOD)


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/x"])
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match=r"cannot be fetched .*check the address"):
        fetch(url, tmp_path / "x", GOOD)


def test_a_full_disk_keeps_what_is_there(server: Server, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.raises(InputError, match=r"file.bin.part: no disk space left; make room"):
            fetch(server.url, tmp_path / "file.bin", GOOD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "file.bin").exists()
    fetch(server.url, tmp_path / "file.bin", GOOD)
    assert server.asked[-1] == "bytes=40000-"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(InputError, match=r"cannot be written .*mend the folder's permissions"):
        fetch("http://127.0.0.1:1/", tmp_path / "cache" / "x", GOOD)


def test_checksum_files(tmp_path: Path) -> None:
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"# ours\n{'a' * 64}  ./a b.tgz\n\n{'B' * 64} *c.mat\n")
    assert read_checksums(sums) == {"a b.tgz": "a" * 64, "c.mat": "B" * 64}
    sums.write_text("<html>")
    with pytest.raises(ValueError, match="line 1 is not `SHA-256  name`: '<html>'"):
        read_checksums(sums)
