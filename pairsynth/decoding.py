"""Decoding captions: nucleus sampling and beam search, all rows at once.

Shapes: N batch, P places of the grid, C channels, H hidden, V vocabulary, K beams.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pairsynth.captioner import MAX_WORDS, Captioner
from pairsynth.inference import inference
from pairsynth.text import END, PAD, START, UNKNOWN, Vocabulary

JOINING = (",", "and", "or")
# The share of p that a word by chance is drawn from. At 0.9 captions of the garden had 94 % of the
# words in use and 81 % of the distinct pairs of words that people's have; at 1 a word in some
# hundreds is one that nobody would write.
NUCLEUS = 0.97


def _joining(vocabulary: Vocabulary, device: torch.device) -> Tensor:
    """Token numbers (J) of `JOINING`; missing ones become <unknown>, which is never written."""
    return torch.tensor([vocabulary.numbers.get(word, UNKNOWN) for word in JOINING], device=device)


def _allowed(logits: Tensor, last: Tensor, before: Tensor, joining: Tensor) -> Tensor:
    """Set the logits (N, V) of tokens that may not come next to minus infinity, in place.

    Forbidden are special tokens but <end>, repeating the last token or, after a joining one, the
    token `before` it ("thin and thin"), and as the first token <end> or a comma.
    """
    logits[:, [PAD, START, UNKNOWN]] = -torch.inf
    logits[last == START, END] = -torch.inf
    logits[last == START, joining[0]] = -torch.inf
    again = torch.where(torch.isin(last, joining), before, last)  # (N)
    return logits.scatter_(1, torch.stack([last, again], 1), -torch.inf)


def choose_nucleus(logits: Tensor, draws: Tensor, share: float = NUCLEUS) -> Tensor:
    """One token (N) of the smallest set with `share` of the probability (arXiv 1904.09751).

    logits: (N, V). draws: one uniform number per row (N), so that a row's token depends on its own
    number only.
    """
    sorted_logits, order = logits.sort(1, descending=True)
    p = sorted_logits.softmax(1)  # (N, V), the likeliest first
    before = p.cumsum(1) - p  # (N, V), the probability of all likelier tokens
    p = p * (before < share)
    cumulated = p.cumsum(1)  # (N, V)
    # The inverse of the distribution function at each row's number: how many lie below it.
    place = (cumulated < draws[:, None] * cumulated[:, -1:]).sum(1, keepdim=True)  # (N, 1)
    return order.gather(1, place.clamp(max=logits.shape[1] - 1)).squeeze(1)  # (N)


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: rows (N, K, H) times weight (V, H) to (N, K, V).

    On a CPU with several threads torch computes a 1 x 1 convolution by oneDNN, and a matrix product
    by MKL, which takes twice as long on AMD: captions are decoded 1.3 times as fast (two threads).
    With one thread both are the same product.
    """
    if rows.device.type != "cpu":
        return F.linear(rows, weight, bias)
    # (N, K, H) -> (1, H, 1, N K): channels last already, so nothing is copied
    pixels = rows.reshape(1, 1, -1, rows.shape[2]).permute(0, 3, 1, 2)
    out = F.conv2d(pixels, weight[:, :, None, None], bias)  # (1, V, 1, N K)
    return out.permute(0, 2, 3, 1).reshape(*rows.shape[:2], -1)


class DecodingState:
    """`Captioner.read`, word by word for K beams of each of N images.

    Products that do not depend on the words are computed once beforehand, so a step has three
    matrix products instead of six. In training the weights change, so it would not pay there.
    """

    def __init__(self, captioner: Captioner, phi: Tensor, beams: int) -> None:
        self.captioner = captioner
        with inference(captioner):
            grid, (hidden, cell) = captioner.see(phi)  # (N, P, H), twice (1, N, H)
        # (N, K, H) each
        self.hidden, self.cell = (part[0][:, None].repeat(1, beams, 1) for part in (hidden, cell))
        # grid . (W h + b) = (grid W) . h + grid . b: keys and offsets of the attention.
        self.keys = (grid @ captioner.attend.weight).transpose(1, 2)  # (N, H, P)
        self.offsets = (grid @ captioner.attend.bias)[:, None]  # (N, 1, P)
        # [U V] [h; a grid] = U h + a (grid V'): the context enters as a mean of these values.
        own, seen = captioner.combine.weight.chunk(2, 1)  # (H, H) each
        self.own, self.values = own.contiguous(), grid @ seen.T + captioner.combine.bias
        self.input, self.recur, *biases = captioner.lstm.all_weights[0]
        self.bias = biases[0] + biases[1]
        table = captioner.embedding.weight
        # A product for every word of the vocabulary pays where more words will be read than that.
        self.all_words = len(phi) * beams * 10 > len(table)
        self.words = _linear(table[None], self.input, self.bias)[0] if self.all_words else table

    def step(self, last: Tensor) -> Tensor:
        """Words (N, K) to logits (N, K, V) of the next ones."""
        gates = self.words[last]  # (N, K, 4 H), or (N, K, H) of words not multiplied out
        if not self.all_words:
            gates = F.linear(gates, self.input, self.bias)
        gates += _linear(self.hidden, self.recur)
        # c = sigma(f) c + sigma(i) tanh(g),  h = sigma(o) tanh(c)  (Hochreiter, Schmidhuber 1997)
        input_gate, forget_gate, new, output_gate = gates.chunk(4, 2)  # (N, K, H) each
        self.cell = forget_gate.sigmoid() * self.cell + input_gate.sigmoid() * new.tanh()
        self.hidden = output_gate.sigmoid() * self.cell.tanh()
        # softmax((keys . h + offsets) / sqrt(H)) over the P places
        # (N, K, H) (N, H, P) -> (N, K, P)
        nearness = (self.hidden @ self.keys + self.offsets) / self.hidden.shape[2] ** 0.5
        combined = torch.baddbmm(
            _linear(self.hidden, self.own), nearness.softmax(2), self.values
        ).tanh_()  # (N, K, H)
        return _linear(combined, self.captioner.out.weight, self.captioner.out.bias)

    def take(self, beam: Tensor) -> None:
        """Continue from beams (N, K), given by their place in each image's K."""
        origin = beam[:, :, None].expand_as(self.hidden)  # (N, K, H)
        self.hidden, self.cell = self.hidden.gather(1, origin), self.cell.gather(1, origin)

    def keep(self, images: Tensor) -> None:
        """Continue with these rows of images only."""
        self.hidden, self.cell = self.hidden[images], self.cell[images]
        self.keys, self.offsets = self.keys[images], self.offsets[images]
        self.values = self.values[images]


