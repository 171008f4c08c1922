"""The lexicon of flowers, by which captions of flower images are measured."""

from pairsynth.lexicon import Lexicon

COLOURS = (
    "white cream ivory yellow gold golden orange peach red scarlet crimson maroon burgundy pink "
    "rose magenta purple violet lavender lilac mauve blue indigo green lime brown black tan"
)
PARTS = (
    "petal center centre stamen pistil anther filament stigma sepal leaf stem bud disk disc style "
    "ovary pollen vein"
)
SHAPES = (
    "round rounded oval pointed pointy narrow thin long short wide broad large small tiny big "
    "ruffled wavy curled curly frilly smooth spiky flat heart star trumpet bell cup tube "
    "overlapping layered bulb spotted striped veined fuzzy"
)
COUNTS = "one two three four five six seven eight nine ten many several few single multiple"
SAME = {
    "centre": "center",
    "disc": "disk",
    "rounded": "round",
    "pointy": "pointed",
    "golden": "gold",
    "curly": "curled",
    "leaves": "leaf",
    "petals": "petal",
    "anthers": "anther",
    "stigmas": "stigma",
    "stamens": "stamen",
    "stamen": "stamen",
    "pistils": "pistil",
    "filaments": "filament",
    "sepals": "sepal",
    "veins": "vein",
    "stems": "stem",
    "layers": "layered",
    "spots": "spotted",
    "stripes": "striped",
}
FLOWERS = Lexicon(
    kinds={
        "colours": COLOURS.split(),
        "parts": PARTS.split(),
        "shapes": SHAPES.split(),
        "counts": COUNTS.split(),
    },
    same=SAME,
)
