"""Every command of the user's command line, run for real on tiny untrained networks."""

import copy
import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner, Result

from pairsynth import config, mixture, profile, strips
from pairsynth.artifacts import file_digest
from pairsynth.checkpoints import save_checkpoint
from pairsynth.cli import app
from pairsynth.encoders import JointEncoder
from pairsynth.errors import InputError
from pairsynth.gan import Gan
from pairsynth.mixture import Mixture
from tests.options import SECTIONS

PARAMS = Path(__file__).parents[1] / "params.yaml"


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
    """Two images that are neither square nor of the networks' size."""
    Image.new("RGB", (90, 60), (210, 30, 40)).save("a photo.jpg")
    Image.new("RGBA", (50, 70), (40, 60, 220, 200)).save("other.png")
    return "a photo.jpg", "other.png"


def size_of(path: str) -> tuple[int, int]:
    """Width and height of the image at `path`."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.size


def rows_of(path: str) -> list[dict[str, Any]]:
    """What the lines of JSON in a file say."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


# ---------------------------------------------------------------- draw


@pytest.mark.usefixtures("data")
def test_draw_writes_one_sheet_and_tells_where() -> None:
    result = run("draw", "this flower is red", "--count", 9, "--enlarge", 2)
    assert result.stdout == "draw.png\n"
    assert result.stderr.startswith("running on ")
    assert notices(result) == ""
    assert size_of("draw.png") == (2 * (8 * 34 - 2), 2 * (2 * 34 - 2))


@pytest.mark.usefixtures("data")
def test_draw_gives_the_same_images_for_the_same_seed_whatever_the_count() -> None:
    for name, count, seed in (("one", 1, 0), ("five", 5, 0), ("other", 1, 1)):
        run("draw", "a red flower", "--count", count, "--seed", seed, "--output", f"{name}.png")
    one, five, other = (Image.open(f"{name}.png") for name in ("one", "five", "other"))
    assert one.tobytes() == five.crop((0, 0, *one.size)).tobytes()
    assert one.tobytes() != other.tobytes()


@pytest.mark.usefixtures("data")
def test_unknown_words_are_named_and_a_sentence_without_known_ones_is_refused() -> None:
    notice = notices(run("draw", "a red zebra, flower zebra"))
    assert notice == "notice: not known and not seen: zebra\n"
    told = refused("draw", "zebra, qux")
    assert "'zebra, qux': no word of it is known: zebra, qux; known are" in told
    assert "no word of it is known" in refused("draw", "")
    assert "only the first 46 words are read" in run("draw", "red " * 50).stderr


@pytest.mark.usefixtures("data")
def test_the_known_words_nearest_to_an_unknown_one_are_named_before_anything_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pairsynth.exploration.draw", lambda *_: pytest.fail("drawn"))
    error = refused("draw", "flowre whitte")
    assert "flowre (near it: flower), whitte (near it: white)" in error
    words = " ".join(f"qx{'z' * i}" for i in range(30))
    assert "and 10 more" in refused("draw", words)


@pytest.mark.usefixtures("data")
def test_sentences_come_as_arguments_as_a_file_and_on_stdin() -> None:
    Path("some.txt").write_text("\ufeffa red flower\n\n  a blue flower  \n", encoding="utf-8")
    run("draw", "some.txt", "--count", 2, "--output", "file.png")
    run("draw", "a red flower", "a blue flower", "--count", 2, "--output", "words.png")
    given = [str(one) for one in ("draw", "-", "--count", 2, "--output", "stdin.png")]
    result = CliRunner().invoke(app, given, input="a red flower\na blue flower\n")
    assert result.exit_code == 0, result.output
    sheets = [Path(f"{name}.png").read_bytes() for name in ("file", "words", "stdin")]
    assert sheets[0] == sheets[1] == sheets[2]
    assert size_of("file.png")[0] == 3 * (2 * 34 - 2)
    run("draw", "a red flower", "--count", 2, "--output", "one.png")
    with Image.open("file.png") as sheet, Image.open("one.png") as one:
        top = strips.LINE + 2 * strips.MARGIN
        assert sheet.crop((0, top, one.width, top + one.height)).tobytes() == one.tobytes()


@pytest.mark.usefixtures("data")
def test_a_folder_takes_every_image_by_itself_beside_its_sentence() -> None:
    blue = "a blue flower, ein Bl\u00fcmchen"
    Path("some.txt").write_text(f"a red flower\n{blue}\n", encoding="utf-8")
    run("draw", "some.txt", "--count", 2, "--output", "drawn/")
    lines = rows_of("drawn/metadata.jsonl")
    assert [line["caption"] for line in lines] == [*["a red flower"] * 2, *[blue] * 2]
    assert [size_of(f"drawn/{line['file_name']}") for line in lines] == [(32, 32)] * 4
    assert len({Path("drawn", line["file_name"]).read_bytes() for line in lines}) == 4
    assert "this folder holds other things" in refused("draw", "red", "--output", "drawn")


