"""Write the images of a source to shards: checked, split and resized."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from pairsynth import lexicon
from pairsynth.artifacts import IMAGES, ShardWriter
from pairsynth.config import check
from pairsynth.errors import InputError
from pairsynth.image_files import encode, fit, stored_size
from pairsynth.lexicon import Lexicon, own_words
from pairsynth.minimums import need_images
from pairsynth.sources.contract import SPLITS, DownloadConfig, Example, Source, SourceLog
from pairsynth.sources.flower_words import FLOWERS
from pairsynth.sources.folder import folder
from pairsynth.sources.garden import garden
from pairsynth.sources.garden_captions import WORDS as GARDEN
from pairsynth.sources.oxford102 import oxford102
from pairsynth.sources.survey import KINDS, Finding, Survey
from pairsynth.whole_files import write_csv

SOURCES: Mapping[str, Source] = {"garden": garden, "oxford102": oxford102, "folder": folder}

# What captions are measured by, where the source knows it; of other sets, their own words.
LEXICONS: Mapping[str, Lexicon] = {"garden": GARDEN, "oxford102": FLOWERS}

# Drawn at the size the networks see; photographs are stored with a margin to crop from.
DRAWN_TO_SIZE = ("garden",)

SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """The result of `acquire`: summary for the metrics, the source's log, and findings."""

    summary: dict[str, Any]
    log: SourceLog
    findings: list[Finding]

    @property
    def kept(self) -> int:
        """The number of images written."""
        return sum(self.summary[f"{split}_images"] for split in SPLITS)

    def lines(self) -> list[str]:
        """What was read, refused and found odd, as lines of text."""
        refused = self.log.refused
        lines = [*self.log.notes]
        lines.append(f"kept {self.kept:,} images, refused {len(refused):,} items")
        lines += [f"  refused {what}: {why}" for what, why in refused[:SHOWN]]
        if len(refused) > SHOWN:
            lines.append(f"  ... and {len(refused) - SHOWN:,} more, in refused.csv")
        for one in self.findings:
            name, what = one.examples[0]
            lines.append(f"  {one.words} ({name}: {what})")
        return lines


def examples(config: DownloadConfig, seed: int, cache: Path, log: SourceLog) -> Iterator[Example]:
    """The captioned images of the source that `config` names.

    Raises:
        InputError: for an unknown source, and those of the source itself.
    """
    try:
        check(config.source in SOURCES, "source", config.source, f"one of {tuple(SOURCES)}")
    except ValueError as error:
        raise InputError(f"download.{error}") from error
    return SOURCES[config.source](config, seed, cache, log)


def acquire(
    config: DownloadConfig, found: Iterator[Example], log: SourceLog, target: Path
) -> Acquisition:
    """Write shards, `refused.csv`, `survey.csv` and `words.json` into the folder `target`.

    An image that is in another split already is refused, since it would flatter every figure.

    Raises:
        InputError: for an image in two splits where `config.broken` is refuse; for a split with
            fewer images than the later stages need.
    """
    size = config.image_size
    side = size if config.source in DRAWN_TO_SIZE else stored_size(size)
    examples: Counter[str] = Counter()
    captions: Counter[str] = Counter()
    classes: dict[str, set[int]] = {split: set() for split in SPLITS}
    survey = Survey(size=size)
    told: list[Sequence[str]] = []
    with ExitStack() as stack:
        writers = {s: stack.enter_context(ShardWriter(target, s, IMAGES)) for s in SPLITS}
        for example in found:
            image = fit(example.image, side)
            if twin := survey.note(example, image):
                name, why = example.image_id, f"the same image as {twin}, which is in another split"
                log.refuse_by(
                    config.broken, name, why, named=f"download: {name}", mend="remove one"
                )
                continue
            writers[example.split].write(_row(example, image))
            examples[example.split] += 1
            captions[example.split] += len(example.captions)
            classes[example.split].add(example.class_id)
            if example.split == "train" and config.source not in LEXICONS:
                told.append(example.captions)
    need_images("download", examples, log.refused)
    lexicon.write(target, LEXICONS.get(config.source) or own_words(told))
    write_csv(target / "refused.csv", ("item", "reason"), log.refused)
    findings = survey.findings()
    odd = [(one.words, *example) for one in findings for example in one.examples]
    write_csv(target / "survey.csv", ("finding", "item", "what"), odd)
    summary: dict[str, Any] = {
        "source": config.source,
        "image_size": size,
        "refused": len(log.refused),
        **dict.fromkeys(KINDS, 0),
        **{one.kind: one.count for one in findings},
    }
    for split in SPLITS:
        summary[f"{split}_images"] = examples[split]
        summary[f"{split}_captions"] = captions[split]
        summary[f"{split}_classes"] = len(classes[split])
    return Acquisition(summary=summary, log=log, findings=findings)


def _row(example: Example, image: Image.Image) -> dict[str, Any]:
    attributes = example.attributes
    return {
        "image_id": example.image_id,
        "class_id": example.class_id,
        "class_name": example.class_name,
        "split": example.split,
        "image": {"bytes": encode(image), "path": f"{example.image_id}.png"},
        "captions": list(example.captions),
        "attributes": None if attributes is None else json.dumps(attributes, sort_keys=True),
    }
