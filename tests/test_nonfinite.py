"""Losses and gradients that are no numbers stop a training."""

import pytest
import torch

from pairsynth.errors import InputError
from pairsynth.nonfinite import check_finite, gradient_norm
from tests.workspace import gradient


def test_the_norm_is_that_of_all_gradients_together() -> None:
    layer = torch.nn.Linear(3, 2)
    layer(torch.ones(4, 3)).sum().backward()
    slope = gradient(layer.weight)
    flat = torch.cat([slope.flatten(), gradient(layer.bias)])
    assert gradient_norm(layer).item() == pytest.approx(flat.norm().item())
    slope[1, 2] = torch.inf
    assert not bool(gradient_norm(layer).isfinite())


def test_finite_values_are_passed_on() -> None:
    values = torch.ones(3, 2)
    assert check_finite(values, "losses", "embed", 1, "rest") is values


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_the_first_bad_step_is_named(bad: float) -> None:
    values = torch.ones(5, 2)
    values[3, 1] = values[4, 0] = bad
    with pytest.raises(
        InputError, match=rf"^embed: loss and gradient are 1, {bad} in epoch 7, step 4; lower it$"
    ):
        check_finite(values, "loss and gradient", "embed", 7, "lower it")
