"""A folder of which every fifth image is damaged: is each counted, and in how much memory?

python -m tests.benchmarks.damaged [IMAGES]
"""

import csv
import io
import random
import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image

from pairsynth.sources import acquisition
from pairsynth.sources.contract import SourceLog
from tests.options import DOWNLOAD


def fill(folder: Path, count: int) -> set[str]:
    """Write `count` images with a caption each; the names of those that are damaged, a fifth."""
    rng, damaged = random.Random(7), set()
    for i in range(count):
        place = folder / f"class-{i % 100:03}"
        place.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        Image.effect_noise((24, 24), 60 + i % 60).convert("RGB").save(buffer, "PNG")
        data = bytearray(buffer.getvalue())
        if i % 5 == 0:
            del data[rng.randrange(1, len(data) - 40) :]
            damaged.add(f"{i:06}.png")
        (place / f"{i:06}.png").write_bytes(data)
        (place / f"{i:06}.txt").write_text(f"flower number {i}\n")
    return damaged


def main() -> None:
    """Fill a folder, take it over, compare what was refused, tell the peak of memory."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    with tempfile.TemporaryDirectory() as place:
        own, target = Path(place) / "own", Path(place) / "pictures"
        damaged = fill(own, count)
        target.mkdir()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        options = replace(DOWNLOAD, folder=str(own))
        log = SourceLog()
        found = acquisition.examples(options, 7, Path(place) / "cache", log)
        kept = acquisition.acquire(options, found, log, target).kept
        with (target / "refused.csv").open(newline="") as file:
            told = {Path(row["item"]).name for row in csv.DictReader(file)}
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"{count:,} images: {kept:,} kept, {len(log.refused):,} refused")
        print(f"peak memory {before / 1e6:.2f} GB before, {more / 1e6:.2f} GB more")
        if told != damaged or kept != count - len(damaged):
            sys.exit(f"counted wrongly: {len(told ^ damaged)} images")


if __name__ == "__main__":
    main()
