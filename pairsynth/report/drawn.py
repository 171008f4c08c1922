"""Strips that the networks draw for the report: blends, components, cycles; and maps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor

from pairsynth import exploration
from pairsynth.examples import Embeddings, Examples
from pairsynth.images import center_crop
from pairsynth.mappings import Mappings, Turn
from pairsynth.metrics.novelty import NoveltyIndex
from pairsynth.mixture import Mixture
from pairsynth.report.charts import Chart, histogram, points
from pairsynth.report.gallery import addresses

STEPS = 7
TURNS = 3
STARTS = 3
COMPONENTS = 6
EACH = 6
POINTS = 400


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One image of a strip: a data URL or "", a label, and a caption."""

    image: str
    label: str
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Frames from left to right, under a title."""

    title: str
    steps: list[Frame]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The inputs for drawing: images and vectors by split, networks, mixtures."""

    examples: Mapping[str, Examples]
    embeddings: Mapping[str, Embeddings]
    mappings: Mappings
    mixtures: Mapping[str, Mixture]
    seed: int

    def starts(self, count: int) -> list[int]:
        """`count` evenly spaced rows of test images."""
        rows: list[int] = (
            np.linspace(0, len(self.examples["test"]) - 1, count).round().astype(int).tolist()
        )
        return rows

    def start(self, row: int) -> Tensor:
        """One test image, uint8 (1, 3, S, S), as the networks see it."""
        test = self.examples["test"].pixels[row : row + 1]
        return center_crop(test, self.mappings.gan.size)


def between_captions(scene: Scene) -> Iterator[Strip]:
    """Images drawn from psi between two test captions, and the caption of each image."""
    captions = [scene.examples["test"].captions[row][0] for row in scene.starts(4)]
    shares, noise = _shares(), exploration.noise_rows(scene.mappings, 1, scene.seed)
    for ends in (captions[::2], captions[1::2]):
        told, pixels = exploration.blend_sentences(scene.mappings, ends, shares, noise)
        yield Strip(title=f"“{ends[0]}” to “{ends[1]}”", steps=_blended(told, pixels, shares))


def between_images(scene: Scene) -> Iterator[Strip]:
    """Captions of phi between two test images, and images drawn from them."""
    rows = scene.starts(4)
    shares, noise = _shares(), exploration.noise_rows(scene.mappings, 1, scene.seed)
    for left, right in (rows[::2], rows[1::2]):
        ends = [scene.start(left), scene.start(right)]
        told, pixels = exploration.blend_images(scene.mappings, ends, shares, noise)
        real = [Frame(image=addresses(end)[0], label="real image") for end in ends]
        steps = [real[0], *_blended(told, pixels, shares), real[1]]
        yield Strip(title="From the image on the left to the one on the right", steps=steps)


def _shares() -> Tensor:
    return torch.linspace(1, 0, STEPS)[:, None]


def _blended(captions: list[str], pixels: Tensor, shares: Tensor) -> list[Frame]:
    labels = [f"λ = {share:.2f}" for share in shares.flatten().tolist()]
    return [
        Frame(image=image, label=label, caption=caption)
        for image, label, caption in zip(addresses(pixels), labels, captions, strict=True)
    ]


def components(scene: Scene, over: str) -> Iterator[Strip]:
    """Images drawn from the heaviest components of the mixture over psi or over phi."""
    mappings, mixture = scene.mappings, scene.mixtures[over]
    noise = exploration.noise_rows(mappings, EACH, scene.seed)
    for component in exploration.heaviest(mixture, COMPONENTS):
        psi = exploration.component_psi(mappings, mixture, over, component, EACH, scene.seed)
        pixels = exploration.draw(mappings, psi, noise)
        captions = mappings.describe(mappings.phi(pixels))
        drawn = zip(addresses(pixels), captions, strict=True)
        title = f"Component {component}, weight {100 * mixture.weights[component]:.1f} %"
        yield Strip(
            title=title,
            steps=[Frame(image=image, label="", caption=caption) for image, caption in drawn],
        )


