"""What the other stages measured, read from `metrics/`; what is not there is left out."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairsynth.errors import InputError

TOLD = ("download", "embed", "train_gan", "train_captioner", "fit_gmm", "synthesize", "evaluate")
CURVES = ("embed", "train_gan", "train_captioner", "fit_gmm", "cycles", "use", "pairs")
FIGURES = "evaluate"
SHEETS = ("samples", "progress")

Row = Mapping[str, str]
Key = tuple[str, str, str]


def files() -> list[str]:
    """Every file that may be read, below the folder of the metrics."""
    told = [f"{name}.json" for name in TOLD]
    curves = [f"{name}.csv" for name in (*CURVES, FIGURES)]
    return [*told, *curves, *(f"figures/{name}.png" for name in SHEETS)]


@dataclass(frozen=True)
class Measured:
    """One figure of metrics/evaluate.csv: its 95 % interval, where it has one, over `count`."""

    value: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Results:
    """All of it.

    told: the JSON file of each stage. curves: the rows of each CSV file. figures: those of
    evaluate.csv by (group, subject, measure). sheets: PNG pictures by name.
    """

    told: Mapping[str, Mapping[str, Any]]
    curves: Mapping[str, list[Row]]
    figures: Mapping[Key, Measured]
    sheets: Mapping[str, bytes]

    def words(self) -> dict[str, str]:
        """What `evaluate` said in words: digests, verdicts, signatures."""
        told = self.told.get("evaluate", {})
        return {key: value for key, value in told.items() if isinstance(value, str)}

    def groups(self) -> dict[str, "Table"]:
        """Every figure, a table for each group: measures down, subjects across."""
        found: dict[str, Table] = {}
        for (group, subject, measure), figure in self.figures.items():
            table = found.setdefault(group, Table([], {}))
            if subject not in table.subjects:
                table.subjects.append(subject)
            table.rows.setdefault(measure, {})[subject] = figure
        return found


@dataclass(frozen=True)
class Table:
    """The figures of one group: rows[measure][subject]."""

    subjects: list[str]
    rows: dict[str, dict[str, Measured]]


def read(folder: Path) -> Results:
    """What is there of `files()` in `folder`.

    Raises:
        InputError: where a file is not what its stage writes.
    """
    told = {name: json.loads(text) for name, text in _texts(folder, TOLD, ".json")}
    curves = {name: _rows(text) for name, text in _texts(folder, (*CURVES, FIGURES), ".csv")}
    sheets = {name: folder / f"figures/{name}.png" for name in SHEETS}
    try:
        figures = dict(_measured(curves.pop(FIGURES, [])))
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{folder}/{FIGURES}.csv is damaged ({error!r}); run: dvc repro --force evaluate"
        ) from error
    return Results(
        told, curves, figures, {n: path.read_bytes() for n, path in sheets.items() if path.exists()}
    )


def _texts(folder: Path, names: tuple[str, ...], suffix: str) -> Iterator[tuple[str, str]]:
    for name in names:
        path = folder / f"{name}{suffix}"
        if path.exists():
            yield name, path.read_text(encoding="utf-8")


def _rows(text: str) -> list[Row]:
    return list(csv.DictReader(io.StringIO(text)))


def _measured(rows: list[Row]) -> Iterator[tuple[Key, Measured]]:
    for row in rows:
        value, low, high = (number(row[key]) for key in ("value", "low", "high"))
        if value is not None:
            key = (row["group"], row["subject"], row["measure"])
            yield key, Measured(value, low, high, int(row["count"]))


def number(text: str | None) -> float | None:
    """A cell of a CSV file as a number; None where it is empty."""
    return float(text) if text else None


def column(rows: list[Row], name: str) -> list[float]:
    """The numbers of one column; empty cells are NaN, and so is a column that is not there."""
    found = (number(row.get(name)) for row in rows)
    return [float("nan") if value is None else value for value in found]
