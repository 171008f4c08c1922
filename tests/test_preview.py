"""A look at what download made: what it counts is what there is, its pace is of real trainings."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pairsynth import config, preview
from pairsynth.cli import app
from pairsynth.examples import Examples, read_examples
from pairsynth.text import tokenize
from tests.workspace import smoke_params

CPU = torch.device("cpu")


def write(path: Path, *rows: tuple[str, ...]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def project(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and what download leaves, as the current one."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole / "pictures", "data/pictures")
    write(Path("data/pictures/refused.csv"), ("item", "reason"))
    write(Path("data/pictures/survey.csv"), ("finding", "item", "what"))
    smoke_params(tmp_path)
    return tmp_path


def look(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["look", *words])
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


@pytest.mark.usefixtures("project")
def test_it_shows_images_and_counts_what_is_there() -> None:
    train = read_examples(Path("data/pictures"), "train")
    told = look("--no-time")
    assert told.startswith("look.png\n")
    classes = len(set(train.class_names))
    counted = f"24 images, {sum(map(len, train.captions))} captions, {classes} classes"
    assert f"train    {counted}\nval      {counted}\ntest     {counted}\n" in told
    words = {word for text in train.flat_captions for word in text.replace(",", "").split()}
    assert f"words    {len(words)} different" in told
    assert "refused  0\nodd      nothing: no near-duplicates" in told
    assert "estimate" not in told
    with Image.open("look.png") as sheet:
        assert sheet.format == "PNG"
        assert len(sheet.getcolors(1 << 24) or []) > 12
    first = Path("look.png").read_bytes()
    look("--no-time", "--output", "again.png")
    look("--no-time", "--output", "other.png", "--seed", "1")
    assert Path("again.png").read_bytes() == first != Path("other.png").read_bytes()


@pytest.mark.usefixtures("project")
def test_it_tells_what_was_refused_and_what_is_odd() -> None:
    write(
        Path("data/pictures/refused.csv"),
        ("item", "reason"),
        *((f"{i}.jpg", "the file is empty, says\nthe reader") for i in range(5)),
    )
    write(
        Path("data/pictures/survey.csv"),
        ("finding", "item", "what"),
        *(("12 images look the same as one of their split", f"a{i}", "like b") for i in range(9)),
    )
    told = look("--no-time")
    shown = [f"{i}.jpg: the file is empty, says the reader" for i in range(3)]
    assert f"refused  5, such as {'; '.join(shown)}\n" in told
    alike = "a0: like b; a1: like b; a2: like b"
    assert f"odd      12 images look the same as one of their split; such as {alike}\n" in told
    assert "nothing" not in told


@pytest.mark.usefixtures("project", "repeatable")
def test_the_time_is_told_of_each_training_and_of_all() -> None:
    told = look()
    rows = told[told.index("an estimate") :].splitlines()[1:]
    assert [row.split()[0] for row in rows] == [
        *("embed", "train_gan", "train_captioner", "the", "all:")
    ]
    assert [row.split()[-1] for row in rows[:3]] == ["images/s", "images/s", "words/s"]


def test_the_seconds_are_all_epochs_at_the_pace_measured(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock on which each second epoch takes two seconds; the amounts of work are by hand."""
    params = smoke_params(tmp_path)
    monkeypatch.setattr(preview, "SAMPLE", 12)
    ticks = iter(range(0, 99, 2))
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    found = {pace.stage: pace for pace in preview.paces(examples, params, 0, CPU)}
    epochs = {
        stage: config.read(params)[stage]["epochs"]
        for stage in ("embed", "train_gan", "train_captioner")
    }
    assert list(found) == list(epochs)
    for stage in ("embed", "train_gan"):
        assert found[stage].seconds * found[stage].rate == pytest.approx(24 * epochs[stage])
    read = found["train_captioner"]
    some = preview._some(examples)
    assert some.ids == [examples.ids[i] for i in (0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 23)]
    share = len(examples.flat_captions) / len(some.flat_captions)
    assert read.seconds == pytest.approx(2 * share * epochs["train_captioner"])
    words = sum(len(tokenize(caption)) + 1 for caption in examples.flat_captions)
    assert read.seconds * read.rate == pytest.approx(words * epochs["train_captioner"], rel=0.1)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2.0 min"), (7199, "120 min"), (7200, "2.0 h"),
     (172800, "2.0 days")],
)  # fmt: skip
def test_a_time_is_told_as_exactly_as_it_is_known(seconds: float, told: str) -> None:
    assert preview.lasting(seconds) == told


def test_without_images_or_parameters_it_says_what_to_do(project: Path) -> None:
    (project / "params.yaml").write_text("precision: half\n")
    assert "params.yaml: precision is 'half'; allowed are auto" in look(code=2)
    smoke_params(project)
    assert "ends in .png" in look("--output", "look.html", code=2)
    assert "--device gpu: no device is called so" in look("--device", "gpu", code=2)
    shutil.rmtree(project / "data")
    assert "data/pictures is missing; run: dvc repro download" in look(code=2)
