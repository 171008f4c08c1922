"""The words by which a set of captions is measured: they come with the set, from its source.

`download` writes them beside the images as `words.json`, and nothing else knows any: neither a
flower's colours nor the garden's attributes are asked of somebody's aerial photographs.
"""

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
    """What captions may say, and how it is read.

    kinds: of each kind (colours, parts ...) the words. same: a form of a word, and the word it
    counts as. attributes: of each attribute the values, and of each value the ways to say it.
    nouns: a noun, and the part of the thing that it stands for. needs: an attribute, and the part
    that its words must describe to be of it. stops: words before which a run of adjectives ends.
    whole: the nouns of the whole thing ("flower"). inside: the part that "in the middle" speaks of.
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
        """Each word's kind."""
        return {word: kind for kind, words in self.kinds.items() for word in words}

    @cached_property
    def words(self) -> list[str]:
        """The words, of several forms of a word one, in the order of the alphabet."""
        return sorted({self.same.get(word, word) for word in self.kind_of} & self.kind_of.keys())

    def said(self, caption: str) -> dict[str, set[str]]:
        """The words of each kind in `caption`, of several forms of a word one."""
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
        """The attribute values that `caption` names, whoever wrote it.

        An attribute's words belong to the noun they stand before ("a small yellow center") or else
        to the noun that came last ("the center is yellow", "petals that are red"); without any
        noun to the whole. Where a caption contradicts itself the first word counts.
        """
        tokens = caption.lower().replace(",", " , ").replace(".", " ").replace("-", " ").split()
        values: dict[str, str] = {}
        start = 0
        while start < len(tokens) and self._longest:
            start += self._read(tokens, start, values)
        return values

    def _read(self, tokens: list[str], start: int, values: dict[str, str]) -> int:
        """Note what the wording at `start` means, if it means anything; return its length."""
        for length in range(self._longest, 0, -1):
            end = start + length
            for name, value in self._meanings.get(tuple(tokens[start:end]), ()):
                if name not in self.needs or self.needs[name] == self._subject(tokens, start, end):
                    values.setdefault(name, value)
                    return length
        return 1

    def _subject(self, tokens: list[str], start: int, end: int) -> str:
        """Which part the adjective in `tokens[start:end]` describes."""
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
        """The part named last before `start`; in "the center of this flower" that is the center."""
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
    """The words of a set that has no lexicon: those that tell its images apart, of kind `words`.

    captions: those of each image. A word is taken where the captions of 2 to 50 % of the images
    say it, the most frequent hundred; whatever the language.
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
    text = json.dumps(asdict(lexicon), indent=1, ensure_ascii=False)
    write_whole(folder / FILE, f"{text}\n".encode())


def read(folder: Path) -> Lexicon:
    """The lexicon in `folder`.

    Raises:
        InputError: where it is missing or damaged.
    """
    path = folder / FILE
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        lexicon = Lexicon(**found)
        lexicon.named("a")  # what is of another form ends here
        return lexicon
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is missing or damaged ({error}); remake it: dvc repro --force download"
        ) from error
