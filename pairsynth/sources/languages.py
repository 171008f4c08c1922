"""Tell the language of a caption of Latin letters by its small words, where they tell it."""

from pairsynth.text import tokenize

# Words that captions are full of.
SMALL_WORDS = {
    "English": "a an and are at by has have in is it its of on that the there this to two with",
    # Without hat and man: a man in a hat is English.
    "German": "am auf das dem den der die ein eine einem einen einer eines im in ist mit "
    "und von vor zu zwei",
    "French": "au aux avec dans de des deux du elle en est et il la le les son sur un une",
    "Spanish": "con de del dos el en es hay la las los que se su sus un una unos y",
    "Portuguese": "com da das de do dois dos e em na no o os que um uma umas",
    "Italian": "al che con dal dei del della di due e gli ha i il in la le lo nel per si su un una",
    "Dutch": "aan bij de die een en er heeft het in is met naar naast op twee van voor zijn",
    "Swedish": "av den det ett har i med och på som står två är",
    "Polish": "do i jest ma na o po się są w z za",
    "Turkish": "bir bu da de ile için iki olan ve var",
    "Indonesian": "ada dan dari dengan di pada sebuah seorang yang",
    "Vietnamese": "các có của hai là màu một người những trong và với",
}
_SETS = {language: {*words.split()} for language, words in SMALL_WORDS.items()}
FEWEST = 2  # words that tell a language


def language_of(caption: str) -> str:
    """The language with the most small words in a caption, `FEWEST` at least; else ""."""
    words = {*tokenize(caption)}
    counts = {language: len(words & own) for language, own in _SETS.items()}
    first, second = sorted(counts, key=counts.__getitem__, reverse=True)[:2]
    return first if counts[first] >= max(FEWEST, counts[second] + 1) else ""
