"""What each rung of train_gan brings: python -m tests.benchmarks.ladder KEY=VALUE ...

Trains the GAN of params.yaml, with the keys given changed, on data/pictures and data/embeddings,
and measures it on the captions of the val classes, as it goes: one row each `every` epochs, so that
rows of several runs can be compared at equal images and at equal seconds. The judge learns from the
val images and is the same in every run. Test classes are not touched.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from ruamel.yaml import YAML
from torch import nn

from pairsynth import config, gan_training, seeds
from pairsynth.checkpoints import checked_digest
from pairsynth.collapse_monitor import CollapseMonitor
from pairsynth.evaluation import judges
from pairsynth.evaluation.context import evenly_spaced
from pairsynth.examples import Embeddings, Examples, read_embeddings, read_examples
from pairsynth.gan_training import GanConfig
from pairsynth.image_files import network_size
from pairsynth.images import center_crop, grid, to_pixels
from pairsynth.metrics.agreement import Rivals, r_precision
from pairsynth.metrics.distributions import kid, vendi
from pairsynth.metrics.feature_extractors import (
    View,
    fitted,
    imagenet_features,
    random_features,
)

CPU = torch.device("cpu")
DRAWN = 500
JUDGE_EPOCHS = 20


@dataclass(frozen=True, kw_only=True)
class Row:
    """Kernel distances, R-precision, how many different images there seem to be beside real.

    heard: share of the captions' attributes that the judge sees, by name; empty where unknown.
    """

    epoch: int
    images: int
    seconds: float
    images_per_second: float
    kid_imagenet: float
    kid_judge: float
    kid_random: float
    r_precision: float
    r_precision_real: float
    vendi_share: float
    noise_spread: float
    heard: dict[str, float]


class Measure(CollapseMonitor):
    """Draws captions of val images at fixed noise, and says how near they come to real ones."""

    def __init__(
        self, val: Examples, psi: Embeddings, options: GanConfig, seed: int, every: int, images: int
    ) -> None:
        """images: how many an epoch shows."""
        size = network_size(val.pixels.shape[-1])
        super().__init__(val, psi, size, options.noise, seed, CPU)
        self.every, self.epochs, self.images = every, options.epochs, images
        chosen = evenly_spaced(len(val), DRAWN)
        self.captions = [val.captions[row][0] for row in chosen]
        self.named = [val.attributes[row] for row in chosen] if val.attributes else []
        self.chosen_psi = psi.psi[val.first_caption[chosen]]
        self.many_noise = torch.randn(
            len(chosen), options.noise, generator=seeds.torch_stream(seed, "ladder")
        )
        seeds.fix(seed, "judge")
        self.judge = judges.build(val, size)
        for _ in judges.train(self.judge, val, JUDGE_EPOCHS, seed, CPU):
            pass
        self.all_real = center_crop(val.pixels, size)
        self.real, self.drawn = self.all_real[chosen], self.all_real[chosen]
        plain = View(features=imagenet_features(CPU), mean=torch.zeros(1), deviation=torch.ones(1))
        features = (self.judge.image_features, random_features())
        self.views = [plain, *(fitted(one, self.all_real) for one in features)]
        self.found: list[Row] = []
        self.start, self.spent = time.perf_counter(), 0.0

    @torch.no_grad()
    def __call__(self, generator: nn.Module, epoch: int) -> tuple[float, float]:
        """What a watch says, and a row from time to time."""
        began = time.perf_counter()
        spreads = super().__call__(generator, epoch)
        if epoch % self.every == 0 or epoch == self.epochs:
            parts = zip(self.many_noise.split(100), self.chosen_psi.split(100), strict=True)
            self.drawn = torch.cat([to_pixels(generator(n, p)) for n, p in parts])
            self.found.append(self.row(epoch, spreads[1], began))
        self.spent += time.perf_counter() - began
        return spreads

    def row(self, epoch: int, noise_spread: float, now: float) -> Row:
        """What the images drawn last are like; `now` less what measuring took is training."""
        seconds, images = now - self.start - self.spent, epoch * self.images
        kids = [
            kid(view(self.all_real), view(self.drawn), torch.Generator().manual_seed(0)).value
            for view in self.views
        ]
        read = self.judge.caption_vectors(self.captions)
        rivals = Rivals(self.captions, read)
        precision, real_precision = (
            r_precision(rivals.ranks(self.judge.image_vectors(p), read, self.captions)).value
            for p in (self.drawn, self.real)
        )
        view = self.views[1]
        share = vendi(view(self.drawn)) / vendi(view(self.real))
        shown = self.judge.assess(self.drawn).attributes
        heard = {
            name: round(
                sum(a[name] == b[name] for a, b in zip(self.named, shown, strict=True))
                / len(shown),
                3,
            )
            for name in (self.judge.attributes if self.named else ())
        }
        return Row(
            epoch=epoch,
            images=images,
            seconds=seconds,
            images_per_second=images / seconds,
            kid_imagenet=kids[0],
            kid_judge=kids[1],
            kid_random=kids[2],
            r_precision=precision or 0.0,
            r_precision_real=real_precision or 0.0,
            vendi_share=share,
            noise_spread=noise_spread,
            heard=heard,
        )


def climb(options: GanConfig, every: int, seed: int) -> Iterator[Measure]:
    """Train on the train split; after each epoch the measure, with what it has found so far."""
    folder = Path("data")
    train, val = (read_examples(folder / "pictures", split) for split in ("train", "val"))
    encoder = checked_digest(folder / "encoder.pt", "encoder")
    psi = read_embeddings(folder / "embeddings", "train", train, encoder)
    val_psi = read_embeddings(folder / "embeddings", "val", val, encoder)
    images = len(train) // options.batch_size * options.batch_size
    measure = Measure(val, val_psi, options, seed, every, images)
    seeds.fix(seed, "train_gan")
    gan = gan_training.build(options, train, psi, encoder).to(CPU)
    measure.start = time.perf_counter()
    for _ in gan_training.train(gan, train, psi, options, seed, CPU, measure):
        yield measure


def _rounded(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in items}


def main(
    changes: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE")] = None,
    epochs: int = 7,
    every: int = 7,
    image: Path | None = None,
    params: Path = Path("params.yaml"),
) -> None:
    """Climb one rung: one JSON line a row; the last images, where a file is named for them."""
    given = [word.partition("=") for word in changes or []]
    values = {key: YAML(typ="safe").load(value) for key, _, value in given}
    options = config.load(GanConfig, "train_gan", params)
    if unknown := set(values) - set(asdict(options)):
        raise typer.BadParameter(
            f"train_gan has no {sorted(unknown)}; it has {list(asdict(options))}"
        )
    options = replace(options, epochs=epochs, **values)
    said = 0
    for measure in climb(options, every, config.load_seed(params)):
        for row in measure.found[said:]:
            typer.echo(json.dumps(asdict(row, dict_factory=_rounded)))
        said = len(measure.found)
        if image is not None:
            grid(measure.drawn[evenly_spaced(len(measure.drawn), 64)], 8, 2).save(image)


if __name__ == "__main__":
    typer.run(main)
