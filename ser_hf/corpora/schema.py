"""The rows of every corpus: canonical emotions, columns, and the classes that a recipe selects,
merges or drops.
"""

import dataclasses
import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from datasets import Audio, ClassLabel, Dataset, Features, List, Value

from ..utils.errors import UserError
from ..utils.files import require_utf8

# The color of each emotion on pages and in pictures: seven of Okabe and Ito (2008), and others that
# color-blind readers distinguish from them (CIELAB distances of 15 or more in simulated protan,
# deutan and tritan vision).
EMOTION_COLORS = {
    "angry": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "happy": "#f0e442",
    "neutral": "#5f5f5f",
    "sad": "#0072b2",
    "surprise": "#e69f00",
    "calm": "#56b4e9",
    "boredom": "#8a2be2",
    "excited": "#8b2500",
    "frustrated": "#99cc77",
    "contempt": "#4433aa",
    "other": "#bbbbbb",
}
# The order of every label list that a recipe does not order itself.
EMOTIONS = tuple(EMOTION_COLORS)


@dataclasses.dataclass(frozen=True)
class Clip:
    """One recording as its file name (or table) describes it. `speaker` and `id` have the corpus as
    a prefix.

    `word` is the emotion's spelling in the name or table; None if the emotion comes from raters'
    votes. `votes` are {emotion: votes or share}; `extra` becomes further columns, such as
    `session`. `corpus` is set in mixtures.
    """

    path: str
    emotion: str
    speaker: str
    id: str
    sex: str | None = None
    age: int | None = None
    language: str | None = None
    sentence: str | None = None
    intensity: str | None = None
    take: int | None = None
    votes: Mapping[str, float] | None = None
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    corpus: str | None = None
    word: str | None = None


@dataclasses.dataclass(frozen=True)
class Listing:
    """The result of a parser: the clips in a stable order, and the skipped files with reasons."""

    corpus: str
    clips: list[Clip]
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)


COLUMNS = {
    "speaker": Value("string"),
    "corpus": Value("string"),
    "id": Value("string"),
    "sex": Value("string"),
    "age": Value("int32"),
    "language": Value("string"),
    "sentence": Value("string"),
    "intensity": Value("string"),
    "take": Value("int32"),
    "duration": Value("float32"),
    "content_hash": Value("string"),
}
# The speaker (after the corpus's prefix) of clips with an unknown speaker that a recipe loads with
# `no_speaker: one`. Splits treat it apart, because any test speaker may be among them.
UNNAMED = "unknown"
# Names that an extra column cannot have.
RESERVED = {"audio", "label", "votes", "targets", *COLUMNS}


def to_dataset(
    listing: Listing,
    emotions: Sequence[str],
    labels: Sequence[str],
    sampling_rate: int,
    votes: Sequence[Sequence[float] | None] | None = None,
    targets: Sequence[Mapping[str, float]] | None = None,
) -> Dataset:
    """The rows as a `datasets.Dataset`; `emotions` are the clips' classes, `labels` the classes in
    order.

    `duration` and `content_hash` are null until `ser_hf.audio.prepare` has decoded the audio. There
    is a column `votes` (probabilities over the labels) or `targets` ({dimension: 0 to 1}) if these
    are given, and one column for each key of the clips' `extra`, as text if its values have several
    types. The Audio column is cast, because encoding needs torchcodec.
    """
    clips = listing.clips
    if not clips:
        raise UserError(f"corpus.root: every clip of {listing.corpus} is dropped or excluded")
    for clip in clips:
        require_utf8(clip.path)
    rows: dict[str, list] = {
        "audio": [clip.path for clip in clips],
        "label": list(map(labels.index, emotions)),
    }
    for name in COLUMNS:
        rows[name] = [getattr(clip, name, None) for clip in clips]
    rows["corpus"] = [clip.corpus or listing.corpus for clip in clips]
    features = {"audio": Value("string"), "label": ClassLabel(names=list(labels)), **COLUMNS}
    if votes is not None:
        rows["votes"] = [None if shares is None else list(shares) for shares in votes]
        features["votes"] = List(Value("float32"), length=len(labels))
    if targets is not None:
        rows["targets"] = list(targets)
        features["targets"] = dict.fromkeys(targets[0], Value("float32"))
    for name in dict.fromkeys(key for clip in clips for key in clip.extra):
        if name in features or "\0" in name:
            raise UserError(
                f"corpus.root: {listing.corpus} has a column {name!r}, a reserved name; rename it"
            )
        rows[name] = [clip.extra.get(name) for clip in clips]
        known = [value for value in rows[name] if value is not None]
        # in several corpora
        if len({float if type(value) is int else type(value) for value in known}) > 1:
            rows[name] = [None if value is None else str(value) for value in rows[name]]
            known = []
        features[name] = (
            Dataset.from_dict({name: known}).features[name] if known else Value("string")
        )
    dataset = Dataset.from_dict(rows, features=Features(features))
    return dataset.cast_column("audio", Audio(sampling_rate=sampling_rate, decode=False))


