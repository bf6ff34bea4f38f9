"""The Optuna study of a sweep (Akiba et al. 2019, arXiv:1907.10902): its trials and its best run.

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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, Trial, TrialState

from ..evaluation.metrics import NAMES
from ..evaluation.tasks import TASKS
from ..experiment.reading import read_recipe
from ..experiment.run import run as run_experiment
from ..loading.files import first_line
from ..report.report import read_report
from ..utils.environment import quieter_terminal
from ..utils.errors import UserError
from ..utils.executor import Jobs
from ..utils.files import replace_text
from ..utils.run_folder import RunFolder
from .leaderboard import (
    Row,
    Tested,
    leaderboard_csv,
    leaderboard_page,
    number_of,
    rows_of,
    winner_of,
)
from .settings import SweepSettings
from .space import Values, choices, described, resolve

logger = logging.getLogger(__name__)

# A trial is retried so many times if its process was killed.
MAX_RETRIES = 3
# Seconds between the heartbeats of a trial in a shared storage, and after the last one until the
# trial is retried.
HEARTBEAT = 60
GRACE_PERIOD = 180
INTERRUPTED = "interrupted"
# A trial never uses the test split, has no leaky foil and is not published.
TRIAL_OVERRIDES = ["evaluation.part=validation", "protocol.foil=null", "hub.repo=null"]

# `ser_hf.experiment.run`, or a stub in tests.
Runner = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """The result of a sweep: its folder, its best trial, and the run that scored the test split.

    `winner` is None while trials run in other processes; `tested` is None if the test split is not
    scored.
    """

    folder: str
    winner: Row | None
    tested: Tested | None

    def to_dict(self) -> dict[str, Any]:
        """Return the output of `ser-hf sweep --json`, with the report as an object."""
        return {
            "folder": self.folder,
            "winner": None if self.winner is None else dataclasses.asdict(self.winner),
            "tested": None if self.tested is None else self.tested.to_dict(),
        }


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """The metrics of a trial's selected checkpoint on validation, as stored with the trial."""

    metrics: dict[str, float]
    interval: list[float] | None
    folds: int


class EpochWatch:
    """Reports the metric after each epoch to Optuna, and ends a trial that falls behind.

    Trials are compared at whole epochs of the first fold or seed only.

    Args:
        epochs: the number of epochs of the trial; no trial is ended after its last epoch.
        steps: the epochs that an earlier attempt has reported.
    """

    def __init__(self, trial: Trial, metric: str, epochs: float, steps: set[int]) -> None:
        self.trial = trial
        self.metric = metric
        self.epochs = epochs
        self.steps = steps

    def __call__(self, place: tuple[str, ...], epoch: float, metrics: Mapping[str, float]) -> None:
        """Report the metrics of an epoch; `place` is the fold and the seed."""
        if "place" not in self.trial.user_attrs:
            self.trial.set_user_attr("place", list(place))
        if self.trial.user_attrs["place"] != list(place):
            return

        step = math.floor(epoch + 1e-6)
        value = metrics.get(self.metric, math.nan)
        if step < 1 or step in self.steps or not math.isfinite(value):
            return
        self.trial.report(value, step)
        self.steps.add(step)
        if step < self.epochs and self.trial.should_prune():
            raise optuna.TrialPruned


