"""All that is asked of two processes, in one start of them: `torchrun --nproc_per_node 2 processes_script.py FOLDER`.

FOLDER holds one folder for each script (`ddp`, `thaw`, `lora`, `batch_norm`) with what that script reads; process R's
counts of a confusion matrix go to `counts_R.pt`.
"""

import sys
from pathlib import Path

import batch_norm_script
import ddp_script
import lora_script
import thaw_script
import torch

from ser_hf.training.confusion import TrainingCounts


def counts(rank):
    """What two takes of the counts are, after one batch in the first process and two in the second."""
    counted = TrainingCounts(3)
    if rank == 1:  # the other has had no batch
        counted.add(torch.eye(3)[torch.tensor([0, 1])], torch.tensor([0, 2]))
    counted.add(torch.eye(3)[torch.tensor([rank])], torch.tensor([0]))
    return [counted.take(), counted.take()]


def main(folder):
    for script in (ddp_script, thaw_script, lora_script):
        script.main(folder / script.__name__.removesuffix("_script"))
    rank = torch.distributed.get_rank()
    torch.save(counts(rank), folder / f"counts_{rank}.pt")
    batch_norm_script.main(folder / "batch_norm")  # which ends the process group


if __name__ == "__main__":
    main(Path(sys.argv[1]))
