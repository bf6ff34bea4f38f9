"""The threads of a process group end before Python does: one that still frees tensors then aborts
the process.
"""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from ser_hf.training.arguments import end_process_group


def threads():
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return sorted(name for name in names if "gloo" in name)


torch.distributed.init_process_group(
    "gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1
)
model = DistributedDataParallel(torch.nn.Linear(2, 2))
model(torch.ones(1, 2)).sum().backward()
model.owner = [model]  # a reference cycle, as a Trainer and its callbacks make them
del model
assert threads(), "gloo starts no thread of this name: choose another way to find its threads"
end_process_group()
print(threads())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="names of threads are read from /proc")
def test_no_thread_of_the_process_group_outlives_it(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[]"
