"""What is known of each judged pair, a row each: metrics/pairs.csv."""

from dataclasses import dataclass

from pairsynth.evaluation.context import EvaluationContext, Pairs
from pairsynth.metrics.copying import closest_bleu, longest_copied


@dataclass(frozen=True)
class Row:
    """One pair.

    consistency: cosine by the encoder that made psi; judge_similarity: by the judge, which had no
    part in the making. judge_rank: of its own caption among it and 99 captions of test images.
    novelty: the kind, judged anew. nearest_image_id, nearest_image_distance: the nearest training
    image; image_ratio: that distance over the second nearest's. nearest_caption_id,
    nearest_caption: the nearest training caption by psi. longest_copied: words of the longest run
    that stands in a training caption. closest_bleu: the best BLEU-4 against one, 0 to 1.
    """

    pair_id: str
    strategy: str
    caption: str
    consistency: float
    judge_similarity: float
    judge_rank: int
    novelty: str
    nearest_image_id: str
    nearest_image_distance: float
    image_ratio: float
    nearest_caption_id: str
    nearest_caption: str
    longest_copied: int
    closest_bleu: float


def rows(context: EvaluationContext, pairs: Pairs) -> list[Row]:
    """One row a pair, in their order; no row depends on another."""
    new = context.novelty.judge(pairs.pixels, pairs.captions, context.mappings.psi(pairs.captions))
    seen, read = (
        context.judge.image_vectors(pairs.pixels),
        context.judge.caption_vectors(pairs.captions),
    )
    similarity = (seen * read).sum(1).tolist()
    ranks = context.rivals.ranks(seen, read, pairs.captions)
    runs = longest_copied(pairs.captions, context.train.flat_captions)
    closest, _ = closest_bleu(pairs.captions, context.train.flat_captions)
    return [
        Row(
            pairs.ids[i],
            pairs.strategies[i],
            pairs.captions[i],
            pairs.consistency[i],
            similarity[i],
            ranks[i],
            new[i].kind,
            new[i].nearest_image,
            new[i].image_distance,
            new[i].image_ratio,
            new[i].nearest_caption_id,
            new[i].nearest_caption,
            runs[i],
            closest[i],
        )
        for i in range(len(pairs))
    ]
