"""Mapping of the emotions of a corpus to the classes of a recipe, by merging and dropping."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from ..utils.errors import UserError
from .schema import EMOTIONS, Clip


class RuleProblem(NamedTuple):
    """A problem in the key `merge` or `drop`, with its message."""

    key: Literal["merge", "drop"]
    message: str


def rule_problem(
    merge: Mapping[str, str], drop: Sequence[str], custom: Sequence[str]
) -> RuleProblem | None:
    """Find an unknown emotion or a contradiction in `merge` and `drop`; None if they are right.

    Args:
        merge: emotion -> its class.
        drop: emotions whose clips are left out.
        custom: labels that are valid besides the canonical emotions.
    """
    emotions_of_key = {"merge": [*merge, *merge.values()], "drop": drop}
    for key, emotions in emotions_of_key.items():
        problem = _unknown_emotion(emotions, custom)
        if problem is not None:
            return RuleProblem(key, problem)
    for emotion in drop:
        if emotion in merge or emotion in merge.values():
            return RuleProblem("drop", f"{emotion!r} is also merged; keep one of the two")
    for emotion, target in merge.items():
        if emotion != target and merge.get(target, target) != target:
            message = f"{emotion!r} is merged into {target!r}, which is merged itself"
            return RuleProblem("merge", message)
    return None


@dataclasses.dataclass(frozen=True)
class Rule:
    """The checked values of `merge` and `drop` in one section of a recipe.

    `rule[emotion]` is the class of an emotion. `emotion in rule` is True if the emotion is merged
    or dropped.

    Attributes:
        merge: emotion -> its class.
        drop: emotions whose clips are left out.
        key: the full key of the section, for messages.
        custom: labels that are valid besides the canonical emotions.

    Raises:
        UserError: for an unknown emotion or a contradiction.
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
        """The class of an emotion; None if the emotion is dropped."""
        return None if emotion in self.drop else self.merge.get(emotion, emotion)


@dataclasses.dataclass(frozen=True)
class Treatment:
    """The result of `treat_labels`.

    Attributes:
        labels: the classes, in the order of their ids.
        emotions: the class of each clip; None if the clip is dropped.
        votes: the votes of each clip as probabilities over the classes, or None for a clip without
            votes; None instead of the list if no clip has votes.
    """

    labels: list[str]
    emotions: list[str | None]
    votes: list[list[float] | None] | None


@dataclasses.dataclass(frozen=True)
class _Rules:
    """The common rule, and the rules of single corpora of a mixture, which take precedence."""

    common: Rule
    rule_of_corpus: Mapping[str, Rule]

    def all(self) -> list[Rule]:
        return [self.common, *self.rule_of_corpus.values()]

    def rule(self, corpus: str | None, emotion: str) -> Rule:
        """The rule that applies to an emotion of a corpus."""
        rule = self.rule_of_corpus.get(corpus, self.common)
        return rule if emotion in rule else self.common

    def class_of(self, corpus: str | None, emotion: str) -> str | None:
        """The class of an emotion of a corpus; None if the emotion is dropped."""
        return self.rule(corpus, emotion)[emotion]


