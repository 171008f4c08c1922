"""Train the captioner by maximum likelihood on phi(v) of the train pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from pairsynth.artifacts import Pictures
from pairsynth.captioner import Captioner, likelihood_loss
from pairsynth.config import check
from pairsynth.devices import autocast
from pairsynth.errors import InputError
from pairsynth.gan import Gan, phi_of
from pairsynth.seeds import torch_stream
from pairsynth.text import PAD, SPECIALS, Vocabulary, trim

WORDS = 42


@dataclass(frozen=True)
class CaptionerConfig:
    """Section `train_captioner` of params.yaml.

    hidden: width of the LSTM, of its words and of its attention.
    min_count: words rarer than this in the train captions are unknown and never written.
    epochs: passes over all train captions.
    batch_size: captions in a step.
    learning_rate: peak of the one-cycle schedule of AdamW.
    weight_decay: of AdamW.
    """

    hidden: int
    min_count: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float

    def __post_init__(self) -> None:
        for key in ("hidden", "min_count", "epochs", "batch_size"):
            check(getattr(self, key) >= 1, key, getattr(self, key), "1 or more")
        check(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")


@dataclass(frozen=True)
class CaptionerReport:
    """One epoch: mean loss a word in nats on train and on val, and the words read."""

    epoch: int
    loss: float
    val_loss: float
    words: int


def build(config: CaptionerConfig, pictures: Pictures, gan: Gan, digest: str) -> Captioner:
    """An untrained captioner for the phi of `gan`, whose checkpoint has this digest."""
    vocabulary = Vocabulary.build(pictures.flat_captions, "word", config.min_count)
    if len(vocabulary) < len(SPECIALS) + 2:
        raise InputError(
            f"train_captioner: no words occur {config.min_count} times in the train captions; "
            "lower train_captioner.min_count"
        )
    return Captioner(vocabulary, gan.discriminator.phi_channels, config.hidden, digest)


def train(
    captioner: Captioner,
    gan: Gan,
    pictures: Pictures,
    val: Pictures,
    config: CaptionerConfig,
    seed: int,
    device: torch.device,
) -> Iterator[CaptionerReport]:
    """Train `captioner` in place on pictures and their mirror images; one report an epoch.

    Raises:
        InputError: where the loss is not finite, naming epoch and step.
    """
    randomness = torch_stream(seed, "train_captioner")
    views = torch.stack(
        [phi_of(gan, p, device) for p in (pictures.pixels, pictures.pixels.flip(3))]
    )
    captioner.standardize(views[0])
    views = views.to(device)
    tokens, owner = _tokens_and_owner(captioner, pictures)
    tokens, owner = tokens.to(device), owner.to(device)
    batch = min(config.batch_size, len(tokens))
    steps = len(tokens) // batch
    optimizer = torch.optim.AdamW(
        captioner.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps * config.epochs
    )
    for epoch in range(1, config.epochs + 1):
        captioner.train()
        order = torch.randperm(len(tokens), generator=randomness)[: steps * batch].to(device)
        total = torch.zeros((), device=device)
        words = 0
        for step, rows in enumerate(order.split(batch)):
            mirrored = torch.randint(2, (batch,), generator=randomness).to(device)
            captions = trim(tokens[rows])
            with autocast(device):
                logits = captioner(views[mirrored, owner[rows]], captions)
            loss = likelihood_loss(logits.float(), captions)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(captioner.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            total += loss.detach()
            words += int((captions[:, 1:] != PAD).sum())
            if not loss.isfinite():
                raise InputError(
                    f"train_captioner: the loss is {loss.item()} in epoch {epoch}, step "
                    f"{step + 1}; lower train_captioner.learning_rate"
                )
        yield CaptionerReport(
            epoch, total.item() / steps, val_loss(captioner, gan, val, device), words
        )


def _tokens_and_owner(captioner: Captioner, pictures: Pictures) -> tuple[Tensor, Tensor]:
    """Token numbers of all captions (M, T), and the row of the picture of each (M)."""
    tokens = captioner.vocabulary.encode(pictures.flat_captions, WORDS)
    counts = torch.tensor([len(captions) for captions in pictures.captions])
    return tokens, torch.repeat_interleave(torch.arange(len(pictures)), counts)


@torch.no_grad()
def val_loss(captioner: Captioner, gan: Gan, val: Pictures, device: torch.device) -> float:
    """Mean loss a word in nats over all captions of `val`."""
    captioner.eval()
    phi = phi_of(gan, val.pixels, device).to(device)
    tokens, owner = (t.to(device) for t in _tokens_and_owner(captioner, val))
    total, words = 0.0, 0
    for rows in torch.arange(len(tokens), device=device).split(1024):
        captions = trim(tokens[rows])
        count = int((captions[:, 1:] != PAD).sum())
        total += likelihood_loss(captioner(phi[owner[rows]], captions), captions).item() * count
        words += count
    return total / max(words, 1)


def figures(captioner: Captioner, reports: Sequence[CaptionerReport]) -> dict[str, float | int]:
    """What `train_captioner` reports: the last epoch, and the vocabulary's size."""
    last = {key: value for key, value in asdict(reports[-1]).items() if key != "words"}
    return {**last, "vocabulary": len(captioner.vocabulary)}
