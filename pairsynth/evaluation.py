"""What captions, pictures and pairs are worth; every figure beside its floor and its ceiling."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from pairsynth.bench import Bench, Figure, Pairs, share_figure, spread
from pairsynth.metrics.agreement import Share, attribute_agreement, r_precision
from pairsynth.metrics.captions import bleu, most_frequent, nearest_caption, shifted
from pairsynth.metrics.novelty import COPY, KINDS, NEW
from pairsynth.sources.garden_captions import named


def evaluate(bench: Bench, pairs: Pairs) -> Iterator[list[Figure]]:
    """The figures, group by group."""
    for group in (judged, captioned, drawn):
        yield list(group(bench))
    yield list(paired(bench, pairs))
    yield list(new(bench, pairs))


def by_batch(work: Callable[[list[int]], list[str]], count: int, batch: int = 128) -> list[str]:
    """The answers of `work` to rows 0 to count - 1, a batch at a time."""
    rows = list(range(count))
    return [one for i in range(0, count, batch) for one in work(rows[i : i + batch])]


# ---------------------------------------------------------------- the judge and the captioner


def judged(bench: Bench) -> Iterator[Figure]:
    """The judge's own accuracy on real test pictures, attribute by attribute."""
    seen = bench.judge.attributes_seen(bench.test.pixels)
    for name in bench.judge.attributes:
        right = sum(
            s[name] == t[name] for s, t in zip(seen, bench.test.attributes or [], strict=True)
        )
        yield share_figure("judge", "real_pictures", name, Share(right, len(seen)))


def captioned(bench: Bench) -> Iterator[Figure]:
    """BLEU of captions of test pictures, against nine references each, beside the baselines.

    A person's caption is one of a picture's own, so all are measured against the others; the
    captioner against all of them besides. On the garden also how often a caption names the truth.
    """
    rows = spread(len(bench.test), bench.config.captioned)
    references = [bench.test.captions[row] for row in rows]
    phi = bench.mappings.phi(bench.test.pixels[rows])
    written = by_batch(lambda part: bench.mappings.describe(phi[part]), len(rows))
    people = [own[0] for own in references]
    neighbours = nearest_caption(
        bench.embeddings["test"].image[rows], bench.embeddings["train"].image, bench.train.captions
    )
    subjects = {
        "captioner": written,
        "person": people,
        "nearest_neighbour": neighbours,
        "most_frequent": [most_frequent(bench.train.flat_captions)] * len(rows),
        "shuffled_person": shifted(people),
    }
    others = [own[1:] or own for own in references]
    for subject, captions in subjects.items():
        yield from _plain("captions", subject, bleu(captions, others), len(rows))
        yield from _named(bench, subject, captions, rows)
    everything = {f"{k}_all_references": v for k, v in bleu(written, references).items()}
    yield from _plain("captions", "captioner", everything, len(rows))


def _named(
    bench: Bench, subject: str, captions: Sequence[str], rows: Sequence[int]
) -> Iterator[Figure]:
    """Of the captions that name an attribute, the share right; of all, for the petals' colour."""
    if bench.test.attributes is None:
        return
    truth = [bench.test.attributes[row] for row in rows]
    for name, share in attribute_agreement(captions, truth, named).items():
        yield share_figure("captions", subject, name, share)
    said = [named(caption).get("petal_colour") for caption in captions]
    right = sum(s == t["petal_colour"] for s, t in zip(said, truth, strict=True))
    yield share_figure("captions", subject, "petal_colour_of_all", Share(right, len(rows)))


# ---------------------------------------------------------------- pictures and pairs


def drawn(bench: Bench) -> Iterator[Figure]:
    """Pictures drawn from test captions, beside the real ones and beside others' captions."""
    rows = spread(len(bench.test), bench.config.captioned)
    captions = [bench.test.captions[row][-1] for row in rows]
    psi = bench.mappings.psi(captions)
    noise = bench.noise(len(rows), "drawn")
    pictures = torch.cat(
        [bench.mappings.draw(p, n) for p, n in zip(psi.split(128), noise.split(128), strict=True)]
    )
    yield from _agree(bench, "drawn", "from_test_captions", captions, pictures)
    yield from _agree(bench, "drawn", "real_pictures", captions, bench.test.pixels[rows])
    yield from _agree(bench, "drawn", "shuffled_captions", shifted(captions), pictures)


def paired(bench: Bench, pairs: Pairs) -> Iterator[Figure]:
    """Synthetic pairs, all and by strategy, beside shuffled ones."""
    yield from _agree(bench, "pairs", "all", pairs.captions, pairs.pixels)
    yield from _agree(bench, "pairs", "shuffled", shifted(pairs.captions), pairs.pixels)
    for strategy in sorted(set(pairs.strategies)):
        part = pairs.of(strategy)
        yield from _agree(bench, "pairs", strategy, part.captions, part.pixels)


def _agree(
    bench: Bench, group: str, subject: str, captions: Sequence[str], pixels: Tensor
) -> Iterator[Figure]:
    """R-precision by the judge and, on the garden, agreement on each attribute."""
    if not captions:
        return
    judge = bench.judge
    others = judge.caption_vectors([own[0] for own in bench.test.captions])
    found = r_precision(judge.image_vectors(pixels), judge.caption_vectors(captions), others)
    yield share_figure(group, subject, "r_precision", found)
    if judge.attributes:
        seen = judge.attributes_seen(pixels)
        for name, share in attribute_agreement(captions, seen, named).items():
            yield share_figure(group, subject, name, share)


def new(bench: Bench, pairs: Pairs) -> Iterator[Figure]:
    """Kinds of novelty of the pairs, beside real held-out pairs and planted copies."""
    yield from _kinds("pairs", pairs.kinds)
    captions = [own[0] for own in bench.test.captions]
    psi = bench.embeddings["test"].psi[bench.test.first_caption[:-1]]
    held_out = [one.kind for one in bench.novelty.judge(bench.test.pixels, captions, psi)]
    yield from _kinds("real_held_out", held_out)
    rows = spread(len(bench.train), max(2, len(pairs.kinds) // 100))
    copied = [bench.train.captions[row][0] for row in rows]
    planted = bench.novelty.judge(
        bench.train.pixels[rows].flip(3), copied, bench.mappings.psi(copied)
    )
    found = sum(one.kind == COPY for one in planted)
    yield share_figure("novelty", "planted_mirrored_copies", "found", Share(found, len(rows)))


def _kinds(subject: str, kinds: Sequence[str]) -> Iterator[Figure]:
    counts = Counter(kinds)
    for kind in KINDS:
        name = "all_new" if kind == NEW else kind.replace(",", "").replace(" ", "_")
        yield share_figure("novelty", subject, name, Share(counts[kind], len(kinds)))


def _plain(group: str, subject: str, values: Mapping[str, float], count: int) -> Iterator[Figure]:
    for measure, value in values.items():
        yield Figure(group, subject, measure, value, None, None, count)
