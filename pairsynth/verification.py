"""Check that the artifacts of the stages are undamaged and were made from one another.

Every row and every weight is checked against its checksum, and each artifact must have been made
from the others present. Where there is a dvc.lock, every output is also compared with it byte for
byte, which covers Parquet footers, padding in checkpoints and metrics.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from pairsynth import config, lexicon, mixture
from pairsynth.artifacts import SPLITS, file_digest, read_shard, read_shards
from pairsynth.captioner import load_captioner
from pairsynth.dataset import number_of, pair_shards, read_manifest, read_refused
from pairsynth.encoders import JointEncoder, load_encoder
from pairsynth.errors import InputError, raise_if_out_of_memory
from pairsynth.examples import LISTS, Examples, read_embeddings, read_examples, read_list
from pairsynth.gan import load_gan
from pairsynth.whole_files import MAKERS, remake

CPU = torch.device("cpu")
TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class ArtifactCheck:
    """The result of checking one artifact. sound: None where the artifact is missing."""

    path: Path
    sound: bool | None
    detail: str

    def __str__(self) -> str:
        if self.sound is None:
            return f"{self.path}: not there yet; dvc repro {self.detail} makes it"
        return f"{self.path}: sound, {self.detail}" if self.sound else f"{self.path}: DAMAGED"


def findings(data: Path) -> Iterator[ArtifactCheck]:
    """Check every artifact in `data`; if all are sound, check that they fit together."""
    damaged = False
    for name, check in CHECKS.items():
        finding = _examine(data / name, check)
        damaged |= finding.sound is False
        yield finding
    if not damaged:
        yield _examine(data, _together)
    lock = data.parent / "dvc.lock"
    if lock.exists():
        yield from recorded(lock)


def _examine(path: Path, check: Callable[[Path], str]) -> ArtifactCheck:
    maker = MAKERS.get(path.name, "")
    if not path.exists():
        return ArtifactCheck(path=path, sound=None, detail=maker)
    try:
        return ArtifactCheck(path=path, sound=True, detail=check(path))
    except InputError as error:
        return ArtifactCheck(path=path, sound=False, detail=str(error))
    except Exception as error:  # readers raise many kinds, all of them meaning: not what we wrote
        raise_if_out_of_memory(error)
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return ArtifactCheck(
            path=path, sound=False, detail=f"{path} cannot be read ({reason}); {remake(path)}"
        )


# ---------------------------------------------------------------- each by itself


def _images(path: Path) -> str:
    lexicon.read(path)
    for name in LISTS:
        read_list(path, name)
    return f"{sum(len(read_examples(path, split)) for split in SPLITS):,} images"


def _embeddings(path: Path) -> str:
    return f"{sum(read_shards(path, split).num_rows for split in SPLITS):,} images' vectors"


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
    told, count, last = read_manifest(path), 0, -1
    for shard in pair_shards(path):
        stored = read_shard(shard)
        count += len(stored)
        for pair in stored["pair_id"].to_pylist():
            if number_of(pair) <= last:
                raise InputError(f"{shard}: {pair} stands there twice, or late; {remake(path)}")
            last = number_of(pair)
    read_refused(path)
    if told["pairs"] != count:
        raise InputError(f"{path}: {count:,} pairs, but its manifest tells {told['pairs']:,}")
    return f"{count:,} pairs, as its manifest tells"


CHECKS: Mapping[str, Callable[[Path], str]] = {
    "pictures": _images,
    "embeddings": _embeddings,
    "encoder.pt": _encoder,
    "gan.pt": _gan,
    "captioner.pt": _captioner,
    "gmm.npz": _mixtures,
    "synthetic": _synthetic,
}


# ---------------------------------------------------------------- together


def _together(data: Path) -> str:
    """Check that each artifact was made from the others that are present."""
    there = {name: data / name for name in CHECKS if (data / name).exists()}
    source: dict[str, str] = {}
    if "pictures" in there:
        examples = {split: read_examples(there["pictures"], split) for split in SPLITS}
        source["pictures"] = examples["train"].digest
    if "encoder.pt" in there:
        encoder = load_encoder(there["encoder.pt"], CPU, **source)
        source["encoder"] = file_digest(there["encoder.pt"])
        if "pictures" in there and "embeddings" in there:
            _check_embeddings(there["embeddings"], examples, encoder, source["encoder"])
    if "gan.pt" in there:
        load_gan(there["gan.pt"], CPU, **source)
        source["gan"] = file_digest(there["gan.pt"])
    own = {name: source[name] for name in source if name != "encoder"}
    if "captioner.pt" in there:
        load_captioner(there["captioner.pt"], CPU, **own)
    if "gmm.npz" in there:
        mixture.load(there["gmm.npz"], None, **source)
        source["mixtures"] = file_digest(there["gmm.npz"])
    if "captioner.pt" in there:
        source["captioner"] = file_digest(there["captioner.pt"])
    if "synthetic" in there:
        read_manifest(there["synthetic"], **source)
    return "and what is there belongs together"


def _check_embeddings(
    path: Path, examples: Mapping[str, Examples], encoder: JointEncoder, digest: str
) -> None:
    for split, one in examples.items():
        stored = read_embeddings(path, split, one, digest).psi[:8]
        again = encoder.embed_captions(one.flat_captions[:8])
        if again.shape != stored.shape or not torch.allclose(again, stored, atol=TOLERANCE):
            raise InputError(f"{path}: {split} has no vectors of its encoder; {remake(path)}")


# ---------------------------------------------------------------- as the pipeline recorded it


def recorded(lock: Path) -> Iterator[ArtifactCheck]:
    """Every present output that differs from its entry in `lock` (dvc.lock), or has none there.

    Raises:
        InputError: where `lock` is not as DVC writes it.
    """
    try:
        outs = [
            (stage, lock.parent / out["path"], out.get("md5"))
            for stage, told in config.read(lock).get("stages", {}).items()
            for out in told.get("outs", [])
        ]
    except (AttributeError, LookupError, TypeError) as error:
        raise InputError(f"{lock} is not as DVC writes it; git checkout {lock}") from error
    ran, known = {stage for stage, _, _ in outs}, {path for _, path, _ in outs}
    for stage, names in _outputs(lock.with_name("dvc.yaml")).items():
        for path in (lock.parent / name for name in names):
            if stage in ran and path not in known and path.exists():
                yield ArtifactCheck(
                    path=path,
                    sound=False,
                    detail=f"{lock} tells nothing of {path}, which {stage} makes; "
                    f"git checkout {lock}, or: dvc repro {stage}",
                )
    for stage, path, md5 in outs:
        if path.exists() and _md5(path) != md5:
            yield ArtifactCheck(
                path=path,
                sound=False,
                detail=f"{path} is not what {lock} tells of; if you did not run the stage by hand, "
                f"remake it: dvc repro --force --single-item {stage}",
            )


def _outputs(pipeline: Path) -> dict[str, list[str]]:
    """What each stage of `pipeline` (dvc.yaml) makes; nothing where there is no such file."""
    stages = config.read(pipeline)["stages"] if pipeline.exists() else {}
    return {
        stage: [
            name
            for kind in ("outs", "metrics", "plots")
            for out in told.get(kind, [])
            for name in ([out] if isinstance(out, str) else out)
        ]
        for stage, told in stages.items()
    }


def _md5(path: Path) -> str:
    """The MD5 as DVC computes it: of a file's bytes, or of a folder's list of files and MD5s."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    files = sorted(
        (str(file.relative_to(path)), file) for file in path.rglob("*") if file.is_file()
    )
    told = [{"md5": _md5(file), "relpath": name} for name, file in files]
    return hashlib.md5(json.dumps(told, sort_keys=True).encode()).hexdigest() + ".dir"
