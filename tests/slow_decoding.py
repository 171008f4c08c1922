"""Decoding as it was before it was made fast: every row goes on to the last word of the longest."""

import torch
from torch import Tensor

from pairsynth.captioner import MAX_WORDS, Captioner
from pairsynth.decoding import JOINING, NUCLEUS
from pairsynth.text import END, PAD, START, UNKNOWN


def allowed(logits: Tensor, last: Tensor, before: Tensor, joining: list[int]) -> Tensor:
    """log p (N, V) of each next token.

    Never a special one but <end>, never the last token again, nor the one `before` a joining
    last one ("thin and thin"), and a word first: no caption is empty.
    """
    logits = logits.float().clone()
    logits[:, [PAD, START, UNKNOWN]] = -torch.inf
    for row, (one, two) in enumerate(zip(last.tolist(), before.tolist(), strict=True)):
        logits[row, one] = -torch.inf
        if one in joining:
            logits[row, two] = -torch.inf
        if one == START:
            logits[row, [END, *joining[:1]]] = -torch.inf
    return logits.log_softmax(1)


def joining_of(captioner: Captioner) -> list[int]:
    """Numbers of the words of `JOINING` that the captioner knows; the comma first."""
    numbers = captioner.vocabulary.numbers
    return [numbers[word] for word in JOINING if word in numbers]


def choose_nucleus(scores: Tensor, draws: Tensor, share: float = NUCLEUS) -> Tensor:
    """One token of the smallest set that holds `share` of p (Holtzman et al., arXiv 1904.09751).

    scores: log p (N, V). draws: one uniform number (N) a row, so that a row's token depends on
    nothing but its own number.
    """
    sorted_scores, order = scores.sort(1, descending=True)
    p = sorted_scores.exp()
    before = p.cumsum(1) - p
    p = p * (before < share)
    cumulated = p.cumsum(1)
    place = (cumulated < draws[:, None] * cumulated[:, -1:]).sum(1, keepdim=True)
    return order.gather(1, place.clamp(max=scores.shape[1] - 1)).squeeze(1)


@torch.no_grad()
def decode(captioner: Captioner, phi: Tensor, draws: Tensor) -> list[str]:
    """One caption for each phi (N, C, 4, 4), word by word for all rows at once.

    draws: uniform numbers (N, MAX_WORDS).
    """
    grid, state = captioner.see(phi)
    last = before = torch.full((len(phi),), START, device=phi.device)
    joining = joining_of(captioner)
    rows = []
    ended = torch.zeros_like(last, dtype=torch.bool)
    for step in range(MAX_WORDS):
        logits, state = captioner.read(last[:, None], grid, state)
        scores = allowed(logits[:, 0], last, before, joining)
        before, last = last, choose_nucleus(scores, draws[:, step])
        rows.append(last)
        ended |= last == END
        if ended.all():
            break
    return captioner.vocabulary.decode(torch.stack(rows, 1))


@torch.no_grad()
def decode_beam(captioner: Captioner, phi: Tensor, beams: int = 5) -> list[str]:
    """The best caption for each phi (N, C, 4, 4) by mean log p a word, over `beams` beams.

    An unfinished beam competes with the finished ones, so there is always a caption.
    """
    count, device = len(phi), phi.device
    grid, (hidden, cell) = captioner.see(phi)
    grid = grid.repeat_interleave(beams, 0)
    state = (hidden.repeat_interleave(beams, 1), cell.repeat_interleave(beams, 1))
    tokens = torch.full((count * beams, 1), START, device=device)
    total = torch.full((count, beams), -torch.inf, device=device)
    total[:, 0] = 0
    joining = joining_of(captioner)
    first_beam = torch.arange(count, device=device)[:, None] * beams
    for _ in range(MAX_WORDS):
        last = tokens[:, -1]
        logits, state = captioner.read(last[:, None], grid, state)
        before = tokens[:, -2] if tokens.shape[1] > 1 else last
        scores = freeze_ended(allowed(logits[:, 0], last, before, joining), last)
        reached = total[:, :, None] + scores.unflatten(0, (count, beams))
        total, best = reached.flatten(1).topk(beams, 1)
        origin = (first_beam + best // scores.shape[1]).flatten()
        tokens = torch.cat([tokens[origin], (best % scores.shape[1]).flatten()[:, None]], 1)
        state = (state[0][:, origin].contiguous(), state[1][:, origin].contiguous())
        if bool(((tokens[:, -1] == END) | (tokens[:, -1] == PAD)).all()):
            break
    words = (tokens[:, 1:] != PAD).sum(1).unflatten(0, (count, beams))
    winner = (first_beam[:, 0] + (total / words).argmax(1)).flatten()
    return captioner.vocabulary.decode(tokens[winner, 1:])


def freeze_ended(scores: Tensor, last: Tensor) -> Tensor:
    """A beam that ended goes on with padding alone, at no cost."""
    ended = (last == END) | (last == PAD)
    scores[ended] = -torch.inf
    scores[ended, PAD] = 0
    return scores
