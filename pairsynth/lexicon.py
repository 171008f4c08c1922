"""The words by which captions are measured; each data set brings its own, from its source.

`download` writes them beside the images as `words.json`, and no other code has word lists: aerial
photographs are not asked for a flower's colours or the garden's attributes.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pairsynth.errors import InputError
from pairsynth.text import normalize
from pairsynth.whole_files import write_whole

FILE = "words.json"
# Of a set without words of its own: those that neither hardly any image's captions say nor most.
RARE, OFTEN, MOST = 0.02, 0.5, 100

Names = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """The words that captions may use, and how they are read.

    kinds: each kind (colours, parts ...) -> its words. same: a form of a word -> the word it counts
    as. attributes: each attribute -> its values -> the ways to say a value. nouns: a noun -> the
    part that it names. needs: an attribute -> the part that its words must describe. stops: words
    that end a run of adjectives. whole: nouns for the whole thing ("flower"). inside: the part
    meant by "in the middle".
    """

    kinds: Names = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Names] = field(default_factory=dict)
    nouns: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    stops: Sequence[str] = ()
    whole: Sequence[str] = ()
    inside: str = ""

    @cached_property
    def kind_of(self) -> dict[str, str]:
        """Word -> its kind."""
        return {word: kind for kind, words in self.kinds.items() for word in words}

    @cached_property
    def words(self) -> list[str]:
        """All words in alphabetical order, one for all forms of a word."""
        return sorted({self.same.get(word, word) for word in self.kind_of} & self.kind_of.keys())

    def said(self, caption: str) -> dict[str, set[str]]:
        """Kind -> its words in `caption`, one for all forms of a word."""
        found: dict[str, set[str]] = {}
        for word in normalize(caption).replace("-", " ").split():
            word = self.same.get(word, word)
            if word in self.kind_of:
                found.setdefault(self.kind_of[word], set()).add(word)
        return found

    # ------------------------------------------------------------ attributes

    @cached_property
    def _meanings(self) -> dict[tuple[str, ...], list[tuple[str, str]]]:
        """Words -> the (attribute, value) they can stand for."""
        found: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        for name, values in self.attributes.items():
            for value, ways in values.items():
                for way in ways:
                    found.setdefault(tuple(way.split()), []).append((name, value))
        return found

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._meanings), default=0)

    def named(self, caption: str) -> dict[str, str]:
        """The attribute values that `caption` names.

        An attribute's words belong to the noun after them ("a small yellow center"), else to the
        last noun before them ("the center is yellow", "petals that are red"), and without any noun
        to the whole. Where a caption contradicts itself the first word counts.
        """
        tokens = caption.lower().replace(",", " , ").replace(".", " ").replace("-", " ").split()
        values: dict[str, str] = {}
        start = 0
        while start < len(tokens) and self._longest:
            start += self._read(tokens, start, values)
        return values

    def _read(self, tokens: list[str], start: int, values: dict[str, str]) -> int:
        """Add the value named by the wording at `start`, if any, to `values`; return its length."""
        for length in range(self._longest, 0, -1):
            end = start + length
            for name, value in self._meanings.get(tuple(tokens[start:end]), ()):
                if name not in self.needs or self.needs[name] == self._subject(tokens, start, end):
                    values.setdefault(name, value)
                    return length
        return 1

    def _subject(self, tokens: list[str], start: int, end: int) -> str:
        """The part that the adjective in `tokens[start:end]` describes."""
        ahead = end
        while ahead < len(tokens) and tokens[ahead] not in {*self.nouns, *self.stops}:
            ahead += 1
        if ahead < len(tokens) and tokens[ahead] in self.nouns:
            return self.nouns[tokens[ahead]]
        place = tokens[ahead : ahead + 3]  # "with yellow in the middle"
        if place[:1] in (["in"], ["at"]) and self.nouns.get(place[-1], "") == self.inside != "":
            return self.inside
        return self._before(tokens, start)

    def _before(self, tokens: list[str], start: int) -> str:
        """The last part named before `start`; in "the center of this flower" it is the center."""
        main = self.nouns.get(self.whole[0], "") if self.whole else ""
        for i in range(start - 1, -1, -1):
            if tokens[i] not in self.nouns:
                continue
            owner = i - 1
            while owner > 0 and tokens[owner] not in ("of", "on", *self.nouns):
                owner -= 1
            owned = 1 < i - owner < 5 and tokens[owner] in ("of", "on") and owner > 0
            if owned and tokens[i] in self.whole:
                return self.nouns.get(tokens[owner - 1], main)
            return self.nouns[tokens[i]]
        return main


def own_words(captions: Sequence[Sequence[str]]) -> Lexicon:
    """A lexicon for a set without one: the words that distinguish its images, as kind `words`.

    captions: those of each image. It has the hundred most frequent words that occur in the captions
    of 2 to 50 % of the images, in any language.
    """
    counts = Counter(
        word for own in captions for word in {w for one in own for w in normalize(one).split()}
    )
    least, most = RARE * len(captions), OFTEN * len(captions)
    kept = [word for word, count in counts.items() if max(2, least) <= count <= most]
    kept.sort(key=lambda word: (-counts[word], word))
    return Lexicon(kinds={"words": kept[:MOST]} if kept else {})


def write(folder: Path, lexicon: Lexicon) -> None:
    """Write `words.json` into `folder`."""
    write_whole(folder / FILE, _text(lexicon).encode())


def _text(lexicon: Lexicon) -> str:
    """The text of the file: with a digest of all the rest, as one letter makes another word."""
    told = asdict(lexicon)
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return json.dumps({**told, "digest": digest}, indent=1, ensure_ascii=False) + "\n"


def read(folder: Path) -> Lexicon:
    """The lexicon in `folder`.

    Raises:
        InputError: where it is missing or damaged.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
        found.pop("digest", None)
        lexicon = Lexicon(**found)
        lexicon.named("a")  # what is of another form ends here
        if text != _text(lexicon):
            raise ValueError("its digest does not match")
        return lexicon
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is missing or damaged ({error}); remake it: dvc repro --force download"
        ) from error
