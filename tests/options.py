"""Small options of the stages, to be varied by `dataclasses.replace`."""

from typing import Any

from pairsynth.captioner_training import CaptionerConfig
from pairsynth.encoder_training import EncoderConfig
from pairsynth.evaluation.context import EvaluationConfig
from pairsynth.gan_training import GanConfig
from pairsynth.latents import STRATEGIES, SynthesisConfig
from pairsynth.mixture_fitting import MixtureConfig
from pairsynth.sources.contract import DownloadConfig

# The sections of params.yaml, in its order.
SECTIONS: dict[str, Any] = {
    "download": DownloadConfig,
    "embed": EncoderConfig,
    "train_gan": GanConfig,
    "train_captioner": CaptionerConfig,
    "fit_gmm": MixtureConfig,
    "synthesize": SynthesisConfig,
    "evaluate": EvaluationConfig,
}

DOWNLOAD = DownloadConfig(
    source="folder",
    image_size=32,
    split="image",
    broken="skip",
    garden_species=6,
    garden_images=1,
    mirror="",
    folder="",
)
ENCODER = EncoderConfig(
    text_encoder="word-gru",
    dimension=8,
    hidden=8,
    channels=4,
    image_encoder="cnn",
    image_weights="",
    min_count=1,
    epochs=2,
    batch_size=8,
    learning_rate=0.01,
    weight_decay=0.01,
    paraphrase=0.25,
)
# All strategies alike, two candidates.
SHARES: dict[str, Any] = dict.fromkeys(STRATEGIES, 1 / len(STRATEGIES))
SYNTHESIS = SynthesisConfig(
    **SHARES,
    pairs=70,
    classes="any",
    balance=0.0,
    fill=0,
    filters=False,
    margin=0.1,
    candidates=2,
)
EVALUATION = EvaluationConfig(
    captioned=12,
    pairs=20,
    cycled=8,
    turns=2,
    judge_epochs=1,
    judge_weights="",
    use_steps=2,
    use_seeds=3,
)
