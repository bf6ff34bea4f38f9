"""Three ways to train each kind of encoder, in one of two processes: see processes_script.py.

Its folder has `store` and one folder for each kind; process R writes the steps of each training to
`steps_R.json`. Parameters without a gradient (norms, positions, the mask's vector) must not stop a
step under checkpointing.
"""

import json

from datasets import ClassLabel, Dataset

from ser_hf.audio import WaveformStore
from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.training.arguments import seed_everything, training_arguments
from ser_hf.training.clips import clip_table
from ser_hf.training.fit import fit
from ser_hf.training.freezing import Freezing, freeze
from ser_hf.training.settings import TrainerSettings

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments

POOLED = {"pooling": "attentive_stats"}
WAYS = {
    "sum": (POOLED | {"weighted_layer_sum": True}, Freezing()),
    "stock": ({}, Freezing()),
    "frozen": (POOLED, Freezing(layers=1)),
}


def train(folder, kind, way):
    """Steps of a training of two epochs, checkpointing activations."""
    head, freezing = WAYS[way]
    store = WaveformStore(folder / "store")
    labels = ["angry", "happy", "neutral", "sad"]
    clips = Dataset.from_dict({"label": [i % 4 for i in range(len(store))]})
    clips = clips.cast_column("label", ClassLabel(names=labels))
    masked = kind not in ("whisper", "audio-spectrogram-transformer", "wav2vec2-bert")
    options = {"mask_time_prob": 0.0} if masked else {}
    plan = blueprint("encoder", labels, checkpoint=str(folder / kind), options=options, **head)
    settings = {"num_train_epochs": 2, "use_cpu": True, "activation_checkpointing": True}
    settings |= {"per_device_train_batch_size": 2}
    run = folder / f"{kind}-{way}"
    arguments = training_arguments(
        DEFAULTS | settings, run, 0, padding_safe=plan.padding_safe, progress=False
    )
    seed_everything(0)
    model = build_model(plan)
    freeze(model, freezing)
    splits = clip_table(clips, range(8), store, 0.4), clip_table(clips, range(8, 12), store)
    fitted = fit(model, plan.extractor, store, *splits, arguments, compute_metrics)
    return fitted.trainer.state.global_step, arguments.process_index


def main(folder):
    kinds = sorted(path.name for path in folder.iterdir() if path.name != "store")
    steps = {f"{kind} {way}": train(folder, kind, way) for kind in kinds for way in WAYS}
    (_, rank), *_ = steps.values()
    (folder / f"steps_{rank}.json").write_text(
        json.dumps({name: step for name, (step, _) in steps.items()})
    )
