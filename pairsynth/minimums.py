"""The least number of images that all stages need; download refuses fewer."""

from collections.abc import Mapping, Sequence

from pairsynth.errors import InputError

# train: fit_gmm fits three and holds one out. val, test: evaluate compares one with another.
FEWEST: Mapping[str, int] = {"train": 4, "val": 2, "test": 2}
SHOWN = 3


def need_images(
    where: str, counts: Mapping[str, int], refused: Sequence[tuple[str, str]] = ()
) -> None:
    """Check that each split has enough images.

    where: what the message names. refused: what was left out, and why.

    Raises:
        InputError: naming the splits that are short, and the first things refused.
    """
    short = [
        f"{split} has {counts.get(split, 0)} and needs {least}"
        for split, least in FEWEST.items()
        if counts.get(split, 0) < least
    ]
    if short:
        shown = "; ".join(f"{what}: {why}" for what, why in refused[:SHOWN])
        raise InputError(
            f"{where}: too few usable images, {', '.join(short)}; add images or classes, or change "
            f"download.split"
            + (f"; refused were {len(refused):,} items. {shown}" if refused else "")
        )
