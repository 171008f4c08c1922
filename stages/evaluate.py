"""Measure captions, pictures, pairs, cycles and use, each beside its floor and its ceiling."""

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
    originality,
    rowwise,
    seeds,
    usefulness,
)
from pairsynth.artifacts import write_json, write_picture, write_reports
from pairsynth.bench import EvaluationConfig
from pairsynth.checkpoints import checked_digest
from pairsynth.mappings import load_mappings
from pairsynth.metrics import captions
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
    pair_table: Path,
    use_table: Path,
    pairs_sheet: Path,
    cycles_sheet: Path,
    params: Path = Path("params.yaml"),
    device: str = "auto",
) -> None:
    """Measure captions, pictures, pairs, cycles and use, each beside its floor and its ceiling."""
    watch = doors.Stopwatch()
    config.check_all(params)
    options, seed = config.load(EvaluationConfig, "evaluate", params), config.load_seed(params)

    splits, vectors = bench.read_splits(pictures, embeddings, checked_digest(encoder, "encoder"))
    where, source = devices.choose(device), splits["train"].digest
    mappings = load_mappings(encoder, gan, captioner, where, source)
    pairs, digest = bench.read_pairs(synthetic, options.pairs, pictures=source, **mappings.digests)
    novelty = NoveltyIndex(splits["train"], vectors["train"].psi, splits["val"], mappings.gan.size)

    seeds.fix(seed, "evaluate")
    judge = judges.build(splits["val"], mappings.gan.size).to(where)
    scene = bench.Bench(mappings, judge, splits, vectors, novelty, options, seed)

    training = judges.train(judge, splits["val"], options.judge_epochs, seed, where)
    list(doors.track(training, options.judge_epochs, "judge", "epochs"))
    drawn, rows = bench.draw_again(scene), rowwise.rows(scene, pairs)
    words = doors.track(evaluation.evaluate(scene, drawn, pairs), 8, "evaluate", "groups")
    new = doors.track(originality.originality(scene, pairs, rows), 4, "originality", "groups")
    views = likeness.likeness(scene, drawn.pixels, pairs)
    sets = doors.track(views, likeness.count(scene), "likeness", "sets")
    walks = list(doors.track(cycling.walk(scene), 2 * options.turns, "cycles", "turns"))
    pupils = doors.track(usefulness.use(scene, pairs), usefulness.count(scene), "use", "pupils")
    taught = [outcome for pupil in pupils for outcome in pupil]
    found = [figure for group in (*words, *new, *sets) for figure in group]
    found += usefulness.figures(taught)

    told = bench.figures(found) | cycling.figures(walks) | bench.provenance(splits, digest)
    others = [own[1:] or own for own in splits["test"].captions]
    verdicts = {
        "bleu_signature": captions.signature(others),
        "cycle_verdict": cycling.verdict(walks),
        "use_verdict": usefulness.verdict(taught),
    }
    write_json(metrics, told | verdicts)
    write_reports(table, found)
    write_reports(cycles, [point for walk in walks for point in walk.points])
    write_reports(pair_table, rows)
    usefulness.write_outcomes(use_table, taught)
    write_picture(pairs_sheet, figures.gallery(*bench.gallery(pairs, 8)))
    write_picture(cycles_sheet, figures.gallery(*cycling.gallery(scene, walks)))
    watch.say("evaluate", len(pairs), "pairs")


if __name__ == "__main__":
    app()
