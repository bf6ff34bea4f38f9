"""Rules for one split: speaker-independent (by lists or shares of speakers) and random."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset

from ..utils.errors import UserError
from ..utils.order import apportion
from .split import PARTS, Split, make_split, read_column, rows_where

_DRAWS = 256
_RANGE = re.compile(r"(\d+)-(\d+)")


def draw_groups(
    dataset: Dataset, rows: Sequence[int], column: str, count: int, seed: int
) -> list[str]:
    """Draw `count` values of `column` in `rows`: the best of `_DRAWS` draws, with every class on
    both sides if possible and similar labels and sexes.

    Each of several corpora has its own draw, in proportion to its groups: at least one group, which
    may give more than `count`, and never all groups, which may give fewer.
    """
    pools = _by_corpus(dataset, rows, column)
    sizes = [len(set(_values(dataset, own, column))) for own in pools]
    if len(pools) > 1 and max(sizes) > 1:
        least = [min(1, size - 1) for size in sizes]
        most = [size - 1 for size in sizes]
        counts = apportion(count, sizes, least, most)
    else:
        pools = [rows]
        counts = [count]
    drawn = [
        _nearest(dataset, own, column, n, seed) for own, n in zip(pools, counts, strict=True) if n
    ]
    return sorted(group for own in drawn for group in own)


def _by_corpus(dataset: Dataset, rows: Sequence[int], column: str) -> list[Sequence[int]]:
    """The rows of each corpus; all together if a group (a sentence) is in several."""
    pools: dict[str, list[int]] = {}
    home: dict[str, str] = {}
    columns = (_values(dataset, rows, name) for name in (column, "corpus"))
    for row, group, corpus in zip(rows, *columns, strict=True):
        if home.setdefault(group, corpus) != corpus:
            return [rows]
        pools.setdefault(corpus, []).append(row)
    return [pools[corpus] for corpus in sorted(pools)]


def _nearest(
    dataset: Dataset, rows: Sequence[int], column: str, count: int, seed: int
) -> list[str]:
    groups = sorted(set(_values(dataset, rows, column)))
    # late, so that the check of a recipe does not wait for it
    from sklearn.model_selection import ShuffleSplit

    classes = len(dataset.features["label"].names)
    # Clips per label, and sex, of each group; all labels together have the weight of sex.
    index = {group: i for i, group in enumerate(groups)}
    clips = np.zeros((len(groups), classes))
    sexes = np.zeros((len(groups), 2))
    columns = (_values(dataset, rows, name) for name in (column, "label", "sex"))
    for group, label, sex in zip(*columns, strict=True):
        clips[index[group], label] += 1
        sexes[index[group]] += [sex == "female", sex == "male"]
    sexes /= np.maximum(sexes.sum(axis=1, keepdims=True), 1)
    clips /= max(clips.sum(axis=1).mean(), 1)
    profiles = np.hstack([clips, sexes])
    chosen = np.zeros((_DRAWS, len(groups)))
    draws = ShuffleSplit(n_splits=_DRAWS, test_size=count, random_state=seed).split(groups)
    for i, (_, drawn) in enumerate(draws):
        chosen[i, drawn] = 1
    lacking = sum(
        ((side @ clips == 0) & (clips.sum(axis=0) > 0)).sum(axis=1) for side in (chosen, 1 - chosen)
    )
    unlike = np.abs(chosen @ profiles / count - profiles.mean(axis=0)).sum(axis=1)
    best = np.lexsort((unlike, lacking))[0]
    return [group for group, drawn in zip(groups, chosen[best], strict=True) if drawn]


def hold_out(
    dataset: Dataset, rows: Sequence[int], share: float, seed: int, by: str = "speaker"
) -> tuple[list[int], list[int], tuple[str, ...], tuple[str, ...]]:
    """Divide the rows that are not tested into train and validation.

    Validation is a share of the groups (speakers, or `by`), of each corpus in proportion; if only
    one is left, as with TESS's two speakers, a share of its sentences. Also returns the columns
    that they keep apart, and notes.
    """
    check_share("protocol.validation", share)
    column = by
    apart = ("speaker", "session") if by == "session" else (by,)
    notes = ()
    groups = set(_values(dataset, rows, by))
    if len(groups) < 2:
        sentences = set(_values(dataset, rows, "sentence"))
        if len(sentences) < 2 or None in sentences:
            raise UserError(
                f"protocol.validation: only {by} {', '.join(sorted(groups))} is left for training, and its clips "
                "have no sentences to hold out; choose fewer test speakers"
            )
        column = "sentence"
        groups = sentences
        apart = ("sentence",)
        notes = (
            f"Validation is held-out sentences of the training speakers, as only one {by} is left for training: it "
            "measures new sentences, not new speakers.",
        )
    count = min(max(1, round(share * len(groups))), len(groups) - 1)
    drawn = set(draw_groups(dataset, rows, column, count, seed))
    values = read_column(dataset, column)
    train, validation = (
        [row for row in rows if (values[row] in drawn) == held] for held in (False, True)
    )
    return (
        train,
        validation,
        apart,
        notes + absent_corpora(dataset, {"train": train, "validation": validation}),
    )


def absent_corpora(dataset: Dataset, parts: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """Notes on corpora without a clip in some part."""
    found = {part: set(_values(dataset, rows, "corpus")) for part, rows in parts.items()}
    missing: dict[str, list[str]] = {}
    for corpus in sorted(set().union(*found.values())):
        lacking = [part for part in found if corpus not in found[part]]
        if lacking:
            missing.setdefault(" and ".join(lacking), []).append(corpus)
    return tuple(
        f"No clip of {', '.join(corpora)} in {where}." for where, corpora in missing.items()
    )


def check_share(key: str, share: float) -> None:
    if not 0 < share < 1:
        raise UserError(f"{key}: expected a share between 0 and 1, got {share}")


def _values(dataset: Dataset, rows: Sequence[int], column: str) -> list:
    values = read_column(dataset, column)
    return [values[row] for row in rows]


def speaker_independent(
    dataset: Dataset,
    train: list[int | str] | None = None,
    validation: float | list[int | str] = 0.15,
    test: float | list[int | str] = 0.2,
    seed: int = 0,
) -> Split:
    """Split by speaker: each speaker is in one of train, validation and test.

    Example: `split = ser_hf.speaker_independent(dataset, validation=0.2, test=["17-20"])`

    Args:
        train: training speakers; by default all others.
        validation, test: speakers (``17``, ``"ravdess:17"`` or the range ``"17-20"``), or a share
            of all speakers (`draw_groups`), of each corpus in proportion. If test leaves one
            speaker, as in TESS, a share for validation holds out sentences of that speaker.

    Returns:
        The split, with row numbers, ids and speakers of each part.

    Raises:
        UserError: for an unknown speaker, one in two parts, a part without speakers, or without
            clips of a class.
    """
    everyone = sorted(set(read_column(dataset, "speaker")))
    parts: dict[str, list[str]] = {}
    part_of: dict[str, str] = {}
    for part, wanted in zip(PARTS, (train, validation, test), strict=True):
        if isinstance(wanted, float | int):
            check_share(f"protocol.{part}", wanted)
        elif wanted is not None:
            wanted = [wanted] if isinstance(wanted, str) else wanted
            parts[part] = match_speakers(wanted, everyone, f"protocol.{part}")
            for speaker in parts[part]:
                if part_of.setdefault(speaker, part) != part:
                    raise UserError(
                        f"protocol.{part}: speaker {speaker} is also in {part_of[speaker]}; list each once"
                    )
    apart = ("speaker",)
    notes = ()
    rows: dict[str, list[int]] = {}
    for part, share in (("test", test), ("validation", validation)):
        if part in parts:
            continue
        candidates = sorted(set(everyone).difference(*parts.values()))
        own = rows_where(dataset, "speaker", candidates)
        if part == "validation" and "train" not in parts and len(candidates) == 1:
            rows["train"], rows["validation"], apart, notes = hold_out(dataset, own, share, seed)
            break
        # Train needs a speaker unless it is listed.
        most = max(0, len(candidates) - ("train" not in parts))
        count = max(1, round(share * len(everyone)))
        if count > most:
            raise UserError(
                f"protocol.{part}: {share} of {len(everyone)} speakers is {count}; at most {most} can be drawn"
            )
        parts[part] = (
            candidates
            if count == len(candidates)
            else draw_groups(dataset, own, "speaker", count, seed)
        )
    if not rows:
        if "train" not in parts:
            parts["train"] = sorted(set(everyone).difference(*parts.values()))
            if not parts["train"]:
                raise UserError(
                    "protocol.train: no speaker is left for training; choose fewer for validation or test"
                )
        rows = {part: rows_where(dataset, "speaker", parts[part]) for part in PARTS}
        notes = absent_corpora(dataset, rows)
    rows.setdefault("test", rows_where(dataset, "speaker", parts["test"]))
    return make_split("speaker_independent", dataset, rows, validation_apart=apart, notes=notes)


def match_speakers(wanted: Sequence[int | str], speakers: Sequence[str], key: str) -> list[str]:
    """The speakers of a corpus from the short forms of a recipe: `17` or `ravdess:17`, and `1-16`
    as a range.
    """
    found: list[str] = []
    for item in wanted:
        bounds = _RANGE.fullmatch(item) if isinstance(item, str) else None
        forms = range(int(bounds[1]), int(bounds[2]) + 1) if bounds else [item]
        if not forms:
            raise UserError(f"{key}: {item} is not a range; write the smaller number first")
        for form in forms:
            matches = [speaker for speaker in speakers if _is(speaker, form)]
            if not matches:
                raise UserError(f"{key}: no speaker {form}; the corpus has {', '.join(speakers)}")
            if len(matches) > 1:
                raise UserError(f"{key}: {form} may be {' or '.join(matches)}; write the full name")
            found += matches
    if not found:
        raise UserError(f"{key}: an empty list of speakers")
    return found


def _is(speaker: str, form: int | str) -> bool:
    bare = speaker.partition(":")[2]
    if speaker == form or bare == str(form):
        return True
    return bare.isdecimal() and str(form).isdecimal() and int(bare) == int(form)


def random(dataset: Dataset, validation: float = 0.2, test: float = 0.1, seed: int = 0) -> Split:
    """Clips drawn at random, 70/20/10 by default: **leaky**, the test speakers are in training."""
    return _at_random("random", dataset, validation, test, seed, stratified=False)


def random_stratified(
    dataset: Dataset, validation: float = 0.2, test: float = 0.1, seed: int = 0
) -> Split:
    """As `random`, with each label in proportion in each part: also **leaky**."""
    return _at_random("random_stratified", dataset, validation, test, seed, stratified=True)


def _at_random(
    name: str, dataset: Dataset, validation: float, test: float, seed: int, stratified: bool
) -> Split:
    check_share("protocol.validation", validation)
    check_share("protocol.test", test)
    rest, tested = draw_clips(
        dataset, np.arange(len(dataset)), test, seed, stratified, "protocol.test"
    )
    train, validated = draw_clips(
        dataset, rest, validation / (1 - test), seed, stratified, "protocol.validation"
    )
    rows = {"train": train.tolist(), "validation": validated.tolist(), "test": tested.tolist()}
    return make_split(name, dataset, rows, test_apart=(), validation_apart=())


def draw_clips(
    dataset: Dataset, rows: np.ndarray, share: float, seed: int, stratified: bool, key: str
) -> tuple[np.ndarray, np.ndarray]:
    """The other rows, and a share drawn at random, with labels in proportion if `stratified`."""
    from sklearn.model_selection import train_test_split

    labels = np.asarray(read_column(dataset, "label"))[rows] if stratified else None
    try:
        return train_test_split(rows, test_size=share, random_state=seed, stratify=labels)
    except ValueError as error:
        raise UserError(
            f"{key}: {len(rows)} clips cannot be divided by {share:g}: {error}"
        ) from None
