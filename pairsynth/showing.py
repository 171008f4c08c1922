"""The commands of the command line after their arguments are checked: load, draw, write, print."""

import csv
import difflib
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor

from pairsynth import arguments, console, devices, exploration, image_files, images, mixture, strips
from pairsynth import replay as replaying
from pairsynth.arguments import ImageFile, Sentence
from pairsynth.artifacts import write_image
from pairsynth.errors import InputError
from pairsynth.mappings import Mappings, load_mappings
from pairsynth.text import split
from pairsynth.whole_files import new_folder, write_whole

SHOWN = 20  # unknown words that are named
NEAR = 3  # known words that are named beside each


def load(data: Path, device: str) -> Mappings:
    """Load the three networks of `data` on `device`, which is printed on stderr."""
    encoder, gan, captioner = (data / f"{name}.pt" for name in arguments.NETWORKS)
    return load_mappings(encoder, gan, captioner, devices.choose(device))


# ---------------------------------------------------------------- sentences to images


def draw(
    mappings: Mappings, asked: Sequence[Sentence], count: int, output: Path, seed: int, scale: int
) -> None:
    """Draw `count` images of each sentence: one sheet where `output` is a PNG, else a folder."""
    tell_unknown(mappings, asked)
    noise = exploration.noise_rows(mappings, count, seed)
    drawn = (_drawn(mappings, sentence, noise) for sentence in asked)
    if not output.suffix:
        _write_folder(output, asked, console.track(drawn, len(asked), "draw", "sentences"))
    elif len(asked) == 1:
        write_image(output, images.grid(next(drawn), min(count, 8), scale))
    else:
        labels = [sentence.text for sentence in asked]
        write_image(output, strips.rows(list(drawn), labels, scale))
    typer.echo(output)


def _drawn(mappings: Mappings, sentence: Sentence, noise: Tensor) -> Tensor:
    return exploration.draw(mappings, mappings.psi([sentence.text]).expand(len(noise), -1), noise)


def _write_folder(output: Path, asked: Sequence[Sentence], drawn: Iterator[Tensor]) -> None:
    """Write a PNG for each image, and metadata.jsonl with its sentence."""
    lines = []
    with new_folder(output) as folder:
        for i, (sentence, pixels) in enumerate(zip(asked, drawn, strict=True), 1):
            for j, one in enumerate(pixels, 1):
                name = f"{i:05}-{j}.png"
                write_image(folder / name, images.to_image(one))
                lines.append(_json({"file_name": name, "caption": sentence.text}))
        write_whole(folder / "metadata.jsonl", "".join(lines).encode())


def tell_unknown(mappings: Mappings, asked: Sequence[Sentence]) -> None:
    """Warn on stderr about words that the encoder does not know, and sentences it cuts off.

    Raises:
        InputError: for a sentence without any known word.
    """
    vocabulary, length = mappings.encoder.vocabulary, mappings.encoder.text.length - 2
    unknown: Counter[str] = Counter()
    longer = 0
    for sentence in asked:
        tokens = split(sentence.text, vocabulary.unit)
        missing = dict.fromkeys(token for token in tokens if token not in vocabulary.numbers)
        if not set(tokens[:length]) - missing.keys() - {",", " "}:
            some = ", ".join(token for token in vocabulary.tokens[4:] if len(token) > 3)
            these = f": {_named(mappings, list(missing))}" if missing else ""
            raise InputError(
                f"{sentence.place}: no word of it is known{these}; known are {some[:100]} ..."
            )
        unknown.update(missing)
        longer += len(tokens) > length
    if unknown:
        told = f"notice: not known and not seen: {_named(mappings, list(unknown))}"
        typer.echo(console.line(told), err=True)
    if longer:
        which = "" if len(asked) == 1 else f" of {longer:,} sentences"
        typer.echo(f"notice: only the first {length} {vocabulary.unit}s are read{which}", err=True)


def _named(mappings: Mappings, words: Sequence[str]) -> str:
    """Unknown words, each with the known words closest in spelling."""
    known = [token for token in mappings.encoder.vocabulary.tokens[4:] if len(token) > 1]
    told = []
    for word in words[:SHOWN]:
        near = difflib.get_close_matches(word, known, NEAR)
        told.append(f"{word} (near it: {', '.join(near)})" if near else word)
    more = len(words) - SHOWN
    return ", ".join([*told, f"and {more:,} more"] if more > 0 else told)


# ---------------------------------------------------------------- images to sentences


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """Captions of an image: `best` by beam search, `free` by nucleus sampling."""

    path: Path
    best: str
    free: list[str]


def caption(
    mappings: Mappings, files: Sequence[ImageFile], count: int, seed: int, output: Path | None
) -> None:
    """Caption each image: on the terminal as they come, or into a .jsonl or .csv file.

    Unreadable files of a folder are left out and listed at the end.
    """
    refused: list[str] = []
    found = _captioned(mappings, files, count, seed, refused)
    if output is None:
        for one in found:
            freer = "".join(f"\n  free  {free}" for free in one.free)
            typer.echo(f"{one.path}\n  best  {one.best}{freer}")
    else:
        written = list(console.track(found, len(files) - len(refused), "caption", "images"))
        write_whole(output, _table(written, count, output.suffix.lower()).encode())
        typer.echo(f"{output}: {len(written):,} images")
    for reason in refused:
        typer.echo(console.line(f"notice: left out: {reason}"), err=True)
    if len(refused) == len(files):
        raise InputError(f"none of the {len(files):,} images can be read")


