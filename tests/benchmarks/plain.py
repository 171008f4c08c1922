"""What is raced against: the same work done the straightforward way, as public code mostly does it.

Single precision throughout, tensors as they come; the GAN in three passes of the discriminator,
the captioner word by word and one image at a time.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pairsynth.captioner import MAX_WORDS
from pairsynth.gan import Gan
from pairsynth.text import END, PAD, START


class PlainStep:
    """GAN-CLS as published code trains it: D(v, t), D(v, t_wrong) and D(v_fake, t) in three passes.

    Fakes are not cut off from the generator in the discriminator's step, and are drawn anew for
    the generator's.
    """

    def __init__(self, gan: Gan, rate: float) -> None:
        self.gan = gan
        first = gan.generator.layers[0]
        gan.generator.layers[0] = nn.ConvTranspose2d(
            first.in_channels, first.out_channels, first.kernel_size, bias=False
        )
        self.generator_optimizer = torch.optim.Adam(gan.generator.parameters(), rate, (0.5, 0.999))
        self.discriminator_optimizer = torch.optim.Adam(
            gan.discriminator.parameters(), rate, (0.5, 0.999)
        )

    def score(self, images: Tensor, psi: Tensor) -> Tensor:
        """D(v, t), from the pixels on."""
        return self.gan.discriminator.score(self.gan.discriminator.phi(images), psi)

    def __call__(self, images: Tensor, psi: Tensor, wrong_psi: Tensor) -> None:
        """Learn from one batch."""
        noise = torch.randn(len(images), self.gan.noise)
        real, wrong = self.score(images, psi), self.score(images, wrong_psi)
        fake = self.score(self.gan.generator(noise, psi), psi)
        loss = self.gan.objective.discriminator_loss(real, wrong, fake)
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        self.discriminator_optimizer.step()

        noise = torch.randn(len(images), self.gan.noise)
        fake = self.score(self.gan.generator(noise, psi), psi)
        self.generator_optimizer.zero_grad()
        self.gan.objective.generator_loss(fake).backward()
        self.generator_optimizer.step()


class PlainCaptioner(nn.Module):
    """An LSTM with soft attention (Xu et al., arXiv 1502.03044) that is fed back word by word.

    Shapes: N batch, T words, P places, C channels, H hidden, V vocabulary.
    """

    def __init__(self, vocabulary: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.look, self.ask = nn.Linear(channels, hidden), nn.Linear(hidden, hidden)
        self.weigh = nn.Linear(hidden, 1)
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.cell = nn.LSTMCell(hidden + channels, hidden)
        self.begin_hidden, self.begin_cell = (
            nn.Linear(channels, hidden),
            nn.Linear(channels, hidden),
        )
        self.gate = nn.Linear(hidden, channels)
        self.out = nn.Linear(hidden, vocabulary)

    def begin(self, phi: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """phi (N, C, 4, 4) to the places (N, P, C) and the first state."""
        places = phi.flatten(2).transpose(1, 2)
        mean = places.mean(1)
        return places, (self.begin_hidden(mean), self.begin_cell(mean))

    def step(
        self, words: Tensor, places: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Words (N) to logits (N, V) of the next ones."""
        looked = torch.relu(self.look(places) + self.ask(state[0])[:, None])
        weights = self.weigh(looked).softmax(1)
        context = torch.sigmoid(self.gate(state[0])) * (weights * places).sum(1)
        state = self.cell(torch.cat([self.embedding(words), context], 1), state)
        return self.out(F.dropout(state[0], 0.5, self.training)), state

    def forward(self, phi: Tensor, tokens: Tensor) -> Tensor:
        """phi (N, C, 4, 4) and tokens (N, T) to logits (N, T - 1, V), with the true words fed."""
        places, state = self.begin(phi)
        logits = []
        for words in tokens[:, :-1].unbind(1):
            one, state = self.step(words, places, state)
            logits.append(one)
        return torch.stack(logits, 1)

    @torch.no_grad()
    def beam(self, phi: Tensor, beams: int = 5) -> list[int]:
        """The best of what `beams` beams end with, for one phi (1, C, 4, 4)."""
        places, (hidden, cell) = self.begin(phi)
        places, state = places.repeat(beams, 1, 1), (hidden.repeat(beams, 1), cell.repeat(beams, 1))
        words, totals = torch.full((beams, 1), START), torch.zeros(beams, 1)
        ended: list[tuple[float, list[int]]] = []
        for step in range(MAX_WORDS):
            logits, state = self.step(words[:, -1], places, state)
            reached = totals + logits.log_softmax(1)
            flat = reached[0] if step == 0 else reached.flatten()
            totals, best = flat.topk(len(words))
            origin, following = best // logits.shape[1], best % logits.shape[1]
            words = torch.cat([words[origin], following[:, None]], 1)
            going = following != END
            for total, row in zip(totals[~going].tolist(), words[~going].tolist(), strict=True):
                ended.append((total / len(row), row))
            words, places, totals = words[going], places[going], totals[going, None]
            state = (state[0][origin[going]], state[1][origin[going]])
            if not len(words):
                break
        for total, row in zip(totals.flatten().tolist(), words.tolist(), strict=True):
            ended.append((total / len(row), row))
        return max(ended)[1]


def plain_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """-log p(t | v) per word."""
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=PAD)
