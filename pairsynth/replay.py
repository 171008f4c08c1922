"""Make pairs again from the inputs that the manifest names, and compare them bit by bit."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pairsynth import origin, synthesis
from pairsynth.artifacts import read_shard
from pairsynth.dataset import (
    INPUTS,
    PAIRS,
    count_rows,
    number_of,
    pair_id,
    pair_shards,
    read_some,
    read_told,
)
from pairsynth.devices import choose
from pairsynth.errors import InputError
from pairsynth.image_files import decode
from pairsynth.images import to_tensor
from pairsynth.latents import SynthesisConfig
from pairsynth.shard_making import STAGE, ShardFactory
from pairsynth.synthesis import BLOCK
from pairsynth.whole_files import remake


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A pair that was made again. odd: its differences from the stored row, in words."""

    pair: str
    odd: list[str]

    def __str__(self) -> str:
        if not self.odd:
            return f"{self.pair}: image and caption are the same bytes, and so is all of the row"
        return f"{self.pair}: NOT the same: {'; '.join(self.odd)}"


class Replayer:
    """Makes pairs of a dataset again from the inputs that its manifest names.

    differences: how code, versions or device differ from those at the time, in words.
    """

    def __init__(self, folder: Path, device: str) -> None:
        """folder: of the dataset, beside its inputs. device: as `devices.choose` takes it.

        Raises:
            InputError: where something is missing, damaged, or not what the manifest names.
        """
        self.folder, told = folder, read_told(folder)
        try:
            paths = {name: folder.parent / told["inputs"][name] for name in INPUTS}
            names = [field.name for field in fields(SynthesisConfig)]
            config = SynthesisConfig(**{name: told["parameters"][name] for name in names})
            seed, made_from = int(told["seed"]), dict(told["made_from"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{folder}: its manifest does not tell what this pairsynth needs to make pairs "
                f"again ({type(error).__name__}: {error}); {remake(folder)}"
            ) from error
        where = choose(device)
        self.differences = origin.differences(told, origin.of(STAGE, where))
        factory = ShardFactory(**paths, config=config, seed=seed, device=str(where))
        self.inputs = factory.inputs()
        for name, digest in self.inputs.made_from.items():
            if made_from.get(name) != digest:
                path = paths.get(name, paths["pictures"])
                raise InputError(
                    f"{folder} was made from another {name} than {path}; dvc checkout {path}, or "
                    f"{remake(folder)}"
                )

    def replays(self, pairs: Iterable[str]) -> Iterator[Replay]:
        """Make each of `pairs`, named by their ids, again and compare it with what is stored."""
        wanted = [pair_id(number_of(pair)) for pair in pairs]
        stored = stored_rows(self.folder, wanted)
        for pair in wanted:
            yield Replay(pair=pair, odd=compare(stored[pair], self.made_again(pair)))

    def made_again(self, pair: str) -> dict[str, Any] | None:
        """The row of a pair, made in the same block as before; None where it is left out."""
        number = number_of(pair)
        start = number // BLOCK * BLOCK
        drafts = [synthesis.draft(self.inputs, one) for one in range(start, start + BLOCK)]
        kept = synthesis.close(self.inputs, drafts)[number - start].kept
        if kept is None:
            return None
        row = next(synthesis.rows(self.inputs, [kept]))
        (as_stored,) = pa.Table.from_pylist([row], schema=PAIRS).to_pylist()
        found: dict[str, Any] = as_stored
        return found


def stored_rows(folder: Path, pairs: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The stored rows of `pairs`, by id.

    Raises:
        InputError: naming one that is not there.
    """
    wanted, last = dict.fromkeys(pairs), ""
    found: dict[str, dict[str, Any]] = {}
    for path in pair_shards(folder):
        ids = read_shard(path, ["pair_id"])["pair_id"].to_pylist()
        last = ids[-1] if ids else last
        places = {ids[i]: i for i in range(len(ids)) if ids[i] in wanted}
        if places:
            table = read_shard(path)
            found |= {pair: table.slice(i, 1).to_pylist()[0] for pair, i in places.items()}
    for pair in wanted:
        if pair not in found:
            raise InputError(
                f"{folder} has no {pair}: no candidate of it was kept, or the numbers end before "
                f"it (the last is {last or 'none'}); name another"
            )
    return found


def compare(stored: Mapping[str, Any], again: Mapping[str, Any] | None) -> list[str]:
    """The differences between a stored row and the row made again, in words."""
    if again is None:
        return ["now no candidate of it is kept"]
    odd = []
    if stored["image"] != again["image"]:
        before, after = (to_tensor(decode(one["image"]["bytes"])).int() for one in (stored, again))
        apart = (before - after).abs() if before.shape == after.shape else None
        count = "another size" if apart is None else f"by {int(apart.max())} of 255 at most"
        odd.append(f"the image differs, {count}")
    if stored["caption"] != again["caption"]:
        odd.append(f"the caption is {again['caption']!r}, stored is {stored['caption']!r}")
    rest = [k for k in PAIRS.names if k not in ("image", "caption") and stored[k] != again[k]]
    return [*odd, *([f"other values of {', '.join(rest)}"] if rest else [])]


def some(folder: Path, count: int, rng: np.random.Generator) -> list[str]:
    """The ids of `count` pairs of a dataset, or of all where there are fewer, in their order."""
    total = sum(count_rows(folder))
    chosen = np.sort(rng.choice(total, min(count, total), replace=False)).tolist()
    found: list[str] = read_some(folder, chosen, ["pair_id"])["pair_id"].to_pylist()
    return found
