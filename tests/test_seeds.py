"""Independent streams of rng from the one seed."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from pairsynth import seeds


def test_the_digest_is_that_of_the_path() -> None:
    wanted = int(hashlib.sha256(b"1712/pair/7").hexdigest()[:16], 16) // 2
    assert seeds.digest(1712, "pair", 7) == wanted
    assert seeds.digest(1712, "pair", "7") == wanted
    assert 0 <= wanted < 2**63


def test_every_path_has_a_digest_of_its_own() -> None:
    paths = [(seed, *names) for seed in range(20) for names in ((), ("a",), ("a", 1), ("b", 1))]
    assert len({seeds.digest(*path) for path in paths}) == len(paths)


def test_a_stream_is_repeatable_and_stable_over_versions() -> None:
    one, again = seeds.stream(1, "pair", 3), seeds.stream(1, "pair", 3)
    assert np.array_equal(one.random(5), again.random(5))
    # PCG64 seeded through SeedSequence: NumPy promises these numbers for good.
    wanted = np.random.Generator(np.random.PCG64(seeds.digest(1, "pair", 3))).random(5)
    assert np.array_equal(seeds.stream(1, "pair", 3).random(5), wanted)


def test_streams_are_independent() -> None:
    rows = np.stack([seeds.stream(1, "pair", i).standard_normal(500) for i in range(20)])
    correlations = np.corrcoef(rows) - np.eye(20)
    assert np.abs(correlations).max() < 0.25
    first = np.array([seeds.stream(1, "pair", i).random() for i in range(500)])
    assert abs(first.mean() - 0.5) < 0.06


def test_torch_streams_too() -> None:
    one = torch.rand(5, generator=seeds.torch_stream(1, "embed"))
    assert torch.equal(one, torch.rand(5, generator=seeds.torch_stream(1, "embed")))
    assert not torch.equal(one, torch.rand(5, generator=seeds.torch_stream(2, "embed")))
    assert not torch.equal(one, torch.rand(5, generator=seeds.torch_stream(1, "train_gan")))
    assert seeds.torch_stream(1, "embed").device == torch.device("cpu")


def test_streams_are_the_same_in_every_process() -> None:
    code = "from pairsynth import seeds; print(seeds.digest(5, 'x'), seeds.stream(5, 'x').random())"
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "123", "PATH": ""},
    ).stdout
    assert told.split() == [str(seeds.digest(5, "x")), str(seeds.stream(5, "x").random())]


@pytest.mark.usefixtures("repeatable")
def test_fix_makes_weights_repeatable_and_kernels_deterministic() -> None:
    weights = []
    for stage in ("embed", "embed", "train_gan"):
        seeds.fix(3, stage)
        weights.append(torch.nn.Linear(4, 4).weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.are_deterministic_algorithms_enabled()
