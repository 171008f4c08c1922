"""Make novel pairs by {prototype, density} x {text, image} and write them as a dataset."""

from pathlib import Path

import typer

from pairsynth import config, console, devices, mixture, seeds, synthesis
from pairsynth.artifacts import check_outputs, file_digest, new_folder, write_json
from pairsynth.dataset import Refusals, write_pairs
from pairsynth.examples import read_embeddings, read_pictures
from pairsynth.mappings import load_mappings
from pairsynth.metrics import wording
from pairsynth.metrics.novelty import NoveltyIndex
from pairsynth.synthesis import SynthesisConfig, SynthesisInputs

app = typer.Typer()


@console.command(app)
def main(
    pictures: Path,
    embeddings: Path,
    encoder: Path,
    gan: Path,
    captioner: Path,
    mixtures: Path,
    synthetic: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
    device: str = "auto",
) -> None:
    """Make novel pairs by {prototype, density} x {text, image} and write them as a dataset."""
    watch = console.Stopwatch()
    config.check_all(params)
    check_outputs(
        [pictures, embeddings, encoder, gan, captioner, mixtures],
        files=[metrics],
        folders=[synthetic],
    )
    options = config.load(SynthesisConfig, "synthesize", params)
    seed = config.load_seed(params)

    train = read_pictures(pictures, "train")
    val = read_pictures(pictures, "val")
    where = devices.choose(device)

    seeds.fix(seed, "synthesize")
    mappings = load_mappings(encoder, gan, captioner, where, train.digest)
    source = {"pictures": train.digest, **mappings.digests}
    psi = read_embeddings(embeddings, "train", train, source["encoder"])
    known = {name: source[name] for name in ("pictures", "encoder", "gan")}
    fitted = mixture.load(mixtures, mappings.sizes, **known)
    source["mixtures"] = file_digest(mixtures)
    novelty = NoveltyIndex(train, psi.psi, val, mappings.gan.size)
    held_out = read_embeddings(embeddings, "val", val, source["encoder"])
    own = held_out.image.repeat_interleave(val.first_caption.diff(), 0)
    asked = wording.standard(train.flat_captions, val.flat_captions, held_out.psi, own)
    world = SynthesisInputs(train, psi, fitted, mappings, novelty, asked, options, seed, source)

    refusals = Refusals()
    made = synthesis.synthesize(world, refusals)
    rows = synthesis.rows(world, console.track(made, options.pairs, "synthesize", "pairs"))
    with new_folder(synthetic) as folder:
        write_pairs(folder, rows, synthesis.facts(world), refusals)
        figures = synthesis.figures(folder, refusals)

    write_json(metrics, figures)
    watch.say("synthesize", options.pairs, "pairs")


if __name__ == "__main__":
    app()
