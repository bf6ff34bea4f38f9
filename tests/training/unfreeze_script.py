"""Gradual unfreezing over a few clips, by `fit`, in one of two processes: see processes_script.py.

Its folder has `models/encoder` and `store`; each process logs to `curves_RANK.json`.
"""

import json

from ddp_script import STEP, curves, load, step_arguments

from ser_hf.audio import WaveformStore
from ser_hf.training.freezing import Freezing

# Of two layers: the head, the upper layer too, both, all.
GRADUAL = {"freezing": Freezing(every=1)}
EPOCHS = {"num_train_epochs": 4, "learning_rate": 0.01, "max_grad_norm": 1.0}


def unfreeze(folder, store, name, batch, **changes):
    """What `curves` measures, and the weights as they are in the end."""
    model, extractor = load(folder / "models", "encoder")
    arguments = step_arguments(folder / name, batch, 1, **EPOCHS, **changes)
    return arguments, curves(model, extractor, store, "encoder", arguments, **GRADUAL)


def main(folder):
    measured = {}
    for name, changes in {"plain": {}, "checkpointed": {"gradient_checkpointing": True}}.items():
        arguments, measured[name] = unfreeze(folder, WaveformStore(folder / "store"), name, STEP // 2, **changes)
        assert arguments.world_size == 2
    (folder / f"curves_{arguments.process_index}.json").write_text(json.dumps(measured), encoding="utf-8")
