"""A CLIP in a folder, tiny and untrained but real: read by transformers, asked as a judge."""

import builtins
import json
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.transforms import functional as transforms
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from pairsynth.errors import InputError
from pairsynth.evaluation import fidelity, quality
from pairsynth.evaluation.context import EvaluationContext, Pairs
from pairsynth.evaluation.made import look_at
from pairsynth.examples import Examples
from pairsynth.metrics.clip import DEVIATION, MEAN, load_clip

CPU = torch.device("cpu")
START, END = "<|startoftext|>", "<|endoftext|>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `save_pretrained` writes of a CLIP that spells words letter by letter."""
    folder = tmp_path_factory.mktemp("clip")
    letters = [letter + end for letter in string.ascii_lowercase + "," for end in ("", "</w>")]
    vocabulary = {token: i for i, token in enumerate([*letters, START, END])}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    size["num_hidden_layers"] = 1
    text = {**size, "vocab_size": len(vocabulary), "max_position_embeddings": 40}
    text |= {"bos_token_id": vocabulary[START], "eos_token_id": vocabulary[END]}
    vision = {**size, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    CLIPModel(config).save_pretrained(folder)
    return folder


def test_vectors_are_those_of_transformers(folder: Path, val: Examples) -> None:
    clip = load_clip(folder, CPU)
    captions = [own[0] for own in val.captions]
    told = clip.tokenizer(captions, padding="max_length", max_length=40, return_tensors="pt")
    ready = transforms.normalize(val.pixels.float() / 255, list(MEAN), list(DEVIATION))
    with torch.no_grad():
        wanted = CLIPModel.from_pretrained(folder).eval()(**told, pixel_values=ready)
    assert torch.allclose(clip.image_vectors(val.pixels), wanted.image_embeds, atol=1e-5)
    assert torch.allclose(clip.caption_vectors(captions), wanted.text_embeds, atol=1e-5)


def test_a_row_does_not_depend_on_its_batch(folder: Path, val: Examples) -> None:
    clip = load_clip(folder, CPU)
    captions = ["red", "this flower is red, and it has a great many thin and pointed petals"]
    assert torch.allclose(
        clip.caption_vectors(captions), clip.caption_vectors(captions, batch=1), atol=1e-6
    )
    whole = clip.image_vectors(val.pixels)
    assert torch.allclose(whole, clip.image_vectors(val.pixels, batch=5), atol=1e-6)
    assert torch.allclose(whole.norm(dim=1), torch.ones(len(val)), atol=1e-5)


def test_it_judges_pairs_and_is_a_view(
    folder: Path, context: EvaluationContext, pairs: Pairs
) -> None:
    wise = replace(context, config=replace(context.config, judge_weights=str(folder)))
    found = {f.key: f for f in quality.seen_by_clip(wise, look_at(wise, pairs))}
    clip = load_clip(folder, CPU)
    cosine = (clip.image_vectors(pairs.pixels) * clip.caption_vectors(pairs.captions)).sum(1)
    assert found["clip_pairs_cosine"].value == pytest.approx(float(cosine.mean()), abs=1e-5)
    subjects = ("drawn", "real_images", "pairs", "pairs_shuffled")
    assert {f"clip_{subject}_r_precision" for subject in subjects} <= found.keys()
    assert fidelity.view_of(wise, "pretrained") is not None


def test_without_a_folder_there_is_no_clip(context: EvaluationContext, pairs: Pairs) -> None:
    assert context.clip is None
    assert not list(quality.seen_by_clip(context, look_at(context, pairs)))


def test_a_folder_of_something_else_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no CLIP \(.*give the folder of one, with config"):
        load_clip(tmp_path, CPU)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(InputError, match="holds no CLIP"):
        load_clip(tmp_path, CPU)


def test_without_transformers_the_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("transformers"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"not installed; run: pip install -e '.\[clip\]'"):
        load_clip(tmp_path, CPU)
