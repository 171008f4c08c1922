"""Every path that a command is given, in turn made unusable: one line, exit status 2, no work."""

import errno
import importlib
import inspect
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from pairsynth import cli, whole_files
from pairsynth.errors import InputError
from pairsynth.whole_files import check_outputs
from tests.workspace import smoke_params

# Of each stage the outputs that are folders, and those that are files.
OUTPUTS: Mapping[str, tuple[str, str]] = {
    "download": ("examples", "metrics"),
    "embed": ("embeddings", "encoder metrics curve"),
    "train_gan": ("", "gan metrics curve samples progress"),
    "train_captioner": ("", "captioner metrics curve"),
    "fit_gmm": ("", "mixtures metrics tried"),
    "synthesize": ("synthetic", "metrics"),
    "evaluate": ("metrics", ""),
    "report": ("", "html sheet"),
}
NAMES = {
    "examples": "pictures",
    "mixtures": "gmm.npz",
    "encoder": "encoder.pt",
    "gan": "gan.pt",
    "captioner": "captioner.pt",
}
INPUTS = ("examples", "embeddings", "encoder", "gan", "captioner", "mixtures", "synthetic", "data")


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """States of training, and the locks on them, are each test's own."""
    monkeypatch.setenv("PAIRSYNTH_RESUME_DIR", str(tmp_path / "resume"))


def stage_paths(stage: str) -> list[str]:
    """The paths that a stage must be given, in order."""
    main = importlib.import_module(f"stages.{stage}").main
    given = inspect.signature(main).parameters.values()
    return [one.name for one in given if one.default is inspect.Parameter.empty]


def outputs(stage: str) -> list[str]:
    return " ".join(OUTPUTS[stage]).split()


def inputs(stage: str) -> list[str]:
    return [name for name in stage_paths(stage) if name not in outputs(stage)]


