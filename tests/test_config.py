"""params.yaml: every section is its dataclass, and what is wrong is told with its place."""

import importlib
import itertools
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from ruamel.yaml import YAML

from pairsynth import config
from pairsynth.encoder_training import EncoderConfig
from pairsynth.errors import InputError
from pairsynth.gan_training import GanConfig
from pairsynth.latents import STRATEGIES, SynthesisConfig
from tests.options import SECTIONS

REPOSITORY = Path(__file__).parents[1]
KEYS = [(section, field.name) for section, kind in SECTIONS.items() for field in fields(kind)]
TREE = config.read(REPOSITORY / "params.yaml")


def write(path: Path, tree: Any) -> Path:
    with (path / "params.yaml").open("w") as file:
        YAML().dump(tree, file)
    return path / "params.yaml"


def changed(tmp_path: Path, section: str, /, **values: Any) -> Path:
    return write(tmp_path, {section: {**TREE[section], **values}})


def is_a(section: str, key: str, kind: type) -> bool:
    return bool(get_type_hints(SECTIONS[section])[key] is kind)


# ---------------------------------------------------------------- the repository's own file


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_has_the_fields_of_its_dataclass(section: str) -> None:
    assert list(TREE[section]) == [field.name for field in fields(SECTIONS[section])]
    options: Any = config.load(SECTIONS[section], section, REPOSITORY / "params.yaml")
    for field in fields(options):
        value = getattr(options, field.name)
        assert type(value) is get_type_hints(SECTIONS[section])[field.name]
        assert value == TREE[section][field.name]


@pytest.mark.parametrize("section", SECTIONS)
def test_each_field_has_its_line_of_documentation(section: str) -> None:
    told = SECTIONS[section].__doc__ or ""
    assert f"Section `{section}`" in told
    for field in fields(SECTIONS[section]):
        assert f"\n    {field.name}: " in told


def test_the_seed_of_the_repository() -> None:
    assert config.load_seed(REPOSITORY / "params.yaml") == TREE["seed"]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("section", SECTIONS)
def test_unknown_keys_are_refused_with_the_known_ones(tmp_path: Path, section: str) -> None:
    path = changed(tmp_path, section, batchsize=3)
    known = ", ".join(field.name for field in fields(SECTIONS[section]))
    with pytest.raises(InputError) as told:
        config.load(SECTIONS[section], section, path)
    wanted = f"{path}: {section}.batchsize is not a known parameter; known are {known}"
    assert str(told.value) == wanted


@pytest.mark.parametrize(("old", "new"), config.RENAMED.items())
def test_an_old_name_is_refused_with_the_new_one(tmp_path: Path, old: str, new: str) -> None:
    section = next(name for name, known in TREE.items() if isinstance(known, dict) and new in known)
    values = {old if key == new else key: value for key, value in TREE[section].items()}
    path = write(tmp_path, {**TREE, section: values})
    with pytest.raises(InputError, match=rf"{section}\.{old} is called {new} now; rename it"):
        config.load(SECTIONS[section], section, path)


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_missing_keys_are_refused(tmp_path: Path, section: str, key: str) -> None:
    tree = {**TREE, section: {k: v for k, v in TREE[section].items() if k != key}}
    with pytest.raises(InputError, match=rf"params.yaml: {section}\.{key} is missing"):
        config.load(SECTIONS[section], section, write(tmp_path, tree))


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_values_of_another_type_are_refused(tmp_path: Path, section: str, key: str) -> None:
    wanted = get_type_hints(SECTIONS[section])[key]
    for value in (None, True, "x", 2.5, [1]):
        if type(value) is wanted:
            continue
        path = changed(tmp_path, section, **{key: value})
        with pytest.raises(InputError) as told:
            config.load(SECTIONS[section], section, path)
        message = str(told.value)
        assert message.startswith(f"{path}: {section}.{key} is {value!r}, of type ")
        assert message.endswith(f"give a value of type {wanted.__name__}")


OUT_OF_RANGE = [
    *[("download", "image_size", value) for value in (0, 33, -64, 256)],
    ("download", "split", "both"),
    ("download", "broken", "ignore"),
    ("download", "garden_species", 5),
    ("download", "garden_images", 0),
    ("embed", "text_encoder", "bert"),
    *[("embed", k, 0) for k in ("dimension", "hidden", "channels", "min_count", "epochs")],
    ("embed", "batch_size", 1),
    ("embed", "learning_rate", 0.0),
    ("embed", "weight_decay", -0.1),
    ("train_gan", "objective", "wgan"),
    *[("train_gan", k, 0) for k in ("epochs", "noise", "generator_channels")],
    ("train_gan", "discriminator_channels", -3),
    ("train_gan", "batch_size", 1),
    ("train_gan", "generator_lr", 0.0),
    ("train_gan", "discriminator_lr", -1e-3),
    *[("train_gan", k, v) for k in ("beta1", "ema_decay", "translation") for v in (-0.1, 1.0)],
    ("train_gan", "cooldown", 1.5),
    ("train_gan", "psi_noise", -1.0),
    ("train_gan", "interpolation", -0.25),
    ("train_gan", "contrastive", -1.0),
    *[("train_captioner", k, 0) for k in ("hidden", "min_count", "epochs", "batch_size")],
    ("train_captioner", "learning_rate", -1.0),
    ("train_captioner", "weight_decay", -1.0),
    *[("fit_gmm", k, 0) for k in ("psi_dimensions", "phi_dimensions", "max_components")],
    ("fit_gmm", "rows", 3),
    ("fit_gmm", "held_out", 0.0),
    ("fit_gmm", "held_out", 1.0),
    ("synthesize", "pairs", -1),
    *[("synthesize", strategy, -0.1) for strategy in STRATEGIES],
    ("synthesize", "classes", "some"),
    ("synthesize", "margin", 0.6),
    ("synthesize", "margin", -0.1),
    ("synthesize", "candidates", 0),
    ("synthesize", "balance", 1.1),
    ("synthesize", "fill", -1),
    *[("evaluate", key, 1) for key in ("captioned", "pairs", "cycled")],
    *[("evaluate", key, 0) for key in ("turns", "judge_epochs")],
]


