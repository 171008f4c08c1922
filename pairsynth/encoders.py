"""Caption and image to one space of unit vectors: psi(t), and the image tower's joint vector.

Shapes: N batch, T tokens, D dimension, H hidden, C channels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pairsynth.artifacts import check_source
from pairsynth.checkpoints import load_checkpoint, rebuild, save_checkpoint
from pairsynth.efficientnet import TEACHER, check_same
from pairsynth.images import GRID, to_network
from pairsynth.inference import inference
from pairsynth.pretrained import IMAGENET, ImageNetFeatures, Pretrained
from pairsynth.text import PAD, Vocabulary


class WordGRU(nn.Module):
    """Word embeddings, a gated recurrent unit, the mean of its states over the words."""

    unit = "word"
    length = 48

    def __init__(self, vocabulary: int, dimension: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden, padding_idx=PAD)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.out = nn.Linear(hidden, dimension)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers (N, T) to vectors (N, D)."""
        words = F.dropout(self.embedding(tokens), 0.2, self.training)  # (N, T) -> (N, T, H)
        states, _ = self.gru(words)  # (N, T, H)
        return self.out(_masked_mean(states, tokens))  # (N, H) -> (N, D)


class CharCNNRNN(nn.Module):
    """Reed's char-CNN-RNN (arXiv 1605.05395): three convolutions over characters, then a GRU."""

    unit = "character"
    length = 201

    def __init__(self, vocabulary: int, dimension: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 64, padding_idx=PAD)
        self.convolutions = nn.Sequential(
            *(nn.Conv1d(64, hidden, 4, padding=2), nn.ReLU(), nn.MaxPool1d(3, 3)),
            *(nn.Conv1d(hidden, hidden, 4, padding=2), nn.ReLU(), nn.MaxPool1d(3, 3)),
            *(nn.Conv1d(hidden, hidden, 4, padding=2), nn.ReLU()),
        )
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.out = nn.Linear(hidden, dimension)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers (N, T) to vectors (N, D)."""
        # Always one width: what follows a caption must not depend on the captions beside it.
        tokens = F.pad(tokens, (0, self.length - tokens.shape[1]), value=PAD)
        letters = self.embedding(tokens).transpose(1, 2)  # (N, T) -> (N, 64, T)
        features = self.convolutions(letters).transpose(1, 2)  # (N, H, L) -> (N, L, H), L = T / 9
        states, _ = self.gru(features)  # (N, L, H)
        # (N, T) -> (N, L): 1 where any of the characters pooled into a place is one
        kept = F.adaptive_max_pool1d((tokens != PAD).float(), states.shape[1])
        return self.out(_masked_mean(states, kept))  # (N, H) -> (N, D)


def _masked_mean(states: Tensor, tokens: Tensor) -> Tensor:
    """The mean (N, H) of states (N, T, H) over tokens (N, T) that are no padding."""
    kept = (tokens != PAD).unsqueeze(2).to(states.dtype)  # (N, T, 1)
    return (states * kept).sum(1) / kept.sum(1).clamp(min=1)


class ImageTower(nn.Module):
    """Strided convolutions from S x S down to 4 x 4, then their mean."""

    def __init__(self, size: int, dimension: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width, side = 3, size
        while side > GRID:
            wider = channels if width == 3 else min(2 * width, 8 * channels)
            layers += [nn.Conv2d(width, wider, 4, 2, 1, bias=False), nn.BatchNorm2d(wider)]
            layers += [nn.LeakyReLU(0.1)]
            width, side = wider, side // 2
        self.trunk = nn.Sequential(*layers)
        self.out = nn.Linear(width, dimension)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) in [-1, 1] to vectors (N, D)."""
        return self.out(self.trunk(images).mean((2, 3)))  # (N, C, 4, 4) -> (N, C) -> (N, D)


