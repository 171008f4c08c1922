"""A probe: a small network that learns from captioned pictures what such pictures can teach.

One trunk at 32 x 32 pixels learns four things at once: to put picture and caption into one space,
to write captions, to recognise what captions name and, where classes are known, to recognise them.
How well it does on real test pictures says what the pairs it learned from are worth.

Shapes: N batch, T words, D dimension, C channels, W words of the lexicon, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pairsynth.captioner import Captioner, likelihood_loss
from pairsynth.contrastive import contrastive_loss
from pairsynth.devices import autocast
from pairsynth.errors import InputError
from pairsynth.images import random_crop_flip, to_network
from pairsynth.inference import inference
from pairsynth.lexicon import Lexicon
from pairsynth.sampling import one_caption
from pairsynth.text import PAD, Vocabulary, trim

SIDE, MARGIN = 32, 2
CHANNELS, DIMENSION = 96, 64
LENGTH = 32
BATCH = 64
RATE = 3e-3
SCALE = 10.0


class Probe(nn.Module):
    """Convolutions from 32 x 32 to 4 x 4, words as a bag, an LSTM that writes."""

    def __init__(self, vocabulary: Vocabulary, classes: int, words: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        layers: list[nn.Module] = []
        for width, wider in ((3, 32), (32, 64), (64, CHANNELS)):
            layers += [nn.Conv2d(width, wider, 4, 2, 1, bias=False), nn.BatchNorm2d(wider)]
            layers += [nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.image_out = nn.Linear(CHANNELS, DIMENSION)
        self.words = nn.Embedding(len(vocabulary), CHANNELS, padding_idx=PAD)
        self.text_out = nn.Linear(CHANNELS, DIMENSION)
        self.writer = Captioner(vocabulary, CHANNELS, CHANNELS)
        self.names = nn.Linear(CHANNELS, max(1, words))
        self.classes = nn.Linear(CHANNELS, max(1, classes))

    def see(self, features: Tensor) -> Tensor:
        """Features (N, C) of pictures to unit vectors (N, D)."""
        return F.normalize(self.image_out(features), dim=1)

    def read(self, tokens: Tensor) -> Tensor:
        """Token numbers (N, T) to unit vectors (N, D)."""
        kept = (tokens != PAD).sum(1, keepdim=True)
        return F.normalize(self.text_out(self.words(tokens).sum(1) / kept.sqrt()), dim=1)

    def maps(self, pixels: Tensor, batch: int = 256) -> Tensor:
        """uint8 pictures (N, 3, 32, 32) to the trunk's maps (N, C, 4, 4), float32."""
        device = self.image_out.weight.device
        with inference(self):
            parts = [self.trunk(to_network(part.to(device))) for part in pixels.split(batch)]
        return torch.cat(parts)


@dataclass(frozen=True)
class Lessons:
    """Captioned pictures to learn from.

    pixels: uint8 (N, 3, 36, 36), with the margin that random windows are cut from.
    tokens: int64 (captions, T). named: float (captions, W), the lexicon's words that each says.
    first: int64 (N + 1), the captions of picture i are rows first[i] to first[i + 1].
    class_ids: int64 (N), -1 where unknown. targets: int64 (N), the class among those to be
    recognised, or -1.
    """

    pixels: Tensor
    tokens: Tensor
    named: Tensor
    first: Tensor
    class_ids: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> "Lessons":
        """The same on `device`."""
        return Lessons(*(value.to(device) for value in vars(self).values()))


def prepare(
    pixels: Tensor,
    captions: Sequence[Sequence[str]],
    class_ids: Tensor,
    vocabulary: Vocabulary,
    classes: Sequence[int],
    lexicon: Lexicon,
) -> Lessons:
    """Lessons of uint8 pictures (N, 3, S, S); `classes` are those that are to be recognised."""
    flat = [caption for own in captions for caption in own]
    counts = torch.tensor([len(own) for own in captions])
    place = {class_id: i for i, class_id in enumerate(classes)}
    return Lessons(
        F.pad(small(pixels).float(), (MARGIN,) * 4, mode="reflect").to(torch.uint8),
        vocabulary.encode(flat, LENGTH),
        named(flat, lexicon),
        torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)]),
        class_ids,
        torch.tensor([place.get(one, -1) for one in class_ids.tolist()], dtype=torch.long),
    )


