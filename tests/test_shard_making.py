"""Shards: the same bytes whoever makes them and when; interrupted and extended sets go on."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pairsynth import dataset, duplicates, origin, resume, shard_making, synthesis
from pairsynth.artifacts import file_digest
from pairsynth.dataset import Refusals, pair_shards, read_manifest
from pairsynth.engines import Worker
from pairsynth.errors import InputError
from pairsynth.filters import NONE, Thresholds
from pairsynth.latents import FILLING, SynthesisConfig, SynthesisInputs
from pairsynth.mappings import Mappings, load_mappings
from pairsynth.metrics.novelty import hashes
from pairsynth.shard_making import ShardFactory, Span, stored_facts
from stages import synthesize as stage
from tests.options import SYNTHESIS
from tests.workspace import ROOT, smoke_params

NAMES = ("pictures", "embeddings", "encoder.pt", "gan.pt", "captioner.pt", "gmm.npz")


@pytest.fixture(autouse=True)
def small_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repeatable: None) -> None:
    """Shards of a hundred pairs, and parts kept where this test keeps them."""
    monkeypatch.setattr(dataset, "PAIRS_PER_SHARD", 100)
    monkeypatch.setenv("PAIRSYNTH_RESUME_DIR", str(tmp_path / "resume"))


class Run:
    """The stage's command with outputs of its own."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        smoke_params(folder)
        self.set(candidates=2)
        self.synthetic = folder / "data/synthetic"
        self.words = [*(str(data / name) for name in NAMES), str(self.synthetic)]
        self.words += [str(folder / "metrics.json"), "--params", str(folder / "params.yaml")]
        self.words += ["--device", "cpu"]

    def set(self, **values: object) -> None:
        yaml = YAML()
        tree = yaml.load(self.folder / "params.yaml")
        tree["synthesize"] |= values
        yaml.dump(tree, self.folder / "params.yaml")

    def __call__(self, *words: str, **values: object) -> str:
        """Run it in this process; what it says on stderr."""
        self.set(**values)
        result = CliRunner().invoke(stage.app, [*self.words, "--workers", "1", *words])
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stderr

    def files(self) -> dict[str, str]:
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {
            str(path.relative_to(self.folder)): file_digest(path)
            for path in found
            if path.name != "params.yaml"
        }

    def shards(self) -> list[bytes]:
        return [path.read_bytes() for path in pair_shards(self.synthetic)]


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Run:
    return Run(whole, tmp_path / "run")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Span]:
    """The shards that are made from now on, in order."""
    make, found = shard_making.make, []

    def counted(inputs: SynthesisInputs, span: Span, digest: str) -> Iterator[Any]:
        found.append(span)
        return make(inputs, span, digest)

    monkeypatch.setattr(shard_making, "make", counted)
    return found


def factory(data: Path, **changes: object) -> ShardFactory:
    paths = dict(zip(shard_making.ShardFactory.__dataclass_fields__, NAMES, strict=False))
    told: dict[str, Any] = {key: data / name for key, name in paths.items()}
    config = replace(SYNTHESIS, pairs=250)
    values: dict[str, Any] = {**told, "config": config, "seed": 7, "device": "cpu", **changes}
    return ShardFactory(**values)


# ---------------------------------------------------------------- what is to be made


def test_a_shard_of_more_pairs_is_one_of_fewer(whole: Path) -> None:
    one = factory(whole)
    assert [str(span) for span in one.spans()] == [
        "00000000-00100",
        "00000100-00100",
        "00000200-00050",
    ]
    more = replace(one, config=replace(one.config, pairs=520))
    assert more.spans()[:2] == one.spans()[:2]
    assert more.digest == one.digest
    none = replace(one, config=replace(one.config, pairs=0))
    assert none.spans() == [Span(first=0, count=0)]
    filled = replace(one, config=replace(one.config, fill=30))  # four classes
    assert filled.spans()[3:] == [
        Span(first=FILLING, count=100),
        Span(first=FILLING + 100, count=20),
    ]
    assert filled.digest == one.digest