@pytest.mark.parametrize(("section", "key", "value"), OUT_OF_RANGE)
def test_values_out_of_range_are_refused_with_what_is_allowed(
    tmp_path: Path, section: str, key: str, value: Any
) -> None:
    path = changed(tmp_path, section, **{key: value})
    with pytest.raises(InputError) as told:
        config.load(SECTIONS[section], section, path)
    assert str(told.value).startswith(f"{path}: {section}.{key} is {value!r}; allowed is ")


FLOATS = [(section, key) for section, key in KEYS if is_a(section, key, float)]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("section", sorted({section for section, _ in FLOATS}))
def test_no_parameter_is_nan_or_endless(tmp_path: Path, section: str, number: float) -> None:
    taken = []
    for key in [key for owner, key in FLOATS if owner == section]:
        path = changed(tmp_path, section, **{key: number})
        assert f"{key}: .{number}" in path.read_text()
        try:
            config.load(SECTIONS[section], section, path)
        except InputError as error:
            assert f"{section}.{key} is {number}" in str(error)  # noqa: PT017
        else:
            taken.append(key)
    assert taken == []


def test_a_share_for_one_strategy_at_least(tmp_path: Path) -> None:
    none = dict.fromkeys(STRATEGIES, 0.0)
    with pytest.raises(InputError, match=r"synthesize.text_prototype .*one strategy at least"):
        config.load(SynthesisConfig, "synthesize", changed(tmp_path, "synthesize", **none))
    densities = {"text_prototype": 0.0, "image_prototype": 0.0, "fill": 5}
    with pytest.raises(InputError, match=r"synthesize.fill is 5; .* 0 without shares of prototyp"):
        config.load(SynthesisConfig, "synthesize", changed(tmp_path, "synthesize", **densities))


# ---------------------------------------------------------------- all of it at once


def test_the_parameters_of_the_repository_are_in_order() -> None:
    config.check_all(REPOSITORY / "params.yaml")


@pytest.mark.parametrize("section", SECTIONS)
def test_a_bad_parameter_of_any_section_is_refused_by_all(tmp_path: Path, section: str) -> None:
    key = next(key for owner, key in KEYS if owner == section)
    path = write(tmp_path, {**TREE, section: {**TREE[section], key: None}})
    with pytest.raises(InputError, match=rf"params.yaml: {section}\.{key} is None, of type"):
        config.check_all(path)


def test_the_sections_are_those_of_the_stages() -> None:
    for section, place in config.SECTIONS.items():
        module, name = place.split(":")
        assert getattr(importlib.import_module(module), name) is SECTIONS[section]
    assert list(config.SECTIONS) == list(SECTIONS)


@pytest.mark.parametrize("name", ["train_gam", "x" * 5000, 3, None])
def test_an_unknown_section_is_refused_with_the_known_ones(tmp_path: Path, name: Any) -> None:
    path = write(tmp_path, {**TREE, name: {"epochs": 3}})
    with pytest.raises(
        InputError, match="is not a known section; known are seed, precision, processes, download"
    ) as told:
        config.check_all(path)
    assert len(str(told.value)) < 500


