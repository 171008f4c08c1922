"""The report as one HTML file without any network request; all data is escaped."""

import importlib.metadata
import inspect
import io
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from pairsynth import mixture
from pairsynth.artifacts import SPLITS
from pairsynth.dataset import count_rows, read_manifest, read_some
from pairsynth.examples import read_embeddings, read_examples
from pairsynth.image_files import decode
from pairsynth.images import to_tensor
from pairsynth.latents import STRATEGIES
from pairsynth.mappings import load_mappings
from pairsynth.report import benefit, curves, drawn, headlines, provenance, results
from pairsynth.report.charts import Chart
from pairsynth.report.drawn import Scene, Strip
from pairsynth.report.gallery import Gallery, address, read_gallery
from pairsynth.report.provenance import Commit
from pairsynth.report.results import Results

TEMPLATES = Path(__file__).with_name("templates")
MAPPED = 400
WIDEST = 1400

# What is read below the folder of the data; `results.files()` is what is read of the metrics.
DATA = ("pictures", "embeddings", "encoder.pt", "gan.pt", "captioner.pt", "gmm.npz", "synthetic")

PACKAGES = ("torch", "numpy", "scikit-learn", "pyarrow", "pillow", "matplotlib", "dvc", "sacrebleu")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the page shows."""

    results: Results
    gallery: Gallery
    blends: Mapping[str, list[Strip]]
    components: Mapping[str, list[Strip]]
    nearness: Chart
    maps: list[Chart]
    cycles: list[Strip]
    manifest: Mapping[str, Any]
    params: Mapping[str, Any]
    commit: Commit | None


def gather(
    data: Path, metrics: Path, params: Mapping[str, Any], seed: int, device: torch.device
) -> Report:
    """Read what the other stages made, and draw strips and maps with the networks.

    Raises:
        InputError: where something is missing or damaged, or there is no pair.
    """
    found = results.read(metrics)
    examples = {split: read_examples(data / "pictures", split) for split in SPLITS}
    encoder, gan, captioner = (data / name for name in ("encoder.pt", "gan.pt", "captioner.pt"))
    mappings = load_mappings(encoder, gan, captioner, device, examples["train"].digest)
    digest, source = mappings.digests["encoder"], {"pictures": examples["train"].digest}
    vectors = {s: read_embeddings(data / "embeddings", s, examples[s], digest) for s in SPLITS}
    known = {"encoder": digest, "gan": mappings.digests["gan"], **source}
    fitted = mixture.load(data / "gmm.npz", mappings.sizes, **known)
    scene = Scene(
        examples=examples, embeddings=vectors, mappings=mappings, mixtures=fitted, seed=seed
    )
    pairs = read_gallery(data / "pictures", data / "synthetic", found)
    return Report(
        results=found,
        gallery=pairs,
        blends={
            "Between two captions": list(drawn.between_captions(scene)),
            "Between two images": list(drawn.between_images(scene)),
        },
        components={over: list(drawn.components(scene, over)) for over in ("psi", "phi")},
        nearness=drawn.nearness(scene, pairs.distances),
        maps=list(drawn.maps(scene, *_mapped(data / "synthetic"))),
        cycles=list(drawn.cycles(scene)),
        manifest=read_manifest(data / "synthetic", **source, **mappings.digests),
        params=params,
        commit=provenance.of_code(),
    )


def _mapped(synthetic: Path) -> tuple[torch.Tensor, list[str]]:
    total = sum(count_rows(synthetic))
    rows = torch.linspace(0, total - 1, min(total, MAPPED)).round().long().tolist()
    found = read_some(synthetic, rows, ["image", "caption"]).to_pydict()
    pixels = torch.stack([to_tensor(decode(image["bytes"])) for image in found["image"]])
    return pixels, found["caption"]


def charts(found: Results) -> list[Chart]:
    """The charts that are also written as PNG for `dvc plots show`."""
    return [*curves.training(found), *curves.cycles(found), *curves.use(found)]


def render(report: Report) -> str:
    """The page; equal reports give equal pages."""
    found = report.results
    template = _environment().get_template("page.html")
    return template.render(
        report=report,
        summaries=found.summaries,
        words=found.words(),
        strategies={name: _first_line(one) for name, one in STRATEGIES.items()},
        answers=headlines.answers(found),
        worst=headlines.worst(found),
        blind=headlines.blind(found),
        novelty=headlines.lines(found, "new"),
        pairs=headlines.lines(found, "agree"),
        alike=headlines.lines(found, "alike"),
        cycle_charts=list(curves.cycles(found)),
        cycle_rows=found.curves.get("cycles", []),
        use_charts=list(curves.use(found)),
        tasks=benefit.tasks(found),
        verdicts=benefit.VERDICTS,
        arms=curves.arms(found),
        arm_names=curves.ARMS,
        training_charts=list(curves.training(found)),
        sheets={name: _sheet(data) for name, data in found.sheets.items()},
        groups=found.groups(),
        versions=_versions(PACKAGES),
    )


def _first_line(function: Callable[..., Any]) -> str:
    """The first line of a function's docstring, without the full stop."""
    return (inspect.getdoc(function) or "").partition("\n")[0].removesuffix(".")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"svg": _svg, "plain": _plain}
    return environment


def _svg(chart: Chart) -> Markup:
    """The SVG of a chart, marked as safe: matplotlib has escaped its text."""
    return Markup(chart.svg)


def _plain(name: str) -> str:
    """A key as words."""
    return name.replace("_", " ")


def _sheet(data: bytes) -> str:
    """A sheet of images as a data URL, reduced to the page's width."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        sheet = image.convert("RGB")
    if sheet.width > WIDEST:
        sheet = sheet.resize((WIDEST, round(sheet.height * WIDEST / sheet.width)))
    return address(sheet, quality=80)


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"Python": platform.python_version(), **found}