def refused(app: typer.Typer, words: list[str]) -> str:
    """The one line with which a command ends; its progress and notices left out."""
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2, f"{words}: {result.output} {result.exception!r}"
    lines = [one for one in result.stderr.splitlines() if not one.startswith("running on")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def under_a_file(place: Path) -> Path:
    (place / "plain").write_text("a file")
    return place / "plain" / "output"


def deep_under_a_file(place: Path) -> Path:
    return under_a_file(place) / "deep" / "down"


def of_the_other_kind(place: Path) -> Path:
    return place / "other"


def in_a_folder_that_takes_nothing(place: Path) -> Path:
    if os.geteuid() == 0:  # whom no mode keeps out
        return Path("/proc/output")
    (place / "closed").mkdir(mode=0o555)
    return place / "closed" / "output"


def of_too_long_a_name(place: Path) -> Path:
    return place / ("x" * 300)


UNUSABLE: list[Callable[[Path], Path]] = [
    under_a_file,
    deep_under_a_file,
    of_the_other_kind,
    in_a_folder_that_takes_nothing,
    of_too_long_a_name,
]


@pytest.mark.parametrize("unusable", UNUSABLE)
@pytest.mark.parametrize(
    ("stage", "output"), [(stage, output) for stage in OUTPUTS for output in outputs(stage)]
)
def test_a_stage_asks_for_its_outputs_before_it_looks_at_its_inputs(
    stage: str, output: str, unusable: Callable[[Path], Path], tmp_path: Path
) -> None:
    """The inputs are not there at all, and the line tells of the output."""
    params = smoke_params(tmp_path)
    target = unusable(tmp_path)
    if unusable is of_the_other_kind and output in OUTPUTS[stage][0]:
        target.write_text("a file where a folder should be")
    elif unusable is of_the_other_kind:
        target.mkdir()
    words = [str(tmp_path / "gone" / name) for name in stage_paths(stage)]
    words[stage_paths(stage).index(output)] = str(target)
    app = importlib.import_module(f"stages.{stage}").app
    said = refused(app, [*words, "--params", str(params)])
    # The metrics of evaluate are named one by one, in the folder that it is given.
    assert said.startswith(f"error: {target}{'/' if stage == 'evaluate' else ': '}")


@pytest.mark.parametrize("stage", [stage for stage in OUTPUTS if stage != "evaluate"])
def test_the_same_path_is_not_written_twice(stage: str, tmp_path: Path) -> None:
    words = [str(tmp_path / name) for name in stage_paths(stage)]
    words[-1] = words[-2]
    app = importlib.import_module(f"stages.{stage}").app
    said = refused(app, [*words, "--params", str(smoke_params(tmp_path))])
    assert "this path is given twice" in said or "this is no plain file" in said


def nothing(path: Path) -> None:
    pass


def words_for(path: Path) -> None:
    path.write_text("no artifact of ours\n")


def an_empty_folder(path: Path) -> None:
    path.mkdir()


def a_folder_of_words(path: Path) -> None:
    path.mkdir()
    for split in ("train", "val", "test"):
        (path / f"{split}-00000-of-00001.parquet").write_text("no table\n")
    (path / "manifest.json").write_text("[]")


HARM = [nothing, words_for, an_empty_folder, a_folder_of_words]


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize(
    ("stage", "name"), [(stage, name) for stage in OUTPUTS for name in inputs(stage)]
)
def test_an_input_that_is_none_of_ours_is_named(
    stage: str, name: str, harm: Callable[[Path], None], whole: Path, tmp_path: Path
) -> None:
    if (stage, name) == ("report", "metrics") and harm is not words_for:
        pytest.skip("the report tells what has not been measured yet")
    harmed = tmp_path / "harmed"
    harm(harmed)
    words = []
    for one in stage_paths(stage):
        given = whole / NAMES.get(one, one) if one != "data" else whole
        words.append(str(given if one in inputs(stage) else tmp_path / "made" / one))
    words[stage_paths(stage).index(name)] = str(harmed)
    app = importlib.import_module(f"stages.{stage}").app
    said = refused(app, [*words, "--params", str(smoke_params(tmp_path))])
    assert str(harmed) in said
    assert not [path for path in (tmp_path / "made").rglob("*") if path.is_file()]


COMMANDS = {
    "draw": ["draw", "a red flower"],
    "blend": ["blend", "a red flower", "a blue flower"],
    "cycle": ["cycle", "a red flower"],
    "components": ["components"],
}


@pytest.mark.parametrize("unusable", UNUSABLE)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_asks_for_its_output_before_it_reads_the_networks(
    command: str, unusable: Callable[[Path], Path], tmp_path: Path
) -> None:
    target = unusable(tmp_path).with_suffix(".png")
    if unusable is of_the_other_kind:
        target.mkdir()
    words = [*COMMANDS[command], "--output", str(target), "--data", str(tmp_path / "gone")]
    assert refused(cli.app, words).startswith(f"error: --output {target}: ")


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", ["encoder.pt", "gan.pt", "captioner.pt", "gmm.npz"])
def test_a_command_names_what_is_none_of_ours(
    name: str, harm: Callable[[Path], None], whole: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for file in whole.glob("*.*"):
        if file.is_file() and file.name != name:
            shutil.copy(file, data)
    harm(data / name)
    words = ["components", "--output", str(tmp_path / "x.png"), "--data", str(data)]
    assert str(data / name) in refused(cli.app, words)
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize(
    "words",
    [
        *(["caption"], ["blend", "a red flower"], ["cycle"], ["profile", "smoke", "--params"]),
        ["verify", "--data"],
    ],
    ids=" ".join,
)
def test_a_command_names_a_path_that_it_cannot_use(
    words: list[str], harm: Callable[[Path], None], whole: Path, tmp_path: Path
) -> None:
    if "verify" in words and harm in (an_empty_folder, a_folder_of_words):
        pytest.skip("nothing is there yet, and that is what it tells")
    harmed = tmp_path / "data" / "harmed.png"
    harmed.parent.mkdir()
    harm(harmed)
    data = [] if words[0] in ("profile", "verify") else ["--data", str(whole)]
    refused(cli.app, [*words, str(harmed), *data])


def test_a_folder_that_holds_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter").write_text("dear")
    with pytest.raises(InputError, match=r"home: this folder holds other things; give another"):
        check_outputs(folders=[tmp_path / "home"])
    (tmp_path / "home/train-00000-of-00001.parquet").write_text("ours")
    check_outputs(folders=[tmp_path / "home"])


def test_an_input_is_not_written_over(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a.png: this path is given twice"):
        check_outputs([tmp_path / "a.png"], files=[tmp_path / "x" / ".." / "a.png"])
    with pytest.raises(InputError, match=r"this is no name"):
        check_outputs(folders=[Path()])


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(InputError, match=r"/dev/null: this is no plain file"):
        check_outputs(files=[Path("/dev/null")])


def test_what_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "gan.pt").write_bytes(b"the last good copy")
    check_outputs(files=[tmp_path / "gan.pt", tmp_path / "new.csv"], folders=[tmp_path / "data"])
    assert [path.name for path in tmp_path.iterdir()] == ["gan.pt"]
    assert (tmp_path / "gan.pt").read_bytes() == b"the last good copy"


def test_a_read_only_disk_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(path: Path) -> Path:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(whole_files, "_temporary", read_only)
    with pytest.raises(InputError, match=r"gan.pt: Read-only file system; give another path"):
        check_outputs(files=[tmp_path / "gan.pt"])
