"""Make novel pairs by {prototype, density} x {text, image} and write them as a dataset."""

from pathlib import Path
from typing import Annotated

import typer

from pairsynth import config, console, devices, resume, shard_making, synthesis
from pairsynth.latents import SynthesisConfig
from pairsynth.shard_making import ShardFactory
from pairsynth.whole_files import check_outputs, new_folder, write_json

app = typer.Typer()


@console.command(app)
def main(
    examples: Path,
    embeddings: Path,
    encoder: Path,
    gan: Path,
    captioner: Path,
    mixtures: Path,
    synthetic: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
    device: str = "auto",
    engine: Annotated[str, typer.Option(envvar="PAIRSYNTH_ENGINE")] = "local",
    workers: Annotated[int, typer.Option(envvar="PAIRSYNTH_WORKERS", min=0)] = 0,
    first: Annotated[int, typer.Option(min=0)] = 0,
    count: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Make novel pairs by {prototype, density} x {text, image} and write them as a dataset.

    engine: local or ray. workers: 0: as many as there are processors or GPUs. first, count: make
    only `count` shards from number `first` on, for a run without these to join; 0: all.
    """
    stopwatch = console.Stopwatch()
    config.check_all(params)
    inputs = [examples, embeddings, encoder, gan, captioner, mixtures]
    check_outputs(inputs, files=[metrics], folders=[synthetic])
    options = config.load(SynthesisConfig, "synthesize", params)
    factory = ShardFactory(
        pictures=examples,
        embeddings=embeddings,
        encoder=encoder,
        gan=gan,
        captioner=captioner,
        mixtures=mixtures,
        config=options,
        seed=config.load_seed(params),
        device=str(devices.choose(device)),
    )

    spans = factory.spans()
    asked = spans[first : first + count] if count else spans
    with resume.parts("synthesize", factory.digest, alone=not count) as folder:
        kept = shard_making.there_already(folder, synthetic, factory.digest, asked)
        todo = sum(span.count for span in asked if span not in kept)
        steps = shard_making.make_missing(factory, engine, workers, asked, kept, folder)
        for _ in console.track(steps, todo, "synthesize", "pairs"):
            pass
        if not count:
            with new_folder(synthetic) as new:
                refusals = shard_making.join(new, factory, kept, spans)
                summary = synthesis.summary(new, refusals)
            write_json(metrics, summary)
    stopwatch.say("synthesize", todo, "pairs")


if __name__ == "__main__":
    app()
