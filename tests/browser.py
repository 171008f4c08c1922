"""A page in a real browser, headless Chromium: what it says, what it asks for, how it looks."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
NEEDS_BROWSER = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"
)
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-default-apps", "--disable-extensions", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--virtual-time-budget=10000", "--enable-logging=stderr"),
]
# What the browser would ask for by itself finds no host; what a page asks for is still logged.
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND"
DARK = "--blink-settings=preferredColorScheme=0"

# Chromium's own window is 500 pixels wide at least: in a frame a page is as narrow as a phone's.
FRAME = """<!DOCTYPE html><style>body {{ margin: 0 }} iframe {{ border: 0; display: block }}</style>
<script>addEventListener("message", (event) => {{
  const box = document.createElement("pre");
  box.id = "probe";
  box.textContent = JSON.stringify(event.data);
  document.body.append(box);
}});</script><iframe src="{name}" width="{width}" height="{height}"></iframe>"""

PROBE = """<script>addEventListener("load", () => {{
  let found;
  try {{ found = (() => {{ {probe} }})(); }} catch (error) {{ found = String(error); }}
  parent.postMessage(found, "*");
}});</script></body>"""


@dataclass(frozen=True)
class Visit:
    """found: what the probe returned. console: what the page said. asked: addresses it wanted."""

    found: Any
    console: list[str]
    asked: list[str]


def visit(
    page: Path, folder: Path, probe: str = "return 1", width: int = 1280, *words: str
) -> Visit:
    """Open a copy of `page`, `width` pixels wide, and run the JavaScript `probe` in it at last."""
    copy = page.with_name(f"probed-{page.name}")
    text = page.read_text(encoding="utf-8")
    assert "</body>" in text
    script = PROBE.format(probe=probe)
    copy.write_text(script.join(text.rsplit("</body>", 1)), encoding="utf-8")
    log = folder / "net.json"
    done = browse(copy, folder, width, 900, "--dump-dom", f"--log-net-log={log}", *words)
    copy.unlink()
    told = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.S)
    assert told, done.stdout[-2000:] + done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Visit(json.loads(unescape(told[1])), console, asked(log))


def asked(log: Path) -> list[str]:
    """Addresses beyond this machine that a page, and not the browser itself, asked for."""
    events = json.loads(log.read_text())["events"]
    params = [event.get("params", {}) for event in events]
    return [
        one["url"]
        for one in params
        if re.match("(?:http|ws|ftp)", one.get("url", ""))
        and one.get("initiator", "not an origin") != "not an origin"
    ]


def screenshot(page: Path, folder: Path, width: int, height: int, *words: str) -> Path:
    """A PNG of the top of `page`."""
    image = folder / f"{page.stem}-{width}.png"
    browse(page, folder, width, height, f"--screenshot={image}", *words)
    return image


def browse(
    page: Path, folder: Path, width: int, height: int, *words: str
) -> "subprocess.CompletedProcess[str]":
    """Chromium, with a profile of its own, over a frame that shows `page`."""
    assert CHROMIUM is not None
    profile = folder / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    frame = page.with_name(f"framed-{page.name}")
    frame.write_text(FRAME.format(name=page.name, width=width, height=height))
    size = f"--window-size={max(500, width)},{height}"
    words = (*QUIET, ALONE, f"--user-data-dir={profile}", size, *words, frame.resolve().as_uri())
    done = subprocess.run([CHROMIUM, *words], capture_output=True, text=True, timeout=180)
    frame.unlink()
    return done
