"""From a corpus's own emotions to a recipe's classes: picked, merged or dropped, never silently."""

import dataclasses
import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..utils.errors import UserError
from .schema import EMOTIONS, Clip


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a recipe says of emotions under one key: which are counted as another, which are left out.

    Raises:
        UserError: for a word that is no emotion, for one that is both merged and dropped, and for one that is merged
            into what is merged away itself.
    """

    merge: Mapping[str, str] = dataclasses.field(default_factory=dict)
    drop: Sequence[str] = ()
    key: str = "corpus"

    def __post_init__(self):
        _require_canonical(f"{self.key}.merge", [*self.merge, *self.merge.values()])
        _require_canonical(f"{self.key}.drop", self.drop)
        for word in self.drop:
            if word in self.merge or word in self.merge.values():
                raise UserError(f"{self.key}.drop: {word!r} is merged as well")
        for word, target in self.merge.items():
            end = self.merge.get(target, target)
            if word != target != end:
                raise UserError(
                    f"{self.key}.merge: {word!r} is merged into {target!r}, which is merged into {end!r} itself; say "
                    f"what {word!r} is to be counted as, {end!r} or another"
                )

    def __contains__(self, emotion: str) -> bool:
        return emotion in self.merge or emotion in self.drop

    def __getitem__(self, emotion: str) -> str | None:
        """The class that an emotion is counted as; None where it is left out."""
        return None if emotion in self.drop else self.merge.get(emotion, emotion)


@dataclasses.dataclass(frozen=True)
class Treatment:
    """The classes in order, and of each clip the class that its own emotion is counted as (`targets`; None is left
    out). Of the kept clips: their positions, their classes, which votes may make others than their targets, and their
    votes as probabilities over the classes where they have any."""

    labels: list[str]
    targets: list[str | None]
    kept: list[int]
    emotions: list[str]
    votes: list[list[float] | None] | None


def treat_labels(
    clips: Sequence[Clip],
    labels: Sequence[str] | None = None,
    merge: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    own: Mapping[str, Rule] | None = None,
) -> Treatment:
    """Maps each clip's emotion to a class.

    Args:
        labels: the classes, in the order of their ids; by default every emotion left, in canonical order.
        merge: emotion -> the class it is counted as, such as ``{"calm": "neutral"}``.
        drop: emotions whose clips are left out.
        own: corpus -> what is said of its clips alone. What it says of an emotion goes before `merge` and `drop`:
            ``{"calm": "calm"}`` keeps a corpus's calm that others' is merged.

    Raises:
        UserError: for a word that is no emotion, for an emotion that is neither listed, merged nor dropped, for rules
            that contradict each other, and for a class without a clip.
    """
    common, own = Rule(merge or {}, drop), own or {}
    _require_canonical("corpus.labels", labels or ())
    require_merged_into_classes(labels, [common, *own.values()])
    if labels is not None and len(set(labels)) != len(labels):
        raise UserError(f"corpus.labels: each label once, got {', '.join(labels)}")
    for word in labels or ():
        if word in common and not any(rule.merge.get(word) == word for rule in own.values()):
            raise UserError(f"corpus.labels: {word!r} is listed, and merged or dropped as well")

    def rule_of(corpus: str | None, emotion: str) -> Rule:
        rule = own.get(corpus, common)
        return rule if emotion in rule else common

    def counted_as(clip: Clip, emotion: str) -> str | None:
        return rule_of(clip.corpus, emotion)[emotion]

    for corpus, emotion in dict.fromkeys((clip.corpus, clip.emotion) for clip in clips):
        _require_end(emotion, rule_of(corpus, emotion), lambda word, corpus=corpus: rule_of(corpus, word))
    targets = [counted_as(clip, clip.emotion) for clip in clips]
    present = set(targets) - {None}
    classes = list(labels) if labels is not None else [emotion for emotion in EMOTIONS if emotion in present]
    if present - set(classes):
        raise _unlisted(clips, targets, classes, own)
    for label in classes:
        if label not in present:
            found = sorted({clip.emotion for clip in clips})
            raise UserError(f"corpus.labels: no clip is {label!r}; the corpus has {', '.join(found)}")
    if len(classes) < 2:
        raise UserError(f"corpus.labels: at least two classes are needed, got {', '.join(classes) or 'none'}")

    kept = [i for i, target in enumerate(targets) if target is not None]
    emotions, shares = [targets[i] for i in kept], None
    if any(clips[i].votes for i in kept):
        shares = [_shares(clips[i], targets[i], classes, counted_as) for i in kept]
        emotions = [_winner(mine, target, classes) for mine, target in zip(shares, emotions, strict=True)]
    return Treatment(classes, targets, kept, emotions, shares)


def require_merged_into_classes(labels: Sequence[str] | None, rules: Sequence[Rule]) -> None:
    """Refuses a rule that merges into what is none of the classes, where these are listed."""
    for rule in rules:
        for word, target in rule.merge.items():
            if labels is not None and target not in labels:
                raise UserError(
                    f"{rule.key}.merge: {word!r} is merged into {target!r}, which is not in corpus.labels; list it "
                    f"there, or drop {word!r}"
                )


def _require_end(emotion: str, rule: Rule, rule_of: Callable[[str], Rule]) -> None:
    """Refuses a merge, by one rule, into what another rule drops or merges away in the same corpus."""
    target = rule[emotion]
    other = rule_of(target) if target is not None else rule
    if target in (None, emotion) or other[target] == target:
        return
    end = "leaves out" if other[target] is None else f"counts as {other[target]!r}"
    key = f"{other.key}.{'drop' if other[target] is None else 'merge'}"
    raise UserError(
        f"{rule.key}.merge: {emotion!r} is merged into {target!r}, which {key} {end} in the same corpus; make the two "
        "agree"
    )


def _require_canonical(key: str, words: Sequence[str]) -> None:
    for word in words:
        if word not in EMOTIONS:
            nearest = difflib.get_close_matches(word, EMOTIONS, n=1, cutoff=0.0)[0]
            raise UserError(f"{key}: {word!r} is no canonical emotion; the nearest is {nearest!r}")


def _unlisted(
    clips: Sequence[Clip], targets: Sequence[str | None], classes: Sequence[str], own: Mapping[str, Rule]
) -> UserError:
    """The complaint about the first emotion that no class is made of."""
    clips = [clip for clip, target in zip(clips, targets, strict=True) if target not in (None, *classes)]
    first = clips[0]
    count = sum(clip.emotion == first.emotion for clip in clips)
    keys = ["corpus", *(own[corpus].key for corpus in own if corpus == first.corpus)]
    merge, drop = (" or ".join(f"{key}.{word}" for key in keys) for word in ("merge", "drop"))
    return UserError(
        f"corpus.labels: {first.emotion!r} ({count} clips, the first {first.path}) is not listed; list it, merge it "
        f"({merge}) or drop it ({drop})"
    )


def _winner(shares: list[float] | None, target: str, classes: list[str]) -> str:
    """The class with most votes once they are merged; the clip's own label where that is among the winners."""
    if shares is None or shares[classes.index(target)] == max(shares):
        return target
    return classes[shares.index(max(shares))]


