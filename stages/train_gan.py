"""Train the generator and the discriminator on psi and pictures of the train split."""

from pathlib import Path

import typer

from pairsynth import config, devices, doors, gan_training, seeds
from pairsynth.artifacts import (
    file_digest,
    read_embeddings,
    read_pictures,
    write_json,
    write_picture,
    write_reports,
)
from pairsynth.gan_training import GanConfig

app = typer.Typer()


@doors.command(app)
def main(
    pictures: Path,
    embeddings: Path,
    encoder: Path,
    gan: Path,
    metrics: Path,
    curve: Path,
    samples: Path,
    params: Path = Path("params.yaml"),
    device: str = "auto",
) -> None:
    """Train the generator and the discriminator on psi and pictures of the train split."""
    watch = doors.Stopwatch()
    options = config.load(GanConfig, "train_gan", params)
    seed = config.load_seed(params)

    train = read_pictures(pictures, "train")
    psi = read_embeddings(embeddings, "train", train)
    val = read_pictures(pictures, "val")
    val_psi = read_embeddings(embeddings, "val", val)
    where = devices.choose(device)

    seeds.fix(seed, "train_gan")
    model = gan_training.build(options, train, psi, file_digest(encoder)).to(where)

    training = gan_training.train(model, train, psi, options, seed, where)
    reports = list(doors.track(training, options.epochs, "train_gan", "epochs"))
    figures = gan_training.figures(model.eval(), val, val_psi, reports, seed)
    typer.echo(gan_training.verdict(figures["drawn_spread"], figures["real_spread"]))

    model.save(gan)
    write_reports(curve, reports)
    write_picture(samples, gan_training.sample_sheet(model, val, val_psi, seed))
    write_json(metrics, figures)
    watch.say("train_gan", sum(report.images for report in reports), "images")


if __name__ == "__main__":
    app()
