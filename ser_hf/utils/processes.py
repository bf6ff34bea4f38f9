"""The process group of a run in several processes."""

import gc
import os
import re

# What gloo, NCCL and the store of a process group report when another process has ended.
_LOST_CONNECTION = re.compile(
    r"connection (was )?(closed|reset|refused)|broken pipe|socket closed|remote process exited|"
    r"recvvalue failed|wait timeout|peer closed",
    re.IGNORECASE,
)


def another_process_ended(error: BaseException) -> bool:
    """Whether an error of this process only says that the first process of the group has ended.

    The first process prints its message; a traceback of every other process would hide it.
    """
    if os.environ.get("RANK", "0") == "0" or not isinstance(error, RuntimeError | OSError):
        return False
    return _LOST_CONNECTION.search(str(error)) is not None


def launched_alone() -> bool:
    """Whether `accelerate launch` was to start several processes, and started this one only.

    Without a GPU, Accelerate ignores `--num_processes`, unless MPI starts the processes. For more
    than one process it names a main process, but this process then has no rank.
    """
    environment = os.environ
    is_accelerate = "ACCELERATE_MIXED_PRECISION" in environment and "MASTER_PORT" in environment
    by_mpi = any(name.startswith(("PMI_", "OMPI_COMM_", "MV2_COMM_")) for name in environment)
    return is_accelerate and "RANK" not in environment and not by_mpi


def end_process_group() -> None:
    """End the process group of a run in several processes, and the threads of the group.

    A process that ends while the group exists may abort (exit code -6).
    """
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        # Models that are wrapped for several processes keep the threads of the group. They are in
        # reference cycles, so only the garbage collector frees them.
        gc.collect()
