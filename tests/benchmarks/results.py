"""The table of docs/results.md from metrics/measures.csv: python -m tests.benchmarks.results."""

from collections.abc import Sequence
from pathlib import Path

import typer

from pairsynth.report import results
from pairsynth.report.headlines import Line, Mark, lines


def row(line: Line) -> str:
    """One row in Markdown: the claim, its number and interval, floors, ceilings."""
    way = " (less is better)" if line.less else " (as near the last as may be)" if line.near else ""
    value = f"{line.value.text} ({line.interval})" if line.interval else line.value.text
    return f"| {line.says}{way} | {value} | {_told(line.floors)} | {_told(line.ceilings)} |"


def _told(marks: Sequence[Mark]) -> str:
    return "; ".join(f"{mark.text} {mark.label}" for mark in marks)


def main(metrics: Path = Path("metrics")) -> None:
    """Print a row for each claim, in the order of the table of measures."""
    found = results.read(metrics)
    sections = dict.fromkeys(one["section"] for one in found.curves["measures"])
    typer.echo("| figure | pipeline | floor | ceiling |\n| --- | --- | --- | --- |")
    for section in sections:
        for line in lines(found, section):
            typer.echo(row(line))


if __name__ == "__main__":
    typer.run(main)
