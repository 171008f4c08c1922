"""Train the generator and the discriminator by GAN-CLS (Reed et al., arXiv 1605.05396)."""

import itertools
import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pairsynth import parallel
from pairsynth.batches import Batch, Batches
from pairsynth.collapse_monitor import CollapseMonitor
from pairsynth.config import check, check_between
from pairsynth.contrastive import contrastive_loss
from pairsynth.critic import ProjectedCritic, weights
from pairsynth.devices import autocast, need_compiler
from pairsynth.examples import Embeddings, Examples
from pairsynth.gan import OBJECTIVES, Gan
from pairsynth.image_files import network_size
from pairsynth.images import center_crop, grid, to_pixels
from pairsynth.inference import inference
from pairsynth.left_open import left_open
from pairsynth.memory import check_training
from pairsynth.nonfinite import check_finite, gradient_norm
from pairsynth.resume import NEVER, Resume
from pairsynth.seeds import torch_stream

CRITICS = ("projected", "none")
# Of the hinge losses: with a half, captions are heard less and images differ less.
CRITIC_SHARE = 0.2
# What the steps of an epoch tell of it, and then the collapse monitor.
TOLD = (
    *("discriminator_loss", "generator_loss", "real", "wrong", "fake"),
    *("caption_spread", "noise_spread"),
)


@dataclass(frozen=True, kw_only=True)
class GanConfig:
    """Section `train_gan` of params.yaml.

    objective: gan-cls (the paper's, to the letter) or hinge (what measured best).
    critic: projected (a second one, on frozen ImageNet features, for a fifth of it) or none.
    epochs: passes over the train images, with one caption drawn for each.
    batch_size: images in a step, those of all processes together.
    noise: Z, normal numbers the generator takes besides psi.
    generator_channels: width of the generator's last block.
    discriminator_channels: width of the discriminator's first convolution.
    generator_lr: Adam's learning rate for the generator.
    discriminator_lr: Adam's learning rate for the discriminator.
    beta1: Adam's first beta.
    ema_decay: share of the old average kept in a step by the averaged generator; 0: none.
    psi_noise: how far psi strays from a caption in a draw: 1 as captions of one image do; 0: not.
    interpolation: weight of the generator's loss on psi between two captions (GAN-INT).
    contrastive: weight of the image-text contrastive term on phi; 0: none, as in the paper.
    translation: largest shift of real and fake images, as a share of their side.
    cooldown: share of the epochs, the last ones, over which the learning rates fall towards 0.
    compile: let torch.compile join the networks' operations; takes minutes before the first step.
    """

    objective: str
    critic: str
    epochs: int
    batch_size: int
    noise: int
    generator_channels: int
    discriminator_channels: int
    generator_lr: float
    discriminator_lr: float
    beta1: float
    ema_decay: float
    psi_noise: float
    interpolation: float
    contrastive: float
    translation: float
    cooldown: float
    compile: bool

    def __post_init__(self) -> None:
        known = tuple(OBJECTIVES)
        check(self.objective in known, "objective", self.objective, f"one of {known}")
        check(self.critic in CRITICS, "critic", self.critic, f"one of {CRITICS}")
        check_between(self, 1, 10_000, "epochs")
        check_between(self, 1, 4096, "noise")
        check_between(self, 1, 512, "generator_channels", "discriminator_channels")
        check_between(self, 2, 65_536, "batch_size")
        for key in ("generator_lr", "discriminator_lr"):
            check(getattr(self, key) > 0, key, getattr(self, key), "above 0")
        for key in ("beta1", "ema_decay", "translation", "cooldown"):
            check(0 <= getattr(self, key) < 1, key, getattr(self, key), "0 to below 1")
        check_between(self, 0, 100, "psi_noise", "interpolation", "contrastive")


@dataclass(frozen=True, kw_only=True)
class GanReport:
    """One epoch: mean losses, the mean scores of real, wrong and fake, how much images differ.

    caption_spread, noise_spread: mean distance (root mean square, 0 to 1) between images that
    the averaged generator draws for different captions, and for one caption.
    """

    epoch: int
    images: int
    discriminator_loss: float
    generator_loss: float
    real: float
    wrong: float
    fake: float
    caption_spread: float
    noise_spread: float


