"""Everything that two processes test, in one start: `accelerate launch ... processes_script.py
FOLDER COMMAND...`.

COMMAND is for `ser_hf.train`, which runs first. FOLDER holds one folder for each script (`ddp`,
`lora`, `frozen`, `encoders`) with its inputs; counts of a confusion matrix and buffers of process R
go to `counts_R.pt`.
"""

import runpy
import sys
from pathlib import Path

import ddp_script
import encoders_script
import frozen_script
import lora_script
import torch

from ser_hf.training.averaging import broadcast_buffers
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
    """Two takes of the counts, after one batch in the first process and two in the second."""
    counted = TrainingCounts(3)
    if rank == 1:
        counted.add(torch.eye(3)[torch.tensor([0, 1])], torch.tensor([0, 2]))
    counted.add(torch.eye(3)[torch.tensor([rank])], torch.tensor([0]))
    return [counted.pop_counts(), counted.pop_counts()]


def main(folder, command):
    assert not torch.distributed.is_initialized(), "a run starts the process group itself"
    train(command)
    for script in (ddp_script, lora_script, frozen_script, encoders_script):
        script.main(folder / script.__name__.removesuffix("_script"))
    rank = torch.distributed.get_rank()
    norm = torch.nn.BatchNorm1d(3)
    norm.running_mean += rank + 1
    broadcast_buffers(norm)
    torch.save([*counts(rank), norm.running_mean], folder / f"counts_{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
