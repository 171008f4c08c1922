"""GANs side by side on the test captions: python -m tests.benchmarks.baseline data/gan.pt OTHER.pt

The judge, the captions, the noise and the measures are those of the evaluate stage, on the images
and the encoder in data/. One JSON line a GAN, and one for the training photographs that the encoder
finds nearest to the captions: flawless images, of the wrong kinds of flower. And images of the
same captions: real ones in the first row of each block, then a row a GAN.

The stage's judge has val images alone to learn from, and sees little. With --every-class it
learns from all there are but every second test image, and from the names of their classes:
whoever receives the pairs may well know these kinds. The other test images are measured.
"""

import json
from dataclasses import replace
from pathlib import Path

import torch
import typer

from pairsynth import config, lexicon, seeds
from pairsynth.captioner import Captioner
from pairsynth.checkpoints import checked_digest
from pairsynth.encoders import load_encoder
from pairsynth.evaluation import fidelity, judges, quality
from pairsynth.evaluation.context import (
    Drawn,
    EvaluationConfig,
    EvaluationContext,
    draw_again,
    evenly_spaced,
    read_splits,
)
from pairsynth.evaluation.fidelity import Comparison
from pairsynth.examples import Examples
from pairsynth.gan import load_gan
from pairsynth.images import grid
from pairsynth.mappings import Mappings
from pairsynth.metrics.novelty import NoveltyIndex
from pairsynth.text import SPECIALS, Vocabulary

CPU = torch.device("cpu")
MEASURES = ("kid", "vendi", "vendi_real", "precision", "recall", "coverage")
COLUMNS = 16


def retrieved(context: EvaluationContext, drawn: Drawn) -> Drawn:
    """For each caption the training photograph nearest to it by the encoder that made psi."""
    nearness = context.mappings.psi(drawn.captions) @ context.embeddings["train"].image.T
    return replace(drawn, pixels=context.train.pixels[nearness.argmax(1)])


def some(examples: Examples, rows: range) -> Examples:
    """Those of `rows`."""
    fields = ("ids", "class_names", "captions")
    chosen = {field: [getattr(examples, field)[row] for row in rows] for field in fields}
    return replace(
        examples, pixels=examples.pixels[rows], class_ids=examples.class_ids[rows], **chosen
    )


def apart(splits: dict[str, Examples]) -> tuple[Examples, Examples]:
    """What a judge of every class learns from, and the test images kept from it."""
    test = splits["test"]
    known = (splits["train"], splits["val"], some(test, range(1, len(test), 2)))
    ids, names, captions = (
        [value for one in known for value in getattr(one, field)]
        for field in ("ids", "class_names", "captions")
    )
    class_ids, pixels = (
        torch.cat([getattr(one, field) for one in known]) for field in ("class_ids", "pixels")
    )
    # The judge learns to tell attributes, where there are any: here the class is one.
    classes = [{"class": name} for name in names]
    lesson = Examples(
        ids=ids,
        class_ids=class_ids,
        class_names=names,
        pixels=pixels,
        captions=captions,
        attributes=classes,
    )
    return lesson, some(test, range(0, len(test), 2))


def tell(context: EvaluationContext, name: str, drawn: Drawn) -> None:
    """What the images are worth, as a JSON line."""
    found = list(quality.agreement_of(context, drawn))
    beside = Comparison(
        subject="drawn_and_test", pixels=drawn.pixels, real=context.test.pixels[drawn.rows]
    )
    for title in fidelity.VIEWS:
        if (view := fidelity.view_of(context, title)) is not None:
            found += fidelity.compare(view, beside, title, context.seed)
    wanted = [
        replace(one, value=round(one.value, 4))
        for one in found
        if one.value is not None and (one.group == "drawn" or one.measure in MEASURES)
    ]
    typer.echo(json.dumps({"images": name} | {one.key: one.value for one in wanted}))


def main(
    gans: list[Path],
    image: Path = Path("baseline.png"),
    params: Path = Path("params.yaml"),
    every_class: bool = False,
) -> None:
    """Measure checkpoints of GANs that were trained on the psi of data/encoder.pt."""
    options, seed = config.load(EvaluationConfig, "evaluate", params), config.load_seed(params)
    encoder_file = Path("data/encoder.pt")
    splits, vectors = read_splits(
        Path("data/pictures"), Path("data/embeddings"), checked_digest(encoder_file, "encoder")
    )
    words = lexicon.read(Path("data/pictures"))
    encoder = load_encoder(Path("data/encoder.pt"), CPU)
    loaded = [load_gan(path, CPU) for path in gans]
    novelty = NoveltyIndex(splits["train"], vectors["train"].psi, splits["val"], loaded[0].size)
    lesson = splits["val"]
    if every_class:
        lesson, splits["test"] = apart(splits)
    seeds.fix(seed, "evaluate")
    judge = judges.build(lesson, loaded[0].size)
    for _ in judges.train(judge, lesson, options.judge_epochs, seed, CPU):
        pass
    if every_class:
        judge.attributes = {}  # What a caption names it would be asked for, and that is no class.
    sheets: list[torch.Tensor] = []
    for path, gan in zip(gans, loaded, strict=True):
        # Nothing here is captioned.
        nobody = Captioner(Vocabulary("word", SPECIALS), gan.discriminator.phi_channels, 1)
        mappings = Mappings(encoder=encoder, gan=gan, captioner=nobody, device=CPU)
        context = EvaluationContext(
            mappings=mappings,
            judge=judge,
            examples=splits,
            embeddings=vectors,
            novelty=novelty,
            config=options,
            seed=seed,
            lexicon=words,
        )
        drawn = draw_again(context)
        tell(context, str(path), drawn)
        columns = min(COLUMNS, len(drawn.rows))
        rows = evenly_spaced(len(drawn.rows), min(4, len(drawn.rows) // columns) * columns)
        if not sheets:
            sheets.append(splits["test"].pixels[[drawn.rows[row] for row in rows]])
        sheets.append(drawn.pixels[rows])
    tell(context, "nearest training photographs", retrieved(context, drawn))
    columns = min(COLUMNS, len(sheets[0]))
    blocks = torch.stack(sheets, 1).unflatten(0, (-1, columns)).transpose(1, 2).flatten(0, 2)
    grid(blocks, columns, 2).save(image)


if __name__ == "__main__":
    typer.run(main)
