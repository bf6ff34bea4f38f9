"""What the machine at hand decides: precision, data workers, and how strictly a run repeats itself."""

import os
from typing import Any

import torch
import transformers
from transformers.trainer_utils import enable_full_determinism

from ..environment import usable_cores
from ..errors import UserError

_MOST_WORKERS = 8


def precision_arguments(precision: str) -> dict[str, Any]:
    """The `TrainingArguments` of a word: ``fp32``, ``tf32``, ``bf16``, ``fp16``, or ``auto``, the fastest of them that
    the device does without emulating it (on a CPU and on Apple's GPUs fp32).

    Weights stay in float32: half precision is autocast's, operation by operation.

    Raises:
        UserError: if the device has no such precision.
    """
    cuda = torch.cuda.is_available()
    ampere = cuda and torch.cuda.get_device_capability() >= (8, 0)
    bf16 = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "auto":
        precision = "bf16" if bf16 else "fp16" if cuda else "fp32"
    possible = {"fp32": True, "tf32": ampere, "bf16": bf16 or not cuda, "fp16": cuda}
    if not possible[precision]:
        device = torch.cuda.get_device_name() if cuda else "a machine without a CUDA GPU"
        raise UserError(f"training.precision: {precision} is nothing for {device}; use auto")
    # A launcher's own word would win over float32 here, as would what an earlier run in this process has set.
    os.environ["ACCELERATE_MIXED_PRECISION"] = precision if precision in ("bf16", "fp16") else "no"
    # What autocast leaves in float32, the front ends above all, must stay exact: TF32 only where it is asked for. The
    # Trainer sees to matrix products; convolutions and recurrent layers have a default of cuDNN's own, which is TF32.
    if ampere:
        for layers in (torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
            layers.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    return {
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "tf32": precision == "tf32" if ampere else None,
    }


def refuse_lost_processes() -> None:
    """Notices where `accelerate launch` was told several processes and started one, as it does with ``--cpu``.

    Raises:
        UserError: saying how several are started.
    """
    launched = {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= os.environ.keys()
    sizes = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    if launched and not any(name in os.environ for name in sizes):
        raise UserError(
            "accelerate launch: told several processes, it has started one; on CPUs use --config_file "
            "recipes/accelerate/cpu.yaml, or torchrun --nproc_per_node N -m ser_hf.train"
        )


def data_workers() -> int:
    """Processes that read and pad batches. Beside a GPU there are cores to spare; on a CPU they would take turns with
    the training itself, which reading from the waveform store does not wait for."""
    if not torch.cuda.is_available():
        return 0
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(_MOST_WORKERS, usable_cores() // processes - 1))


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seeds Python, numpy and torch on every device.

    With `deterministic` torch also refuses operations whose result depends on timing; cuBLAS learns of it before the
    first CUDA call. On a CPU results repeat without, as long as the number of threads stays.
    """
    if deterministic:
        enable_full_determinism(seed)
    else:
        torch.use_deterministic_algorithms(False)
        transformers.set_seed(seed)
