"""Find the images of a folder by the names that tables give them."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit


class Names:
    """Finds the images of a folder by their names in a table."""

    def __init__(self, root: Path, images: Iterable[str]) -> None:
        self.root = root.resolve()
        self.images = {*images}
        self.exact = {_plain(name): name for name in sorted(self.images)}
        self.folded: dict[str, list[str]] = {}
        self.bare: dict[str, list[str]] = {}
        self.stems: dict[str, list[str]] = {}
        self.numbers: dict[str, list[str]] = {}
        for plain in self.exact:
            stem = str(PurePosixPath(plain).with_suffix(""))
            self.stems.setdefault(PurePosixPath(stem).name.casefold(), []).append(plain)
            if number := re.search(r"(?:^|[/_])0*(\d+)$", stem):
                self.numbers.setdefault(number[1], []).append(plain)
            self.folded.setdefault(plain.casefold(), []).append(plain)
            self.bare.setdefault(PurePosixPath(plain).name.casefold(), []).append(plain)

    def find(self, given: str, below: str) -> str | None:
        r"""The image named `given` in a table of the subfolder `below`, or None.

        NFC and NFD are equal, as are `\` and `/`; spaces at the ends are ignored; an absolute path
        may lead into the folder, or be that of another machine. Case may differ and folders or
        ending be missing where only one image fits, and so may a number's leading zeros and what
        is before them. Of a URL the last part is used.
        """
        if posixpath.join(below, given) in self.images:  # of two names that look alike, this one
            return posixpath.join(below, given)
        found = self._find(given, below)
        if found is None and "://" in given:
            given = urlsplit(given).path.rpartition("/")[2]
            found = self._find(given, below)
        if found is None and "%" in given:
            found = self._find(unquote(given), below)
        return found or self._by_number(given, below)

    def _find(self, given: str, below: str) -> str | None:
        name = _plain(given)
        if re.match(r"/|[a-zA-Z]:/", name):
            return self._absolute(name)
        places = [_plain(posixpath.join(below, name)), name]
        for place in places:
            if place in self.exact:
                return self.exact[place]
            found = self._only(self.folded.get(place.casefold(), []), place)
            if found:
                return found
        if name.startswith("../"):
            return None
        beside = self.bare.get(PurePosixPath(name).name.casefold(), [])
        ends = "/" + name.casefold()
        fits = [one for one in beside if f"/{one}".casefold().endswith(ends)]
        return self._only(fits, name) if fits else self._by_stem(places)

    def _absolute(self, name: str) -> str | None:
        """The image at an absolute path, of this machine or of the one where it was written."""
        here = _plain(str(self.root)) + "/"
        if name.startswith(here):
            return self._find(name.removeprefix(here), "")
        if os.path.exists(name):
            place = os.path.relpath(os.path.realpath(name), self.root)
            return self.exact.get(_plain(place))
        parts = PurePosixPath(name).parts
        ends = (posixpath.join(*parts[i:]) for i in range(1, len(parts)))
        return next((found for end in ends if (found := self._find(end, ""))), None)

    def _by_number(self, given: str, below: str) -> str | None:
        """The only image of this number, as spreadsheets and COCO write 00042.jpg: 42 or 42.0."""
        number = re.fullmatch(r"0*(\d+)(?:\.0)?", given.strip())
        fits = self.numbers.get(number[1], []) if number else []
        beside = [one for one in fits if one.startswith(f"{below}/")]
        return self._only(beside or fits, given)

    def _by_stem(self, places: list[str]) -> str | None:
        """The only image with this name without its ending."""
        for place in places:
            ends = "/" + place.casefold()
            alike = self.stems.get(PurePosixPath(place).name.casefold(), [])
            stems = {one: f"/{PurePosixPath(one).with_suffix('')}".casefold() for one in alike}
            fits = [one for one, stem in stems.items() if stem.endswith(ends)]
            if fits:
                return self.exact[fits[0]] if len(fits) == 1 else None
        return None

    def _only(self, fits: list[str], name: str) -> str | None:
        """The only match, or of several the exact one."""
        if len(fits) > 1:
            fits = [one for one in fits if f"/{one}".endswith(f"/{name}")]
        return self.exact[fits[0]] if len(fits) == 1 else None


def composed(name: str) -> str:
    """The name with composed accents (NFC), as macOS does not write them."""
    return unicodedata.normalize("NFC", name)


def _plain(name: str) -> str:
    name = composed(name).strip().replace("\\", "/")
    return posixpath.normpath(name)
