"""Rules for one split: speaker-independent (by lists or shares of speakers) and random."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from statistics import mode

import numpy as np
from datasets import Dataset

from ..utils.errors import UserError
from ..utils.order import apportion
from .segments import units
from .settings import RandomSettings, SpeakerIndependentSettings
from .split import PARTS, Split, make_split, read_column, rows_where

# Number of random draws of groups, of which the best draw is used.
_DRAWS = 256
_RANGE = re.compile(r"(\d+)-(\d+)")


def draw_groups(
    dataset: Dataset, rows: Sequence[int], column: str, count: int, seed: int
) -> list[str]:
    """Choose `count` groups (values of `column`) to hold out.

    Of `_DRAWS` random draws, keep the one whose held-out part has every class and the most similar
    label and sex shares. If there are several corpora, groups are drawn for each corpus, in
    proportion to its number of groups. At least one group of each corpus is drawn (so there may be
    more than `count` groups), but never all its groups (so there may be fewer).

    Returns:
        The chosen groups, sorted.
    """
    pools = _by_corpus(dataset, rows, column)
    sizes = [len(set(_values(dataset, pool, column))) for pool in pools]
    if len(pools) > 1 and max(sizes) > 1:
        least = [min(1, size - 1) for size in sizes]
        most = [size - 1 for size in sizes]
        counts = apportion(count, sizes, least, most)
    else:
        pools = [rows]
        counts = [count]

    drawn: list[str] = []
    for pool, pool_count in zip(pools, counts, strict=True):
        if pool_count:
            drawn += _nearest(dataset, pool, column, pool_count, seed)
    return sorted(drawn)


def _by_corpus(dataset: Dataset, rows: Sequence[int], column: str) -> list[Sequence[int]]:
    """The rows of each corpus, or one list of all rows if a group is in several corpora.

    A sentence may be in several corpora, for example.
    """
    pools: dict[str, list[int]] = {}
    corpus_of_group: dict[str, str] = {}
    groups = _values(dataset, rows, column)
    corpora = _values(dataset, rows, "corpus")
    for row, group, corpus in zip(rows, groups, corpora, strict=True):
        if corpus_of_group.setdefault(group, corpus) != corpus:
            return [rows]
        pools.setdefault(corpus, []).append(row)
    return [pools[corpus] for corpus in sorted(pools)]


def _nearest(
    dataset: Dataset, rows: Sequence[int], column: str, count: int, seed: int
) -> list[str]:
    """Choose, of `_DRAWS` draws of `count` groups, the draw most similar to all groups together."""
    # scikit-learn is imported late, because the check of a recipe does not need it.
    from sklearn.model_selection import ShuffleSplit

    groups = sorted(set(_values(dataset, rows, column)))
    clips, sexes = _profiles(dataset, rows, column, groups)

    chosen = np.zeros((_DRAWS, len(groups)))
    draws = ShuffleSplit(n_splits=_DRAWS, test_size=count, random_state=seed).split(groups)
    for i, (_, drawn) in enumerate(draws):
        chosen[i, drawn] = 1

    # The number of classes that the drawn groups, or the other groups, lack.
    present = clips.sum(axis=0) > 0
    lacking = np.zeros(_DRAWS, dtype=int)
    for side in (chosen, 1 - chosen):
        lacking += ((side @ clips == 0) & present).sum(axis=1)

    profiles = np.hstack([clips, sexes])
    unlike = np.abs(chosen @ profiles / count - profiles.mean(axis=0)).sum(axis=1)

    best = np.lexsort((unlike, lacking))[0]
    return [group for group, drawn in zip(groups, chosen[best], strict=True) if drawn]


def _profiles(
    dataset: Dataset, rows: Sequence[int], column: str, groups: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The number of clips per label, and the share of each sex, for each group.

    Numbers of clips are scaled so that all labels together have the same weight as sex.

    Returns:
        Arrays of (groups, labels) and of (groups, 2).
    """
    index = {group: i for i, group in enumerate(groups)}
    clips = np.zeros((len(groups), len(dataset.features["label"].names)))
    sexes = np.zeros((len(groups), 2))

    group_of_row = _values(dataset, rows, column)
    labels = _values(dataset, rows, "label")
    sex_of_row = _values(dataset, rows, "sex")
    for group, label, sex in zip(group_of_row, labels, sex_of_row, strict=True):
        if label >= 0:  # a clip without a label has -1
            clips[index[group], label] += 1
        sexes[index[group]] += [sex == "female", sex == "male"]

    sexes /= np.maximum(sexes.sum(axis=1, keepdims=True), 1)
    clips /= max(clips.sum(axis=1).mean(), 1)
    return clips, sexes


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """The training and validation rows of a draw.

    `apart` are the columns without a shared value, and `notes` are for readers of the results.
    """

    train: list[int]
    validation: list[int]
    apart: tuple[str, ...]
    notes: tuple[str, ...]