def test_what_the_encoder_looked_through_is_named(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is of an encoder that looks through ImageNet's eyes; that of `whole` does not."""

    def looking(*words: Any) -> Mappings:
        found = load_mappings(*words)
        found.encoder.made_from["lite0"] = "of the weights"
        return found

    monkeypatch.setattr(shard_making, "load_mappings", looking)
    assert factory(whole).inputs().made_from["lite0"] == "of the weights"


def test_no_class_to_fill_is_told(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_making, "fillable", lambda _: [])
    one = factory(whole)
    with pytest.raises(InputError, match=r"synthesize.fill = 30: no class of .* has two train"):
        replace(one, config=replace(one.config, fill=30)).spans()


def test_whatever_decides_a_shard_is_in_the_digest(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "data")
    one = factory(tmp_path / "data")
    changes: dict[str, Any] = {
        **dict.fromkeys(("text_prototype", "text_density", "image_prototype"), 0.5),
        **{"image_density": 0.5, "classes": "same", "balance": 1.0, "margin": 0.2, "filters": True},
        "candidates": 3,
    }
    found = {one.digest}
    for key, value in changes.items():
        found.add(replace(one, config=replace(one.config, **{key: value})).digest)
    found.add(replace(one, seed=8).digest)
    for name in NAMES:
        path = tmp_path / "data" / name
        with (next(path.iterdir()) if path.is_dir() else path).open("ab") as file:
            file.write(b"more")
        found.add(replace(one).digest)
    assert len(found) == 1 + len(changes) + 1 + len(NAMES)
    untold = set(SynthesisConfig.__dataclass_fields__) - set(changes)
    assert untold == {"pairs", "fill"}


# ---------------------------------------------------------------- who makes them, and when


def test_a_shard_is_the_same_whatever_was_made_before_it(whole: Path) -> None:
    one = factory(whole)
    spans = one.spans()

    def shard(work: Worker, span: Span) -> object:
        return list(work(span))[-1].outcome

    straight, back = one.open(0), one.open(1)
    wanted = [shard(straight, span) for span in spans]
    assert [shard(back, span) for span in reversed(spans)] == wanted[::-1]
    assert wanted[0] != wanted[1]


ENGINES: dict[str, Callable[[Run], object]] = {
    "two processes": lambda run: run("--workers", "2"),
    "ray": lambda run: run("--engine", "ray", "--workers", "2"),
    "jobs of a batch": lambda run: (
        [run("--first", str(first), "--count", "1") for first in (2, 0, 1)] + [run()]
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_all_engines_make_the_same_bytes(engine: str, whole: Path, tmp_path: Path) -> None:
    if engine == "ray":
        pytest.importorskip("ray")
    alone, other = Run(whole, tmp_path / "alone"), Run(whole, tmp_path / "other")
    alone(pairs=250)
    other.set(pairs=250)
    ENGINES[engine](other)
    assert other.files() == alone.files()
    assert len(alone.shards()) == 3


def test_jobs_leave_all_that_is_there_alone_and_the_last_run_only_joins(
    run: Run, made: list[Span], tmp_path: Path
) -> None:
    run("--first", "1", "--count", "2", pairs=250)
    assert [span.first for span in made] == [100, 200]
    assert not run.synthetic.exists()
    assert not (run.folder / "metrics.json").exists()
    run("--first", "0", "--count", "1")
    assert "3 of 3 shards are there already" in run()
    assert len(made) == 3
    assert not list((tmp_path / "resume/synthesize").iterdir())


def test_the_set_is_what_one_run_over_all_numbers_would_be(run: Run) -> None:
    run(pairs=250)
    one = factory(Path(run.words[0]).parent, seed=1712)
    inputs = replace(one, config=shard_making_config(run)).inputs()
    refusals = Refusals()
    made = [
        pair
        for first in (0, 100, 200)
        for pair in synthesis.synthesize(inputs, refusals, range(first, min(first + 100, 250)))
    ]
    table = pq.read_table(pair_shards(run.synthetic))
    wanted = list(synthesis.rows(inputs, made))
    assert table["pair_id"].to_pylist() == [row["pair_id"] for row in wanted]
    assert table["image"].to_pylist() == [row["image"] for row in wanted]
    manifest = read_manifest(run.synthetic)
    assert manifest["refused"] == dict(sorted(refusals.counts.items()))
    assert manifest["left_out"] == refusals.left_out
    shown = pq.read_table(run.synthetic / "refused").to_pylist()
    assert [(row["pair_id"], row["why"]) for row in shown] == [
        (row["pair_id"], row["why"]) for row in refusals.rows
    ]


@pytest.fixture
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of captions only the first letter counts, of images some bits: many pairs are one."""
    monkeypatch.setattr(duplicates, "normalize", lambda caption: caption[0])
    monkeypatch.setattr(duplicates, "hashes", lambda pixels: hashes(pixels)[:, 20:32])


def test_no_pair_stands_in_two_shards(run: Run, alike: None) -> None:
    """The set is that of one walk over all numbers, in which everything was seen."""
    run(pairs=250)
    world = factory(Path(run.words[0]).parent, seed=1712)
    inputs = replace(world, config=shard_making_config(run)).inputs()
    refusals = Refusals()
    made = [pair.number for pair in synthesis.synthesize(inputs, refusals, range(250))]
    found = pq.read_table(pair_shards(run.synthetic))["pair_id"].to_pylist()
    assert found == [f"pair-{number:07}" for number in made]
    alone = {row["pair_id"] for row in itertools.chain.from_iterable(walks(inputs))}
    assert 0 < len(alone - set(found)) < len(alone) - 10, "shards lose some, and keep others"
    manifest = read_manifest(run.synthetic)
    assert manifest["refused"] == dict(sorted(refusals.counts.items()))
    assert manifest["left_out"] == refusals.left_out == 250 - len(made)
    shown = pq.read_table(run.synthetic / "refused").to_pylist()
    wanted = [(row["pair_id"], row["why"]) for row in refusals.rows if row["reason"] == "duplicate"]
    told = [(row["pair_id"], row["why"]) for row in shown if row["reason"] == "duplicate"]
    assert told == wanted
    assert json.loads((run.folder / "metrics.json").read_text())["pairs"] == len(made)


def walks(inputs: SynthesisInputs) -> Iterator[Iterator[dict[str, Any]]]:
    """The rows of each shard by itself."""
    for first in (0, 100, 200):
        numbers = range(first, min(first + 100, 250))
        yield synthesis.rows(inputs, synthesis.synthesize(inputs, numbers=numbers))


def test_a_set_without_repeated_pairs_grows_and_shrinks_to_the_same_bytes(
    run: Run, alike: None, made: list[Span], whole: Path, tmp_path: Path
) -> None:
    """Also of pairs that fill classes, which are not compared with the others."""
    run(pairs=100, fill=30)
    before = run.files()
    run(pairs=300, fill=60)
    at_once = Run(whole, tmp_path / "at once")
    at_once(pairs=300, fill=60)
    assert at_once.files() == run.files()
    assert read_manifest(run.synthetic)["refused"]["duplicate"] > 0
    run(pairs=100, fill=30)
    assert run.files() == before


def shard_making_config(run: Run) -> SynthesisConfig:
    tree = YAML(typ="safe").load(run.folder / "params.yaml")["synthesize"]
    return SynthesisConfig(**tree)


# ---------------------------------------------------------------- more pairs, fewer, others


def test_a_set_grows_by_what_is_missing(
    run: Run, made: list[Span], whole: Path, tmp_path: Path
) -> None:
    run(pairs=200)
    before = run.shards()
    made.clear()
    assert "2 of 5 shards are there already" in run(pairs=500)
    assert [span.first for span in made] == [200, 300, 400]
    assert run.shards()[:2] == before
    at_once = Run(whole, tmp_path / "at once")
    at_once(pairs=500)
    assert at_once.files() == run.files()
    made.clear()
    run(pairs=200)
    assert made == []
    assert run.shards() == before
    assert len(read_manifest(run.synthetic)["sha256"]) == 2 + 2


def test_filling_classes_leaves_the_other_pairs_as_they_are(run: Run, made: list[Span]) -> None:
    run(pairs=100)
    before = run.shards()
    made.clear()
    run(pairs=200, fill=30)
    assert [span.first for span in made] == [100, FILLING, FILLING + 100]
    assert run.shards()[:1] == before
    filling = pq.read_table(pair_shards(run.synthetic)[2:])
    assert filling["class_id"].null_count == 0
    counts = filling["class_id"].value_counts().to_pylist()
    assert {count["values"] for count in counts} == {0, 1, 2, 3}
    assert all(count["counts"] <= 30 for count in counts)


@pytest.mark.parametrize("change", ["parameter", "code", "damage", "foreign", "network"])
def test_shards_of_another_making_are_never_kept(
    change: str,
    run: Run,
    made: list[Span],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(pairs=200)
    before = run.shards()
    made.clear()
    if change == "parameter":
        run.set(margin=0.3)
    elif change == "code":
        monkeypatch.setattr(origin, "code", lambda _: {"pairsynth/synthesis.py": "another"})
    elif change == "damage":
        path = pair_shards(run.synthetic)[0]
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif change == "foreign":
        (run.synthetic / "mine.txt").write_text("not of this set")
    else:
        shutil.copytree(whole, tmp_path / "data")
        with (tmp_path / "data/pictures/refused.csv").open("a") as file:
            file.write("more")
        run.words[:6] = [str(tmp_path / "data" / name) for name in NAMES]
    assert "already" not in run()
    assert len(made) == 2
    assert (run.shards() == before) == (change in ("damage", "foreign"))


def test_a_damaged_part_is_made_again(run: Run, made: list[Span], tmp_path: Path) -> None:
    run("--first", "0", "--count", "3", pairs=250)
    parts = sorted(next((tmp_path / "resume/synthesize").iterdir()).glob("*"))
    assert len(parts) == 9
    for path in parts[1], parts[4]:  # of a shard its pairs, of another what it refused
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
    parts[6].unlink()
    made.clear()
    run()
    assert len(made) == 3
    read_manifest(run.synthetic)


# ---------------------------------------------------------------- nearly all refused


def test_a_filter_that_refuses_nearly_all_stops_the_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = Thresholds(values={**NONE.values, "flat image": 300.0})
    monkeypatch.setattr(shard_making, "calibrate", lambda *_: strict)
    monkeypatch.setattr(shard_making, "ENOUGH_TO_TELL", 100)
    run.set(pairs=250, filters=True)
    result = CliRunner().invoke(stage.app, [*run.words, "--workers", "1"])
    assert result.exit_code == 2
    assert "of 100 pairs from number 0 on, 100 have no candidate" in result.stderr
    assert "(200 flat image); train train_gan" in result.stderr
    assert not run.synthetic.exists()


# ---------------------------------------------------------------- really killed


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PAIRSYNTH_RESUME_DIR": str(folder / "resume")}


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    """Killed at random moments after its first shard and after its third, in two processes."""
    chance = random.Random(5)
    wanted, run = Run(whole, tmp_path / "undisturbed"), Run(whole, tmp_path / "killed")
    code = (
        "from pairsynth import dataset; dataset.PAIRS_PER_SHARD = 100;"
        "from stages.synthesize import app; app()"
    )
    for one in (wanted, run):
        one.set(pairs=700)
    words = [sys.executable, "-c", code, *run.words, "--workers", "2"]
    parts = run.folder / "resume"
    for least in (1, 3):
        process = subprocess.Popen(words, cwd=ROOT, env=environment(run.folder))
        end = time.monotonic() + 900
        while len(list(parts.rglob("*.json"))) < least and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not run.synthetic.exists()
    done = subprocess.run(
        words, cwd=ROOT, env=environment(run.folder), capture_output=True, text=True, check=True
    )
    assert "of 7 shards are there already" in done.stderr
    whole_run = [sys.executable, "-c", code, *wanted.words, "--workers", "1"]
    subprocess.run(whole_run, cwd=ROOT, env=environment(wanted.folder), check=True)
    found = {name: one for name, one in run.files().items() if "resume" not in name}
    assert found == {k: v for k, v in wanted.files().items() if "resume" not in k}
    assert len(pair_shards(run.synthetic)) == 7


def test_two_runs_at_once_are_told_and_two_jobs_are_not(run: Run, tmp_path: Path) -> None:
    run.set(pairs=100)
    one = factory(Path(run.words[0]).parent)
    with resume.parts("synthesize", one.digest, alone=False):
        with resume.parts("synthesize", one.digest, alone=False):
            pass
        with (
            pytest.raises(InputError, match="another process is at this very work; wait for it"),
            resume.parts("synthesize", one.digest, alone=True),
        ):
            pass
    with resume.parts("synthesize", one.digest, alone=True) as folder:
        assert folder.exists()
    assert not folder.exists()


def test_a_shard_says_what_it_was_made_of(run: Run) -> None:
    run(pairs=250)
    told = [stored_facts(path) for path in pair_shards(run.synthetic)]
    assert [one["span"] for one in told] == [
        {"first": first, "count": count} for first, count in ((0, 100), (100, 100), (200, 50))
    ]
    assert len({one["digest"] for one in told}) == 1
    assert [json.dumps(one["facts"]) for one in told[1:]] == [json.dumps(told[0]["facts"])] * 2
    assert stored_facts(next((run.synthetic / "refused").iterdir())) == {}
    steps = list(itertools.pairwise(one["span"]["first"] for one in told))
    assert steps == [(0, 100), (100, 200)]
