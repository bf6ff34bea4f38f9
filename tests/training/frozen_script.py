"""Two epochs on a store of what is frozen: `frozen_script.py STORE ENCODER FOLDER NAME`, alone or by torchrun."""

import logging
import sys
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset

from ser_hf.audio import WaveformStore
from ser_hf.evaluation.metrics import trainer_metrics
from ser_hf.training.arguments import HOUSE_DEFAULTS, training_arguments
from ser_hf.training.batches import part
from ser_hf.training.build import blueprint, build_model
from ser_hf.training.frozen import FrozenCache
from ser_hf.training.layers import Freezing
from ser_hf.training.machine import seed_everything
from ser_hf.training.run import fit, predict


def main(waveforms: str, encoder: str, folder: Path, name: str) -> None:
    settings = HOUSE_DEFAULTS | {"num_train_epochs": 2, "learning_rate": 0.05, "use_cpu": True}
    settings["per_device_train_batch_size"] = 2 if name == "two" else 4
    arguments = training_arguments(settings, folder / name, 0, progress=False)
    rank = arguments.process_index
    logger = logging.getLogger("ser_hf")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.FileHandler(folder / f"{name}-{rank}.log"))
    store, labels = WaveformStore(Path(waveforms)), ["angry", "happy", "neutral", "sad"]
    clips = Dataset.from_dict({"label": [i % 4 for i in range(len(store))]})
    clips = clips.cast_column("label", ClassLabel(names=labels))
    plan = blueprint("encoder", labels, checkpoint=encoder)
    seed_everything(0)
    fitted = fit(
        build_model(plan),
        plan.extractor,
        store,
        part(clips, range(8), store, 0.4),
        part(clips, range(8, 12), store),
        arguments,
        trainer_metrics,
        freezing=Freezing(encoder=True),
        cache=FrozenCache(Freezing(encoder=True), folder / f"{name}-cache"),
    )
    _, logits = predict(fitted.trainer, part(clips, range(8, 12), store))
    losses = [entry["validation"]["loss"] for entry in fitted.history]
    np.save(folder / f"{name}-{rank}.npy", np.concatenate([losses, logits.ravel()]))


if __name__ == "__main__":
    main(*sys.argv[1:3], Path(sys.argv[3]), sys.argv[4])
