"""Independent random streams from the one seed, the same on all machines and versions."""

import hashlib

import numpy as np
import torch


def digest(seed: int, *names: str | int) -> int:
    """A 63-bit number that depends only on `seed` and the path of `names`."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for `names`: `stream(seed, "pair", 7)` is always the one of pair 7."""
    return np.random.default_rng(np.random.SeedSequence(digest(seed, *names)))


def torch_stream(
    seed: int, *names: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator for `names` on `device`.

    A GPU gives other numbers than a CPU; drawing there avoids copies.
    """
    return torch.Generator(device).manual_seed(digest(seed, *names))


def fix(seed: int, stage: str) -> None:
    """Make the rest of this process repeatable: torch's initial weights and its kernels."""
    torch.manual_seed(digest(seed, stage))
    # On a GPU a few sums have no repeatable form: those warn and run all the same.
    torch.set_deterministic_debug_mode("warn" if torch.cuda.is_available() else "error")
    # Filling fresh memory with NaN took 13 % of a training step; no code here reads such memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