@pytest.mark.usefixtures("data")
def test_what_is_no_file_of_sentences_is_refused() -> None:
    Path("empty.txt").write_text(" \n\n")
    Path("latin.txt").write_bytes("une fleur f\u00e2n\u00e9e".encode("latin-1"))
    Path("bad.txt").write_text("a red flower\nqux\n")
    Path("many.txt").write_text("a red flower\n" * 101)
    assert "empty.txt: no sentence is in it; give one a line" in refused("draw", "empty.txt")
    assert "latin.txt: this is no UTF-8 text" in refused("draw", "latin.txt")
    assert "gone.txt: no such file" in refused("draw", "a red flower", "gone.txt")
    assert "bad.txt, line 2: no word of it is known: qux; known" in refused("draw", "bad.txt")
    assert "100 sentences at most, and these are 101; give a folder" in refused("draw", "many.txt")


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


def test_images_that_cannot_be_read_are_refused_by_name(photos: tuple[str, str]) -> None:
    cut = Path(photos[0]).read_bytes()[:300]
    Path("cut.jpg").write_bytes(cut)
    Path("empty.png").touch()
    Path("words.png").write_text("not an image")
    assert "cut.jpg: not a readable image" in refused("caption", photos[1], "cut.jpg")
    assert "empty.png: the file is empty" in refused("caption", "empty.png")
    assert "words.png: not a readable image" in refused("cycle", "words.png")
    assert "gone.png: no such file or folder" in refused("caption", "gone.png")
    assert "data: no image is there; give images" in refused("caption", "data")
    assert "*.bmp: no image is there" in refused("caption", "*.bmp")


@pytest.fixture
def album(photos: tuple[str, str]) -> Path:
    """A folder of both photos, one of them deeper, beside a damaged one and other things."""
    folder = Path("album")
    (folder / "deep" / ".hidden").mkdir(parents=True)
    shutil.move(photos[0], folder / "deep" / "a.JPG")
    shutil.move(photos[1], folder / "b.png")
    Image.new("RGB", (9, 9)).save(folder / "deep" / ".hidden" / "c.png")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    (folder / "words.txt").write_text("a red flower")
    return folder


def test_caption_takes_folders_and_globs_and_each_image_once(album: Path) -> None:
    result = run("caption", album, album / "b.png", "--count", 0)
    told = [line for line in result.stdout.splitlines() if not line.startswith("  ")]
    assert told == ["album/b.png", "album/deep/a.JPG"]
    assert "notice: left out: album/broken.png: not a readable image" in result.stderr
    globbed = run("caption", "album/**/*.JPG", "--count", 0).stdout.splitlines()
    assert globbed[0] == "album/deep/a.JPG"
    assert f"{album}/broken.png: not a readable" in refused("caption", album / "broken.png")
    shutil.rmtree(album / "deep")
    (album / "b.png").unlink()
    result = run("caption", album, code=2)
    assert "error: none of the 1 images can be read" in result.stderr


