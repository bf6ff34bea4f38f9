"""Runs the trials of a sweep side by side (`--jobs`).

Each task begins one trial of the study, whichever is next, and runs it. Optuna's storage is what
the processes have in common.
"""

import contextlib

from ..utils.errors import UserError
from ..utils.executor import Jobs, Outcome, Task
from .settings import SweepSettings
from .study import Runner, SweepStudy


def run_trials(study: SweepStudy, jobs: Jobs) -> None:
    """Run the remaining trials. A trial whose process was killed is run again.

    Raises:
        UserError: if no process could begin a trial.
    """
    logs = study.folder / "logs"
    first = 1
    while study.remaining() > 0:
        remaining = study.remaining()
        tasks = []
        for number in range(first, first + remaining):
            task = Task(
                name=f"process {number}",
                function=run_next_trial,
                arguments=(study.settings, study.run),
                log=logs / f"process-{number}.log",
            )
            tasks.append(task)
        first += remaining
        executor = jobs.executor(remaining, logs / "jobs")
        study.echo(f"{remaining} trials, {executor.description}")
        failures: list[Outcome] = []
        # Closing ends all tasks at once if this process is interrupted.
        with contextlib.closing(executor.run(tasks)) as outcomes:
            for outcome in outcomes:
                for line in outcome.value or ():
                    study.echo(line)
                if outcome.error is not None:
                    failures.append(outcome)
                    study.echo(f"{outcome.task} failed: {outcome.error}; see {outcome.log}")
        study.requeue_killed()
        study.publish()
        if len(failures) == remaining and study.remaining() == remaining:
            raise UserError(
                f"--jobs: no trial could begin: {failures[0].error}; see {failures[0].log}"
            )


def run_next_trial(settings: SweepSettings, run: Runner) -> list[str]:
    """Run the next trial of a sweep in the process of a task; return its lines for the terminal."""
    lines: list[str] = []
    SweepStudy(settings, run, lines.append).run_trial()
    return lines