@torch.no_grad()
def decode_nucleus(captioner: Captioner, phi: Tensor, draws: Tensor) -> list[str]:
    """One caption for each phi (N, C, 4, 4), word by word for all rows that have not ended.

    draws: uniform numbers (N, MAX_WORDS); where they are 0, each word is the likeliest.
    """
    state = DecodingState(captioner, phi, 1)
    last = before = torch.full((len(phi),), START, device=phi.device)  # (N) each
    joining = _joining(captioner.vocabulary, phi.device)
    tokens = torch.full((len(phi), MAX_WORDS), PAD, device=phi.device)
    rows = torch.arange(len(phi), device=phi.device)
    for step in range(MAX_WORDS):
        logits = state.step(last[:, None])[:, 0]  # (N, 1, V) -> (N, V)
        logits = _allowed(logits, last, before, joining)
        before, last = last, choose_nucleus(logits, draws[rows, step])
        tokens[rows, step] = last
        going = (last != END).nonzero().flatten()  # (N'), the rows that go on
        if not len(going):
            break
        if len(going) < len(rows):
            rows, last, before = rows[going], last[going], before[going]
            state.keep(going)
    return captioner.vocabulary.decode(tokens)


@torch.no_grad()
def decode_beam(captioner: Captioner, phi: Tensor, beams: int = 5) -> list[str]:
    """The best caption for each phi (N, C, 4, 4) by mean log p a word, over `beams` beams.

    An unfinished beam competes with the finished ones, so there is always a caption. Images whose
    beams have all ended take no part in further steps.
    """
    count, device = len(phi), phi.device
    state = DecodingState(captioner, phi, beams)
    joining = _joining(captioner.vocabulary, device)
    last = before = torch.full((count, beams), START, device=device)
    total = torch.full((count, beams), -torch.inf, device=device)
    total[:, 0] = 0  # one beam to begin with: the K are the same
    written = torch.full((count, beams, MAX_WORDS), PAD, device=device)
    totals, images = total.clone(), torch.arange(count, device=device)
    for step in range(MAX_WORDS):
        logits = state.step(last).flatten(0, 1)  # (N K, V)
        logits = _allowed(logits, last.flatten(), before.flatten(), joining)
        scores, words = _best_words(logits, last.flatten(), beams)  # (N K, K) each
        # log p(t) of each beam with each next word; the best K of these K K go on.
        reached = (total.flatten()[:, None] + scores).view(len(total), -1)  # (N, K K)
        total, best = reached.topk(beams, 1)  # (N, K) each
        beam = best // scores.shape[1]  # (N, K), the beam that each goes on from
        before, last = last.gather(1, beam), words.view_as(reached).gather(1, best)
        state.take(beam)
        so_far = written[images[:, None], beam]  # (N, K, MAX_WORDS)
        so_far[:, :, step] = last
        written[images], totals[images] = so_far, total
        going = ((last != END) & (last != PAD)).any(1).nonzero().flatten()  # (N')
        if not len(going):
            break
        if len(going) < len(images):
            images, total = images[going], total[going]
            last, before = last[going], before[going]
            state.keep(going)
    winner = (totals / (written != PAD).sum(2)).argmax(1)  # (N, K) -> (N)
    return captioner.vocabulary.decode(written[torch.arange(count, device=device), winner])


def _best_words(logits: Tensor, last: Tensor, beams: int) -> tuple[Tensor, Tensor]:
    """log p and token numbers (N, K) of the K best next words by logits (N, V).

    Worse words cannot be among the K best beams. A beam that ended goes on with padding, at log p
    0.
    """
    best, words = logits.topk(min(beams, logits.shape[1]), 1)  # (N, V) -> (N, K) each
    # log p = logit - log sum exp logits
    scores = best - logits.logsumexp(1, keepdim=True)
    ended = (last == END) | (last == PAD)
    scores[ended] = -torch.inf
    scores[ended, 0] = 0
    words[ended] = PAD
    return scores, words
