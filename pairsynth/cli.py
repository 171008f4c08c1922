"""The command line for people: try the trained networks out, choose a profile, check the data."""

import os
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor

from pairsynth import console, devices, exploration, images, mixture, verification
from pairsynth import export as exporting
from pairsynth import replay as replaying
from pairsynth.artifacts import check_outputs, write_picture
from pairsynth.errors import InputError
from pairsynth.mappings import Mappings, load_mappings
from pairsynth.profile import apply, profiles
from pairsynth.strips import strip
from pairsynth.text import split

app = typer.Typer(no_args_is_help=True)

Data = Annotated[Path, typer.Option(help="Folder that the stages wrote to.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Output = Annotated[Path, typer.Option(help="PNG file to write.")]
Seed = Annotated[int, typer.Option(min=0, help="Another number, another draw.")]


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pairsynth {version('pairsynth')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Pictures for sentences, sentences for pictures, and what lies between them."""


class Over(StrEnum):
    """What a mixture is a density of."""

    psi = "psi"
    phi = "phi"


Form = StrEnum("Form", {name: name for name in exporting.EXPORTS})  # type: ignore[misc]


@console.command(app)
def draw(
    sentence: Annotated[str, typer.Argument(help="What the pictures shall show.")],
    count: Annotated[int, typer.Option(min=1, help="Pictures to draw.")] = 8,
    output: Output = Path("draw.png"),
    seed: Seed = 0,
    enlarge: Annotated[int, typer.Option(min=1, max=16, help="Side of a pixel.")] = 3,
    data: Data = Path("data"),
    device: Device = "auto",
) -> None:
    """Draw pictures for a sentence of your own."""
    _check(output)
    mappings = _load(data, device)
    psi = mappings.psi([_understood(mappings, sentence)]).expand(count, -1)
    pixels = exploration.draw(mappings, psi, exploration.noise_rows(mappings, count, seed))
    _save(output, images.grid(pixels, min(count, 8), enlarge))


@console.command(app)
def caption(
    pictures: Annotated[list[Path], typer.Argument(help="Picture files.")],
    count: Annotated[int, typer.Option(min=0, help="Freer captions for each.")] = 3,
    seed: Seed = 0,
    data: Data = Path("data"),
    device: Device = "auto",
) -> None:
    """Write captions for pictures: the best by beam search, then some by nucleus sampling."""
    mappings = _load(data, device)
    pixels = torch.cat([_opened(mappings, path) for path in pictures])
    for path, phi in zip(pictures, mappings.phi(pixels).split(1), strict=True):
        typer.echo(f"{path}\n  best  {mappings.describe(phi)[0]}")
        for free in exploration.describe_freely(mappings, phi, count, seed):
            typer.echo(f"  free  {free}")


@console.command(app)
def blend(
    left: Annotated[str, typer.Argument(help="A sentence or a picture file.")],
    right: Annotated[str, typer.Argument(help="Another of the same kind.")],
    steps: Annotated[int, typer.Option(min=2, max=64, help="Pictures in the strip.")] = 9,
    output: Output = Path("blend.png"),
    seed: Seed = 0,
    data: Data = Path("data"),
    device: Device = "auto",
) -> None:
    """Go from one sentence, or one picture, to another in equal steps of lambda."""
    _check(output)
    if _is_picture(left) is not _is_picture(right):
        raise InputError(
            f"{left!r} and {right!r}: one is a picture file, the other is not; give two alike"
        )
    mappings = _load(data, device)
    shares = torch.linspace(1, 0, steps)[:, None]
    noise = exploration.noise_rows(mappings, 1, seed)
    if _is_picture(left):
        pictures = [_opened(mappings, Path(end)) for end in (left, right)]
        captions, pixels = exploration.blend_pictures(mappings, pictures, shares, noise)
    else:
        sentences = [_understood(mappings, end) for end in (left, right)]
        captions, pixels = exploration.blend_sentences(mappings, sentences, shares, noise)
    lambdas = [f"{share:.2f}" for share in shares.flatten().tolist()]
    typer.echo(f"lambda  caption (lambda is the share of {left!r})")
    for share, written in zip(lambdas, captions, strict=True):
        typer.echo(f"{share:>6}  {written}")
    labels = [f"{share}: {written}" for share, written in zip(lambdas, captions, strict=True)]
    _save(output, strip(pixels, labels, f"{left}  ->  {right}"))


@console.command(app)
def cycle(
    source: Annotated[str, typer.Argument(help="A sentence or a picture file.")],
    turns: Annotated[int, typer.Option(min=1, max=64, help="Times around.")] = 3,
    output: Output = Path("cycle.png"),
    seed: Seed = 0,
    data: Data = Path("data"),
    device: Device = "auto",
) -> None:
    """Go from picture to sentence to picture, or from sentence to picture to sentence, and on."""
    _check(output)
    from_picture = _is_picture(source)
    mappings = _load(data, device)
    noise = exploration.noise_rows(mappings, 1, seed)
    start = [_opened(mappings, Path(source))] if from_picture else []
    if from_picture:
        found, cosines = exploration.picture_cycle(mappings, start[0], turns, noise)
    else:
        sentence = _understood(mappings, source)
        found, cosines = exploration.sentence_cycle(mappings, sentence, turns, noise)
    typer.echo(f"turn  cosine of {'phi' if from_picture else 'psi'} to the start  caption")
    for number, (turn, cosine) in enumerate(zip(found, cosines, strict=True), 1):
        typer.echo(f"{number:>4}  {cosine:>26.3f}  {turn.captions[0]}")
    pixels = torch.cat([*start, *(turn.pixels for turn in found)])
    labels = ["start"] * len(start) + [turn.captions[0] for turn in found]
    _save(output, strip(pixels, labels, source))


@console.command(app)
def components(
    over: Annotated[Over, typer.Option(help="Mixture of captions or of pictures.")] = Over.psi,
    rows: Annotated[int, typer.Option(min=1, help="Components, the heaviest first.")] = 8,
    columns: Annotated[int, typer.Option(min=1, help="Pictures of each.")] = 8,
    output: Output = Path("components.png"),
    seed: Seed = 0,
    data: Data = Path("data"),
    device: Device = "auto",
) -> None:
    """Draw a row of pictures from each of the heaviest components of a mixture."""
    _check(output)
    mappings = _load(data, device)
    digests = {name: mappings.digests[name] for name in ("encoder", "gan")}
    fitted = mixture.load(data / "gmm.npz", mappings.sizes, **digests)[over]
    kept = exploration.heaviest(fitted, rows)
    psi = torch.cat(
        [
            exploration.component_psi(mappings, fitted, over, component, columns, seed)
            for component in kept
        ]
    )
    pixels = exploration.draw(mappings, psi, exploration.noise_rows(mappings, len(psi), seed))
    typer.echo(" row  component  weight")
    for row, component in enumerate(kept, 1):
        typer.echo(f"{row:>4}  {component:>9}  {fitted.weights[component]:.4f}")
    _save(output, images.grid(pixels, columns, 2))


@console.command(app)
def profile(
    name: Annotated[str, typer.Argument(help="One of the profiles; none: list them.")] = "",
    params: Annotated[Path, typer.Option(help="File to change.")] = Path("params.yaml"),
) -> None:
    """Write a named set of parameters to params.yaml, or list the sets there are."""
    if not name:
        for known, about in profiles().items():
            typer.echo(f"{known:<16}{about}")
        return
    changes = apply(name, params)
    for change in changes:
        typer.echo(f"{change.key}: {change.old} -> {change.new}")
    typer.echo(f"{params}: {len(changes)} values changed; see: git diff {params}")


@console.command(app)
def verify(
    data: Data = Path("data"),
    replay: Annotated[int, typer.Option(min=0, help="Random pairs to make again.")] = 0,
    device: Device = "auto",
) -> None:
    """Read every artifact whole and check that they belong together."""
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; run: dvc repro")
    if not any((data / name).exists() for name in verification.CHECKS):
        raise InputError(f"{data}: holds nothing of ours; name the folder that the stages wrote to")
    damaged = []
    for finding in verification.findings(data):
        typer.echo(str(finding))
        damaged += [finding] if finding.sound is False else []
    if damaged:
        raise InputError(f"{len(damaged)} damaged: {', '.join(f.detail for f in damaged)}")
    if replay:
        _replay(data, replaying.some(data / "synthetic", replay, np.random.default_rng()), device)


@console.command(app)
def replay(
    pairs: Annotated[list[str], typer.Argument(help="Ids, like pair-0000123.")],
    data: Data = Path("data"),
    device: Device = "auto",
) -> None:
    """Make pairs of the data set again and say whether they are the same bytes."""
    _replay(data, pairs, device)


def _replay(data: Path, pairs: list[str], device: str) -> None:
    workshop = replaying.Workshop(data / "synthetic", device)
    for difference in workshop.differences:
        typer.echo(f"notice: {difference} than when the pairs were made", err=True)
    odd = 0
    for one in workshop.replays(pairs):
        typer.echo(str(one))
        odd += bool(one.odd)
    if odd:
        reasons = "; ".join(workshop.differences) or "nothing that the manifest names is another"
        raise InputError(f"{odd} of {len(pairs)} pairs came out another ({reasons})")


@console.command(app)
def export(
    target: Annotated[Path, typer.Argument(help="Folder to make.")],
    to: Annotated[Form, typer.Option(help="What to make of the data set.")],
    data: Data = Path("data"),
) -> None:
    """Write the data set in another form: WebDataset's tars, a folder of images, Croissant."""
    count = exporting.export(data / "synthetic", to, target)
    typer.echo(f"{target}: {count:,} pairs")


# ---------------------------------------------------------------- what the user gave


def _load(data: Path, device: str) -> Mappings:
    encoder, gan, captioner = (data / f"{name}.pt" for name in ("encoder", "gan", "captioner"))
    return load_mappings(encoder, gan, captioner, devices.choose(device))


def _is_picture(text: str) -> bool:
    """Whether `text` names a picture file; a name like one without such a file is refused."""
    if os.path.isfile(text):
        return True
    if text.lower().endswith(tuple(images.endings())):
        raise InputError(f"{text}: no such file")
    return False


def _opened(mappings: Mappings, path: Path) -> Tensor:
    """The picture at `path` at the size the networks see, uint8 (1, 3, S, S)."""
    try:
        picture = images.decode(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    return images.to_tensor(images.fit(picture, mappings.gan.size))[None]


def _understood(mappings: Mappings, sentence: str) -> str:
    """The sentence, after a notice on stderr of what psi does not see in it.

    Raises:
        InputError: where psi would see no word at all.
    """
    vocabulary, length = mappings.encoder.vocabulary, mappings.encoder.text.length - 2
    tokens = split(sentence, vocabulary.unit)
    known = [token for token in tokens[:length] if token in vocabulary.numbers]
    if not set(known) - {",", " "}:
        some = ", ".join(token for token in vocabulary.tokens[4:] if len(token) > 3)
        raise InputError(f"{sentence!r}: no word of it is known; known are {some[:100]} ...")
    unknown = dict.fromkeys(token for token in tokens if token not in vocabulary.numbers)
    if unknown:
        typer.echo(f"notice: not known and not seen: {', '.join(unknown)}", err=True)
    if len(tokens) > length:
        typer.echo(f"notice: only the first {length} {vocabulary.unit}s are read", err=True)
    return sentence


def _check(output: Path) -> None:
    """Refuse a file that could not be written, before the networks are read."""
    if output.suffix.lower() != ".png":
        raise InputError(f"--output {output}: only PNG is written; give a name that ends in .png")
    try:
        check_outputs(files=[output])
    except InputError as error:
        raise InputError(f"--output {error}") from error


def _save(output: Path, picture: Image.Image) -> None:
    write_picture(output, picture)
    typer.echo(output)


if __name__ == "__main__":
    app()
