"""Reading of a corpus: from its settings to a dataset with one row per clip.

There are five steps: list the clips, leave out excluded clips, give each clip its class, count the
clips of each label, and make the dataset.
"""

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from ..utils.errors import UserError
from . import mixture
from .auxiliary import Auxiliary, read_auxiliary
from .catalog import CORPORA
from .labels import Rule, Treatment, custom_labels, treat_labels
from .mixture import Mixed
from .schema import NO_LABEL, Clip, Listing, is_unlabeled, require_unique_ids, to_dataset
from .settings import CorpusSettings
from .sources import LabelSource, Outcome, label_sources, sources_table
from .targets import is_rated, rating, scaled_targets

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus as a recipe selects it.

    Attributes:
        dataset: the rows.
        sources: the number and the class of the clips of each label, or why they are left out.
        weights: name of a corpus of the mixture -> its weight; empty for another corpus.
        ranges: target -> the range of its ratings, [lowest, highest].
        notes: sentences about the tables of the corpus and their speakers, for the report.
        auxiliary: names of the auxiliary corpora, whose rows are the last ones; they may be in the
            training split only.
        positive_share: the share of votes above which a class is true for a clip that may have
            several; None for 1 / the number of classes.
    """

    dataset: Dataset
    sources: list[LabelSource]
    weights: dict[str, float]
    ranges: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()
    auxiliary: frozenset[str] = frozenset()
    positive_share: float | None = None

    @property
    def main_rows(self) -> list[int]:
        """The rows that are not of auxiliary corpora. They come first."""
        corpora = self.dataset["corpus"][:]
        return [row for row, corpus in enumerate(corpora) if corpus not in self.auxiliary]


@dataclasses.dataclass(frozen=True)
class _Selection:
    """The clips of a listing, divided by `corpus.exclude`."""

    clips: list[Clip]
    excluded: list[Clip]


@dataclasses.dataclass(frozen=True)
class _Classes:
    """The clips with their classes.

    Attributes:
        clips: the clips that are not excluded.
        treatment: the classes, and the class of each clip.
        left_out: position of a clip that does not become a row -> the reason.
    """

    clips: list[Clip]
    treatment: Treatment
    left_out: dict[int, str]

    @property
    def kept(self) -> list[int]:
        """The positions of the clips that become rows."""
        return [i for i in range(len(self.clips)) if i not in self.left_out]


def read_corpus(settings: CorpusSettings, sampling_rate: int = 16000) -> Corpus:
    """Read a corpus, and log the class of each label in its files. The audio is not decoded.

    Args:
        settings: the settings, as `ser_hf.corpora.corpus_settings` makes them.
        sampling_rate: the sampling rate of the column `audio`, in Hz.

    Raises:
        UserError: for a wrong file, label, id or target, or if there is no clip.
    """
    listing = _list_clips(settings)
    _log_listing(listing)
    selection = _exclude(listing, settings)
    classes = _classify(selection.clips, listing, settings)
    _warn_of_idle_rules(classes.clips, listing, settings)
    sources = _count_sources(classes, selection, listing)
    names = list(_members(listing)) or [listing.corpus]
    auxiliary = read_auxiliary(settings, classes.treatment.labels, names)
    if auxiliary is not None:
        _log_listing(auxiliary.listing)
        auxiliary_classes = _Classes(
            auxiliary.listing.clips, auxiliary.treatment, auxiliary.left_out
        )
        nothing_excluded = _Selection(auxiliary.listing.clips, [])
        sources += _count_sources(auxiliary_classes, nothing_excluded, auxiliary.listing)
    logger.info("%s", sources_table(sources))
    return _make_corpus(classes, listing, sources, settings, sampling_rate, auxiliary=auxiliary)


def _log_listing(listing: Listing) -> None:
    """Log the accounts and notes of a corpus, and its skipped files."""
    for account in listing.accounts:
        logger.info("%s", account)
    _warn_of_skipped(listing)
    for note in listing.notes:
        logger.warning("%s", note)


def refusal(settings: CorpusSettings) -> str | None:
    """The message with which `read_corpus` refuses a corpus; None if it reads the corpus.

    An inspection describes a corpus with it, so that it decides as training does.
    """
    try:
        listing = _list_clips(settings)
        selection = _exclude(listing, settings)
        classes = _classify(selection.clips, listing, settings)
        _make_corpus(classes, listing, [], settings, sampling_rate=16000)
    except UserError as error:
        return str(error)
    return None


def _members(listing: Listing) -> Mapping[str, mixture.Member]:
    """Map the name of each corpus of a mixture to its member; empty if it is not a mixture."""
    return listing.members if isinstance(listing, Mixed) else {}


def _list_clips(settings: CorpusSettings) -> Listing:
    """List all clips of the corpus, sorted by their ids; a UserError if two ids are equal."""
    listing = CORPORA[settings.name].parse(settings)
    if not listing.clips:
        raise UserError(
            f"corpus.root: {settings.root} holds no clip of {settings.name} "
            f"({_reasons(listing.skipped)})"
        )
    clips = sorted(listing.clips, key=lambda clip: clip.id)
    require_unique_ids(clips)
    return dataclasses.replace(listing, clips=clips)


def _reasons(skipped: Sequence[tuple[str, str]]) -> str:
    """The number of skipped files or rows, and the most frequent reasons."""
    reasons = Counter(reason for _, reason in skipped).most_common(3)
    listed = "".join(f", {reason}: {count}" for reason, count in reasons)
    return f"{len(skipped)} left out{listed}"


def _warn_of_skipped(listing: Listing) -> None:
    """Log each reason for skipped files, with the number of files and the first of them."""
    paths_of_reason: dict[str, list[str]] = {}
    for path, reason in listing.skipped:
        paths_of_reason.setdefault(reason, []).append(path)
    for reason, paths in paths_of_reason.items():
        logger.warning("left out, %s: %d (first %s)", reason, len(paths), paths[0])


def _exclude(listing: Listing, settings: CorpusSettings) -> _Selection:
    """Leave out the clips that `corpus.exclude` names."""
    excluded_ids = set(settings.exclude)
    unknown_ids = excluded_ids.difference(clip.id for clip in listing.clips)
    if unknown_ids:
        raise UserError(
            f"corpus.exclude: no clip {min(unknown_ids)!r} (ids look like {listing.clips[0].id})"
        )
    return _Selection(
        clips=[clip for clip in listing.clips if clip.id not in excluded_ids],
        excluded=[clip for clip in listing.clips if clip.id in excluded_ids],
    )


def _classify(clips: list[Clip], listing: Listing, settings: CorpusSettings) -> _Classes:
    """Give each clip its class, and find the clips to leave out."""
    members = _members(listing)
    drop = list(settings.drop)
    if settings.partial and NO_LABEL not in drop and any(map(is_unlabeled, clips)):
        drop.append(NO_LABEL)
    treatment = treat_labels(
        clips,
        settings.labels,
        settings.merge,
        drop,
        rule_of_corpus={corpus: member.rule for corpus, member in members.items()},
        least=1 if settings.targets and not settings.partial else 2,
    )
    left_out = _without_targets(clips, treatment, settings)
    if isinstance(listing, Mixed):
        remaining = [clip for i, clip in enumerate(clips) if i not in left_out]
        mixture.require_clips_of_all(listing, remaining)
        left_out |= mixture.beyond_caps(listing, clips, treatment.emotions)
    return _Classes(clips, treatment, left_out)


def _without_targets(
    clips: Sequence[Clip], treatment: Treatment, settings: CorpusSettings
) -> dict[int, str]:
    """The positions of the clips without a class, or without a rating, with the reason.

    With `corpus.partial` a clip needs one of the two.
    """
    left_out = {}
    for i, emotion in enumerate(treatment.emotions):
        keeps_ratings = settings.partial and is_rated(clips[i], settings.targets)
        if emotion is None and not keeps_ratings:
            left_out[i] = "dropped"
    if settings.on_unknown == "skip" and not settings.partial:
        for target in settings.targets:
            for i, clip in enumerate(clips):
                if rating(clip, target) is None:
                    left_out[i] = f"no {target}"
    return left_out


def _warn_of_idle_rules(clips: Sequence[Clip], listing: Listing, settings: CorpusSettings) -> None:
    """Warn of emotions in `merge` and `drop` that have no effect on any clip."""
    rules = [Rule(settings.merge, settings.drop, custom=custom_labels(clips))]
    for member in _members(listing).values():
        rules.append(member.rule)
    present = set()
    for clip in clips:
        present.add(clip.emotion)
        present.update(clip.votes or ())
    for rule in rules:
        # In a mixture an emotion that is merged into itself has an effect: it is an exception from
        # the common rule.
        unchanged = set()
        if len(rules) == 1:
            unchanged = {emotion for emotion, target in rule.merge.items() if emotion == target}
        for key, emotions in {"merge": rule.merge, "drop": rule.drop}.items():
            idle = [
                emotion for emotion in emotions if emotion not in present or emotion in unchanged
            ]
            if idle:
                logger.warning(
                    "%s.%s: %s has no effect; leave it out", rule.key, key, ", ".join(idle)
                )


def _count_sources(classes: _Classes, selection: _Selection, listing: Listing) -> list[LabelSource]:
    """Count the clips and the skipped files by label, class and reason to leave them out."""
    outcomes = []
    for i, clip in enumerate(classes.clips):
        outcome = Outcome(clip, classes.treatment.emotions[i], classes.left_out.get(i))
        outcomes.append(outcome)
    for clip in selection.excluded:
        outcomes.append(Outcome(clip, None, "corpus.exclude"))
    listings = [member.listing for member in _members(listing).values()] or [listing]
    skipped = []
    for corpus_listing in listings:
        for _, reason in corpus_listing.skipped:
            skipped.append((corpus_listing.corpus, reason))
    return label_sources(outcomes, skipped, listing.corpus)


def _make_corpus(
    classes: _Classes,
    listing: Listing,
    sources: list[LabelSource],
    settings: CorpusSettings,
    sampling_rate: int,
    *,
    auxiliary: Auxiliary | None = None,
) -> Corpus:
    """Make the corpus from the clips that are kept, with their votes and targets.

    The rows of auxiliary corpora follow those of the corpus.
    """
    treatment = classes.treatment
    clips = [classes.clips[i] for i in classes.kept]
    emotions = [treatment.emotions[i] for i in classes.kept]
    votes = _votes_of(treatment, classes.kept)
    members = dict(_members(listing))
    notes = list(listing.notes)
    if auxiliary is not None:
        clips += [auxiliary.listing.clips[i] for i in auxiliary.kept]
        emotions += [auxiliary.treatment.emotions[i] for i in auxiliary.kept]
        votes += _votes_of(auxiliary.treatment, auxiliary.kept)
        members |= auxiliary.listing.members
        notes += auxiliary.listing.notes
        require_unique_ids(clips)
    targets = None
    if settings.targets:
        targets = scaled_targets(
            clips,
            settings.targets,
            settings.ranges,
            _ranges_of_corpora(listing, members, settings),
            partial=settings.partial,
        )
    dataset = to_dataset(
        Listing(listing.corpus, [_merge_emotion_columns(clip, settings.merge) for clip in clips]),
        emotions,
        treatment.labels,
        sampling_rate,
        votes=votes if any(shares is not None for shares in votes) else None,
        targets=None if targets is None else targets.rows,
    )
    return Corpus(
        dataset,
        sources,
        weights={corpus: member.item.weight for corpus, member in members.items()},
        ranges={} if targets is None else targets.ranges,
        notes=notes,
        auxiliary=frozenset() if auxiliary is None else auxiliary.corpora,
        positive_share=settings.positive_share,
    )


def _votes_of(treatment: Treatment, positions: Sequence[int]) -> list[list[float] | None]:
    """The votes of clips; None for each clip without votes."""
    if treatment.votes is None:
        return [None] * len(positions)
    return [treatment.votes[i] for i in positions]


def _ranges_of_corpora(
    listing: Listing, members: Mapping[str, mixture.Member], settings: CorpusSettings
) -> dict[str | None, Mapping[str, Any]]:
    """Map each corpus to the ranges of its ratings, which are a constant of its module.

    The key of the main corpus is None if it is not a mixture.
    """
    names: dict[str | None, str] = {}
    if not isinstance(listing, Mixed):
        names[None] = settings.name
    for corpus, member in members.items():
        names[corpus] = member.item.name
    return {corpus: getattr(CORPORA[name], "RANGES", {}) for corpus, name in names.items()}


def _merge_emotion_columns(clip: Clip, merge: Mapping[str, str]) -> Clip:
    """Merge the emotions in the columns `intended` and `perceived` like the label of the clip."""
    merged_columns = {}
    for column in ("intended", "perceived"):
        emotion = clip.extra.get(column)
        if emotion in merge:
            merged_columns[column] = merge[emotion]
    if not merged_columns:
        return clip
    return dataclasses.replace(clip, extra={**clip.extra, **merged_columns})
