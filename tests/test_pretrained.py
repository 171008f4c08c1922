"""Networks of the user's own: read from disk, never trained further."""

from pathlib import Path

import pytest
import torch
import torchvision

from pairsynth.errors import InputError
from pairsynth.pretrained import load_pretrained


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
