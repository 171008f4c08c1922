"""Train the generator and the discriminator on psi and images of the train split."""

from pathlib import Path

import typer

from pairsynth import (
    collapse_monitor,
    config,
    console,
    devices,
    gan_training,
    parallel,
    resume,
    seeds,
)
from pairsynth.artifacts import write_image
from pairsynth.checkpoints import checked_digest
from pairsynth.config import Precision
from pairsynth.examples import read_embeddings, read_examples
from pairsynth.gan_training import GanConfig
from pairsynth.whole_files import check_outputs, write_json, write_reports

app = typer.Typer()


@console.command(app)
def main(
    examples: Path,
    embeddings: Path,
    encoder: Path,
    gan: Path,
    metrics: Path,
    curve: Path,
    samples: Path,
    progress: Path,
    params: Path = Path("params.yaml"),
    device: str = "auto",
    precision: Precision | None = None,
) -> None:
    """Train the generator and the discriminator on psi and images of the train split."""
    stopwatch = console.Stopwatch()
    config.check_all(params)
    check_outputs([examples, embeddings, encoder], files=[gan, curve, samples, progress, metrics])
    options = config.load(GanConfig, "train_gan", params)
    seed = config.load_seed(params)

    train = read_examples(examples, "train")
    digest = checked_digest(encoder, "encoder")
    psi = read_embeddings(embeddings, "train", train, digest)
    val = read_examples(examples, "val")
    val_psi = read_embeddings(embeddings, "val", val, digest)
    parallel.launch("stages.train_gan", config.load_processes(params))
    where = parallel.join(devices.choose(device, precision or config.load_precision(params)))
    inputs = [examples, embeddings, encoder]
    numbers = devices.precision_name(where)
    facts = {"options": options, "seed": seed, "device": where, "precision": numbers}
    facts["made_from"] = gan_training.looks_through(options)
    kept = resume.begin("train_gan", inputs, **facts)

    seeds.fix(seed, "train_gan")
    model = gan_training.build(options, train, psi, digest).to(where)
    monitor = collapse_monitor.CollapseMonitor(val, val_psi, model.size, model.noise, seed, where)

    training = gan_training.train(model, train, psi, options, seed, where, monitor, kept)
    training = monitor.alarmed(console.track(training, options.epochs, "train_gan", "epochs"))
    reports = list(training)
    parallel.leave()
    typer.echo(collapse_monitor.verdict(reports[-1], monitor.real_spread))

    model.eval().save(gan)
    write_reports(curve, reports)
    write_image(samples, gan_training.sample_sheet(model, val, val_psi, seed))
    write_image(progress, monitor.sheet(model.generator, reports[-1].epoch))
    write_json(metrics, {"precision": numbers, **gan_training.summary(reports, monitor)})
    kept.discard()
    stopwatch.say("train_gan", sum(report.images for report in reports[kept.done :]), "images")


if __name__ == "__main__":
    app()