class FrozenTower(nn.Module):
    """A frozen network that learned from other images, and a linear layer on its features.

    Shapes: F features of the network.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: str, dimension: int) -> None:
        """network: `IMAGENET`, or as torchvision names it."""
        super().__init__()
        self.trunk = ImageNetFeatures() if network == IMAGENET else Pretrained(network)
        self.register_buffer("mean", torch.zeros(self.trunk.width))
        self.register_buffer("deviation", torch.ones(self.trunk.width))
        self.out = nn.Linear(self.trunk.width, dimension)

    def standardize(self, features: Tensor) -> None:
        """Set mean and deviation to those of features (N, F)."""
        self.mean.copy_(features.mean(0))
        self.deviation.copy_(features.std(0, correction=0).clamp(min=1e-3))

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) in [-1, 1] to features (N, F), which no training changes."""
        return self.trunk(images).float()

    def read(self, features: Tensor) -> Tensor:
        """Features (N, F) to vectors (N, D)."""
        # Dropout: there are more features than a small set has images.
        return self.out(F.dropout((features - self.mean) / self.deviation, 0.2, self.training))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) in [-1, 1] to vectors (N, D)."""
        return self.read(self.features(images))


TEXT_ENCODERS: Mapping[str, type[WordGRU] | type[CharCNNRNN]] = {
    "word-gru": WordGRU,
    "char-cnn-rnn": CharCNNRNN,
}


class JointEncoder(nn.Module):
    """A text tower and an image tower that end in one space; all vectors have unit length.

    image_network: what the image tower looks through: `IMAGENET`, a torchvision classifier, or "":
        nothing but its own convolutions.
    made_from: digests, by name, of what it learns from; with `IMAGENET`, of its weights too, which
        are not in the checkpoint.
    """

    def __init__(
        self,
        text_encoder: str,
        vocabulary: Vocabulary,
        *,
        size: int,
        dimension: int,
        hidden: int,
        channels: int,
        image_network: str = "",
        made_from: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.made_from = dict(made_from or {})
        self.options = {
            "text_encoder": text_encoder,
            "unit": vocabulary.unit,
            "tokens": list(vocabulary.tokens),
            "size": size,
            "dimension": dimension,
            "hidden": hidden,
            "channels": channels,
            "image_network": image_network,
            "made_from": self.made_from,
        }
        self.vocabulary, self.size, self.dimension = vocabulary, size, dimension
        self.text = TEXT_ENCODERS[text_encoder](len(vocabulary), dimension, hidden)
        self.image = (
            FrozenTower(image_network, dimension)
            if image_network
            else ImageTower(size, dimension, channels)
        )
        self.log_scale = nn.Parameter(torch.zeros(()))  # of the contrastive loss

    def encode(self, captions: list[str]) -> Tensor:
        """Token numbers (N, T) of captions, ready for `psi`."""
        return self.vocabulary.encode(captions, self.text.length)

    def psi(self, tokens: Tensor) -> Tensor:
        """Token numbers (N, T) to psi(t) (N, D), unit length, float32."""
        return F.normalize(self.text(tokens).float(), dim=1)

    def joint(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) in [-1, 1] to joint vectors (N, D), unit length, float32."""
        return F.normalize(self.image(images).float(), dim=1)

    def embed_captions(self, captions: list[str], batch: int = 512) -> Tensor:
        """psi (N, D) of captions, on the CPU; does not depend on the batch size."""
        device = self.log_scale.device
        with inference(self):
            parts = [
                self.psi(self.encode(captions[i : i + batch]).to(device)).cpu()
                for i in range(0, len(captions), batch)
            ]
        return torch.cat(parts) if parts else torch.empty(0, self.dimension)

    def embed_images(self, pixels: Tensor, batch: int = 256) -> Tensor:
        """Joint vectors (N, D) of uint8 images (N, 3, S, S), on the CPU."""
        device = self.log_scale.device
        with inference(self):
            parts = [self.joint(to_network(p.to(device))).cpu() for p in pixels.split(batch)]
        return torch.cat(parts) if parts else torch.empty(0, self.dimension)

    def features(self, pixels: Tensor) -> Tensor:
        """What a `FrozenTower` sees (N, F) in uint8 images (N, 3, S, S)."""
        assert isinstance(self.image, FrozenTower)
        with inference(self):
            return self.image.features(to_network(pixels.to(self.log_scale.device)))

    def save(self, path: Path, kind: str = "encoder") -> None:
        """Write a checkpoint that `load_encoder` rebuilds."""
        save_checkpoint(path, kind, self.options, self.state_dict())


def load_encoder(path: Path, device: torch.device, **wanted: str) -> JointEncoder:
    """The encoder in the checkpoint at `path`, ready for inference.

    wanted: digests, by name, of what it must have learned from.

    Raises:
        InputError: where it is missing, damaged or made from something else, or looks through
            weights that are not those installed.
    """
    options, state = load_checkpoint(path, "encoder")
    made_from = options.get("made_from", {})
    check_source(path, made_from, **wanted)
    if options.get("image_network") == IMAGENET:
        check_same(path, TEACHER, made_from)
    whole = {"encoder": state}
    encoder = rebuild(path, options, whole, untrained, lambda made: {"encoder": made})
    return encoder.to(device).eval()


def untrained(*, unit: str, tokens: list[str], **options: Any) -> JointEncoder:
    """An untrained encoder of the options that a checkpoint has."""
    return JointEncoder(vocabulary=Vocabulary(unit, tuple(tokens)), **options)
