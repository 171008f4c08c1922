"""Which processor works, and in which precision."""

from pathlib import Path

import pytest
import torch

from pairsynth import devices
from pairsynth.errors import InputError

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
    assert f"running on {threads} CPU threads (torch." in capsys.readouterr().err


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


@pytest.mark.parametrize("fast", [True, False])
def test_precision_follows_the_processor(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    assert devices.precision(CPU) == (torch.bfloat16 if fast else torch.float32)
    with devices.autocast(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == devices.precision(CPU)


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
