"""Read the metrics of the other stages; missing files are left out."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairsynth.artifacts import SPLITS
from pairsynth.errors import InputError
from pairsynth.image_files import decode

STAGES = ("download", "embed", "train_gan", "train_captioner", "fit_gmm", "synthesize", "evaluate")
CURVES = ("embed", "train_gan", "train_captioner", "fit_gmm", "measures", "cycles", "use", "pairs")
DOWNLOAD, FIGURES = "download", "evaluate"
SHEETS = ("samples", "progress")

# Of each table the columns of words and those of numbers that must be there; all others, where
# there are more, are of numbers too. A number that could not be measured is an empty cell.
WORDS: Mapping[str, tuple[str, ...]] = {
    "fit_gmm": ("over", "covariance"),
    "cycles": ("start", "measure"),
    "use": ("task", "arm", "verdict"),
    "pairs": (
        *("pair_id", "strategy", "caption", "novelty", "nearest_image_id"),
        *("nearest_caption_id", "nearest_caption"),
    ),
    "evaluate": ("group", "subject", "measure", "unit", "better"),
    "measures": ("section", "claim", "says", "headline", "unit", "better", "role", "label"),
}
NUMBERS: Mapping[str, tuple[str, ...]] = {
    "embed": ("epoch", "loss", "val_recall_at_1"),
    "train_gan": (
        *("epoch", "discriminator_loss", "generator_loss", "real", "wrong", "fake"),
        *("caption_spread", "noise_spread"),
    ),
    "train_captioner": ("epoch", "loss", "val_loss"),
    "fit_gmm": ("components", "held_out"),
    "cycles": ("turn", "value", "shuffled"),
    "use": ("share", "real", "pairs", "value", "gain", "low", "high", "seeds", "recipe"),
    "pairs": (
        *("consistency", "judge_similarity", "judge_rank", "nearest_image_distance"),
        *("image_ratio", "longest_copied", "closest_bleu"),
    ),
    "evaluate": ("value", "low", "high", "count"),
    "measures": ("value", "low", "high", "count"),
}

# Of download.json the page shows the source and these numbers.
COUNTS = tuple(f"{split}_{what}" for split in SPLITS for what in ("images", "captions", "classes"))

Row = Mapping[str, str]
Key = tuple[str, str, str]


def files() -> list[str]:
    """All files that `read` looks for, relative to the folder of metrics."""
    told = [f"{name}.json" for name in STAGES]
    curves = [f"{name}.csv" for name in (*CURVES, FIGURES)]
    return [*told, *curves, *(f"figures/{name}.png" for name in SHEETS)]


@dataclass(frozen=True, kw_only=True)
class Value:
    """One figure of metrics/evaluate.csv: value, 95 % interval if it has one, number of cases."""

    value: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True, kw_only=True)
class Results:
    """All metrics.

    summaries: the JSON file of each stage. curves: the rows of each CSV file. figures:
    evaluate.csv by (group, subject, measure). sheets: PNG images by name.
    """

    summaries: Mapping[str, Mapping[str, Any]]
    curves: Mapping[str, list[Row]]
    figures: Mapping[Key, Value]
    sheets: Mapping[str, bytes]

    def words(self) -> dict[str, str]:
        """The values of evaluate.json that are text: digests, verdicts, signatures."""
        told = self.summaries.get("evaluate", {})
        return {key: value for key, value in told.items() if isinstance(value, str)}

    def groups(self) -> dict[str, "Table"]:
        """All figures, one table per group: measures down, subjects across."""
        found: dict[str, Table] = {}
        for (group, subject, measure), figure in self.figures.items():
            table = found.setdefault(group, Table(subjects=[], rows={}))
            if subject not in table.subjects:
                table.subjects.append(subject)
            table.rows.setdefault(measure, {})[subject] = figure
        return found


@dataclass(frozen=True, kw_only=True)
class Table:
    """The figures of one group: rows[measure][subject]."""

    subjects: list[str]
    rows: dict[str, dict[str, Value]]


def read(folder: Path) -> Results:
    """Read those of `files()` that exist in `folder`.

    Raises:
        InputError: where a file is not as its stage writes it.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the one that holds the metrics")
    summaries = {name: _object(path, text) for name, path, text in _texts(folder, STAGES, ".json")}
    curves = {
        name: _rows(path, text) for name, path, text in _texts(folder, (*CURVES, FIGURES), ".csv")
    }
    if DOWNLOAD in summaries:
        _check_counts(folder / f"{DOWNLOAD}.json", summaries[DOWNLOAD])
    _check_claims(folder / "measures.csv", curves.get("measures", []))
    sheets = {name: folder / f"figures/{name}.png" for name in SHEETS}
    try:
        figures = dict(_measured(curves.pop(FIGURES, [])))
    except (KeyError, ValueError) as error:
        raise _damaged(folder / f"{FIGURES}.csv", repr(error)) from error
    return Results(
        summaries=summaries,
        curves=curves,
        figures=figures,
        sheets={n: _sheet(p) for n, p in sheets.items() if p.exists()},
    )


