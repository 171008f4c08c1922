"""Image to text: an LSTM over phi(v) that attends to its 4 x 4 grid.

The next word is read from the LSTM's state and from what that state attends to (Luong et al.,
arXiv 1508.04025); the attention is not fed back, so that training runs all words at once.

Shapes: N batch, T words, P places of the grid, C channels, H hidden, V vocabulary.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pairsynth.artifacts import check_source
from pairsynth.checkpoints import load_checkpoint, rebuild, save_checkpoint
from pairsynth.text import PAD, Vocabulary

MAX_WORDS = 40  # of a caption, read or written

State = tuple[Tensor, Tensor]


class Captioner(nn.Module):
    """p(t | v) = LSTM(phi(v)) (Xie and Bao, 2017).

    made_from: digests, by name, of what it learns from.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        vocabulary: Vocabulary,
        phi_channels: int,
        hidden: int,
        made_from: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.options = {
            "tokens": list(vocabulary.tokens),
            "phi_channels": phi_channels,
            "hidden": hidden,
            "made_from": dict(made_from or {}),
        }
        self.register_buffer("mean", torch.zeros(phi_channels))
        self.register_buffer("deviation", torch.ones(phi_channels))
        self.place = nn.Parameter(torch.zeros(16, hidden))  # (P, H), what marks each place
        self.look = nn.Linear(phi_channels, hidden)
        self.begin = nn.Linear(hidden, 2 * hidden)
        self.embedding = nn.Embedding(len(vocabulary), hidden, padding_idx=PAD)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.attend = nn.Linear(hidden, hidden)
        self.combine = nn.Linear(2 * hidden, hidden)
        self.out = nn.Linear(hidden, len(vocabulary))

    def standardize(self, phi: Tensor) -> None:
        """Take the mean and deviation of each channel from phi (N, C, 4, 4) of train images."""
        self.mean.copy_(phi.mean((0, 2, 3)))
        self.deviation.copy_(phi.std((0, 2, 3)).clamp(min=1e-3))

    def see(self, phi: Tensor) -> tuple[Tensor, State]:
        """phi (N, C, 4, 4) to the grid (N, P, H) attended to, and the first state."""
        places = phi.float().flatten(2).transpose(1, 2)  # (N, C, 4, 4) -> (N, P, C)
        places = (places - self.mean) / self.deviation
        # (N, P, C) -> (N, P, H)
        grid = torch.tanh(self.look(F.dropout(places, 0.2, self.training)) + self.place)
        hidden, cell = self.begin(grid.mean(1)).chunk(2, 1)  # (N, H) each
        # torch's LSTM wants its layers first: (1, N, H)
        return grid, (torch.tanh(hidden)[None].contiguous(), cell[None].contiguous())

    def read(self, tokens: Tensor, grid: Tensor, state: State) -> tuple[Tensor, State]:
        """Tokens (N, T) after `state` to logits (N, T, V) of each next word, and the new state."""
        words = F.dropout(self.embedding(tokens), 0.3, self.training)  # (N, T) -> (N, T, H)
        states, state = self.lstm(words, state)  # (N, T, H)
        # softmax((W h) . grid / sqrt(H)) grid: a mean of the places, for each word its own
        context = F.scaled_dot_product_attention(self.attend(states), grid, grid)
        # h~ = tanh(U h + V context): (N, T, 2 H) -> (N, T, H)
        hidden = torch.tanh(self.combine(torch.cat([states, context], 2)))
        return self.out(F.dropout(hidden, 0.3, self.training)), state

    def forward(self, phi: Tensor, tokens: Tensor) -> Tensor:
        """phi (N, C, 4, 4) and tokens (N, T) to logits (N, T - 1, V) of tokens 1 to T - 1."""
        grid, state = self.see(phi)
        return self.read(tokens[:, :-1], grid, state)[0]

    def save(self, path: Path) -> None:
        """Write a checkpoint that `load_captioner` rebuilds."""
        save_checkpoint(path, "captioner", self.options, self.state_dict())


def load_captioner(path: Path, device: torch.device, **wanted: str) -> Captioner:
    """The captioner in the checkpoint at `path`, ready for inference.

    wanted: digests, by name, of what it must have learned from.

    Raises:
        InputError: where it is missing, damaged or made from something else.
    """
    options, state = load_checkpoint(path, "captioner")
    check_source(path, options.get("made_from", {}), **wanted)
    whole = {"captioner": state}
    captioner = rebuild(path, options, whole, untrained, lambda made: {"captioner": made})
    return captioner.to(device).eval().requires_grad_(False)


def untrained(*, tokens: list[str], **options: Any) -> Captioner:
    """An untrained captioner built from the options stored in a checkpoint."""
    return Captioner(Vocabulary("word", tuple(tokens)), **options)


def likelihood_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Mean -log p(t | v) per word, from logits (N, T - 1, V) of tokens (N, T), without padding."""
    # (N (T - 1), V), (N (T - 1)) -> ()
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=PAD)
