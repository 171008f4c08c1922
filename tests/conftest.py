"""Small inputs for tests: 24 drawn images whose captions tell their colour, tiny nets."""

import copy
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from pairsynth import encoder_training, lexicon, mixture, mixture_fitting, seeds
from pairsynth.artifacts import SPLITS, file_digest
from pairsynth.captioner import Captioner
from pairsynth.encoders import JointEncoder
from pairsynth.evaluation import judges
from pairsynth.evaluation.context import EvaluationContext, Pairs
from pairsynth.examples import LISTS, Embeddings, Examples
from pairsynth.filters import NONE
from pairsynth.gan import Gan, phi_of
from pairsynth.gan_training import GanConfig
from pairsynth.latents import SynthesisInputs
from pairsynth.lexicon import Lexicon
from pairsynth.mappings import Mappings
from pairsynth.metrics import wording
from pairsynth.metrics.novelty import NoveltyIndex
from pairsynth.mixture import Mixture
from pairsynth.mixture_fitting import MixtureConfig
from pairsynth.sources.garden_captions import WORDS as FLOWERS
from pairsynth.text import Vocabulary
from pairsynth.whole_files import write_csv
from tests import rows
from tests.options import EVALUATION, SYNTHESIS
from tests.rows import embedded, write_pairs
from tests.workspace import make_checkout, undone, write_examples, write_synthetic

CPU = torch.device("cpu")
COLOURS = {
    "red": (210, 30, 40),
    "blue": (40, 60, 220),
    "yellow": (230, 220, 40),
    "white": (250,) * 3,
}

# To networks this small a second thread brings nothing, here and in the commands that tests start.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# A run says of a commit the same each time; new cases are the long form's.
settings.register_profile(
    "slow machine",
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long", settings.get_profile("slow machine"), max_examples=1250, derandomize=False
)

settings.load_profile("slow machine")


