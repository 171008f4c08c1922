"""Measure captions, pictures, pairs, cycles and use, each beside its floor and its ceiling."""

from pathlib import Path

import typer

from pairsynth import config, console, devices, figures, seeds
from pairsynth.artifacts import check_outputs, write_json, write_picture, write_reports
from pairsynth.checkpoints import checked_digest
from pairsynth.evaluation import context, cycle_consistency, judges, measuring, recipes
from pairsynth.evaluation.context import EvaluationConfig, EvaluationContext
from pairsynth.mappings import load_mappings
from pairsynth.metrics.novelty import NoveltyIndex

app = typer.Typer()


@console.command(app)
def main(
    pictures: Path,
    embeddings: Path,
    encoder: Path,
    gan: Path,
    captioner: Path,
    synthetic: Path,
    metrics: Path,
    table: Path,
    cycles: Path,
    pair_table: Path,
    use_table: Path,
    pairs_sheet: Path,
    cycles_sheet: Path,
    params: Path = Path("params.yaml"),
    device: str = "auto",
) -> None:
    """Measure captions, pictures, pairs, cycles and use, each beside its floor and its ceiling."""
    watch = console.Stopwatch()
    config.check_all(params)
    check_outputs(
        [pictures, embeddings, encoder, gan, captioner, synthetic],
        files=[metrics, table, cycles, pair_table, use_table, pairs_sheet, cycles_sheet],
    )
    options, seed = config.load(EvaluationConfig, "evaluate", params), config.load_seed(params)

    splits, vectors = context.read_splits(pictures, embeddings, checked_digest(encoder, "encoder"))
    where, source = devices.choose(device), splits["train"].digest
    mappings = load_mappings(encoder, gan, captioner, where, source)
    pairs, digest = context.read_pairs(
        synthetic, options.pairs, pictures=source, **mappings.digests
    )
    novelty = NoveltyIndex(splits["train"], vectors["train"].psi, splits["val"], mappings.gan.size)

    seeds.fix(seed, "evaluate")
    judge = judges.build(splits["val"], mappings.gan.size).to(where)
    scene = EvaluationContext(mappings, judge, splits, vectors, novelty, options, seed)

    training = judges.train(judge, splits["val"], options.judge_epochs, seed, where)
    list(console.track(training, options.judge_epochs, "judge", "epochs"))
    measured = measuring.measure(scene, pairs, console.track)

    write_json(metrics, measuring.told(measured, scene, digest))
    write_reports(table, measured.figures)
    write_reports(cycles, [point for walk in measured.walks for point in walk.points])
    write_reports(pair_table, measured.rows)
    recipes.write_outcomes(use_table, measured.trials)
    write_picture(pairs_sheet, figures.gallery(*context.gallery(pairs, 8)))
    write_picture(cycles_sheet, figures.gallery(*cycle_consistency.gallery(scene, measured.walks)))
    watch.say("evaluate", len(pairs), "pairs")


if __name__ == "__main__":
    app()
