"""Which processor works, and in which precision."""

import os
import shutil
from contextlib import AbstractContextManager

import torch
import typer

from pairsynth.errors import InputError


def choose(name: str) -> torch.device:
    """The device called `name`; "auto" is the GPU where there is one and the CPU elsewhere.

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
    if device.type == "cpu":
        typer.echo(
            f"running on {torch.get_num_threads()} CPU threads ({precision(device)})", err=True
        )
    else:
        typer.echo(
            f"running on {torch.cuda.get_device_name(device)} ({precision(device)})", err=True
        )
    return device


def precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, float32 elsewhere."""
    if device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported()
    else:
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast else torch.float32


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision for what runs inside; the weights stay float32."""
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
