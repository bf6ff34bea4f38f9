"""The trials of a sweep as an Optuna study (Akiba et al. 2019, arXiv:1907.10902): who takes which, what came of it.

Every trial has a point: of a grid its answers, otherwise the number of a draw, whose generator it seeds. A point has
one trial that counts, of several the one with the lowest number (`ser_hf.sweeps.storage`), unless that one failed by
no fault of the point's: then it is free again when the sweep is called the next time.
"""

import contextlib
import dataclasses
import itertools
import warnings
from typing import Any

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState

from . import draws, rows
from .folder import SweepFolder
from .one_test import OneTest
from .points import choose, grid, identity
from .rows import Row
from .space import Search
from .storage import open_storage, put, withdraw

# A trial that the machine kills so often at the same place would do so for ever: memory has run out, say.
MOST_DEATHS = 3


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


class Study:
    """The trials so far.

    Args:
        home: names the folder among folders, on other machines, that share the storage.
        name: the study's in the storage.
        url: of the storage; None is the folder's own journal.
        epochs: how many a trial has unless it says otherwise, for pruning.
        again: numbers of failed trials whose points are free.
    """

    def __init__(
        self,
        search: Search,
        folder: SweepFolder,
        home: str,
        name: str,
        url: str | None,
        epochs: int,
        again: tuple[int, ...] = (),
    ):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.search, self.folder, self.home, self.name = search, folder, home, name
        self.space, self.epochs, self.again = search.parameters, epochs, again
        self.lower_is_better = search.metric == "loss"
        self.storage = open_storage(url, folder.journal)
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=name,
            direction="minimize" if self.lower_is_better else "maximize",
            pruner=draws.pruner(search.pruner, epochs),
            load_if_exists=True,
        )
        self.id = self.storage.get_study_id_from_name(name)
        self.test = OneTest(self.storage, f"{name}-test", home)
        points = grid(self.space) if search.search == "grid" else None
        self.points = None if points is None else {identity(answers): answers for answers in points}

    @property
    def asked(self) -> int:
        """How many trials there are to be in all."""
        wanted = self.search.trials
        if self.points is None:
            return wanted
        return len(self.points) if wanted is None else min(wanted, len(self.points))

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _counting(self) -> list[FrozenTrial]:
        return rows.counting(self._trials())

    @property
    def left(self) -> int:
        """How many trials are still to be begun or to go on."""
        begun = [trial for trial in self._counting() if trial.number not in self.again]
        return self.asked - len(begun) + sum(trial.state == TrialState.RUNNING for trial in begun)

    def failures(self, passed: bool = False, all_of_them: bool = False) -> tuple[int, ...]:
        """Numbers of the failed trials that are tried again: those that failed by the machine's trouble, or alike.

        Args:
            passed: none; they are left as they are.
            all_of_them: those that failed by their own fault too.
        """
        if passed:
            return ()
        alike = {trial.number for trial in self._alike()}
        failed = [trial for trial in self._counting() if trial.state == TrialState.FAIL]
        return tuple(
            trial.number
            for trial in failed
            if all_of_them or trial.number in alike or trial.user_attrs.get("cause") == "machine"
        )

    def claim(self) -> Claim | None:
        """The next trial to run, an interrupted one of this folder first; None where there is none left."""
        with self.folder.lock():
            for trial in self._trials(TrialState.RUNNING):
                if trial.user_attrs["home"] == self.home and (lock := self.folder.occupy(trial.number)) is not None:
                    if self._is_first(trial):
                        return self._take(trial, lock, resumed=True)
                    self._withdraw(trial, lock)
            while (point := self._next()) is not None:
                answers = None if self.points is None else self.points[point]
                trial_id = put(self.storage, self.id, {"home": self.home, "point": point}, answers)
                trial = self.storage.get_trial(trial_id)
                lock = self.folder.occupy(trial.number)
                if self._is_first(trial):
                    return self._take(trial, lock, resumed=False)
                self._withdraw(trial, lock)
        return None

    def _next(self) -> str | None:
        """The first point that nobody has taken."""
        taken = {trial.user_attrs["point"] for trial in self._counting() if trial.number not in self.again}
        if len(taken) >= self.asked:
            return None
        points = map(str, itertools.count()) if self.points is None else self.points
        return next(point for point in points if point not in taken)

    def _is_first(self, trial: FrozenTrial) -> bool:
        """Whether no trial with a lower number has the same point and is run or has come to its end."""
        return all(
            trial.number <= other.number
            for other in self._trials(TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
            if other.user_attrs["point"] == trial.user_attrs["point"]
        )

    def _withdraw(self, trial: FrozenTrial, lock: FileLock) -> None:
        withdraw(self.storage, trial._trial_id)
        lock.release()

    def take_over(self) -> list[int]:
        """Withdraws what other folders run: their points are free. Returns the numbers of the trials."""
        others = [trial for trial in self._trials(TrialState.RUNNING) if trial.user_attrs["home"] != self.home]
        for trial in others:
            with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
                withdraw(self.storage, trial._trial_id)
        return [trial.number for trial in others]

    def all_at_home(self) -> bool:
        """Whether this folder's processes run whatever is run."""
        return all(trial.user_attrs["home"] == self.home for trial in self._trials(TrialState.RUNNING))

    def _take(self, taken: FrozenTrial, lock: FileLock, resumed: bool) -> Claim:
        draw = 0 if self.points is not None else int(taken.user_attrs["point"])
        self.study.sampler = draws.sampler(self.search.search, self.search.seed, draw)
        trial = optuna.Trial(self.study, taken._trial_id)
        settings, shown = choose(self.space, lambda name, parameter: draws.ask(trial, name, parameter))
        trial.set_user_attr("settings", settings)
        trial.set_user_attr("shown", shown)
        return Claim(trial, settings, shown, resumed, lock)

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
        return self.storage.get_trial(claim.trial._trial_id)

    def twin(self, claim: Claim) -> FrozenTrial | None:
        """A complete trial with the same settings."""
        same = (
            trial
            for trial in self._trials(TrialState.COMPLETE)
            if trial.user_attrs["settings"] == claim.settings and "same_as" not in trial.user_attrs
        )
        return next(same, None)

    def complete(self) -> list[FrozenTrial]:
        return self._trials(TrialState.COMPLETE)

    def report(self, claim: Claim, step: int, value: float) -> bool:
        """Tells of an epoch; returns whether the trial is to be pruned."""
        told = self._frozen(claim).intermediate_values
        if step in told and step < max(told):  # said, and judged, before it was interrupted
            return False
        if step not in told:
            claim.trial.report(value, step)
        # After its last epoch a trial has cost all that it can cost, and may as well be judged.
        over = step >= claim.settings.get("training.num_train_epochs", self.epochs)
        return self.search.pruner is not None and not over and claim.trial.should_prune()

    def finish(self, claim: Claim, state: TrialState, value: float | None = None, **facts: Any) -> Row:
        """Ends a trial: COMPLETE with a value, PRUNED, or FAIL with a `message` and its `cause` among the facts."""
        for key, fact in facts.items():
            claim.trial.set_user_attr(key, fact)
        self.storage.set_trial_state_values(claim.trial._trial_id, state, None if value is None else [value])
        return rows.as_row(self._frozen(claim), self.lower_is_better)

    def rows(self) -> list[Row]:
        """Every trial that counts: complete ones from the best on, then pruned, running and failed ones."""
        return rows.ranked(self._counting(), self.lower_is_better)

    def winner(self) -> Row | None:
        best = next(iter(self.rows()), None)
        return best if best is not None and best.state == "complete" else None

    def _alike(self) -> list[FrozenTrial]:
        return rows.alike(trial for trial in self._counting() if trial.user_attrs["home"] == self.home)

    def failed_alike(self) -> str | None:
        """The message of the last trials of this folder, if three or more of them failed with the same one."""
        alike = self._alike()
        return alike[0].user_attrs["message"] if alike else None

    def importances(self) -> dict[str, float]:
        """Share of the variance among complete trials that each parameter explains alone or with others (fANOVA,
        Hutter et al. 2014); of parameters that all trials have. Empty for fewer than ten trials, none that vary, or
        where the trees that it grows see no variance."""
        complete = self.complete()
        if len(complete) < 10 or len({trial.value for trial in complete}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return optuna.importance.get_param_importances(self.study, evaluator=evaluator)
            except RuntimeError:
                return {}
