"""The command line for people: try the trained networks out, choose a profile, check the data.

Here arguments are declared and checked, without torch; then `showing.py` is loaded and does it.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pairsynth import arguments, config, console
from pairsynth.errors import InputError
from pairsynth.whole_files import MAKERS

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})

TRY = "Try the trained networks"
DATA = "Look at the data, choose parameters"

Data = Annotated[Path, typer.Option(help="Folder that the stages wrote to.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Output = Annotated[Path, typer.Option(help="PNG file to write.")]
Seed = Annotated[int, typer.Option(min=0, help="Another number, another draw.")]


def _tell_version(wanted: bool) -> None:
    from importlib.metadata import version

    if wanted:
        typer.echo(f"pairsynth {version('pairsynth')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Images for sentences, sentences for images, and what lies between them.

    Every command has examples: pairsynth draw --help.
    """


class Over(StrEnum):
    """What a mixture is a density of."""

    psi = "psi"
    phi = "phi"


class Form(StrEnum):
    """What the data set can be exported to: the keys of `export.EXPORTS`."""

    webdataset = "webdataset"
    folder = "folder"
    croissant = "croissant"


@console.command(
    app,
    'pairsynth draw "this flower is red with a yellow center"',
    "pairsynth draw sentences.txt --count 4 --output sheet.png",
    "grep blue captions.txt | pairsynth draw - --output drawn/",
    panel=TRY,
)
def draw(
    sentences: Annotated[
        list[str],
        typer.Argument(help="Sentences, or text files of one a line; - reads them from stdin."),
    ],
    count: Annotated[int, typer.Option(min=1, help="Images of each.")] = 8,
    output: Annotated[
        Path, typer.Option(help="PNG of all; or a new folder: a PNG each, and metadata.jsonl.")
    ] = Path("draw.png"),
    seed: Seed = 0,
    enlarge: Annotated[int, typer.Option(min=1, max=16, help="Side of a pixel on a sheet.")] = 3,
    data: Data = Path("data"),
    device: Device = "auto",
) -> None:
    """Draw images for sentences of your own."""
    arguments.check_output(output, ".png", folder=True)
    asked = arguments.sentences(sentences)
    arguments.check_sheet(output, len(asked))
    arguments.check_networks(data, device)
    from pairsynth import showing

    showing.draw(showing.load(data, device), asked, count, output, seed, enlarge)


@console.command(
    app,
    "pairsynth caption photo.jpg other.png",
    "pairsynth caption photos/ --count 0 --output captions.jsonl",
    "pairsynth caption 'photos/**/*.jpg' --output captions.csv",
    panel=TRY,
)
def caption(
    images: Annotated[list[str], typer.Argument(help="Image files, folders of them, globs.")],
    count: Annotated[int, typer.Option(min=0, help="Freer captions for each.")] = 3,
    output: Annotated[
        Path | None, typer.Option(help="File to write, .jsonl or .csv, instead of telling them.")
    ] = None,
    seed: Seed = 0,
    data: Data = Path("data"),
    device: Device = "auto",
) -> None:
    """Write captions for images: the best by beam search, then some by nucleus sampling."""
    if output is not None:
        arguments.check_output(output, ".jsonl", ".csv")
    files = arguments.images(images)
    arguments.check_networks(data, device)
    from pairsynth import showing

    showing.caption(showing.load(data, device), files, count, seed, output)


@console.command(
    app,
    'pairsynth blend "this flower is red" "this flower is blue"',
    "pairsynth blend one.jpg other.jpg --steps 5 --output between.png",
    panel=TRY,
)
def blend(
    left: Annotated[str, typer.Argument(help="A sentence or an image file.")],
    right: Annotated[str, typer.Argument(help="Another of the same kind.")],
    steps: Annotated[int, typer.Option(min=2, max=64, help="Images in the strip.")] = 9,
    output: Output = Path("blend.png"),
    seed: Seed = 0,
    data: Data = Path("data"),
    device: Device = "auto",
) -> None:
    """Go from one sentence, or one image, to another in equal steps of lambda."""
    arguments.check_output(output, ".png")
    are_images = [arguments.is_image(end) for end in (left, right)]
    if are_images[0] is not are_images[1]:
        raise InputError(
            f"{left!r} and {right!r}: one is an image file, the other is not; give two alike"
        )
    for end in (left, right) if are_images[0] else ():
        arguments.opened(Path(end))
    arguments.check_networks(data, device)
    from pairsynth import showing

    ends = (left, right)
    showing.blend(showing.load(data, device), ends, are_images[0], steps, output, seed)


@console.command(
    app,
    'pairsynth cycle "this flower has white petals" --turns 3',
    "pairsynth cycle photo.jpg --output around.png",
    panel=TRY,
)
def cycle(
    source: Annotated[str, typer.Argument(help="A sentence or an image file.")],
    turns: Annotated[int, typer.Option(min=1, max=64, help="Times around.")] = 3,
    output: Output = Path("cycle.png"),
    seed: Seed = 0,
    data: Data = Path("data"),
    device: Device = "auto",
) -> None:
    """Go from image to sentence to image, or from sentence to image to sentence, and on."""
    arguments.check_output(output, ".png")
    from_image = arguments.is_image(source)
    if from_image:
        arguments.opened(Path(source))
    arguments.check_networks(data, device)
    from pairsynth import showing

    showing.cycle(showing.load(data, device), source, from_image, turns, output, seed)


