"""Fetch or draw the captioned pictures, check them, split them, write Parquet shards."""

from pathlib import Path

import typer

from pairsynth import config, doors
from pairsynth.acquisition import acquire
from pairsynth.artifacts import new_folder, write_json
from pairsynth.sources.contract import DownloadConfig

app = typer.Typer()


@doors.command(app)
def main(
    pictures: Path,
    metrics: Path,
    cache: Path = Path(".cache/downloads"),
    params: Path = Path("params.yaml"),
) -> None:
    """Fetch or draw the captioned pictures, check them, split them, write Parquet shards."""
    watch = doors.Stopwatch()
    options = config.load(DownloadConfig, "download", params)
    seed = config.load_seed(params)

    with new_folder(pictures) as folder:
        report = acquire(options, seed, cache, folder)

    write_json(metrics, report.figures)
    for line in report.account_lines():
        typer.echo(line)
    watch.say("download", report.kept, "pictures")


if __name__ == "__main__":
    app()
