"""Which processor works, and in which precision."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from pairsynth import devices
from pairsynth.artifacts import file_digest
from pairsynth.config import Precision
from pairsynth.errors import InputError
from stages import embed
from tests.workspace import smoke_params

CPU = torch.device("cpu")


def test_auto_takes_what_there_is_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    device = devices.choose("auto")
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    out = capsys.readouterr().err
    assert out.startswith("running on ")
    assert out.count("\n") == 1


def test_the_cpu_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert devices.choose("cpu") == CPU
    threads = torch.get_num_threads()
    assert capsys.readouterr().err == f"running on {threads} CPU threads\n"
    devices.choose("cpu", Precision.float32)
    assert capsys.readouterr().err == f"running on {threads} CPU threads in float32\n"


@pytest.mark.parametrize("name", ["gpu", "", "cpu:x", "mps", "meta", "cuda:99"])
def test_a_device_that_is_not_here_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError) as told:
        devices.choose(name)
    message = str(told.value)
    assert message.startswith(f"--device {name}: ")
    assert message.endswith("; use auto, cpu or cuda")
    assert "\n" not in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_here_is_refused() -> None:
    with pytest.raises(InputError, match=r"--device cuda: .*use auto, cpu or cuda"):
        devices.choose("cuda")


def test_autocast_computes_in_the_precision_it_states() -> None:
    dtype = devices.precision(CPU)
    assert dtype in (torch.bfloat16, torch.float32)
    layer = torch.nn.Linear(4, 4)
    with devices.autocast(CPU):
        assert layer(torch.ones(1, 4)).dtype == dtype
    assert layer.weight.dtype == torch.float32
    assert layer(torch.ones(1, 4)).dtype == torch.float32


CPUINFO = """processor\t: 0
vendor_id\t: {vendor}
flags\t\t: fpu avx512f {flags}

processor\t: 1
vendor_id\t: {vendor}
flags\t\t: fpu avx512f {flags}
"""


@pytest.mark.parametrize(
    ("vendor", "flags", "fast"),
    [
        ("AuthenticAMD", "avx512_bf16", True),  # Zen 4
        ("AuthenticAMD", "avx512_vnni", False),
        ("GenuineIntel", "avx512_bf16", False),  # Cooper Lake, or AMX kept from a virtual machine
        ("GenuineIntel", "avx512_bf16 amx_bf16 amx_tile amx_int8", True),  # Sapphire Rapids
        ("GenuineIntel", "avx512_bf16 amx_tile amx_int8", False),
        ("GenuineIntel", "avx512_bf16_x amx_bf16x amx_tile", False),
        ("OtherVendor", "avx512_bf16", False),
    ],
)
def test_bfloat16_is_taken_where_it_is_known_to_be_fast(
    vendor: str, flags: str, fast: bool
) -> None:
    assert devices.is_bfloat16_fast(CPUINFO.format(vendor=vendor, flags=flags)) is fast


def test_a_processor_of_which_nothing_is_known_gets_float32() -> None:
    assert not devices.is_bfloat16_fast("")
    assert not devices.is_bfloat16_fast("processor : 0\nFeatures : fp asimd bf16\n")


@pytest.fixture
def other_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The file in which this machine's processor is told of, and what was asked for undone."""
    monkeypatch.setattr(devices, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(devices, "_asked", Precision.auto)
    devices._is_bfloat16_fast_here.cache_clear()
    yield tmp_path / "cpuinfo"
    devices._is_bfloat16_fast_here.cache_clear()


@pytest.mark.parametrize("fast", [True, False])
def test_precision_follows_the_processor(fast: bool, other_processor: Path) -> None:
    if fast:
        other_processor.write_text(CPUINFO.format(vendor="AuthenticAMD", flags="avx512_bf16"))
    assert devices.precision(CPU) == (torch.bfloat16 if fast else torch.float32)
    with devices.autocast(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == devices.precision(CPU)


@pytest.mark.parametrize("asked", [Precision.float32, Precision.bfloat16])
def test_the_precision_asked_for_is_the_one_of_all_that_follows(
    asked: Precision, capsys: pytest.CaptureFixture[str]
) -> None:
    devices.choose("cpu", asked)
    assert capsys.readouterr().err.endswith(f" in {asked}\n")
    with devices.autocast(CPU):
        assert devices.precision_name(CPU) == asked
        assert str((torch.ones(2, 2) @ torch.ones(2, 2)).dtype) == f"torch.{asked}"
    devices.choose("cpu")
    fast = devices.CPUINFO.exists() and devices.is_bfloat16_fast(devices.CPUINFO.read_text())
    assert devices.precision(CPU) == (torch.bfloat16 if fast else torch.float32)


@pytest.mark.usefixtures("repeatable")
def test_a_training_says_its_precision_and_another_one_gives_other_weights(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIRSYNTH_RESUME_DIR", str(tmp_path / "resume"))
    params = smoke_params(tmp_path)
    digests: list[str] = []
    for asked in ("float32", "bfloat16", "float32"):
        out = tmp_path / str(len(digests))
        out.mkdir()
        names = ("encoder.pt", "embeddings", "embed.json", "embed.csv")
        words = [str(whole / "pictures"), *(str(out / name) for name in names)]
        options = ["--params", str(params), "--device", "cpu", "--precision", asked]
        result = CliRunner().invoke(embed.app, [*words, *options])
        assert result.exit_code == 0, result.output
        assert f" in {asked}\n" in result.stderr
        assert json.loads((out / "embed.json").read_text())["precision"] == asked
        digests.append(file_digest(out / "encoder.pt"))
    assert digests[0] == digests[2]
    assert digests[0] != digests[1]
    params.write_text(params.read_text().replace("precision: auto", "precision: half"))
    result = CliRunner().invoke(embed.app, [*words, *options])
    assert result.exit_code == 2
    assert "params.yaml: precision is 'half'; allowed are auto, float32, bfloat16" in result.stderr


def test_torch_compile_without_a_compiler_is_refused_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"train_gan\.compile = true: .* install one, or set it"):
        devices.need_compiler("train_gan.compile")
    compiler = tmp_path / "clang++"
    compiler.touch(0o755)
    devices.need_compiler("train_gan.compile")
