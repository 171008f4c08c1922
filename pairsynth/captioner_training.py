"""Train the captioner by maximum likelihood on phi(v) of the train images."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from pairsynth import parallel
from pairsynth.captioner import MAX_WORDS, Captioner, likelihood_loss
from pairsynth.config import check, check_between
from pairsynth.devices import autocast
from pairsynth.errors import InputError
from pairsynth.examples import Examples
from pairsynth.gan import Gan, phi_of
from pairsynth.images import GRID
from pairsynth.inference import inference
from pairsynth.memory import check_training
from pairsynth.nonfinite import check_finite
from pairsynth.resume import NEVER, Resume
from pairsynth.seeds import torch_stream
from pairsynth.text import PAD, SPECIALS, Vocabulary, trim

TOKENS = MAX_WORDS + 2  # of a caption, with <start> and <end>


@dataclass(frozen=True, kw_only=True)
class CaptionerConfig:
    """Section `train_captioner` of params.yaml.

    hidden: width of the LSTM, of its words and of its attention.
    min_count: words rarer than this in the train captions are unknown and never written.
    epochs: passes over all train captions.
    batch_size: captions in a step, those of all processes together.
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
        check_between(self, 1, 4096, "hidden")
        check_between(self, 1, 10_000, "epochs")
        check_between(self, 1, 1_000_000, "min_count")
        check_between(self, 1, 65_536, "batch_size")
        check(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        check_between(self, 0, 100, "weight_decay")


@dataclass(frozen=True, kw_only=True)
class CaptionerReport:
    """One epoch: mean loss a word in nats on train and on val, and the words read."""

    epoch: int
    loss: float
    val_loss: float
    words: int


def build(config: CaptionerConfig, examples: Examples, gan: Gan, digest: str) -> Captioner:
    """An untrained captioner for the phi of `gan`, whose checkpoint has this digest."""
    source = {"pictures": examples.digest, "gan": digest}
    vocabulary = Vocabulary.build(examples.flat_captions, "word", config.min_count)
    if len(vocabulary) < len(SPECIALS) + 2:
        raise InputError(
            f"train_captioner: no words occur {config.min_count} times in the train captions; "
            "lower train_captioner.min_count"
        )
    channels = gan.discriminator.phi_channels

    def own() -> Captioner:
        return Captioner(vocabulary, channels, config.hidden, source)

    def step(captioner: Captioner) -> Tensor:
        rows = min(config.batch_size, len(examples.flat_captions))
        phi = torch.zeros(rows, channels, GRID, GRID)
        tokens = torch.zeros(rows, TOKENS, dtype=torch.long)
        return captioner(phi, tokens)

    keys = "train_captioner.hidden"
    check_training("train_captioner", keys, own, lambda captioner: [captioner], step)
    return own()


def train(
    captioner: Captioner,
    gan: Gan,
    examples: Examples,
    val: Examples,
    config: CaptionerConfig,
    seed: int,
    device: torch.device,
    resume: Resume = NEVER,
) -> Iterator[CaptionerReport]:
    """Train `captioner` in place on images and their mirror images; one report an epoch.

    Raises:
        InputError: where a loss or a gradient is not finite, naming epoch and step.
    """
    rng = torch_stream(seed, "train_captioner", device=device)
    sides = (examples.pixels, examples.pixels.flip(3))
    views = torch.stack([phi_of(gan, pixels, device) for pixels in sides])  # (2, N, C, 4, 4)
    captioner.standardize(views[0])
    parallel.agree(captioner)
    views = views.to(device)
    tokens, owner = _tokens_and_owner(captioner, examples)
    tokens, owner = tokens.to(device), owner.to(device)
    batch = parallel.whole_batch(config.batch_size, len(tokens))
    steps = len(tokens) // batch
    optimizer = torch.optim.AdamW(
        captioner.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps * config.epochs
    )
    parts = (captioner, optimizer, schedule, rng)
    reports = resume.restore(CaptionerReport, *parts)
    yield from reports
    for epoch in range(len(reports) + 1, config.epochs + 1):
        captioner.train()
        parallel.draw_apart(rng, seed, "train_captioner", epoch)
        order = parallel.same(torch.randperm(len(tokens), generator=rng, device=device))
        losses, words = [], torch.zeros((), dtype=torch.long, device=device)
        for whole in order[: steps * batch].split(batch):
            rows = parallel.own(whole)
            mirrored = torch.randint(2, (len(rows),), generator=rng, device=device)
            captions = trim(tokens[rows])
            with autocast(device):
                # each as it is or mirrored: (B, C, 4, 4), (B, T) -> (B, T - 1, V)
                logits = captioner(views[mirrored, owner[rows]], captions)
            loss = likelihood_loss(logits.float(), captions)
            optimizer.zero_grad()
            loss.backward()
            parallel.average_gradients(captioner)
            norm = torch.nn.utils.clip_grad_norm_(captioner.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            losses.append(torch.stack([loss.detach(), norm]))
            words += (captions[:, 1:] != PAD).sum()
        mean = _finite(parallel.mean(torch.stack(losses)), epoch)[:, 0].mean().item()  # (steps, 2)
        told, read = val_loss(captioner, gan, val, device), int(parallel.total(words))
        reports.append(CaptionerReport(epoch=epoch, loss=mean, val_loss=told, words=read))
        resume.keep(reports)
        yield reports[-1]


def _finite(losses: Tensor, epoch: int) -> Tensor:
    names, mend = "loss and gradient", "lower train_captioner.learning_rate"
    return check_finite(losses, names, "train_captioner", epoch, mend)


def _tokens_and_owner(captioner: Captioner, examples: Examples) -> tuple[Tensor, Tensor]:
    """Token numbers of all captions (M, T), and the row of the image of each (M)."""
    tokens = captioner.vocabulary.encode(examples.flat_captions, TOKENS)
    counts = torch.tensor([len(captions) for captions in examples.captions])
    return tokens, torch.repeat_interleave(torch.arange(len(examples)), counts)


def val_loss(captioner: Captioner, gan: Gan, val: Examples, device: torch.device) -> float:
    """Mean loss a word in nats over all captions of `val`."""
    phi = phi_of(gan, val.pixels, device).to(device)
    tokens, owner = (t.to(device) for t in _tokens_and_owner(captioner, val))
    total, words = 0.0, 0
    for rows in torch.arange(len(tokens), device=device).split(1024):
        captions = trim(tokens[rows])
        count = int((captions[:, 1:] != PAD).sum())
        with inference(captioner):
            loss = likelihood_loss(captioner(phi[owner[rows]], captions), captions)
        total += loss.item() * count
        words += count
    return total / max(words, 1)


def summary(captioner: Captioner, reports: Sequence[CaptionerReport]) -> dict[str, float | int]:
    """What `train_captioner` reports: the last epoch, the vocabulary's size, the processes."""
    last = {key: value for key, value in asdict(reports[-1]).items() if key != "words"}
    return {**last, "vocabulary": len(captioner.vocabulary), "processes": parallel.size()}
