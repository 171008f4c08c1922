"""The dataset card (README.md) of the synthetic pairs, in the Hugging Face Hub's format."""

from collections.abc import Iterable, Mapping
from typing import Any

from pairsynth.text import tokenize

# The size categories of the Hub: the first that has more than so many rows.
SIZES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
    100_000_000: "10M<n<100M",
}
# Most English captions have one of these, and those of other languages do not.
ENGLISH = frozenset(("the", "with", "and", "this", "has", "that"))

HEADER = """---
pretty_name: Synthetic pairs of image and caption
license: other
license_name: as-the-source-images
{language}size_categories:
- {category}
task_categories:
- text-to-image
- image-to-text
annotations_creators:
- machine-generated
language_creators:
- machine-generated
tags:
- synthetic
- image
- text
- pairsynth
configs:
{configs}
dataset_info:
{infos}
---
"""
# `description` is hashed by the library `datasets` into the key of its cache: it changes with any
# byte of the shards, so that rows of another run are never taken for these.
CONFIG = """- config_name: {name}
  description: sha256 {digest}
  data_files:
  - split: train
    path: {path}"""
INFO = """- config_name: {name}
  splits:
  - name: train
    num_bytes: {num_bytes}
    num_examples: {num_examples}
  download_size: {download_size}
  dataset_size: {num_bytes}"""

BODY = """# Synthetic pairs of image and caption

{pairs:,} synthetic pairs: images of {size} x {size} pixels and their captions, made by pairsynth
from {source_images:,} captioned images (digest {made_from[pictures]}, seed {seed}), after
Xie and Bao, *Synthesizing Novel Pairs of Image and Text* (arXiv 1712.06682).

```python
from datasets import load_dataset

pairs = load_dataset("path/to/this/folder", split="train")
```

pandas, polars, DuckDB and pyarrow read the folder `data`. `manifest.json` says what made the rows
and the SHA-256 of every file here; `pairsynth replay pair-0000123` makes one again.

| strategy | pairs |
| --- | ---: |
{strategy}

| novelty | pairs |
| --- | ---: |
{novelty}

Of the candidates tried these were refused; `refused` shows the first {shown} of each reason. A
pair whose candidates are all faulty or copies is left out, and its number goes to no other:
{left_out:,}.

| refused because | candidates |
| --- | ---: |
{refused}

An image counts as seen where it is nearer to a training image than {distance:.4f} (root mean
square difference of 16 x 16 thumbnails), where it is far nearer to one than to all others, or
where it has nearly the hashes of one. Of real held-out images {false_alarms:.0%} at most are so
near. A caption counts as seen where it stands word for word among the training captions.

## Columns
| column | meaning |
| --- | --- |
| pair_id | `pair-NNNNNNN`; the same number is the same pair in every run of the same seed |
| image, caption | the pair; the image is a PNG file in `bytes` |
| strategy | where it started: `text_` with a caption's vector, `image_` with an image's |
| source_ids | prototypes: both sources, `image_id#caption` for text |
| blend_weight | prototypes: the first source's share, lambda of the paper |
| component | density: the component of the mixture |
| seed | the seed of the run |
| class_id, class_name | where both sources are of one class |
| consistency | cosine of the caption's and the image's vectors, by the encoder that made psi |
| novelty, caption_seen | what is new: the whole, one part, only the combination, nothing |
| nearest_image_id, nearest_image_distance | the nearest training image, mirrored or not |
| nearest_image_ratio | that distance over the distance to the second nearest; a copy's is near 0 |
| nearest_caption, nearest_caption_similarity | the nearest training caption, by psi |
| nearest_caption_id | `image_id#caption` of it |

Made by machine: the captions describe the images as far as a small captioner sees.

## Licence
The licence of the images it was made from binds what was learned from them: `other` above stands
for that one. Put its name there before you publish this.
"""


def card(told: Mapping[str, Any], tables: Mapping[str, Mapping[str, int]], shown: int) -> str:
    """The whole card.

    told: pairs, left_out, language, source_images, made_from, seed, size, distance and
    false_alarms; configs: for each by name its path, digest, num_bytes, num_examples and
    download_size. tables: the counts by strategy, novelty and reason of refusal. shown: how many
    refused candidates of each reason are kept at most.
    """
    configs = told["configs"]
    header = HEADER.format(
        language=f"language:\n- {told['language']}\n" if told["language"] else "",
        category=size_category(told["pairs"]),
        configs="\n".join(CONFIG.format(name=name, **one) for name, one in configs.items()),
        infos="\n".join(INFO.format(name=name, **one) for name, one in configs.items()),
    )
    lines = {name: _lines(table) for name, table in tables.items()}
    return header + BODY.format(shown=shown, **{**told, **lines})


def size_category(rows: int) -> str:
    """The Hub's size category for this number of rows."""
    return next((word for most, word in SIZES.items() if rows < most), "100M<n<1B")


def language_of(captions: Iterable[str]) -> str:
    """en where most captions have an unmistakably English word, else ""."""
    told = [bool(ENGLISH.intersection(tokenize(caption))) for caption in captions]
    return "en" if told and 2 * sum(told) > len(told) else ""


def _lines(table: Mapping[str, int]) -> str:
    return "\n".join(f"| {name} | {count:,} |" for name, count in sorted(table.items()))
