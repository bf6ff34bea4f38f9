"""Speaker-independent: train, validation and test share no speaker.

Each part is a list of speakers, or a share of them drawn so that labels and sexes come out in proportion.
"""

import re
from collections.abc import Sequence

from datasets import Dataset

from ..errors import UserError
from .draws import absent_corpora, check_share, draw_groups, hold_out
from .split import PARTS, Split, make_split, read_column, rows_where

NAME = "speaker_independent"
_RANGE = re.compile(r"(\d+)-(\d+)")


def speaker_independent(
    dataset: Dataset,
    train: list[int | str] | None = None,
    validation: float | list[int | str] = 0.15,
    test: float | list[int | str] = 0.2,
    seed: int = 0,
) -> Split:
    """Splits by speaker.

    Args:
        train: speakers to learn from; by default all that the other parts leave.
        validation, test: speakers (``17``, ``"ravdess:17"`` or the range ``"17-20"``), or a share of all speakers
            (`ser_hf.protocols.draws.draw_groups`), of several corpora each in proportion. Where test leaves one
            speaker, as in TESS, a share for validation holds out sentences of that one.
        seed: of the draws.

    Raises:
        UserError: for an unknown speaker, a speaker in two parts, too few speakers, a class missing from a part.
    """
    everyone = sorted(set(read_column(dataset, "speaker")))
    parts: dict[str, list[str]] = {}
    for part, wanted in zip(PARTS, (train, validation, test), strict=True):
        if isinstance(wanted, str):
            parts[part] = match_speakers([wanted], everyone, f"protocol.{part}")
        elif isinstance(wanted, Sequence):
            parts[part] = match_speakers(wanted, everyone, f"protocol.{part}")
        elif wanted is not None:
            check_share(f"protocol.{part}", wanted)
    _require_disjoint(parts)
    for part, share in (("test", test), ("validation", validation)):
        if part in parts:
            continue
        taken = {speaker for speakers in parts.values() for speaker in speakers}
        candidates = sorted(set(everyone) - taken)
        if part == "validation" and "train" not in parts and len(candidates) == 1:
            return _with_held_out_sentences(dataset, candidates, parts["test"], share, seed)
        # Train needs a speaker left over, unless its own are listed.
        most = max(0, len(candidates) - ("train" not in parts))
        count = max(1, round(share * len(everyone)))
        if count > most:
            raise UserError(
                f"protocol.{part}: {share} of {len(everyone)} speakers is {count}, but only {most} can be drawn"
            )
        own = rows_where(dataset, "speaker", candidates)
        parts[part] = candidates if count == len(candidates) else draw_groups(dataset, own, "speaker", count, seed)
    if "train" not in parts:
        parts["train"] = sorted(set(everyone) - set(parts["validation"]) - set(parts["test"]))
        if not parts["train"]:
            raise UserError("protocol.train: the other parts leave no speaker to learn from")
    rows = {part: rows_where(dataset, "speaker", parts[part]) for part in PARTS}
    return make_split(NAME, dataset, rows, notes=absent_corpora(dataset, rows))


def _with_held_out_sentences(dataset: Dataset, left: list[str], test: list[str], share: float, seed: int) -> Split:
    train, validation, apart, notes = hold_out(dataset, rows_where(dataset, "speaker", left), share, seed)
    rows = {"train": train, "validation": validation, "test": rows_where(dataset, "speaker", test)}
    return make_split(NAME, dataset, rows, validation_apart=apart, notes=notes)


def _require_disjoint(parts: dict[str, list[str]]) -> None:
    part_of: dict[str, str] = {}
    for part, speakers in parts.items():
        for speaker in speakers:
            if part_of.setdefault(speaker, part) != part:
                raise UserError(
                    f"protocol.{part}: speaker {speaker} stands in {part_of[speaker]} as well; "
                    "each speaker belongs to one part"
                )


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
    return bare.isdecimal() and str(form).isdecimal() and int(bare) == int(form)
