"""The one test of a sweep, as a study of its own beside the trials': whoever's turn has the lowest number tests."""

import dataclasses
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from .storage import put, withdraw


@dataclasses.dataclass(frozen=True)
class Turn:
    """Somebody's turn to test: the folder's name, which trial, and of how many it was the best (None: not known)."""

    id: int
    home: str
    trial: int
    trials: int | None


class OneTest:
    def __init__(self, storage: Any, name: str, home: str):
        self.storage, self.home = storage, home
        self.study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
        self.id = storage.get_study_id_from_name(name)

    def _first(self, *states: TrialState) -> FrozenTrial | None:
        return next(iter(self.study.get_trials(deepcopy=False, states=states)), None)

    def done(self) -> dict[str, Any] | None:
        """What the test said, once it is over."""
        first = self._first(TrialState.COMPLETE)
        return None if first is None else first.user_attrs["tested"]

    def begun(self) -> Turn | None:
        """Whose turn it is."""
        first = self._first(TrialState.RUNNING)
        if first is None:
            return None
        attributes = first.user_attrs
        return Turn(first._trial_id, attributes["home"], attributes["trial"], attributes["trials"])

    def begin(self, trial: int, trials: int | None) -> Turn | None:
        """This folder's turn; None where another one has come first."""
        own = put(self.storage, self.id, {"home": self.home, "trial": trial, "trials": trials})
        if self._first(TrialState.RUNNING, TrialState.COMPLETE)._trial_id == own:
            return Turn(own, self.home, trial, trials)
        withdraw(self.storage, own)
        return None

    def give_up(self, turn: Turn) -> None:
        withdraw(self.storage, turn.id)

    def end(self, turn: Turn, figures: dict[str, Any]) -> dict[str, Any]:
        """Notes the figures, where every later call finds them."""
        tested = {"trial": turn.trial, "trials": turn.trials, **figures}
        self.storage.set_trial_user_attr(turn.id, "tested", tested)
        self.storage.set_trial_state_values(turn.id, TrialState.COMPLETE, [figures["test"]["uar"]])
        return tested
