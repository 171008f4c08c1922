"""Networks that learned from other images: as they are, and never trained further."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch.nn import functional as F

from pairsynth.efficientnet import TEACHER, EfficientNet, installed
from pairsynth.errors import InputError
from pairsynth.pretrained import ImageNetFeatures, load_pretrained


def test_it_learns_nothing_more(tmp_path: Path) -> None:
    torch.save(
        torchvision.models.mobilenet_v3_small().state_dict(), tmp_path / "mobilenet_v3_small.pth"
    )
    network = load_pretrained(tmp_path / "mobilenet_v3_small.pth", "key").train()
    assert not any(module.training for module in network.modules())
    assert not any(weight.requires_grad for weight in network.parameters())
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, network.width) == (2, 1024)


def test_weights_that_cannot_be_used_say_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*; give a torchvision state dict"):
        load_pretrained(tmp_path / "resnet18-a.pth", "key")
    (tmp_path / "mine.pth").write_bytes(b"weights")
    with pytest.raises(InputError, match="names no torchvision classifier; rename it"):
        load_pretrained(tmp_path / "mine.pth", "key")
    (tmp_path / "resnet18.pth").write_bytes(b"weights")
    with pytest.raises(InputError, match="is no state dict of resnet18"):
        load_pretrained(tmp_path / "resnet18.pth", "key")
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match="is no state dict of resnet18"):
        load_pretrained(tmp_path / "resnet18.pth", "key")
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "squeezenet1_1.pth")
    with pytest.raises(InputError, match="has no last linear layer"):
        load_pretrained(tmp_path / "squeezenet1_1.pth", "key")


@pytest.mark.skipif(not installed(TEACHER), reason="the extra imagenet is not installed")
def test_imagenets_eyes_see_colour_in_early_maps() -> None:
    """The end; of each of three maps the deviation, then the means of 4 x 4 places, by hand."""
    images = 2 * torch.rand(9, 3, 64, 64, generator=torch.Generator().manual_seed(1)) - 1
    look = ImageNetFeatures()
    found = look(images)
    assert found.shape == (9, look.width) == (9, 1280 + 17 * (24 + 40 + 112))
    with torch.no_grad():
        large = F.interpolate(images, (128, 128), mode="bicubic", antialias=True)
        network = EfficientNet(TEACHER)
        [maps] = network.maps(large.clamp(-1, 1), (2,))
        end = network.pooled(large.clamp(-1, 1))
    flat = maps.flatten(2).double()
    assert torch.allclose(found[:, :1280], end, atol=1e-4)
    assert torch.allclose(found[:, 1280:1304].double(), flat.std(2), atol=1e-4)
    first = 1280 + 24 + 40 + 112
    places = found[:, first : first + 24 * 16].unflatten(1, (24, 4, 4)).double()
    for row, column in ((0, 0), (1, 2), (3, 3)):  # of 32 x 32, 8 x 8 each
        part = maps[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].double()
        assert torch.allclose(places[:, :, row, column], part.mean((2, 3)), atol=1e-4)