def treat_labels(
    clips: Sequence[Clip],
    labels: Sequence[str] | None = None,
    merge: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    rule_of_corpus: Mapping[str, Rule] | None = None,
    least: int = 2,
) -> Treatment:
    """Map the emotion of each clip to a class.

    Args:
        labels: the classes, in the order of their ids; by default all emotions that remain after
            merging and dropping, in canonical order, and then the custom labels.
        merge: emotion -> its class, such as ``{"calm": "neutral"}``.
        drop: emotions whose clips are left out.
        rule_of_corpus: corpus -> the rule of its clips, which takes precedence over `merge` and
            `drop`.
        least: the smallest valid number of classes.

    Raises:
        UserError: for unknown or contradicting labels, or too few classes; the message names the
            key.
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
    return _apply_votes(clips, targets, classes, rules)


def custom_labels(clips: Iterable[Clip]) -> list[str]:
    """The labels of the clips that are not canonical emotions, sorted.

    Only clips of a table can have such labels (`corpus.custom_labels`).
    """
    return sorted({clip.emotion for clip in clips}.difference(EMOTIONS))


def _check_labels(labels: Sequence[str], rules: _Rules, custom: Sequence[str]) -> None:
    """Raise a UserError for an unknown or repeated label, or one that contradicts the rules."""
    problem = _unknown_emotion(labels, custom)
    if problem is not None:
        raise UserError(f"corpus.labels: {problem}")
    for rule in rules.all():
        for emotion, target in rule.merge.items():
            if target not in labels:
                raise UserError(
                    f"{rule.key}.merge: {emotion!r} is merged into {target!r}, which is not in "
                    f"corpus.labels; list it there, or drop {emotion!r}"
                )
    if len(set(labels)) != len(labels):
        raise UserError(f"corpus.labels: expected each label once, got {', '.join(labels)}")
    for label in labels:
        stays_in_a_corpus = any(
            rule.merge.get(label) == label for rule in rules.rule_of_corpus.values()
        )
        if label in rules.common and not stays_in_a_corpus:
            raise UserError(f"corpus.labels: {label!r} is listed, but also merged or dropped")


def _check_merges(clips: Sequence[Clip], rules: _Rules) -> None:
    """Raise a UserError if an emotion is merged into one that is itself dropped or merged.

    This is possible if a rule of a corpus merges the first emotion and the common rule treats the
    second, or the other way round.
    """
    for corpus, emotion in dict.fromkeys((clip.corpus, clip.emotion) for clip in clips):
        rule = rules.rule(corpus, emotion)
        target = rule[emotion]
        if target is None or target == emotion:
            continue
        rule_of_target = rules.rule(corpus, target)
        class_of_target = rule_of_target[target]
        if class_of_target != target:
            key = f"{rule_of_target.key}.{'drop' if class_of_target is None else 'merge'}"
            raise UserError(
                f"{rule.key}.merge: {emotion!r} is merged into {target!r}, "
                f"which is also in {key}; remove one"
            )


def _check_classes(
    clips: Sequence[Clip], targets: Sequence[str | None], classes: Sequence[str], rules: _Rules
) -> None:
    """Raise a UserError for an emotion that is not listed, or a listed label without clips."""
    unlisted = [
        clip
        for clip, target in zip(clips, targets, strict=True)
        if target is not None and target not in classes
    ]
    if unlisted:
        first = unlisted[0]
        count = sum(clip.emotion == first.emotion for clip in unlisted)
        key = rules.rule_of_corpus.get(first.corpus, rules.common).key
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


def _apply_votes(
    clips: Sequence[Clip],
    targets: Sequence[str | None],
    classes: list[str],
    rules: _Rules,
) -> Treatment:
    """Convert the votes to probabilities, and give each clip with votes the class with most votes.

    Args:
        targets: the class of each clip before the votes are applied; None if the clip is dropped.
    """
    has_votes = any(
        clip.votes and target is not None for clip, target in zip(clips, targets, strict=True)
    )
    if not has_votes:
        return Treatment(classes, list(targets), None)
    emotions = []
    votes = []
    for clip, target in zip(clips, targets, strict=True):
        shares = _shares(clip, target, classes, rules)
        # If classes tie, the clip keeps its class if that is one of them.
        if shares is not None and shares[classes.index(target)] < max(shares):
            emotions.append(classes[shares.index(max(shares))])
        else:
            emotions.append(target)
        votes.append(shares)
    return Treatment(classes, emotions, votes)


def _shares(
    clip: Clip, target: str | None, classes: Sequence[str], rules: _Rules
) -> list[float] | None:
    """Convert the votes of a clip to probabilities over the classes; None without votes.

    Votes for emotions that belong to no class are ignored.
    """
    if not clip.votes or target is None:
        return None
    sums = dict.fromkeys(classes, 0.0)
    for emotion, votes in clip.votes.items():
        label = rules.class_of(clip.corpus, emotion)
        if label in sums:  # the label of a dropped emotion is None
            sums[label] += votes
    total = sum(sums.values())
    if total:
        return [value / total for value in sums.values()]
    # All votes are for emotions that belong to no class: the clip's class gets probability 1.
    return [float(label == target) for label in classes]


def _unknown_emotion(emotions: Iterable[str], custom: Sequence[str]) -> str | None:
    """The message for the first unknown emotion; None if all are canonical or custom labels."""
    valid_labels = (*EMOTIONS, *custom)
    for emotion in emotions:
        if emotion not in valid_labels:
            nearest = difflib.get_close_matches(emotion, valid_labels, n=1, cutoff=0.0)[0]
            return f"{emotion!r} is not a canonical emotion; the nearest is {nearest!r}"
    return None
