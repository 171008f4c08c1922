"""A sheet shows every image and every word of its captions."""

import warnings

import numpy as np
import pytest
import torch

from pairsynth.sheets import captioned_sheet

WHITE = torch.full((3, 3, 16, 16), 255, dtype=torch.uint8)


def ink(captions: list[str], columns: int = 3) -> "np.ndarray[tuple[int, int], np.dtype[np.bool]]":
    """Where the sheet is not white."""
    return np.asarray(captioned_sheet(WHITE[: len(captions)], captions, columns)).min(2) < 255


def test_the_sheet_has_a_row_for_each_so_many_images() -> None:
    one, two = (captioned_sheet(WHITE, ["a"] * 3, columns) for columns in (3, 2))
    assert one.mode == "RGB"
    assert two.height > one.height
    assert two.width < one.width


def test_every_image_stands_in_its_place() -> None:
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8)
    sheet = np.asarray(
        captioned_sheet(colours[:, :, None, None].expand(-1, -1, 16, 16), [""] * 3, 3)
    )
    columns = [int(np.argwhere((sheet == c.numpy()).all(2))[:, 1].mean()) for c in colours]
    assert columns == sorted(columns)
    assert len(set(columns)) == 3


@pytest.mark.parametrize("words", [1, 12, 60])
def test_no_word_is_cut_off(words: int) -> None:
    """The last line leaves white below it, and more words are more ink."""
    found = ink(["flower " * words] * 3)
    assert not found[-2:].any()
    assert found.sum() > 0.9 * words * ink(["flower"]).sum()


@pytest.mark.parametrize("caption", ["图中左边有一个很大的红色三角形" * 4, "long words " * 12])
def test_a_caption_stays_below_its_image(caption: str) -> None:
    """Wide letters too; where no font has them, their boxes are as wide, and that is said once."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = ink([" ", caption, " "])
    assert len(told) <= 1
    columns = np.flatnonzero(found.any(0))
    third = found.shape[1] / 3
    assert third < columns.min() < columns.max() < 2 * third


def test_captions_and_images_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        captioned_sheet(WHITE, ["a"], 3)
