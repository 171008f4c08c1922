"""The nearest of many images: what an index finds, beside what an exact search finds."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pairsynth.errors import InputError
from pairsynth.metrics import nearest
from pairsynth.metrics.nearest import Directions, Exact, Indexed, IndexedBits, Search, two_of
from pairsynth.metrics.novelty import hashes, thumbnails


@pytest.fixture(autouse=True)
def short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of forty vectors, of which four are looked through."""
    monkeypatch.setattr(nearest, "ROWS_PER_LIST", 40)
    monkeypatch.setattr(nearest, "LOOKED_THROUGH", 4)


@pytest.fixture(scope="module")
def many() -> torch.Tensor:
    """1200 images: smooth ones of many colours, each a little like some others."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(1200, 3, 3, 3, generator=rng)
    smooth = F.interpolate(coarse, 32, mode="bilinear")
    return (smooth * 255).to(torch.uint8)


@pytest.fixture(scope="module")
def others(many: torch.Tensor) -> torch.Tensor:
    """Twenty copies, as many mirror images, and a hundred that are near to two."""
    between = (3 * many[:100].int() + many[100:200].int()) // 4
    return torch.cat([many[:20], many[20:40].flip(3), between.to(torch.uint8)])


@pytest.mark.parametrize(("search", "view"), [(Indexed, thumbnails), (IndexedBits, hashes)])
def test_an_index_finds_what_an_exact_search_finds(
    search: type[Search], view: nearest.Features, many: torch.Tensor, others: torch.Tensor
) -> None:
    pytest.importorskip("faiss")
    index = search(view, many)  # type: ignore[call-arg]
    found, wanted = index.find(others), Exact(view, many).find(others)
    same = torch.isclose(found.distance, wanted.distance, atol=1e-6)
    assert float(same.float().mean()) > 0.95
    assert bool((found.distance >= wanted.distance - 1e-6).all())
    assert found.distance[:20].tolist() == [0.0] * 20
    assert torch.allclose(found.distance[20:40], torch.zeros(20), atol=1e-6)
    # The second nearest is missed more often; what is found in its place is never nearer, so that
    # an image is rather taken for a copy than let through.
    assert bool((found.ratio[same] <= wanted.ratio[same] + 1e-4).all())
    exact = torch.isclose(found.ratio[same], wanted.ratio[same], atol=1e-4)
    assert float(exact.float().mean()) > 0.7
    assert index.recall > 0.9


def test_recall_is_what_the_index_misses(
    many: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(nearest, "LOOKED_THROUGH", 30)
    all_lists = Indexed(thumbnails, many)
    assert all_lists.recall == 1
    monkeypatch.setattr(nearest, "LOOKED_THROUGH", 1)
    noise = torch.randint(256, many.shape, generator=torch.Generator().manual_seed(1))
    one_list = Indexed(thumbnails, noise.to(torch.uint8))
    assert one_list.recall < 1


def test_directions_beyond_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    rng = torch.Generator().manual_seed(0)
    references = F.normalize(torch.randn(600, 16, generator=rng), dim=1)
    queries = F.normalize(references[:50] + 0.1 * torch.randn(50, 16, generator=rng), dim=1)
    exact = Directions(references).find(queries)
    assert np.allclose(exact[0].numpy(), (queries @ references.T).amax(1).numpy(), atol=1e-6)
    monkeypatch.setattr(nearest, "EXACT", 500)
    found = Directions(references).find(queries)
    assert float((found[1] == exact[1]).float().mean()) > 0.95
    same = found[1] == exact[1]
    assert torch.allclose(found[0][same], exact[0][same], atol=1e-5)


def test_a_row_that_is_found_twice_is_one() -> None:
    distance = torch.tensor([[0.2, 0.1, 0.4, 0.1], [0.3, 0.3, 0.0, 0.0]])
    rows = torch.tensor([[7, 5, 9, 5], [1, 2, 3, 4]])
    found = two_of(distance, rows)
    assert found.row.tolist() == [5, 3]
    assert found.distance.tolist() == pytest.approx([0.1, 0])
    assert found.ratio.tolist() == pytest.approx([0.5, 1])


def test_without_faiss_it_is_said_what_to_install(
    many: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(InputError, match=r"more than 50,000 train .*; pip install 'pairsynth\[la"):
        Indexed(thumbnails, many)
