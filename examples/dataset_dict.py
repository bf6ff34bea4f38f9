"""Fine-tune an audio classifier on a `DatasetDict`, with callbacks. Corpus, split and metrics are
ser_hf's.

python examples/dataset_dict.py [CHECKPOINT]         (default: facebook/wav2vec2-base, which is
downloaded)
"""

import sys

import torch
from transformers import (
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.audio_utils import load_audio

import ser_hf


class PrintUAR(TrainerCallback):
    """Prints the UAR on the validation speakers after each epoch."""

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        if "eval_uar" in metrics:
            print(f"epoch {state.epoch:g}: UAR {metrics['eval_uar']:.3f}")


def collate(clips):
    rate = extractor.sampling_rate
    audio = [load_audio(clip["audio"]["path"], sampling_rate=rate)[: 3 * rate] for clip in clips]
    batch = extractor(audio, sampling_rate=rate, padding=True, return_tensors="pt")
    return {**batch, "labels": torch.tensor([clip["label"] for clip in clips])}


checkpoint = sys.argv[1] if len(sys.argv) > 1 else "facebook/wav2vec2-base"
extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
dataset = ser_hf.load_corpus("synthetic", speakers=12, takes=2)
parts = ser_hf.split_corpus(dataset, "speaker_independent")[0].apply(dataset)  # a DatasetDict
names = dict(enumerate(dataset.features["label"].names))
settings = {"num_train_epochs": 5, "metric_for_best_model": "uar", "load_best_model_at_end": True}
settings |= {"eval_strategy": "epoch", "save_strategy": "epoch", "remove_unused_columns": False}
trainer = Trainer(
    AutoModelForAudioClassification.from_pretrained(
        checkpoint, id2label=names, num_labels=len(names)
    ),
    TrainingArguments("runs/dataset_dict", **settings),
    data_collator=collate,
    train_dataset=parts["train"],
    eval_dataset=parts["validation"],
    compute_metrics=ser_hf.compute_metrics,
    callbacks=[EarlyStoppingCallback(early_stopping_patience=2), PrintUAR()],
)
trainer.train()
trainer.remove_callback(EarlyStoppingCallback)  # it looks for the metric of the validation clips
print(trainer.evaluate(parts["test"], metric_key_prefix="test"))