def test_checking_others_makes_no_result_depend_on_their_code() -> None:
    """Neither by an import that dvc.yaml would have to name nor in a training's fingerprint."""
    code = (
        "import stages.embed; from pathlib import Path; from pairsynth import config, resume;"
        "before = resume._sources(); config.check_all(Path('params.yaml'));"
        "import sys; print('pairsynth.gan_training' in sys.modules, before == resume._sources())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout == "True True\n"


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize(("section", "key"), FLOATS)
def test_whole_numbers_are_read_as_float_where_one_is_wanted(
    tmp_path: Path, section: str, key: str
) -> None:
    number = 0 if key in ("beta1", "ema_decay", "translation", "cooldown", "margin") else 1
    if key == "held_out":
        return
    options: Any = config.load(
        SECTIONS[section], section, changed(tmp_path, section, **{key: number})
    )
    value = getattr(options, key)
    assert (type(value), value) == (float, float(number))


@pytest.mark.parametrize("word", ["1e-3", "1E-3", "0.001", ".001", "1.0e-3"])
def test_numbers_in_all_spellings_of_yaml_1_2(tmp_path: Path, word: str) -> None:
    path = changed(tmp_path, "embed", learning_rate=0.001)
    path.write_text(path.read_text().replace("learning_rate: 0.001", f"learning_rate: {word}", 1))
    assert word in path.read_text()
    assert config.load(EncoderConfig, "embed", path).learning_rate == 1e-3


def test_yes_and_no_are_words_as_in_yaml_1_2(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: 1\nswitch: no\n")
    assert config.read(tmp_path / "params.yaml")["switch"] == "no"


# ---------------------------------------------------------------- the file itself


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing.yaml: no such file"):
        config.load(GanConfig, "train_gan", tmp_path / "nothing.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        config.load(GanConfig, "train_gan", tmp_path)


@pytest.mark.parametrize("section", [None, [], 3])
def test_a_missing_section_is_told_with_those_there_are(tmp_path: Path, section: Any) -> None:
    path = write(tmp_path, {**TREE, "train_gan": section})
    with pytest.raises(InputError, match="there is no section 'train_gan'; it has download, embed"):
        config.load(GanConfig, "train_gan", path)


@pytest.mark.parametrize(
    "content", [b"a: [1", b"a: 1\na: 2", b"\xff\xfe\x00", b"a:\n\t- b", b"!!python/object:os.x {}"]
)
def test_what_is_no_yaml_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"params.yaml: "):
        config.load(GanConfig, "train_gan", path)


HOSTILE = {
    "a date that is none": "seed: 2024-99-99",
    "a number of 5,000 digits": "seed: " + "9" * 5000,
    "no number": "seed: !!int abc",
    "neither true nor false": "seed: !!bool maybe",
    "an anchor twice": "a: &x 1\nb: &x 2",
    "no float": "seed: !!float abc",
    "2,000 brackets": "seed: " + "[" * 2000 + "]" * 2000,
    "2,000 braces": "seed: " + "{a: " * 2000 + "}" * 2000,
    "a key twice": "seed: 1\nseed: 2",
    "a list as a key": "? [1, 2]\n: 3",
    "an alias to nothing": "seed: *nothing",
    "binary that is none": "seed: !!binary '?'",
    "a control character": "seed: \x07",
    "laughs": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in itertools.pairwise("abcdefghijk")
    )
    + "seed: *k",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_whatever_the_file_holds_is_refused_in_a_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"params.yaml: ") as told:
        config.load_seed(path)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 700


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("download", "garden_species", 10**20),
        ("download", "folder", "x" * 5000),
        ("download", "folder", "a\0b"),
        ("download", "mirror", "a\nb"),
        ("embed", "dimension", 10**9),
        ("embed", "epochs", 10**12),
        ("embed", "learning_rate", 10**400),
        ("train_gan", "generator_channels", 100_000),
        ("fit_gmm", "rows", 10**4000),
    ],
)
def test_no_size_is_without_bounds(tmp_path: Path, section: str, key: str, value: Any) -> None:
    path = write(tmp_path, {**TREE, section: {**TREE[section], key: value}})
    with pytest.raises(InputError, match=rf"params.yaml: {section}\.{key} is ") as told:
        config.check_all(path)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 500


@pytest.mark.parametrize("content", ["", "- a\n- b\n", "just words", "3"])
def test_what_has_no_sections_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(InputError, match="expected sections of parameters, found "):
        config.load(GanConfig, "train_gan", tmp_path / "params.yaml")


@pytest.mark.parametrize("seed", [-1, 1.5, "x", None, True, [1]])
def test_a_seed_that_is_no_whole_number_is_refused(tmp_path: Path, seed: Any) -> None:
    with pytest.raises(InputError, match=r"params.yaml: seed is .*; give a whole number"):
        config.load_seed(write(tmp_path, {**TREE, "seed": seed}))


def test_a_seed_that_the_datasets_column_cannot_hold_is_refused(tmp_path: Path) -> None:
    assert config.load_seed(write(tmp_path, {**TREE, "seed": 2**63 - 1})) == 2**63 - 1
    with pytest.raises(InputError, match="seed is"):
        config.load_seed(write(tmp_path, {**TREE, "seed": 2**63}))


@pytest.mark.parametrize("processes", [0, -1, 65, 1.5, "2; ls", None, True, [1]])
def test_a_number_of_processes_that_is_none_is_refused(tmp_path: Path, processes: Any) -> None:
    path = write(tmp_path, {**TREE, "processes": processes})
    with pytest.raises(InputError, match=r"params.yaml: processes is .*; give a whole number from"):
        config.check_all(path)
    assert config.load_processes(write(tmp_path, {**TREE, "processes": 64})) == 64


def test_a_missing_seed_is_refused(tmp_path: Path) -> None:
    tree = {key: value for key, value in TREE.items() if key != "seed"}
    with pytest.raises(InputError, match="seed is None"):
        config.load_seed(write(tmp_path, tree))
