"""All that is asked of two processes, in one start: `accelerate launch ... processes_script.py FOLDER COMMAND...`.

COMMAND is what `ser_hf.train` is given, which runs first, as it does alone. FOLDER holds one folder for each script
(`ddp`, `thaw`, `lora`, `frozen`, `batch_norm`) with what that script reads; process R's counts of a confusion matrix
go to `counts_R.pt`.
"""

import runpy
import sys
from pathlib import Path

import batch_norm_script
import ddp_script
import frozen_script
import lora_script
import thaw_script
import torch

from ser_hf.training.callbacks import TrainingCounts


def train(command):
    """As `python -m ser_hf.train COMMAND...`."""
    sys.argv[1:] = command
    code = None
    try:
        runpy.run_module("ser_hf.train", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    assert code == 0


def counts(rank):
    """What two takes of the counts are, after one batch in the first process and two in the second."""
    counted = TrainingCounts(3)
    if rank == 1:  # the other has had no batch
        counted.add(torch.eye(3)[torch.tensor([0, 1])], torch.tensor([0, 2]))
    counted.add(torch.eye(3)[torch.tensor([rank])], torch.tensor([0]))
    return [counted.take(), counted.take()]


def main(folder, command):
    assert not torch.distributed.is_initialized(), "a run starts the process group itself"
    train(command)
    for script in (ddp_script, thaw_script, lora_script, frozen_script):
        script.main(folder / script.__name__.removesuffix("_script"))
    rank = torch.distributed.get_rank()
    torch.save(counts(rank), folder / f"counts_{rank}.pt")
    batch_norm_script.main(folder / "batch_norm")  # which ends the process group


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
