"""psi and the joint vector: their loss against NumPy, their towers by their promises."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pairsynth.contrastive import contrastive_loss
from pairsynth.encoders import TEXT_ENCODERS, JointEncoder, load_encoder, untrained
from pairsynth.errors import InputError
from pairsynth.examples import Examples
from pairsynth.image_files import SIZES
from pairsynth.text import Vocabulary

CPU = torch.device("cpu")
CAPTIONS = [
    "a",
    "a red flower",
    "this flower is red, and it is large",
    "a flower with a great many small petals that are yellow inside, and white at the edge",
    "one two three four",
    "",
]


def build(text_encoder: str, captions: list[str], size: int = 32) -> JointEncoder:
    torch.manual_seed(0)
    vocabulary = Vocabulary.build(captions, TEXT_ENCODERS[text_encoder].unit)
    return JointEncoder(
        text_encoder, vocabulary, size=size, dimension=8, hidden=8, channels=4
    ).eval()


# ---------------------------------------------------------------- the loss


def slow_contrastive(
    left: np.ndarray, right: np.ndarray, class_ids: list[int], scale: float
) -> float:
    """Row by row, rows of the same known class left out of the sum."""
    total = 0.0
    for one, other in ((left, right), (right, left)):
        for i in range(len(one)):
            allowed = [
                j
                for j in range(len(one))
                if j == i or class_ids[j] != class_ids[i] or class_ids[i] < 0
            ]
            scores = [scale * float(one[i] @ other[j]) for j in allowed]
            total += np.log(np.sum(np.exp(scores))) - scale * float(one[i] @ other[i])
    return total / (2 * len(left))


@pytest.mark.parametrize(
    "class_ids", [[0, 1, 2, 3, 4], [0, 0, 1, 1, 2], [-1] * 5, [3, -1, 3, -1, 3], [7] * 5]
)
def test_contrastive_loss_against_numpy(class_ids: list[int]) -> None:
    left, right = F.normalize(
        torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)), dim=2
    )
    loss = contrastive_loss(left, right, torch.tensor(class_ids), torch.tensor(7.0))
    wanted = slow_contrastive(left.double().numpy(), right.double().numpy(), class_ids, 7.0)
    assert loss.item() == pytest.approx(wanted, abs=1e-5)


def test_further_captions_are_rivals_of_the_images_alone() -> None:
    left, right = torch.randn(3, 8), torch.randn(7, 8)
    class_ids = torch.tensor([4, 5, -1, 4, 6, -1, 5])
    loss = contrastive_loss(left, right, class_ids, 2.0).item()
    scores = (2 * left @ right.T).double().exp().numpy()
    # image -> captions that are not of its class, its own among them; caption -> all three images
    allowed = [[0, 1, 2, 4, 5, 6], [0, 1, 2, 3, 4, 5], range(7)]
    read = [np.log(scores[i, allowed[i]].sum() / scores[i, i]) for i in range(3)]
    shown = [np.log(scores[:, i].sum() / scores[i, i]) for i in range(3)]
    assert loss == pytest.approx((np.mean(read) + np.mean(shown)) / 2, abs=1e-5)


def test_contrastive_loss_by_hand() -> None:
    two = torch.eye(2)
    apart, scale = torch.tensor([0, 1]), torch.tensor(1.0)
    assert contrastive_loss(two, two, apart, scale).item() == pytest.approx(np.log(1 + np.exp(-1)))
    wrong = contrastive_loss(two, two.flip(0), apart, scale).item()
    assert wrong == pytest.approx(np.log(1 + np.exp(1)))
    assert contrastive_loss(two, two.flip(0), torch.tensor([5, 5]), scale).item() == 0


def test_captions_of_the_same_class_are_neither_drawn_near_nor_pushed_away() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(4, 8), torch.randn(4, 8, requires_grad=True)
    contrastive_loss(left[:1].repeat(4, 1), right, torch.tensor([0, 0, 0, 1]), torch.tensor(1.0))
    loss = contrastive_loss(left, right, torch.tensor([4, 4, 4, 4]), torch.tensor(5.0))
    loss.backward()
    assert right.grad is not None
    assert right.grad.tolist() == torch.zeros(4, 8).tolist()


# ---------------------------------------------------------------- the towers


@pytest.mark.parametrize("text_encoder", TEXT_ENCODERS)
def test_psi_has_unit_length_and_tells_captions_apart(text_encoder: str) -> None:
    psi = build(text_encoder, CAPTIONS).embed_captions(CAPTIONS)
    assert psi.shape == (6, 8)
    assert psi.dtype == torch.float32
    assert torch.allclose(psi.norm(dim=1), torch.ones(6), atol=1e-5)
    assert float(torch.pdist(psi).min()) > 1e-4


@pytest.mark.parametrize("text_encoder", TEXT_ENCODERS)
def test_psi_does_not_depend_on_the_batch(text_encoder: str) -> None:
    encoder = build(text_encoder, CAPTIONS)
    together = encoder.embed_captions(CAPTIONS)
    for batch in (1, 2, 5):
        assert torch.allclose(encoder.embed_captions(CAPTIONS, batch), together, atol=1e-5)
    backwards = encoder.embed_captions(CAPTIONS[::-1]).flip(0)
    assert torch.allclose(backwards, together, atol=1e-5)


@pytest.mark.parametrize("text_encoder", TEXT_ENCODERS)
def test_psi_depends_on_the_order_of_words(text_encoder: str) -> None:
    encoder = build(text_encoder, CAPTIONS)
    one, other = encoder.embed_captions(["a red flower", "flower a red"])
    assert not torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_joint_vectors_have_unit_length_at_every_size(size: int) -> None:
    encoder = build("word-gru", CAPTIONS, size)
    pixels = torch.randint(256, (3, 3, size, size)).to(torch.uint8)
    joint = encoder.embed_images(pixels)
    assert joint.shape == (3, 8)
    assert torch.allclose(joint.norm(dim=1), torch.ones(3), atol=1e-5)


def test_joint_vectors_do_not_depend_on_the_batch(
    encoder: JointEncoder, examples: Examples
) -> None:
    together = encoder.embed_images(examples.pixels)
    assert torch.allclose(encoder.embed_images(examples.pixels, 5), together, atol=1e-5)
    assert torch.allclose(encoder.embed_images(examples.pixels, 1), together, atol=1e-5)


@pytest.mark.parametrize("text_encoder", TEXT_ENCODERS)
def test_nothing_in_is_nothing_out(text_encoder: str) -> None:
    encoder = build(text_encoder, CAPTIONS)
    assert encoder.embed_captions([]).shape == (0, 8)
    assert encoder.embed_images(torch.empty(0, 3, 32, 32, dtype=torch.uint8)).shape == (0, 8)


@pytest.mark.parametrize("text_encoder", TEXT_ENCODERS)
def test_endless_and_unknown_captions_have_a_psi(text_encoder: str) -> None:
    encoder = build(text_encoder, CAPTIONS)
    odd = ["word " * 500, "ωωω", "zebra xylophone", "!!!"]
    psi = encoder.embed_captions(odd)
    assert bool(psi.isfinite().all())
    assert encoder.encode(odd).shape[1] <= encoder.text.length


# ---------------------------------------------------------------- the checkpoint


@pytest.mark.parametrize("text_encoder", TEXT_ENCODERS)
def test_a_checkpoint_gives_identical_vectors(
    tmp_path: Path, text_encoder: str, examples: Examples
) -> None:
    encoder = build(text_encoder, CAPTIONS)
    encoder.save(tmp_path / "encoder.pt")
    loaded = load_encoder(tmp_path / "encoder.pt", CPU)
    assert not loaded.training
    assert loaded.vocabulary == encoder.vocabulary
    assert torch.equal(loaded.embed_captions(CAPTIONS), encoder.embed_captions(CAPTIONS))
    pixels = examples.pixels
    assert torch.equal(loaded.embed_images(pixels), encoder.embed_images(pixels))
    loaded.save(tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == (tmp_path / "encoder.pt").read_bytes()


def test_another_kind_of_encoder_is_refused(tmp_path: Path, encoder: JointEncoder) -> None:
    encoder.save(tmp_path / "encoder.pt", "judge")
    with pytest.raises(InputError, match="holds a judge of format 2, not a encoder"):
        load_encoder(tmp_path / "encoder.pt", CPU)


def test_rebuilding_keeps_the_options(encoder: JointEncoder) -> None:
    options: dict[str, Any] = encoder.options
    again = untrained(**options)
    assert again.options == encoder.options
    assert again.vocabulary.digest == encoder.vocabulary.digest
