"""An interrupted training goes on, and ends in the same bytes as one that was not."""

import functools
import importlib
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pairsynth import captioner_training, encoder_training, gan_training, resume, seeds
from pairsynth.artifacts import file_digest
from pairsynth.captioner_training import CaptionerConfig
from pairsynth.collapse_monitor import CollapseMonitor
from pairsynth.efficientnet import TEACHER, weights
from pairsynth.errors import InputError
from pairsynth.examples import Embeddings, Examples
from pairsynth.gan import Gan
from pairsynth.gan_training import GanConfig
from pairsynth.resume import Resume
from tests.options import ENCODER
from tests.test_efficientnet import other_weights, with_weights
from tests.workspace import ROOT, smoke_params

CPU = torch.device("cpu")

# Reports of an untrained network in training, and a function that saves it.
Training = tuple[Iterator[object], Callable[[Path], None]]
Start = Callable[[Resume], Training]


@pytest.fixture(
    params=[
        "embed",
        "train_gan",
        pytest.param("projected", marks=with_weights),
        "paper",
        "train_captioner",
    ]
)
def start(
    request: pytest.FixtureRequest,
    examples: Examples,
    val: Examples,
    embeddings: Embeddings,
    gan: Gan,
    gan_config: GanConfig,
    plain_config: GanConfig,
) -> Start:
    """Begins the same training of five epochs each time it is called."""

    def embed(kept: Resume) -> Training:
        config = replace(ENCODER, epochs=5)
        model = encoder_training.build(config, examples)
        seen = encoder_training.SeenImages(model, {"train": examples, "val": val}, CPU)
        return encoder_training.train(model, seen, config, 1, CPU, kept), model.save

    def train_gan(kept: Resume, config: GanConfig = gan_config) -> Training:
        config = replace(config, epochs=5)
        model = gan_training.build(config, examples, embeddings, "digest").to(CPU)
        watch = CollapseMonitor(examples, embeddings, 32, config.noise, 1, CPU)
        training = gan_training.train(model, examples, embeddings, config, 1, CPU, watch, kept)
        return training, model.save

    def train_captioner(kept: Resume) -> Training:
        config = CaptionerConfig(
            hidden=8, min_count=1, epochs=5, batch_size=10, learning_rate=0.003, weight_decay=0.01
        )
        model = captioner_training.build(config, examples, gan, "digest")
        training = captioner_training.train(model, gan, examples, val, config, 1, CPU, kept)
        return training, model.save

    def paper(kept: Resume) -> Training:
        return train_gan(kept, plain_config)

    def projected(kept: Resume) -> Training:
        return train_gan(kept, replace(gan_config, critic="projected"))

    acts: dict[str, Start] = {
        "projected": projected,
        "embed": embed,
        "train_gan": train_gan,
        "paper": paper,
        "train_captioner": train_captioner,
    }

    def begin(kept: Resume) -> Training:
        seeds.fix(1, "tests")
        return acts[request.param](kept)

    return begin


