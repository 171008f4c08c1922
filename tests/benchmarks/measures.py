"""How long and how much memory evaluation takes: python -m tests.benchmarks.measures

Without the training of judges and probes: 10,000 pairs against 6,000 training images of ten
captions each, all of the garden's grammar and drawn at `size` pixels, by untrained networks.
"""

import resource
import time
from dataclasses import replace

import torch
import typer
from torch.nn import functional as F

from pairsynth.captioner import Captioner
from pairsynth.encoders import JointEncoder
from pairsynth.evaluation import cycle_consistency, judges, made, measuring, table
from pairsynth.evaluation.context import EvaluationContext, Pairs
from pairsynth.examples import Embeddings, Examples
from pairsynth.gan import Gan
from pairsynth.images import to_tensor
from pairsynth.mappings import Mappings
from pairsynth.metrics.novelty import NoveltyIndex
from pairsynth.seeds import stream
from pairsynth.sources.garden import grow
from pairsynth.sources.garden_captions import WORDS, captions
from pairsynth.sources.garden_drawing import draw
from pairsynth.text import Vocabulary
from tests.options import EVALUATION

CPU = torch.device("cpu")
STRATEGIES = ("text_prototype", "text_density", "image_prototype", "image_density")


def garden(name: str, count: int, drawn: int, size: int) -> Examples:
    """`count` garden images, of which `drawn` are drawn and the others are those with noise."""
    species = grow(drawn, len(name))
    kinds = [species[i % drawn] for i in range(count)]
    base = torch.stack(
        [to_tensor(draw(one.attributes, one.appearance, size, stream(0, name, i)))
         for i, one in enumerate(species)]
    )  # fmt: skip
    rows = torch.arange(count) % drawn
    noise = torch.randint(-20, 21, (count, 3, size, size), dtype=torch.int16)
    return Examples(
        ids=[f"{name}-{i:05}" for i in range(count)],
        class_ids=rows,
        class_names=[one.name for one in kinds],
        pixels=(base[rows].to(torch.int16) + noise).clamp(0, 255).to(torch.uint8),
        captions=[
            list(captions(one.attributes, stream(0, name, i))) for i, one in enumerate(kinds)
        ],
        attributes=[dict(one.attributes) for one in kinds],
    )


def networks(examples: Examples, size: int) -> Mappings:
    """Untrained networks at the widths of params.yaml."""
    words = Vocabulary.build(examples.flat_captions, "word", 3)
    encoder = JointEncoder(
        "word-gru", words, size=size, dimension=128, hidden=128, channels=24
    ).eval()
    gan = (
        Gan.build(
            "hinge",
            size=size,
            dimension=128,
            noise=64,
            generator_channels=16,
            discriminator_channels=32,
        )
        .to(CPU)
        .eval()
    )
    captioner = Captioner(words, gan.discriminator.phi_channels, 128).eval()
    return Mappings(encoder=encoder, gan=gan, captioner=captioner.requires_grad_(False), device=CPU)


class Timings:
    """Seconds, of the clock and of all cores together, and peak memory of part after part."""

    def __init__(self) -> None:
        self.clock, self.work = time.perf_counter(), time.process_time()
        self.total = [0.0, 0.0]

    def say(self, name: str) -> None:
        """Print what `name` took since the last call."""
        clock, work = time.perf_counter(), time.process_time()
        took = [clock - self.clock, work - self.work]
        self.total = [a + b for a, b in zip(self.total, took, strict=True)]
        self.line(name, took)
        self.clock, self.work = clock, work

    def line(self, name: str, took: list[float]) -> None:
        """Print one line."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        typer.echo(f"  {name:24} {took[0]:8.1f} s {took[1]:8.1f} s of work  {peak:6.2f} GB peak")


def context(size: int, pairs: int, train: int) -> tuple[EvaluationContext, Pairs]:
    """Splits, networks and pairs, all made up."""
    splits = {
        name: garden(name, count, 500, size)
        for name, count in (("train", train), ("val", 1000), ("test", 1000))
    }
    mappings = networks(splits["train"], size)
    vectors = {
        name: Embeddings(
            image=F.normalize(torch.randn(len(one), 128), dim=1),
            psi=F.normalize(torch.randn(len(one.flat_captions), 128), dim=1),
        )
        for name, one in splits.items()
    }
    novelty = NoveltyIndex(splits["train"], vectors["train"].psi, splits["val"], size)
    judge = judges.build(splits["val"], size).eval()
    config = replace(
        EVALUATION, captioned=500, pairs=pairs, cycled=200, turns=3, judge_epochs=24, use_steps=0
    )
    new = garden("pairs", pairs, 500, size)
    return EvaluationContext(
        mappings=mappings,
        judge=judge,
        examples=splits,
        embeddings=vectors,
        novelty=novelty,
        config=config,
        seed=0,
        lexicon=WORDS,
    ), Pairs(
        ids=new.ids,
        captions=[own[0] for own in new.captions],
        pixels=new.pixels,
        strategies=[STRATEGIES[i % 4] for i in range(pairs)],
        consistency=[0.5] * pairs,
        class_ids=new.class_ids,
    )


def main(size: int = 64, pairs: int = 10_000, train: int = 6_000) -> None:
    """Print seconds and peak memory of each part of `evaluate`."""
    torch.manual_seed(0)
    timings = Timings()
    place, pairs_made = context(size, pairs, train)
    timings.say("(making the set)")
    timings.total = [0.0, 0.0]
    ours = made.look_at(place, pairs_made)
    timings.say("drawn again, a row a pair")
    for part in table.parts(measuring.TABLE):
        list(part(place, ours))
        timings.say(getattr(part, "__name__", "") or str(part.args[0]))  # type: ignore[attr-defined]
    list(cycle_consistency.walk(place))
    timings.say("cycles")
    timings.line("evaluate", timings.total)


if __name__ == "__main__":
    typer.run(main)
