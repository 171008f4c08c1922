"""The judge: a network trained on real images that no generator saw, which judges all others.

Its architecture, seed and training images differ from those of the encoder that makes psi, so that
no network is judged by itself. One trunk predicts an image's attributes, where they are known, and
embeds it into one space with captions.

Shapes: N batch, T words, D dimension, S side.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pairsynth.contrastive import contrastive_loss
from pairsynth.devices import autocast
from pairsynth.examples import Examples
from pairsynth.images import random_crop_flip, to_network
from pairsynth.inference import inference
from pairsynth.sampling import one_caption
from pairsynth.seeds import torch_stream
from pairsynth.text import PAD, Vocabulary

DIMENSION = 64
LENGTH = 48


@dataclass(frozen=True, kw_only=True)
class JudgedImages:
    """The judge's output for images: unit vectors (N, D), on the CPU, and attributes (N)."""

    vectors: Tensor
    attributes: list[dict[str, str]]

    def take(self, rows: Sequence[int]) -> "JudgedImages":
        """The output for some of the images."""
        return JudgedImages(
            vectors=self.vectors[list(rows)], attributes=[self.attributes[row] for row in rows]
        )


class Judge(nn.Module):
    """3 x 3 convolutions with max pooling, a linear head per attribute, a bag of words."""

    def __init__(
        self, vocabulary: Vocabulary, attributes: Mapping[str, Sequence[str]], size: int
    ) -> None:
        super().__init__()
        self.vocabulary, self.attributes, self.size = vocabulary, dict(attributes), size
        widths = (3, 32, 64, 128, 192)
        layers: list[nn.Module] = []
        for i in range(4):
            layers += [nn.Conv2d(widths[i], widths[i + 1], 3, 2 if i == 0 else 1, 1, bias=False)]
            layers += [nn.BatchNorm2d(widths[i + 1]), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if i else []
        self.trunk = nn.Sequential(*layers)
        features = widths[-1] * 2
        self.heads = nn.ModuleDict(
            {name: nn.Linear(features, len(values)) for name, values in attributes.items()}
        )
        self.image_out = nn.Linear(features, DIMENSION)
        self.words = nn.Embedding(len(vocabulary), 128, padding_idx=PAD)
        self.text_out = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, DIMENSION))

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) in [-1, 1] to features (N, F): mean and largest of each channel."""
        maps = self.trunk(images)  # (N, C, S / 16, S / 16)
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1).float()

    def see(self, features: Tensor) -> Tensor:
        """Features (N, F) to unit vectors (N, D)."""
        return F.normalize(self.image_out(features), dim=1)

    def read(self, tokens: Tensor) -> Tensor:
        """Token numbers (N, T) to unit vectors (N, D)."""
        kept = (tokens != PAD).sum(1, keepdim=True)  # (N, 1), words of each
        # the sum of word vectors over the root of their number: (N, T, 128) -> (N, 128)
        return F.normalize(self.text_out(self.words(tokens).sum(1) / kept.sqrt()), dim=1)

    def image_features(self, pixels: Tensor, batch: int = 64) -> Tensor:
        """Features (N, F), on the CPU, of uint8 images (N, 3, S, S)."""
        device = self.image_out.weight.device
        with inference(self):
            parts = [self.features(to_network(p.to(device))).cpu() for p in pixels.split(batch)]
        return torch.cat(parts)

    def image_vectors(self, pixels: Tensor) -> Tensor:
        """Unit vectors (N, D), on the CPU, of uint8 images (N, 3, S, S)."""
        return self.assess(pixels).vectors

    def caption_vectors(self, captions: Sequence[str], batch: int = 1024) -> Tensor:
        """Unit vectors (N, D), on the CPU, of captions."""
        device = self.words.weight.device
        tokens = self.vocabulary.encode(captions, LENGTH).to(device)
        with inference(self):
            return torch.cat([self.read(part).cpu() for part in tokens.split(batch)])

    def assess(self, pixels: Tensor) -> JudgedImages:
        """The vectors and attributes of uint8 images (N, 3, S, S)."""
        features = self.image_features(pixels).to(self.image_out.weight.device)
        with inference(self):
            seen = self.see(features).cpu()
            # (N, values) -> (N) of each attribute
            found = {name: head(features).argmax(1).tolist() for name, head in self.heads.items()}
        shown = [
            {name: self.attributes[name][found[name][i]] for name in self.attributes}
            for i in range(len(pixels))
        ]
        return JudgedImages(vectors=seen, attributes=shown)


@dataclass(frozen=True, kw_only=True)
class JudgeReport:
    """One epoch: mean loss and images seen."""

    epoch: int
    loss: float
    images: int


def build(examples: Examples, size: int) -> Judge:
    """An untrained judge for the attributes and words of `examples`."""
    values: dict[str, set[str]] = {}
    for row in examples.attributes or []:
        for name, value in row.items():
            values.setdefault(name, set()).add(value)
    attributes = {name: sorted(found) for name, found in sorted(values.items())}
    return Judge(Vocabulary.build(examples.flat_captions, "word", 2), attributes, size)


def train(
    judge: Judge, examples: Examples, epochs: int, seed: int, device: torch.device, batch: int = 64
) -> Iterator[JudgeReport]:
    """Train `judge` in place; one report an epoch."""
    rng = torch_stream(seed, "judge")
    tokens = judge.vocabulary.encode(examples.flat_captions, LENGTH).to(device)
    first, pixels = examples.first_caption.to(device), examples.pixels.to(device)
    class_ids, targets = examples.class_ids.to(device), _targets(judge, examples).to(device)
    batch = min(batch, len(examples))
    steps = len(examples) // batch
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps * epochs)
    for epoch in range(1, epochs + 1):
        judge.train()
        total = torch.zeros((), device=device)
        order = torch.randperm(len(examples), generator=rng).to(device)
        for rows in order[: steps * batch].split(batch):
            images = to_network(shake(pixels[rows], judge.size, rng))
            with autocast(device):
                features = judge.features(images)
            seen, read = (
                judge.see(features),
                judge.read(tokens[one_caption(rows, first, rng)]),
            )
            # InfoNCE + the sum over attributes of -log p(value)
            loss = contrastive_loss(seen, read, class_ids[rows])
            for i, head in enumerate(judge.heads.values()):
                loss = loss + F.cross_entropy(head(features), targets[rows, i])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        yield JudgeReport(epoch=epoch, loss=total.item() / steps, images=steps * batch)


def shake(pixels: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """Random crops and mirror images; those without a margin are first padded by reflection."""
    if pixels.shape[-1] == size:
        pixels = F.pad(pixels.float(), (size // 16,) * 4, mode="reflect").to(torch.uint8)
    return random_crop_flip(pixels, size, rng)


def _targets(judge: Judge, examples: Examples) -> Tensor:
    rows = [
        [values.index(row[name]) for name, values in judge.attributes.items()]
        for row in examples.attributes or [{}] * len(examples)
    ]
    return torch.tensor(rows, dtype=torch.long).reshape(len(examples), -1)
