"""What a training would take is known beforehand, and too little memory ends in one line."""

import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pairsynth import (
    captioner_training,
    config,
    encoder_training,
    gan_training,
    memory,
    mixture_fitting,
)
from pairsynth.captioner_training import CaptionerConfig
from pairsynth.encoder_training import EncoderConfig
from pairsynth.errors import InputError
from pairsynth.examples import Embeddings, Examples, read_examples
from pairsynth.gan import Gan
from pairsynth.gan_training import GanConfig
from pairsynth.memory import available, check_bytes, check_training
from pairsynth.mixture_fitting import MixtureConfig
from tests.options import ENCODER
from tests.workspace import ROOT, smoke_params

CAPTIONER = CaptionerConfig(
    hidden=8, min_count=1, epochs=1, batch_size=8, learning_rate=0.003, weight_decay=0.01
)


def linear(rows: int) -> int:
    """Bytes that are asked for to train one layer of 100 x 50 on `rows` rows."""
    asked: list[int] = []

    def ask(needed: int, what: str, mend: str) -> None:
        asked.append(needed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "check_bytes", ask)
        patch.setattr(torch.cuda, "is_available", lambda: False)
        check_training(
            "embed",
            "embed.hidden",
            lambda: nn.Linear(100, 50, bias=False),
            lambda layer: [layer],
            lambda layer: layer(torch.zeros(rows, 100, requires_grad=True)).tanh(),
        )
    assert asked[0] == 5 * 100 * 50 * 4
    return asked[1] - asked[0]


def test_what_a_step_keeps_is_counted_once() -> None:
    """The layer keeps its input, tanh its outcome; half of both, as bfloat16 has it."""
    assert linear(10) == (10 * 100 + 10 * 50) * 4 // 2
    assert linear(1000) == 100 * linear(10)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 3 MB, without a GPU."""
    monkeypatch.setattr(memory, "available", lambda: 3_000_000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize(
    ("config", "told"),
    [
        (replace(ENCODER, hidden=4096), r"embed: .* GB .*; lower embed.hidden"),
        (replace(ENCODER, channels=512), r"embed: .* GB .*; lower embed.hidden, .channels or"),
        (replace(ENCODER, hidden=96, batch_size=24), r"embed: .* GB .*; lower embed.batch_size"),
    ],
)
def test_an_encoder_too_large_is_refused(
    config: EncoderConfig, told: str, examples: Examples
) -> None:
    assert encoder_training.build(ENCODER, examples).size == 32
    with pytest.raises(InputError, match=rf"params.yaml: {told}"):
        encoder_training.build(config, examples)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"generator_channels": 512}, r"lower train_gan.generator_channels or"),
        ({"discriminator_channels": 512}, r"lower train_gan.generator_channels or"),
        (
            {"generator_channels": 16, "batch_size": 24},
            r"lower train_gan.batch_size, or train_gan.generator_channels",
        ),
    ],
)
def test_a_gan_too_large_is_refused(
    changes: dict[str, Any],
    told: str,
    gan_config: GanConfig,
    examples: Examples,
    embeddings: Embeddings,
) -> None:
    assert gan_training.build(replace(gan_config, batch_size=2), examples, embeddings, "x").noise
    with pytest.raises(InputError, match=rf"params.yaml: train_gan: .* GB .*; {told}"):
        gan_training.build(replace(gan_config, **changes), examples, embeddings, "x")


@pytest.mark.usefixtures("little")
def test_a_captioner_too_large_is_refused(examples: Examples, gan: Gan) -> None:
    assert captioner_training.build(replace(CAPTIONER, batch_size=1), examples, gan, "x").options
    with pytest.raises(InputError, match=r"train_captioner: .*; lower train_captioner.hidden"):
        captioner_training.build(replace(CAPTIONER, hidden=4096), examples, gan, "x")
    wide = replace(CAPTIONER, hidden=64, batch_size=65_536)
    with pytest.raises(InputError, match=r"lower train_captioner.batch_size, or"):
        captioner_training.build(wide, examples, gan, "x")


def test_on_a_gpu_only_the_weights_are_asked_for(
    examples: Examples, monkeypatch: pytest.MonkeyPatch, little: None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    encoder_training.build(replace(ENCODER, batch_size=24), examples)
    with pytest.raises(InputError, match=r"lower embed.hidden"):
        encoder_training.build(replace(ENCODER, hidden=4096), examples)


def test_mixtures_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(100, 20))
    monkeypatch.setattr(memory, "available", lambda: 10_000)
    config = MixtureConfig(
        psi_dimensions=8, phi_dimensions=8, max_components=4096, rows=1000, held_out=0.2
    )
    with pytest.raises(InputError, match=r"fit_gmm over psi: .*; lower fit_gmm.max_components"):
        mixture_fitting.fit("psi", vectors, 8, config, np.random.default_rng(0))


def test_images_too_many_are_refused(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pixels and one shard as it is stored must have room."""
    [shard] = (whole / "pictures").glob("val-*")
    needed = 24 * 3 * 32 * 32 + shard.stat().st_size
    monkeypatch.setattr(memory, "available", lambda: needed - 1)
    with pytest.raises(InputError, match=r"pictures: its 24 val images: .*image_size"):
        read_examples(whole / "pictures", "val")
    monkeypatch.setattr(memory, "available", lambda: needed)
    assert len(read_examples(whole / "pictures", "val")) == 24