def _shares(
    clip: Clip, target: str, classes: list[str], counted_as: Callable[[Clip, str], str | None]
) -> list[float] | None:
    """Votes of a clip as probabilities over the classes; those for emotions that are no class are left out."""
    if not clip.votes:
        return None
    sums = dict.fromkeys(classes, 0.0)
    for emotion, votes in clip.votes.items():
        label = counted_as(clip, emotion)
        if label in sums:  # a dropped emotion is never a class
            sums[label] += votes
    total = sum(sums.values())
    # Raters may all have chosen what is no class here: the clip's own label is then all that is known.
    return [value / total for value in sums.values()] if total else [float(name == target) for name in classes]


# In place of an emotion where a file was left out before anybody read one from it.
UNREAD = "-"


@dataclasses.dataclass(frozen=True)
class Source:
    """`clips` clips that one corpus labels alike, and what became of them: `label`, the class that they are learnt as,
    or None and the reason in `left_out`. `word` is the label as the corpus's own files have it (see
    `ser_hf.corpora.schema.Clip`), `emotion` how it was read; that is None for files that were left out unread."""

    corpus: str
    emotion: str | None
    word: str | None
    label: str | None
    left_out: str | None
    clips: int


def sources_of(
    outcomes: Iterable[tuple[Clip, str | None, str | None]],
    skipped: Sequence[tuple[str, str]],
    corpus: str,
) -> list[Source]:
    """Counts what became of clips, in the order of corpora, emotions, words, classes.

    Args:
        outcomes: of each clip its class, or None and why it was left out.
        skipped: corpus and reason of each file that is no clip.
        corpus: of clips that do not tell theirs.
    """
    counts = Counter((clip.corpus or corpus, clip.emotion, clip.word, label, why) for clip, label, why in outcomes)
    counts.update((own, None, None, None, why) for own, why in skipped)
    places = {emotion: i for i, emotion in enumerate(EMOTIONS)}

    def place(key: tuple[str, str | None, str | None, str | None, str | None]) -> tuple:
        own, emotion, word, label, why = key
        return own, places.get(emotion, len(places)), word or "", places.get(label, len(places)), why or ""

    return [Source(*key, counts[key]) for key in sorted(counts, key=place)]


def sources_table(sources: Sequence[Source]) -> str:
    """The sources as lines to print, an emotion with the word of its files where that is another."""
    rows = [("corpus", "emotion", "clips", "learnt as")]
    for source in sources:
        outcome = source.label or f"left out: {source.left_out}"
        rows.append((source.corpus, _spelled(source), str(source.clips), outcome))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(
        f"{corpus:<{widths[0]}}  {emotion:<{widths[1]}}  {clips:>{widths[2]}}  {outcome}"
        for corpus, emotion, clips, outcome in rows
    )


def sources_facts(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """The sources as reports keep them."""
    return [dataclasses.asdict(source) for source in sources]


def _spelled(source: Source) -> str:
    other = f" ({source.word})" if source.word not in (None, source.emotion) else ""
    return (source.emotion or UNREAD) + other
