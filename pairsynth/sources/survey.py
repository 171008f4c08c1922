"""Find oddities in captioned images: duplicates, shared captions, other scripts, small, blank.

Shapes: N images.
"""

import itertools
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from pairsynth.sources.contract import Example
from pairsynth.sources.languages import language_of

# Two images are near-duplicates where at most so many of the 64 bits of their hashes differ and
# their thumbnails differ by at most so much on average, of 255.
BITS, SHADES = 4, 6.0
BANDS = 5  # one more than BITS: hashes that near agree in one band at least
THUMBNAIL = 8
BLANK = 2  # shades between the darkest and the brightest at most
EXAMPLES = 20  # of each kind


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An oddity: its kind, the number of images or captions, examples (item, what)."""

    kind: str
    count: int
    examples: list[tuple[str, str]]

    @property
    def words(self) -> str:
        """The finding as a sentence."""
        return f"{self.count:,} {KINDS[self.kind]}"


KINDS = {
    "twins_across_splits": "images look the same as one of another split: figures on it flatter",
    "twins": "images look the same as one of their split",
    "without_own_caption": "images share each of their captions with others",
    "other_script": "captions are in another script than most",
    "other_language": "captions are in another language than most, by their small words",
    "enlarged": "images are smaller than the size wanted, and were enlarged",
    "blank": "images are of one colour",
}


@dataclass(kw_only=True)
class Survey:
    """Collects hashes, thumbnails, names and captions of images, to find oddities."""

    size: int
    ids: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    first: dict[bytes, int] = field(default_factory=dict)
    hashes: list[int] = field(default_factory=list)
    thumbnails: list[bytes] = field(default_factory=list)
    captions: list[set[bytes]] = field(default_factory=list)
    told: Counter[bytes] = field(default_factory=Counter)
    scripts: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    written: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    odd: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def note(self, example: Example, image: Image.Image) -> str | None:
        """Add an image: `example` as its source gave it, and the square `image` made of it.

        Where an image of another split has the same pixels, return that one's name and add nothing.
        """
        name, pixels = example.image_id, np.asarray(image)
        twin = self.first.setdefault(
            blake2b(image.tobytes(), digest_size=16).digest(), len(self.ids)
        )
        if twin < len(self.ids) and self.splits[twin] != example.split:
            return self.ids[twin]
        self.ids.append(name)
        self.splits.append(example.split)
        low, high = pixels.min((0, 1)), pixels.max((0, 1))
        blank = int((high.astype(int) - low).max()) <= BLANK
        self.hashes.append(0 if blank else perceptual_hash(image))
        self.thumbnails.append(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes())
        if blank:
            self.odd["blank"].append((name, f"colour {tuple(int(shade) for shade in low)}"))
        if min(example.image.size) < self.size:
            self.odd["enlarged"].append((name, "{} x {} pixels".format(*example.image.size)))
        own = {blake2b(caption.encode(), digest_size=8).digest() for caption in example.captions}
        self.captions.append(own)
        self.told.update(own)
        for caption in example.captions:
            script = script_of(caption)
            self.scripts[script] += bool(script)
            language = language_of(caption)
            self.languages[language] += bool(language)
            for told in (script, language):
                if told and len(self.written[told]) < EXAMPLES:
                    self.written[told].append((name, f"{told.capitalize()}: {caption}"))
        return None

    def findings(self) -> list[Finding]:
        """All findings in the order of `KINDS`; kinds without any are left out."""
        alone = list(self._without_own_caption())
        odd = {**self.odd, **self._twins(), "without_own_caption": alone}
        counts = {kind: len(found) for kind, found in odd.items()}
        for kind, found in (("other_script", self.scripts), ("other_language", self.languages)):
            others = [one for one, _ in found.most_common()][1:]
            counts[kind] = sum(found[one] for one in others)
            odd[kind] = [example for one in others for example in self.written[one]]
        return [
            Finding(kind=kind, count=counts[kind], examples=odd[kind][:EXAMPLES])
            for kind in KINDS
            if counts.get(kind)
        ]

    def _without_own_caption(self) -> Iterator[tuple[str, str]]:
        for name, own in zip(self.ids, self.captions, strict=True):
            counts = [self.told[caption] for caption in own]
            if min(counts) > 1:
                yield name, f"{max(counts):,} images have the same caption"

    def _twins(self) -> dict[str, list[tuple[str, str]]]:
        """Near-duplicates of an earlier image, of another split and of the same."""
        thumbnails = np.frombuffer(b"".join(self.thumbnails), np.uint8).reshape(len(self.ids), -1)
        near: dict[str, dict[int, int]] = {"twins_across_splits": {}, "twins": {}}
        for later, earlier in near_pairs(np.array(self.hashes, np.uint64), thumbnails):
            same = self.splits[later] == self.splits[earlier]
            kind = "twins" if same else "twins_across_splits"
            near[kind].setdefault(later, earlier)
        return {
            kind: [
                (self.ids[a], f"like {self.ids[b]}, in {self.splits[b]}")
                for a, b in sorted(found.items())
            ]
            for kind, found in near.items()
        }


def perceptual_hash(image: Image.Image) -> int:
    """A 64-bit hash: which of the 64 lowest cosine coefficients exceed their median."""
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), float)
    waves = dctn(grey, norm="ortho")[:9, :9].flatten()[1:65]
    return int.from_bytes(np.packbits(waves > np.median(waves)).tobytes())


def near_pairs(
    hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8]
) -> Iterator[tuple[int, int]]:
    """Pairs (later, earlier) of near-duplicates by their hashes (N) and thumbnails (N, pixels).

    Hashes of 0 are left out. Hashes that differ in few bits are equal in at least one band of bits,
    so only images with an equal band are compared.
    """
    edges = np.linspace(0, 64, BANDS + 1).astype(int)
    for low, high in itertools.pairwise(edges):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        order = order[hashes[order] != 0]
        for group in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            for place in range(1, len(group)):
                later, before = group[place], group[:place]
                alike = before[np.bitwise_count(hashes[before] ^ hashes[later]) <= BITS]
                apart = thumbnails[alike].astype(int) - thumbnails[later].astype(int)
                for earlier in alike[np.abs(apart).mean(1) <= SHADES]:
                    yield int(later), int(earlier)


def script_of(caption: str) -> str:
    """The Unicode script of most letters of the caption: LATIN, CYRILLIC, CJK."""
    names = (unicodedata.name(sign, "").split(" ")[0] for sign in caption if sign.isalpha())
    return max(Counter(names).items(), key=lambda one: one[1], default=("", 0))[0]
