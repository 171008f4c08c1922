"""What each of the processes of tests/test_parallel.py does: torchrun ... -m tests.two_processes

Trains all networks on the same images and writes, for each process, what it ended with.
"""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pairsynth import captioner_training, encoder_training, gan_training, parallel, seeds
from pairsynth.captioner_training import CaptionerConfig
from pairsynth.collapse_monitor import CollapseMonitor
from pairsynth.contrastive import contrastive_loss
from pairsynth.efficientnet import TEACHER, installed
from pairsynth.examples import Embeddings
from pairsynth.gan import Gan
from pairsynth.gan_training import GanConfig
from tests.conftest import draw
from tests.options import ENCODER
from tests.workspace import gradient

CPU = torch.device("cpu")


def embed() -> dict[str, Any]:
    config = replace(ENCODER, hidden=16, channels=8, epochs=20, batch_size=24)
    examples = draw(1, 12)
    encoder = encoder_training.build(config, examples)
    seen = encoder_training.SeenImages(encoder, {"train": examples, "val": draw(2, 3)}, CPU)
    reports = list(encoder_training.train(encoder, seen, config, 1, CPU))
    return {"weights": encoder.state_dict(), "reports": [asdict(report) for report in reports]}


def train_gan(objective: str = "hinge", critic: str = "none", epochs: int = 20) -> dict[str, Any]:
    config = GanConfig(
        objective=objective,
        critic=critic,
        epochs=epochs,
        batch_size=8,
        noise=6,
        generator_channels=4,
        discriminator_channels=4,
        generator_lr=1e-3,
        discriminator_lr=1e-3,
        beta1=0.0,
        ema_decay=0.5,
        psi_noise=1.0,
        interpolation=0.25,
        contrastive=0.1,
        translation=0.125,
        cooldown=0.25,
        compile=False,
    )
    examples = draw(1, 6)
    told = torch.nn.functional.one_hot(examples.class_ids, 8).float()
    psi = told.repeat_interleave(examples.first_caption.diff(), 0)
    embeddings = Embeddings(image=told, psi=psi)
    gan = gan_training.build(config, examples, embeddings, "")
    watch = CollapseMonitor(examples, embeddings, 32, 6, 1, CPU)
    training = gan_training.train(gan.to(CPU), examples, embeddings, config, 1, CPU, watch)
    reports = [asdict(report) for report in training]
    weights = {
        f"{name}.{key}": value
        for name, network in (("g", gan.generator), ("d", gan.discriminator))
        for key, value in network.state_dict().items()
    }
    return {"weights": weights, "reports": reports}


def train_captioner() -> dict[str, Any]:
    config = CaptionerConfig(
        hidden=16, min_count=1, epochs=20, batch_size=10, learning_rate=0.003, weight_decay=0.01
    )
    examples = draw(1, 6)
    gan = (
        Gan.build(
            "hinge", size=32, dimension=8, noise=6, generator_channels=4, discriminator_channels=4
        )
        .to(CPU)
        .eval()
    )
    model = captioner_training.build(config, examples, gan, "")
    training = captioner_training.train(model, gan, examples, draw(2, 3), config, 1, CPU)
    reports = [asdict(report) for report in training]
    return {"weights": model.state_dict(), "reports": reports}


def gradients() -> dict[str, Any]:
    """Of a loss in which every row stands against every other, and of a mean over rows."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    rows, ids = torch.randn(8, 6), torch.arange(8) // 2
    own = parallel.own(torch.arange(8))
    left, right = layer(rows[own]), layer(rows[own] ** 2)
    left, right, ids = (parallel.gather(part) for part in (left, right, ids[own]))
    (contrastive_loss(left, right, ids, torch.tensor(2.0)) + 0).backward()
    parallel.average_gradients(layer)
    against = gradient(layer.weight).clone()
    layer.zero_grad()
    optimizer = torch.optim.SGD(layer.parameters(), 1.0)
    parallel.average_before(optimizer)
    layer(rows[own]).square().mean().backward()
    optimizer.step()
    return {"weights": {"against": against, "moved": layer.weight.detach()}, "reports": []}


WORK = {
    "gradients": gradients,
    "embed": embed,
    "train_gan": train_gan,
    "gan-cls": lambda: train_gan("gan-cls"),
    "train_captioner": train_captioner,
}
if installed(TEACHER):
    WORK["projected"] = lambda: train_gan(critic="projected", epochs=2)


def main(folder: Path) -> None:
    """Do all of the work, and write what this process ended with."""
    parallel.join(CPU)
    for name, work in WORK.items():
        seeds.fix(1, name)
        torch.save(work(), folder / f"{name}-{parallel.rank()}.pt")
    parallel.leave()
    (folder / f"left-{parallel.rank()}").write_text(str(parallel.size()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
