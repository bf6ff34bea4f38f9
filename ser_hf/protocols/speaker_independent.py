"""Speaker-independent: train, validation and test share no speaker.

Each part is a list of speakers, or a share of them drawn so that labels and sexes come out in proportion.
"""

import re
from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from sklearn.model_selection import GroupShuffleSplit

from ..errors import UserError
from .split import PARTS, Split, split_by_speakers

NAME = "speaker_independent"
_DRAWS = 256
_RANGE = re.compile(r"(\d+)-(\d+)")


def speaker_independent(
    dataset: Dataset,
    train: Sequence[int | str] | None = None,
    validation: float | Sequence[int | str] = 0.15,
    test: float | Sequence[int | str] = 0.2,
    seed: int = 0,
) -> Split:
    """Splits by speaker.

    Args:
        train: speakers to learn from; by default all that the other parts leave.
        validation, test: speakers (``17``, ``"ravdess:17"`` or the range ``"17-20"``), or a share of all speakers. Of
            `_DRAWS` random draws the one nearest the corpus's proportions of labels and sexes is taken.
        seed: of the draws.

    Raises:
        UserError: for an unknown speaker, a speaker in two parts, too few speakers, a class missing from a part.
    """
    everyone = sorted(set(dataset["speaker"]))
    parts: dict[str, list[str]] = {}
    for part, wanted in zip(PARTS, (train, validation, test), strict=True):
        if isinstance(wanted, Sequence) and not isinstance(wanted, str):
            parts[part] = match_speakers(wanted, everyone, f"protocol.{part}")
    for part, share in (("test", test), ("validation", validation)):
        if part not in parts:
            taken = {speaker for speakers in parts.values() for speaker in speakers}
            candidates = sorted(set(everyone) - taken)
            # Train needs a speaker left over, unless its own are listed.
            most = len(candidates) - ("train" not in parts)
            parts[part] = _draw(dataset, candidates, share, len(everyone), most, seed, part)
    if "train" not in parts:
        parts["train"] = sorted(set(everyone) - set(parts["validation"]) - set(parts["test"]))
        if not parts["train"]:
            raise UserError("protocol.train: the other parts leave no speaker to learn from")
    return split_by_speakers(NAME, dataset, parts)


def match_speakers(wanted: Sequence[int | str], speakers: Sequence[str], key: str) -> list[str]:
    """The corpus's speakers that a recipe's short forms mean: `17` and `ravdess:17` alike, `1-16` as a range."""
    found: list[str] = []
    for item in wanted:
        bounds = _RANGE.fullmatch(item) if isinstance(item, str) else None
        forms = range(int(bounds[1]), int(bounds[2]) + 1) if bounds else [item]
        if not forms:
            raise UserError(f"{key}: {item} is no range; write the smaller number first")
        for form in forms:
            matches = [speaker for speaker in speakers if _is(speaker, form)]
            if not matches:
                raise UserError(f"{key}: no speaker {form}; the corpus has {', '.join(speakers)}")
            if len(matches) > 1:
                raise UserError(f"{key}: {form} may be {' or '.join(matches)}; write the whole name")
            found += matches
    if not found:
        raise UserError(f"{key}: an empty list of speakers")
    return found


def _is(speaker: str, form: int | str) -> bool:
    bare = speaker.partition(":")[2]
    if speaker == form or bare == str(form):
        return True
    return bare.isdigit() and str(form).isdigit() and int(bare) == int(form)


def _draw(
    dataset: Dataset, candidates: list[str], share: float, total: int, most: int, seed: int, part: str
) -> list[str]:
    if not 0 < share < 1:
        raise UserError(f"protocol.{part}: a share lies between 0 and 1, got {share}")
    count = max(1, round(share * total))
    if count > most:
        raise UserError(f"protocol.{part}: {share} of {total} speakers is {count}, but only {most} can be drawn")
    if count == len(candidates):
        return candidates
    profiles = _profiles(dataset, candidates)
    wanted = profiles.mean(axis=0)
    draws = GroupShuffleSplit(n_splits=_DRAWS, test_size=count, random_state=seed)
    best = min(
        (drawn for _, drawn in draws.split(profiles, groups=np.arange(len(candidates)))),
        key=lambda drawn: float(np.abs(profiles[drawn].mean(axis=0) - wanted).sum()),
    )
    return sorted(candidates[i] for i in best)


def _profiles(dataset: Dataset, speakers: list[str]) -> np.ndarray:
    """Clips per label, and sex, of each speaker, scaled so that labels together weigh as much as sex."""
    names = dataset.features["label"].names
    index = {speaker: i for i, speaker in enumerate(speakers)}
    labels = np.zeros((len(speakers), len(names)))
    sexes = np.zeros((len(speakers), 2))
    for speaker, label, sex in zip(dataset["speaker"], dataset["label"], dataset["sex"], strict=True):
        if speaker in index:
            labels[index[speaker], label] += 1
            if sex in ("female", "male"):
                sexes[index[speaker]] = [sex == "female", sex == "male"]
    return np.hstack([labels / max(labels.sum(axis=1).mean(), 1), sexes])
