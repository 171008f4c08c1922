"""Measure captions, images, pairs, cycles and use, each beside its floor and its ceiling."""

from pathlib import Path

import typer

from pairsynth import config, console, devices, seeds
from pairsynth.checkpoints import checked_digest
from pairsynth.evaluation import measuring
from pairsynth.evaluation.context import EvaluationConfig, build, read_pairs, read_splits
from pairsynth.mappings import load_mappings
from pairsynth.whole_files import check_outputs

app = typer.Typer()


@console.command(app)
def main(
    examples: Path,
    embeddings: Path,
    encoder: Path,
    gan: Path,
    captioner: Path,
    synthetic: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
    device: str = "auto",
    precision: config.Precision | None = None,
) -> None:
    """Measure captions, images, pairs, cycles and use, each beside its floor and its ceiling."""
    stopwatch = console.Stopwatch()
    config.check_all(params)
    inputs = [examples, embeddings, encoder, gan, captioner, synthetic]
    check_outputs(inputs, files=[metrics / name for name in measuring.FILES])
    options, seed = config.load(EvaluationConfig, "evaluate", params), config.load_seed(params)
    splits, vectors = read_splits(examples, embeddings, checked_digest(encoder, "encoder"))
    where = devices.choose(device, precision or config.load_precision(params))
    train = splits["train"].digest
    mappings = load_mappings(encoder, gan, captioner, where, train)
    pairs, digest = read_pairs(synthetic, options.pairs, pictures=train, **mappings.digests)
    seeds.fix(seed, "evaluate")
    context = build(examples, splits, vectors, mappings, options, seed)
    measured = measuring.measure(context, pairs, console.track)
    measuring.write(metrics, measured, context, pairs, digest)
    stopwatch.say("evaluate", len(pairs), "pairs")


if __name__ == "__main__":
    app()