@pytest.mark.usefixtures("repeatable")
def test_training_goes_on_as_if_nothing_had_happened(
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(resume, "SHARE", float("inf"))
    training, save = start(resume.NEVER)
    wanted = list(training)
    save(tmp_path / "undisturbed")

    for epochs in (2, 3):  # interrupted twice
        training, _ = start(Resume("act", tmp_path))
        list(islice(training, epochs))
        torch.rand(7)
    kept = Resume("act", tmp_path)
    training, save = start(kept)
    found = list(training)
    save(tmp_path / "resumed")
    assert found == wanted
    assert kept.done == 3
    assert "act: going on after epoch 3 of an interrupted run\n" in capsys.readouterr().err
    assert file_digest(tmp_path / "resumed") == file_digest(tmp_path / "undisturbed")

    training, save = start(Resume("act", tmp_path))  # killed after the last epoch
    assert list(training) == wanted
    save(tmp_path / "again")
    assert file_digest(tmp_path / "again") == file_digest(tmp_path / "undisturbed")


@dataclass(frozen=True)
class Report:
    epoch: int


@pytest.mark.parametrize("cut", ["flip", "half", "empty"])
def test_a_damaged_state_is_noticed_and_training_starts_anew(
    tmp_path: Path, cut: str, capsys: pytest.CaptureFixture[str]
) -> None:
    network = torch.nn.Linear(3, 2)
    torch.nn.init.constant_(network.weight, 4.0)
    there = Resume("act", tmp_path)
    assert there.restore(Report, network) == []
    there.keep([Report(1), Report(2)])
    path = tmp_path / "state.pt"
    data = bytearray(path.read_bytes())
    place = data.index(torch.tensor(4.0).numpy().tobytes() * 6)
    data[place] ^= 1
    path.write_bytes(
        {"flip": bytes(data), "half": bytes(data[: len(data) // 2]), "empty": b""}[cut]
    )
    network = torch.nn.Linear(3, 2)
    before = network.weight.clone()
    assert Resume("act", tmp_path).restore(Report, network) == []
    assert torch.equal(network.weight, before)
    assert capsys.readouterr().err == f"act: {path} is damaged; training starts anew\n"


def test_what_is_made_once_is_found_beside_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[torch.Tensor] = []

    def make() -> dict[str, torch.Tensor]:
        made.append(torch.full((3,), float(len(made))))
        return {"seen": made[-1]}

    def once(folder: Path | None = tmp_path) -> float:
        return Resume("act", folder).once("seen", make)["seen"].mean().item()

    assert [once(), once()] == [0, 0]
    content = bytearray((tmp_path / "seen.pt").read_bytes())
    content[content.index(b"digest") + 20] ^= 1
    (tmp_path / "seen.pt").write_bytes(content)
    assert [once(), once()] == [1, 1]
    assert [once(None), once(None)] == [2, 3]
    Resume("act", tmp_path).discard()
    assert not tmp_path.exists()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resume, "save_checkpoint", full)
    assert [once(), once()] == [4, 5]
    assert "seen.pt is not kept ([Errno 28] No space left" in capsys.readouterr().err


def test_keeping_costs_no_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    written = []

    def save(*_: object) -> None:
        written.append(clock[0])
        clock[0] += 1

    monkeypatch.setattr(resume, "save_checkpoint", save)
    there = Resume("act", tmp_path)
    there.restore(Report, torch.nn.Linear(1, 1))
    for _ in range(200):
        there.keep([])
        clock[0] += 1
    assert written == [100, 151, 202, 253]  # a second each, at most one in fifty


def test_a_full_disk_stops_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def save(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resume, "save_checkpoint", save)
    there = Resume("act", tmp_path)
    there.restore(Report, torch.nn.Linear(1, 1))
    there.keep([])
    assert "act: the state is not kept ([Errno 28] No space" in capsys.readouterr().err


def test_the_state_is_kept_where_it_is_told_and_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "input").write_text("x")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    monkeypatch.delenv("PAIRSYNTH_RESUME_DIR", raising=False)
    there = resume.begin("embed", [tmp_path / "input"], seed=1)
    assert there.folder is not None
    assert there.folder.parent == tmp_path / "project/.resume/embed"
    monkeypatch.setenv("PAIRSYNTH_RESUME_DIR", str(tmp_path / "elsewhere"))
    other = resume.begin("embed", [tmp_path / "input"], seed=1)
    assert other.folder == tmp_path / "elsewhere/embed" / there.folder.name
    other.discard()
    assert not other.folder.exists()
    assert there.folder.exists()


def test_the_same_training_twice_at_once_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIRSYNTH_RESUME_DIR", str(tmp_path))
    resume.begin("embed", [], seed=1)
    resume.begin("embed", [], seed=2)
    with pytest.raises(
        InputError, match=r"^embed: another process is at this very training; wait for it or stop"
    ):
        resume.begin("embed", [], seed=1)


def test_a_folder_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PAIRSYNTH_RESUME_DIR", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"Not a directory; set PAIRSYNTH_RESUME_DIR"):
        resume.begin("embed", [], seed=1)


def test_the_fingerprint_covers_all_that_weights_depend_on(
    tmp_path: Path, gan_config: GanConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "one").write_text("1")

    def told(**changes: object) -> str:
        facts = {"options": gan_config, "seed": 1, "device": CPU} | changes
        return resume.fingerprint([data], **facts)

    found = [told()]
    assert told() == found[0]
    for key, value in asdict(gan_config).items():
        words = {"objective": "gan-cls", "critic": "projected" if value == "none" else "none"}
        changed: Any = words.get(key, value + 1 if isinstance(value, int) else 0.7)
        found.append(told(options=replace(gan_config, **{key: changed})))
    found += [told(seed=2), told(device=torch.device("cuda"))]
    (data / "one").write_text("2")
    found.append(told())
    (data / "one").rename(data / "two")
    found.append(told())
    monkeypatch.setattr(torch, "__version__", "0.1")
    found.append(told())
    code = tmp_path / "code.py"
    code.write_text("x = 1")
    monkeypatch.setattr(resume, "_sources", lambda: [code])
    found.append(told())
    code.write_text("x = 2")
    found.append(told())
    assert len(set(found)) == len(found)


def test_the_sources_are_those_a_process_has_loaded() -> None:
    code = "import stages.embed; from pairsynth import resume; print(*resume._sources(), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = {Path(line).name for line in done.stdout.splitlines()}
    assert {"embed.py", "encoder_training.py", "encoders.py", "resume.py", "text.py"} <= names
    assert not {"gan_training.py", "console.py"} & names


# ---------------------------------------------------------------- the real commands, really killed

WORDS = {
    "embed": "{data}/pictures {out}/encoder.pt {out}/embeddings {out}/a.json {out}/a.csv",
    "train_gan": "{data}/pictures {data}/embeddings {data}/encoder.pt {out}/gan.pt {out}/a.json "
    "{out}/a.csv {out}/samples.png {out}/progress.png",
    "train_captioner": "{data}/pictures {data}/gan.pt {out}/captioner.pt {out}/a.json {out}/a.csv",
}
# Long enough to be interrupted in the middle: more than a second.
EPOCHS = {"embed": 120, "train_gan": 60, "train_captioner": 120}
# How each is stopped, its exit code, and how stderr ends.
STOPS = {
    "embed": (signal.SIGKILL, -signal.SIGKILL, ""),
    "train_gan": (signal.SIGINT, 130, "interrupted\n"),
    "train_captioner": (signal.SIGTERM, 143, "terminated\n"),
}


class Command:
    """A stage's command with outputs and a resume folder of its own."""

    def __init__(self, data: Path, folder: Path, stage: str) -> None:
        self.out = folder
        folder.mkdir()
        params, yaml = smoke_params(folder), YAML()
        tree = yaml.load(params)
        tree[stage]["epochs"] = EPOCHS[stage]
        yaml.dump(tree, params)
        words = WORDS[stage].format(data=data, out=folder / "out").split()
        self.words = [sys.executable, "-m", f"stages.{stage}", *words]
        self.words += ["--params", str(params), "--device", "cpu"]

    def begin(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "PAIRSYNTH_RESUME_DIR": str(self.out / "resume")}
        return subprocess.Popen(
            self.words, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE
        )

    def interrupt(self, how: signal.Signals, chance: random.Random) -> tuple[int, str]:
        """Start it, wait until it has kept a state, and stop it a random moment later."""
        process = self.begin()
        end = time.monotonic() + 120
        while not list((self.out / "resume").rglob("state.pt")) and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(how)
        told = process.communicate()[1]
        return process.returncode, told

    def finish(self) -> str:
        process = self.begin()
        told = process.communicate()[1]
        assert process.returncode == 0, told
        return told

    def outputs(self) -> dict[str, str]:
        files = [path for path in (self.out / "out").rglob("*") if path.is_file()]
        return {str(path.relative_to(self.out)): file_digest(path) for path in files}


@pytest.mark.parametrize("stage", WORDS)
def test_a_killed_stage_ends_in_the_same_bytes(stage: str, whole: Path, tmp_path: Path) -> None:
    undisturbed = Command(whole, tmp_path / "undisturbed", stage)
    assert "going on" not in undisturbed.finish()
    wanted = undisturbed.outputs()
    assert len(wanted) >= 3
    assert not list((undisturbed.out / "resume").rglob("state.pt"))

    command = Command(whole, tmp_path / "interrupted", stage)
    how, wanted_code, ending = STOPS[stage]
    code, told = command.interrupt(how, random.Random(stage))
    assert code == wanted_code, told
    assert told.endswith(ending)
    assert "Traceback" not in told
    assert command.outputs() == {}
    assert "going on after epoch" in command.finish()
    assert command.outputs() == wanted


def test_another_learning_rate_is_another_training(whole: Path, tmp_path: Path) -> None:
    command = Command(whole, tmp_path / "a", "train_captioner")
    command.interrupt(signal.SIGKILL, random.Random(0))
    path = command.out / "params.yaml"
    text = path.read_text()
    changed = text.replace("learning_rate: 0.003", "learning_rate: 0.004")
    assert changed != text
    path.write_text(changed.replace(f"epochs: {EPOCHS['train_captioner']}", "epochs: 1"))
    assert "going on" not in command.finish()


# ---------------------------------------------------------------- stopped at each of its writes

WRITES = {
    "download": "{out}/pictures {out}/a.json",
    **WORDS,
    "fit_gmm": "{data}/pictures {data}/embeddings {data}/gan.pt {out}/gmm.npz {out}/a.json "
    "{out}/a.csv",
    "synthesize": "{data}/pictures {data}/embeddings {data}/encoder.pt {data}/gan.pt "
    "{data}/captioner.pt {data}/gmm.npz {out}/synthetic {out}/a.json",
    "evaluate": "{data}/pictures {data}/embeddings {data}/encoder.pt {data}/gan.pt "
    "{data}/captioner.pt {data}/synthetic {out}",
    "report": "{data} {data}/../metrics {out}/report.html {out}/curves.png",
}
# Small, and with a second epoch; but for these as in the profile `smoke`.
SMALL: dict[str, dict[str, object]] = {
    "embed": {"epochs": 2},
    "train_gan": {"epochs": 2},
    "train_captioner": {"epochs": 2},
    "synthesize": {"pairs": 8},
    "evaluate": {"captioned": 2, "pairs": 4, "cycled": 2, "turns": 1, "use_steps": 0},
}
LOOKING = {"embed": {"image_encoder": "imagenet"}, "train_gan": {"critic": "projected"}}


class Stopped(BaseException):
    """What stands for a kill between two writes."""


class Writes:
    """Counts the files and folders that get their final name, and stops before one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done, self.last = 0, math.inf
        for name in ("replace", "rename"):
            monkeypatch.setattr(os, name, functools.partial(self.move, getattr(os, name)))

    def move(self, work: Callable[..., None], *paths: object, **options: object) -> None:
        if self.done == self.last:
            raise Stopped
        self.done += 1
        work(*paths, **options)


class StageRunner:
    """A stage's command in this very process; each name has outputs and a state of its own."""

    def __init__(
        self,
        stage: str,
        data: Path,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        **changes: object,
    ) -> None:
        self.stage, self.data, self.folder = stage, data, folder
        self.monkeypatch, self.writes, self.told = monkeypatch, Writes(monkeypatch), ""
        params, yaml = smoke_params(folder), YAML()
        tree = yaml.load(params)
        for section, values in SMALL.items():
            tree[section] |= values
        if changes:
            tree[stage] |= changes
        yaml.dump(tree, params)

    def run(self, out: str, last: float = math.inf) -> int:
        """How many writes the command did; it is stopped before write number `last`."""
        self.monkeypatch.setenv("PAIRSYNTH_RESUME_DIR", str(self.folder / f"{out}-state"))
        words = WRITES[self.stage].format(data=self.data, out=self.folder / out).split()
        words += ["--params", str(self.folder / "params.yaml")]
        words += [] if self.stage == "download" else ["--device", "cpu"]
        words += ["--workers", "1"] if self.stage == "synthesize" else []
        self.writes.done, self.writes.last = 0, last
        try:
            app = importlib.import_module(f"stages.{self.stage}").app
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, result.output
            self.told = result.stderr
        except Stopped:
            assert self.writes.done == last
        return self.writes.done

    def outputs(self, out: str) -> dict[str, str]:
        """The digest of every file, by its name."""
        files = [path for path in (self.folder / out).rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder / out)): file_digest(path) for path in files}


