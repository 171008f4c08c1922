"""Captions to numbers and back: tokens, vocabulary, padding."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import regex
import torch
from torch import Tensor

PAD, START, END, UNKNOWN = range(4)
SPECIALS = ("<pad>", "<start>", "<end>", "<unknown>")

# Scripts that set no spaces between words: each of their signs is a token.
_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_SIGN = rf"[[{_SPACELESS}\u30fc]--\p{{M}}][\p{{M}}\p{{Lm}}--\u30fc]*"
_LETTERS = rf"[\p{{L}}\p{{M}}\p{{N}}--[{_SPACELESS}]]+"
_WORD = regex.compile(rf"{_SIGN}|{_LETTERS}(?:['-]{_LETTERS})*|,", regex.VERSION1)
_BETWEEN_SIGNS = regex.compile(rf"(?<={_SIGN}) (?={_SIGN})", regex.VERSION1)
_AFTER_HAN = regex.compile(r"(?<=[\p{Han}\p{Hiragana}\p{Katakana}\u30fc]), ?", regex.VERSION1)
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]", regex.VERSION1)
# What people type for an apostrophe, a hyphen, a comma.
_SAME = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u2010": "-", "\u2011": "-",
                       "\uff0c": ",", "\u3001": ",", "\u060c": ","})  # fmt: skip


def tokenize(caption: str) -> list[str]:
    """Lower-case words of any script, and commas; hyphens and apostrophes stay inside words.

    In scripts without spaces between words (Chinese, Japanese, Thai) each character is a token.
    """
    caption = caption.lower()
    if not caption.isascii():
        caption = unicodedata.normalize("NFC", caption).translate(_SAME)
    return _WORD.findall(caption)


def detokenize(tokens: Iterable[str]) -> str:
    """Join words by spaces, commas attached to the word before; none first, last or doubled.

    Characters of a script without spaces are joined without; after Chinese or Japanese ones the
    comma is theirs.
    """
    joined = re.sub(r"[\s,]*,", ",", " ".join(tokens)).strip(" ,")
    if joined.isascii():
        return joined
    comma = "\u3001" if _KANA.search(joined) else "\uff0c"
    return _AFTER_HAN.sub(comma, _BETWEEN_SIGNS.sub("", joined))


@lru_cache(maxsize=200_000)
def normalize(caption: str) -> str:
    """The caption without differences of case, spacing and punctuation, for comparisons."""
    return " ".join(token for token in tokenize(caption) if token != ",")


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by number; numbers 0 to 3 are `SPECIALS`.

    unit: "word" or "character". tokens: every token, the specials first.
    """

    unit: str
    tokens: tuple[str, ...]
    numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {token: i for i, token in enumerate(self.tokens)})

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def build(cls, captions: Iterable[str], unit: str, min_count: int = 1) -> "Vocabulary":
        """All tokens seen `min_count` times or more, the most frequent first."""
        counts = Counter(token for caption in captions for token in split(caption, unit))
        kept = [token for token, count in counts.items() if count >= min_count]
        return cls(unit, (*SPECIALS, *sorted(kept, key=lambda token: (-counts[token], token))))

    @property
    def digest(self) -> str:
        """A digest of the vocabulary."""
        return hashlib.sha256("\n".join((self.unit, *self.tokens)).encode()).hexdigest()[:16]

    def encode(self, captions: Sequence[str], length: int) -> Tensor:
        """Token numbers (N, T), each row `<start> ... <end>` and padded; T is at most `length`."""
        rows = [self._row(caption, length) for caption in captions]
        table = torch.full((len(rows), max(map(len, rows), default=2)), PAD, dtype=torch.long)
        for i, row in enumerate(rows):
            table[i, : len(row)] = torch.tensor(row)
        return table

    def _row(self, caption: str, length: int) -> list[int]:
        tokens = split(caption, self.unit)[: length - 2]
        return [START, *(self.numbers.get(token, UNKNOWN) for token in tokens), END]

    def decode(self, rows: Tensor) -> list[str]:
        """The captions of token numbers (N, T): the tokens before `<end>` without specials."""
        return [self._caption(row) for row in rows.tolist()]

    def _caption(self, row: list[int]) -> str:
        ended = row[: row.index(END)] if END in row else row
        tokens = [self.tokens[i] for i in ended if i >= len(SPECIALS)]
        return "".join(tokens) if self.unit == "character" else detokenize(tokens)


def split(caption: str, unit: str) -> list[str]:
    """The tokens of a caption: its words, or the characters of its words and commas."""
    words = tokenize(caption)
    return words if unit == "word" else list(detokenize(words))


def trim(tokens: Tensor) -> Tensor:
    """Token numbers (N, T) without the columns that are padding in every row.

    On a GPU all columns stay, since counting them would need a sync.
    """
    if tokens.is_cuda:
        return tokens
    return tokens[:, : int((tokens != PAD).any(0).sum())]
