"""The trials of a sweep as an Optuna study (Akiba et al. 2019, arXiv:1907.10902), in storage that processes and
machines share.

By default that is a journal, a file that is only ever appended to: unlike SQLite's, its lock (a file made with O_EXCL)
also works on network file systems, and a reader sees a trial whole or not at all.

A grid's points wait in the study from the start, and taking one is a single operation of the storage, so that none is
run twice. Every other trial draws from a generator of its own, seeded by the search's seed and its number: a sweep
that was interrupted, or shared by processes, draws at random what it would have drawn in one go.
"""

import dataclasses
import datetime
import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from ..errors import UserError
from .folder import SweepFolder
from .space import Bundles, Choice, Pruning, Range, Search, choose, grid

# A trial that the machine kills so often at the same place would do so for ever: memory has run out, say.
MOST_DEATHS = 3
# Seconds after which a trial that nobody has put a name to was taken by a process that died in that moment.
_NAMELESS = 60
_WORDS = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclasses.dataclass(frozen=True)
class Claim:
    """A trial that this process runs: its number, the recipe keys it sets, the same for people, and its lock."""

    trial: optuna.Trial
    settings: dict[str, Any]
    shown: dict[str, Any]
    resumed: bool
    lock: FileLock

    @property
    def number(self) -> int:
        return self.trial.number


@dataclasses.dataclass(frozen=True)
class Row:
    """A trial as the leaderboard has it. `value` is what validation says of it, of a pruned one the best so far."""

    number: int
    state: str
    value: float | None
    shown: dict[str, Any]
    settings: dict[str, Any]
    epochs: int
    seconds: float | None
    metrics: dict[str, float]
    interval: list[float] | None
    message: str