def build(config: GanConfig, examples: Examples, embeddings: Embeddings, encoder: str) -> Gan:
    """Untrained networks for these images and embeddings by the encoder of that digest."""
    size, dimension = network_size(examples.pixels.shape[-1]), embeddings.psi.shape[1]
    source = {"pictures": examples.digest, "encoder": encoder, **looks_through(config)}

    def own() -> Gan:
        return Gan.build(
            config.objective,
            size=size,
            dimension=dimension,
            noise=config.noise,
            generator_channels=config.generator_channels,
            discriminator_channels=config.discriminator_channels,
            made_from=source,
        )

    def step(gan: Gan) -> tuple[Tensor, Tensor]:
        rows = min(config.batch_size, len(examples))
        fake = gan.generator(torch.zeros(rows, config.noise), torch.zeros(rows, dimension))
        seen = gan.discriminator.phi(torch.zeros(3 * rows, 3, size, size))
        return fake, gan.discriminator.score(seen, torch.zeros(3 * rows, dimension))

    keys = "train_gan.generator_channels or .discriminator_channels"
    check_training("train_gan", keys, own, lambda gan: [gan.generator, gan.discriminator], step)
    gan = own()
    known = left_open(examples, embeddings, config.noise, config.psi_noise)
    gan.generator.open_directions.copy_(known.directions)
    return gan


def train(
    gan: Gan,
    examples: Examples,
    embeddings: Embeddings,
    config: GanConfig,
    seed: int,
    device: torch.device,
    monitor: CollapseMonitor,
    resume: Resume = NEVER,
) -> Iterator[GanReport]:
    """Train `gan` in place; one report an epoch. After the last, its generator is the average.

    Raises:
        InputError: where a loss or a gradient is not finite, naming epoch and step.
    """
    critic = build_critic(config, gan, device)
    critics = () if critic is None else (critic,)
    parallel.agree(gan.generator, gan.discriminator, *critics)
    rng = torch_stream(seed, "train_gan", device=device)
    known = left_open(examples, embeddings, config.noise, config.psi_noise)
    batches = Batches(examples, embeddings, known.noise, config.batch_size, gan.size, device)
    step = Step(gan, config, rng, critic, known.share)
    ema = EMA(gan.generator, config.ema_decay)
    optimizers = (step.generator_optimizer, step.discriminator_optimizer)
    schedules = [cooled(optimizer, config) for optimizer in optimizers]
    for optimizer in optimizers:
        parallel.average_before(optimizer)
    parts = (gan.generator, gan.discriminator, *critics, ema, *optimizers, *schedules, rng, monitor)
    reports = resume.restore(GanReport, *parts)
    yield from reports
    for epoch in range(len(reports) + 1, config.epochs + 1):
        gan.generator.train()
        gan.discriminator.train()
        parallel.draw_apart(rng, seed, "train_gan", epoch)
        figures = []
        for batch in batches.epoch(rng):
            figures.append(torch.cat([step(batch), step.gradients()]))
            ema.update(gan.generator)
        for schedule in schedules:
            schedule.step()
        means = _finite(parallel.mean(torch.stack(figures)), epoch)[:, :5].mean(0).tolist()
        heads = [one.heads for one in critics]
        parallel.average_buffers(gan.generator, gan.discriminator, ema.module, *heads)
        images = len(figures) * batches.size
        told = dict(zip(TOLD, [*means, *monitor(ema.module, epoch)], strict=True))
        reports.append(GanReport(epoch=epoch, images=images, **told))
        resume.keep(reports)
        yield reports[-1]
    gan.generator.load_state_dict(ema.module.state_dict())


def looks_through(config: GanConfig) -> dict[str, str]:
    """The digest, by name, of the weights that the critic of `config` looks through.

    Raises:
        InputError: where the extra that has them is not installed.
    """
    return weights() if config.critic == "projected" else {}


def build_critic(config: GanConfig, gan: Gan, device: torch.device) -> ProjectedCritic | None:
    """The second critic that `config` asks for, on `device`.

    Raises:
        InputError: where the extra that has its weights is not installed.
    """
    if config.critic == "none":
        return None
    critic = ProjectedCritic(gan.size, int(gan.options["dimension"]))
    return critic.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


