"""The end of a sweep: the best recipe once all trials have ended, and the test speakers, once.

The test is bound to what best/ holds: whose recipe stands there, and has been judged, has met the test speakers, and
no other trial does.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UserError
from ..evaluation.metrics import NAMES
from ..run_folder import RunFolder
from ..strict import read_yaml
from .folder import SweepFolder, first_difference, replace_text
from .leaderboard import write_leaderboard
from .one_test import Turn
from .parameters import described
from .plan import Plan
from .rows import Row
from .study import Study
from .trial import Runner, failure

Tell = Callable[[str], None]


def publish(plan: Plan, study: Study) -> None:
    """Rewrites the best recipe and the leaderboard, and deletes the weights of trials that have ended and are not the
    best."""
    with study.folder.lock():
        rows, winner = study.rows(), study.winner()
        for row in rows:
            best = winner is not None and row.number == winner.number
            if row.state != "running" and not best and not plan.keep_models:
                study.folder.clear(row.number)
        if winner is not None:
            replace_text(study.folder.best_recipe, _headed(plan, study, winner, len(rows)))
        write_leaderboard(study, plan.source.name, plan.judged_on)


def _headed(plan: Plan, study: Study, winner: Row, trials: int) -> str:
    head = [
        f"# ser-hf train {study.folder.best_recipe}",
        f"# trial {winner.number}, {study.search.metric} {winner.value:.4f} on validation, best of {trials} trials:",
        f"# {described(winner.shown)}",
    ]
    return "\n".join([*head, plan.best(winner.settings).to_yaml()])


def close(plan: Plan, study: Study, test: bool, take_over: bool, run: Runner, tell: Tell) -> dict[str, Any]:
    """Tells of the best once all trials have ended, and has it judged as the recipe says: once."""
    folder = study.folder
    result = {"folder": str(plan.folder), "winner": None, "tested": None}
    rows = study.rows()
    if running := sorted(row.number for row in rows if row.state == "running"):
        away = "" if study.all_at_home() else "; --take-over runs them anew here, if that machine is no more"
        numbers = ", ".join(map(str, running))
        tell(f"still running in other processes: trial {numbers}; the last of them closes the sweep{away}")
        return result
    winner = study.winner()
    if winner is None:
        raise UserError(f"no trial came to its end; {folder.page} says why of each")
    lock = folder.occupy("best")
    if lock is None:
        tell(f"another process runs the best recipe, of trial {winner.number}")
        return result
    try:
        tested = study.test.done()
        if tested is None and test and plan.judged_on == "test" and _may_test(plan, rows, tell):
            tested = _test(plan, study, winner, take_over, run, tell)
        publish(plan, study)
    finally:
        lock.release()
    _tell_of(plan, winner, tested, len(rows), tell)
    tell(f"  {folder.page}")
    return result | {"winner": dataclasses.asdict(winner), "tested": tested}


def _may_test(plan: Plan, rows: list[Row], tell: Tell) -> bool:
    """The test is there once only: it waits for trials that may yet do better."""
    failed = sorted(row.number for row in rows if row.cause == "machine")
    if not failed or plan.pass_failed:
        return True
    tell(
        f"the test speakers are not asked yet: trial {', '.join(map(str, failed))} failed by the machine's trouble, "
        "it seems; the same command tries again, and --failed pass does without"
    )
    return False


def _test(plan: Plan, study: Study, winner: Row, take_over: bool, run: Runner, tell: Tell) -> dict[str, Any] | None:
    """Runs the best recipe, or goes on with the one that was begun, and notes its figures in the study."""
    turn, rows = study.test.begun(), {row.number: row for row in study.rows()}
    row, trials = winner, len(rows)
    if turn is not None and turn.home != study.home:
        if not take_over:
            tell(f"trial {turn.trial} is being tested on another machine; --take-over, if that one is no more")
            return None
        # Its model may have met the test speakers already: no other trial's does.
        row, trials = rows[turn.trial], turn.trials
        study.test.give_up(turn)
        turn = None
    elif turn is not None and (turn.trial == winner.number or _judged(study.folder)):
        row, trials = rows[turn.trial], turn.trials
    elif turn is not None:  # nobody was asked yet: a better trial has the turn
        study.test.give_up(turn)
        turn = None
    best = plan.best(row.settings).to_dict()
    overwrite = _differs(study.folder, best)
    if overwrite and _judged(study.folder):
        row, trials, overwrite = _owner(plan, study, row), None, False
        best = plan.best(row.settings).to_dict()
        if turn is not None:
            study.test.give_up(turn)
            turn = None
    turn = turn or study.test.begin(row.number, trials)
    if turn is None:
        tell("another machine has begun to test in this very moment")
        return None
    return study.test.end(turn, _figures(_run(study.folder, turn, best, overwrite, run, tell)))


def _run(
    folder: SweepFolder, turn: Turn, best: Mapping[str, Any], overwrite: bool, run: Runner, tell: Tell
) -> dict[str, Any]:
    if not RunFolder(folder.best).complete:
        tell(f"the best recipe, of trial {turn.trial}, is run in {folder.best}")
    try:
        return run(best, resume=not overwrite, overwrite=overwrite)
    except UserError:
        raise
    except Exception as error:
        # Its traceback stands beside best/, which must hold nothing that is no run's.
        told = failure(error, folder.path)
        raise UserError(f"{folder.best}: {told}; once it is mended the same command goes on") from error


def _judged(folder: SweepFolder) -> bool:
    """Whether any model of best/, of whatever seed or fold, has been judged."""
    return next(folder.best.rglob("report.json"), None) is not None


def _differs(folder: SweepFolder, recipe: Mapping[str, Any]) -> bool:
    saved = RunFolder(folder.best).recipe
    return saved.is_file() and _difference(read_yaml(saved), recipe) is not None


def _difference(saved: Mapping[str, Any], recipe: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    ours, theirs = (
        {key: value for key, value in own.items() if key not in ("output_dir", "provenance")}
        for own in (saved, recipe)
    )
    return first_difference(ours, theirs)


def _owner(plan: Plan, study: Study, wanted: Row) -> Row:
    """The trial whose recipe best/ holds."""
    saved = read_yaml(RunFolder(study.folder.best).recipe)
    for row in study.rows():
        if row.state == "complete" and _difference(saved, plan.best(row.settings).to_dict()) is None:
            return row
    key, before, now = _difference(saved, plan.best(wanted.settings).to_dict())
    raise UserError(
        f"{study.folder.best}: holds the run of a recipe that is no trial's ({key}: {before!r} there, {now!r} in "
        f"trial {wanted.number}), and the test speakers may have judged it; move it away and trial {wanted.number} "
        "is tested, or leave it with --no-test"
    )


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "folds": len(report["protocol"].get("folds", "1")),
        "leak": bool(report["protocol"].get("leak")),
        "validation": dict(report["parts"]["validation"]),
        "test": dict(report["metrics"]),
        "intervals": {name: list(own) for name, own in report["intervals"].items()},
    }


def _tell_of(plan: Plan, winner: Row, tested: Mapping[str, Any] | None, trials: int, tell: Tell) -> None:
    name = NAMES.get(plan.search.metric, plan.search.metric)
    chosen = f"best of {trials} trials: {winner.number}, {name} {winner.value:.4f} on validation"
    tell(f"{chosen}: {described(winner.shown)}")
    if tested is None:
        told = "nothing was asked of the test speakers; " if plan.judged_on == "test" else ""
        tell(f"  {told}its run: ser-hf train {SweepFolder(plan.folder).best_recipe}")
    elif tested["trial"] == winner.number:
        name = plan.search.metric if plan.search.metric in tested["test"] else "uar"
        tell(f"  {NAMES[name]} {tested['test'][name]:.4f} on {_people(tested)}")
    else:
        of = "" if tested["trials"] is None else f", the best of {tested['trials']} trials then"
        tell(f"  the test speakers have judged trial {tested['trial']} already{of}; they are not asked again")


def _people(tested: Mapping[str, Any]) -> str:
    if tested["leak"]:
        return "test clips of speakers whom training has heard"
    if tested["folds"] > 1:
        return (
            f"the test speakers of {tested['folds']} folds, who in other folds were learnt from and judged the "
            "trials: the choice has seen them"
        )
    return "the test speakers, whom no other trial has met"