def draw(seed: int, each: int) -> Examples:
    """Discs on green: the class is the colour, place and width differ from image to image."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:32, :32]
    ids, class_ids, names, pixels, captions = [], [], [], [], []
    for class_id, (name, colour) in enumerate(COLOURS.items()):
        for i in range(each):
            x, y = rng.uniform(10, 22, 2)
            radius = rng.uniform(4, 10)
            disc = (xs - x) ** 2 + (ys - y) ** 2 < radius**2
            field = np.array([20, 110, 30]) + rng.integers(-15, 15, (32, 32, 3))
            pixels.append(np.where(disc[:, :, None], np.array(colour), field).astype(np.uint8))
            size = "large" if radius > 7 else "small"
            told = [f"a {size} {name} flower", f"this flower is {name}, and it is {size}"]
            ids.append(f"{seed}-{name}-{i}")
            class_ids.append(class_id)
            names.append(name)
            captions.append([*told, f"the petals are {name}"][: 1 + i % 3])
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return Examples(
        ids=ids,
        class_ids=torch.tensor(class_ids),
        class_names=names,
        pixels=stacked,
        captions=captions,
        attributes=None,
    )


@pytest.fixture(scope="session")
def examples() -> Examples:
    """24 images of 32 x 32 in four classes, with one to three captions each."""
    return draw(1, 6)


@pytest.fixture(scope="session")
def val() -> Examples:
    """Twelve other images of the same four colours."""
    return draw(2, 3)


@pytest.fixture(scope="session")
def four(examples: Examples) -> Examples:
    """One image of each colour, with a caption of its own."""
    rows = [0, 6, 12, 18]
    return Examples(
        ids=[examples.ids[row] for row in rows],
        class_ids=examples.class_ids[rows],
        class_names=[examples.class_names[row] for row in rows],
        pixels=examples.pixels[rows],
        captions=[examples.captions[row][:1] for row in rows],
        attributes=None,
    )


@pytest.fixture(scope="session")
def encoder(examples: Examples) -> JointEncoder:
    """An untrained encoder, ready for inference."""
    torch.manual_seed(1)
    vocabulary = Vocabulary.build(examples.flat_captions, "word")
    return (
        JointEncoder("word-gru", vocabulary, size=32, dimension=8, hidden=8, channels=4)
        .eval()
        .requires_grad_(False)
    )


@pytest.fixture(scope="session")
def embeddings(examples: Examples, encoder: JointEncoder) -> Embeddings:
    """What the untrained encoder says of the 24 images."""
    return Embeddings(
        image=encoder.embed_images(examples.pixels),
        psi=encoder.embed_captions(examples.flat_captions),
    )


@pytest.fixture(scope="session")
def noise(examples: Examples) -> torch.Tensor:
    """The noise of each image."""
    return torch.randn(len(examples), 6, generator=torch.Generator().manual_seed(9))


@pytest.fixture(scope="session")
def gan() -> Gan:
    """Untrained hinge networks, ready for inference."""
    torch.manual_seed(2)
    return (
        Gan.build(
            "hinge", size=32, dimension=8, noise=6, generator_channels=4, discriminator_channels=4
        )
        .to(CPU)
        .eval()
    )


@pytest.fixture(scope="session")
def captioner(examples: Examples, gan: Gan) -> Captioner:
    """An untrained captioner, ready for inference."""
    torch.manual_seed(3)
    vocabulary = Vocabulary.build(examples.flat_captions, "word")
    model = Captioner(vocabulary, gan.discriminator.phi_channels, 8)
    model.standardize(phi_of(gan, examples.pixels, CPU))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def mappings(encoder: JointEncoder, gan: Gan, captioner: Captioner) -> Mappings:
    """The three untrained networks, together."""
    return Mappings(encoder=encoder, gan=gan, captioner=captioner, device=CPU)


@pytest.fixture(scope="session")
def mixtures(examples: Examples, embeddings: Embeddings, gan: Gan) -> dict[str, Mixture]:
    """Small mixtures over psi and phi of the 24 images."""
    config = MixtureConfig(
        psi_dimensions=4, phi_dimensions=4, max_components=2, rows=100, held_out=0.2
    )
    phi, rng = partial(phi_of, gan, device=CPU), np.random.default_rng(0)
    fits = mixture_fitting.fit_both(embeddings.psi, examples.pixels, phi, config, rng)
    return {fitted.over: fitted.mixture for fitted in fits}


@pytest.fixture(scope="session")
def inputs(
    examples: Examples,
    val: Examples,
    embeddings: Embeddings,
    mixtures: dict[str, Mixture],
    mappings: Mappings,
) -> SynthesisInputs:
    """All that synthesis draws from; 70 pairs, all strategies alike, two candidates."""

    novelty = NoveltyIndex(examples, embeddings.psi, val, 32)
    asked = wording.standard(
        examples.flat_captions,
        val.flat_captions,
        mappings.psi(val.flat_captions),
        mappings.encoder.embed_images(val.pixels).repeat_interleave(val.first_caption.diff(), 0),
    )
    made_from = {"pictures": examples.digest}
    return SynthesisInputs(
        examples=examples,
        embeddings=embeddings,
        mixtures=mixtures,
        mappings=mappings,
        novelty=novelty,
        standard=asked,
        thresholds=NONE,
        config=SYNTHESIS,
        seed=7,
        made_from=made_from,
    )


@pytest.fixture(scope="session")
def context(
    examples: Examples, val: Examples, encoder: JointEncoder, mappings: Mappings
) -> EvaluationContext:
    """What evaluation works on: test images with an attribute known, an untrained judge."""
    test = draw(3, 4)
    test = replace(
        test,
        attributes=[{"petal_colour": name} for name in test.class_names],
        captions=[[*own, f"this flower has {own[0]} petals"] for own in test.captions],
    )
    splits = {"train": examples, "val": val, "test": test}
    vectors = {name: embedded(encoder, one) for name, one in splits.items()}
    torch.manual_seed(0)
    judge = judges.build(test, 32).eval()
    novelty = NoveltyIndex(examples, vectors["train"].psi, val, 32)
    return EvaluationContext(
        mappings=mappings,
        judge=judge,
        examples=splits,
        embeddings=vectors,
        novelty=novelty,
        config=EVALUATION,
        seed=5,
        lexicon=FLOWERS,
    )


@pytest.fixture(scope="session")
def pairs(examples: Examples) -> Pairs:
    """Six copies and six of other images, of two strategies; a class known of the copies."""
    other = draw(9, 3)
    return Pairs(
        ids=[f"pair-{i:07}" for i in range(12)],
        captions=[own[0] for own in (*examples.captions[:6], *other.captions[:6])],
        pixels=torch.cat([examples.pixels[:6], other.pixels[:6]]),
        strategies=["text_density", "image_density"] * 6,
        consistency=[i / 12 for i in range(12)],
        class_ids=torch.cat([examples.class_ids[:6], torch.full((6,), -1)]),
    )


@pytest.fixture(scope="session")
def gan_config() -> GanConfig:
    """Two epochs of three steps of the default objective."""
    return GanConfig(
        objective="hinge",
        critic="none",
        epochs=2,
        batch_size=8,
        noise=6,
        generator_channels=4,
        discriminator_channels=4,
        generator_lr=4e-4,
        discriminator_lr=4e-4,
        beta1=0.0,
        ema_decay=0.5,
        psi_noise=1.0,
        interpolation=0.25,
        contrastive=0.5,
        translation=0.125,
        cooldown=0.25,
        compile=False,
    )


@pytest.fixture(scope="session")
def plain_config(gan_config: GanConfig) -> GanConfig:
    """The same for the paper's objective, without what the paper does not have."""
    return replace(
        gan_config,
        objective="gan-cls",
        ema_decay=0.0,
        psi_noise=0.0,
        interpolation=0.0,
        contrastive=0.0,
    )


