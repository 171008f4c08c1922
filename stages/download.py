"""Fetch or draw the captioned images, check them, split them, write Parquet shards."""

from pathlib import Path

import typer

from pairsynth import config, console
from pairsynth.sources import acquisition
from pairsynth.sources.contract import DownloadConfig, SourceLog
from pairsynth.whole_files import check_outputs, new_folder, write_json

app = typer.Typer()


@console.command(app)
def main(
    examples: Path,
    metrics: Path,
    cache: Path = Path(".cache"),
    params: Path = Path("params.yaml"),
) -> None:
    """Fetch or draw the captioned images, check them, split them, write Parquet shards."""
    stopwatch = console.Stopwatch()
    config.check_all(params)
    check_outputs(files=[metrics], folders=[examples])
    options = config.load(DownloadConfig, "download", params)
    seed = config.load_seed(params)

    log = SourceLog()
    found = acquisition.examples(options, seed, cache, log)

    with new_folder(examples) as folder:
        counted = console.track(found, None, "download", "images")
        report = acquisition.acquire(options, counted, log, folder)

    write_json(metrics, report.summary)
    typer.echo("\n".join(report.lines()))
    stopwatch.say("download", report.kept, "images")


if __name__ == "__main__":
    app()
