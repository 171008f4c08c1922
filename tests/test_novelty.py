"""Is a pair new? Planted copies are found, and the alarm is as rare as it claims."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pairsynth.artifacts import Embeddings, Pictures
from pairsynth.encoders import JointEncoder
from pairsynth.images import center_crop
from pairsynth.metrics.novelty import (
    COPY,
    FALSE_ALARMS,
    KINDS,
    NEW,
    NEW_CAPTION,
    NEW_IMAGE,
    RECOMBINATION,
    NoveltyIndex,
    kind_of,
    nearest,
    thumbnails,
)


@pytest.fixture(scope="module")
def index(pictures: Pictures, val: Pictures, embeddings: Embeddings) -> NoveltyIndex:
    return NoveltyIndex(pictures, embeddings.psi, val, 32)


# ---------------------------------------------------------------- pictures


def test_thumbnails_are_means_over_a_raster(pictures: Pictures) -> None:
    found = thumbnails(pictures.pixels)
    assert found.shape == (24, 768)
    blocks = pictures.pixels.double().numpy().reshape(24, 3, 16, 2, 16, 2).mean((3, 5)) / 255
    assert np.allclose(found.numpy(), blocks.reshape(24, -1), atol=1e-6)


@pytest.mark.parametrize("block", [1, 3, 1024])
def test_nearest_against_brute_force(block: int) -> None:
    randomness = np.random.default_rng(0)
    queries, references = randomness.random((20, 30)), randomness.random((50, 30))
    distances = np.sqrt(((queries[:, None] - references) ** 2).mean(2))
    found, rows = nearest(
        torch.from_numpy(queries).float(), torch.from_numpy(references).float(), block
    )
    assert rows.tolist() == distances.argmin(1).tolist()
    assert np.allclose(found.numpy(), distances.min(1), atol=1e-6)


def test_a_copy_is_at_zero_beside_twins_that_are_nearly_it() -> None:
    """Pictures that differ by one grey level in one pixel: nearest is exact all the same."""
    pixels = torch.full((40, 3, 32, 32), 200, dtype=torch.uint8)
    for i in range(40):
        pixels[i, i % 3, i % 16, i // 3] += 1
    found, rows = nearest(thumbnails(pixels), thumbnails(pixels))
    assert found.tolist() == [0] * 40
    same = thumbnails(pixels)[rows] == thumbnails(pixels)
    assert bool(same.all())


def test_planted_copies_are_found_mirrored_too(index: NoveltyIndex, pictures: Pictures) -> None:
    for pixels in (pictures.pixels, pictures.pixels.flip(3)):
        distances, rows = index.nearest_images(pixels)
        assert rows.tolist() == list(range(24))
        assert torch.allclose(distances, torch.zeros(24), atol=1e-7)
    distances, _ = index.nearest_images(pictures.pixels.flip(2))
    assert float(distances.max()) > 0.01


def test_copies_are_found_among_stored_margins(pictures: Pictures, val: Pictures) -> None:
    wide = replace(pictures, pixels=F.pad(pictures.pixels, (3, 3, 3, 3), value=9))
    psi = torch.eye(len(pictures.flat_captions))
    index = NoveltyIndex(wide, psi, val, 32)
    distances, rows = index.nearest_images(center_crop(wide.pixels, 32))
    assert rows.tolist() == list(range(24))
    assert torch.allclose(distances, torch.zeros(24), atol=1e-7)


def test_the_alarm_is_as_rare_as_it_claims() -> None:
    randomness = torch.Generator().manual_seed(0)

    def noise(count: int) -> Pictures:
        pixels = torch.randint(256, (count, 3, 32, 32), generator=randomness).to(torch.uint8)
        ids = [str(i) for i in range(count)]
        return Pictures(ids, torch.zeros(count).long(), ids, pixels, [["a"]] * count, None)

    train, held_out = noise(50), noise(1000)
    index = NoveltyIndex(train, torch.eye(50), held_out, 32)
    seen = (index.nearest_images(held_out.pixels)[0] <= index.threshold).float().mean().item()
    assert seen == pytest.approx(FALSE_ALARMS, abs=0.002)
    fresh = (index.nearest_images(noise(1000).pixels)[0] <= index.threshold).float().mean().item()
    assert fresh < 4 * FALSE_ALARMS


# ---------------------------------------------------------------- pairs


def test_kind_of_by_hand() -> None:
    assert kind_of(False, False, False) == NEW
    assert kind_of(False, True, False) == kind_of(False, True, True) == NEW_IMAGE
    assert kind_of(True, False, False) == NEW_CAPTION
    assert kind_of(True, True, False) == RECOMBINATION
    assert kind_of(True, True, True) == COPY


def test_all_five_kinds_are_told(
    index: NoveltyIndex, pictures: Pictures, encoder: JointEncoder
) -> None:
    own, mirror = pictures.pixels[0], pictures.pixels[0].flip(2)
    fresh = torch.randint(256, (3, 32, 32), generator=torch.Generator().manual_seed(0))
    pixels = torch.stack([own, own, mirror, own, fresh.to(torch.uint8), fresh.to(torch.uint8)])
    captions = [
        pictures.captions[0][0],  # its own
        pictures.captions[0][0].upper() + " !",  # its own, written otherwise
        pictures.captions[6][0],  # another's
        "something nobody wrote",
        pictures.captions[6][0],
        "something nobody wrote",
    ]
    found = index.judge(pixels, captions, encoder.embed_captions(captions))
    assert [one.kind for one in found] == [
        COPY,
        COPY,
        RECOMBINATION,
        NEW_CAPTION,
        NEW_IMAGE,
        NEW,
    ]
    assert {one.kind for one in found} == set(KINDS)
    assert [one.caption_seen for one in found] == [True, True, True, False, True, False]
    assert [one.nearest_image for one in found[:4]] == [pictures.ids[0]] * 4
    assert found[0].image_distance == pytest.approx(0, abs=1e-7)
    assert found[0].nearest_caption == captions[0]
    assert found[0].caption_similarity == pytest.approx(1, abs=1e-5)


def test_a_caption_of_several_pictures_belongs_to_each(
    val: Pictures, pictures: Pictures, encoder: JointEncoder
) -> None:
    shared = replace(pictures, captions=[["the same words"]] * 24)
    index = NoveltyIndex(shared, encoder.embed_captions(shared.flat_captions), val, 32)
    psi = encoder.embed_captions(["the same words"] * 24)
    found = index.judge(pictures.pixels, ["The same words."] * 24, psi)
    assert {one.kind for one in found} == {COPY}


def test_the_nearest_caption_against_brute_force(
    index: NoveltyIndex, pictures: Pictures, embeddings: Embeddings
) -> None:
    queries = F.normalize(torch.randn(30, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    pixels = pictures.pixels[torch.arange(30) % 24]
    found = index.judge(pixels, ["x"] * 30, queries)
    cosines = queries.double().numpy() @ embeddings.psi.double().numpy().T
    for one, row in zip(found, cosines, strict=True):
        assert one.caption_similarity == pytest.approx(row.max(), abs=1e-5)
        assert row[pictures.flat_captions.index(one.nearest_caption)] == pytest.approx(
            row.max(), abs=1e-5
        )


def test_a_row_is_judged_the_same_alone(
    index: NoveltyIndex, val: Pictures, encoder: JointEncoder
) -> None:
    captions = [own[0] for own in val.captions]
    psi = encoder.embed_captions(captions)
    together = index.judge(val.pixels, captions, psi)
    for i in range(12):
        [alone] = index.judge(val.pixels[i : i + 1], captions[i : i + 1], psi[i : i + 1])
        assert alone.kind == together[i].kind
        assert alone.nearest_image == together[i].nearest_image
        assert alone.nearest_caption == together[i].nearest_caption
        assert alone.image_distance == pytest.approx(together[i].image_distance, abs=1e-7)
