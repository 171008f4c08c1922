"""What captions leave open about their images."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from pairsynth.examples import Embeddings, Examples
from pairsynth.left_open import left_open


def residuals(psi: NDArray[np.float64], groups: list[list[int]]) -> NDArray[np.float64]:
    """Each row of psi less the mean of its group, one after the other."""
    parts = [psi[rows] - psi[rows].mean(0) for rows in groups]
    return np.concatenate(parts)


def captions_of(examples: Examples) -> list[list[int]]:
    """The rows of psi of each image."""
    return [list(range(*ends)) for ends in itertools.pairwise(examples.first_caption.tolist())]


def test_psi_strays_as_captions_of_one_image_do(examples: Examples, embeddings: Embeddings) -> None:
    groups = captions_of(examples)
    left = residuals(embeddings.psi.double().numpy(), groups)
    values = np.linalg.svd(left, compute_uv=False) ** 2 / (len(left) - len(groups))
    every = left_open(examples, embeddings, 8, 1.0).directions.double().numpy()
    assert np.allclose(every @ every.T, left.T @ left / (len(left) - len(groups)), atol=1e-6)
    few = left_open(examples, embeddings, 2, 1.0).directions.double().numpy()
    assert np.allclose(np.sort((few**2).sum(0)), np.sort(values[:2]), atol=1e-6)
    assert np.allclose(left_open(examples, embeddings, 2, 0.5).directions, few / 2, atol=1e-6)
    many = left_open(examples, embeddings, 11, 1.0).directions
    assert torch.equal(many[:, 3:], left_open(examples, embeddings, 8, 1.0).directions)
    assert not many[:, :3].any()


def test_psi_strays_as_captions_of_one_class_do_where_each_image_has_one(
    examples: Examples, embeddings: Embeddings
) -> None:
    alone = replace(examples, captions=[captions[:1] for captions in examples.captions])
    psi = embeddings.psi[examples.first_caption[:-1]]
    ids = examples.class_ids.tolist()
    groups = [[i for i, own in enumerate(ids) if own == one] for one in sorted(set(ids))]
    left = residuals(psi.double().numpy(), groups)
    vectors = Embeddings(image=embeddings.image, psi=psi)
    every = left_open(alone, vectors, 8, 1.0).directions.double().numpy()
    assert np.allclose(every @ every.T, left.T @ left / (len(left) - len(groups)), atol=1e-6)
    unknown = left_open(
        replace(alone, class_ids=torch.full_like(alone.class_ids, -1)), vectors, 8, 1.0
    )
    assert not unknown.directions.any()
    assert unknown.share == pytest.approx(1, abs=1e-4)


def test_the_noise_of_an_image_is_what_it_has_beside_its_captions(
    examples: Examples, embeddings: Embeddings
) -> None:
    psi, images = (one.double().numpy() for one in (embeddings.psi, embeddings.image))
    told = np.stack([[1.0, *psi[rows].mean(0)] for rows in captions_of(examples)])
    left = images - told @ np.linalg.pinv(told) @ images
    inverse = np.linalg.inv(left.T @ left / len(left))
    found = left_open(examples, embeddings, 8, 1.0).noise.double().numpy()
    # Whitened: distances are Mahalanobis', and each number has deviation 1.
    assert np.allclose(found @ found.T, left @ inverse @ left.T, atol=1e-4)
    assert np.allclose(found.T @ found / len(found), np.eye(8), atol=1e-4)
    assert np.allclose(found.T @ told, 0, atol=1e-4)  # nothing that captions tell
    wide = left_open(examples, embeddings, 11, 1.0).noise
    assert not wide[:, :3].any()
    assert torch.allclose(wide[:, 3:].double(), torch.from_numpy(found), atol=1e-5)


def test_the_share_is_what_differences_among_captions_do_not_cover(
    examples: Examples, embeddings: Embeddings
) -> None:
    counts = examples.first_caption.diff()
    rng = torch.Generator().manual_seed(4)
    truth = F.normalize(torch.randn(len(examples), 8, generator=rng), dim=1)
    psi = truth.repeat_interleave(counts, 0)
    images = truth @ torch.randn(8, 8, generator=rng) + 0.3 * torch.randn(
        truth.shape, generator=rng
    )

    def share(vectors: torch.Tensor, seen: torch.Tensor, reach: float = 1.0) -> float:
        return left_open(examples, Embeddings(image=seen, psi=vectors), 8, reach).share

    assert share(psi, images) == pytest.approx(1, abs=1e-4)
    strayed = psi + 0.1 * torch.randn(psi.shape, generator=rng)
    left = 0.3**2 * (1 - 9 / 24)  # of 24 images a linear way with 9 numbers explains chance, too
    assert share(strayed, images) == pytest.approx(1 - 0.1**2 / left, abs=0.1)
    assert share(strayed, images, 0.5) == pytest.approx(1 - 0.05**2 / left, abs=0.05)
    assert share(psi, truth @ torch.ones(8, 8)) == pytest.approx(
        0, abs=1e-3
    )  # captions tell all there is
    assert share(psi + torch.randn(psi.shape, generator=rng), images) == 0