def hold_out(
    dataset: Dataset, rows: Sequence[int], share: float, seed: int, by: str = "speaker"
) -> HeldOut:
    """Divide the rows that are not test rows into train and validation.

    Validation is a share of the groups (values of the column `by`), drawn from each corpus in
    proportion. If only one group is left, as with the two speakers of TESS, it is a share of the
    sentences.
    """
    column = by
    apart = ("speaker", "session") if by == "session" else (by,)
    notes: tuple[str, ...] = ()

    groups = set(_values(dataset, rows, by))
    if len(groups) < 2:
        sentences = set(_values(dataset, rows, "sentence"))
        if len(sentences) < 2 or None in sentences:
            raise UserError(
                f"protocol.validation: only {by} {', '.join(sorted(groups))} is left for training, "
                "and its clips have no sentences to hold out; choose fewer test speakers"
            )
        column = "sentence"
        groups = sentences
        apart = ("sentence",)
        notes = (
            "Validation is held-out sentences of the training speakers, as only one "
            f"{by} is left for training: it measures new sentences, not new speakers.",
        )

    count = min(max(1, round(share * len(groups))), len(groups) - 1)
    drawn = set(draw_groups(dataset, rows, column, count, seed))
    values = read_column(dataset, column)
    train = [row for row in rows if values[row] not in drawn]
    validation = [row for row in rows if values[row] in drawn]

    notes += absent_corpora(dataset, {"train": train, "validation": validation})
    return HeldOut(train, validation, apart, notes)