def small(pixels: Tensor) -> Tensor:
    """uint8 pictures (N, 3, S, S) at 32 x 32."""
    parts = [F.adaptive_avg_pool2d(part.float(), SIDE) for part in pixels.split(1024)]
    return torch.cat(parts).round().to(torch.uint8)


def named(captions: Sequence[str], lexicon: Lexicon) -> Tensor:
    """Which words of the lexicon each caption says: 0 or 1, (captions, W); W is 1 at least."""
    place = {word: i for i, word in enumerate(lexicon.words)}
    table = torch.zeros(len(captions), max(1, len(place)))
    for row, caption in zip(table, captions, strict=True):
        for words in lexicon.said(caption).values():
            row[[place[word] for word in words]] = 1
    return table


def train(
    probe: Probe, sources: Sequence[tuple[Lessons, Tensor]], steps: int, rng: torch.Generator
) -> None:
    """Train in place for `steps` steps of `BATCH` pictures.

    sources: lessons and the rows of them to learn from; each gives as many pictures to a batch.

    Raises:
        InputError: where the loss is not finite.
    """
    device = probe.image_out.weight.device
    optimizer = torch.optim.AdamW(probe.parameters(), RATE, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=max(steps, 1))
    probe.train()
    for step in range(steps):
        parts = [_batch(lessons, rows, rng, len(sources)) for lessons, rows in sources]
        images, tokens, *rest = (torch.cat(part) for part in zip(*parts, strict=True))
        tokens = trim(tokens)
        with autocast(device):
            maps = probe.trunk(to_network(images))
            # Writing costs most: captions of every second picture, of all sources alike.
            logits = probe.writer(maps[::2], tokens[::2])
        written = likelihood_loss(logits.float(), tokens[::2])
        loss = written + _loss(probe, maps.float().mean((2, 3)), tokens, *rest)
        if not loss.isfinite():
            raise InputError(f"evaluate: a probe's loss is {loss.item()} in step {step + 1}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _batch(
    lessons: Lessons, rows: Tensor, rng: torch.Generator, sources: int
) -> tuple[Tensor, ...]:
    """An equal share of a batch, none twice where there are enough, and a caption of each."""
    share = BATCH // sources
    rounds = -(-share // len(rows))
    order = torch.cat([torch.randperm(len(rows), generator=rng) for _ in range(rounds)])
    chosen = rows[order[:share]].to(lessons.pixels.device)
    images = random_crop_flip(lessons.pixels[chosen], SIDE, rng)
    captions = one_caption(chosen, lessons.first, rng)
    tokens = F.pad(lessons.tokens[captions], (0, LENGTH - lessons.tokens.shape[1]), value=PAD)
    known = (lessons.class_ids[chosen], lessons.targets[chosen])
    return images, tokens, lessons.named[captions], *known


def _loss(
    probe: Probe,
    features: Tensor,
    tokens: Tensor,
    names: Tensor,
    class_ids: Tensor,
    targets: Tensor,
) -> Tensor:
    """What finding, recognising words and recognising classes cost, from features (N, C).

    Rows of no known class do not count in the last.
    """
    scale = torch.tensor(SCALE, device=features.device)
    found = contrastive_loss(probe.see(features), probe.read(tokens), class_ids, scale)
    told = F.binary_cross_entropy_with_logits(probe.names(features), names, reduction="none")
    known = (targets >= 0).sum().clamp(min=1)
    classed = F.cross_entropy(probe.classes(features), targets, ignore_index=-1, reduction="sum")
    return found + told.sum(1).mean() + classed / known