@pytest.mark.parametrize(("told", "limit"), [("4096\n", 4096), ("max\n", None), (None, None)])
def test_a_control_group_counts(
    told: str | None, limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "memory.max")
    if told is not None:
        (tmp_path / "memory.max").write_text(told)
    assert available() == limit or (limit is None and available() > 2**28)
    check_bytes(available(), "all of it", "lower it")
    with pytest.raises(InputError, match=r"all of it: .* GB of memory are needed, and there are"):
        check_bytes(available() + 1, "all of it", "lower it")


# ---------------------------------------------------------------- a limit of the system's

LIMITED = """
import importlib, resource, sys
import nltk.grammar, numpy, torch  # what is loaded when it is needed, is loaded before
from pairsynth import config
numpy.linalg.svd(numpy.ones((300, 300)))  # OpenBLAS ends the process where it gets no room
check_all = config.check_all

def limit(path):
    check_all(path)  # the command line is read, all is loaded
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]),) * 2)

config.check_all = limit
torch.set_num_threads(1)
importlib.import_module(f"stages.{sys.argv[1]}").app(sys.argv[3:])
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells it")


def limited(
    stage: str, room: int, words: list[Path], params: Path
) -> subprocess.CompletedProcess[str]:
    given = [stage, str(room), *map(str, words), "--params", str(params)]
    return subprocess.run(
        [sys.executable, "-c", LIMITED, *given],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


STAGES: dict[str, str] = {
    "download": "",
    "embed": "pictures",
    "train_gan": "pictures embeddings encoder.pt",
    "train_captioner": "pictures gan.pt",
    "fit_gmm": "pictures embeddings gan.pt",
    "synthesize": "pictures embeddings encoder.pt gan.pt captioner.pt gmm.npz",
    "evaluate": "pictures embeddings encoder.pt gan.pt captioner.pt synthetic",
    "report": ". metrics",
}
OUTPUTS = {
    "download": 2,
    "embed": 4,
    "train_gan": 5,
    "train_captioner": 3,
    "fit_gmm": 3,
    "synthesize": 2,
    "evaluate": 1,
    "report": 2,
}


@needs_proc
@pytest.mark.parametrize("stage", STAGES)
def test_a_limit_on_memory_ends_in_one_line(
    stage: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 8 MB more than what is loaded nothing can be done, and nothing is called damaged.

    With less, the libraries below Python are killed where their stack cannot grow.
    """
    monkeypatch.setenv("PAIRSYNTH_RESUME_DIR", str(tmp_path / "resume"))
    words = [whole / name for name in STAGES[stage].split()]
    words += [tmp_path / f"made/{i}" for i in range(OUTPUTS[stage])]
    if stage == "download":
        words.reverse()
    done = limited(stage, 8_000_000, words, smoke_params(tmp_path))
    told = [line for line in done.stderr.splitlines() if not line.startswith("running on")]
    assert (done.returncode, len(told)) == (2, 1), done.stderr[-3000:]
    assert "memory" in told[0]
    assert "damaged" not in told[0]
    made = tmp_path / "made"
    assert not made.exists() or not [path for path in made.iterdir() if path.name.endswith("tmp")]


SIZES = [
    (section, key)
    for section, values in config.read(ROOT / "params.yaml").items()
    if isinstance(values, dict)
    for key, value in values.items()
    if type(value) is int and (section, key) != ("download", "image_size")
]


@pytest.mark.parametrize(("section", "key"), SIZES)
def test_every_size_has_an_upper_bound_that_is_told(section: str, key: str, tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    before, head, after = text.partition(f"{section}:\n")
    after = re.sub(rf"(?m)^  {key}: \S+", f"  {key}: 1000000000", after, count=1)
    (tmp_path / "params.yaml").write_text(before + head + after)
    with pytest.raises(
        InputError, match=rf"{section}.{key} is 1000000000; allowed is .* to [0-9,]+$"
    ):
        config.check_all(tmp_path / "params.yaml")


@needs_proc
@pytest.mark.parametrize("stage", ["download", "report"])
def test_no_memory_to_load_libraries_is_one_line(stage: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (500 << 20, 500 << 20)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr == "error: out of memory while libraries are loaded; free some\n"


def test_what_is_no_want_of_memory_keeps_its_traceback() -> None:
    code = "import stages; import nothing_of_that_name"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "nothing_of_that_name" in done.stderr
