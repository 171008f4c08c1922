"""A network is put into inference where it is used, whatever mode a training left it in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pairsynth import captioner_training, gan_training
from pairsynth.captioner import MAX_WORDS, Captioner
from pairsynth.collapse_monitor import CollapseMonitor
from pairsynth.decoding import decode_beam, decode_nucleus
from pairsynth.encoders import JointEncoder
from pairsynth.evaluation import judges
from pairsynth.evaluation.probes import Probes
from pairsynth.examples import Embeddings, Examples
from pairsynth.gan import Gan, phi_of
from pairsynth.inference import inference
from pairsynth.mappings import Mappings

CPU = torch.device("cpu")


def test_every_part_is_back_in_its_own_mode() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.BatchNorm1d(2)).train()
    network[2].eval()
    with inference(network):
        assert not any(part.training for part in network.modules())
        assert not network(torch.ones(2, 2)).requires_grad
    assert [part.training for part in network.modules()] == [True, True, True, False]
    with pytest.raises(ValueError, match="out"), inference(network):
        raise ValueError("out")
    assert network.training
    assert network(torch.ones(2, 2)).requires_grad


# Each use of a network: (the networks it uses, what comes of it).
USES: dict[str, Callable[..., tuple[list[nn.Module], Callable[[], Any]]]] = {
    "embed_captions": lambda w: ([w.encoder], lambda: w.encoder.embed_captions(["a red flower"])),
    "embed_images": lambda w: ([w.encoder], lambda: w.encoder.embed_images(w.pixels)),
    "phi_of": lambda w: ([w.gan.discriminator], lambda: phi_of(w.gan, w.pixels, CPU)),
    "sample_sheet": lambda w: (
        [w.gan.generator],
        lambda: gan_training.sample_sheet(w.gan, w.examples, w.embeddings, 1),
    ),
    "watch": lambda w: ([w.gan.generator], lambda: w.watch(w.gan.generator, 1)),
    "sheet": lambda w: ([w.gan.generator], lambda: w.watch.sheet(w.gan.generator, 1)),
    "val_loss": lambda w: (
        [w.captioner],
        lambda: captioner_training.val_loss(w.captioner, w.gan, w.examples, CPU),
    ),
    "decode_nucleus": lambda w: (
        [w.captioner],
        lambda: decode_nucleus(w.captioner, w.phi, torch.zeros(len(w.phi), MAX_WORDS)),
    ),
    "decode_beam": lambda w: ([w.captioner], lambda: decode_beam(w.captioner, w.phi)),
    "draw": lambda w: (
        [w.gan.generator],
        lambda: w.mappings.draw(w.embeddings.psi, torch.ones(len(w.embeddings.psi), 6)),
    ),
    "phi": lambda w: ([w.gan.discriminator], lambda: w.mappings.phi(w.pixels)),
    "judge looks": lambda w: ([w.judge], lambda: w.judge.assess(w.pixels).vectors),
    "judge reads": lambda w: ([w.judge], lambda: w.judge.caption_vectors(["a red flower"])),
    "probes": lambda w: ([w.probes], lambda: w.probes.see(torch.ones(1, 4, 6)).detach()),
}


class Networks:
    """One of each network, with dropout and batch norm that would show."""

    def __init__(self, examples: Examples, embeddings: Embeddings) -> None:
        torch.manual_seed(0)
        self.examples, self.embeddings, self.pixels = examples, embeddings, examples.pixels
        vocabulary = judges.build(examples, 32).vocabulary
        self.encoder = JointEncoder(
            "word-gru", vocabulary, size=32, dimension=8, hidden=8, channels=4
        )
        self.gan = Gan.build(
            "gan-cls", size=32, dimension=8, noise=6, generator_channels=4, discriminator_channels=4
        ).to(CPU)
        channels = self.gan.discriminator.phi_channels
        self.captioner = Captioner(vocabulary, channels, 8)
        self.phi = torch.randn(4, channels, 4, 4)
        self.mappings = Mappings(
            encoder=self.encoder, gan=self.gan, captioner=self.captioner, device=CPU
        )
        self.watch = CollapseMonitor(examples, embeddings, 32, 6, 1, CPU)
        self.judge, self.probes = judges.build(examples, 32), Probes([1], vocabulary, 6, 2, 3)


@pytest.mark.parametrize("use", USES)
def test_a_use_does_not_depend_on_the_mode(
    use: str, examples: Examples, embeddings: Embeddings
) -> None:
    networks, work = USES[use](Networks(examples, embeddings))

    def found(training: bool) -> Any:
        for network in networks:
            network.train(training)
        torch.manual_seed(1)
        answer = work()
        assert all(network.training == training for network in networks)
        return answer if isinstance(answer, list | tuple | float) else np.asarray(answer)

    left, right = found(True), found(False)
    assert np.array_equal(left, right)