def _damaged(path: Path, reason: str) -> InputError:
    stage = "train_gan" if path.suffix == ".png" else path.stem
    stage = stage if stage in STAGES else FIGURES
    return InputError(
        f"{path} is damaged ({reason}); remake it: dvc repro --force --single-item {stage}"
    )


def _texts(folder: Path, names: tuple[str, ...], suffix: str) -> Iterator[tuple[str, Path, str]]:
    for name in names:
        path = folder / f"{name}{suffix}"
        if path.exists():
            try:
                yield name, path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise _damaged(path, "no UTF-8") from error


def _object(path: Path, text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"no JSON: {error}") from error
    plain = str | int | float | bool | None
    if not isinstance(found, dict) or not all(isinstance(one, plain) for one in found.values()):
        raise _damaged(path, "not the flat numbers and words that its stage writes")
    return found


def _rows(path: Path, text: str) -> list[Row]:
    try:
        rows: list[Any] = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise _damaged(path, str(error)) from error
    if text and not text.endswith("\n"):
        raise _damaged(path, "its last line is cut off")
    for i, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise _damaged(path, f"line {i} has not as many cells as the first")
    _check_columns(path, rows)
    return rows


def _check_columns(path: Path, rows: list[Row]) -> None:
    """Check that the columns are those its stage writes, and that numbers are numbers."""
    words = WORDS.get(path.stem, ())
    gone = [key for key in (*words, *NUMBERS[path.stem]) if rows and key not in rows[0]]
    if gone:
        raise _damaged(path, f"it has no column {', '.join(gone)}")
    for i, row in enumerate(rows, 2):
        for key in row.keys() - set(words):
            if row[key] and not _is_number(row[key]):
                raise _damaged(path, f"line {i}: {key} is {row[key][:40]!r}, not a number")


def _check_counts(path: Path, told: Mapping[str, Any]) -> None:
    if not isinstance(told.get("source"), str):
        raise _damaged(path, "it names no source")
    for key in COUNTS:
        if type(told.get(key)) is not int:
            raise _damaged(path, f"{key} is {told.get(key)!r}, not a whole number")


def _check_claims(path: Path, rows: list[Row]) -> None:
    """Beside its floors and ceilings each claim has the figure that they are of, and its count."""
    made = {(row["claim"], row["says"]) for row in rows if row["role"] == "made"}
    for i, row in enumerate(rows, 2):
        if (row["claim"], row["says"]) not in made:
            raise _damaged(path, f"line {i}: no row of role 'made' is of {row['says'][:40]!r}")
        if row["role"] == "made" and not row["count"].isdecimal():
            raise _damaged(path, f"line {i}: count is {row['count'][:40]!r}, not a whole number")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _sheet(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        decode(data)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    return data


def _measured(rows: list[Row]) -> Iterator[tuple[Key, Value]]:
    for row in rows:
        value, low, high = (float(row[k]) if row[k] else None for k in ("value", "low", "high"))
        if value is not None:
            key = (row["group"], row["subject"], row["measure"])
            yield key, Value(value=value, low=low, high=high, count=int(row["count"]))


def number(text: str | None) -> float | None:
    """A cell of a CSV file as a number; None where it is empty.

    Raises:
        InputError: where it is no number.
    """
    try:
        return float(text) if text else None
    except ValueError as error:
        raise InputError(
            f"metrics: {str(text)[:40]!r} stands where a number should; "
            "remake it: dvc repro --force"
        ) from error


def column(rows: list[Row], name: str) -> list[float]:
    """The numbers of one column; empty cells are NaN, and so is a column that is not there."""
    found = (number(row.get(name)) for row in rows)
    return [float("nan") if value is None else value for value in found]
