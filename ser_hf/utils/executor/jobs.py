"""The options of `--jobs`, and the executor that they choose."""

import dataclasses
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from ..environment import free_memory, usable_cores
from ..errors import UserError
from .task import Outcome, Task

_GIB = 2**30
# What a process needs besides the model, its gradients and its activations: the libraries, and a
# few batches.
PROCESS_BYTES = round(1.2 * _GIB)
# Variables by which a launcher describes its process group, which a task does not join.
_LAUNCHER = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "ROLE_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)
# Beginnings of variables that processes of other machines get too: caches, offline mode.
_SENT = ("SER_HF_", "HF_", "TRANSFORMERS_", "CUBLAS_WORKSPACE_CONFIG")


class Executor(Protocol):
    """Runs tasks in other processes."""

    description: str

    def run(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """Yield the outcome of each task when it ends. Closing the iterator ends all tasks."""
        ...


@dataclasses.dataclass(frozen=True)
class Resources:
    """What one task gets: CPU cores, and GPUs, perhaps a share of one."""

    cpus: int
    gpus: float

    def environment(self) -> dict[str, str]:
        """The environment variables for processes on other machines."""
        variables = {"OMP_NUM_THREADS": str(self.cpus), "PYTHONPATH": python_path()}
        for name, value in os.environ.items():
            # submitit writes the variables to a file, and Ray shows them: no tokens.
            if name.startswith(_SENT) and "TOKEN" not in name:
                variables[name] = value
        return variables


@dataclasses.dataclass(frozen=True)
class Jobs:
    """The options of runs side by side; `ser-hf train --help` describes them.

    Args:
        where: the engine.
        count: number of processes on this machine; None: as many as its cores, or its GPUs and
            their memory, allow.
        cpus: cores of each task; None: OMP_NUM_THREADS, or an equal share of this machine's cores.
        gpus: GPUs of each task; None: see `LocalProcesses` and `RayCluster`.
        slurm: options of sbatch, such as ``{"partition": "gpu"}``.
    """

    where: Literal["local", "ray", "slurm"] = "local"
    count: int | None = None
    cpus: int | None = None
    gpus: float | None = None
    slurm: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, value: "Jobs | int | str | None") -> "Jobs | None":
        """The options for what a function of Python was given; None for None."""
        if value is None or isinstance(value, Jobs):
            return value
        return cls.read(value)

    @classmethod
    def read(
        cls,
        jobs: int | str,
        *,
        cpus: int | None = None,
        gpus: float | None = None,
        slurm: Sequence[str] = (),
    ) -> "Jobs":
        """Read a number of processes, ``auto``, ``ray`` or ``slurm``, and the further options.

        Raises:
            UserError: naming the option that is wrong.
        """
        where: Literal["local", "ray", "slurm"] = "local"
        count = None
        text = str(jobs)
        if text in ("ray", "slurm"):
            where = text
        elif text.isdecimal() and int(text) > 0:
            count = int(text)
        elif text != "auto":
            raise UserError(
                f"--jobs: expected a number of processes, auto, ray or slurm, got {text!r}"
            )
        if cpus is not None and cpus < 1:
            raise UserError(f"--cpus-per-job: expected 1 or more, got {cpus}")
        if gpus is not None and not 0 <= gpus <= 1:
            raise UserError(
                f"--gpus-per-job: expected 0 to 1, got {gpus:g}; several GPUs for one training "
                "are for accelerate launch, without --jobs"
            )
        if slurm and where != "slurm":
            raise UserError("--slurm: has no effect without --jobs slurm")
        options = {}
        for option in slurm:
            key, equals, value = option.partition("=")
            if not equals or not key:
                raise UserError(f"--slurm: expected KEY=VALUE, such as partition=gpu, got {option}")
            options[key.replace("-", "_")] = value
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError(
                "--jobs: cannot run under a launcher of several processes; start it without the "
                "launcher: ser-hf train RECIPE --jobs N"
            )
        require_engine(where)
        return cls(where=where, count=count, cpus=cpus, gpus=gpus, slurm=options)

    @property
    def is_auto(self) -> bool:
        """Whether the number of processes on this machine is to be found."""
        return self.where == "local" and self.count is None

    def executor(self, tasks: int, folder: Path, task_bytes: int | None = None) -> Executor:
        """The executor for a number of tasks.

        Args:
            folder: for files of the engine; on shared storage if there are several machines.
            task_bytes: estimated memory of a task, by which ``auto`` limits the processes.

        Raises:
            UserError: if the engine is not installed, or cannot be reached.
        """
        if self.where == "ray":
            from .ray_cluster import RayCluster

            return RayCluster(self.cpus or user_threads() or 1, self.gpus)
        if self.where == "slurm":
            from .slurm import SlurmArray

            resources = Resources(self.cpus or user_threads() or 1, self.gpus or 0)
            return SlurmArray(folder, resources, self.slurm)
        from .local import LocalProcesses

        gpus = [] if self.gpus == 0 else visible_gpus()
        count = self.count
        if count is None:
            count = self._count_that_fits(gpus, task_bytes)
        count = max(1, min(count, tasks))
        threads = self.cpus or user_threads() or max(1, usable_cores() // count)
        return LocalProcesses(count, threads, gpus)

    def _count_that_fits(self, gpus: Sequence[str], task_bytes: int | None) -> int:
        """The number of processes that this machine's cores or GPUs, and their memory, allow."""
        if gpus:
            of_each_gpu = 1
            if self.gpus:
                of_each_gpu = int(1 / self.gpus)
            elif task_bytes is not None:
                of_each_gpu = _gpu_bytes() // (task_bytes + PROCESS_BYTES)
            cores = usable_cores() // (self.cpus or 1)
            return min(max(1, of_each_gpu) * len(gpus), max(len(gpus), cores))
        count = usable_cores() // (self.cpus or user_threads() or 1)
        if task_bytes is not None:
            count = min(count, free_memory() // (task_bytes + PROCESS_BYTES))
        return count


def require_engine(where: str) -> None:
    """Refuse an engine whose library is not installed, without loading the library."""
    library = {"ray": "ray", "slurm": "submitit"}.get(where)
    if library is not None and importlib.util.find_spec(library) is None:
        raise UserError(f"--jobs {where}: needs {library}: pip install 'ser_hf[{where}]'")


def user_threads() -> int | None:
    """The number of threads that the user has set by OMP_NUM_THREADS; None without it."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


def python_path() -> str:
    """The folders from which this process imports, without those of the Python installation."""
    library = sysconfig.get_path("stdlib")
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    folders = []
    for entry in sys.path:
        folder = os.path.abspath(entry or os.curdir)
        if os.path.isdir(folder) and folder not in packages and not folder.startswith(library):
            folders.append(folder)
    return os.pathsep.join(dict.fromkeys(folders))


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables without those of a launcher's process group."""
    return {
        name: value
        for name, value in environment.items()
        if name not in _LAUNCHER and not name.startswith("TORCHELASTIC_")
    }


def visible_gpus() -> list[str]:
    """The GPUs of this process, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return [str(number) for number in range(count)]
    return [name.strip() for name in names.split(",")][:count]


def _gpu_bytes() -> int:
    """Nine tenths of the memory of the smallest GPU."""
    import torch

    sizes = []
    for number in range(torch.cuda.device_count()):
        sizes.append(torch.cuda.get_device_properties(number).total_memory)
    return min(sizes) * 9 // 10
