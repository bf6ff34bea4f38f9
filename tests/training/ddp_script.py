"""One optimiser step over eight clips, by `fit` as a run calls it: `torchrun --nproc_per_node 2 ddp_script.py FOLDER`.

FOLDER holds `models/KIND`, `store` and a folder for each run; the gradient's norm of each kind goes to `norms.json`.
"""

import json
import sys
from pathlib import Path

import torch
from datasets import ClassLabel, Dataset
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

import ser_hf.models  # noqa: F401
from ser_hf.audio import WaveformStore
from ser_hf.evaluation.metrics import trainer_metrics
from ser_hf.training.arguments import HOUSE_DEFAULTS, training_arguments
from ser_hf.training.batches import part
from ser_hf.training.run import fit

CLIPS = 8


def step_arguments(folder, batch, accumulation, **changes):
    """One step over all clips, its gradient logged."""
    one_step = {"num_train_epochs": 1, "logging_strategy": "steps", "logging_steps": 1, "max_grad_norm": 0.001}
    sizes = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    return training_arguments(HOUSE_DEFAULTS | one_step | sizes | changes, folder, seed=0, progress=False)


def hold_batch_norm(model):
    """Keeps batch normalisation on its running statistics whatever mode the Trainer asks for."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True: None
    return model


def load(models, kind):
    folder = models / kind
    return AutoModelForAudioClassification.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder)


def clips_of(store):
    classes = Dataset.from_dict({"label": [i % 4 for i in range(len(store))]})
    return part(classes.cast_column("label", ClassLabel(num_classes=4)), range(CLIPS), store)


def gradient_norm(model, extractor, store, arguments, **settings):
    """The norm that the Trainer logs, which is the one before clipping, and the loss."""
    clips = clips_of(store)
    fitted = fit(model, extractor, store, clips, clips.select([0]), arguments, trainer_metrics, **settings)
    (logged,) = [entry for entry in fitted.trainer.state.log_history if "grad_norm" in entry]
    return logged["grad_norm"], logged["loss"]


def main(folder):
    norms = {}
    for path in sorted((folder / "models").iterdir()):
        model, extractor = load(folder / "models", path.name)
        arguments = step_arguments(folder / path.name, CLIPS // 2, 1)
        assert arguments.world_size == 2
        store = WaveformStore(folder / "store")
        norms[path.name], _ = gradient_norm(hold_batch_norm(model), extractor, store, arguments)
    if arguments.process_index == 0:
        (folder / "norms.json").write_text(json.dumps(norms), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
