"""Fit Gaussian mixtures over psi(t) and over phi(v) of the train split."""

from functools import partial
from pathlib import Path

import typer

from pairsynth import config, console, devices, mixture, mixture_fitting, seeds
from pairsynth.artifacts import file_digest
from pairsynth.examples import read_embeddings, read_examples
from pairsynth.gan import load_gan, phi_of
from pairsynth.mixture_fitting import MixtureConfig
from pairsynth.whole_files import check_outputs, write_json, write_reports

app = typer.Typer()


@console.command(app)
def main(
    examples: Path,
    embeddings: Path,
    gan: Path,
    mixtures: Path,
    metrics: Path,
    tried: Path,
    params: Path = Path("params.yaml"),
    device: str = "auto",
) -> None:
    """Fit Gaussian mixtures over psi(t) and over phi(v) of the train split."""
    stopwatch = console.Stopwatch()
    config.check_all(params)
    check_outputs([examples, embeddings, gan], files=[mixtures, tried, metrics])
    options = config.load(MixtureConfig, "fit_gmm", params)
    seed = config.load_seed(params)

    train = read_examples(examples, "train")
    where = devices.choose(device)
    networks = load_gan(gan, where, pictures=train.digest)
    source = {**networks.options["made_from"], "gan": file_digest(gan)}
    psi = read_embeddings(embeddings, "train", train, source.get("encoder", "")).psi

    phi = partial(phi_of, networks, device=where)
    rng = seeds.stream(seed, "fit_gmm")
    fits = mixture_fitting.fit_both(psi, train.pixels, phi, options, rng)
    found = list(console.track(fits, 2, "fit_gmm", "mixtures"))

    mixture.save(mixtures, {fitted.over: fitted.mixture for fitted in found}, source)
    write_reports(tried, [one for fitted in found for one in fitted.tried])
    write_json(metrics, mixture_fitting.summary(found))
    stopwatch.say("fit_gmm", min(options.rows, len(psi)) + min(options.rows, len(train)), "vectors")


if __name__ == "__main__":
    app()
