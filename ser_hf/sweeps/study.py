"""Runs the trials of a sweep as an Optuna study (Akiba et al. 2019, arXiv:1907.10902) and tests the winner once.

A sweep's folder holds sweep.json (recipe and space), study.db (Optuna's SQLite storage, unless --storage names another
one), trials/N/ (the run of trial N), leaderboard.csv, leaderboard.html, best.yaml and best/ (the best trial's recipe
and its run).
"""

import contextlib
import copy
import dataclasses
import json
import logging
import math
import os
import shutil
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, Trial, TrialState

from ..evaluation.metrics import NAMES
from ..experiment.recipe import Recipe
from ..experiment.recipe_checks import read_recipe
from ..experiment.run import run as run_experiment
from ..report.report import Report, read_report
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from .leaderboard import Leaderboard, Row, ranked
from .space import Search, Settings, described, overrides, resolve

logger = logging.getLogger(__name__)

# Trials that fail one after the other before the sweep stops, and retries of a trial whose process was killed.
MAX_FAILURES = 3
MAX_RETRIES = 3
# Seconds between the heartbeats of a trial in a shared storage, and after the last one until the trial is retried.
HEARTBEAT, GRACE_PERIOD = 60, 180
INTERRUPTED = "interrupted"
# A trial never uses the test split, has no leaky foil and is not published.
TRIAL_OVERRIDES = ["evaluation.part=validation", "protocol.foil=null", "hub.repo=null"]
_LONGEST_MESSAGE = 300
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.FAIL: "failed",
}

# `ser_hf.experiment.run`, or a stub in tests.
Runner = Callable[..., Report]


@dataclasses.dataclass(frozen=True)
class SweepSettings:
    """A validated sweep as plain values, which can be sent to workers."""

    recipe: Mapping[str, Any]
    overrides: tuple[str, ...]
    search: Search
    folder: Path
    storage: str | None = None
    keep_models: bool = False
    failed: Literal["again", "pass"] | None = None

    def recipe_at(self, settings: Settings, name: str, folder: Path, extra: Iterable[str] = ()) -> Recipe:
        own = {"name": f"{self.recipe['name']}-{name}", "output_dir": str(folder)}
        return read_recipe(self.recipe, [*self.overrides, *overrides(settings | own), *extra])


