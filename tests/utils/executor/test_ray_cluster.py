"""Tasks on a Ray cluster of this machine with two workers, one of which is killed."""

import pytest
from support import tasks

from ser_hf.utils.errors import UserError
from ser_hf.utils.executor import Jobs, Task

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'ser_hf[ray]'")


@pytest.fixture(scope="module")
def cluster():
    """A cluster with two cores, to which this process is connected."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # No file with a token in the home folder of the user.
        patched.setenv("RAY_AUTH_MODE", "disabled")
        _start()
        yield
        ray.shutdown()


def _start(attempts=3):
    """Start the cluster; Ray gives up after 30 seconds, which a busy machine may need twice."""
    for attempt in range(1, attempts + 1):
        try:
            ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
            return
        except Exception:
            ray.shutdown()
            if attempt == attempts:
                raise


@pytest.fixture
def task(tmp_path):
    def make(name, function, *arguments):
        return Task(name, function, arguments, tmp_path / "logs" / f"{name}.log", tmp_path)

    return make


def test_a_killed_task_is_run_again_and_a_failed_one_does_not_end_the_others(
    cluster, task, tmp_path
):
    executor = Jobs.read("ray", cpus=1).executor(5, tmp_path)
    assert "2 cores" in executor.description
    tasks_to_run = [task(str(number), tasks.double, number) for number in range(3)]
    tasks_to_run.append(task("killed", tasks.killed_once, tmp_path / "marker"))
    tasks_to_run.append(task("mistake", tasks.mistake, "key: wrong"))
    outcomes = {outcome.task: outcome for outcome in executor.run(tasks_to_run)}
    assert [outcomes[str(number)].value for number in range(3)] == [0, 2, 4]
    assert outcomes["killed"].value == "second call"
    assert outcomes["mistake"].error == "key: wrong"
    assert "1 is doubled" in (tmp_path / "logs" / "1.log").read_text(encoding="utf-8")
    assert ray.is_initialized()


def test_a_task_gets_its_threads_and_a_lost_one_is_named(cluster, task, tmp_path):
    executor = Jobs.read("ray", cpus=2).executor(2, tmp_path)
    tasks_to_run = [
        task("variables", tasks.variables, "OMP_NUM_THREADS"),
        task("always killed", tasks.kill_process),
    ]
    outcomes = {outcome.task: outcome for outcome in executor.run(tasks_to_run)}
    assert outcomes["variables"].value == {"OMP_NUM_THREADS": "2"}
    assert outcomes["always killed"].error.startswith("WorkerCrashedError")


@pytest.mark.parametrize(("options", "key"), [({"cpus": 64}, "cpus"), ({"gpus": 1}, "gpus")])
def test_more_than_the_cluster_has_is_refused(cluster, tmp_path, options, key):
    with pytest.raises(UserError, match=f"^--{key}-per-job:"):
        Jobs.read("ray", **options).executor(1, tmp_path)
