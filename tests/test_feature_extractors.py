"""Views: standardised on real images, the same whatever the batch."""

from pathlib import Path

import pytest
import torch
import torchvision
from sklearn.decomposition import PCA
from torch.nn import functional as F
from torchvision.transforms import functional as transforms

from pairsynth.examples import Examples
from pairsynth.metrics.feature_extractors import (
    Features,
    fitted,
    pixel_features,
    pretrained_features,
    random_features,
)


@pytest.fixture(params=["pixels", "random"])
def features(request: pytest.FixtureRequest, examples: Examples) -> Features:
    return {"pixels": lambda: pixel_features(examples.pixels), "random": random_features}[
        request.param
    ]()


def test_real_images_have_mean_zero_and_deviation_one(
    features: Features, examples: Examples
) -> None:
    found = fitted(features, examples.pixels)(examples.pixels)
    assert torch.allclose(found.mean(0), torch.zeros(found.shape[1]), atol=1e-4)
    deviation = found.std(0)
    assert bool(((deviation - 1).abs().lt(1e-3) | deviation.eq(0)).all())
    assert deviation.gt(0).float().mean() > 0.9


def test_what_real_images_share_is_left_out(examples: Examples, val: Examples) -> None:
    """24 images have 23 principal components; the last of 24 is rounding."""
    view = fitted(pixel_features(examples.pixels), examples.pixels)
    found = view(val.pixels)
    assert found.shape == (12, 24)
    assert not found[:, -1].any()
    assert found.abs().max() < 50


@pytest.mark.parametrize("batch", [1, 5])
def test_the_batch_changes_nothing(
    features: Features, examples: Examples, val: Examples, batch: int
) -> None:
    view = fitted(features, examples.pixels)
    assert torch.allclose(view(val.pixels), view(val.pixels, batch), atol=1e-3)


def test_pixel_features_are_principal_components(examples: Examples) -> None:
    flat = (F.adaptive_avg_pool2d(examples.pixels.float() / 255, 32)).flatten(1).numpy()
    wanted = PCA(4, svd_solver="full").fit(flat).transform(flat)
    found = pixel_features(examples.pixels)(examples.pixels)[:, :4].numpy()
    assert abs(found).ravel() == pytest.approx(abs(wanted).ravel(), abs=2e-2)


def test_the_random_network_is_always_the_same(val: Examples) -> None:
    assert torch.equal(random_features()(val.pixels), random_features()(val.pixels))
    assert not torch.equal(random_features(1)(val.pixels), random_features()(val.pixels))


# ---------------------------------------------------------------- weights of the user's own


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_weights_on_disk_are_one_more_view(tmp_path: Path, val: Examples, name: str) -> None:
    path = tmp_path / f"{name}-0000.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.get_model(name, weights=None).state_dict(), path)
    features = pretrained_features(path)
    found = features(val.pixels[:3])
    assert found.shape[0] == 3
    assert found.shape[1] >= 512
    assert torch.allclose(found[:1], features(val.pixels[:1]), rtol=1e-3, atol=1e-4)


def test_the_view_is_what_the_network_has_before_its_last_layer(
    tmp_path: Path, val: Examples
) -> None:
    network = torchvision.models.resnet18(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "resnet18-a.pth")
    found = pretrained_features(tmp_path / "resnet18-a.pth")(val.pixels[:2])
    large = transforms.resize(val.pixels[:2].float() / 255, [224, 224], antialias=True)
    ready = transforms.normalize(large, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        assert torch.allclose(network.fc(found), network(ready), rtol=1e-3, atol=1e-3)
