"""Train psi: captions and images of the train split into one space."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pairsynth import parallel
from pairsynth.artifacts import ShardWriter, embeddings_schema
from pairsynth.config import check, check_between, named
from pairsynth.contrastive import SCALE, contrastive_loss
from pairsynth.devices import autocast
from pairsynth.efficientnet import TEACHER, need
from pairsynth.encoders import TEXT_ENCODERS, FrozenTower, JointEncoder
from pairsynth.examples import Examples
from pairsynth.image_files import network_size
from pairsynth.images import center_crop, random_crop_flip, to_network
from pairsynth.inference import inference
from pairsynth.memory import check_training
from pairsynth.nonfinite import check_finite, gradient_norm
from pairsynth.pretrained import IMAGENET, load_pretrained
from pairsynth.resume import NEVER, Resume
from pairsynth.sampling import one_caption
from pairsynth.seeds import torch_stream
from pairsynth.text import Vocabulary, trim


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Section `embed` of params.yaml.

    text_encoder: word-gru, or Reed's char-cnn-rnn.
    dimension: numbers in psi and in the joint vector of an image.
    hidden: width of the text tower.
    channels: width of the first convolution of an image tower of its own.
    image_encoder: imagenet: the image tower looks through EfficientNet-Lite0, which stays as it is;
        cnn: it learns from nothing.
    image_weights: the user's torchvision state dict, named like resnet18-f37072fd.pth, of a network
        that the image tower looks through instead; "": none.
    min_count: tokens rarer than this in the train captions are unknown.
    epochs: passes over the train images, with two captions drawn for each.
    batch_size: images in a step, those of all processes together.
    learning_rate: peak of the one-cycle schedule of AdamW.
    weight_decay: of AdamW.
    paraphrase: weight of the contrastive term between two captions of one image.
    """

    text_encoder: str
    dimension: int
    hidden: int
    channels: int
    image_encoder: str
    image_weights: str
    min_count: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    paraphrase: float

    def __post_init__(self) -> None:
        known = tuple(TEXT_ENCODERS)
        check(self.text_encoder in known, "text_encoder", self.text_encoder, f"one of {known}")
        known = (IMAGENET, "cnn")
        check(self.image_encoder in known, "image_encoder", self.image_encoder, f"one of {known}")
        check_between(self, 1, 4096, "dimension", "hidden")
        check_between(self, 1, 512, "channels")
        check_between(self, 1, 10_000, "epochs")
        check_between(self, 1, 1_000_000, "min_count")
        check_between(self, 2, 65_536, "batch_size")
        check(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        check_between(self, 0, 100, "weight_decay")
        check_between(self, 0, 100, "paraphrase")


@dataclass(frozen=True, kw_only=True)
class EncoderReport:
    """One epoch: mean loss on train, and how often a val image finds its own caption."""

    epoch: int
    loss: float
    val_recall_at_1: float
    images: int


def build(config: EncoderConfig, examples: Examples) -> JointEncoder:
    """An untrained encoder whose vocabulary is that of the train captions.

    Raises:
        InputError: where `image_weights` cannot be used.
    """
    vocabulary = Vocabulary.build(
        examples.flat_captions, TEXT_ENCODERS[config.text_encoder].unit, config.min_count
    )
    size = network_size(examples.pixels.shape[-1])
    source = {"pictures": examples.digest}
    network, weights = "", None
    if named(config.image_weights):
        weights = load_pretrained(Path(config.image_weights), "embed.image_weights")
        network = weights.name
    elif config.image_encoder == IMAGENET:
        source |= need(TEACHER, "embed.image_encoder = imagenet")
        network = IMAGENET

    def make() -> JointEncoder:
        return JointEncoder(
            config.text_encoder,
            vocabulary,
            size=size,
            dimension=config.dimension,
            hidden=config.hidden,
            channels=config.channels,
            image_network=network,
            made_from=source,
        )

    def step(encoder: JointEncoder) -> tuple[Tensor, Tensor]:
        rows = min(config.batch_size, len(examples))
        tokens = torch.zeros(2 * rows, encoder.text.length, dtype=torch.long)
        tower = encoder.image
        if isinstance(tower, FrozenTower):
            return tower.read(torch.zeros(rows, tower.trunk.width)), encoder.psi(tokens)
        return encoder.joint(torch.zeros(rows, 3, size, size)), encoder.psi(tokens)

    keys = "embed.hidden, .channels or .dimension"
    check_training("embed", keys, make, lambda encoder: [encoder], step)
    encoder = make()
    nn.init.constant_(encoder.log_scale, math.log(SCALE))
    if weights is not None:
        encoder.image.trunk.load_state_dict(weights.state_dict())
    return encoder


BLOCK = 64  # images that are looked at together
Blocks = list[tuple[str, Tensor]]
Show = Callable[[Blocks], Iterable[tuple[str, Tensor]]]


class SeenImages:
    """The images of all splits, as the image tower of `encoder` takes them.

    A network that stays as it is looks at each of them once, and at the mirror images of train;
    what it saw is kept for a run that is interrupted.
    """

    def __init__(
        self,
        encoder: JointEncoder,
        splits: Mapping[str, Examples],
        device: torch.device,
        show: Show = iter,
        resume: Resume = NEVER,
    ) -> None:
        """show: passes blocks of images on, and may show progress."""
        self.encoder, self.splits = encoder, splits
        size, train = encoder.size, splits["train"].pixels
        self.middle = {split: center_crop(one.pixels, size) for split, one in splits.items()}
        tower = encoder.image
        self.tower = tower if isinstance(tower, FrozenTower) else None
        if self.tower is None:
            self.pixels = train.to(device)
            return
        seen = resume.once("seen", lambda: self._look(show))
        self.seen = {name: features.to(device) for name, features in seen.items()}
        self.sides = torch.stack([self.seen["train"], self.seen["mirrored"]])  # (2, N, F)
        self.tower.standardize(self.seen["train"])

    def _look(self, show: Show) -> dict[str, Tensor]:
        """Features (N, F) of the images of each split, and of the mirror images of train."""
        asked = {**self.middle, "mirrored": self.middle["train"].flip(3)}
        blocks = [(name, block) for name, one in asked.items() for block in one.split(BLOCK)]
        seen: dict[str, list[Tensor]] = {name: [] for name in asked}
        for name, block in show(blocks):
            seen[name].append(self.encoder.features(block))
        return {name: torch.cat(parts) for name, parts in seen.items()}

    def some(self, rows: Tensor, rng: torch.Generator) -> Tensor:
        """Vectors (N, D) of rows (N) of train, mirrored or not, with gradients."""
        if self.tower is None:
            return self.encoder.image(
                to_network(random_crop_flip(self.pixels[rows], self.encoder.size, rng))
            )
        side = torch.randint(2, rows.shape, generator=rng, device=rng.device)
        return self.tower.read(self.sides[side.to(rows.device), rows])  # (N, F) -> (N, D)

    def joint(self, split: str) -> Tensor:
        """Joint vectors (N, D) of the images of a split, of unit length, on the CPU."""
        if self.tower is None:
            return self.encoder.embed_images(self.middle[split])
        with inference(self.encoder):
            return F.normalize(self.tower.read(self.seen[split]).cpu(), dim=1)


def train(
    encoder: JointEncoder,
    images: SeenImages,
    config: EncoderConfig,
    seed: int,
    device: torch.device,
    resume: Resume = NEVER,
) -> Iterator[EncoderReport]:
    """Train `encoder` in place on the train split; one report an epoch.

    Raises:
        InputError: where a loss or a gradient is not finite, naming epoch and step.
    """
    parallel.agree(encoder)
    examples = images.splits["train"]
    tokens = encoder.encode(examples.flat_captions).to(device)
    first = examples.first_caption.to(device)
    rng = torch_stream(seed, "embed", device=device)
    batch = parallel.whole_batch(config.batch_size, len(examples))
    steps = len(examples) // batch
    optimizer = torch.optim.AdamW(
        encoder.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps * config.epochs
    )
    parts = (encoder, optimizer, schedule, rng)
    reports = resume.restore(EncoderReport, *parts)
    yield from reports
    for epoch in range(len(reports) + 1, config.epochs + 1):
        encoder.train()
        parallel.draw_apart(rng, seed, "embed", epoch)
        order = parallel.same(torch.randperm(len(examples), generator=rng, device=device))
        losses = []
        for whole in order[: steps * batch].split(batch):
            rows = parallel.own(whole)
            with autocast(device):
                joint = F.normalize(images.some(rows, rng).float(), dim=1)  # (B) -> (B, D)
            captions = [one_caption(rows, first, rng) for _ in range(2)]
            with autocast(device):
                # two captions of each image in one pass: (2 B, T) -> (2 B, D) -> 2 x (B, D)
                one, other = encoder.psi(trim(tokens[torch.cat(captions)])).chunk(2)
            joint, one, other = map(parallel.gather, (joint, one, other))  # of all processes
            # Two images of one class are told apart as well: captions name what differs.
            each = torch.arange(len(joint), device=device)
            scale = encoder.log_scale.exp().clamp(max=100)
            nce = partial(contrastive_loss, class_ids=each, scale=scale)
            loss = (nce(joint, one) + nce(joint, other)) / 2 + config.paraphrase * nce(one, other)
            optimizer.zero_grad()
            loss.backward()
            parallel.average_gradients(encoder)
            optimizer.step()
            schedule.step()
            losses.append(torch.stack([loss.detach(), gradient_norm(encoder)]))
        parallel.average_buffers(encoder)
        mean = _finite(torch.stack(losses), epoch)[:, 0].mean().item()  # (steps, 2)
        recall, seen = recall_at_1(encoder, images, "val"), steps * batch
        reports += [EncoderReport(epoch=epoch, loss=mean, val_recall_at_1=recall, images=seen)]
        resume.keep(reports)
        yield reports[-1]


def _finite(losses: Tensor, epoch: int) -> Tensor:
    names, mend = "loss and gradient", "lower embed.learning_rate"
    return check_finite(losses, names, "embed", epoch, mend)


def recall_at_1(encoder: JointEncoder, images: SeenImages, split: str, among: int = 100) -> float:
    """How often the first caption of an image of `split` is nearer to it than up to 99 others.

    In blocks (see `_blocks`); a caption of the same words is no other, and ties count as misses.
    """
    joint = images.joint(split)
    captions = [captions[0] for captions in images.splits[split].captions]
    psi, hits = encoder.embed_captions(captions), 0
    for words in _blocks(captions, among):
        rows = list(words)
        numbers = torch.tensor(list(words.values()))  # (B)
        scores = joint[rows] @ psi[rows].T  # (B, B)
        others = numbers[:, None] != numbers  # (B, B)
        hits += int((~(others & (scores >= scores.diagonal()[:, None])).any(1)).sum())
    return hits / max(len(joint), 1)


def recall_by_chance(examples: Examples, among: int = 100) -> float:
    """`recall_at_1` of a random ranking: one over the captions that differ, block by block."""
    captions = [captions[0] for captions in examples.captions]
    shares = [len(words) / len(set(words.values())) for words in _blocks(captions, among)]
    return sum(shares) / max(len(captions), 1)


def _blocks(captions: Sequence[str], among: int) -> Iterator[dict[int, int]]:
    """The rows of each block of about `among` images, and by row a number of its caption's words.

    Neighbours are dealt out to different blocks, because they are often of one class.
    """
    numbers = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
    count = -(-len(captions) // among)
    for block in range(count):
        yield {row: numbers[captions[row]] for row in range(block, len(captions), count)}


def summary(encoder: JointEncoder, images: SeenImages) -> dict[str, float | int]:
    """What `embed` reports: recall@1 of 100 at most on val and test, val by chance, vocabulary."""
    return {
        "processes": parallel.size(),
        "vocabulary": len(encoder.vocabulary),
        "val_recall_at_1_of_100": recall_at_1(encoder, images, "val"),
        "test_recall_at_1_of_100": recall_at_1(encoder, images, "test"),
        "val_recall_by_chance": recall_by_chance(images.splits["val"]),
    }


def verdict(summary: Mapping[str, float | int]) -> str:
    """Recall in words, with a warning where captions do not seem to belong to their images."""
    recall, chance = summary["val_recall_at_1_of_100"], summary["val_recall_by_chance"]
    told = (
        f"the right caption is first of {round(1 / max(chance, 0.01))} for {recall:.1%} of val "
        f"images (chance: {chance:.1%})"
    )
    if recall > min(2 * chance, (1 + chance) / 2):
        return told
    return f"{told}\nwarning: that is no better than chance; do captions and images match?"


def embed(encoder: JointEncoder, images: SeenImages, folder: Path, split: str, digest: str) -> None:
    """Write psi of every caption and the joint vector of every image of `split` as shards.

    digest: of the checkpoint of `encoder`.
    """
    examples, joint = images.splits[split], images.joint(split).numpy()
    psi = encoder.embed_captions(examples.flat_captions).numpy()
    first = examples.first_caption.tolist()
    schema, made_from = embeddings_schema(encoder.dimension), {"encoder": digest}
    with ShardWriter(folder, split, schema, made_from) as writer:
        for i, image_id in enumerate(examples.ids):
            own = list(psi[first[i] : first[i + 1]])
            known = {"image_id": image_id, "source_digest": examples.digests[i]}
            writer.write({**known, "image": joint[i], "psi": own})
