"""Checks of the split: the clips and classes of each part, and what the parts share."""

from ..protocols import PARTS
from ..protocols.split import MissingClassError
from ..report.views import counted
from ..utils.errors import UserError
from .case import Case
from .result import Fault, Outcome, Problem, left_out

_DRAW_AGAIN = (
    "draw another split with protocol.seed, list the speakers of each part, or drop or merge the "
    "class with corpus.drop or corpus.merge"
)


def check_split(case: Case) -> Outcome:
    """Split the corpus as the protocol says, and look for classes that a part lacks."""
    try:
        splits = case.splits
    except MissingClassError as error:
        return Outcome("no split", [_problem(Fault.MISSING_CLASS, error, _DRAW_AGAIN)])
    except UserError as error:
        remedy = "choose other speakers, or another protocol.name"
        return Outcome("no split", [_problem(Fault.NO_SPLIT, error, remedy)])

    first = splits[0]
    parts = []
    for part in PARTS:
        clips = counted(len(first.rows[part]), "clip")
        parts.append(f"{part} {clips} of {counted(len(first.speakers[part]), 'speaker')}")
    text = f"{first.title}: {', '.join(parts)}"
    if len(splits) > 1:
        text += f"; {len(splits)} folds, of which the first is trained here"

    problems = []
    for note in first.notes:
        # Test clips of a fold are tested together with those of the other folds.
        if note.startswith("No clip of ") and "in validation" in note:
            problems.append(Problem(Fault.MISSING_CLASS, note.partition(":")[0], _DRAW_AGAIN))
    values = {part: len(first.rows[part]) for part in PARTS} | {"folds": len(splits)}
    return Outcome(text, problems, values)


def check_leaks(case: Case) -> Outcome:
    """Audit what the splits share, as a run does."""
    if "splits" not in vars(case):
        return left_out("there is no split")
    try:
        data = case.data
    except UserError as error:
        remedy = "leave one of each out with corpus.exclude"
        return Outcome("the splits share clips", [_problem(Fault.LEAK, error, remedy)])

    problems = []
    leaks = [fold.split.leak for fold in data.folds if fold.split.leak]
    if leaks:
        problems.append(
            Problem(
                Fault.SHARED_SPEAKERS,
                leaks[0].rstrip("."),
                "set protocol.name: speaker_independent",
            )
        )
    shared = data.folds[0].audit.shared["train/validation"]
    counts = []
    for kind, count in shared.items():
        number = "unknown" if count is None else f"{count}"
        counts.append(f"{kind.replace('_', ' ')} {number}")
    text = f"train and validation share: {', '.join(counts)}"
    return Outcome(text, problems, {"shared": data.folds[0].audit.shared})


def _problem(fault: Fault, error: UserError, remedy: str) -> Problem:
    """The problem of a message, which has its remedy after the last semicolon, or none."""
    text, has_remedy, remedy_of_message = str(error).rpartition("; ")
    if not has_remedy:
        return Problem(fault, str(error), remedy)
    if fault is Fault.MISSING_CLASS:
        return Problem(fault, text, remedy)
    return Problem(fault, text, remedy_of_message)
