"""What a generator draws while it learns: how much its images differ, and a sheet of them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import torch
import typer
from PIL import Image
from torch import Tensor, nn

from pairsynth.examples import Embeddings, Examples
from pairsynth.images import center_crop, to_pixels
from pairsynth.inference import inference
from pairsynth.seeds import torch_stream
from pairsynth.sheets import captioned_sheet

CAPTIONS = 8
DRAWS = 8


class SpreadReport(Protocol):
    """A report that tells how much drawn images differ."""

    @property
    def caption_spread(self) -> float:
        """Mean distance between images of different captions and the same noise."""

    @property
    def noise_spread(self) -> float:
        """Mean distance between images of the same caption and different noise."""


Report = TypeVar("Report", bound=SpreadReport)


class CollapseMonitor:
    """Eight captions and eight draws of noise that stay the same from epoch to epoch.

    Its state is what was drawn after epochs 1, 2, 4, 8 ..., for the sheet.
    """

    def __init__(
        self,
        examples: Examples,
        embeddings: Embeddings,
        size: int,
        noise: int,
        seed: int,
        device: torch.device,
    ) -> None:
        chosen = torch.linspace(0, len(examples) - 1, CAPTIONS).long()
        psi = embeddings.psi[examples.first_caption[chosen]]
        draws = torch.randn(DRAWS, noise, generator=torch_stream(seed, "watch"))
        self.psi = psi.repeat_interleave(DRAWS, 0).to(device)
        self.noise = draws.repeat(len(chosen), 1).to(device)
        many = torch.linspace(0, len(examples) - 1, 64).long().unique()
        self.real_spread = spread(center_crop(examples.pixels[many], size).float() / 255)
        self.rows: dict[int, Tensor] = {}

    def __call__(self, generator: nn.Module, epoch: int) -> tuple[float, float]:
        """Spread over captions and over noise of what `generator` draws after `epoch`.

        Both as a root mean square, 0 to 1. Near 0 it draws one image, whatever it is told.
        """
        with inference(generator):
            drawn = generator(self.noise, self.psi).float().cpu()
        if epoch.bit_count() == 1:
            self.rows[epoch] = to_pixels(drawn[::DRAWS])
        drawn = (drawn / 2).unflatten(0, (-1, DRAWS))
        over_captions = [spread(column) for column in drawn.unbind(1)]
        over_noise = [spread(row) for row in drawn]
        return sum(over_captions) / len(over_captions), sum(over_noise) / len(over_noise)

    def state_dict(self) -> dict[str, Any]:
        """The images drawn so far."""
        return {"rows": dict(self.rows)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the images drawn before."""
        self.rows = dict(state["rows"])

    def alarmed(self, reports: Iterable[Report]) -> Iterator[Report]:
        """Pass reports on; one line where the images cease to differ, as they did before."""
        differed = False
        for report in reports:
            differ = report.caption_spread > self.real_spread / 4
            if differed and not differ:
                typer.echo(verdict(report, self.real_spread), err=True)
            differed = differ
            yield report

    def sheet(self, generator: nn.Module, epoch: int) -> Image.Image:
        """A row each after epochs 1, 2, 4, 8 ..., and one of `generator` as it is after `epoch`.

        A column is one caption with one draw of noise.
        """
        with inference(generator):
            last = to_pixels(generator(self.noise[::DRAWS], self.psi[::DRAWS])).cpu()
        rows = {**self.rows, epoch: last}
        labels = [label for row in rows for label in (f"epoch {row}", *[""] * (CAPTIONS - 1))]
        return captioned_sheet(torch.cat(list(rows.values())), labels, CAPTIONS)


def spread(images: Tensor) -> float:
    """Mean distance (root mean square) between any two of images (N, 3, S, S)."""
    if len(images) < 2:
        return 0.0
    return float(torch.pdist(images.flatten(1)).mean() / images[0].numel() ** 0.5)


def verdict(report: SpreadReport, real: float) -> str:
    """How much drawn images differ beside real ones, with the alarm of collapse."""
    told = (
        f"drawn images of different captions differ by {report.caption_spread:.3f} on average, "
        f"real ones by {real:.3f}; those of one caption by {report.noise_spread:.3f}"
    )
    if report.caption_spread <= real / 4:
        return f"{told}\nwarning: the generator has collapsed; lower train_gan.generator_lr"
    if report.noise_spread <= real / 4:
        return f"{told}\nwarning: noise changes little; every caption has about one image"
    return told
