"""Two epochs on a store of cached features, in one of two processes: see processes_script.py.

Its folder has `store` and `encoder`; process R writes its figures to `two-R.npy`.
"""

import numpy as np
from datasets import ClassLabel, Dataset

from ser_hf.audio import WaveformStore
from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.training.arguments import seed_everything, training_arguments
from ser_hf.training.clips import clip_table
from ser_hf.training.feature_cache import FeatureCaching
from ser_hf.training.fit import fit, window_logits
from ser_hf.training.freezing import Freezing
from ser_hf.training.settings import TrainerSettings

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments


def train_frozen(folder, name, batch):
    """Losses of both epochs and logits after them; `batch` clips are each process's."""
    settings = DEFAULTS | {"num_train_epochs": 2, "learning_rate": 0.05, "use_cpu": True}
    arguments = training_arguments(
        settings | {"per_device_train_batch_size": batch}, folder / name, 0, progress=False
    )
    store = WaveformStore(folder / "store")
    labels = ["angry", "happy", "neutral", "sad"]
    clips = Dataset.from_dict({"label": [i % 4 for i in range(len(store))]})
    clips = clips.cast_column("label", ClassLabel(names=labels))
    plan = blueprint("encoder", labels, checkpoint=str(folder / "encoder"))
    seed_everything(0)
    train = clip_table(clips, range(8), store, 0.4)
    validation = clip_table(clips, range(8, 12), store)
    given = build_model(plan), plan.extractor, store, train, validation, arguments, compute_metrics
    fitted = fit(*given, cache=FeatureCaching(Freezing(encoder=True), folder / f"{name}-cache"))
    _, logits = window_logits(fitted.trainer, validation).merged()
    return np.concatenate(
        [[entry["validation"]["loss"] for entry in fitted.history], logits.ravel()]
    ), arguments


def main(folder):
    measured, arguments = train_frozen(folder, "two", 2)
    assert arguments.world_size == 2
    np.save(folder / f"two-{arguments.process_index}.npy", measured)
