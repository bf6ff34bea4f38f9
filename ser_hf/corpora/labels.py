"""From a corpus's own emotions to a recipe's classes: picked, merged or dropped, never silently."""

import dataclasses
import difflib
from collections import Counter
from collections.abc import Mapping, Sequence

from ..errors import UserError
from .schema import EMOTIONS, Clip


@dataclasses.dataclass(frozen=True)
class Treatment:
    """The classes in order, each kept clip's class, the positions of the kept clips, what became of each emotion as
    {source: (class or None, count)}, and each kept clip's votes as probabilities over the classes where it has any."""

    labels: list[str]
    emotions: list[str]
    kept: list[int]
    fate: dict[str, tuple[str | None, int]]
    votes: list[list[float] | None] | None


def treat_labels(
    clips: Sequence[Clip],
    labels: Sequence[str] | None = None,
    merge: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
) -> Treatment:
    """Maps each clip's emotion to a class.

    Args:
        labels: the classes, in the order of their ids; by default every emotion left, in canonical order.
        merge: emotion -> the class it is counted as, such as ``{"calm": "neutral"}``.
        drop: emotions whose clips are left out.

    Raises:
        UserError: for a word that is no emotion, for an emotion that is neither listed, merged nor dropped, and for
            a class without a clip.
    """
    merge = dict(merge or {})
    named = {"corpus.labels": labels or (), "corpus.merge": [*merge, *merge.values()], "corpus.drop": drop}
    for key, words in named.items():
        for word in words:
            if word not in EMOTIONS:
                nearest = difflib.get_close_matches(word, EMOTIONS, n=1, cutoff=0.0)[0]
                raise UserError(f"{key}: {word!r} is no canonical emotion; the nearest is {nearest!r}")
    if labels is not None and len(set(labels)) != len(labels):
        raise UserError(f"corpus.labels: each label once, got {', '.join(labels)}")

    for word in drop:
        if word in merge or word in merge.values():
            raise UserError(f"corpus.drop: {word!r} is merged as well")
    counts = Counter(clip.emotion for clip in clips)
    for word in [*merge, *drop]:
        if word in (labels or ()):
            raise UserError(f"corpus.labels: {word!r} is listed, and merged or dropped as well")
    fate = {source: (None if source in drop else merge.get(source, source), n) for source, n in counts.items()}
    kept_classes = {target for target, _ in fate.values() if target is not None}
    classes = list(labels) if labels is not None else [e for e in EMOTIONS if e in kept_classes]
    for source, (target, count) in fate.items():
        if target is not None and target not in classes:
            first = next(clip.path for clip in clips if clip.emotion == source)
            raise UserError(
                f"corpus.labels: {source!r} ({count} clips, the first {first}) is not listed; "
                "list it, merge it (corpus.merge) or drop it (corpus.drop)"
            )
    for label in classes:
        if label not in kept_classes:
            raise UserError(f"corpus.labels: no clip is {label!r}; the corpus has {', '.join(sorted(counts))}")
    if len(classes) < 2:
        raise UserError(f"corpus.labels: at least two classes are needed, got {', '.join(classes) or 'none'}")

    targets = [fate[clip.emotion][0] for clip in clips]
    kept = [i for i, target in enumerate(targets) if target is not None]
    emotions, shares = [targets[i] for i in kept], None
    if any(clips[i].votes for i in kept):
        shares = [_shares(clips[i], targets[i], classes, merge, drop) for i in kept]
        emotions = [_winner(own, target, classes) for own, target in zip(shares, emotions, strict=True)]
    return Treatment(classes, emotions, kept, fate, shares)


def _winner(shares: list[float] | None, target: str, classes: list[str]) -> str:
    """The class with most votes once they are merged; the clip's own label where that is among the winners."""
    if shares is None or shares[classes.index(target)] == max(shares):
        return target
    return classes[shares.index(max(shares))]


def _shares(
    clip: Clip, target: str, classes: list[str], merge: Mapping[str, str], drop: Sequence[str]
) -> list[float] | None:
    """Votes of a clip as probabilities over the classes; those for emotions that are no class are left out."""
    if not clip.votes:
        return None
    sums = dict.fromkeys(classes, 0.0)
    for emotion, votes in clip.votes.items():
        counted_as = merge.get(emotion, emotion)
        if counted_as in sums:  # a dropped emotion is never a class
            sums[counted_as] += votes
    total = sum(sums.values())
    # Raters may all have chosen what is no class here: the clip's own label is then all that is known.
    return [value / total for value in sums.values()] if total else [float(name == target) for name in classes]
