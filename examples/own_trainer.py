"""Fine-tune an audio classifier with a `Trainer` of your own, on a split without shared speakers.

python examples/own_trainer.py [CHECKPOINT]          (default: facebook/wav2vec2-base, which is
downloaded)
"""

import sys

from transformers import (
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    Trainer,
    TrainingArguments,
)

import ser_hf

checkpoint = sys.argv[1] if len(sys.argv) > 1 else "facebook/wav2vec2-base"
dataset, store = ser_hf.prepare(ser_hf.load_corpus("synthetic", speakers=12, takes=2))
split = ser_hf.speaker_independent(dataset, validation=0.2, test=0.2)
print(split.table(dataset))

names = dict(enumerate(dataset.features["label"].names))
trainer = Trainer(
    AutoModelForAudioClassification.from_pretrained(
        checkpoint, id2label=names, num_labels=len(names)
    ),
    TrainingArguments(
        "runs/own_trainer", num_train_epochs=2, eval_strategy="epoch", remove_unused_columns=False
    ),
    data_collator=ser_hf.Collator(store, AutoFeatureExtractor.from_pretrained(checkpoint)),
    train_dataset=ser_hf.clip_table(dataset, split.rows["train"], store, max_duration=3.0),
    eval_dataset=ser_hf.clip_table(dataset, split.rows["validation"], store),
    compute_metrics=ser_hf.compute_metrics,
)
trainer.train()
print(
    trainer.evaluate(
        ser_hf.clip_table(dataset, split.rows["test"], store), metric_key_prefix="test"
    )
)