def cycles(scene: Scene) -> Iterator[Strip]:
    """A few turns of image-caption-image cycles and of caption-image-caption cycles."""
    noise = exploration.noise_rows(scene.mappings, 1, scene.seed)
    for row in scene.starts(STARTS):
        start = scene.start(row)
        turns, cosines = exploration.image_cycle(scene.mappings, start, TURNS, noise)
        first = Frame(image=addresses(start)[0], label="real image")
        yield Strip(
            title="Image to caption to image", steps=[first, *_turned(turns, cosines, "phi")]
        )
    for row in scene.starts(STARTS):
        caption = scene.examples["test"].captions[row][0]
        turns, cosines = exploration.sentence_cycle(scene.mappings, caption, TURNS, noise)
        first = Frame(image="", label="a person's caption", caption=caption)
        yield Strip(
            title="Caption to image to caption", steps=[first, *_turned(turns, cosines, "psi")]
        )


def _turned(turns: list[Turn], cosines: Tensor, of: str) -> list[Frame]:
    return [
        Frame(
            image=addresses(turn.pixels)[0],
            label=f"turn {i}, {of} {cosine:.2f}",
            caption=turn.captions[0],
        )
        for i, (turn, cosine) in enumerate(zip(turns, cosines.tolist(), strict=True), 1)
    ]


# ---------------------------------------------------------------- real against synthetic


def maps(scene: Scene, pixels: Tensor, captions: list[str]) -> Iterator[Chart]:
    """Scatter charts of real and synthetic images, and captions, on two principal components."""
    train, mappings = scene.embeddings["train"], scene.mappings
    sets = {
        "images": (train.image, mappings.encoder.embed_images(pixels)),
        "captions": (train.psi, mappings.psi(captions)),
    }
    for name, (real, synthetic) in sets.items():
        where, share = principal(real.numpy(), synthetic.numpy())
        real_places, synthetic_places = where
        yield points(
            f"map-{name}",
            f"Real and synthetic {name}",
            f"Vectors of real and of synthetic {name} on the first two principal components of "
            f"the real ones, which hold {100 * sum(share):.0f} % of their variance.",
            [("real, train", _some(real_places), 0), ("synthetic", _some(synthetic_places), 1)],
            x=f"first component, {100 * share[0]:.0f} %",
            y=f"second, {100 * share[1]:.0f} %",
        )


Array = NDArray[np.float64]


def principal(real: Array, other: Array) -> tuple[tuple[Array, Array], list[float]]:
    """Both (N, D) projected on two principal components of `real`, and their shares of variance."""
    pca = PCA(2, svd_solver="full").fit(real.astype(float))
    return (pca.transform(real), pca.transform(other)), pca.explained_variance_ratio_.tolist()


def _some(rows: Array) -> Array:
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), POINTS)).round().astype(int)
    return np.asarray(rows[chosen])


def nearness(scene: Scene, distances: list[float]) -> Chart:
    """A histogram of distances to the nearest training image, of pairs and of held-out images."""
    train, val = scene.examples["train"], scene.examples["val"]
    size = scene.mappings.gan.size
    index = NoveltyIndex(train, scene.embeddings["train"].psi, val, size)
    held_out = index.thumbnails.find(center_crop(val.pixels, size)).distance.tolist()
    medians = [float(np.median(numbers)) for numbers in (distances, held_out)]
    return histogram(
        "nearness",
        "Distance to the nearest training image",
        f"Median {medians[0]:.3f} for pairs and {medians[1]:.3f} for real images held out; "
        f"below {index.threshold:.3f} an image counts as seen.",
        [("real, held out", held_out, 0), ("pairs", distances, 1)],
        x="root mean square difference of thumbnails",
        line=("counts as seen", index.threshold),
    )
