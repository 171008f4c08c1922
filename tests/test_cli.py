"""Every command of the user's command line, run for real on tiny untrained networks."""

import copy
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from pairsynth import config, mixture, profile, strips
from pairsynth.artifacts import file_digest
from pairsynth.captioner_training import CaptionerConfig
from pairsynth.checkpoints import save_checkpoint
from pairsynth.cli import app
from pairsynth.encoder_training import EncoderConfig
from pairsynth.encoders import JointEncoder
from pairsynth.errors import InputError
from pairsynth.evaluation.context import EvaluationConfig
from pairsynth.gan import Gan
from pairsynth.gan_training import GanConfig
from pairsynth.latents import SynthesisConfig
from pairsynth.mixture import Mixture
from pairsynth.mixture_fitting import MixtureConfig
from pairsynth.sources.contract import DownloadConfig

PARAMS = Path(__file__).parents[1] / "params.yaml"
SECTIONS = {
    "download": DownloadConfig,
    "embed": EncoderConfig,
    "train_gan": GanConfig,
    "train_captioner": CaptionerConfig,
    "fit_gmm": MixtureConfig,
    "synthesize": SynthesisConfig,
    "evaluate": EvaluationConfig,
}


def run(*arguments: object, code: int = 0) -> Result:
    """Run `pairsynth ARGUMENTS`; its exit code must be `code`, and nothing else be raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def notices(result: Result) -> str:
    """stderr after its first line, where that one tells the processor."""
    first, _, rest = result.stderr.partition("\n")
    return rest if first.startswith("running on ") else result.stderr


def refused(*arguments: object) -> str:
    """The one line on stderr with which `pairsynth ARGUMENTS` exits with code 2."""
    result = run(*arguments, code=2)
    error = notices(result)
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "Traceback" not in result.output
    return error


@pytest.fixture
def data(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `whole` as ./data, where outputs go beside it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole, "data")
    return Path("data")


@pytest.fixture
def photos(data: Path) -> tuple[str, str]:
    """Two pictures that are neither square nor of the networks' size."""
    Image.new("RGB", (90, 60), (210, 30, 40)).save("a photo.jpg")
    Image.new("RGBA", (50, 70), (40, 60, 220, 200)).save("other.png")
    return "a photo.jpg", "other.png"


