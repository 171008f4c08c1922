"""What a generator draws while it learns: spreads, the alarm of collapse, the sheet."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pairsynth.collapse_monitor import CollapseMonitor, spread, verdict
from pairsynth.examples import Embeddings, Examples
from pairsynth.gan import Gan

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Told:
    caption_spread: float
    noise_spread: float = 0.3


class Drawing(nn.Module):
    """A generator that draws by a formula."""

    def __init__(self, draw: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, noise: Tensor, psi: Tensor) -> Tensor:
        return self.draw(noise, psi)


@pytest.fixture
def watch(examples: Examples, embeddings: Embeddings) -> CollapseMonitor:
    return CollapseMonitor(examples, embeddings, 32, 6, 1, CPU)


def flat(value: Tensor) -> Tensor:
    """Images (N, 3, 32, 32) of one grey each."""
    return value[:, None, None, None].expand(-1, 3, 32, 32)


def test_spread_by_hand() -> None:
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    distances = [
        float(np.sqrt(np.mean((a.numpy() - b.numpy()) ** 2))) for a, b in combinations(images, 2)
    ]
    assert spread(images) == pytest.approx(np.mean(distances), rel=1e-5)
    assert spread(images[:1]) == 0


def test_captions_and_noise_are_told_apart(watch: CollapseMonitor) -> None:
    over_captions, over_noise = watch(Drawing(lambda noise, psi: flat(noise[:, 0])), 1)
    assert over_captions == pytest.approx(0, abs=1e-6)
    assert over_noise > 0.1
    over_captions, over_noise = watch(Drawing(lambda noise, psi: flat(psi[:, 0])), 1)
    assert over_captions > 0.01
    assert over_noise == pytest.approx(0, abs=1e-6)
    assert watch(Drawing(lambda noise, psi: flat(noise[:, 0] * 0)), 1) == (0, 0)


def test_spreads_are_on_the_scale_of_the_real_one(
    watch: CollapseMonitor, examples: Examples, gan: Gan
) -> None:
    """Black beside white differs by 1, from a network's range of [-1, 1] as from pixels."""
    signs = torch.ones(64).view(8, 8)
    signs[::2] = -1
    over_captions, _ = watch(Drawing(lambda noise, psi: flat(signs.flatten())), 1)
    assert over_captions == pytest.approx(16 / 28)  # of 28 pairs of captions 16 differ
    assert 0.1 < watch.real_spread < 0.6
    assert watch(gan.generator, 1) == watch(gan.generator, 2)


def test_an_alarm_is_raised_once_where_images_cease_to_differ(
    watch: CollapseMonitor, capsys: pytest.CaptureFixture[str]
) -> None:
    real = watch.real_spread
    reports = [Told(share * real) for share in (0.1, 0.9, 0.2, 0.1, 0.8)]
    assert list(watch.alarmed(reports)) == reports
    told = capsys.readouterr().err
    assert told.count("warning: the generator has collapsed; lower train_gan.generator_lr") == 1
    assert f"differ by {0.2 * real:.3f} on average, real ones by {real:.3f}" in told
    list(watch.alarmed([Told(0.1 * real), Told(real)]))  # no network differs much at first
    assert capsys.readouterr().err == ""


def test_verdict() -> None:
    assert "warning: the generator has collapsed" in verdict(Told(0.04), 0.2)
    assert "warning: noise changes little" in verdict(Told(0.2, 0.01), 0.2)
    assert "warning" not in verdict(Told(0.2, 0.1), 0.2)


def test_the_sheet_has_a_row_for_epochs_twice_as_far_apart_each_time(
    watch: CollapseMonitor, gan: Gan, examples: Examples, embeddings: Embeddings
) -> None:
    for epoch in range(1, 12):
        watch(gan.generator, epoch)
    assert list(watch.rows) == [1, 2, 4, 8]
    assert all(row.shape == (8, 3, 32, 32) for row in watch.rows.values())
    assert all(row.dtype == torch.uint8 for row in watch.rows.values())
    five = watch.sheet(gan.generator, 11)
    resumed = CollapseMonitor(examples, embeddings, 32, 6, 1, CPU)
    resumed.load_state_dict(watch.state_dict())
    assert np.array_equal(np.asarray(resumed.sheet(gan.generator, 11)), np.asarray(five))
    assert list(watch.rows) == [1, 2, 4, 8]
    four = watch.sheet(gan.generator, 8)  # the last is one of those drawn
    one = CollapseMonitor(examples, embeddings, 32, 6, 1, CPU).sheet(gan.generator, 3)
    height = (five.height - one.height) / 4
    assert four.height - one.height == pytest.approx(3 * height, abs=2)
