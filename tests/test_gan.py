"""Networks and losses of text to image: by hand where a hand can compute, by shape elsewhere."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pairsynth.errors import InputError
from pairsynth.examples import Examples
from pairsynth.gan import (
    OBJECTIVES,
    Enlarge,
    Gan,
    ScaledLeakyReLU,
    Unfold,
    gan_cls_discriminator_loss,
    gan_cls_generator_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    load_gan,
    phi_of,
)
from pairsynth.image_files import SIZES
from pairsynth.images import to_network

CPU = torch.device("cpu")
ZEROS = torch.zeros(3)


def build(objective: str, size: int = 32) -> Gan:
    torch.manual_seed(0)
    return Gan.build(
        objective,
        size=size,
        dimension=8,
        noise=6,
        generator_channels=4,
        discriminator_channels=4,
        made_from={"encoder": "of psi"},
    ).to(CPU)


def inputs(count: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, 6), nn.functional.normalize(torch.randn(count, 8), dim=1)


def test_spread_is_the_transposed_convolution_that_it_is_named_after() -> None:
    torch.manual_seed(0)
    spread = Unfold(6, 5, 4, bias=False).to(memory_format=torch.channels_last)
    plain = nn.ConvTranspose2d(6, 5, 4, bias=False)
    plain.load_state_dict(spread.state_dict())
    seed = torch.randn(3, 6, 1, 1)
    assert torch.allclose(spread(seed), plain(seed), atol=1e-6)
    spread(seed).square().sum().backward()
    plain(seed).square().sum().backward()
    assert spread.weight.grad is not None
    assert plain.weight.grad is not None
    assert torch.allclose(spread.weight.grad, plain.weight.grad, atol=1e-5)


# ---------------------------------------------------------------- losses


def test_enlarging_is_repeating_pixels_and_convolving() -> None:
    torch.manual_seed(1)
    maps, layer = torch.randn(2, 5, 4, 6, dtype=torch.double), Enlarge(5, 3).double()
    repeated = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)
    wanted = nn.functional.conv2d(repeated, layer.weight, padding=1)
    found = layer(maps)
    assert torch.allclose(found, wanted, atol=1e-12)
    towards = torch.randn_like(wanted)
    slopes = [torch.autograd.grad(one, layer.weight, towards)[0] for one in (found, wanted)]
    assert torch.allclose(slopes[0], slopes[1], atol=1e-12)


def test_gan_cls_knows_nothing_at_zero_logits() -> None:
    loss = gan_cls_discriminator_loss(ZEROS, ZEROS, ZEROS)
    assert loss.item() == pytest.approx(2 * math.log(2))
    assert gan_cls_generator_loss(ZEROS).item() == pytest.approx(math.log(2))


def test_gan_cls_by_hand() -> None:
    real, wrong, fake = [1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]

    def log_d(logit: float) -> float:
        return math.log(1 / (1 + math.exp(-logit)))

    def log_not_d(logit: float) -> float:
        return math.log(1 - 1 / (1 + math.exp(-logit)))

    wanted = sum(
        -log_d(r) - (log_not_d(w) + log_not_d(f)) / 2
        for r, w, f in zip(real, wrong, fake, strict=True)
    )
    loss = gan_cls_discriminator_loss(*(torch.tensor(t) for t in (real, wrong, fake)))
    assert loss.item() == pytest.approx(wanted / 2, rel=1e-6)
    generator_loss = gan_cls_generator_loss(torch.tensor(fake)).item()
    assert generator_loss == pytest.approx(-(log_d(-1.0) + log_d(0.25)) / 2, rel=1e-6)


def test_gan_cls_stays_finite_where_sigmoid_saturates() -> None:
    far = torch.tensor([1e4])
    assert gan_cls_discriminator_loss(-far, far, far).item() == pytest.approx(2e4)
    assert gan_cls_generator_loss(-far).item() == pytest.approx(1e4)


def test_hinge_by_hand() -> None:
    assert hinge_discriminator_loss(ZEROS, ZEROS, ZEROS).item() == 2
    assert hinge_generator_loss(ZEROS).item() == 0
    real = torch.tensor([2.0, 0.5, -1.0])  # 0, 0.5, 2
    wrong = torch.tensor([-2.0, 0.0, 1.0])  # 0, 1, 2
    fake = torch.tensor([-1.0, -0.5, 3.0])  # 0, 0.5, 4
    wanted = 2.5 / 3 + (3 / 3 + 4.5 / 3) / 2
    assert hinge_discriminator_loss(real, wrong, fake).item() == pytest.approx(wanted)
    assert hinge_generator_loss(fake).item() == pytest.approx(-0.5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_losses_push_scores_the_right_way(objective: str) -> None:
    real, wrong, fake = (torch.full((4,), 0.1, requires_grad=True) for _ in range(3))
    OBJECTIVES[objective].discriminator_loss(real, wrong, fake).backward()
    assert real.grad is not None
    assert wrong.grad is not None
    assert fake.grad is not None
    assert bool((real.grad < 0).all())
    assert bool((wrong.grad > 0).all())
    assert bool((fake.grad > 0).all())
    assert torch.allclose(wrong.grad, fake.grad)
    own = torch.full((4,), 0.1, requires_grad=True)
    OBJECTIVES[objective].generator_loss(own).backward()
    assert own.grad is not None
    assert bool((own.grad < 0).all())


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_shapes(objective: str, size: int) -> None:
    gan = build(objective, size).eval()
    noise, psi = inputs(2)
    images = gan.generator(noise, psi)
    assert images.shape == (2, 3, size, size)
    assert bool((images.abs() <= 1).all())
    phi = gan.discriminator.phi(images)
    assert phi.shape == (2, gan.discriminator.phi_channels, 4, 4)
    assert gan.discriminator.score(phi, psi).shape == (2,)
    assert (gan.size, gan.noise) == (size, 6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_row_never_depends_on_its_batch(objective: str) -> None:
    gan = build(objective)
    noise, psi = inputs(5)
    gan.generator(noise, psi)  # running statistics that are not those of the start
    gan.eval()
    images = gan.generator(noise, psi)
    alone = torch.cat([gan.generator(noise[i : i + 1], psi[i : i + 1]) for i in range(5)])
    assert torch.allclose(images, alone, atol=1e-5)
    phi = gan.discriminator.phi(images)
    scores = gan.discriminator.score(phi, psi)
    for i in range(5):
        own = gan.discriminator.phi(images[i : i + 1])
        assert torch.allclose(own[0], phi[i], atol=1e-5)
        assert torch.allclose(gan.discriminator.score(own, psi[i : i + 1])[0], scores[i], atol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_inference_leaves_the_weights_alone(objective: str) -> None:
    gan = build(objective).eval()
    before = {k: v.clone() for k, v in gan.discriminator.state_dict().items()}
    noise, psi = inputs(3)
    gan.discriminator.score(gan.discriminator.phi(gan.generator(noise, psi)), psi)
    after = gan.discriminator.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(p.requires_grad for p in gan.generator.parameters())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_psi_and_noise_both_reach_the_image_and_psi_the_score(objective: str) -> None:
    gan = build(objective)
    noise, psi = inputs(4)
    noise.requires_grad_()
    psi.requires_grad_()
    gan.generator(noise, psi).square().sum().backward()
    assert noise.grad is not None
    assert psi.grad is not None
    assert bool((noise.grad.abs().sum(1) > 0).all())
    assert bool((psi.grad.abs().sum(1) > 0).all())
    gan.eval()
    phi = gan.discriminator.phi(torch.randn(2, 3, 32, 32).clamp(-1, 1))
    with torch.no_grad():
        scores = [gan.discriminator.score(phi, psi[i : i + 2]) for i in (0, 2)]
    assert not torch.allclose(*scores)


def test_gan_cls_is_reeds_dcgan() -> None:
    gan = build("gan-cls", 64)
    kinds = [type(module) for module in gan.generator.modules()]
    assert kinds.count(Unfold) + kinds.count(nn.ConvTranspose2d) == 5  # 1, 4, 8, 16, 32, 64
    assert kinds.count(nn.BatchNorm2d) == 4
    assert nn.Conv2d not in kinds
    seen = [type(module) for module in gan.discriminator.modules()]
    assert seen.count(nn.Conv2d) == 6  # 64, 32, 16, 8, 4; the join; the score
    assert seen.count(nn.BatchNorm2d) == 4


def test_the_default_has_no_batch_norm_in_its_discriminator_and_unit_spectra() -> None:
    gan = build("hinge")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in gan.discriminator.modules())
    phi = torch.randn(2, gan.discriminator.phi_channels, 4, 4)
    for _ in range(30):
        gan.discriminator.phi(torch.randn(2, 3, 32, 32))
        gan.discriminator.score(phi, torch.randn(2, 8))
    convolutions = [m for m in gan.discriminator.modules() if isinstance(m, nn.Conv2d)]
    for convolution in convolutions:
        spectrum = torch.linalg.svdvals(convolution.weight.detach().flatten(1))
        assert spectrum[0].item() == pytest.approx(1, abs=0.05)


def test_joint_vectors_of_phi_have_unit_length_in_psis_space(gan: Gan) -> None:
    joint = gan.discriminator.joint(torch.randn(3, gan.discriminator.phi_channels, 4, 4))
    assert joint.shape == (3, 8)
    assert torch.allclose(joint.norm(dim=1), torch.ones(3), atol=1e-5)


# ---------------------------------------------------------------- phi and the checkpoint


def test_phi_of_images_is_the_trunk_of_their_middle(gan: Gan, examples: Examples) -> None:
    wide = nn.functional.pad(examples.pixels, (3, 3, 3, 3), value=255)
    phi = phi_of(gan, wide, CPU, batch=7)
    assert phi.shape == (24, gan.discriminator.phi_channels, 4, 4)
    assert phi.dtype == torch.float32
    wanted = gan.discriminator.phi(to_network(examples.pixels))
    assert torch.allclose(phi, wanted, atol=1e-5)
    assert torch.allclose(phi, phi_of(gan, examples.pixels, CPU), atol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_checkpoint_gives_identical_outputs(tmp_path: Path, objective: str) -> None:
    gan = build(objective)
    noise, psi = inputs(3)
    gan.discriminator.score(gan.discriminator.phi(gan.generator(noise, psi)), psi)
    gan.save(tmp_path / "gan.pt")
    gan.eval()
    loaded = load_gan(tmp_path / "gan.pt", CPU)
    assert loaded.options == gan.options
    assert loaded.options["made_from"] == {"encoder": "of psi"}
    images = gan.generator(noise, psi)
    assert torch.equal(loaded.generator(noise, psi), images)
    phi = gan.discriminator.phi(images)
    assert torch.equal(loaded.discriminator.phi(images), phi)
    assert torch.equal(loaded.discriminator.score(phi, psi), gan.discriminator.score(phi, psi))
    loaded.save(tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == (tmp_path / "gan.pt").read_bytes()


def test_another_checkpoint_is_no_gan(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gan.pt is missing; run: dvc repro train_gan"):
        load_gan(tmp_path / "gan.pt", CPU)


def test_a_rectifier_takes_nothing_of_the_mean_square() -> None:
    features = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    assert ScaledLeakyReLU(0.2)(features).square().mean().item() == pytest.approx(1.04, abs=0.02)


def test_text_of_unit_norm_does_not_outweigh_the_image() -> None:
    """psi joins as it is: what the join takes of it is no more than its norm at each place."""
    discriminator = build("hinge").discriminator.eval()
    seen: list[Tensor] = []
    discriminator.join[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    noise, psi = inputs(4)
    phi = discriminator.phi(build("hinge").generator(noise, psi))
    discriminator.score(phi, psi)
    text = seen[0][:, phi.shape[1] :]
    torch.testing.assert_close(text, psi[:, :, None, None].expand_as(text))
