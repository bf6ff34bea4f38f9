"""The process group of a run in several processes."""

import gc


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