def _captioned(
    mappings: Mappings, files: Sequence[ImageFile], count: int, seed: int, refused: list[str]
) -> Iterator[Captioned]:
    for start in range(0, len(files), exploration.BATCH):
        paths, pixels = [], []
        for file in files[start : start + exploration.BATCH]:
            try:
                pixels.append(opened(mappings, file.path))
                paths.append(file.path)
            except InputError as error:
                if file.named:
                    raise
                refused.append(str(error))
        if not paths:
            continue
        phi = mappings.phi(torch.cat(pixels))
        keys = [hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in pixels]
        free = exploration.describe_freely(mappings, phi, keys, count, seed)
        for path, best, freer in zip(paths, mappings.describe(phi), free, strict=True):
            yield Captioned(path=path, best=best, free=freer)


def _table(found: Sequence[Captioned], count: int, ending: str) -> str:
    """The captions as JSON lines or CSV, with the column names of an image folder's metadata."""
    if ending == ".jsonl":
        return "".join(
            _json({"file_name": str(one.path), "caption": one.best, "free": one.free})
            for one in found
        )
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file_name", "caption", *(f"free_{i + 1}" for i in range(count))])
    writer.writerows([str(one.path), one.best, *one.free] for one in found)
    return buffer.getvalue()


def _json(row: dict[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def opened(mappings: Mappings, path: Path) -> Tensor:
    """The image at `path` at the size the networks see, uint8 (1, 3, S, S)."""
    return _fitted(mappings, arguments.opened(path))


def _fitted(mappings: Mappings, image: Image.Image) -> Tensor:
    return images.to_tensor(image_files.fit(image, mappings.gan.size))[None]


# ---------------------------------------------------------------- between and around


def blend(
    mappings: Mappings, ends: tuple[str, str], are_images: bool, steps: int, output: Path, seed: int
) -> None:
    """Draw a strip from one end to the other in equal steps of lambda, and print its captions."""
    shares = torch.linspace(1, 0, steps)[:, None]
    noise = exploration.noise_rows(mappings, 1, seed)
    if are_images:
        pixels_of_ends = [opened(mappings, Path(end)) for end in ends]
        captions, pixels = exploration.blend_images(mappings, pixels_of_ends, shares, noise)
    else:
        tell_unknown(mappings, [Sentence(text=end, place=repr(end)) for end in ends])
        captions, pixels = exploration.blend_sentences(mappings, list(ends), shares, noise)
    lambdas = [f"{share:.2f}" for share in shares.flatten().tolist()]
    typer.echo(f"lambda  caption (lambda is the share of {ends[0]!r})")
    for share, written in zip(lambdas, captions, strict=True):
        typer.echo(f"{share:>6}  {written}")
    labels = [f"{share}: {written}" for share, written in zip(lambdas, captions, strict=True)]
    write_image(output, strips.strip(pixels, labels, f"{ends[0]}  ->  {ends[1]}"))
    typer.echo(output)


def cycle(
    mappings: Mappings, source: str, from_image: bool, turns: int, output: Path, seed: int
) -> None:
    """Draw a strip of the turns of a cycle; print captions and each turn's cosine to the start."""
    noise = exploration.noise_rows(mappings, 1, seed)
    start = [opened(mappings, Path(source))] if from_image else []
    if from_image:
        found, cosines = exploration.image_cycle(mappings, start[0], turns, noise)
    else:
        tell_unknown(mappings, [Sentence(text=source, place=repr(source))])
        found, cosines = exploration.sentence_cycle(mappings, source, turns, noise)
    typer.echo(f"turn  cosine of {'phi' if from_image else 'psi'} to the start  caption")
    for number, (turn, cosine) in enumerate(zip(found, cosines, strict=True), 1):
        typer.echo(f"{number:>4}  {cosine:>26.3f}  {turn.captions[0]}")
    pixels = torch.cat([*start, *(turn.pixels for turn in found)])
    labels = ["start"] * len(start) + [turn.captions[0] for turn in found]
    write_image(output, strips.strip(pixels, labels, source))
    typer.echo(output)


def components(
    mappings: Mappings, data: Path, over: str, rows: int, columns: int, output: Path, seed: int
) -> None:
    """Draw a labelled row of images from each of the heaviest components."""
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
    labels = [f"component {one} of {over}, weight {fitted.weights[one]:.4f}" for one in kept]
    write_image(output, strips.rows(pixels.split(columns), labels, 2))
    typer.echo(output)


# ---------------------------------------------------------------- pairs made again


def replay_some(data: Path, count: int, device: str) -> None:
    """`replay` of `count` pairs at random."""
    replay(data, replaying.some(data / "synthetic", count, np.random.default_rng()), device)


def replay(data: Path, pairs: Sequence[str], device: str) -> None:
    """Make `pairs` again and print for each whether the bytes are the same.

    Raises:
        InputError: where any differ.
    """
    replayer = replaying.Replayer(data / "synthetic", device)
    for difference in replayer.differences:
        typer.echo(f"notice: {difference} than when the pairs were made", err=True)
    odd = 0
    for one in replayer.replays(pairs):
        typer.echo(str(one))
        odd += bool(one.odd)
    if odd:
        reasons = "; ".join(replayer.differences) or "nothing that the manifest names is another"
        raise InputError(f"{odd} of {len(pairs)} pairs came out another ({reasons})")