@console.command(
    app,
    "pairsynth components",
    "pairsynth components --over phi --rows 16 --columns 4 --output phi.png",
    panel=TRY,
)
def components(
    over: Annotated[Over, typer.Option(help="Mixture of captions or of images.")] = Over.psi,
    rows: Annotated[int, typer.Option(min=1, help="Components, the heaviest first.")] = 8,
    columns: Annotated[int, typer.Option(min=1, help="Images of each.")] = 8,
    output: Output = Path("components.png"),
    seed: Seed = 0,
    data: Data = Path("data"),
    device: Device = "auto",
) -> None:
    """Draw a row of images from each of the heaviest components of a mixture."""
    arguments.check_output(output, ".png")
    arguments.check_networks(data, device, "gmm.npz")
    from pairsynth import showing

    showing.components(showing.load(data, device), data, over, rows, columns, output, seed)


@console.command(
    app, "pairsynth look", "pairsynth look --seed 1 --no-time --output twelve.png", panel=DATA
)
def look(
    output: Output = Path("look.png"),
    seed: Seed = 0,
    time: Annotated[
        bool, typer.Option(help="Train for some seconds, to estimate how long all would take.")
    ] = True,
    data: Data = Path("data"),
    params: Annotated[Path, typer.Option(help="Parameters of the stages.")] = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """See what download made, before the long run: images, splits, words, oddities, time."""
    arguments.check_output(output, ".png")
    arguments.check_device(device)
    asked = config.load_precision(params)
    if not (data / "pictures").is_dir():
        raise InputError(f"{data / 'pictures'} is missing; run: dvc repro download")
    from pairsynth import preview

    preview.show(data, params, output, seed)
    if time:
        preview.tell_pace(data, params, seed, device, asked)


@console.command(
    app, "pairsynth profile", "pairsynth profile oxford102-cpu && git diff params.yaml", panel=DATA
)
def profile(
    name: Annotated[str, typer.Argument(help="One of the profiles; none: list them.")] = "",
    params: Annotated[Path, typer.Option(help="File to change.")] = Path("params.yaml"),
) -> None:
    """Write a named set of parameters to params.yaml, or list the sets there are."""
    from pairsynth.profile import apply, profiles

    if not name:
        for known, about in profiles().items():
            typer.echo(f"{known:<16}{about}")
        return
    changes = apply(name, params)
    for change in changes:
        typer.echo(f"{change.key}: {change.old} -> {change.new}")
    typer.echo(f"{params}: {len(changes)} values changed; see: git diff {params}")


@console.command(
    app,
    "pairsynth verify",
    "pairsynth verify --data elsewhere/data",
    "pairsynth verify --replay 20",
    panel=DATA,
)
def verify(
    data: Data = Path("data"),
    replay: Annotated[int, typer.Option(min=0, help="Random pairs to make again.")] = 0,
    device: Device = "auto",
) -> None:
    """Read every artifact whole and check that they belong together."""
    arguments.check_device(device)
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; run: dvc repro")
    if not any((data / name).exists() for name in MAKERS):
        raise InputError(f"{data}: holds nothing of ours; name the folder that the stages wrote to")
    from pairsynth import verification

    damaged = []
    for finding in verification.findings(data):
        typer.echo(str(finding))
        damaged += [finding] if finding.sound is False else []
    if damaged:
        raise InputError(f"{len(damaged)} damaged: {', '.join(f.detail for f in damaged)}")
    if replay:
        from pairsynth import showing

        showing.replay_some(data, replay, device)


@console.command(app, "pairsynth replay pair-0000123 pair-0000007", panel=DATA)
def replay(
    pairs: Annotated[list[str], typer.Argument(help="Ids, like pair-0000123.")],
    data: Data = Path("data"),
    device: Device = "auto",
) -> None:
    """Make pairs of the data set again and say whether they are the same bytes."""
    arguments.check_device(device)
    from pairsynth import showing

    showing.replay(data, pairs, device)


@console.command(
    app,
    "pairsynth export tars --to webdataset",
    "pairsynth export images --to folder",
    "pairsynth export metadata --to croissant",
    panel=DATA,
)
def export(
    target: Annotated[Path, typer.Argument(help="Folder to make.")],
    to: Annotated[Form, typer.Option(help="What to make of the data set.")],
    data: Data = Path("data"),
) -> None:
    """Write the data set in another form: WebDataset's tars, a folder of images, Croissant."""
    from pairsynth import export as exporting

    count = exporting.export(data / "synthetic", to, target)
    typer.echo(f"{target}: {count:,} pairs")


if __name__ == "__main__":
    app()
