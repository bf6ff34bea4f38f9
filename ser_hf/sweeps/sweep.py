"""A sweep: trials until there are as many as asked for, then the best recipe, and the test speakers once."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import UserError
from ..evaluation.metrics import NAMES
from ..train import run_recipe
from .parameters import described

try:
    import optuna  # noqa: F401
except ImportError:
    raise UserError("sweeps need Optuna: pip install 'ser_hf[sweep]'") from None

from .closing import close, publish
from .plan import Plan, make_plan
from .rows import STATES, Row
from .study import Study
from .trial import Runner, run_trial


def sweep(
    recipe: str | Path | Mapping[str, Any],
    space: str | Path | Mapping[str, Any],
    changes: Iterable[str] = (),
    *,
    output: str | Path | None = None,
    trials: int | None = None,
    storage: str | None = None,
    test: bool = True,
    keep_models: bool = False,
    failed: Literal["again", "pass"] | None = None,
    take_over: bool = False,
    backend: str = "local",
    workers: int | None = None,
    gpus: float | None = None,
    run: Runner = run_recipe,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Runs the trials that are still to be run, beside other processes that do the same, and writes what they say.

    The same call again goes on where this one ended, however it ended.

    Args:
        changes: overrides of the recipe, in every trial.
        output: the sweep's folder (default: the recipe's `output_dir`, with the space's name).
        trials: how many in all, in place of the space's.
        storage: URL of a database that Optuna takes (default: a file in the folder).
        test: whether the winner meets the part that the recipe is judged on.
        keep_models: keep every trial's weights, not the best one's alone.
        failed: `again` tries all that failed once more; `pass` leaves them, goes on however many fail alike, and
            tests without them. By default those are tried again that failed alike, or by the machine's trouble, such
            as a full disk, and the test waits for them.
        take_over: what other folders that share the storage were running is run anew here; they must be no more.
        backend: `local`, or `ray` for the machines of a Ray cluster.
        workers, gpus: of `ray`: trials at a time, and GPUs of each.
        run: what runs a recipe.
        tell: takes the lines for the user.

    Returns:
        The sweep's folder, the winner (None while there is none or others still run), and its test, if any.

    Raises:
        UserError: for a key or value of the space that no recipe takes, a folder that is another sweep's, three
            trials in a row that fail alike, a winner whose run fails, or a storage that does not answer.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "sweep: start it once for each GPU on the same --output (with CUDA_VISIBLE_DEVICES), not under a launcher"
        )
    plan = make_plan(recipe, space, list(changes), output, trials, storage, keep_models)
    study = plan.open()
    if take_over and (numbers := study.take_over()):
        tell(f"taken over from other machines, and run anew: trial {', '.join(map(str, numbers))}")
    again = study.failures(passed=failed == "pass", all_of_them=failed == "again")
    plan = dataclasses.replace(plan, again=again, pass_failed=failed == "pass")
    study.again = again
    where = "" if storage is None else f" (study {plan.study} in the storage)"
    tell(f"{plan.folder}: {study.asked} trials by {plan.search.search}, {_state(study)}{where}")
    publish(plan, study)
    if backend == "ray":
        from .ray import run_on_ray

        run_on_ray(plan, study, run, tell, workers, gpus)
    else:
        while one_trial(plan, study, run, tell):
            pass
    return close(plan, study, test, take_over, run, tell)


def one_trial(
    plan: Plan,
    study: Study,
    run: Runner,
    tell: Callable[[str], None],
    hear: Callable[[float, float], None] | None = None,
) -> bool:
    """Runs the next trial and publishes the result; False where there is none left.

    Raises:
        UserError: if the last three trials of this folder have failed alike.
    """
    claim = study.claim()
    if claim is None:
        return False
    tell(f"trial {claim.number}{' goes on' if claim.resumed else ''}: {described(claim.shown)}")
    row = run_trial(claim, study, plan.source, study.folder, run, hear)
    publish(plan, study)
    tell(line(row, study.winner(), plan.search.metric))
    if not plan.pass_failed and (message := study.failed_alike()) is not None:
        raise UserError(
            f"trials fail alike, one after the other: {message} (once it is mended the same command tries them again; "
            "--failed pass goes on without them)"
        )
    return True


def line(row: Row, best: Row | None, metric: str) -> str:
    """What is printed after a trial."""
    value = "" if row.value is None else f" {NAMES.get(metric, metric)} {row.value:.4f}"
    so_far = "" if best is None else f", best {best.value:.4f} (trial {best.number})"
    message = f" ({row.message})" if row.message else ""
    return f"trial {row.number} {row.state}{value}{so_far}: {described(row.shown)}{message}"


def _state(study: Study) -> str:
    states = [row.state for row in study.rows()]
    counted = {state: states.count(state) for state in STATES}
    return ", ".join(f"{count} {state}" for state, count in counted.items() if count) or "none begun"