def absent_corpora(dataset: Dataset, parts: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """Notes about corpora that have no clip in one of the parts."""
    corpora_of_part = {part: set(_values(dataset, rows, "corpus")) for part, rows in parts.items()}
    everywhere = sorted(set().union(*corpora_of_part.values()))

    # {parts without clips of a corpus, as text: the corpora}
    missing: dict[str, list[str]] = {}
    for corpus in everywhere:
        lacking = [part for part, corpora in corpora_of_part.items() if corpus not in corpora]
        if lacking:
            missing.setdefault(" and ".join(lacking), []).append(corpus)
    return tuple(
        f"No clip of {', '.join(corpora)} in {where}." for where, corpora in missing.items()
    )


def _values(dataset: Dataset, rows: Sequence[int], column: str) -> list:
    values = read_column(dataset, column)
    return [values[row] for row in rows]


def by_speaker(dataset: Dataset, settings: SpeakerIndependentSettings) -> Split:
    """Split by speaker: each speaker is in one of train, validation and test.

    A share of the speakers is drawn from each corpus in proportion (`draw_groups`). If only one
    speaker is left after the draw for the test, as in TESS, validation is a share of the sentences
    of that speaker.

    Raises:
        UserError: for an unknown speaker, a speaker in two parts, a part without speakers, or a
            part without clips of a class.
    """
    everyone = sorted(set(read_column(dataset, "speaker")))
    speakers_of = _listed_speakers(settings, everyone)
    train_is_listed = "train" in speakers_of

    for part, share in (("test", settings.test), ("validation", settings.validation)):
        if part in speakers_of:
            continue
        candidates = _not_in(speakers_of, everyone)
        if part == "validation" and not train_is_listed and len(candidates) == 1:
            return _with_held_out_sentences(
                dataset, candidates, speakers_of["test"], share=share, seed=settings.seed
            )
        speakers_of[part] = _draw_speakers(
            dataset,
            candidates,
            share=share,
            total=len(everyone),
            left=0 if train_is_listed else 1,
            seed=settings.seed,
            key=f"protocol.{part}",
        )

    if not train_is_listed:
        speakers_of["train"] = _not_in(speakers_of, everyone)
        if not speakers_of["train"]:
            raise UserError(
                "protocol.train: no speaker is left for training; choose fewer for validation or "
                "test"
            )
    rows = {part: rows_where(dataset, "speaker", speakers_of[part]) for part in PARTS}
    notes = absent_corpora(dataset, rows)
    return make_split("speaker_independent", dataset, rows, notes=notes)


def _listed_speakers(
    settings: SpeakerIndependentSettings, everyone: Sequence[str]
) -> dict[str, list[str]]:
    """The speakers of each part for which the settings list speakers, and not a share."""
    requested = {"train": settings.train, "validation": settings.validation, "test": settings.test}
    speakers_of: dict[str, list[str]] = {}
    part_of: dict[str, str] = {}
    for part, wanted in requested.items():
        if not isinstance(wanted, list):
            continue
        key = f"protocol.{part}"
        speakers_of[part] = match_speakers(wanted, everyone, key)
        for speaker in speakers_of[part]:
            if part_of.setdefault(speaker, part) != part:
                raise UserError(
                    f"{key}: speaker {speaker} is also in {part_of[speaker]}; list each once"
                )
    return speakers_of


def _not_in(speakers_of: Mapping[str, Sequence[str]], everyone: Sequence[str]) -> list[str]:
    """The speakers that are in no part yet."""
    return sorted(set(everyone).difference(*speakers_of.values()))


def _draw_speakers(
    dataset: Dataset,
    candidates: list[str],
    *,
    share: float,
    total: int,
    left: int,
    seed: int,
    key: str,
) -> list[str]:
    """Draw a share of `total` speakers from the candidates; at least `left` candidates remain."""
    count = max(1, round(share * total))
    most = max(0, len(candidates) - left)
    if count > most:
        raise UserError(
            f"{key}: {share} of {total} speakers is {count}; at most {most} can be drawn; "
            "use a smaller share or more speakers, or protocol.name=sentence_disjoint, which "
            "tests new sentences of the same speakers"
        )
    if count == len(candidates):
        return candidates
    rows = rows_where(dataset, "speaker", candidates)
    return draw_groups(dataset, rows, "speaker", count, seed)


def _with_held_out_sentences(
    dataset: Dataset, others: list[str], tested: list[str], *, share: float, seed: int
) -> Split:
    """Split two speakers: validation is a share of the sentences of the training speaker."""
    held_out = hold_out(dataset, rows_where(dataset, "speaker", others), share, seed)
    rows = {
        "train": held_out.train,
        "validation": held_out.validation,
        "test": rows_where(dataset, "speaker", tested),
    }
    return make_split(
        "speaker_independent",
        dataset,
        rows,
        validation_apart=held_out.apart,
        notes=held_out.notes,
    )


def match_speakers(wanted: Sequence[int | str], speakers: Sequence[str], key: str) -> list[str]:
    """Find the speakers of a corpus that a recipe names in short forms.

    A form is a number or name (`17`, `ravdess:17`), or a range of numbers (`1-16`).
    """
    matched: list[str] = []
    for item in wanted:
        for form in _forms(item, key):
            matches = [speaker for speaker in speakers if _is(speaker, form)]
            if not matches:
                raise UserError(f"{key}: no speaker {form}; the corpus has {', '.join(speakers)}")
            if len(matches) > 1:
                raise UserError(f"{key}: {form} may be {' or '.join(matches)}; write the full name")
            matched += matches
    return matched


def _forms(item: int | str, key: str) -> Sequence[int | str]:
    """The numbers of a range, or the item itself."""
    bounds = _RANGE.fullmatch(item) if isinstance(item, str) else None
    if bounds is None:
        return [item]
    numbers = range(int(bounds[1]), int(bounds[2]) + 1)
    if not numbers:
        raise UserError(f"{key}: {item} is not a range; write the smaller number first")
    return numbers


def _is(speaker: str, form: int | str) -> bool:
    """Whether a user's spelling means this speaker.

    `form` is the full key, the key without its corpus, or an equal number.
    """
    bare = speaker.partition(":")[2]
    if speaker == form or bare == str(form):
        return True
    return bare.isdecimal() and str(form).isdecimal() and int(bare) == int(form)


def at_random(dataset: Dataset, settings: RandomSettings) -> Split:
    """Split clips at random: **leaky**, the test speakers are in training too.

    `random_stratified` gives all parts equal shares of each label.
    """
    stratified = settings.name == "random_stratified"
    everything = np.arange(len(dataset))
    rest, tested = draw_clips(
        dataset,
        everything,
        settings.test,
        seed=settings.seed,
        stratified=stratified,
        key="protocol.test",
    )
    train, validated = draw_clips(
        dataset,
        rest,
        settings.validation / (1 - settings.test),
        seed=settings.seed,
        stratified=stratified,
        key="protocol.validation",
    )
    rows = {"train": train.tolist(), "validation": validated.tolist(), "test": tested.tolist()}
    return make_split(settings.name, dataset, rows, test_apart=(), validation_apart=())


def draw_clips(
    dataset: Dataset,
    rows: Sequence[int],
    share: float,
    *,
    seed: int,
    stratified: bool,
    key: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a share of the rows at random, with labels in proportion if `stratified`.

    The segments of a recording stay together; they count as one clip, with their most frequent
    label.

    Returns:
        The rows that were not drawn, and the drawn rows.
    """
    from sklearn.model_selection import train_test_split

    groups = units(dataset, rows)
    label_of_row = read_column(dataset, "label")
    labels = None
    if stratified:
        labels = [mode(label_of_row[row] for row in group) for group in groups]
    try:
        rest, drawn = train_test_split(
            np.arange(len(groups)), test_size=share, random_state=seed, stratify=labels
        )
    except ValueError as error:
        raise UserError(
            f"{key}: {len(groups)} clips cannot be divided by {share:g}: {error}"
        ) from None
    return _rows_of(groups, rest), _rows_of(groups, drawn)


def _rows_of(groups: Sequence[Sequence[int]], chosen: Sequence[int]) -> np.ndarray:
    """The rows of the chosen groups."""
    return np.asarray([row for position in chosen for row in groups[position]])
