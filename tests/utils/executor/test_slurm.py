"""Tasks through submitit: by its executor of this machine, and the script for Slurm."""

import os
import subprocess
import sys

import pytest
from support import tasks

from ser_hf.utils.errors import UserError
from ser_hf.utils.executor import Jobs, Resources, Task

pytest.importorskip("submitit", reason="needs submitit: pip install 'ser_hf[slurm]'")

from ser_hf.utils.executor.slurm import SlurmArray

# Runs the tasks of the array in place of Slurm: one after another, on this machine.
SBATCH = """#!{python}
import os, re, subprocess, sys
from pathlib import Path

script = Path(sys.argv[1])
Path({copy!r}).write_text(script.read_text())
array = re.search(r"--array=0-(\\d+)", script.read_text())
print("Submitted batch job 4711", flush=True)
if os.fork() == 0:
    os.setsid()
    for stream in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    # The jobs begin after submitit has moved their files to the names of the jobs.
    folder = script.parent
    import time
    while len(list(folder.glob("4711_*_submitted.pkl"))) <= int(array[1]):
        time.sleep(0.05)
    for number in range(int(array[1]) + 1):
        job = {{
            "SLURM_JOB_ID": str(4712 + number),
            "SLURM_ARRAY_JOB_ID": "4711",
            "SLURM_ARRAY_TASK_ID": str(number),
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_JOB_NODELIST": "node",
            "SLURM_NODEID": "0",
            "SLURM_NTASKS": "1",
            "SLURM_PROCID": "0",
            "SLURM_LOCALID": "0",
        }}
        subprocess.run(["bash", str(script)], env=os.environ | job)
"""
# Runs the command after its own options.
SRUN = """#!{python}
import os, sys
words = sys.argv[1:]
begin = next(i for i, word in enumerate(words) if "python" in word)
os.execv(words[begin], words[begin:])
"""
COMMANDS = {"sbatch": SBATCH, "srun": SRUN, "sacct": "#!/bin/sh\n", "scancel": "#!/bin/sh\n"}


@pytest.fixture
def task(tmp_path):
    def make(name, function, *arguments):
        return Task(name, function, arguments, tmp_path / "logs" / f"{name}.log", tmp_path)

    return make


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Slurm's commands, which run jobs on this machine; the script is in the returned file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    copy = tmp_path / "script.sh"
    for name, content in COMMANDS.items():
        file = folder / name
        file.write_text(content.format(python=sys.executable, copy=str(copy)))
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return copy


def test_submitits_executor_of_this_machine_runs_tasks(task, tmp_path):
    resources = Resources(cpus=3, gpus=0)
    executor = SlurmArray(tmp_path / "jobs", resources, {}, cluster="local")
    tasks_to_run = [
        task("double", tasks.double, 4),
        task("variables", tasks.variables, "OMP_NUM_THREADS"),
        task("mistake", tasks.mistake, "key: wrong"),
        task("killed", tasks.kill_process),
    ]
    outcomes = {outcome.task: outcome for outcome in executor.run(tasks_to_run)}
    assert outcomes["double"].value == 8
    assert outcomes["variables"].value == {"OMP_NUM_THREADS": "3"}
    assert outcomes["mistake"].error == "key: wrong"
    assert "job" in outcomes["killed"].error
    assert "4 is doubled" in (tmp_path / "logs" / "double.log").read_text(encoding="utf-8")


def test_one_array_job_is_submitted_and_its_tasks_run(slurm, task, tmp_path, monkeypatch):
    monkeypatch.setenv("SER_HF_CACHE", "/shared/a cache")
    jobs = Jobs.read("slurm", cpus=3, gpus=0.5, slurm=["partition=gpu", "time=90", "mem=16GB"])
    executor = jobs.executor(2, tmp_path / "jobs")
    tasks_to_run = [
        task("double", tasks.double, 4),
        task("variables", tasks.variables, "OMP_NUM_THREADS", "SER_HF_CACHE"),
    ]
    outcomes = {outcome.task: outcome for outcome in executor.run(tasks_to_run)}
    assert outcomes["double"].value == 8
    assert outcomes["variables"].value == {
        "OMP_NUM_THREADS": "3",
        "SER_HF_CACHE": "/shared/a cache",
    }

    script = slurm.read_text()
    options = {
        line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBAT")
    }
    assert {
        "array=0-1%2",
        "cpus-per-task=3",
        "gpus-per-node=1",
        "job-name=ser_hf",
        "mem=16GB",
        "partition=gpu",
        "time=90",
    } <= options
    assert "export OMP_NUM_THREADS=3" in script
    assert subprocess.run(["bash", "-n", str(slurm)]).returncode == 0


def test_without_slurm_the_user_is_told_where_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^--jobs slurm: no sbatch"):
        Jobs.read("slurm").executor(1, tmp_path)


def test_an_unknown_option_of_slurm_is_refused(slurm, tmp_path):
    with pytest.raises(UserError, match=r"^--slurm: .*partitoin"):
        Jobs.read("slurm", slurm=["partitoin=gpu"]).executor(1, tmp_path)
