"""Runs the trials of a sweep as an Optuna study (Akiba et al. 2019, arXiv:1907.10902) and tests the
winner once.

A sweep's folder holds sweep.json (recipe and space), study.db (Optuna's SQLite storage, unless
--storage names another one), trials/N/ (the run of trial N), leaderboard.csv, leaderboard.html,
best.yaml and best/ (the best trial's recipe and its run).
"""

import copy
import dataclasses
import json
import logging
import math
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, Trial, TrialState

from ..evaluation.metrics import NAMES
from ..evaluation.tasks import TASKS
from ..experiment.recipe import Recipe
from ..experiment.recipe_checks import read_recipe
from ..experiment.run import run as run_experiment
from ..loading.files import first_line
from ..report.page import template
from ..report.report import read_report
from ..report.views import duration
from ..utils.errors import UserError
from ..utils.files import replace_text
from ..utils.run_folder import RunFolder
from .space import Search, Settings, described, overrides, resolve, short

logger = logging.getLogger(__name__)

# Retries of a trial whose process was killed.
MAX_RETRIES = 3
# Seconds between the heartbeats of a trial in a shared storage, and after the last one until the
# trial is retried.
HEARTBEAT = 60
GRACE_PERIOD = 180
INTERRUPTED = "interrupted"
# A trial never uses the test split, has no leaky foil and is not published.
TRIAL_OVERRIDES = ["evaluation.part=validation", "protocol.foil=null", "hub.repo=null"]
# In the order of the leaderboard.
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.FAIL: "failed",
}
KILLED = "its process was killed, perhaps because memory ran out"

# `ser_hf.experiment.run`, or a stub in tests.
Runner = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """How a sweep runs; `ser-hf sweep --help` describes the options."""

    output: str | Path | None = None
    trials: int | None = None
    storage: str | None = None
    test: bool = True
    keep_models: bool = False
    retry_failed: bool = False


DEFAULTS = SweepOptions()


@dataclasses.dataclass(frozen=True)
class SweepSettings:
    """A validated sweep as plain values, which can be sent to workers."""

    recipe: Mapping[str, Any]
    overrides: tuple[str, ...]
    search: Search
    folder: Path
    options: SweepOptions

    def recipe_at(
        self, settings: Settings, name: str, folder: Path, extra: Iterable[str] = ()
    ) -> Recipe:
        own = {"name": f"{self.recipe['name']}-{name}", "output_dir": str(folder)}
        return read_recipe(self.recipe, [*self.overrides, *overrides(settings | own), *extra])


@dataclasses.dataclass(frozen=True)
class Row:
    """One trial. `value` is the metric on validation; of a pruned trial, the best one so far."""

    number: int
    state: str
    value: float | None
    settings: dict[str, Any]
    epochs: int
    seconds: float | None
    message: str
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    interval: list[float] | None = None
    folds: int = 1


