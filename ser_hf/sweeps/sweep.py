"""A sweep: trials until there are as many as asked for, then the best recipe, and the test speakers once."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..evaluation.metrics import NAMES
from ..recipe import read_recipe
from ..run_folder import RunFolder
from ..sections import Recipe
from ..strict import read_yaml
from ..train import run_recipe
from .folder import SweepFolder, replace_text
from .space import Search, Settings, at, corners, grid, overrides, read_space, written

try:
    import optuna  # noqa: F401
except ImportError:
    raise UserError("sweeps need Optuna: pip install 'ser_hf[sweep]'") from None

from .leaderboard import write_leaderboard
from .study import Row, Study
from .trial import Runner, Source, run_trial


@dataclasses.dataclass(frozen=True)
class Plan:
    """A checked sweep, as any of its processes needs it: plain values, so that it travels."""

    source: Source
    search: Search
    folder: Path
    home: str
    study: str
    storage: str | None
    epochs: int
    judged_on: str
    keep_models: bool

    def open(self) -> Study:
        return Study(self.search, SweepFolder(self.folder), self.home, self.study, self.storage, self.epochs)


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
        backend: `local`, or `ray` for the machines of a Ray cluster.
        workers, gpus: of `ray`: trials at a time, and GPUs of each.
        run: what runs a recipe.
        tell: takes the lines for the user.

    Returns:
        The sweep's folder, the winner (None while there is none or others still run), and its test, if any.

    Raises:
        UserError: for a key or value of the space that no recipe takes, a folder that is another sweep's, or a sweep
            whose first three trials fail alike.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "sweep: start it once for each GPU on the same --output (with CUDA_VISIBLE_DEVICES), not under a launcher"
        )
    plan = _plan(recipe, space, list(changes), output, trials, storage, keep_models)
    study = plan.open()
    tell(f"{plan.folder}: {study.asked} trials by {plan.search.search}, {_state(study)}")
    publish(plan, study)
    if backend == "ray":
        from .ray import run_on_ray

        run_on_ray(plan, study, run, tell, workers, gpus)
    else:
        while one_trial(plan, study, run, tell):
            pass
    return _close(plan, study, test, run, tell)


def _plan(
    source: str | Path | Mapping[str, Any],
    space: str | Path | Mapping[str, Any],
    changes: list[str],
    output: str | Path | None,
    trials: int | None,
    storage: str | None,
    keep_models: bool,
) -> Plan:
    search = read_space(space, trials)
    raw = json.loads(json.dumps(source)) if isinstance(source, Mapping) else read_yaml(source)
    raw.setdefault("name", "run" if isinstance(source, Mapping) else Path(source).stem)
    base = read_recipe(raw, changes)
    check_points(raw, changes, search)
    label = "sweep" if isinstance(space, Mapping) else Path(space).stem
    folder = SweepFolder(output or f"{base.output_dir}-{label}")
    resolved = {key: value for key, value in base.to_dict().items() if key not in ("output_dir", "provenance")}
    home = folder.open(resolved, search.to_dict())
    content = json.dumps([resolved, search.to_dict()], sort_keys=True)
    return Plan(
        Source(base.name, raw, tuple(changes)),
        search,
        folder.path.absolute(),
        home,
        f"{base.name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}",
        storage,
        round(base.training.arguments.get("num_train_epochs") or 1),
        base.evaluation.part,
        keep_models,
    )


def check_points(recipe: Mapping[str, Any], changes: list[str], search: Search) -> None:
    """Reads the recipe at every point of a grid; otherwise at each bound, choice and bundle, beside the others' first.

    Raises:
        UserError: naming the key, and the point where it is wrong.
    """
    space = search.parameters
    # The corners of a grid too, and first: a key that no recipe has is told at once, however many points there are.
    for answers in [*corners(space), *(grid(space) if search.search == "grid" else ())]:
        settings, shown = at(space, answers)
        try:
            read_recipe(recipe, [*changes, *overrides(settings)])
        except UserError as error:
            raise UserError(f"{error} (at {described(shown)})") from None


def one_trial(
    plan: Plan,
    study: Study,
    run: Runner,
    tell: Callable[[str], None],
    hear: Callable[[float, float], None] | None = None,
) -> bool:
    """Runs the next trial and publishes the result; False where there is none left.

    Raises:
        UserError: if all trials so far have failed alike, three of them at least.
    """
    claim = study.claim()
    if claim is None:
        return False
    tell(f"trial {claim.number}{' goes on' if claim.resumed else ''}: {described(claim.shown)}")
    row = run_trial(claim, study, plan.source, study.folder, run, hear)
    publish(plan, study)
    tell(line(row, study.winner(), plan.search.metric))
    if (message := study.failed_alike()) is not None:
        raise UserError(f"all trials so far fail alike: {message}")
    return True


def publish(plan: Plan, study: Study) -> None:
    """Rewrites the leaderboard, and deletes the weights of trials that have ended and are not the best."""
    with study.folder.lock():
        winner = study.winner()
        for row in study.rows():
            best = winner is not None and row.number == winner.number
            if row.state != "running" and not best and not plan.keep_models:
                study.folder.clear(row.number)
        write_leaderboard(study, plan.source.name, plan.judged_on)


def line(row: Row, best: Row | None, metric: str) -> str:
    """What is printed after a trial."""
    value = "" if row.value is None else f" {NAMES.get(metric, metric)} {row.value:.4f}"
    so_far = "" if best is None else f", best {best.value:.4f} (trial {best.number})"
    message = f" ({row.message})" if row.message else ""
    return f"trial {row.number} {row.state}{value}{so_far}: {described(row.shown)}{message}"


def described(settings: Settings) -> str:
    return ", ".join(f"{key}={_short(value)}" for key, value in settings.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else written(value)


def _state(study: Study) -> str:
    states = [row.state for row in study.rows()]
    counted = {state: states.count(state) for state in ("complete", "pruned", "failed", "running")}
    return ", ".join(f"{count} {state}" for state, count in counted.items() if count) or "none begun"


def _close(plan: Plan, study: Study, test: bool, run: Runner, tell: Callable[[str], None]) -> dict[str, Any]:
    """Writes the best recipe once all trials have ended, and has it judged as the recipe says: once."""
    folder = study.folder
    result = {"folder": str(plan.folder), "winner": None, "tested": None}
    rows = study.rows()
    if running := [row.number for row in rows if row.state == "running"]:
        numbers = ", ".join(map(str, sorted(running)))
        tell(f"still running in other processes: trial {numbers}; the last of them closes the sweep")
        return result
    winner = study.winner()
    if winner is None:
        raise UserError(f"no trial came to its end; {folder.page} says why of each")
    lock = folder.occupy("best")
    if lock is None:
        tell(f"another process runs the best recipe, of trial {winner.number}")
        return result
    try:
        best = read_recipe(plan.source.recipe, plan.source.at(winner.settings, "best", folder.best))
        replace_text(folder.best_recipe, _headed(best, winner, study))
        tested = study.noted("tested")
        if tested is None and test and plan.judged_on == "test":
            tested = _test(study, winner, best, run, tell)
        publish(plan, study)
    finally:
        lock.release()
    name = NAMES.get(plan.search.metric, plan.search.metric)
    chosen = f"best of {len(rows)} trials: {winner.number}, {name} {winner.value:.4f} on validation"
    tell(f"{chosen}: {described(winner.shown)}")
    if tested is None:
        told = "nothing was asked of the test speakers; " if plan.judged_on == "test" else ""
        tell(f"  {told}its run: ser-hf train {folder.best_recipe}")
    elif tested["trial"] == winner.number:
        name = plan.search.metric if plan.search.metric in tested["test"] else "uar"
        tell(f"  {NAMES[name]} {tested['test'][name]:.4f} on the test speakers, whom no other trial has met")
    else:
        tell(
            f"  the test speakers have judged trial {tested['trial']} already, the best of {tested['trials']} trials "
            "then; they are not asked again"
        )
    tell(f"  {folder.page}")
    return result | {"winner": dataclasses.asdict(winner), "tested": tested}


def _headed(best: Recipe, winner: Row, study: Study) -> str:
    metric = study.search.metric
    head = [
        f"# ser-hf train {study.folder.best_recipe}",
        f"# trial {winner.number}, {metric} {winner.value:.4f} on validation, the best of {len(study.rows())} trials:",
        f"# {described(winner.shown)}",
    ]
    return "\n".join([*head, best.to_yaml()])


def _test(study: Study, winner: Row, best: Recipe, run: Runner, tell: Callable[[str], None]) -> dict[str, Any] | None:
    """Runs the best recipe and notes its figures in the study, where every later call finds them."""
    begun, number, trials = study.noted("testing"), winner.number, len(study.rows())
    if begun is not None and begun["home"] != study.home:
        tell(f"trial {begun['trial']} is being tested on another machine")
        return None
    made = RunFolder(study.folder.best)
    if begun is not None and made.complete:  # killed between the report and this note
        number, trials, report = begun["trial"], begun["trials"], made.read_report()
    else:
        study.note("testing", {"home": study.home, "trial": number, "trials": trials})
        same = begun is None or begun["trial"] == number
        tell(f"the best recipe, of trial {number}, is run in {study.folder.best}")
        report = run(best.to_dict(), resume=same, overwrite=not same)
    tested = {
        "trial": number,
        "trials": trials,
        "validation": dict(report["parts"]["validation"]),
        "test": dict(report["metrics"]),
        "intervals": {name: list(own) for name, own in report["intervals"].items()},
    }
    study.note("tested", tested)
    return tested
