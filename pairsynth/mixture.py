"""A Gaussian mixture over vectors after PCA: p(x) = sum_k w_k N(x | mu_k, Sigma_k).

scikit-learn fits; sampling is here, because `GaussianMixture.sample` returns rows grouped by
component, and the same rows at every call with a whole-numbered seed.

Shapes: N rows, D dimension of the vectors, R dimension after PCA, K components.
"""

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairsynth.artifacts import FORMAT, check_source
from pairsynth.errors import InputError
from pairsynth.whole_files import maker, remake, write_whole

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A mixture over the principal components of vectors.

    mean (D), basis (R, D): the PCA. explained (1): its share of the variance.
    weights (K), means (K, R), factors (K, R, R): Sigma_k = factor factor^T, lower triangular.
    """

    mean: Array
    basis: Array
    explained: Array
    weights: Array
    means: Array
    factors: Array

    def sample(self, rng: np.random.Generator) -> tuple[Array, int]:
        """A random vector (D) and its component."""
        component = int(rng.choice(len(self.weights), p=self.weights))
        return self.sample_of(component, rng), component

    def sample_of(self, component: int, rng: np.random.Generator) -> Array:
        """A random vector (D) of one component."""
        noise = rng.standard_normal(self.means.shape[1])
        # x = (mu_k + L_k z) B + m: (R) -> (D)
        return (self.means[component] + self.factors[component] @ noise) @ self.basis + self.mean


# ---------------------------------------------------------------- the file

NAMES = [field.name for field in fields(Mixture)]


def save(path: Path, mixtures: Mapping[str, Mixture], made_from: Mapping[str, str]) -> None:
    """Write named mixtures to one .npz file; equal mixtures give equal bytes.

    made_from: digests, by name, of what they were fitted to. The file carries them, and a digest
    of all of it.
    """
    arrays = {
        f"{name}.{key}": getattr(mixture, key)
        for name, mixture in mixtures.items()
        for key in NAMES
    }
    told = json.dumps(dict(sorted(made_from.items())))
    arrays |= {"format": np.array(FORMAT), "made_from": np.array(told)}
    buffer = io.BytesIO()
    np.savez(buffer, digest=np.array(_digest(arrays)), **arrays)
    write_whole(path, buffer.getvalue())


def load(path: Path, sizes: Mapping[str, int] | None = None, **wanted: str) -> dict[str, Mixture]:
    """The mixtures that `save` wrote.

    sizes: the names that the mixtures must have, and the dimension D of the vectors of each.
    wanted: digests, by name, of what they must have been fitted to.

    Raises:
        InputError: where the file is missing, damaged, of another format or fitted to something
            else.
    """
    if not path.exists():
        raise InputError(f"{path} is missing; run: dvc repro {maker(path)}")
    try:
        arrays = _arrays(path)
        stated = str(arrays.pop("digest"))
        format, told = int(arrays["format"]), json.loads(str(arrays["made_from"]))
        names = sorted({key.split(".")[0] for key in arrays if "." in key})
        found = {name: Mixture(**{k: arrays[f"{name}.{k}"] for k in NAMES}) for name in names}
        sound = stated == _digest(arrays) and all(map(_is_mixture, found.values()))
    except MemoryError:
        raise
    except Exception as error:  # numpy raises many kinds, all of them meaning: not our file
        reason = type(error).__name__
        raise InputError(f"{path} is damaged or not ours ({reason}); {remake(path)}") from error
    if format != FORMAT:
        raise InputError(f"{path} is of format {format}, not {FORMAT}; {remake(path)}")
    if not sound:
        raise InputError(f"{path} is damaged: its numbers are no mixtures; {remake(path)}")
    check_source(path, told, **wanted)
    dimensions = {name: len(one.mean) for name, one in found.items()}
    if sizes is not None and dimensions != dict(sizes):
        raise InputError(f"{path} is over {dimensions}, not over {dict(sizes)}; {remake(path)}")
    return found


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an uncompressed .npz file; a compressed one could unpack to any size."""
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("packed")
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return dict(file)


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    total = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        total.update(f"{name}{values.dtype}{values.shape}".encode())
        total.update(np.ascontiguousarray(values).tobytes())
    return total.hexdigest()


def _is_mixture(mixture: Mixture) -> bool:
    """Whether the arrays are finite, their shapes fit together, and the weights sum to 1."""
    components, dimensions = mixture.means.shape
    shapes = {
        "mean": (mixture.basis.shape[1],),
        "basis": (dimensions, mixture.basis.shape[1]),
        "explained": (1,),
        "weights": (components,),
        "factors": (components, dimensions, dimensions),
    }
    return (
        all(getattr(mixture, name).shape == shape for name, shape in shapes.items())
        and all(getattr(mixture, name).dtype == np.float64 for name in NAMES)
        and all(bool(np.isfinite(getattr(mixture, name)).all()) for name in NAMES)
        and bool((mixture.weights >= 0).all())
        and math.isclose(mixture.weights.sum(), 1, rel_tol=1e-6)
    )
