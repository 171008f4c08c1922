"""f, g and their cycles, and three checkpoints that must belong together."""

from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from pairsynth.artifacts import file_digest
from pairsynth.captioner import Captioner
from pairsynth.decoding import decode_beam, decode_nucleus
from pairsynth.encoders import JointEncoder
from pairsynth.errors import InputError
from pairsynth.examples import Examples
from pairsynth.gan import Gan, phi_of
from pairsynth.mappings import FEW, Mappings, between, load_mappings

CPU = torch.device("cpu")


def noise(count: int) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(0))


def test_draw_and_phi_and_describe(mappings: Mappings, examples: Examples) -> None:
    psi = mappings.psi(["a red flower", "a blue flower"])
    pixels = mappings.draw(psi, noise(2))
    assert pixels.shape == (2, 3, 32, 32)
    assert pixels.dtype == torch.uint8
    phi = mappings.phi(examples.pixels)
    assert torch.allclose(phi, phi_of(mappings.gan, examples.pixels, CPU), atol=1e-5)
    assert mappings.describe(phi[:4]) == decode_beam(mappings.captioner, phi[:4])
    draws = torch.rand(4, 40, generator=torch.Generator().manual_seed(1))
    freely = decode_nucleus(mappings.captioner, phi[:4], draws)
    assert mappings.describe_freely(phi[:4], draws) == freely


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 3 * FEW - 1])
def test_few_drawn_at_once_are_all_drawn_at_once(mappings: Mappings, count: int) -> None:
    psi = F.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    with torch.no_grad():
        wanted = (mappings.gan.generator(noise(count), psi) + 1) * 127.5
    drawn = mappings.draw(psi, noise(count))
    assert len(drawn) == count
    assert torch.allclose(drawn.float(), wanted, atol=0.51)


def test_consistency_is_a_cosine_row_by_row(mappings: Mappings, examples: Examples) -> None:
    captions = [own[0] for own in examples.captions]
    scores = mappings.consistency(captions, examples.pixels)
    for i in (0, 7, 23):
        wanted = F.cosine_similarity(
            mappings.psi(captions[i : i + 1]),
            mappings.encoder.embed_images(examples.pixels[i : i + 1]),
        )
        assert scores[i].item() == pytest.approx(wanted.item(), abs=1e-5)


def test_an_image_cycle_goes_through_text_and_back(mappings: Mappings, four: Examples) -> None:
    turns = list(islice(mappings.image_cycle(four.pixels, noise(4)), 3))
    pixels = four.pixels
    for turn in turns:
        assert turn.captions == mappings.describe(mappings.phi(pixels))
        assert torch.equal(turn.pixels, mappings.draw(mappings.psi(turn.captions), noise(4)))
        assert torch.equal(turn.phi, mappings.phi(turn.pixels))
        pixels = turn.pixels


def test_a_text_cycle_goes_through_images_and_back(mappings: Mappings) -> None:
    captions = ["a red flower", "a small white flower"]
    for turn in islice(mappings.text_cycle(captions, noise(2)), 3):
        assert torch.equal(turn.pixels, mappings.draw(mappings.psi(captions), noise(2)))
        assert torch.equal(turn.phi, mappings.phi(turn.pixels))
        assert turn.captions == mappings.describe(turn.phi)
        captions = turn.captions


def test_between_ends_at_its_ends_and_stays_on_the_sphere() -> None:
    left, right = F.normalize(torch.randn(2, 5, 8), dim=2)
    assert torch.allclose(between(left, right, torch.tensor(1.0)), left, atol=1e-6)
    assert torch.allclose(between(left, right, torch.tensor(0.0)), right, atol=1e-6)
    middle = between(left, right, torch.tensor(0.5))
    assert torch.allclose(middle.norm(dim=1), torch.ones(5), atol=1e-6)
    assert torch.allclose((middle * left).sum(1), (middle * right).sum(1), atol=1e-6)


SOURCE = {"pictures": "digest of images"}


Three = tuple[Path, Path, Path]


def small_gan(made_from: dict[str, str]) -> Gan:
    return Gan.build(
        "hinge",
        size=32,
        dimension=8,
        noise=6,
        generator_channels=4,
        discriminator_channels=4,
        made_from=made_from,
    )


@pytest.fixture
def saved(tmp_path: Path, encoder: JointEncoder, captioner: Captioner) -> Three:
    """Three checkpoints that belong together."""
    paths = tmp_path / "encoder.pt", tmp_path / "gan.pt", tmp_path / "captioner.pt"
    JointEncoder(
        "word-gru", encoder.vocabulary, size=32, dimension=8, hidden=8, channels=4, made_from=SOURCE
    ).save(paths[0])
    gan = small_gan({**SOURCE, "encoder": file_digest(paths[0])})
    gan.save(paths[1])
    channels = gan.discriminator.phi_channels
    source = {**SOURCE, "gan": file_digest(paths[1])}
    reader = Captioner(captioner.vocabulary, channels, 8, source)
    reader.save(paths[2])
    return paths


def test_three_checkpoints_that_belong_together_are_loaded(saved: Three) -> None:
    mappings = load_mappings(*saved, CPU)
    assert mappings.gan.size == 32
    assert mappings.describe(mappings.phi(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)))


def test_a_gan_of_another_encoder_is_refused(saved: Three, encoder: JointEncoder) -> None:
    torch.manual_seed(99)
    other = JointEncoder(
        "word-gru", encoder.vocabulary, size=32, dimension=8, hidden=8, channels=4, made_from=SOURCE
    )
    other.save(saved[0])
    with pytest.raises(InputError, match=r"gan.pt was made from another encoder; .* train_gan"):
        load_mappings(*saved, CPU)


def test_a_captioner_of_another_gan_is_refused(saved: Three) -> None:
    source = {**SOURCE, "encoder": file_digest(saved[0])}
    small_gan(source).save(saved[1])
    with pytest.raises(InputError, match=r"captioner.pt was made from another gan; .* train_capt"):
        load_mappings(*saved, CPU)


def test_networks_of_other_images_are_refused(saved: Three) -> None:
    assert load_mappings(*saved, CPU, SOURCE["pictures"]).digests["gan"] == file_digest(saved[1])
    with pytest.raises(InputError, match=r"encoder.pt was made from another pictures; .* embed"):
        load_mappings(*saved, CPU, "of others")
    small_gan({"encoder": file_digest(saved[0])}).save(saved[1])
    with pytest.raises(InputError, match=r"gan.pt was made from another pictures; .* train_gan"):
        load_mappings(*saved, CPU)


@pytest.mark.parametrize("name", ["encoder.pt", "gan.pt", "captioner.pt"])
def test_a_missing_checkpoint_is_named(saved: Three, name: str) -> None:
    saved[0].with_name(name).unlink()
    with pytest.raises(InputError, match=rf"{name} is missing"):
        load_mappings(*saved, CPU)
