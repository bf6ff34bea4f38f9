"""Trials of a sweep as tasks: in this process, and in processes of which one is killed."""

import pytest
from stubs import RECIPE, Runs, grid, states, table
from support.tasks import InProcess, KillOnce

from ser_hf.sweeps import SweepOptions, sweep
from ser_hf.utils.errors import UserError
from ser_hf.utils.executor import Jobs

RATES = (1e-3, 2e-3, 5e-3)


def test_trials_are_tasks_with_the_result_of_one_after_another(swept, tmp_path):
    expected, _, _ = swept(grid(*RATES), output=tmp_path / "one")
    jobs = InProcess()
    result, run, lines = swept(grid(*RATES), output=tmp_path / "side", jobs=jobs)
    assert result.winner.value == expected.winner.value
    assert table(tmp_path / "side").keys() == table(tmp_path / "one").keys()
    assert states(tmp_path / "side") == ["complete"] * 3
    assert len(jobs.names) == 3
    # Each trial has its line, and the best recipe is run once more, in this process.
    assert sum(line.startswith("trial ") for line in lines) == 3
    assert len(run.recipes) == 4


def test_a_complete_sweep_starts_no_task(swept):
    swept(grid(*RATES), jobs=InProcess())
    again = InProcess()
    swept(grid(*RATES), jobs=again)
    assert again.names == []


def test_other_machines_need_a_storage(tmp_path):
    options = SweepOptions(output=tmp_path / "sweep", jobs=Jobs(where="ray"))
    with pytest.raises(UserError, match=r"^--storage: missing"):
        sweep(RECIPE, grid(*RATES), (), options)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.exhaustive
def test_the_trial_of_a_killed_process_is_run_again(tmp_path):
    run = Runs(before=KillOnce(tmp_path / "marker"))
    lines = []
    options = SweepOptions(output=tmp_path / "sweep", jobs=Jobs(count=2), test=False)
    result = sweep(RECIPE, grid(*RATES[:2]), (), options, run=run, echo=lines.append)
    assert (tmp_path / "marker").exists()
    assert states(tmp_path / "sweep") == ["complete"] * 2
    assert result.winner.value == max(
        float(row["objective"]) for row in table(tmp_path / "sweep").values()
    )
    assert any("SIGKILL" in line for line in lines)
