"""A CLIP model in a folder of the user's as a further judge; nothing is downloaded.

It was trained on other images and captions (Radford et al., arXiv 2103.00020), far more than the
project's own judge, and took no part in making any pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth.errors import InputError

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The model and its tokenizer. Vectors have unit length, are float32 and on the CPU."""

    model: Any
    tokenizer: Any
    device: torch.device

    @torch.no_grad()
    def image_vectors(self, pixels: Tensor, batch: int = 64) -> Tensor:
        """Unit vectors (N, D) of uint8 images (N, 3, S, S)."""
        any_words = self._read(["a"])
        parts = [
            self.model(**any_words, pixel_values=self._ready(part)).image_embeds.float().cpu()
            for part in pixels.split(batch)
        ]
        return torch.cat(parts)

    @torch.no_grad()
    def caption_vectors(self, captions: Sequence[str], batch: int = 256) -> Tensor:
        """Unit vectors (N, D) of captions."""
        any_image = self._ready(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
        parts = [
            self.model(**self._read(captions[i : i + batch]), pixel_values=any_image)
            .text_embeds.float()
            .cpu()
            for i in range(0, len(captions), batch)
        ]
        return torch.cat(parts)

    def _ready(self, pixels: Tensor) -> Tensor:
        """Images resized and normalised as CLIP expects them."""
        side = self.model.config.vision_config.image_size
        # (N, 3, S, S) in [0, 255] -> (N, 3, side, side) in [0, 1], then (x - mean) / deviation
        large = F.interpolate(pixels.float() / 255, (side, side), mode="bicubic", antialias=True)
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        return ((large.clamp(0, 1) - mean) / deviation).to(self.device)

    def _read(self, captions: Sequence[str]) -> dict[str, Tensor]:
        longest = self.model.config.text_config.max_position_embeddings
        # Always one length: a caption's vector must not depend on the captions beside it.
        told = self.tokenizer(
            list(captions),
            padding="max_length",
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        )
        return {key: told[key].to(self.device) for key in ("input_ids", "attention_mask")}


def load_clip(folder: Path, device: torch.device) -> Clip:
    """Load the CLIP that `save_pretrained` of transformers wrote to `folder`.

    Raises:
        InputError: where transformers is not installed or the folder holds no CLIP.
    """
    key = "evaluate.judge_weights"
    try:
        from transformers import CLIPModel, CLIPTokenizer
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise InputError(
            f"{key}: {folder} is a folder and would be read as CLIP by transformers, which is not "
            "installed; run: pip install -e '.[clip]'"
        ) from error
    disable_progress_bar()
    try:
        model: Any = CLIPModel.from_pretrained(folder, local_files_only=True)
        tokenizer: Any = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{key}: {folder} holds no CLIP ({reason}); give the folder of one, with config.json, "
            "model.safetensors, vocab.json and merges.txt"
        ) from error
    return Clip(model=model.to(device).eval(), tokenizer=tokenizer, device=device)