class SweepStudy:
    """The Optuna study of a sweep, and what runs and ranks its trials."""

    def __init__(
        self,
        settings: SweepSettings,
        run: Runner = run_experiment,
        echo: Callable[[str], None] = print,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.settings, self.search, self.folder = settings, settings.search, settings.folder
        self.run = run
        self.echo = echo
        base = read_recipe(settings.recipe, settings.overrides)
        task = TASKS[base.task]
        metric = self.search.metric
        if metric not in task.headline:
            raise UserError(f"metric: {metric} is none of task {task.name}; set it to {task.main}")
        self.metrics = task.headline
        self.epochs = round(base.training.arguments.get("num_train_epochs") or 1)
        self.lock = FileLock(self.folder / "sweep.lock")
        self.shared = settings.options.storage is not None
        pruner = optuna.pruners.NopPruner()
        if own := self.search.pruner:
            # Optuna counts steps from 0 and epochs count from 1: the first `warmup_epochs` are
            # safe.
            pruner = optuna.pruners.MedianPruner(
                own.startup_trials, n_warmup_steps=own.warmup_epochs + 1
            )
        identity = json.loads((self.folder / "sweep.json").read_text(encoding="utf-8"))["id"]
        with self.lock, warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            self.retry = RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)
            self.retry_killed = RetryHeartbeatStaleTrialCallback(
                MAX_RETRIES, inherit_intermediate_values=True
            )
            try:
                self.storage = RDBStorage(
                    settings.options.storage or f"sqlite:///{self.folder / 'study.db'}",
                    heartbeat_interval=HEARTBEAT if self.shared else None,
                    grace_period=GRACE_PERIOD,
                    heartbeat_stale_trial_callback=self.retry_killed,
                )
                self.study = optuna.create_study(
                    study_name=f"{self.folder.name}-{identity}",
                    storage=self.storage,
                    direction="maximize",
                    pruner=pruner,
                    load_if_exists=True,
                )
            except Exception as error:  # each database has its own errors
                where = "--storage" if self.shared else self.folder / "study.db"
                raise UserError(f"{where}: {first_line(error)}") from error

    @property
    def tested(self) -> dict[str, Any] | None:
        """The first winner, and the report of its run, which scored the test split; None before
        that.
        """
        claim = self.study.user_attrs.get("best")
        best = RunFolder(self.folder / "best").report / "report.json"
        return {**claim, "report": read_report(best)} if claim and best.is_file() else None

    def trials(self) -> list[FrozenTrial]:
        """The trials that have started; of one that was retried only the last attempt."""
        trials = self.study.get_trials(deepcopy=False)
        replaced = {
            number for trial in trials for number in trial.system_attrs.get("retry_history", ())
        }
        return [t for t in trials if t.number not in replaced and t.state != TrialState.WAITING]

    def requeue(self) -> None:
        """Queue interrupted trials again; with `retry_failed`, failed ones too."""
        with self.lock:
            for trial in self.trials():
                if trial.state == TrialState.RUNNING and not self.shared:
                    self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                    self.retry_killed(self.study, copy.deepcopy(trial))  # which it changes
                elif trial.state == TrialState.FAIL and (
                    self.settings.options.retry_failed
                    or trial.user_attrs.get("message") == INTERRUPTED
                ):
                    self.retry(self.study, copy.deepcopy(trial))

    def remaining(self) -> int:
        """How many trials are still to be started."""
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            optuna.storages.fail_stale_trials(self.study)
        return self.search.total - len(self.trials())

    def run_trial(self) -> None:
        """Run one trial, from its last checkpoint if it was interrupted; a failure is recorded and
        not raised.
        """
        # which the trial releases when it has begun: two processes never begin one point
        with self.lock:
            if self.remaining() <= 0:
                return  # another process has begun the last trial meanwhile
            if self.search.search == "grid":
                trials = self.study.get_trials(deepcopy=False)
                tried = [trial.system_attrs.get("fixed_params") for trial in trials]
                point = next((own for own in self.search.points if own not in tried), None)
                if point is not None and (
                    self.shared or all(trial.state != TrialState.WAITING for trial in trials)
                ):
                    self.study.enqueue_trial(point)
            self.study.optimize(
                self._objective, n_trials=1, catch=(Exception,), gc_after_trial=True
            )
        self.publish()

    def _objective(self, trial: Trial) -> float:
        self.lock.release()
        # With a generator for each trial, a sweep that was interrupted draws what it would have
        # drawn.
        sampler = (
            optuna.samplers.TPESampler
            if self.search.search == "tpe"
            else optuna.samplers.RandomSampler
        )
        self.study.sampler = sampler(seed=(self.search.seed * 100_003 + trial.number) % 2**32)
        values = resolve(self.search.parameters, trial)
        trial.set_user_attr("settings", values)
        trial.set_user_attr("message", "")
        number = _number(self.study.get_trials(deepcopy=False)[trial.number])
        folder = self.folder / "trials" / str(number)
        self.echo(
            f"trial {number}{' continues' if number != trial.number else ''}: {described(values)}"
        )
        state = "failed"
        message = ""
        try:
            result = self._validate(trial, values, folder)
            trial.set_user_attr("result", result)
            value = result["metrics"][self.search.metric]
            state = f"complete {NAMES[self.search.metric]} {value:.4f}"
            return value
        except optuna.TrialPruned:
            state = "pruned"
            raise
        except KeyboardInterrupt:
            message = INTERRUPTED
            raise
        except Exception as error:
            message = first_line(error)
            if not isinstance(error, UserError):
                message = f"{type(error).__name__}: {message}"
                logger.warning("trial %d failed", number, exc_info=True)
            raise
        finally:
            trial.set_user_attr("message", message)
            self.echo(f"trial {number} {state}{message and f': {message}'}")

    def _validate(self, trial: Trial, values: Settings, folder: Path) -> dict[str, Any]:
        """Train at a point of the space and return the metrics of the kept checkpoint on
        validation.
        """
        steps = set(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        epochs = values.get("training.num_train_epochs", self.epochs)

        def watch(place: tuple[str, ...], epoch: float, metrics: Mapping[str, float]) -> None:
            # trials are compared at epochs of the first fold or seed only
            if "place" not in trial.user_attrs:
                trial.set_user_attr("place", list(place))
            step = math.floor(epoch + 1e-6)
            value = metrics.get(self.search.metric, math.nan)
            if (
                trial.user_attrs["place"] != list(place)
                or step < 1
                or step in steps
                or not math.isfinite(value)
            ):
                return
            trial.report(value, step)
            steps.add(step)
            if step < epochs and trial.should_prune():
                raise optuna.TrialPruned

        recipe = self.settings.recipe_at(values, folder.name, folder, TRIAL_OVERRIDES)
        self.run(recipe, resume=True, watch=watch)
        report = read_report(RunFolder(folder).report / "report.json")
        metrics = report.parts["validation"]
        interval = report.intervals.get(self.search.metric)
        if not math.isfinite(metrics.get(self.search.metric) or math.nan):
            raise UserError(
                f"metric: {self.search.metric} is undefined on this recipe's validation split"
            )
        return {
            "metrics": metrics,
            "interval": interval,
            "folds": len(report.protocol.folds or "1"),
        }

    def rows(self) -> list[Row]:
        """The trials that have started: complete ones first, best first, then pruned, running and
        failed ones.
        """
        rows = []
        for trial in self.trials():
            value = trial.value
            result = trial.user_attrs.get("result", {})
            if trial.state == TrialState.PRUNED:
                value = max(trial.intermediate_values.values(), default=None)
            message = trial.user_attrs.get("message") or (
                KILLED if trial.state == TrialState.FAIL else ""
            )
            settings = trial.user_attrs.get("settings", {})
            epochs = max(trial.intermediate_values, default=0)
            seconds = None if trial.duration is None else trial.duration.total_seconds()
            rows.append(
                Row(
                    _number(trial),
                    STATES[trial.state],
                    value,
                    settings,
                    epochs,
                    seconds,
                    message,
                    **result,
                )
            )
        order = list(STATES.values())
        return sorted(
            rows, key=lambda row: (order.index(row.state), -(row.value or 0.0), row.number)
        )

    def publish(self) -> None:
        """Write best.yaml and the leaderboard, and delete the weights of complete and pruned trials
        but the best.
        """
        with self.lock:
            rows = self.rows()
            winner = next((row for row in rows if row.state == "complete"), None)
            for row in rows:
                if (
                    row.state in ("complete", "pruned")
                    and row is not winner
                    and not self.settings.options.keep_models
                ):
                    _delete_weights(self.folder / "trials" / str(row.number))
            if winner is not None:
                head = f"# ser-hf train {self.folder / 'best.yaml'}\n# trial {winner.number} of {len(rows)}, "
                head += f"{self.search.metric} {winner.value:.4f} on validation: {described(winner.settings)}\n"
                best = self.settings.recipe_at(winner.settings, "best", self.folder / "best")
                replace_text(self.folder / "best.yaml", head + best.to_yaml())
            page = leaderboard_page(
                self.settings.recipe["name"], self.search, rows, self.tested, self.folder
            )
            replace_text(self.folder / "leaderboard.csv", leaderboard_csv(rows, self.metrics))
            replace_text(self.folder / "leaderboard.html", page)

    def close(self, test: bool) -> dict[str, Any]:
        """Report the best trial once all have ended, and score it on the test split if nothing was
        scored yet.
        """
        rows = self.rows()
        page = self.folder / "leaderboard.html"
        if running := ", ".join(str(row.number) for row in rows if row.state == "running"):
            self.echo(
                f"trial {running} runs in another process; the last process to end closes the sweep"
            )
            return {"folder": str(self.folder), "winner": None, "tested": None}
        if not rows or rows[0].state != "complete":
            raise UserError(f"no trial is complete; {page} has the message of each")
        winner = rows[0]
        with self.lock:  # another process that has nothing left to do waits for the test
            if test and "closed" not in self.study.user_attrs:
                self._run_best(winner, sum(row.state == "complete" for row in rows))
            self.publish()
        tested = self.tested
        name = NAMES[self.search.metric]
        self.echo(
            f"best of {len(rows)} trials: {winner.number}, {name} {winner.value:.4f} on validation"
        )
        self.echo(f"  {described(winner.settings)}")
        score = f"the test split is not scored; run the best recipe: ser-hf train {self.folder / 'best.yaml'}"
        if tested is not None:
            report = tested["report"]
            leak = ", a leaky protocol" * bool(tested["report"].protocol.leak)
            score = f"{name} {report.metrics[self.search.metric]:.4f} on the {report.evaluated_split} split, "
            score += f"scored once (trial {tested['trial']}{leak})"
        self.echo(f"  {score}")
        self.echo(f"  {page}")
        return {"folder": str(self.folder), "winner": dataclasses.asdict(winner), "tested": tested}

    def _run_best(self, winner: Row, complete: int) -> None:
        """Run the recipe of the first winner and score the test split; a better trial that ends
        later does not replace it."""
        if "best" not in self.study.user_attrs:
            claim = {"trial": winner.number, "trials": complete, "settings": winner.settings}
            self.study.set_user_attr("best", claim)
        claim = self.study.user_attrs["best"]
        best = self.folder / "best"
        recipe = self.settings.recipe_at(claim["settings"], "best", best)
        self.echo(f"running the best recipe, of trial {claim['trial']}, in {best}")
        self.run(recipe, resume=True)
        if recipe.hub.repo is not None:
            from ..hub.publish import publish

            self.echo(str(publish(recipe.output_dir, **recipe.hub.publication)))
        self.study.set_user_attr("closed", True)


def _number(trial: FrozenTrial) -> int:
    """A trial's number; of a retried one, that of the first attempt, whose folder it continues."""
    return trial.system_attrs.get("failed_trial", trial.number)


def _delete_weights(trial: Path) -> None:
    """Delete a trial's weights and those of its folds and seed; recipe, split, report and log stay."""
    for recipe in trial.rglob("recipe.yaml"):
        for name in ("checkpoints", "model"):
            shutil.rmtree(recipe.with_name(name), ignore_errors=True)
        recipe.with_name("reference.npz").unlink(missing_ok=True)


def leaderboard_csv(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    """One line a trial: its rank, these metrics on validation, and the keys that it sets."""
    table = [
        {
            "rank": rank if row.state == "complete" else None,
            "trial": row.number,
            "state": row.state,
            "objective": row.value,
            **{f"validation_{name}": row.metrics.get(name) for name in metrics},
            "epochs": row.epochs or None,
            "seconds": None if row.seconds is None else round(row.seconds, 1),
            "message": row.message,
            **row.settings,
        }
        for rank, row in enumerate(rows, 1)
    ]
    return pd.DataFrame(table, dtype=object).to_csv(index=False)


def leaderboard_page(
    name: str, search: Search, rows: Sequence[Row], tested: dict | None, folder: Path
) -> str:
    """The page, which links the reports of the trials that are in `folder`."""
    pages = {row.number: f"trials/{row.number}/report/index.html" for row in rows}
    pages |= {"best": "best/report/index.html"}
    by_number = sorted(rows, key=lambda row: row.number)
    return template(__package__, "leaderboard.html", short=short, duration=duration).render(
        name=name,
        search=search,
        title=NAMES[search.metric],
        names=NAMES,
        rows=rows,
        columns=list(dict.fromkeys(key for row in by_number for key in row.settings)),
        counts={state: sum(row.state == state for row in rows) for state in STATES.values()},
        winner=rows[0] if rows and rows[0].state == "complete" else None,
        tested=tested,
        tested_row=tested and next((row for row in rows if row.number == tested["trial"]), None),
        pages={key: path for key, path in pages.items() if (folder / path).is_file()},
        seconds=sum(row.seconds or 0.0 for row in rows),
    )
