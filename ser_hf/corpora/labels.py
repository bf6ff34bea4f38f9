"""From the emotions of a corpus to the classes of a recipe: listed, merged and dropped labels."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from ..utils.errors import UserError
from .schema import EMOTIONS, Clip


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
    """The result of `treat_labels`.

    Attributes:
        labels: the classes in order.
        emotions: the class of each clip; None if it is dropped.
        votes: of each clip as probabilities over the classes; None if no clip has votes.
    """

    labels: list[str]
    emotions: list[str | None]
    votes: list[list[float] | None] | None


@dataclasses.dataclass(frozen=True)
class _Rules:
    """The common rule, and the rules of single corpora of a mixture, which take precedence."""

    common: Rule
    of_corpus: Mapping[str, Rule]

    def all(self) -> list[Rule]:
        return [self.common, *self.of_corpus.values()]

    def rule(self, corpus: str | None, emotion: str) -> Rule:
        """The rule for an emotion of a corpus."""
        rule = self.of_corpus.get(corpus, self.common)
        return rule if emotion in rule else self.common

    def class_of(self, corpus: str | None, emotion: str) -> str | None:
        """The class of an emotion of a corpus; None if it is dropped."""
        return self.rule(corpus, emotion)[emotion]


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
        rule_of_corpus: corpus -> the rule of its clips, which takes precedence over `merge` and
            `drop`.

    Raises:
        UserError: naming the key, for unknown or contradicting labels, or too few classes.
    """
    custom = custom_labels(clips)
    rules = _Rules(Rule(merge or {}, drop, custom=custom), rule_of_corpus or {})
    if labels is not None:
        _check_labels(labels, rules, custom)
    _check_merges(clips, rules)

    targets = [rules.class_of(clip.corpus, clip.emotion) for clip in clips]
    present = set(targets) - {None}
    if labels is None:
        classes = [label for label in (*EMOTIONS, *custom) if label in present]
    else:
        classes = list(labels)
        _check_classes(clips, targets, classes, rules)
    if len(classes) < least:
        raise UserError(
            f"corpus.labels: at least two classes are needed, got {', '.join(classes) or 'none'}"
        )
    return _with_votes(clips, targets, classes, rules)


def custom_labels(clips: Iterable[Clip]) -> list[str]:
    """The labels of clips that are no canonical emotions, sorted.

    Only tables have some (`corpus.custom_labels`).
    """
    return sorted({clip.emotion for clip in clips}.difference(EMOTIONS))


def _check_labels(labels: Sequence[str], rules: _Rules, custom: Sequence[str]) -> None:
    """Refuse unknown and repeated labels, and contradictions to the rules."""
    problem = _unknown_emotion(labels, custom)
    if problem is not None:
        raise UserError(f"corpus.labels: {problem}")
    for rule in rules.all():
        for word, target in rule.merge.items():
            if target not in labels:
                raise UserError(
                    f"{rule.key}.merge: {word!r} is merged into {target!r}, which is not in "
                    f"corpus.labels; list it there, or drop {word!r}"
                )
    if len(set(labels)) != len(labels):
        raise UserError(f"corpus.labels: expected each label once, got {', '.join(labels)}")
    for word in labels:
        stays_in_a_corpus = any(rule.merge.get(word) == word for rule in rules.of_corpus.values())
        if word in rules.common and not stays_in_a_corpus:
            raise UserError(f"corpus.labels: {word!r} is listed, but also merged or dropped")


def _check_merges(clips: Sequence[Clip], rules: _Rules) -> None:
    """Refuse a merge into an emotion that another rule of the same corpus drops or merges."""
    for corpus, emotion in dict.fromkeys((clip.corpus, clip.emotion) for clip in clips):
        rule = rules.rule(corpus, emotion)
        target = rule[emotion]
        if target is None or target == emotion:
            continue
        other = rules.rule(corpus, target)
        end = other[target]
        if end != target:
            key = f"{other.key}.{'drop' if end is None else 'merge'}"
            raise UserError(
                f"{rule.key}.merge: {emotion!r} is merged into {target!r}, "
                f"which is also in {key}; remove one"
            )


def _check_classes(
    clips: Sequence[Clip], targets: Sequence[str | None], classes: Sequence[str], rules: _Rules
) -> None:
    """Refuse an emotion that is not listed, and a listed label without clips."""
    unlisted = [
        clip
        for clip, target in zip(clips, targets, strict=True)
        if target is not None and target not in classes
    ]
    if unlisted:
        first = unlisted[0]
        count = sum(clip.emotion == first.emotion for clip in unlisted)
        key = rules.of_corpus.get(first.corpus, rules.common).key
        raise UserError(
            f"corpus.labels: {first.emotion!r} ({count} clips, the first {first.path}) is not "
            f"listed; list it, or name it in {key}.merge or {key}.drop"
        )
    for label in classes:
        if label not in targets:
            emotions = sorted({clip.emotion for clip in clips})
            raise UserError(
                f"corpus.labels: no clip has the label {label!r}; "
                f"the corpus has {', '.join(emotions)}"
            )


def _with_votes(
    clips: Sequence[Clip],
    targets: Sequence[str | None],
    classes: list[str],
    rules: _Rules,
) -> Treatment:
    """The classes of the clips, and their votes; a clip with votes is of the class with most."""
    has_votes = any(
        clip.votes and target is not None for clip, target in zip(clips, targets, strict=True)
    )
    if not has_votes:
        return Treatment(classes, list(targets), None)
    emotions = []
    votes = []
    for clip, target in zip(clips, targets, strict=True):
        shares = _shares(clip, target, classes, rules)
        # The clip's own label wins a tie.
        if shares is not None and shares[classes.index(target)] < max(shares):
            emotions.append(classes[shares.index(max(shares))])
        else:
            emotions.append(target)
        votes.append(shares)
    return Treatment(classes, emotions, votes)


def _shares(
    clip: Clip, target: str | None, classes: Sequence[str], rules: _Rules
) -> list[float] | None:
    """Votes of a clip as probabilities over the classes, without votes for other emotions."""
    if not clip.votes or target is None:
        return None
    sums = dict.fromkeys(classes, 0.0)
    for emotion, votes in clip.votes.items():
        label = rules.class_of(clip.corpus, emotion)
        if label in sums:  # a dropped emotion is never a class
            sums[label] += votes
    total = sum(sums.values())
    if total:
        return [value / total for value in sums.values()]
    # All raters chose other emotions: only the clip's own label is left.
    return [float(label == target) for label in classes]


def _unknown_emotion(words: Iterable[str], custom: Sequence[str]) -> str | None:
    """The message for the first word that is no emotion and no custom label; None without any."""
    labels = (*EMOTIONS, *custom)
    for word in words:
        if word not in labels:
            nearest = difflib.get_close_matches(word, labels, n=1, cutoff=0.0)[0]
            return f"{word!r} is not a canonical emotion; the nearest is {nearest!r}"
    return None
