"""Measure captions, pictures, pairs and cycles, each beside its floor and its ceiling."""

from pathlib import Path

import typer

from pairsynth import (
    bench,
    config,
    cycling,
    devices,
    doors,
    evaluation,
    figures,
    judges,
    likeness,
    seeds,
)
from pairsynth.artifacts import write_json, write_picture, write_reports
from pairsynth.bench import EvaluationConfig
from pairsynth.mappings import load_mappings
from pairsynth.metrics.novelty import NoveltyIndex

app = typer.Typer()


@doors.command(app)
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
    pairs_sheet: Path,
    cycles_sheet: Path,
    params: Path = Path("params.yaml"),
    device: str = "auto",
) -> None:
    """Measure captions, pictures, pairs and cycles, each beside its floor and its ceiling."""
    watch = doors.Stopwatch()
    options = config.load(EvaluationConfig, "evaluate", params)
    seed = config.load_seed(params)

    splits, vectors = bench.read_splits(pictures, embeddings)
    pairs = bench.read_pairs(synthetic, options.pairs)
    where = devices.choose(device)
    mappings = load_mappings(encoder, gan, captioner, where)
    novelty = NoveltyIndex(splits["train"], vectors["train"].psi, splits["val"], mappings.gan.size)

    seeds.fix(seed, "evaluate")
    judge = judges.build(splits["val"], mappings.gan.size).to(where)
    scene = bench.Bench(mappings, judge, splits, vectors, novelty, options, seed)

    training = judges.train(judge, splits["val"], options.judge_epochs, seed, where)
    list(doors.track(training, options.judge_epochs, "judge", "epochs"))
    drawn = bench.draw_again(scene)
    words = doors.track(evaluation.evaluate(scene, drawn, pairs), 8, "evaluate", "groups")
    sets = doors.track(likeness.likeness(scene, drawn.pixels, pairs), 12, "likeness", "sets")
    found = [figure for group in (*words, *sets) for figure in group]
    walks = list(doors.track(cycling.walk(scene), 2 * options.turns, "cycles", "turns"))

    write_json(metrics, bench.figures(found) | cycling.figures(walks))
    write_reports(table, found)
    write_reports(cycles, [point for walk in walks for point in walk.points])
    write_picture(pairs_sheet, figures.gallery(*bench.gallery(pairs, 8)))
    write_picture(cycles_sheet, figures.gallery(*cycling.gallery(scene, walks)))
    watch.say("evaluate", len(pairs.captions), "pairs")


if __name__ == "__main__":
    app()
