"""Train psi and the image tower in one space, then embed every caption and image."""

from pathlib import Path

import typer

from pairsynth import config, console, devices, encoder_training, parallel, resume, seeds
from pairsynth.artifacts import SPLITS, file_digest
from pairsynth.config import Precision
from pairsynth.encoder_training import EncoderConfig, SeenImages
from pairsynth.examples import read_examples
from pairsynth.whole_files import check_outputs, new_folder, write_json, write_reports

app = typer.Typer()


@console.command(app)
def main(
    examples: Path,
    encoder: Path,
    embeddings: Path,
    metrics: Path,
    curve: Path,
    params: Path = Path("params.yaml"),
    device: str = "auto",
    precision: Precision | None = None,
) -> None:
    """Train psi and the image tower in one space, then embed every caption and image."""
    stopwatch = console.Stopwatch()
    config.check_all(params)
    check_outputs([examples], files=[encoder, curve, metrics], folders=[embeddings])
    options = config.load(EncoderConfig, "embed", params)
    seed = config.load_seed(params)

    splits = {split: read_examples(examples, split) for split in SPLITS}
    parallel.launch("stages.embed", config.load_processes(params))
    where = parallel.join(devices.choose(device, precision or config.load_precision(params)))

    seeds.fix(seed, "embed")
    model = encoder_training.build(options, splits["train"]).to(where)
    weights = [Path(path) for path in (options.image_weights,) if config.named(path)]
    numbers = devices.precision_name(where)
    facts = {"options": options, "seed": seed, "device": where, "precision": numbers}
    facts["made_from"] = model.made_from
    kept = resume.begin("embed", [examples, *weights], **facts)

    images = SeenImages(
        model,
        splits,
        where,
        lambda blocks: console.track(blocks, len(blocks), "embed", "blocks"),
        kept,
    )
    training = encoder_training.train(model, images, options, seed, where, kept)
    reports = list(console.track(training, options.epochs, "embed", "epochs"))
    parallel.leave()
    summary = encoder_training.summary(model, images)
    typer.echo(encoder_training.verdict(summary))

    model.save(encoder)
    digest = file_digest(encoder)
    with new_folder(embeddings) as folder:
        for split in splits:
            encoder_training.embed(model, images, folder, split, digest)
    write_reports(curve, reports)
    write_json(metrics, {"precision": numbers, **summary})
    kept.discard()
    stopwatch.say("embed", sum(report.images for report in reports[kept.done :]), "images")


if __name__ == "__main__":
    app()
