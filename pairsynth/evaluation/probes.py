"""Probes: small heads on frozen features, trained on pairs to measure what the pairs teach.

The features are the same for all probes: EfficientNet-Lite0 trained on ImageNet where the extra
`imagenet` is installed, else a random network; never the judge's Lite2. They are computed once, so
a probe costs little, and K probes are trained at once: their weights are stacked, probe k's in row
k, and do not influence one another. Each probe has four tasks: to embed image and caption into one
space, to model captions given the image, to recognise the words of captions and, where known,
classes.

Shapes: K probes, N batch, T words, F features, D dimension, V vocabulary, W words of the lexicon.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional as F

from pairsynth import seeds
from pairsynth.contrastive import SCALE
from pairsynth.devices import autocast
from pairsynth.efficientnet import TEACHER, EfficientNet, installed
from pairsynth.errors import InputError
from pairsynth.images import to_network
from pairsynth.inference import inference
from pairsynth.lexicon import Lexicon
from pairsynth.metrics.feature_extractors import Features, fitted, random_features
from pairsynth.sampling import class_groups, one_caption
from pairsynth.text import PAD, SPECIALS, UNKNOWN, Vocabulary, trim

TAPS, SIDE = (2, 4, 10, 15), 64  # blocks of Lite0 that are looked at; pixels of the images it gets
COMPONENTS = 128
DIMENSION, WORD, HIDDEN, CONTEXT = 64, 32, 64, 3
LENGTH, KNOWN = 32, 400  # words of a caption, and words that probes know, at most
BATCH, WRITTEN = 32, 16  # pairs a step from each source, and those of which captions are written
RATE, DECAY = 3e-2, 0.05


# ---------------------------------------------------------------- what is frozen


def features_name() -> str:
    """The name of the frozen features."""
    return "EfficientNet-Lite0" if installed(TEACHER) else "a network that learned nothing"


def frozen_features(device: torch.device) -> Features:
    """The frozen features: uint8 images (N, 3, S, S) to (N, F)."""
    if not installed(TEACHER):
        return random_features()
    network = EfficientNet(TEACHER).to(device)

    def features(pixels: Tensor) -> Tensor:
        parts = []
        for part in pixels.split(32):
            images = F.interpolate(to_network(part.to(device)), (SIDE, SIDE), mode="bilinear")
            images = images.contiguous(memory_format=torch.channels_last)
            with inference(network), autocast(device):
                maps = network.maps(images, TAPS)
            pooled = [m.float().flatten(2) for m in maps]  # (n, C, H W) each
            # mean and deviation of each channel: (n, 2 (C + C' + ...))
            parts.append(torch.cat([f(2) for m in pooled for f in (m.mean, m.std)], 1))
        return torch.cat(parts)

    return features


def reader(features: Features, real: Tensor) -> Features:
    """`features` projected on the principal components of `real` images, of mean variance 1."""
    view = fitted(features, real)
    seen = view(real)
    pca = PCA(min(COMPONENTS, *seen.shape), svd_solver="covariance_eigh").fit(seen.numpy())
    scale = float(pca.explained_variance_.mean()) ** 0.5
    return lambda pixels: torch.from_numpy(pca.transform(view(pixels).numpy())).float() / scale


def vocabulary_of(captions: Sequence[str]) -> Vocabulary:
    """The `KNOWN` most frequent words that occur at least twice in `captions`."""
    found = Vocabulary.build(captions, "word", 2)
    return Vocabulary("word", found.tokens[: KNOWN + len(SPECIALS)])


# ---------------------------------------------------------------- examples


@dataclass(frozen=True, kw_only=True)
class ProbeExamples:
    """Captioned images that probes learn from.

    features: float (N, F). tokens: int64 (captions, T). named: float (captions, W), the lexicon's
    words in each caption. first: int64 (N + 1), the captions of image i are rows first[i] to
    first[i + 1]. groups: int64 (N), images of one group are no negatives of one another: those of
    one class; an image without a class is a group of its own. targets: int64 (N), the place of the
    class among those to recognise, or -1.
    """

    features: Tensor
    tokens: Tensor
    named: Tensor
    first: Tensor
    groups: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def to(self, device: torch.device) -> "ProbeExamples":
        """The examples on `device`."""
        return ProbeExamples(**{name: value.to(device) for name, value in vars(self).items()})


def prepare(
    features: Tensor,
    captions: Sequence[Sequence[str]],
    class_ids: Tensor,
    vocabulary: Vocabulary,
    classes: Sequence[int],
    lexicon: Lexicon,
) -> ProbeExamples:
    """The examples of features (N, F) and captions; classes: the ids to recognise."""
    flat = [caption for own in captions for caption in own]
    counts = torch.tensor([len(own) for own in captions])
    place = {class_id: i for i, class_id in enumerate(classes)}
    tokens = vocabulary.encode(flat, LENGTH)
    return ProbeExamples(
        features=features,
        tokens=F.pad(tokens, (0, LENGTH - tokens.shape[1]), value=PAD),
        named=named(flat, lexicon),
        first=torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)]),
        groups=class_groups(class_ids),
        targets=torch.tensor([place.get(one, -1) for one in class_ids.tolist()], dtype=torch.long),
    )


def named(captions: Sequence[str], lexicon: Lexicon) -> Tensor:
    """Which words of the lexicon each caption has: 0 or 1, (captions, W), W at least 1."""
    place = {word: i for i, word in enumerate(lexicon.words)}
    table = torch.zeros(len(captions), max(1, len(place)))
    for row, caption in zip(table, captions, strict=True):
        for words in lexicon.said(caption).values():
            row[[place[word] for word in words]] = 1
    return table


@dataclass(frozen=True, kw_only=True)
class Portion:
    """Examples that a training step draws a batch from.

    name: real or synthetic. rows: one int64 tensor per probe, its rows of `examples`. weight: of
    the loss of the batch.
    """

    name: str
    examples: ProbeExamples
    rows: Sequence[Tensor]
    weight: float = 1.0


# ---------------------------------------------------------------- probes


class Probes(nn.Module):
    """K probes with stacked weights; the initial ones of probe k come from starts[k]."""

    def __init__(
        self, starts: Sequence[int], vocabulary: Vocabulary, features: int, classes: int, words: int
    ) -> None:
        """starts (K): seeds. features, classes, words: the sizes F, C and W."""
        super().__init__()
        self.count, self.known = len(starts), len(vocabulary)
        rngs = [torch.Generator().manual_seed(start) for start in starts]

        def stacked(rows: int, columns: int, deviation: float) -> nn.Parameter:
            drawn = [torch.randn(rows, columns, generator=rng) for rng in rngs]
            return nn.Parameter(torch.stack(drawn) * deviation)

        def zeros(columns: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(self.count, 1, columns))

        self.image = stacked(features, DIMENSION, features**-0.5)
        self.text = stacked(self.known, DIMENSION, 1.0)
        self.name, self.name_bias = stacked(features, max(1, words), 0.01), zeros(max(1, words))
        self.tell, self.tell_bias = stacked(features, max(1, classes), 0.01), zeros(max(1, classes))
        self.word = stacked(self.known, WORD, 1.0)
        self.before = stacked(CONTEXT * WORD, HIDDEN, (CONTEXT * WORD) ** -0.5)
        self.shown, self.hidden_bias = stacked(features, HIDDEN, features**-0.5), zeros(HIDDEN)
        self.out, self.out_bias = stacked(HIDDEN, self.known, 0.01), zeros(self.known)

    def see(self, features: Tensor) -> Tensor:
        """Features (K, N, F) of images to unit vectors (K, N, D)."""
        return F.normalize(features @ self.image, dim=2)

    def read(self, tokens: Tensor) -> Tensor:
        """Token numbers (K, N, T) to unit vectors (K, N, D): the sum of their words."""
        kept = (tokens != PAD)[..., None]  # (K, N, T, 1)
        # (K, N, T, D) -> (K, N, D)
        return F.normalize((self._looked_up(self.text, tokens) * kept).sum(2), dim=2)

    def names(self, features: Tensor) -> Tensor:
        """Scores (K, N, W) of the lexicon's words for features (K, N, F)."""
        return features @ self.name + self.name_bias

    def classes(self, features: Tensor) -> Tensor:
        """Scores (K, N, C) of classes for features (K, N, F)."""
        return features @ self.tell + self.tell_bias

    def write(self, features: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """log p of each word of tokens (K, N, T) but the first, and which count; (K, N, T - 1).

        A log-bilinear model (Mnih and Hinton, 2007), which learns in a hundred steps: the next word
        by the three before it and the features (K, N, F). Unknown words do not count.
        """
        # (K, N, T - 1, WORD), padded by CONTEXT - 1 in front
        vectors = F.pad(self._looked_up(self.word, tokens[..., :-1]), (0, 0, CONTEXT - 1, 0))
        last = vectors.shape[2] - CONTEXT + 1  # T - 1
        # (K, N, T - 1, CONTEXT WORD): each word beside those before it
        context = torch.cat([vectors[:, :, i : i + last] for i in range(CONTEXT)], 3)
        # log p = log softmax(W relu(A context + B features + b) + c)
        hidden = (context.flatten(1, 2) @ self.before).unflatten(1, context.shape[1:3])
        seen = (features @ self.shown + self.hidden_bias)[:, :, None]  # (K, N, 1, HIDDEN)
        logits = (hidden + seen).relu().flatten(
            1, 2
        ) @ self.out + self.out_bias  # (K, N (T - 1), V)
        target = tokens[..., 1:]  # (K, N, T - 1)
        chances = logits.log_softmax(2).gather(2, target.flatten(1, 2)[..., None])
        return chances.view_as(target), (target != PAD) & (target != UNKNOWN)

    def _looked_up(self, table: Tensor, tokens: Tensor) -> Tensor:
        """Rows of table (K, V, D) by tokens (K, ...)."""
        # word w of probe k is row k V + w of (K V, D)
        start = self.known * torch.arange(self.count, device=tokens.device)
        return F.embedding(tokens + start.view(-1, *[1] * (tokens.dim() - 1)), table.flatten(0, 1))


def train(
    probes: Probes, phases: Sequence[Sequence[Portion]], steps: int, orders: Sequence[int]
) -> None:
    """Train in place: `steps` steps of each phase, one phase after the other.

    A step takes `BATCH` pairs of each portion of its phase. orders: one seed per probe for the
    order of the pairs, which does not depend on the other portions.

    Raises:
        InputError: where the loss is not finite.
    """
    optimizer = torch.optim.AdamW(probes.parameters(), RATE, weight_decay=DECAY, fused=True)
    total = max(1, steps * len(phases))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=total)
    for number, phase in enumerate(phases):
        drawn = [_drawn(share, steps, orders, number) for share in phase]
        for step in range(steps):
            parts = [
                share.weight * _loss(probes, share.examples, rows[step], captions[step])
                for share, (rows, captions) in zip(phase, drawn, strict=True)
            ]
            loss = torch.stack(parts).sum()
            if not loss.isfinite():
                raise InputError(f"evaluate: a probe's loss is {loss.item()} in step {step + 1}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _drawn(share: Portion, steps: int, orders: Sequence[int], phase: int) -> tuple[Tensor, Tensor]:
    """Rows and flat captions (steps, K, BATCH), in passes that take every row once."""
    rows, captions = [], []
    for own, order in zip(share.rows, orders, strict=True):
        rng = seeds.torch_stream(order, share.name, phase)
        passes = -(-steps * BATCH // len(own))
        order_of = torch.cat([torch.randperm(len(own), generator=rng) for _ in range(passes)])
        rows.append(own[order_of[: steps * BATCH]])
        captions.append(one_caption(rows[-1], share.examples.first.cpu(), rng))
    device = share.examples.features.device
    # K of (steps BATCH) -> (steps BATCH, K) -> (steps, BATCH, K) -> (steps, K, BATCH)
    found = (torch.stack(part, 1).view(steps, BATCH, -1) for part in (rows, captions))
    chosen, told = (part.transpose(1, 2).contiguous().to(device) for part in found)
    return chosen, told


def _loss(probes: Probes, examples: ProbeExamples, rows: Tensor, captions: Tensor) -> Tensor:
    """The sum over probes of the losses of all tasks; rows, captions (K, N).

    Pairs without a known class do not count in recognising classes.
    """
    # (K, N, F), (K, N, T) -> (K N, T'), T' without padding -> (K, N, T')
    features, tokens = examples.features[rows], trim(examples.tokens[captions].flatten(0, 1))
    tokens = tokens.unflatten(0, rows.shape)
    found = contrasts(probes.see(features), probes.read(tokens), examples.groups[rows])
    chances, counts = probes.write(features[:, :WRITTEN], tokens[:, :WRITTEN])
    # mean -log p of the words that count, (K)
    written = -(chances * counts).sum((1, 2)) / counts.sum((1, 2)).clamp(min=1)
    told = F.binary_cross_entropy_with_logits(
        probes.names(features), examples.named[captions], reduction="none"
    )
    loss = found.sum() + written.sum() + told.sum(2).mean(1).sum()  # (K, N, W) -> (K) -> ()
    targets = examples.targets[rows]  # (K, N)
    if not bool((targets >= 0).any()):
        return loss
    scores = probes.classes(features).flatten(0, 1)  # (K N, classes)
    classed = F.cross_entropy(scores, targets.flatten(), ignore_index=-1, reduction="none")
    known = (targets >= 0).sum(1).clamp(min=1)
    return loss + (classed.view_as(targets).sum(1) / known).sum()


def contrasts(seen: Tensor, read: Tensor, groups: Tensor) -> Tensor:
    """`contrastive_loss` of each probe (K): unit vectors (K, N, D) twice, groups (K, N)."""
    logits = SCALE * seen @ read.transpose(1, 2)  # (K, N, N)
    same = groups[:, :, None] == groups[:, None]
    same = same & ~torch.eye(groups.shape[1], dtype=torch.bool, device=groups.device)
    logits = logits.masked_fill(same, -torch.inf)
    # -[log softmax over captions + log softmax over images]_ii / 2, the mean over i
    ways = (logits.log_softmax(way).diagonal(dim1=1, dim2=2) for way in (1, 2))
    return -sum(ways, torch.zeros((), device=groups.device)).mean(1) / 2