class SweepStudy:
    """The Optuna study of a sweep, which runs and ranks the trials."""

    def __init__(
        self,
        settings: SweepSettings,
        run: Runner = run_experiment,
        echo: Callable[[str], None] = print,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.settings = settings
        self.search = settings.search
        self.folder = settings.folder
        self.run = run
        self.echo = echo
        self.lock = FileLock(self.folder / "sweep.lock")
        self.shared = settings.options.storage is not None
        # Warnings of earlier trials, which are not repeated on the terminal.
        self.warned: set[str] = set()

        base = read_recipe(settings.recipe, settings.overrides)
        task = TASKS[base.task]
        metric = self.search.metric
        if metric not in task.headline:
            raise UserError(
                f"metric: {metric} is not a metric of task {task.name}; set it to {task.main}"
            )
        self.metrics = task.headline
        self.epochs = round(base.training.arguments.get("num_train_epochs") or 1)
        self._open()

    def _open(self) -> None:
        """Create the study in its storage, or load it."""
        identity = json.loads((self.folder / "sweep.json").read_text(encoding="utf-8"))["id"]
        with self.lock, warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            self.retry = RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)
            self.retry_killed = RetryHeartbeatStaleTrialCallback(
                MAX_RETRIES, inherit_intermediate_values=True
            )
            try:
                self.storage = RDBStorage(
                    self.settings.options.storage or f"sqlite:///{self.folder / 'study.db'}",
                    heartbeat_interval=HEARTBEAT if self.shared else None,
                    grace_period=GRACE_PERIOD,
                    heartbeat_stale_trial_callback=self.retry_killed,
                )
                self.study = optuna.create_study(
                    study_name=f"{self.folder.name}-{identity}",
                    storage=self.storage,
                    direction="maximize",
                    pruner=self._pruner(),
                    load_if_exists=True,
                )
            except Exception as error:  # each database raises other errors
                where = "--storage" if self.shared else self.folder / "study.db"
                raise UserError(f"{where}: {first_line(error)}") from error

    def _pruner(self) -> optuna.pruners.BasePruner:
        pruning = self.search.pruner
        if pruning is None:
            return optuna.pruners.NopPruner()
        # Optuna counts steps from 0 and epochs count from 1: the first `warmup_epochs` are safe.
        return optuna.pruners.MedianPruner(
            pruning.startup_trials, n_warmup_steps=pruning.warmup_epochs + 1
        )

    @property
    def tested(self) -> Tested | None:
        """The run of the first winner, which was scored on the test split; None before this run."""
        claim = self.study.user_attrs.get("best")
        report = RunFolder(self.folder / "best").report / "report.json"
        if not claim or not report.is_file():
            return None
        return Tested(**claim, report=read_report(report))

    def trials(self) -> list[FrozenTrial]:
        """The trials that have started; of a retried trial only the last attempt."""
        trials = self.study.get_trials(deepcopy=False)
        replaced: set[int] = set()
        for trial in trials:
            replaced.update(trial.system_attrs.get("retry_history", ()))
        return [
            trial
            for trial in trials
            if trial.number not in replaced and trial.state != TrialState.WAITING
        ]

    def requeue(self) -> None:
        """Queue interrupted trials again; with `retry_failed`, also failed trials."""
        self.requeue_killed()
        with self.lock:
            for trial in self.trials():
                if trial.state == TrialState.FAIL and self._is_repeated(trial):
                    # The callbacks change the trial that they receive.
                    self.retry(self.study, copy.deepcopy(trial))

    def requeue_killed(self) -> None:
        """Queue trials again that are stored as running, if no process runs trials.

        In a shared storage, the heartbeat finds them.
        """
        if self.shared:
            return
        with self.lock:
            for trial in self.trials():
                if trial.state == TrialState.RUNNING:
                    self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                    self.retry_killed(self.study, copy.deepcopy(trial))

    def _is_repeated(self, trial: FrozenTrial) -> bool:
        """Whether a failed trial is run again."""
        interrupted = trial.user_attrs.get("message") == INTERRUPTED
        return interrupted or self.settings.options.retry_failed

    def remaining(self) -> int:
        """How many trials are still to be started."""
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            optuna.storages.fail_stale_trials(self.study)
        return self.search.total - len(self.trials())

    def run_trial(self) -> None:
        """Run one trial, from its last checkpoint if it was interrupted.

        A failure is recorded and not raised.
        """
        # The lock is released when the trial has begun, so two processes never begin the same
        # point.
        with self.lock:
            if self.remaining() <= 0:
                return  # another process has begun the last trial meanwhile
            if self.search.search == "grid":
                self._enqueue_next_point()
            self.study.optimize(
                self._objective, n_trials=1, catch=(Exception,), gc_after_trial=True
            )
        self.publish()

    def _enqueue_next_point(self) -> None:
        """Queue the first point of the grid that no trial has, unless a trial waits already."""
        trials = self.study.get_trials(deepcopy=False)
        if not self.shared and any(trial.state == TrialState.WAITING for trial in trials):
            return
        tried = [trial.system_attrs.get("fixed_params") for trial in trials]
        for point in self.search.points:
            if point not in tried:
                self.study.enqueue_trial(point)
                return

    def _objective(self, trial: Trial) -> float:
        """Run a trial, and return the validation metric of its selected checkpoint."""
        self.lock.release()
        self.study.sampler = self._sampler(trial)
        values = resolve(self.search.parameters, trial)
        chosen = choices(self.search.parameters, trial)
        trial.set_user_attr("settings", values)
        trial.set_user_attr("choices", chosen)
        trial.set_user_attr("message", "")

        number = number_of(self.study.get_trials(deepcopy=False)[trial.number])
        if number != trial.number:
            self.echo(f"trial {number} continues: {described(chosen)}")
        state = "failed"
        message = ""
        try:
            result = self._validate(trial, values, self.folder / "trials" / str(number))
            trial.set_user_attr("result", dataclasses.asdict(result))
            value = result.metrics[self.search.metric]
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
            reason = f"; {message}" if message else ""
            self.echo(f"trial {number} {state}: {described(chosen)}{reason}")

    def _sampler(self, trial: Trial) -> optuna.samplers.BaseSampler:
        """Return a sampler whose random generator is seeded for the trial.

        An interrupted sweep then draws the same values as without the interruption.
        """
        seed = (self.search.seed * 100_003 + trial.number) % 2**32
        if self.search.search == "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        return optuna.samplers.RandomSampler(seed=seed)

    def _validate(self, trial: Trial, values: Values, folder: Path) -> TrialResult:
        """Train at a point of the space, and read the validation metrics from the report."""
        watch = EpochWatch(
            trial,
            self.search.metric,
            epochs=values.get("training.num_train_epochs", self.epochs),
            steps=set(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values),
        )
        recipe = self.settings.recipe_at(values, folder.name, folder, TRIAL_OVERRIDES)
        with quieter_terminal(self.warned):
            self.run(recipe, resume=True, watch=watch)

        report = read_report(RunFolder(folder).report / "report.json")
        metrics = report.parts["validation"]
        value = metrics.get(self.search.metric)
        if value is None or not math.isfinite(value):
            raise UserError(
                f"metric: {self.search.metric} is undefined on this recipe's validation split"
            )
        return TrialResult(
            metrics=metrics,
            interval=report.intervals.get(self.search.metric),
            folds=len(report.protocol.folds) if report.protocol.folds else 1,
        )

    def rows(self) -> list[Row]:
        """The trials that have started, in the order of the leaderboard."""
        return rows_of(self.trials())

    def publish(self) -> None:
        """Write best.yaml and the leaderboard, and delete the weights of most trials.

        The best trial keeps its weights, and so do failed and running trials.
        """
        with self.lock:
            rows = self.rows()
            winner = winner_of(rows)
            if not self.settings.options.keep_models:
                for row in rows:
                    if row.state in ("complete", "pruned") and row is not winner:
                        _delete_weights(self.folder / "trials" / str(row.number))
            if winner is not None:
                self._write_best(winner, len(rows))
            page = leaderboard_page(
                self.settings.recipe["name"], self.search, rows, self.tested, self.folder
            )
            replace_text(self.folder / "leaderboard.csv", leaderboard_csv(rows, self.metrics))
            replace_text(self.folder / "leaderboard.html", page)

    def _write_best(self, winner: Row, trials: int) -> None:
        """Write best.yaml; its first lines give the command to run it, and its origin."""
        path = self.folder / "best.yaml"
        recipe = self.settings.recipe_at(winner.settings, "best", self.folder / "best")
        head = (
            f"# ser-hf train {path}\n"
            f"# trial {winner.number} of {trials}, {self.search.metric} {winner.value:.4f} on "
            f"validation: {described(winner.choices)}\n"
        )
        replace_text(path, head + recipe.to_yaml())

    def close(self, test: bool) -> SweepResult:
        """Report the best trial when all trials have ended.

        With `test`, the best recipe is run and scored on the test split, unless a run was already
        scored.
        """
        rows = self.rows()
        running = ", ".join(str(row.number) for row in rows if row.state == "running")
        if running:
            self.echo(
                f"trial {running} runs in another process; the last process to end closes the sweep"
            )
            return SweepResult(str(self.folder), winner=None, tested=None)

        winner = winner_of(rows)
        if winner is None:
            page = self.folder / "leaderboard.html"
            raise UserError(f"no trial is complete; {page} has the message of each")
        with self.lock:  # another process that has nothing left to do waits for the test
            if test and "closed" not in self.study.user_attrs:
                self._run_best(winner, sum(row.state == "complete" for row in rows))
            self.publish()

        tested = self.tested
        self._echo_result(winner, len(rows), tested)
        return SweepResult(str(self.folder), winner, tested)

    def _run_best(self, winner: Row, complete: int) -> None:
        """Run the recipe of the first winner and score the test split.

        A better trial that ends later does not replace it.
        """
        if "best" not in self.study.user_attrs:
            claim = {"trial": winner.number, "trials": complete, "settings": winner.settings}
            self.study.set_user_attr("best", claim)
        claim = self.study.user_attrs["best"]

        best = self.folder / "best"
        recipe = self.settings.recipe_at(claim["settings"], "best", best)
        self.echo(f"running the best recipe, of trial {claim['trial']}, in {best}")
        if self.settings.options.jobs is None:
            self.run(recipe, resume=True)
        else:
            self.run(recipe, resume=True, jobs=Jobs.of(self.settings.options.jobs))
        if recipe.hub.repo is not None:
            from ..hub.publish import publish

            self.echo(str(publish(recipe.output_dir, **recipe.hub.publication)))
        self.study.set_user_attr("closed", True)

    def _echo_result(self, winner: Row, trials: int, tested: Tested | None) -> None:
        """Print the best trial, the score of the test split, and the leaderboard's path."""
        name = NAMES[self.search.metric]
        self.echo(
            f"best of {trials} trials: {winner.number}, {name} {winner.value:.4f} on validation"
        )
        self.echo(f"  {described(winner.choices)}")
        if tested is None:
            command = f"ser-hf train {self.folder / 'best.yaml'}"
            self.echo(f"  the test split is not scored; run the best recipe: {command}")
        else:
            report = tested.report
            score = report.metrics[self.search.metric]
            leak = ", a leaky protocol" if report.protocol.leak else ""
            self.echo(
                f"  {name} {score:.4f} on the {report.evaluated_split} split, scored once "
                f"(trial {tested.trial}{leak})"
            )
        self.echo(f"  {self.folder / 'leaderboard.html'}")


def _delete_weights(trial: Path) -> None:
    """Delete the weights of a trial's folds and seeds; recipe, split, report and log stay."""
    for recipe in trial.rglob("recipe.yaml"):
        for name in ("checkpoints", "model"):
            shutil.rmtree(recipe.with_name(name), ignore_errors=True)
        recipe.with_name("reference.npz").unlink(missing_ok=True)
