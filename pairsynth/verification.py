"""Whether what the stages wrote is whole, and whether its parts belong together.

Every row and every weight is read against its checksum. What nobody reads is not: the statistics
and indexes at the end of a Parquet file, the padding in a checkpoint.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from pairsynth import mixture
from pairsynth.artifacts import (
    MAKERS,
    SPLITS,
    read_embeddings,
    read_pictures,
    read_shards,
)
from pairsynth.captioner import load_captioner
from pairsynth.dataset import read_manifest
from pairsynth.encoders import JointEncoder, load_encoder
from pairsynth.errors import InputError
from pairsynth.gan import Gan, load_gan
from pairsynth.mappings import load_mappings
from pairsynth.mixture import Mixture

CPU = torch.device("cpu")
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Finding:
    """What came of looking at one artifact; sound is None where it is not there."""

    path: Path
    sound: bool | None
    detail: str

    def __str__(self) -> str:
        if self.sound is None:
            return f"{self.path}: not there yet; dvc repro {self.detail} makes it"
        return f"{self.path}: sound, {self.detail}" if self.sound else f"{self.path}: DAMAGED"


def findings(data: Path) -> Iterator[Finding]:
    """Every artifact in `data`, read whole; at last, where all are sound, how they fit together."""
    damaged = False
    for name, check in CHECKS.items():
        finding = _examine(data / name, check)
        damaged |= finding.sound is False
        yield finding
    if not damaged:
        yield _examine(data, _together)


def _examine(path: Path, check: Callable[[Path], str]) -> Finding:
    maker = MAKERS.get(path.name, "")
    if not path.exists():
        return Finding(path, None, maker)
    try:
        return Finding(path, True, check(path))
    except InputError as error:
        return Finding(path, False, str(error))
    except Exception as error:  # readers raise many kinds, all of them meaning: not what we wrote
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        remake = f"remake it: dvc repro --force {maker}"
        return Finding(path, False, f"{path} cannot be read ({reason}); {remake}")


# ---------------------------------------------------------------- each by itself


def _pictures(path: Path) -> str:
    return f"{sum(len(read_pictures(path, split)) for split in SPLITS):,} pictures"


def _embeddings(path: Path) -> str:
    return f"{sum(read_shards(path, split).num_rows for split in SPLITS):,} pictures' vectors"


def _encoder(path: Path) -> str:
    return f"{len(load_encoder(path, CPU).vocabulary):,} tokens"


def _gan(path: Path) -> str:
    gan = load_gan(path, CPU)
    return f"{gan.options['objective']}, {gan.size} x {gan.size} pixels"


def _captioner(path: Path) -> str:
    return f"{len(load_captioner(path, CPU).vocabulary):,} words"


def _mixtures(path: Path) -> str:
    fitted = mixture.load(path)
    return ", ".join(f"{len(fitted[over].weights)} components over {over}" for over in fitted)


def _synthetic(path: Path) -> str:
    told, stored = read_manifest(path), read_shards(path, "train").num_rows
    if told["pairs"] != stored:
        raise InputError(f"{path}: {stored:,} pairs, but its manifest.json tells {told['pairs']:,}")
    return f"{stored:,} pairs, as its manifest tells"


CHECKS: Mapping[str, Callable[[Path], str]] = {
    "pictures": _pictures,
    "embeddings": _embeddings,
    "encoder.pt": _encoder,
    "gan.pt": _gan,
    "captioner.pt": _captioner,
    "gmm.npz": _mixtures,
    "synthetic": _synthetic,
}


# ---------------------------------------------------------------- together


def _together(data: Path) -> str:
    def present(*names: str) -> bool:
        return all((data / name).exists() for name in names)

    if present("pictures", "embeddings", "encoder.pt"):
        _check_embeddings(data)
    if present("encoder.pt", "gan.pt", "captioner.pt"):
        load_mappings(data / "encoder.pt", data / "gan.pt", data / "captioner.pt", CPU)
    if present("encoder.pt", "gan.pt", "gmm.npz"):
        encoder, gan = load_encoder(data / "encoder.pt", CPU), load_gan(data / "gan.pt", CPU)
        load_mixtures(data / "gmm.npz", encoder, gan)
    return "and what is there belongs together"


def _check_embeddings(data: Path) -> None:
    encoder = load_encoder(data / "encoder.pt", CPU)
    for split in SPLITS:
        pictures = read_pictures(data / "pictures", split)
        stored = read_embeddings(data / "embeddings", split, pictures).psi[:8]
        again = encoder.embed_captions(pictures.flat_captions[:8])
        if again.shape != stored.shape or not torch.allclose(again, stored, atol=TOLERANCE):
            raise InputError(
                f"{data / 'embeddings'} is not by {data / 'encoder.pt'}; run: dvc repro embed"
            )


def load_mixtures(path: Path, encoder: JointEncoder, gan: Gan) -> dict[str, Mixture]:
    """The mixtures over psi of `encoder` and over phi of `gan`.

    Raises:
        InputError: where the file is missing, damaged or fitted to vectors of another size.
    """
    fitted = mixture.load(path)
    sizes = {"psi": encoder.dimension, "phi": gan.discriminator.phi_channels * 16}
    if {over: one.mean.size for over, one in fitted.items()} != sizes:
        raise InputError(f"{path} was fitted to other networks' vectors; run: dvc repro fit_gmm")
    return fitted