@pytest.fixture
def always_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state after each epoch, and held by this very process; a shard of four pairs."""
    monkeypatch.setattr(resume, "SHARE", math.inf)
    monkeypatch.setattr(resume, "_lock", lambda folder, how: os.open(folder, os.O_RDONLY))
    monkeypatch.setattr("pairsynth.dataset.PAIRS_PER_SHARD", 4)


@pytest.mark.usefixtures("repeatable", "always_kept")
@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        *((stage, {}) for stage in (*WORDS, "synthesize")),
        *(pytest.param(stage, one, marks=with_weights) for stage, one in LOOKING.items()),
    ],
)
def test_a_stage_stopped_before_any_of_its_writes_ends_in_the_same_bytes(
    stage: str,
    changes: dict[str, str],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the first epoch, between epochs and shards, after the last, between the outputs."""
    runner = StageRunner(stage, whole, tmp_path, monkeypatch, **changes)
    total = runner.run("whole")
    wanted = runner.outputs("whole")
    states = 2 if stage in WORDS else 6  # of two epochs; or of two shards, three files each
    seen = changes == LOOKING["embed"]  # what ImageNet's eyes saw
    assert total >= len(WRITES[stage].split("{out}")) - 1 + states + seen
    for last in range(total):
        out = f"stopped-{last}"
        assert runner.run(out, last) == last
        runner.run(out)
        assert runner.outputs(out) == wanted, f"stopped before write {last} of {total}"