@pytest.fixture
def repeatable() -> Iterator[None]:
    """What `seeds.fix` does to this process, undone afterwards."""
    with undone():
        seeds.fix(0, "tests")
        yield


@pytest.fixture(scope="session")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    examples: Examples,
    encoder: JointEncoder,
    gan: Gan,
    captioner: Captioner,
    mixtures: dict[str, Mixture],
) -> Path:
    """A data folder as the stages leave it, that no test may write to."""
    data = tmp_path_factory.mktemp("whole") / "data"
    (data / "embeddings").mkdir(parents=True)
    splits = {
        split: replace(examples, ids=[f"{split}-{one}" for one in examples.ids]) for split in SPLITS
    }
    source = {"pictures": splits["train"].digest}
    psi, networks, reader = (copy.deepcopy(one) for one in (encoder, gan, captioner))
    psi.options["made_from"] = dict(source)
    psi.save(data / "encoder.pt")
    source["encoder"] = file_digest(data / "encoder.pt")
    seen = encoder_training.SeenImages(encoder, splits, torch.device("cpu"))
    for split, one in splits.items():
        write_examples(data / "pictures", one, split)
        encoder_training.embed(encoder, seen, data / "embeddings", split, source["encoder"])
    lexicon.write(data / "pictures", Lexicon())
    for name, columns in LISTS.items():
        write_csv(data / "pictures" / name, columns, [])
    networks.options["made_from"] = dict(source)
    networks.save(data / "gan.pt")
    source["gan"] = file_digest(data / "gan.pt")
    reader.options["made_from"] = dict(source)
    reader.save(data / "captioner.pt")
    mixture.save(data / "gmm.npz", mixtures, source)
    source["captioner"] = file_digest(data / "captioner.pt")
    source["mixtures"] = file_digest(data / "gmm.npz")
    write_synthetic(data / "synthetic", splits["train"], source)
    return data


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of three rows, and shards of eight."""
    monkeypatch.setattr("pairsynth.artifacts.ROWS_PER_GROUP", 3)
    monkeypatch.setattr("pairsynth.dataset.PAIRS_PER_SHARD", 8)


@pytest.fixture
def pairs_folder(tmp_path: Path, small_groups: None) -> Path:
    """A data set of the 20 rows of tests.rows in three shards of two or three row groups."""
    path = tmp_path / "synthetic"
    path.mkdir()
    write_pairs(path, (rows.row(i) for i in range(20)), 20, rows.FACTS, rows.refusals())
    return path


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole pipeline, run once with the smoke profile, in a checkout of its own."""
    folder = tmp_path_factory.mktemp("checkout")
    make_checkout(folder)
    return folder


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in this very hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process runs all that needs the checkout, so it is made once; others share the files."""
    for item in items:
        needs = "checkout" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("checkout" if needs else item.path.stem))
