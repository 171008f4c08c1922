"""The loop of maximum likelihood on phi."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pairsynth import captioner_training, seeds
from pairsynth.artifacts import file_digest
from pairsynth.captioner import Captioner, likelihood_loss
from pairsynth.captioner_training import CaptionerConfig, CaptionerReport, val_loss
from pairsynth.decoding import decode_beam
from pairsynth.errors import InputError
from pairsynth.examples import Examples
from pairsynth.gan import Gan, phi_of

CPU = torch.device("cpu")
CONFIG = CaptionerConfig(
    hidden=8, min_count=1, epochs=2, batch_size=10, learning_rate=0.003, weight_decay=0.01
)


def learn(
    config: CaptionerConfig, gan: Gan, train: Examples, val: Examples, seed: int = 1
) -> tuple[Captioner, list[CaptionerReport]]:
    torch.manual_seed(seeds.digest(seed, "train_captioner"))
    model = captioner_training.build(config, train, gan, "digest")
    return model, list(captioner_training.train(model, gan, train, val, config, seed, CPU))


def test_a_captioner_is_built_for_its_gan_and_its_captions(examples: Examples, gan: Gan) -> None:
    model = captioner_training.build(CONFIG, examples, gan, "digest")
    assert model.options["made_from"] == {"pictures": examples.digest, "gan": "digest"}
    assert model.options["phi_channels"] == gan.discriminator.phi_channels


@pytest.mark.parametrize("words", [0, 1])
def test_a_captioner_of_fewer_than_two_words_is_refused(
    words: int, examples: Examples, gan: Gan
) -> None:
    if words:
        examples = replace(examples, captions=[["flower"]] * len(examples))
    config = replace(CONFIG, min_count=len(examples) if words else 10**6)
    with pytest.raises(
        InputError,
        match=rf"^train_captioner: no words occur {config.min_count} times .*"
        r"; lower train_captioner\.min_count$",
    ):
        captioner_training.build(config, examples, gan, "")


def test_two_words_are_enough_for_a_captioner(examples: Examples, gan: Gan) -> None:
    two = replace(examples, captions=[["red flower"]] * len(examples))
    config = replace(CONFIG, min_count=len(examples))
    assert captioner_training.build(config, two, gan, "").vocabulary.tokens[4:] == ("flower", "red")


def test_reports_tell_finite_losses_and_the_words_read(
    examples: Examples, val: Examples, gan: Gan
) -> None:
    model, reports = learn(CONFIG, gan, examples, val)
    assert [report.epoch for report in reports] == [1, 2]
    assert all(math.isfinite(r.loss) and math.isfinite(r.val_loss) for r in reports)
    assert reports[1].val_loss < math.log(len(model.vocabulary)) + 0.5
    tokens = sum(len(t.replace(",", " ,").split()) + 1 for t in examples.flat_captions)
    assert 0.6 * tokens < reports[0].words <= tokens  # the incomplete last batch is left out
    told = captioner_training.summary(model, reports)
    assert told["epoch"] == 2
    assert told["vocabulary"] == len(model.vocabulary)
    assert "words" not in told


@pytest.mark.usefixtures("repeatable")
def test_one_seed_gives_one_file(
    tmp_path: Path, examples: Examples, val: Examples, gan: Gan
) -> None:
    told = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        model, reports = learn(CONFIG, gan, examples, val, seed)
        model.save(tmp_path / name)
        told.append(reports)
    assert told[0] == told[1] != told[2]
    one, same, other = (file_digest(tmp_path / name) for name in "abc")
    assert one == same
    assert one != other


def test_four_images_are_captioned_by_heart(four: Examples, gan: Gan) -> None:
    config = replace(CONFIG, hidden=32, epochs=120, batch_size=4, learning_rate=0.02)
    model, reports = learn(config, gan, four, four)
    assert reports[-1].val_loss < 0.1
    phi = phi_of(gan, four.pixels, CPU)
    assert decode_beam(model, phi) == four.flat_captions
    mirrored = phi_of(gan, four.pixels.flip(3), CPU)
    assert decode_beam(model, mirrored) == four.flat_captions


def test_val_loss_weighs_words_alike(val: Examples, gan: Gan, captioner: Captioner) -> None:
    phi = phi_of(gan, val.pixels, CPU)
    total, words = 0.0, 0
    for i, captions in enumerate(val.captions):
        for caption in captions:
            tokens = captioner.vocabulary.encode([caption], 42)
            count = tokens.shape[1] - 1
            total += likelihood_loss(captioner(phi[i : i + 1], tokens), tokens).item() * count
            words += count
    assert val_loss(captioner, gan, val, CPU) == pytest.approx(total / words, rel=1e-4)


def test_a_loss_that_is_no_number_stops_and_names_epoch_and_step(
    examples: Examples, val: Examples, gan: Gan
) -> None:
    torch.manual_seed(0)
    model = captioner_training.build(CONFIG, examples, gan, "")
    with torch.no_grad():
        model.out.bias[5] = torch.nan
    with pytest.raises(
        InputError, match=r"train_captioner: loss and gradient are nan, nan in epoch 1, step 1;"
    ):
        list(captioner_training.train(model, gan, examples, val, CONFIG, 1, CPU))


@pytest.mark.parametrize("batch_size", [1, 10, 1000])
def test_any_batch_size_and_a_single_epoch_will_do(
    batch_size: int, four: Examples, gan: Gan
) -> None:
    _, reports = learn(replace(CONFIG, epochs=1, batch_size=batch_size), gan, four, four)
    assert len(reports) == 1
    assert math.isfinite(reports[0].loss)


def test_one_caption_a_step_is_enough(examples: Examples, val: Examples, gan: Gan) -> None:
    few = replace(examples, ids=examples.ids[:4], class_ids=examples.class_ids[:4],
                  class_names=examples.class_names[:4], pixels=examples.pixels[:4],
                  captions=examples.captions[:4])  # fmt: skip
    _, reports = learn(replace(CONFIG, batch_size=1, epochs=1), gan, few, val)
    assert math.isfinite(reports[0].loss)
    assert math.isfinite(reports[0].val_loss)
