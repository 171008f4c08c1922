"""Draw the report: one HTML file with all that was made and measured, and its curves as PNG."""

from pathlib import Path

import typer

from pairsynth import config, console, devices, seeds
from pairsynth.artifacts import write_image
from pairsynth.report import charts, page
from pairsynth.whole_files import check_outputs, write_whole

app = typer.Typer()


@console.command(app)
def main(
    data: Path,
    metrics: Path,
    html: Path,
    sheet: Path,
    params: Path = Path("params.yaml"),
    device: str = "auto",
) -> None:
    """Draw the report: one HTML file with all that was made and measured, and its curves as PNG."""
    stopwatch = console.Stopwatch()
    config.check_all(params)
    check_outputs([data, metrics], files=[html, sheet])
    options = config.read(params)
    seed = config.load_seed(params)

    where = devices.choose(device)
    seeds.fix(seed, "report")

    report = page.gather(data, metrics, options, seed, where)
    text = page.render(report)
    image = charts.sheet_of(page.charts(report.results))

    write_whole(html, text.encode())
    write_image(sheet, image)
    stopwatch.say("report", len(report.gallery.pairs), "pairs")


if __name__ == "__main__":
    app()
