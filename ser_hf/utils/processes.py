"""The process group of a run in several processes."""

import gc


def end_process_group() -> None:
    """End the process group and its threads.

    A process that ends while the group exists may abort (exit code -6).
    """
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        # Models wrapped for several processes are in reference cycles, and hold the group's threads.
        gc.collect()