class SweepStudy:
    """The Optuna study of a sweep, and what runs and ranks its trials.

    Args:
        on_epoch: receives the epoch and the metric after each validation of a trial's first fold or seed.
    """

    def __init__(
        self,
        settings: SweepSettings,
        run: Runner = run_experiment,
        echo: Callable[[str], None] = print,
        on_epoch: Callable[[float, float], None] | None = None,
    ):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.settings, self.search, self.folder = settings, settings.search, settings.folder
        self.run, self.echo, self.on_epoch = run, echo, on_epoch
        base = read_recipe(settings.recipe, settings.overrides)
        self.epochs = round(base.training.arguments.get("num_train_epochs") or 1)
        self.evaluated_on = base.evaluation.part
        self.lock = FileLock(self.folder / "sweep.lock")
        with self.lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.retry = RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)
            self.retry_killed = RetryHeartbeatStaleTrialCallback(MAX_RETRIES, inherit_intermediate_values=True)
            try:
                self.storage = RDBStorage(
                    settings.storage or f"sqlite:///{self.folder / 'study.db'}",
                    heartbeat_interval=HEARTBEAT if settings.storage else None,
                    grace_period=GRACE_PERIOD,
                    heartbeat_stale_trial_callback=self.retry_killed,
                )
                self.study = optuna.create_study(
                    study_name=self.folder.name,
                    storage=self.storage,
                    direction="minimize" if self.search.metric == "loss" else "maximize",
                    pruner=_pruner(self.search, self.epochs),
                    load_if_exists=True,
                )
            except Exception as error:  # each database has its own errors
                where = "--storage" if settings.storage else self.folder / "study.db"
                raise UserError(f"{where}: {first_line(error)}") from error
        own = json.loads((self.folder / "sweep.json").read_text(encoding="utf-8"))["id"]
        if self.study.user_attrs.get("id", own) != own:
            raise UserError(
                f"--storage: its study {self.folder.name} belongs to another folder; the processes of a sweep share "
                "--output, and each sweep has its own"
            )
        self.study.set_user_attr("id", own)

    @property
    def tested(self) -> dict[str, Any] | None:
        """The result of the test, once there is one."""
        return self.study.user_attrs.get("tested")

    def trials(self) -> list[FrozenTrial]:
        """All trials, but of one that was retried only the last attempt."""
        trials = self.study.get_trials(deepcopy=False)
        replaced = {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}
        return [t for t in trials if t.number not in replaced and "surplus" not in t.user_attrs]

    def requeue(self) -> None:
        """Queues interrupted trials again; with `failed="again"`, failed ones too."""
        with self.lock:
            for trial in self.trials():
                if trial.state == TrialState.RUNNING and self.settings.storage is None:
                    self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                    self.retry_killed(self.study, copy.deepcopy(trial))  # which it changes
                elif trial.state == TrialState.FAIL and (
                    self.settings.failed == "again" or trial.user_attrs.get("message") == INTERRUPTED
                ):
                    self.retry(self.study, copy.deepcopy(trial))

    def remaining(self) -> int:
        """How many trials are still to be started.

        Raises:
            UserError: if the last trials all failed.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)
        started = [trial for trial in self.trials() if trial.state != TrialState.WAITING]
        remaining = self.search.total - len(started)
        ended = sorted((t for t in started if t.state.is_finished()), key=lambda trial: trial.datetime_complete)
        last = ended[-MAX_FAILURES:]
        failing = len(last) == MAX_FAILURES and all(trial.state == TrialState.FAIL for trial in last)
        if remaining > 0 and failing and self.settings.failed != "pass":
            raise UserError(
                f"the last {MAX_FAILURES} trials failed: {_message(last[-1])} (once this is fixed, --failed again "
                "repeats them; --failed pass continues without them)"
            )
        return remaining

    def run_trial(self) -> None:
        """Runs one trial, from its last checkpoint if it was interrupted; a failure is recorded and not raised."""
        if self.search.search == "grid":
            with self.lock:
                trials = self.study.get_trials(deepcopy=False)
                tried = [trial.system_attrs.get("fixed_params") for trial in trials]
                point = next((own for own in self.search.points() if own not in tried), None)
                if point is not None and not any(trial.state == TrialState.WAITING for trial in trials):
                    self.study.enqueue_trial(point)
        self.study.optimize(self._objective, n_trials=1, catch=(Exception,), gc_after_trial=True)
        self.publish()

    def _objective(self, trial: Trial) -> float:
        started = [own for own in self.trials() if own.state != TrialState.WAITING and own.number < trial.number]
        if len(started) >= self.search.total:  # another process has started the last trial meanwhile
            trial.set_user_attr("surplus", True)
            raise optuna.TrialPruned
        # With a generator for each trial, a sweep that was interrupted draws what it would have drawn.
        sampler = optuna.samplers.TPESampler if self.search.search == "tpe" else optuna.samplers.RandomSampler
        self.study.sampler = sampler(seed=(self.search.seed * 100_003 + trial.number) % 2**32)
        values, shown = resolve(self.search.parameters, lambda name, parameter: parameter.suggest(trial, name))
        for key, value in {"settings": values, "shown": shown, "message": ""}.items():
            trial.set_user_attr(key, value)
        number = _number(self.study.get_trials(deepcopy=False)[trial.number])
        folder = self.folder / "trials" / str(number)
        resumed = " continues" if number != trial.number else ""
        self.echo(f"trial {number}{resumed}: {described(shown)}")
        state, value, message = "failed", None, ""
        try:
            result = self._same(values) or self._validate(trial, values, number, folder)
            state, value, message = "complete", result["metrics"][self.search.metric], result.get("message", "")
            trial.set_user_attr("result", result)
            return value
        except optuna.TrialPruned:
            state = "pruned"
            raise
        except KeyboardInterrupt:
            message = INTERRUPTED
            raise
        except Exception as error:
            message = _failure(error, folder)
            raise
        finally:
            trial.set_user_attr("message", message)
            figure = "" if value is None else f" {NAMES.get(self.search.metric, self.search.metric)} {value:.4f}"
            self.echo(f"trial {number} {state}{figure}{message and f': {message}'}")

    def _same(self, values: Settings) -> dict[str, Any] | None:
        """The result of a complete trial with equal settings."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if trial.user_attrs["settings"] == values:
                return trial.user_attrs["result"] | {"message": f"same settings and figures as trial {_number(trial)}"}
        return None

    def _validate(self, trial: Trial, values: Settings, number: int, folder: Path) -> dict[str, Any]:
        """Trains at a point of the space and returns the metrics of the kept checkpoint on validation."""
        steps = set(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        places = [trial.user_attrs["place"]] if "place" in trial.user_attrs else []
        epochs = values.get("training.num_train_epochs", self.epochs)

        def watch(place: tuple[str, ...], epoch: float, metrics: Mapping[str, float]) -> None:
            step, value = math.floor(epoch + 1e-6), metrics.get(self.search.metric, math.nan)
            if not places:  # trials are compared at epochs of the first fold or seed only
                places.append(list(place))
            if places[0] != list(place) or step < 1 or step in steps or not math.isfinite(value):
                return
            try:
                if not steps:
                    trial.set_user_attr("place", list(place))
                trial.report(value, step)
                steps.add(step)
                prune = step < epochs and trial.should_prune()
            except optuna.exceptions.StorageInternalError as error:  # the result matters, not this epoch
                logger.warning("trial %d, epoch %g, is not recorded: %s", number, epoch, first_line(error))
                return
            if self.on_epoch is not None:
                self.on_epoch(epoch, value)
            if prune:
                raise optuna.TrialPruned

        recipe = self.settings.recipe_at(values, str(number), folder, TRIAL_OVERRIDES)
        report = self.run(recipe, resume=True, watch=watch)
        metric, metrics = self.search.metric, dict(report.parts["validation"])
        if (loss := _kept_loss(RunFolder(folder))) is not None:
            metrics["loss"] = loss
        if metric not in metrics:
            raise UserError(f"metric: {metric} is not measured on this recipe's validation; {', '.join(metrics)} are")
        if not math.isfinite(metrics[metric]):
            raise UserError(f"{metric} on validation is {metrics[metric]}")
        compared = {"labels": list(report.labels), "protocol": report.protocol.sha256}
        for other in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if other.user_attrs["result"]["compared"] != compared:
                raise UserError(
                    f"other labels or another split than trial {_number(other)}, so that their figures cannot be "
                    "compared; remove the keys that change them from the space"
                )
        return {
            "metrics": metrics,
            "interval": report.intervals.get(metric),
            "folds": len(report.protocol.folds or "1"),
            "compared": compared,
        }

    def rows(self) -> list[Row]:
        """The trials that have started, ranked."""
        lower_is_better = self.search.metric == "loss"
        rows = []
        for trial in self.trials():
            if trial.state == TrialState.WAITING:
                continue
            value, result = trial.value, trial.user_attrs.get("result", {})
            if trial.state == TrialState.PRUNED:
                value = (min if lower_is_better else max)(trial.intermediate_values.values(), default=None)
            rows.append(
                Row(
                    number=_number(trial),
                    state=_STATES[trial.state],
                    value=value,
                    shown=trial.user_attrs.get("shown", {}),
                    settings=trial.user_attrs.get("settings", {}),
                    epochs=max(trial.intermediate_values, default=0),
                    seconds=None if trial.duration is None else trial.duration.total_seconds(),
                    metrics=result.get("metrics", {}),
                    interval=result.get("interval"),
                    folds=result.get("folds", 1),
                    message=_message(trial),
                )
            )
        return ranked(rows, lower_is_better)

    def publish(self) -> None:
        """Writes best.yaml and the leaderboard, and deletes the weights of complete and pruned trials but the best."""
        with self.lock:
            rows = self.rows()
            winner = next((row for row in rows if row.state == "complete"), None)
            for row in rows:
                if row.state in ("complete", "pruned") and row is not winner and not self.settings.keep_models:
                    _delete_weights(self.folder / "trials" / str(row.number))
            if winner is not None:
                head = (
                    f"# ser-hf train {self.folder / 'best.yaml'}\n# trial {winner.number} of {len(rows)}, "
                    f"{self.search.metric} {winner.value:.4f} on validation: {described(winner.shown)}\n"
                )
                best = self.settings.recipe_at(winner.settings, "best", self.folder / "best")
                replace_text(self.folder / "best.yaml", head + best.to_yaml())
            name = self.settings.recipe["name"]
            board = Leaderboard(name, self.search, rows, self.evaluated_on, self.tested, self.importances())
            replace_text(self.folder / "leaderboard.csv", board.csv())
            replace_text(self.folder / "leaderboard.html", board.html(self.folder))

    def importances(self) -> dict[str, float]:
        """fANOVA's importance of each parameter that all trials have; empty below ten complete trials."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < 10 or len({trial.value for trial in complete}) < 2:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
                return optuna.importance.get_param_importances(self.study, evaluator=evaluator)
            except RuntimeError:  # its trees see no variance
                return {}

    def close(self, test: bool) -> dict[str, Any]:
        """Reports the best trial once all have ended, and scores it on the test split if nothing was scored yet."""
        rows, result = self.rows(), {"folder": str(self.folder), "winner": None, "tested": None}
        if running := sorted(row.number for row in rows if row.state == "running"):
            numbers = ", ".join(map(str, running))
            self.echo(f"trial {numbers} runs in another process; the last process to end closes the sweep")
            return result
        winner, page = rows[0] if rows and rows[0].state == "complete" else None, self.folder / "leaderboard.html"
        if winner is None:
            raise UserError(f"no trial is complete; {page} has the message of each")
        with self.lock:  # another process that has nothing left to do waits for the test
            if test and self.evaluated_on == "test" and self.tested is None:
                self.score(winner, sum(row.state == "complete" for row in rows))
            self.publish()
        tested = self.tested
        name = NAMES.get(self.search.metric, self.search.metric)
        self.echo(f"best of {len(rows)} trials: {winner.number}, {name} {winner.value:.4f} on validation")
        self.echo(f"  {described(winner.shown)}")
        if tested is None:
            self.echo(f"  the test split is not scored; run the best recipe: ser-hf train {self.folder / 'best.yaml'}")
        elif tested["trial"] == winner.number:
            leak = " (a leaky protocol: its speakers are in training too)" if tested["leak"] else ""
            folds = f", mean of {tested['folds']} folds" if tested["folds"] > 1 else ""
            metric = self.search.metric if self.search.metric in tested["test"] else "uar"
            self.echo(f"  {NAMES[metric]} {tested['test'][metric]:.4f} on the test split{folds}{leak}")
        else:
            self.echo(f"  the test split scored trial {tested['trial']} before, and is not scored again")
        self.echo(f"  {page}")
        return result | {"winner": dataclasses.asdict(winner), "tested": tested}

    def score(self, winner: Row, complete: int) -> None:
        """Runs the best recipe and scores the test split, always for the trial that was chosen for it first."""
        if "test" not in self.study.user_attrs:
            claim = {"trial": winner.number, "trials": complete, "settings": winner.settings}
            self.study.set_user_attr("test", claim)
        claim = self.study.user_attrs["test"]
        best = self.folder / "best"
        recipe = self.settings.recipe_at(claim["settings"], "best", best)
        if not RunFolder(best).complete:
            self.echo(f"running the best recipe, of trial {claim['trial']}, in {best}")
        try:
            report = self.run(recipe, resume=True)
        except UserError as error:
            raise UserError(f"{best}: {error}") from error
        if recipe.hub.repo is not None:
            from ..hub.publish import publish

            self.echo(str(publish(recipe.output_dir, **recipe.hub.publication)))
        tested = {
            "trial": claim["trial"],
            "trials": claim["trials"],
            "folds": len(report.protocol.folds or "1"),
            "leak": bool(report.protocol.leak),
            "validation": dict(report.parts["validation"]),
            "test": dict(report.metrics),
            "intervals": {name: list(own) for name, own in report.intervals.items()},
        }
        self.study.set_user_attr("tested", tested)


def _pruner(search: Search, epochs: int) -> optuna.pruners.BasePruner:
    own = search.pruner
    if own is None:
        return optuna.pruners.NopPruner()
    if own.kind == "median":
        # Optuna counts steps from 0 and epochs count from 1: the first `warmup_epochs` are safe.
        startup = 5 if own.startup_trials is None else own.startup_trials
        return optuna.pruners.MedianPruner(startup, n_warmup_steps=own.warmup_epochs + 1)
    factor = own.reduction_factor or 3
    if own.kind == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner(own.warmup_epochs, factor)
    return optuna.pruners.HyperbandPruner(own.warmup_epochs, max(epochs, own.warmup_epochs), factor)


def _number(trial: FrozenTrial) -> int:
    """A trial's number; of a retried one, that of the first attempt, whose folder it continues."""
    return trial.system_attrs.get("failed_trial", trial.number)


def _message(trial: FrozenTrial) -> str:
    message = trial.user_attrs.get("message", "")
    if trial.state == TrialState.FAIL and not message:
        return "its process was killed, perhaps because memory ran out"
    return message


def _failure(error: Exception, folder: Path) -> str:
    """An error in one line; unless it is the user's, its traceback goes to logs/failure.txt of the run."""
    text = " ".join(str(error).split())
    if not isinstance(error, UserError):
        text = f"{type(error).__name__}: {text}"
        with contextlib.suppress(OSError):  # the disk may be full
            (folder / "logs").mkdir(parents=True, exist_ok=True)
            (folder / "logs" / "failure.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."


def _kept_loss(folder: RunFolder) -> float | None:
    """Validation loss of the kept checkpoint; over several folds or seeds, their mean."""
    if children := sorted(path.name for path in folder.path.iterdir() if path.name.startswith(("fold-", "seed-"))):
        losses = [_kept_loss(folder.child(name)) for name in children]
    else:
        history = read_report(folder.report / "report.json").history
        losses = [entry["validation"].get("loss") for entry in history if entry.get("kept")]
    return None if not losses or None in losses else sum(losses) / len(losses)


def _delete_weights(trial: Path) -> None:
    """Deletes a trial's weights and those of its folds and seeds; recipe, split, report and logs stay."""
    for recipe in trial.rglob("recipe.yaml"):
        for name in ("checkpoints", "model"):
            shutil.rmtree(recipe.with_name(name), ignore_errors=True)
        recipe.with_name("reference.npz").unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Writes a file that readers see before or after, never in between."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