def check_stops(runner: StageRunner) -> None:
    """A stage that keeps no state: stopped before each write, time after time, then let alone."""
    total = runner.run("whole")
    wanted = runner.outputs("whole")
    assert total >= len(WRITES[runner.stage].split("{out}")) - 1
    for last in range(total):
        assert runner.run("stopped", last) == last
        assert runner.outputs("stopped").items() <= wanted.items()
    runner.run("stopped")
    assert runner.outputs("stopped") == wanted


@pytest.mark.usefixtures("repeatable")
@pytest.mark.parametrize("stage", ["download", "fit_gmm"])
def test_what_a_stopped_stage_left_is_whole_and_no_hindrance(
    stage: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_stops(StageRunner(stage, whole, tmp_path, monkeypatch))


@pytest.mark.usefixtures("repeatable")
@pytest.mark.parametrize("stage", ["evaluate", "report"])
def test_what_a_stopped_measuring_left_is_whole_and_no_hindrance(
    stage: str, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_stops(StageRunner(stage, checkout / "data", tmp_path, monkeypatch))


@with_weights
@pytest.mark.usefixtures("repeatable", "always_kept")
@pytest.mark.parametrize("stage", LOOKING)
def test_other_weights_to_look_through_are_another_training(
    stage: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of another release: a training goes on by the weights it began with, or anew."""
    runner = StageRunner(stage, whole, tmp_path, monkeypatch, **LOOKING[stage])
    last = runner.run("whole") - 1
    for out in ("same", "stopped"):
        runner.run(out, last)
    runner.run("same")
    assert "going on" in runner.told
    others = other_weights(tmp_path)
    monkeypatch.setattr("pairsynth.efficientnet.weights", lambda name: others)
    runner.run("stopped")
    assert "going on" not in runner.told
    name = {"embed": "encoder.pt", "train_gan": "gan.pt"}[stage]
    found = [torch.load(tmp_path / out / name)["options"] for out in ("whole", "stopped")]
    assert [one["made_from"]["lite0"] for one in found] == [
        file_digest(path) for path in (weights(TEACHER), others)
    ]
