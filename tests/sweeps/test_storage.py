"""Where trials are kept: what is torn, damaged or silent for a moment loses nothing."""

import importlib
import json

import optuna
import pytest
from stubs import Runs

from ser_hf.errors import UserError
from ser_hf.sweeps import storage

RATES = {"search": "grid", "trials": None, "space": {"training.learning_rate": [1e-3, 2e-3]}}
LOCKED = optuna.exceptions.StorageInternalError("database is locked")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(storage, "_WAITS", (0.0, 0.0))


def failing(monkeypatch, name, times, when=lambda *_: True):
    """The journal's method `name` fails so many times."""
    left = [times]
    known = getattr(optuna.storages.JournalStorage, name)

    def method(self, *arguments, **settings):
        if left[0] and when(*arguments):
            left[0] -= 1
            raise LOCKED
        return known(self, *arguments, **settings)

    monkeypatch.setattr(optuna.storages.JournalStorage, name, method)
    return left


@pytest.mark.parametrize("name", ["set_trial_user_attr", "set_trial_state_values", "create_new_trial", "get_trial"])
def test_a_moments_silence_is_waited_for(name, swept, monkeypatch):
    left = failing(monkeypatch, name, 2)
    result, run, _ = swept(RATES)
    assert left == [0]
    assert len(run.recipes) == 3
    assert result["tested"]["trial"] == 0


def test_an_epoch_that_cannot_be_noted_is_told_and_the_trial_goes_on(swept, monkeypatch, caplog):
    monkeypatch.setattr("ser_hf.logs.PACKAGE.propagate", True)
    failing(monkeypatch, "set_trial_user_attr", 3, lambda _, key, value: key == "progress")
    result, run, _ = swept(RATES, test=False)
    assert len(run.recipes) == 2
    assert "trial 0, epoch 1, is not noted: study.journal: database is locked" in caplog.text


def test_an_end_that_cannot_be_told_ends_the_sweep_and_is_told_the_next_time(swept, monkeypatch):
    with monkeypatch.context() as patched:
        failing(patched, "set_trial_state_values", 99)
        with pytest.raises(UserError, match=r"^study\.journal: database is locked; the same command goes on"):
            swept(RATES, test=False)
    _, run, lines = swept(RATES, test=False)
    assert len(run.recipes) == 1  # the report of the first stood already
    assert lines[1].startswith("trial 0 goes on")


def test_a_line_that_its_writer_did_not_finish_spoils_no_other_one(swept):
    torn = []

    def tear(recipe, epoch):
        if not torn:
            torn.append(1)
            with (swept.folder / "study.journal").open("a") as journal:
                journal.write('{"op_code":6,"wor')

    result, run, _ = swept(RATES, Runs(before=tear))
    assert len(run.recipes) == 3
    assert all(json.loads(line) for line in (swept.folder / "study.journal").read_text().splitlines())
    assert swept(RATES)[1].recipes == []


def test_a_damaged_line_is_told_with_its_number(swept):
    swept(RATES, test=False)
    journal = swept.folder / "study.journal"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:6], "\0\0\0", *lines[6:]]) + "\n")
    with pytest.raises(UserError, match=r"study\.journal, line 7: no JSON, .*; delete that line"):
        swept(RATES, test=False)
    journal.write_text("\n".join(lines) + "\n")
    assert swept(RATES, test=False)[1].recipes == []


def test_a_journal_that_cannot_be_written_is_told(swept):
    swept.folder.mkdir()
    swept(RATES, trials=1, test=False)
    journal = swept.folder / "study.journal"
    journal.unlink()
    journal.mkdir()
    with pytest.raises(UserError, match=r"^study\.journal: "):
        swept(RATES, test=False)


def test_what_matters_is_left_out_where_the_trees_see_no_variance(swept, monkeypatch):
    def nothing(*_, **__):
        raise RuntimeError("Encountered zero total variance in all trees.")

    # Imported here, as `optuna.importance` is a stand-in until somebody has.
    importance = importlib.import_module("optuna.importance")
    monkeypatch.setattr(importance, "get_param_importances", nothing)
    swept({"trials": 11, "search": "random"}, test=False)
    assert "What mattered" not in (swept.folder / "leaderboard.html").read_text()
