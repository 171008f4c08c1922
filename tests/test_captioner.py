"""From phi to a sentence: likelihood, nucleus and beam search, against slow oracles."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pairsynth.captioner import MAX_WORDS, Captioner, likelihood_loss, load_captioner
from pairsynth.decoding import (
    JOINING,
    DecodingState,
    choose_nucleus,
    decode_beam,
    decode_nucleus,
)
from pairsynth.errors import InputError
from pairsynth.examples import Examples
from pairsynth.text import END, PAD, SPECIALS, START, UNKNOWN, Vocabulary, tokenize
from tests import slow_decoding

CPU = torch.device("cpu")


def untrained(seed: int, captions: list[str], hidden: int = 8, channels: int = 4) -> Captioner:
    torch.manual_seed(seed)
    model = Captioner(Vocabulary.build(captions, "word"), channels, hidden, {"gan": "of phi"})
    with torch.no_grad():  # bolder than the usual start, so that rows differ in what they say
        for parameter in model.parameters():
            parameter.mul_(3)
    return model.eval().requires_grad_(False)


def some_phi(count: int, channels: int = 4) -> Tensor:
    return torch.randn(count, channels, 4, 4, generator=torch.Generator().manual_seed(5))


def likeliest(model: Captioner, phi: Tensor) -> list[str]:
    """Greedy decoding: the nucleus of draws of 0."""
    return decode_nucleus(model, phi, torch.zeros(len(phi), MAX_WORDS))


@pytest.fixture(scope="module")
def overfitted(four: Examples) -> tuple[Captioner, Tensor, list[str]]:
    """A captioner that knows four phi by heart, with captions that share their beginnings."""
    captions = [
        "a red flower",
        "a red flower with small petals, and a blue centre",
        "this flower is white",
        "petals",
    ]
    torch.manual_seed(0)
    model = Captioner(Vocabulary.build(captions, "word"), 4, 24)
    phi = some_phi(4)
    model.standardize(phi)
    tokens = model.vocabulary.encode(captions, 42)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(150):
        loss = likelihood_loss(model(phi, tokens), tokens)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False), phi, captions


# ---------------------------------------------------------------- likelihood


def test_likelihood_by_hand_and_padding_counts_not() -> None:
    logits = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[START, 4, 5, END], [START, 5, END, PAD]])
    p = np.exp(logits.double().numpy())
    p /= p.sum(2, keepdims=True)
    wanted = [p[0, 0, 4], p[0, 1, 5], p[0, 2, END], p[1, 0, 5], p[1, 1, END]]
    loss = likelihood_loss(logits, tokens)
    assert loss.item() == pytest.approx(-np.log(wanted).mean(), rel=1e-5)
    logits[1, 2] = 1e6
    assert likelihood_loss(logits, tokens).item() == pytest.approx(loss.item())


def test_an_even_guess_costs_the_logarithm_of_the_vocabulary() -> None:
    tokens = torch.tensor([[START, 4, 5, 6, END]])
    assert likelihood_loss(torch.zeros(1, 4, 50), tokens).item() == pytest.approx(math.log(50))


def test_logits_are_of_each_next_word_and_do_not_see_it(four: Examples) -> None:
    model = untrained(0, four.flat_captions)
    tokens = model.vocabulary.encode(four.flat_captions, 42)
    logits = model(some_phi(4), tokens)
    assert logits.shape == (4, tokens.shape[1] - 1, len(model.vocabulary))
    changed = tokens.clone()
    changed[:, 3:] = UNKNOWN
    assert torch.allclose(model(some_phi(4), changed)[:, :3], logits[:, :3], atol=1e-6)
    other = model(some_phi(4).flip(0), tokens)
    assert not torch.allclose(other, logits, atol=1e-3)


def test_phi_is_standardized_by_channel() -> None:
    model = untrained(0, ["a b"])
    phi = some_phi(50) * torch.tensor([1.0, 10, 0.1, 0])[:, None, None] + 3
    model.standardize(phi)
    flat = phi.double().permute(1, 0, 2, 3).flatten(1).numpy()
    assert np.allclose(model.mean.numpy(), flat.mean(1), atol=1e-5)
    assert np.allclose(model.deviation[:3].numpy(), flat[:3].std(1, ddof=1), rtol=1e-4)
    assert float(model.deviation[3]) > 0
    assert bool(model(phi, model.vocabulary.encode(["a b"] * 50, 42)).isfinite().all())


# ---------------------------------------------------------------- nucleus


def slow_nucleus(scores: np.ndarray, draw: float, share: float) -> int:
    """The smallest set of likeliest tokens that holds `share`, then one by its cumulated p."""
    order = np.argsort(-scores, kind="stable")
    p = np.exp(scores[order])
    kept, total = [], 0.0
    for place in range(len(p)):
        kept.append(place)
        total += p[place]
        if total >= share:
            break
    below = 0.0
    for place in kept:
        below += p[place]
        if draw * total <= below:
            return int(order[place])
    return int(order[kept[-1]])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_nucleus_against_a_slow_oracle(share: float) -> None:
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(size=(200, 12)) * 2).log_softmax(1)
    scores[:, 3] = -torch.inf
    scores = scores.log_softmax(1)
    draws = torch.from_numpy(rng.random(200))
    chosen = choose_nucleus(scores, draws, share)
    wanted = [
        slow_nucleus(row, draw, share)
        for row, draw in zip(scores.numpy(), draws.tolist(), strict=True)
    ]
    assert chosen.tolist() == wanted


def test_nucleus_follows_p_inside_and_never_leaves() -> None:
    p = torch.tensor([0.5, 0.3, 0.15, 0.05])  # the first three hold 0.9
    draws = torch.linspace(0, 1, 2001)
    chosen = choose_nucleus(p.log().expand(2001, -1), draws, 0.9)
    share = torch.bincount(chosen, minlength=4) / 2001
    assert torch.allclose(share, torch.tensor([0.5, 0.3, 0.15, 0]) / 0.95, atol=2e-3)


def test_a_sure_word_is_always_chosen() -> None:
    scores = torch.full((3, 5), -torch.inf)
    scores[:, 2] = 0
    assert choose_nucleus(scores, torch.tensor([0.0, 0.5, 1.0])).tolist() == [2, 2, 2]


def test_nucleus_rows_depend_on_their_own_draws_alone(examples: Examples) -> None:
    model = untrained(1, examples.flat_captions)
    phi = some_phi(6)
    draws = torch.rand(6, MAX_WORDS, generator=torch.Generator().manual_seed(1))
    captions = decode_nucleus(model, phi, draws)
    assert captions == decode_nucleus(model, phi, draws)
    alone = [decode_nucleus(model, phi[i : i + 1], draws[i : i + 1])[0] for i in range(6)]
    assert captions == alone
    backwards = decode_nucleus(model, phi.flip(0), draws.flip(0))
    assert backwards[::-1] == captions
    other = decode_nucleus(model, phi, draws.roll(1, 0))
    assert other != captions
    same_phi = decode_nucleus(model, phi[:1].expand(6, -1, -1, -1), draws)
    assert len(set(same_phi)) > 1


# ---------------------------------------------------------------- greedy and beam


def test_captions_learned_by_heart_come_back(
    overfitted: tuple[Captioner, Tensor, list[str]],
) -> None:
    model, phi, captions = overfitted
    assert likeliest(model, phi) == captions
    for beams in (1, 2, 5):
        assert decode_beam(model, phi, beams) == captions
    draws = torch.rand(4, MAX_WORDS, generator=torch.Generator().manual_seed(0))
    assert decode_nucleus(model, phi, draws) == captions


@pytest.mark.parametrize("seed", range(4))
def test_one_beam_is_greedy(seed: int, examples: Examples) -> None:
    model = untrained(seed, examples.flat_captions)
    assert decode_beam(model, some_phi(8), 1) == likeliest(model, some_phi(8))


def mean_log_p(model: Captioner, phi: Tensor, caption: str) -> float:
    """log p a word, <end> included, under the rules of decoding, word by word."""
    grid, state = model.see(phi)
    last, total = START, 0.0
    words = [*(model.vocabulary.numbers[token] for token in tokenize(caption)), END]
    for word in words:
        logits, state = model.read(torch.tensor([[last]]), grid, state)
        row = logits[0, 0].double()
        forbidden = [PAD, START, UNKNOWN, last] + ([END] if last == START else [])
        row[forbidden] = -torch.inf
        total += float(row.log_softmax(0)[word])
        last = word
    return total / len(words)


def test_more_beams_never_find_worse_than_all_of_a_small_world() -> None:
    """Where captions end soon, a wide beam is an exhaustive search."""
    model = untrained(2, ["a b c"])
    model.out.bias[END] += 6
    phi = some_phi(5)
    best = decode_beam(model, phi, 60)
    for i in range(5):
        found = mean_log_p(model, phi[i : i + 1], best[i])
        for caption in ("a", "b", "c", "a b", "b a", "c a", "a c", "b c", "c b", "a b c", "c b a"):
            assert found >= mean_log_p(model, phi[i : i + 1], caption) - 1e-5


@pytest.mark.parametrize("beams", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_an_untrained_captioner_still_writes_captions(
    seed: int, beams: int, examples: Examples
) -> None:
    model = untrained(seed, examples.flat_captions)
    draws = torch.rand(8, MAX_WORDS, generator=torch.Generator().manual_seed(seed))
    written = [
        *decode_beam(model, some_phi(8), beams),
        *likeliest(model, some_phi(8)),
        *decode_nucleus(model, some_phi(8), draws),
    ]
    assert len(written) == 24
    for caption in written:
        words = tokenize(caption)
        assert 0 < len(words) <= MAX_WORDS
        assert all(word in model.vocabulary.numbers for word in words)
        assert not any(special in caption for special in SPECIALS)
        assert "unknown" not in caption
        assert all(one != after for one, after in pairwise(words))


@pytest.mark.parametrize("joined", JOINING)
def test_a_joining_word_never_joins_a_word_to_itself(joined: str) -> None:
    """A model that would say nothing but "thin and thin and thin"."""
    model = untrained(0, ["thin and long, or wide"])
    for word, pull in ((joined, 50), ("thin", 40), ("<end>", -50)):
        model.out.bias[model.vocabulary.numbers.get(word, END)] += pull
    draws = torch.rand(3, MAX_WORDS, generator=torch.Generator().manual_seed(0))
    for caption in (
        *decode_beam(model, some_phi(3)),
        *likeliest(model, some_phi(3)),
        *decode_nucleus(model, some_phi(3), draws),
    ):
        words = tokenize(caption)
        assert len(words) > 10
        for one, between, other in zip(words, words[1:], words[2:], strict=False):
            assert between not in JOINING or one != other, caption


@pytest.mark.parametrize("pull", [PAD, START, END, UNKNOWN])
def test_special_tokens_are_never_written_however_likely(pull: int, examples: Examples) -> None:
    model = untrained(0, examples.flat_captions)
    model.out.bias[pull] += 50
    draws = torch.rand(4, MAX_WORDS, generator=torch.Generator().manual_seed(0))
    for caption in (
        *decode_beam(model, some_phi(4)),
        *likeliest(model, some_phi(4)),
        *decode_nucleus(model, some_phi(4), draws),
    ):
        words = tokenize(caption)
        assert words
        assert all(word in model.vocabulary.numbers for word in words)
        if pull == END:
            assert len(words) == 1


def test_a_comma_alone_is_no_caption() -> None:
    """A model that would say nothing but "," has to say a word."""
    model = untrained(0, ["a, b"])
    comma = model.vocabulary.numbers[","]
    model.out.bias[comma] += 50
    model.out.bias[END] += 40
    phi = some_phi(3)
    draws = torch.rand(3, MAX_WORDS, generator=torch.Generator().manual_seed(0))
    assert all(decode_beam(model, phi))
    assert all(decode_nucleus(model, phi, draws))


def test_a_caption_that_never_ends_is_cut() -> None:
    model = untrained(0, ["a b"])
    model.out.bias[END] -= 100
    assert [len(tokenize(caption)) for caption in likeliest(model, some_phi(2))] == [MAX_WORDS] * 2
    assert [len(tokenize(caption)) for caption in decode_beam(model, some_phi(2))] == [
        MAX_WORDS
    ] * 2


@pytest.mark.parametrize("seed", range(2))
def test_a_row_is_decoded_the_same_alone(seed: int, examples: Examples) -> None:
    model = untrained(seed, examples.flat_captions)
    phi = some_phi(7)
    rows = [phi[i : i + 1] for i in range(7)]
    assert likeliest(model, phi) == [likeliest(model, row)[0] for row in rows]
    assert decode_beam(model, phi, 4) == [decode_beam(model, row, 4)[0] for row in rows]


@pytest.mark.parametrize("count", [1, 40])
def test_reading_word_by_word_is_reading_all_at_once(count: int, examples: Examples) -> None:
    model = untrained(0, examples.flat_captions)
    phi = some_phi(count)
    tokens = torch.randint(4, len(model.vocabulary), (2, count, 6), generator=torch.Generator())
    decoding = DecodingState(model, phi, 2)
    assert decoding.all_words == (count == 40)
    found = torch.stack([decoding.step(word) for word in tokens.permute(2, 1, 0)])
    for beam in (0, 1):
        grid, state = model.see(phi)
        wanted, _ = model.read(tokens[beam], grid, state)
        assert torch.allclose(found[:, :, beam].transpose(0, 1), wanted, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_fast_decoding_writes_what_the_slow_one_wrote(seed: int, examples: Examples) -> None:
    """Rows and images that have ended are left out; nothing else may change."""
    model = untrained(seed, examples.flat_captions, hidden=16)
    model.out.bias[END] += seed  # captions of many lengths
    phi = some_phi(60) * (1 + seed)
    draws = torch.rand(60, MAX_WORDS, generator=torch.Generator().manual_seed(seed))
    for beams in (1, 2, 5, 40):
        assert decode_beam(model, phi, beams) == slow_decoding.decode_beam(model, phi, beams)
    zeros = torch.zeros_like(draws)
    assert decode_nucleus(model, phi, zeros) == slow_decoding.decode(model, phi, zeros)
    nucleus = decode_nucleus(model, phi, draws)
    assert nucleus == slow_decoding.decode(model, phi, draws)
    assert len({len(tokenize(caption)) for caption in nucleus}) > 3


# ---------------------------------------------------------------- the checkpoint


def test_a_checkpoint_writes_the_same_captions(
    tmp_path: Path, overfitted: tuple[Captioner, Tensor, list[str]]
) -> None:
    model, phi, captions = overfitted
    model.save(tmp_path / "captioner.pt")
    loaded = load_captioner(tmp_path / "captioner.pt", CPU)
    assert loaded.options == model.options
    assert loaded.vocabulary == model.vocabulary
    assert not loaded.training
    tokens = model.vocabulary.encode(captions, 42)
    assert torch.equal(loaded(phi, tokens), model(phi, tokens))
    assert decode_beam(loaded, phi) == captions


def test_another_checkpoint_is_no_captioner(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"captioner.pt is missing; run: dvc repro train_captioner"
    ):
        load_captioner(tmp_path / "captioner.pt", CPU)