class EMA:
    """The generator averaged over its steps, each keeping `share` of the average so far.

    Less in the first steps (n of n + 9): images of the untrained generator would stay in it for a
    thousand steps otherwise. torch's AveragedModel counts on the device and makes the host wait.
    """

    def __init__(self, generator: nn.Module, share: float) -> None:
        self.module, self.share, self.steps = deepcopy(generator).eval(), share, 0

    @torch.no_grad()
    def update(self, generator: nn.Module) -> None:
        """Average in the weights of the generator after a step."""
        kept = min(self.share, self.steps / (self.steps + 9))
        get_ema_multi_avg_fn(kept)(_numbers(self.module), _numbers(generator), self.steps)
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """The average so far, and of how many steps."""
        return {"module": self.module.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a stored average."""
        self.module.load_state_dict(state["module"])
        self.steps = state["steps"]


def _numbers(network: nn.Module) -> list[Tensor]:
    """Weights and running statistics, without the counts of batches."""
    tensors = itertools.chain(network.parameters(), network.buffers())
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]


def cooled(optimizer: torch.optim.Optimizer, config: GanConfig) -> LambdaLR:
    """The schedule that lets the learning rate of `optimizer` fall, a step an epoch."""
    return LambdaLR(optimizer, lambda done: rate_share(done + 1, config.epochs, config.cooldown))


def rate_share(epoch: int, epochs: int, cooldown: float) -> float:
    """What is left of the learning rates in `epoch` of `epochs`: all, then less and less.

    At constant rates the last steps draw strokes that the next ones undo: late in training
    images grow no better, until the rates fall.
    """
    return min(1.0, (epochs + 1 - epoch) / max(1.0, cooldown * epochs))


def _finite(figures: Tensor, epoch: int) -> Tensor:
    return check_finite(
        figures,
        "losses, scores and gradients",
        "train_gan",
        epoch,
        "lower train_gan.generator_lr and train_gan.discriminator_lr",
    )


class Step:
    """One step of GAN-CLS; its state is the two optimizers."""

    def __init__(
        self,
        gan: Gan,
        config: GanConfig,
        rng: torch.Generator,
        critic: ProjectedCritic | None = None,
        noise_share: float = 0.0,
    ) -> None:
        """noise_share: weight of the contrastive term on noise beside that on psi."""
        self.gan, self.config, self.rng, self.critic = gan, config, rng, critic
        self.noise_share = noise_share
        heads = [] if critic is None else [critic.heads]
        self.judges = nn.ModuleList([gan.discriminator, *heads])
        if config.compile:
            self._compile()
        betas = (config.beta1, 0.999)
        self.generator_optimizer = torch.optim.Adam(
            gan.generator.parameters(), config.generator_lr, betas, fused=True
        )
        self.discriminator_optimizer = torch.optim.Adam(
            self.judges.parameters(), config.discriminator_lr, betas, fused=True
        )

    def _compile(self) -> None:
        need_compiler("train_gan.compile")
        # dynamo asks normalised weights, which are no leaves, for their gradients.
        warnings.filterwarnings("ignore", "The .grad attribute")
        parts = [self.gan.generator, self.gan.discriminator.trunk, self.gan.discriminator.join]
        if self.critic is not None:
            parts += [self.critic.projection, *self.critic.heads]
        for part in parts:
            part.compile()

    def gradients(self) -> Tensor:
        """The norms of the gradients of the last step (2)."""
        return torch.stack([gradient_norm(self.judges), gradient_norm(self.gan.generator)])

    def __call__(self, batch: Batch) -> Tensor:
        """Learn from one batch; returns both losses and the mean scores: real, wrong, fake (5)."""
        generator, discriminator = self.gan.generator, self.gan.discriminator
        losses, count, device = self.gan.objective, len(batch.images), batch.images.device
        between = int(self.config.interpolation * count)
        psi = interpolate_some(batch.psi, between, self.rng)
        noise = torch.randn(count, self.gan.noise, generator=self.rng, device=device)
        # Both passes of a step share one spectral norm of each weight.
        with autocast(device), parametrize.cached():
            images, fake_images = self.augment(batch.images), self.augment(generator(noise, psi))

            phi = discriminator.phi(images)
            real = discriminator.score(phi, batch.psi)
            wrong = discriminator.score(phi, batch.wrong_psi)
            # No real image exists for psi between two captions: the discriminator would
            # learn to know such psi instead of the image, so it is not shown them.
            fake_phi = discriminator.phi(fake_images.detach()[between:])
            fake = discriminator.score(fake_phi, psi[between:])
            loss = losses.discriminator_loss(real, wrong, fake)
            if self.critic is not None:
                # What the frozen network sees of the fakes serves both passes.
                seen = self.critic.projection(fake_images)
                shown = [maps.detach()[between:] for maps in seen]
                second = self.second_loss(self.critic, images, shown, batch, psi)
                loss = loss.lerp(second, CRITIC_SHARE)
            loss = loss + self.matching(phi, batch.psi, batch.noise, batch)
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        self.discriminator_optimizer.step()

        self.judges.requires_grad_(False)
        with autocast(device), parametrize.cached():
            phi = discriminator.phi(fake_images)
            generator_loss = losses.generator_loss(discriminator.score(phi, psi))
            if self.critic is not None:
                score = self.critic.score(self.critic.phi(seen), psi)
                generator_loss = generator_loss.lerp(losses.generator_loss(score), CRITIC_SHARE)
            generator_loss = generator_loss + self.matching(phi, psi, noise, batch)
        self.generator_optimizer.zero_grad()
        generator_loss.backward()
        self.generator_optimizer.step()
        self.judges.requires_grad_(True)
        means = (loss, generator_loss, real.mean(), wrong.mean(), fake.mean())
        return torch.stack([figure.detach().float() for figure in means])

    def second_loss(
        self, critic: ProjectedCritic, images: Tensor, fake: list[Tensor], batch: Batch, psi: Tensor
    ) -> Tensor:
        """The loss of the critic on real images and on maps of fakes for the last rows of psi."""
        phi, fake_phi = critic.phi(critic.projection(images)), critic.phi(fake)
        return self.gan.objective.discriminator_loss(
            critic.score(phi, batch.psi),
            critic.score(phi, batch.wrong_psi),
            critic.score(fake_phi, psi[-len(fake[0]) :]),
        )

    def augment(self, images: Tensor) -> Tensor:
        """Shift, the same for real and fake (DiffAugment, arXiv 2006.10738)."""
        # Drawn on the host: a GPU that has to tell them would have to finish its work first.
        return translate(images, self.config.translation, torch.default_generator)

    def matching(self, phi: Tensor, psi: Tensor, noise: Tensor, batch: Batch) -> Tensor:
        """The weighted contrastive terms: between phi and psi, and between phi and noise.

        Sixteen captions of a batch are told apart by their main colour; beside many more of the
        train split, phi has to tell all that they name.

        The noise of a real image is what it has beside its captions. By the second term a
        generator cannot leave it out: where captions of one image all say the same, psi hardly
        strays, and every draw of a caption would be one image. It weighs as much as psi does not
        stray: -log softmax is a bound on what phi tells of noise (InfoNCE; as InfoGAN's,
        arXiv 1606.03657, but that the noise of real images is known here).
        """
        if not self.config.contrastive:
            return phi.new_zeros(())
        discriminator = self.gan.discriminator
        captions = torch.cat([psi, batch.rival_psi])  # (N, D), (R, D) -> (N + R, D)
        class_ids = torch.cat([batch.class_ids, batch.rival_class_ids])  # (N + R)
        loss = contrastive_loss(discriminator.joint(phi), captions, class_ids)
        if self.noise_share:
            read, each = discriminator.noise(phi), torch.arange(len(phi), device=phi.device)
            noise = F.normalize(noise, dim=1)  # (N, Z)
            loss = loss + self.noise_share * contrastive_loss(read, noise, each)
        return self.config.contrastive * loss


def interpolate_some(psi: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """psi (N, D) whose first `count` rows lie between themselves and the row after (GAN-INT)."""
    share = torch.rand(len(psi), 1, generator=rng, device=psi.device)
    share[count:] = 1
    return F.normalize(share * psi + (1 - share) * psi.roll(-1, 0), dim=1)


def translate(images: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Shift images (N, 3, S, S), an eighth of them at a time, by up to `share` of S; grey moves in.

    Such a shift is a plain copy; one for each image is a gather whose gradient costs as much as a
    convolution, and over the steps the expectation is the same.
    """
    reach = int(share * images.shape[-1])
    if not reach:
        return images
    parts = images.chunk(8)
    shifts = torch.randint(-reach, reach + 1, (len(parts), 2), generator=rng)
    moves = zip(parts, shifts.tolist(), strict=True)
    return torch.cat([F.pad(part, (x, -x, y, -y)) for part, (x, y) in moves])


def sample_sheet(
    gan: Gan, examples: Examples, embeddings: Embeddings, seed: int, rows: int = 8
) -> Image.Image:
    """Real images beside seven drawn from their first caption: one row each, spread evenly."""
    chosen = torch.linspace(0, len(examples) - 1, rows).long()
    psi = embeddings.psi[examples.first_caption[chosen]].repeat_interleave(7, 0)
    noise = torch.randn(len(psi), gan.noise, generator=torch_stream(seed, "sample_sheet"))
    device = next(gan.generator.parameters()).device
    with inference(gan.generator):
        drawn = to_pixels(gan.generator(noise.to(device), psi.to(device))).cpu()
    real = center_crop(examples.pixels[chosen], gan.size)
    return grid(torch.cat([real[:, None], drawn.unflatten(0, (rows, 7))], 1).flatten(0, 1), 8, 2)


def summary(reports: Sequence[GanReport], monitor: CollapseMonitor) -> dict[str, float | int]:
    """What `train_gan` reports: the last epoch, how much real images differ, the processes."""
    last = {key: value for key, value in asdict(reports[-1]).items() if key != "images"}
    return {**last, "real_spread": monitor.real_spread, "processes": parallel.size()}
