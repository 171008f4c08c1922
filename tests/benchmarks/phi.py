"""Whether phi is worth reading: python -m tests.benchmarks.phi data/gan.pt OTHER.pt ...

For each GAN a captioner is trained as params.yaml says, on the phi of its discriminator, and writes
captions of val images; test classes are not touched. One JSON line each, between a discriminator
that learned nothing and psi's own image tower, which learned from captions alone what an image
means. A person's captions come last, against the others of the same images like all the rest.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import typer
from torch import Tensor, nn

from pairsynth import captioner_training, config, lexicon, seeds
from pairsynth.captioner import Captioner
from pairsynth.captioner_training import CaptionerConfig
from pairsynth.decoding import decode_beam
from pairsynth.encoders import load_encoder
from pairsynth.evaluation.caption_quality import by_batch, scores
from pairsynth.evaluation.context import evenly_spaced
from pairsynth.examples import read_examples
from pairsynth.gan import Gan, load_gan, phi_of
from pairsynth.metrics.cider import CiderD

CPU = torch.device("cpu")
CAPTIONED = 500


class Tower(nn.Module):
    """psi's image tower in the place of a discriminator: phi is the last of its convolutions."""

    def __init__(self, trunk: nn.Module, channels: int) -> None:
        super().__init__()
        self.trunk, self.phi_channels = trunk, channels

    def phi(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) to the trunk's map (N, C, 4, 4)."""
        return self.trunk(images)


def write(captioner: Captioner, phi: Tensor) -> list[str]:
    """The captions that beam search finds for phi (N, C, 4, 4)."""
    captioner.eval()
    return by_batch(lambda part: decode_beam(captioner, phi[part]), len(phi))


def tell(name: str, found: dict[str, Any]) -> None:
    """One JSON line."""
    rounded = {key: round(value, 3) for key, value in found.items() if value is not None}
    typer.echo(json.dumps({"phi": name} | rounded))


def main(gans: list[Path], epochs: int | None = None, params: Path = Path("params.yaml")) -> None:
    """Train and measure captioners on the images in data/; `epochs`: fewer than in params."""
    options = config.load(CaptionerConfig, "train_captioner", params)
    options = replace(options, epochs=epochs or options.epochs)
    seed = config.load_seed(params)
    train, val = (read_examples(Path("data/pictures"), split) for split in ("train", "val"))
    rows = evenly_spaced(len(val), CAPTIONED)
    people = [val.captions[row][0] for row in rows]
    others = [val.captions[row][1:] for row in rows]
    cider, words = CiderD(train.captions), lexicon.read(Path("data/pictures"))
    seen = {str(path): load_gan(path, CPU) for path in gans}
    one, tower = seen[str(gans[0])], load_encoder(Path("data/encoder.pt"), CPU).image
    seeds.fix(seed, "phi")
    seen["untrained"] = Gan.build(**one.options).to(CPU).eval()
    seen["psi's image tower"] = replace(
        one, discriminator=Tower(tower.trunk, tower.out.in_features)
    )
    for name, gan in seen.items():
        seeds.fix(seed, "train_captioner")
        captioner = captioner_training.build(options, train, gan, "")
        *_, last = captioner_training.train(captioner, gan, train, val, options, seed, CPU)
        written = write(captioner, phi_of(gan, val.pixels[rows], CPU))
        tell(name, {"val_loss": last.val_loss, **scores(written, others, cider, words)})
    tell("a person", scores(people, others, cider, words))


if __name__ == "__main__":
    typer.run(main)