class Study:
    """The trials so far.

    Args:
        home: names the folder among folders, on other machines, that share the storage.
        name: the study's in the storage.
        url: of the storage; None is the folder's own journal.
        epochs: how many a trial has unless it says otherwise, for pruning.
    """

    def __init__(self, search: Search, folder: SweepFolder, home: str, name: str, url: str | None, epochs: int):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.search, self.folder, self.home, self.own_storage = search, folder, home, url is None
        self.space, self.epochs = search.parameters, epochs
        self.lower_is_better = search.metric == "loss"
        try:
            storage = journal(folder.journal) if url is None else get_storage(url)
            self.study = optuna.create_study(
                storage=storage,
                study_name=name,
                direction="minimize" if self.lower_is_better else "maximize",
                pruner=_pruner(search.pruner, epochs),
                load_if_exists=True,
            )
        except Exception as error:  # each database has errors of its own
            where = "study.journal" if url is None else "--storage"
            raise UserError(f"{where}: {_first_line(error)}") from error
        self.points = list(grid(self.space)) if search.search == "grid" else None
        if self.points is not None:
            with folder.lock():
                self._enqueue(self.points[: self.asked])

    @property
    def asked(self) -> int:
        """How many trials there are to be in all."""
        wanted = self.search.trials
        if self.points is None:
            return wanted
        return len(self.points) if wanted is None else min(wanted, len(self.points))

    def _enqueue(self, points: list[dict[str, Any]]) -> None:
        there = {trial.user_attrs.get("point") for trial in self._trials()}
        for index, point in enumerate(points):
            if index not in there:
                self.study.enqueue_trial(point, user_attrs={"point": index})

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def claim(self) -> Claim | None:
        """The next trial to run, an interrupted one of this folder first; None where there is none left."""
        with self.folder.lock():
            for trial in self._trials(TrialState.RUNNING):
                if (lock := self._abandoned(trial)) is not None:
                    return self._take(optuna.Trial(self.study, trial._trial_id), lock, resumed=True)
            started = len(self._trials()) - len(self._trials(TrialState.WAITING))
            if started >= self.asked:
                return None
            trial = self.study.ask()
            if self.points is not None and "point" not in trial.user_attrs:
                # A machine that does not share the folder took the last point in this very moment.
                self.study.tell(trial, state=TrialState.FAIL)
                return None
            return self._take(trial, self.folder.occupy(trial.number), resumed=False)

    def _abandoned(self, trial: FrozenTrial) -> FileLock | None:
        """The lock of a running trial whose process is gone; None where it goes on, maybe on another machine."""
        home = trial.user_attrs.get("home")
        if home is None and not self.own_storage:
            age = datetime.datetime.now() - trial.datetime_start
            if age.total_seconds() < _NAMELESS:
                return None
        return self.folder.occupy(trial.number) if home in (None, self.home) else None

    def _take(self, trial: optuna.Trial, lock: FileLock, resumed: bool) -> Claim:
        trial.set_user_attr("home", self.home)
        self.study.sampler = self._sampler(trial.number)
        settings, shown = choose(self.space, lambda name, parameter: _ask(trial, name, parameter))
        trial.set_user_attr("settings", settings)
        trial.set_user_attr("shown", shown)
        return Claim(trial, settings, shown, resumed, lock)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = int(np.random.SeedSequence([self.search.seed, number]).generate_state(1)[0])
        if self.search.search == "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        return optuna.samplers.RandomSampler(seed=seed)

    def died_too_often(self, claim: Claim) -> bool:
        """Whether processes that ran this trial were killed `MOST_DEATHS` times without one validation more."""
        if not claim.resumed:
            return False
        at = claim.trial.user_attrs.get("progress", "")
        before = claim.trial.user_attrs.get("deaths", {})
        times = before["times"] + 1 if before.get("at") == at else 1
        claim.trial.set_user_attr("deaths", {"at": at, "times": times})
        return times >= MOST_DEATHS

    def interrupted(self, claim: Claim) -> None:
        """Ends no trial; but an interruption by the user is no death."""
        at = claim.trial.user_attrs.get("progress", "")
        before = claim.trial.user_attrs.get("deaths", {})
        claim.trial.set_user_attr("deaths", {"at": at, "times": before["times"] - 1 if before.get("at") == at else -1})

    def progress(self, claim: Claim, place: tuple[str, ...], epoch: float, seconds: float) -> None:
        """Notes how far a trial has come and what it took so far, for whoever goes on with it."""
        if "place" not in claim.trial.user_attrs:
            claim.trial.set_user_attr("place", list(place))
        claim.trial.set_user_attr("progress", " ".join([*place, f"{epoch:.3f}"]))
        claim.trial.set_user_attr("seconds", seconds)

    def first_place(self, claim: Claim) -> list[str]:
        """The fold or seed that this trial began with."""
        return claim.trial.user_attrs["place"]

    def _frozen(self, claim: Claim) -> FrozenTrial:
        return self._trials()[claim.number]

    def twin(self, claim: Claim) -> FrozenTrial | None:
        """A complete trial with the same settings."""
        same = (
            trial
            for trial in self._trials(TrialState.COMPLETE)
            if trial.user_attrs["settings"] == claim.settings and "same_as" not in trial.user_attrs
        )
        return next(same, None)

    def report(self, claim: Claim, step: int, value: float) -> bool:
        """Tells of an epoch; returns whether the trial is to be pruned."""
        if step in self._frozen(claim).intermediate_values:  # said before it was interrupted
            return False
        claim.trial.report(value, step)
        # After its last epoch a trial has cost all that it can cost, and may as well be judged.
        over = step >= claim.settings.get("training.num_train_epochs", self.epochs)
        return self.search.pruner is not None and not over and claim.trial.should_prune()

    def finish(self, claim: Claim, state: TrialState, value: float | None = None, **facts: Any) -> Row:
        """Ends a trial: COMPLETE with a value, PRUNED, or FAIL with a `message` among the facts."""
        for key, fact in facts.items():
            claim.trial.set_user_attr(key, fact)
        self.study.tell(claim.number, value, state)
        return self.row(self._frozen(claim))

    def row(self, trial: FrozenTrial) -> Row:
        attributes, value = trial.user_attrs, trial.value if trial.state == TrialState.COMPLETE else None
        if trial.state == TrialState.PRUNED:
            value = self.best_of(list(trial.intermediate_values.values()))
        return Row(
            trial.number,
            _WORDS[trial.state],
            value,
            attributes.get("shown", {}),
            attributes.get("settings", {}),
            max(trial.intermediate_values, default=0),
            attributes.get("seconds"),
            attributes.get("metrics", {}),
            attributes.get("interval"),
            attributes.get("message", ""),
        )

    def best_of(self, values: list[float]) -> float | None:
        return (min if self.lower_is_better else max)(values, default=None)

    def rows(self) -> list[Row]:
        """Every trial that was begun: complete ones from the best on, then pruned, running and failed ones."""
        order = ["complete", "pruned", "running", "failed"]
        rows = [self.row(trial) for trial in self._trials() if trial.state != TrialState.WAITING]
        sign = 1 if self.lower_is_better else -1

        def rank(row: Row) -> tuple:
            return order.index(row.state), math.inf if row.value is None else sign * row.value, row.number

        return sorted(rows, key=rank)

    def winner(self) -> Row | None:
        best = next(iter(self.rows()), None)
        return best if best is not None and best.state == "complete" else None

    def failed_alike(self) -> str | None:
        """The message of the first trials, if all of them, three or more, failed with the same one."""
        ended = [row for row in self.rows() if row.state != "running"]
        if len(ended) < 3 or any(row.state != "failed" for row in ended):
            return None
        alike = {re.sub(r"[\d.e+-]*\d", "#", row.message) for row in ended}
        return ended[0].message if len(alike) == 1 else None

    def importances(self) -> dict[str, float]:
        """Share of the variance among complete trials that each parameter explains alone or with others (fANOVA,
        Hutter et al. 2014); of parameters that all trials have. Empty for fewer than ten trials or none that vary."""
        complete = self._trials(TrialState.COMPLETE)
        if len(complete) < 10 or len({trial.value for trial in complete}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.importance.get_param_importances(self.study, evaluator=evaluator)

    def note(self, key: str, value: Any) -> None:
        self.study.set_user_attr(key, value)

    def noted(self, key: str) -> Any:
        return self.study.user_attrs.get(key)


def journal(path: Path) -> JournalStorage:
    """The storage in a file. A last line that a killed process did not finish is cut off."""
    lock = JournalFileOpenLock(str(path))
    backend = JournalFileBackend(str(path), lock)
    lock.acquire()
    try:
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            with path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()
    return JournalStorage(backend)


def _ask(trial: optuna.Trial, name: str, parameter: Range | Choice | Bundles) -> Any:
    asked = distribution(parameter)
    if isinstance(asked, CategoricalDistribution):
        return trial.suggest_categorical(name, asked.choices)
    if isinstance(asked, IntDistribution):
        return trial.suggest_int(name, asked.low, asked.high, step=asked.step, log=asked.log)
    # 3 * 0.1 as people write it.
    return float(f"{trial.suggest_float(name, asked.low, asked.high, step=asked.step, log=asked.log):.12g}")


def distribution(parameter: Range | Choice | Bundles) -> BaseDistribution:
    """What Optuna calls a parameter. Choices go by how they are written: it stores no lists, and holds 1 for true."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(list(parameter.labelled()))
    if isinstance(parameter, Bundles):
        return CategoricalDistribution(list(parameter.options))
    listed = parameter.values()
    high = parameter.high if listed is None else listed[-1]
    if parameter.whole:
        return IntDistribution(parameter.low, high, parameter.log, parameter.step or 1)
    return FloatDistribution(parameter.low, high, parameter.log, parameter.step)


def _pruner(pruning: Pruning | None, epochs: int) -> optuna.pruners.BasePruner:
    if pruning is None:
        return optuna.pruners.NopPruner()
    if pruning.kind == "median":
        startup = 5 if pruning.startup_trials is None else pruning.startup_trials
        # Optuna counts steps from 0, we epochs from 1: the first so many are safe.
        return optuna.pruners.MedianPruner(startup, n_warmup_steps=pruning.warmup_epochs + 1)
    factor = pruning.reduction_factor or 3
    if pruning.kind == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner(pruning.warmup_epochs, factor)
    return optuna.pruners.HyperbandPruner(pruning.warmup_epochs, max(epochs, pruning.warmup_epochs), factor)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