def require_unique_ids(clips: Sequence[Clip]) -> None:
    """Raise a UserError for an id in two places: a doubled folder, `a.wav` beside `a.flac`, two
    rows of a table.
    """
    first: dict[str, str] = {}
    for clip in clips:
        if clip.id in first:
            raise UserError(
                f"{clip.path}: its id {clip.id} is also the id of {first[clip.id]}; remove one of the "
                "two (mirrors often contain a folder twice), or give it another id"
            )
        first[clip.id] = clip.path


class RuleProblem(NamedTuple):
    """What is wrong with the key `merge` or `drop`."""

    key: Literal["merge", "drop"]
    message: str


def rule_problem(
    merge: Mapping[str, str], drop: Sequence[str], custom: Sequence[str]
) -> RuleProblem | None:
    """An unknown emotion or a contradiction in `merge` and `drop`; None if there is none.

    Args:
        custom: labels beside the canonical emotions.
    """
    words_of_key = {"merge": [*merge, *merge.values()], "drop": drop}
    for key, words in words_of_key.items():
        problem = _unknown_emotion(words, custom)
        if problem is not None:
            return RuleProblem(key, problem)
    for word in drop:
        if word in merge or word in merge.values():
            return RuleProblem("drop", f"{word!r} is also merged; keep one of the two")
    for word, target in merge.items():
        if word != target and merge.get(target, target) != target:
            message = f"{word!r} is merged into {target!r}, which is merged itself"
            return RuleProblem("merge", message)
    return None


@dataclasses.dataclass(frozen=True)
class Rule:
    """The `merge` and `drop` of one key of a recipe, checked: emotions or custom labels, and no
    contradiction.
    """

    merge: Mapping[str, str] = dataclasses.field(default_factory=dict)
    drop: Sequence[str] = ()
    key: str = "corpus"
    custom: Sequence[str] = ()

    def __post_init__(self):
        problem = rule_problem(self.merge, self.drop, self.custom)
        if problem is not None:
            raise UserError(f"{self.key}.{problem.key}: {problem.message}")

    def __contains__(self, emotion: str) -> bool:
        return emotion in self.merge or emotion in self.drop

    def __getitem__(self, emotion: str) -> str | None:
        """The class of an emotion; None if it is dropped."""
        return None if emotion in self.drop else self.merge.get(emotion, emotion)


@dataclasses.dataclass(frozen=True)
class Treatment:
    """The classes in order, each clip's class (None: dropped), and its votes as probabilities if
    there are votes.
    """

    labels: list[str]
    emotions: list[str | None]
    votes: list[list[float] | None] | None


def treat_labels(
    clips: Sequence[Clip],
    labels: Sequence[str] | None = None,
    merge: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    rule_of_corpus: Mapping[str, Rule] | None = None,
    least: int = 2,
) -> Treatment:
    """Map each clip's emotion to a class, of which there must be `least`.

    Args:
        labels: the classes, in the order of their ids; by default every emotion left, in canonical
            order, and then custom labels.
        merge: emotion -> its class, such as ``{"calm": "neutral"}``.
        drop: emotions whose clips are left out.
        rule_of_corpus: corpus -> the rule of its clips, which takes precedence over `merge` and `drop`.
    """
    custom = custom_labels(clips)
    common = Rule(merge or {}, drop, custom=custom)
    own = rule_of_corpus or {}
    problem = _unknown_emotion(labels or (), custom)
    if problem is not None:
        raise UserError(f"corpus.labels: {problem}")
    for rule in [common, *own.values()]:
        for word, target in rule.merge.items():
            if labels is not None and target not in labels:
                raise UserError(
                    f"{rule.key}.merge: {word!r} is merged into {target!r}, which is not in corpus.labels; list it "
                    f"there, or drop {word!r}"
                )
    if labels is not None and len(set(labels)) != len(labels):
        raise UserError(f"corpus.labels: expected each label once, got {', '.join(labels)}")
    for word in labels or ():
        if word in common and not any(rule.merge.get(word) == word for rule in own.values()):
            raise UserError(f"corpus.labels: {word!r} is listed, but also merged or dropped")

    def rule_of(corpus: str | None, emotion: str) -> Rule:
        rule = own.get(corpus, common)
        return rule if emotion in rule else common

    def counted_as(clip: Clip, emotion: str) -> str | None:
        return rule_of(clip.corpus, emotion)[emotion]

    for corpus, emotion in dict.fromkeys((clip.corpus, clip.emotion) for clip in clips):
        _require_end(
            emotion, rule_of(corpus, emotion), lambda word, corpus=corpus: rule_of(corpus, word)
        )
    targets = [counted_as(clip, clip.emotion) for clip in clips]
    present = set(targets) - {None}
    classes = (
        list(labels)
        if labels is not None
        else [label for label in (*EMOTIONS, *custom) if label in present]
    )
    if present - set(classes):
        unlisted = [
            clip
            for clip, target in zip(clips, targets, strict=True)
            if target not in (None, *classes)
        ]
        first = unlisted[0]
        count = sum(clip.emotion == unlisted[0].emotion for clip in unlisted)
        key = own[first.corpus].key if first.corpus in own else "corpus"
        raise UserError(
            f"corpus.labels: {first.emotion!r} ({count} clips, the first {first.path}) is not listed; list it, or "
            f"name it in {key}.merge or {key}.drop"
        )
    for label in classes:
        if label not in present:
            found = sorted({clip.emotion for clip in clips})
            raise UserError(
                f"corpus.labels: no clip has the label {label!r}; the corpus has {', '.join(found)}"
            )
    if len(classes) < least:
        raise UserError(
            f"corpus.labels: at least two classes are needed, got {', '.join(classes) or 'none'}"
        )

    emotions = list(targets)
    votes = None
    if any(clip.votes for clip, target in zip(clips, targets, strict=True) if target):
        votes = [
            _shares(clip, target, classes, counted_as)
            for clip, target in zip(clips, targets, strict=True)
        ]
        for i, shares in enumerate(votes):
            # The clip's own label wins a tie.
            if shares is not None and shares[classes.index(targets[i])] < max(shares):
                emotions[i] = classes[shares.index(max(shares))]
    return Treatment(classes, emotions, votes)