def test_captions_are_written_as_json_lines_and_as_csv(album: Path) -> None:
    told = run("caption", album, "--count", 2).stdout
    assert run("caption", album, "--count", 2, "--output", "new/c.jsonl").stdout == (
        "new/c.jsonl: 2 images\n"
    )
    run("caption", album, "--count", 2, "--output", "c.csv")
    rows = rows_of("new/c.jsonl")
    assert [row["file_name"] for row in rows] == ["album/b.png", "album/deep/a.JPG"]
    with Path("c.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    for row, line in zip(rows, table, strict=True):
        assert list(line) == ["file_name", "caption", "free_1", "free_2"]
        assert [line["caption"], line["free_1"], line["free_2"]] == [row["caption"], *row["free"]]
        assert f"  best  {row['caption']}\n  free  {row['free'][0]}\n" in told
    assert "ends in .jsonl or .csv" in refused("caption", album, "--output", "c.txt")


def test_chance_is_an_image_s_own_whatever_is_captioned_beside_it(album: Path) -> None:
    shutil.copy(album / "b.png", "same.png")
    lines = run("caption", "same.png", album, "--count", 4).stdout.splitlines()
    free = [line for line in lines if line.startswith("  free  ")]
    assert free[:4] == free[4:8], "the same pixels under another name"
    assert free[4:8] != free[8:]
    alone = run("caption", album / "deep" / "a.JPG", "--count", 4).stdout.splitlines()
    assert alone[2:] == free[8:]
    other = run("caption", album / "deep" / "a.JPG", "--count", 4, "--seed", 1).stdout.splitlines()
    assert other[2:] != free[8:]


# ---------------------------------------------------------------- blend and cycle


@pytest.mark.usefixtures("data")
def test_blend_of_sentences_is_a_labelled_strip() -> None:
    lines = run("blend", "the flower is red", "the flower is blue", "--steps", 3).stdout
    assert [line.split()[0] for line in lines.splitlines()[1:4]] == ["1.00", "0.50", "0.00"]
    width, height = size_of("blend.png")
    assert width == 6 * (3 * 34 - 2)
    assert height > 6 * 32


def test_blend_of_images_is_a_labelled_strip(photos: tuple[str, str]) -> None:
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


def test_blend_refuses_an_image_and_a_sentence(photos: tuple[str, str]) -> None:
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


def test_cycle_from_an_image_shows_the_image_first(photos: tuple[str, str]) -> None:
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
    width, height = size_of("components.png")
    assert width == 2 * (3 * 34 - 2)
    assert height > len(weights) * (2 * 32 + strips.LINE)
    with Image.open("components.png") as sheet:
        label = sheet.crop((0, 0, width, strips.LINE + 2 * strips.MARGIN))
    assert label.getextrema() == ((0, 255),) * 3, "each row says which component it is of"


# ---------------------------------------------------------------- help, and what is slow to load

COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
SLOW = {"torch", "pandas", "sklearn", "matplotlib", "scipy", "pyarrow", "transformers"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_are_right(name: str) -> None:
    _, *examples = COMMANDS[name].epilog.split("\n\n")
    assert examples
    for example in examples:
        assert example in run(name, "--help").stdout.replace("\n", " ")
        words = shlex.split(example.split(" | ")[-1].split(" && ")[0])
        assert words[:2] == ["pairsynth", name]
        COMMANDS[name].make_context(name, words[2:])


@pytest.mark.parametrize(
    "words",
    [
        *("--version", "--help", "draw --help", "caption -h", "profile --help", "profile"),
        *("profile smoke --params PARAMS", "profile no-such", "verify", "verify --data no-such"),
        *("draw red --count 0", "draw red --output x.jpg", "draw gone.txt", "draw red"),
        *("draw red --device quantum", "caption gone.png", "caption NOTES --output x.csv"),
        *("caption NOTES --output x.txt", "blend red gone.png", "blend red NOTES"),
        *("cycle gone.avif", "cycle red", "components --rows x", "components --output x"),
        *("look", "look --output x.html", "look --device gpu", "look --help"),
    ],
)
def test_help_and_refusals_load_nothing_that_is_slow(words: str, tmp_path: Path) -> None:
    shutil.copy(PARAMS, tmp_path)
    (tmp_path / "notes").write_text("no image")
    given = words.replace("PARAMS", "params.yaml").replace("NOTES", "notes").split()
    code = (
        f"import sys; from pairsynth.cli import app\nsys.argv[1:] = {given}\n"
        "try: app()\nfinally: print(*sorted({m.split('.')[0] for m in sys.modules}), "
        "file=open('loaded', 'w'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(PARAMS.parent)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True,
                          capture_output=True)  # fmt: skip
    told = ("--version", "--help", "-h", "smoke", "profile")
    assert done.returncode == (0 if given[-1] in (*told, "params.yaml") else 2), done.stderr
    assert not SLOW & set((tmp_path / "loaded").read_text().split())


@pytest.mark.usefixtures("data")
def test_arguments_are_checked_before_networks_load(
    photos: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairsynth.showing.load", lambda *_: pytest.fail("loaded"))
    Path("cut.png").write_bytes(Path(photos[1]).read_bytes()[:90])
    assert "--device gpu: no device is called so" in refused("draw", "red", "--device", "gpu")
    assert "cut.png: not a readable" in refused("cycle", "cut.png")
    assert "cut.png: not a readable" in refused("blend", photos[0], "cut.png")
    assert "cut.png: not a readable" in refused("caption", photos[0], "cut.png")


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
    asked = subprocess.check_output([sys.executable, "-m", "pairsynth", "--version"], text=True)
    assert asked.strip() == f"pairsynth {project['version']}"


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


@pytest.mark.parametrize(
    "told",
    [
        "stages: [a]",
        "stages: {a: 1}",
        "stages: {a: {outs: 1}}",
        "stages: {a: {outs: [{padh: data/gan.pt}]}}",
        "stages: {a: {outs: [{path: 1}]}}",
        "stages: {a: {outs: [{path: data/gan.pt}]",
    ],
)
def test_verify_tells_of_a_lock_that_dvc_did_not_write_so(data: Path, told: str) -> None:
    (data.parent / "dvc.lock").write_text(told)
    assert "dvc.lock" in refused("verify")


# ---------------------------------------------------------------- strips


def test_labels_are_wrapped_below_their_own_image() -> None:
    pixels = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    plain = strips.strip(pixels, ["", ""])
    one = strips.strip(pixels, ["short", ""])
    three = strips.strip(pixels, ["", "a long label that needs more than one line of the tile"])
    assert plain.size == (3 * (2 * 66 - 2), 3 * 64)
    assert one.height < three.height
    below = three.crop((0, plain.height, 3 * 66, three.height))
    assert below.getextrema() == ((255, 255),) * 3
    assert strips.strip(pixels, ["", ""], "heading").height == one.height
