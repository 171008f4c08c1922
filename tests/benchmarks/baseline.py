"""GANs side by side on the test captions: python -m tests.benchmarks.baseline data/gan.pt OTHER.pt

The judge, the captions, the noise and the measures are those of the evaluate stage, on the pictures
and the encoder in data/. One JSON line a GAN, and one for the training photographs that the encoder
finds nearest to the captions: flawless pictures, of the wrong kinds of flower. And pictures of the
same captions: real ones in the first row of each block, then a row a GAN.
"""

import json
from dataclasses import replace
from pathlib import Path

import torch
import typer

from pairsynth import bench, config, evaluation, judges, likeness, seeds
from pairsynth.bench import Bench, Drawn, EvaluationConfig
from pairsynth.captioner import Captioner
from pairsynth.encoders import load_encoder
from pairsynth.gan import load_gan
from pairsynth.images import grid
from pairsynth.likeness import Comparison
from pairsynth.mappings import Mappings
from pairsynth.metrics.novelty import NoveltyIndex
from pairsynth.text import SPECIALS, Vocabulary

CPU = torch.device("cpu")
MEASURES = ("kid", "vendi", "vendi_real", "precision", "recall", "coverage")
COLUMNS = 16


def retrieved(scene: Bench, drawn: Drawn) -> Drawn:
    """For each caption the training photograph nearest to it by the encoder that made psi."""
    nearness = scene.mappings.psi(drawn.captions) @ scene.embeddings["train"].image.T
    return replace(drawn, pixels=scene.train.pixels[nearness.argmax(1)])


def tell(scene: Bench, name: str, drawn: Drawn) -> None:
    """What the pictures are worth, as a JSON line."""
    found = list(evaluation.drawn_agree(scene, drawn))
    beside = Comparison("drawn_and_test", drawn.pixels, scene.test.pixels[drawn.rows])
    for title, view in likeness.views(scene).items():
        found += likeness.compare(view, beside, title, scene.seed)
    wanted = [
        replace(one, value=round(one.value, 4))
        for one in found
        if one.value is not None and (one.group == "drawn" or one.measure in MEASURES)
    ]
    typer.echo(json.dumps({"pictures": name} | {one.key: one.value for one in wanted}))


def main(
    gans: list[Path], picture: Path = Path("baseline.png"), params: Path = Path("params.yaml")
) -> None:
    """Measure checkpoints of GANs that were trained on the psi of data/encoder.pt."""
    options, seed = config.load(EvaluationConfig, "evaluate", params), config.load_seed(params)
    splits, vectors = bench.read_splits(Path("data/pictures"), Path("data/embeddings"))
    encoder = load_encoder(Path("data/encoder.pt"), CPU)
    loaded = [load_gan(path, CPU) for path in gans]
    novelty = NoveltyIndex(splits["train"], vectors["train"].psi, splits["val"], loaded[0].size)
    seeds.fix(seed, "evaluate")
    judge = judges.build(splits["val"], loaded[0].size)
    for _ in judges.train(judge, splits["val"], options.judge_epochs, seed, CPU):
        pass
    sheets: list[torch.Tensor] = []
    for path, gan in zip(gans, loaded, strict=True):
        # Nothing here is captioned.
        nobody = Captioner(Vocabulary("word", SPECIALS), gan.discriminator.phi_channels, 1)
        mappings = Mappings(encoder, gan, nobody, CPU)
        scene = Bench(mappings, judge, splits, vectors, novelty, options, seed)
        drawn = bench.draw_again(scene)
        tell(scene, str(path), drawn)
        columns = min(COLUMNS, len(drawn.rows))
        rows = bench.spread(len(drawn.rows), min(4, len(drawn.rows) // columns) * columns)
        if not sheets:
            sheets.append(splits["test"].pixels[[drawn.rows[row] for row in rows]])
        sheets.append(drawn.pixels[rows])
    tell(scene, "nearest training photographs", retrieved(scene, drawn))
    columns = min(COLUMNS, len(sheets[0]))
    blocks = torch.stack(sheets, 1).unflatten(0, (-1, columns)).transpose(1, 2).flatten(0, 2)
    grid(blocks, columns, 2).save(picture)


if __name__ == "__main__":
    typer.run(main)