def _require_end(emotion: str, rule: Rule, rule_of: Callable[[str], Rule]) -> None:
    """Raise a UserError for a merge into an emotion that another rule of the same corpus drops or
    merges.
    """
    target = rule[emotion]
    other = rule_of(target) if target is not None else rule
    if target in (None, emotion) or other[target] == target:
        return
    key = f"{other.key}.{'drop' if other[target] is None else 'merge'}"
    raise UserError(
        f"{rule.key}.merge: {emotion!r} is merged into {target!r}, which is also in {key}; remove one"
    )


def custom_labels(clips: Iterable[Clip]) -> list[str]:
    """The labels of clips that are no canonical emotions, sorted; only tables have some
    (`corpus.custom_labels`).
    """
    return sorted({clip.emotion for clip in clips}.difference(EMOTIONS))


def _unknown_emotion(words: Iterable[str], custom: Sequence[str]) -> str | None:
    """The message for the first word that is no emotion and no custom label; None without any."""
    labels = (*EMOTIONS, *custom)
    for word in words:
        if word not in labels:
            nearest = difflib.get_close_matches(word, labels, n=1, cutoff=0.0)[0]
            return f"{word!r} is not a canonical emotion; the nearest is {nearest!r}"
    return None


def _shares(
    clip: Clip,
    target: str | None,
    classes: list[str],
    counted_as: Callable[[Clip, str], str | None],
) -> list[float] | None:
    """Votes of a clip as probabilities over the classes, without votes for other emotions."""
    if not clip.votes or target is None:
        return None
    sums = dict.fromkeys(classes, 0.0)
    for emotion, votes in clip.votes.items():
        label = counted_as(clip, emotion)
        if label in sums:  # a dropped emotion is never a class
            sums[label] += votes
    total = sum(sums.values())
    # If all raters chose other emotions, only the clip's own label is known.
    return (
        [value / total for value in sums.values()]
        if total
        else [float(name == target) for name in classes]
    )


@dataclasses.dataclass(frozen=True)
class Source:
    """A number of `clips` with one label in one corpus, and their class `label`, or None and the
    reason in `left_out`. `word` is the label in the files, `emotion` its canonical emotion; both
    are None for files that are no clips."""

    corpus: str
    emotion: str | None
    word: str | None
    label: str | None
    left_out: str | None
    clips: int


def label_sources(
    outcomes: Iterable[tuple[Clip, str | None, str | None]],
    skipped: Sequence[tuple[str, str]],
    corpus: str,
) -> list[Source]:
    """Count clips by corpus, emotion, word and class, in that order: `outcomes` are each clip with
    its class, and the reason if it was left out; `skipped` are corpus and reason of each file that
    is no clip."""
    counts = Counter(
        (clip.corpus or corpus, clip.emotion, clip.word, None if why else label, why)
        for clip, label, why in outcomes
    )
    counts.update((own, None, None, None, why) for own, why in skipped)
    custom = {label for key in counts for label in (key[1], key[3])} - {None, *EMOTIONS}
    place = (*EMOTIONS, *sorted(custom), None).index
    order = sorted(
        counts, key=lambda key: (key[0], place(key[1]), key[2] or "", place(key[3]), key[4] or "")
    )
    return [Source(*key, counts[key]) for key in order]


def sources_table(sources: Sequence[Source]) -> str:
    """The sources as lines to print, each emotion with the files' own word in parentheses if that
    differs.
    """
    rows = [("corpus", "emotion", "clips", "class")]
    for source in sources:
        outcome = source.label or f"left out: {source.left_out}"
        word = f" ({source.word})" if source.word not in (None, source.emotion) else ""
        # A file that was left out unread has no emotion.
        rows.append((source.corpus, (source.emotion or "-") + word, str(source.clips), outcome))
    first, second, third = (max(len(row[i]) for row in rows) for i in range(3))
    return "\n".join(
        f"{row[0]:<{first}}  {row[1]:<{second}}  {row[2]:>{third}}  {row[3]}" for row in rows
    )


def sources_facts(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """The sources for report.json."""
    return [dataclasses.asdict(source) for source in sources]
