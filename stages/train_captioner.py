"""Train the LSTM that reads phi(v), the frozen last convolution of the discriminator."""

from pathlib import Path

import typer

from pairsynth import captioner_training, config, console, devices, parallel, resume, seeds
from pairsynth.artifacts import file_digest
from pairsynth.captioner_training import CaptionerConfig
from pairsynth.config import Precision
from pairsynth.examples import read_examples
from pairsynth.gan import load_gan
from pairsynth.whole_files import check_outputs, write_json, write_reports

app = typer.Typer()


@console.command(app)
def main(
    examples: Path,
    gan: Path,
    captioner: Path,
    metrics: Path,
    curve: Path,
    params: Path = Path("params.yaml"),
    device: str = "auto",
    precision: Precision | None = None,
) -> None:
    """Train the LSTM that reads phi(v), the frozen last convolution of the discriminator."""
    stopwatch = console.Stopwatch()
    config.check_all(params)
    check_outputs([examples, gan], files=[captioner, curve, metrics])
    options = config.load(CaptionerConfig, "train_captioner", params)
    seed = config.load_seed(params)

    train = read_examples(examples, "train")
    val = read_examples(examples, "val")
    parallel.launch("stages.train_captioner", config.load_processes(params))
    where = parallel.join(devices.choose(device, precision or config.load_precision(params)))
    numbers = devices.precision_name(where)
    facts = {"options": options, "seed": seed, "device": where, "precision": numbers}
    kept = resume.begin("train_captioner", [examples, gan], **facts)
    networks = load_gan(gan, where, pictures=train.digest)

    seeds.fix(seed, "train_captioner")
    model = captioner_training.build(options, train, networks, file_digest(gan)).to(where)

    training = captioner_training.train(model, networks, train, val, options, seed, where, kept)
    reports = list(console.track(training, options.epochs, "train_captioner", "epochs"))
    parallel.leave()

    model.save(captioner)
    write_reports(curve, reports)
    write_json(metrics, {"precision": numbers, **captioner_training.summary(model, reports)})
    kept.discard()
    stopwatch.say("train_captioner", sum(report.words for report in reports[kept.done :]), "words")


if __name__ == "__main__":
    app()
