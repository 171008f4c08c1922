"""The device to compute on, and its precision."""

import functools
import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import torch
import typer

from pairsynth.config import Precision
from pairsynth.errors import InputError

CPUINFO = Path("/proc/cpuinfo")
DTYPES = {Precision.float32: torch.float32, Precision.bfloat16: torch.bfloat16}

_asked = Precision.auto  # of this process; `choose` sets it


def choose(name: str, asked: Precision | None = None) -> torch.device:
    """The device called `name`; "auto" is the GPU where there is one and the CPU elsewhere.

    asked: the precision of all `autocast` in this process from now on; None: the fast one, which is
    then not printed, since callers that pass None compute in float32.

    Raises:
        InputError: for a name torch does not know or a device this machine lacks.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name}: {reason}; use auto, cpu or cuda") from error
    ask(asked or Precision.auto)
    what = f"{torch.get_num_threads()} CPU threads"
    if device.type != "cpu":
        what = torch.cuda.get_device_name(device)
    told = f" in {precision_name(device)}" if asked else ""
    typer.echo(f"running on {what}{told}", err=True)
    return device


def ask(precision: Precision) -> None:
    """Set the precision of all `autocast` in this process."""
    global _asked
    _asked = precision


def precision(device: torch.device) -> torch.dtype:
    """What `choose` was asked for, else bfloat16 where it is fast and float32 elsewhere."""
    if _asked is not Precision.auto:
        return DTYPES[_asked]
    if device.type == "cpu":
        fast = _is_bfloat16_fast_here()
    else:
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast else torch.float32


def precision_name(device: torch.device) -> str:
    """The name of `precision`, for messages and metrics."""
    return str(precision(device)).removeprefix("torch.")


def is_bfloat16_fast(cpuinfo: str) -> bool:
    """Whether a processor multiplies faster in bfloat16 than in float32.

    AMX has units for it, and AMD's AVX512-BF16 is up to twice as fast as float32. Intel's
    AVX512-BF16 without AMX was measured at half the speed of float32.
    cpuinfo: the content of /proc/cpuinfo on Linux.
    """
    lines = [line.partition(":") for line in cpuinfo.splitlines()]
    told = {key.strip(): value.strip() for key, _, value in reversed(lines)}  # of the first one
    flags = set(told.get("flags", "").split())
    is_amd = told.get("vendor_id") == "AuthenticAMD"
    return {"amx_tile", "amx_bf16"} <= flags or (is_amd and "avx512_bf16" in flags)


@functools.cache
def _is_bfloat16_fast_here() -> bool:
    return CPUINFO.exists() and is_bfloat16_fast(CPUINFO.read_text(errors="replace"))


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision inside the block; the weights stay float32."""
    dtype = precision(device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not torch.float32)


def need_compiler(key: str) -> None:
    """Check that torch.compile, which `key` of params.yaml asks for, finds a compiler for C++.

    Raises:
        InputError: where there is none.
    """
    named = (os.environ.get("CXX", "g++"), "clang++")
    if not any(shutil.which(name) for name in named):
        raise InputError(
            f"params.yaml: {key} = true: torch.compile needs a compiler for C++, and none of "
            f"{named} is here; install one, or set it to false"
        )
