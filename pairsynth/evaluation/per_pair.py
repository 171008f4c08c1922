"""One row of measures for each pair: metrics/pairs.csv."""

from dataclasses import dataclass

from pairsynth.evaluation.context import EvaluationContext, Pairs
from pairsynth.metrics.copying import closest_bleu, longest_copied


@dataclass(frozen=True, kw_only=True)
class Row:
    """The measures of one pair.

    consistency: cosine by the encoder that made psi. judge_similarity: cosine by the judge.
    judge_rank: rank of its caption among 99 captions of test images. novelty: the kind, judged
    anew.
    nearest_image_id, nearest_image_distance: the nearest training image. image_ratio: that distance
    divided by that of the second nearest. nearest_caption_id, nearest_caption: the nearest training
    caption by psi. longest_copied: words of its longest run found in a training caption.
    closest_bleu: its best BLEU-4 against a training caption, 0 to 1.
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
    """One row per pair, in order; rows do not depend on one another."""
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
            pair_id=pairs.ids[i],
            strategy=pairs.strategies[i],
            caption=pairs.captions[i],
            consistency=pairs.consistency[i],
            judge_similarity=similarity[i],
            judge_rank=ranks[i],
            novelty=new[i].kind,
            nearest_image_id=new[i].nearest_image,
            nearest_image_distance=new[i].image_distance,
            image_ratio=new[i].image_ratio,
            nearest_caption_id=new[i].nearest_caption_id,
            nearest_caption=new[i].nearest_caption,
            longest_copied=runs[i],
            closest_bleu=closest[i],
        )
        for i in range(len(pairs))
    ]
