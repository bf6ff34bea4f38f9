"""The options of --jobs, and how many processes and threads they give."""

import pytest

from ser_hf.utils.errors import UserError
from ser_hf.utils.executor import Jobs, Resources, jobs


@pytest.fixture
def machine(monkeypatch):
    """A function that sets the cores, the free memory and the GPUs of the machine, in GiB."""

    def settings(cores=8, free=64, gpus=(), gpu_memory=80, threads=None):
        monkeypatch.setattr(jobs, "usable_cores", lambda: cores)
        monkeypatch.setattr(jobs, "visible_gpus", lambda: list(gpus))
        monkeypatch.setattr(jobs, "free_memory", lambda: free * 2**30)
        monkeypatch.setattr(jobs, "_gpu_bytes", lambda: gpu_memory * 2**30)
        monkeypatch.setattr(jobs, "user_threads", lambda: threads)

    return settings


@pytest.fixture(autouse=True)
def engines(monkeypatch):
    """All engines are installed."""
    monkeypatch.setattr(jobs, "require_engine", lambda where: None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", Jobs(count=3)),
        (3, Jobs(count=3)),
        ("auto", Jobs()),
        ("ray", Jobs(where="ray")),
        ("slurm", Jobs(where="slurm")),
    ],
)
def test_jobs_are_a_number_or_a_word(text, expected):
    assert Jobs.read(text) == expected


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many", ""])
def test_other_jobs_are_refused(text):
    with pytest.raises(UserError, match=r"^--jobs: expected"):
        Jobs.read(text)


@pytest.mark.parametrize("where", ["ray", "slurm"])
def test_a_missing_engine_is_named_with_its_extra(where, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"^--jobs {where}: needs .*ser_hf\[{where}\]"):
        Jobs.read(where)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"cpus": 0}, "--cpus-per-job"),
        ({"gpus": -1}, "--gpus-per-job"),
        ({"gpus": 2}, "--gpus-per-job"),
        ({"slurm": ["partition=gpu"]}, "--slurm"),
    ],
)
def test_wrong_options_are_named(options, key):
    with pytest.raises(UserError, match=f"^{key}:"):
        Jobs.read(2, **options)


def test_options_of_slurm_are_pairs():
    read = Jobs.read("slurm", slurm=["partition=gpu", "mem-per-cpu=4GB"])
    assert read.slurm == {"partition": "gpu", "mem_per_cpu": "4GB"}
    with pytest.raises(UserError, match=r"^--slurm: expected KEY=VALUE"):
        Jobs.read("slurm", slurm=["gpu"])


def test_a_launcher_of_several_processes_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"^--jobs: cannot run under a launcher"):
        Jobs.read(2)


@pytest.mark.parametrize(
    ("count", "cores", "tasks", "expected"),
    [(2, 8, 6, (2, 4)), (4, 2, 6, (4, 1)), (8, 8, 3, (3, 2)), (1, 8, 6, (1, 8))],
)
def test_threads_are_divided(machine, tmp_path, count, cores, tasks, expected):
    machine(cores=cores)
    executor = Jobs(count=count).executor(tasks, tmp_path)
    assert (executor.count, executor.threads) == expected


def test_the_users_number_of_threads_is_kept(machine, tmp_path):
    machine(threads=3)
    assert Jobs(count=2).executor(6, tmp_path).threads == 3
    assert Jobs(count=2, cpus=2).executor(6, tmp_path).threads == 2


@pytest.mark.parametrize(
    ("settings", "task_gib", "expected"),
    [
        ({"cores": 8}, None, 8),
        ({"cores": 8, "threads": 2}, None, 4),
        ({"cores": 8, "free": 17}, 3, 4),
        ({"cores": 8, "free": 1}, 30, 1),
        ({"cores": 64, "gpus": ("0", "1")}, None, 2),
        ({"cores": 64, "gpus": ("0", "1")}, 18, 8),
        ({"cores": 64, "gpus": ("0", "1")}, 200, 2),
        ({"cores": 4, "gpus": ("0", "1")}, 1, 4),
    ],
)
def test_auto_counts_cores_or_gpus_and_their_memory(
    machine, tmp_path, settings, task_gib, expected
):
    machine(**settings)
    task_bytes = None if task_gib is None else task_gib * 2**30
    assert Jobs().executor(100, tmp_path, task_bytes).count == expected


def test_a_share_of_a_gpu_decides_how_many_tasks_it_gets(machine, tmp_path):
    machine(cores=64, gpus=("0", "1"))
    executor = Jobs(gpus=0.25).executor(100, tmp_path, 200 * 2**30)
    assert executor.count == 8
    assert executor.gpus == ["0", "1"]
    assert Jobs(count=3, gpus=0).executor(100, tmp_path).gpus == []


def test_other_machines_get_threads_caches_and_python_path(monkeypatch):
    monkeypatch.setenv("SER_HF_CACHE", "/shared/cache")
    monkeypatch.setenv("HF_HOME", "/shared/hf")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("UNRELATED", "1")
    variables = Resources(cpus=3, gpus=0).environment()
    assert variables["OMP_NUM_THREADS"] == "3"
    assert variables["SER_HF_CACHE"] == "/shared/cache"
    assert variables["HF_HOME"] == "/shared/hf"
    assert "PYTHONPATH" in variables
    assert variables.keys().isdisjoint({"UNRELATED", "HF_TOKEN"})


def test_a_task_does_not_join_the_process_group_of_a_launcher():
    environment = {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "a", "PATH": "/bin"}
    assert jobs.without_launcher(environment) == {"PATH": "/bin"}