def size_of(path: str) -> tuple[int, int]:
    """Width and height of the picture at `path`."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return picture.size


# ---------------------------------------------------------------- draw


@pytest.mark.usefixtures("data")
def test_draw_writes_one_sheet_and_tells_where() -> None:
    result = run("draw", "this flower is red", "--count", 9, "--enlarge", 2)
    assert result.stdout == "draw.png\n"
    assert result.stderr.startswith("running on ")
    assert notices(result) == ""
    assert size_of("draw.png") == (2 * (8 * 34 - 2), 2 * (2 * 34 - 2))


@pytest.mark.usefixtures("data")
def test_draw_gives_the_same_pictures_for_the_same_seed_whatever_the_count() -> None:
    for name, count, seed in (("one", 1, 0), ("five", 5, 0), ("other", 1, 1)):
        run("draw", "a red flower", "--count", count, "--seed", seed, "--output", f"{name}.png")
    one, five, other = (Image.open(f"{name}.png") for name in ("one", "five", "other"))
    assert one.tobytes() == five.crop((0, 0, *one.size)).tobytes()
    assert one.tobytes() != other.tobytes()


@pytest.mark.usefixtures("data")
def test_unknown_words_are_named_and_a_sentence_without_known_ones_is_refused() -> None:
    notice = notices(run("draw", "a red zebra, flower zebra"))
    assert notice == "notice: not known and not seen: zebra\n"
    assert "'zebra, qux': no word of it is known; known are" in refused("draw", "zebra, qux")
    assert "no word of it is known" in refused("draw", "")
    assert "only the first 46 words are read" in run("draw", "red " * 50).stderr


@pytest.mark.usefixtures("data")
def test_outputs_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    Path("taken.png").mkdir()
    Path("file").touch()
    assert "ends in .png" in refused("draw", "red", "--output", "draw.jpg")
    assert "taken.png" in refused("draw", "red", "--output", "taken.png")
    assert "file" in refused("draw", "red", "--output", "file/draw.png")
    assert not list(tmp_path.glob(".*.tmp"))


# ---------------------------------------------------------------- missing or unmatched networks


@pytest.mark.parametrize(
    ("name", "stage"),
    [("encoder.pt", "embed"), ("gan.pt", "train_gan"), ("captioner.pt", "train_captioner")],
)
def test_a_missing_network_names_the_command_that_makes_it(
    data: Path, name: str, stage: str
) -> None:
    (data / name).unlink()
    assert f"data/{name} is missing; run: dvc repro {stage}\n" in refused("draw", "red")


def test_components_without_mixtures_or_with_those_of_other_networks(data: Path) -> None:
    source = {"encoder": file_digest(data / "encoder.pt"), "gan": "another"}
    mixture.save(data / "gmm.npz", mixture.load(data / "gmm.npz"), source)
    assert "data/gmm.npz was made from another gan; remake it: dvc repro" in refused("components")
    (data / "gmm.npz").unlink()
    assert "data/gmm.npz is missing; run: dvc repro fit_gmm" in refused("components")


# ---------------------------------------------------------------- caption


def test_caption_writes_the_best_and_freer_ones_for_each(photos: tuple[str, str]) -> None:
    lines = run("caption", *photos, "--count", 2).stdout.splitlines()
    assert [line.split("  ")[1] for line in lines if line.startswith("  ")] == [
        *("best", "free", "free"),
        *("best", "free", "free"),
    ]
    assert [line for line in lines if not line.startswith("  ")] == list(photos)
    assert "free" not in run("caption", photos[0], "--count", 0).stdout


def test_pictures_that_cannot_be_read_are_refused_by_name(photos: tuple[str, str]) -> None:
    cut = Path(photos[0]).read_bytes()[:300]
    Path("cut.jpg").write_bytes(cut)
    Path("empty.png").touch()
    Path("words.png").write_text("not a picture")
    assert "cut.jpg: not a readable picture" in refused("caption", photos[1], "cut.jpg")
    assert "empty.png: the file is empty" in refused("caption", "empty.png")
    assert "words.png: not a readable picture" in refused("cycle", "words.png")
    assert "gone.png: No such file" in refused("caption", "gone.png")
    assert "data: Is a directory" in refused("caption", "data")


# ---------------------------------------------------------------- blend and cycle


@pytest.mark.usefixtures("data")
def test_blend_of_sentences_is_a_labelled_strip() -> None:
    lines = run("blend", "the flower is red", "the flower is blue", "--steps", 3).stdout
    assert [line.split()[0] for line in lines.splitlines()[1:4]] == ["1.00", "0.50", "0.00"]
    width, height = size_of("blend.png")
    assert width == 6 * (3 * 34 - 2)
    assert height > 6 * 32


def test_blend_of_pictures_is_a_labelled_strip(photos: tuple[str, str]) -> None:
    lines = run("blend", *photos, "--steps", 2, "--output", "new/strip.png").stdout.splitlines()
    assert lines[-1] == "new/strip.png"
    assert size_of("new/strip.png")[0] == 6 * (2 * 34 - 2)


@pytest.mark.usefixtures("data")
def test_blend_starts_at_what_draw_draws_for_the_left_sentence() -> None:
    run("draw", "a red flower", "--count", 1, "--enlarge", 6)
    run("blend", "a red flower", "a blue flower", "--steps", 2)
    with Image.open("draw.png") as drawn, Image.open("blend.png") as strip:
        top = strips.LINE + 2 * strips.MARGIN
        assert strip.crop((0, top, 192, top + 192)).tobytes() == drawn.tobytes()


def test_blend_refuses_a_picture_and_a_sentence(photos: tuple[str, str]) -> None:
    assert "give two alike" in refused("blend", photos[0], "a red flower")
    assert "give two alike" in refused("blend", "a red flower", photos[0])
    assert "gone.jpeg: no such file" in refused("blend", photos[0], "gone.jpeg")
    for name in ("gone.JPG", "gone.avif", "gone.HEIC", "gone.jp2"):
        assert f"{name}: no such file" in refused("cycle", name)


@pytest.mark.usefixtures("data")
def test_cycle_from_a_sentence_tells_each_turn_and_its_cosine() -> None:
    lines = run("cycle", "a red flower " * 30, "--turns", 2).stdout.splitlines()
    assert "cosine of psi" in lines[0]
    assert [line.split()[0] for line in lines[1:3]] == ["1", "2"]
    assert all(-1 <= float(line.split()[1]) <= 1 for line in lines[1:3])
    assert size_of("cycle.png")[0] == 6 * (2 * 34 - 2)


def test_cycle_from_a_picture_shows_the_picture_first(photos: tuple[str, str]) -> None:
    assert "cosine of phi" in run("cycle", photos[0], "--turns", 2).stdout
    assert size_of("cycle.png")[0] == 6 * (3 * 34 - 2)
    with Image.open("cycle.png") as sheet:
        top = strips.LINE + 2 * strips.MARGIN
        photo = sheet.crop((0, top, 192, top + 192))
    middle = photo.getpixel((96, 96))
    assert middle == pytest.approx((210, 30, 40), abs=4)
    assert len(photo.getcolors() or []) == 1


# ---------------------------------------------------------------- components


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("over", ["psi", "phi"])
def test_components_draws_a_row_for_each(over: str, mixtures: dict[str, Mixture]) -> None:
    weights = sorted((f"{weight:.4f}" for weight in mixtures[over].weights), reverse=True)
    lines = run("components", "--over", over, "--columns", 3).stdout.splitlines()
    assert [line.split()[2] for line in lines[1:-1]] == weights
    assert size_of("components.png") == (2 * (3 * 34 - 2), 2 * (len(weights) * 34 - 2))


# ---------------------------------------------------------------- profile


def test_profile_lists_the_profiles() -> None:
    lines = run("profile").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        *("oxford102-cpu", "oxford102-gpu", "paper", "smoke")
    ]
    assert "Oxford-102 flowers at 64 x 64" in lines[0]


@pytest.mark.parametrize("name", sorted(profile.profiles()))
def test_every_profile_applies_and_every_stage_can_read_the_result(
    name: str, tmp_path: Path
) -> None:
    params = tmp_path / "params.yaml"
    shutil.copy(PARAMS, params)
    run("profile", name, "--params", params)
    for section, kind in SECTIONS.items():
        config.load(kind, section, params)
    values, wanted = config.read(params), config.read(profile.FOLDER / f"{name}.yaml")
    for section, given in wanted.items():
        assert values[section] == {**values[section], **given}
    assert "0 values changed" in run("profile", name, "--params", params).stdout


def test_profile_changes_values_and_nothing_else(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    shutil.copy(PARAMS, params)
    told = run("profile", "paper", "--params", params).stdout
    assert "train_gan.objective: hinge -> gan-cls\n" in told
    before, after = PARAMS.read_text().splitlines(), params.read_text().splitlines()
    differ = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(differ) == told.count(" -> ")
    for old, new in zip(before, after, strict=True):
        assert old.partition("#")[2] == new.partition("#")[2]
        assert old.split(":")[0] == new.split(":")[0]


def test_profiles_that_do_not_fit_are_refused_and_change_nothing(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train_gan:\n  objective: 3  # no name\n")
    (tmp_path / "odd.yaml").write_text("# odd\ntrain_gan:\n  objective: hinge\n")
    (tmp_path / "new.yaml").write_text("# new\ntrain_gan:\n  depth: 3\n")
    with pytest.raises(InputError, match=r"train_gan.objective is 3, of another type"):
        profile.apply("odd", params, tmp_path)
    with pytest.raises(InputError, match=r"there is no train_gan.depth; restore it"):
        profile.apply("new", params, tmp_path)
    assert params.read_text() == "train_gan:\n  objective: 3  # no name\n"
    assert "there are oxford102-cpu" in refused("profile", "../smoke", "--params", params)
    assert "no such file" in refused("profile", "smoke", "--params", tmp_path / "gone.yaml")


# ---------------------------------------------------------------- verify


@pytest.mark.usefixtures("data")
def test_verify_finds_all_sound() -> None:
    lines = run("verify").stdout.splitlines()
    assert len(lines) == 8
    assert all(": sound, " in line for line in lines)


def test_verify_lists_what_is_not_there_yet(data: Path) -> None:
    (data / "gmm.npz").unlink()
    shutil.rmtree(data / "embeddings")
    told = run("verify").stdout
    assert "data/gmm.npz: not there yet; dvc repro fit_gmm makes it" in told
    assert "data/embeddings: not there yet; dvc repro embed makes it" in told
    assert told.count(": sound, ") == 6
    assert "gone: no such folder; run: dvc repro" in refused("verify", "--data", "gone")


def test_verify_says_of_a_folder_that_it_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    assert "holds nothing of ours; name the folder" in refused("verify", "--data", str(tmp_path))


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())[
        "project"
    ]
    assert run("--version").stdout.strip() == f"pairsynth {project['version']}"


@pytest.mark.parametrize(
    "name",
    [
        *("pictures/val-00000-of-00001.parquet", "embeddings/test-00000-of-00001.parquet"),
        *("synthetic/data/train-00000-of-00001.parquet", "encoder.pt", "gan.pt", "captioner.pt"),
        "gmm.npz",
    ],
)
def test_verify_finds_one_flipped_byte(data: Path, name: str) -> None:
    content = bytearray((data / name).read_bytes())
    content[len(content) // 3] ^= 0x10
    (data / name).write_bytes(content)
    error = refused("verify")
    # In a checkpoint's padding a bit changes nothing but what was made from the very file.
    assert f"data/{name}" in error or f"was made from another {Path(name).stem}" in error
    assert "1 damaged" in error


def test_verify_finds_missing_and_miscounted_shards(data: Path) -> None:
    (data / "pictures" / "test-00000-of-00001.parquet").unlink()
    manifest = data / "synthetic" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"pairs": 24', '"pairs": 25'))
    (data / "gmm.npz").write_bytes(b"")
    error = refused("verify")
    assert "3 damaged" in error
    assert "data/pictures/test-*.parquet is missing" in error
    assert "manifest.json is damaged: its digest does not match" in error


def test_verify_finds_parts_that_do_not_belong_together(data: Path, encoder: JointEncoder) -> None:
    other = copy.deepcopy(encoder)
    torch.nn.init.normal_(other.text.out.weight)
    other.options["made_from"] = torch.load(data / "encoder.pt")["options"]["made_from"]
    other.save(data / "encoder.pt")
    assert "data/embeddings was made from another encoder" in refused("verify")
    shutil.rmtree(data / "embeddings")
    assert "data/gan.pt was made from another encoder" in refused("verify")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("synthetic/README.md", lambda path: path.write_text("a card")),
        ("synthetic/README.md", lambda path: path.unlink()),
        ("synthetic/data/train-x.parquet", lambda path: path.write_bytes(b"PAR1")),
        ("synthetic/refused/x.parquet", lambda path: path.write_bytes(b"PAR1")),
    ],
)
def test_verify_finds_all_that_is_wrong_with_the_data_set(
    data: Path, name: str, damage: Callable[[Path], object]
) -> None:
    damage(data / name)
    error = refused("verify")
    assert Path(name).name in error
    assert "1 damaged" in error


def test_verify_survives_a_checkpoint_of_another_network(data: Path, gan: Gan) -> None:
    save_checkpoint(data / "gan.pt", "gan", {**gan.options, "noise": 7}, {"generator": {}})
    assert "data/gan.pt does not fit this version of pairsynth" in refused("verify")
    save_checkpoint(data / "gan.pt", "gan", {}, {"generator": {}})
    assert "does not fit this version of pairsynth (TypeError" in refused("verify")


# ---------------------------------------------------------------- strips


def test_labels_are_wrapped_below_their_own_picture() -> None:
    pixels = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    plain = strips.strip(pixels, ["", ""])
    one = strips.strip(pixels, ["short", ""])
    three = strips.strip(pixels, ["", "a long label that needs more than one line of the tile"])
    assert plain.size == (3 * (2 * 66 - 2), 3 * 64)
    assert one.height < three.height
    below = three.crop((0, plain.height, 3 * 66, three.height))
    assert below.getextrema() == ((255, 255),) * 3
    assert strips.strip(pixels, ["", ""], "heading").height == one.height
