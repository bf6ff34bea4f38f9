"""The training loop of transformers' audio-classification example, as the reference of the
throughput benchmark.

It follows the documented behavior of
`examples/pytorch/audio-classification/run_audio_classification.py` of transformers 5. A transform
of the data set decodes each clip at each access, resamples it if its rate differs, crops it at
random to `max_length_seconds` if it is longer, and calls the feature extractor. The stock Trainer
pads random batches. Validation clips are not cropped, and have the order of the data set.

datasets' `Audio` decodes with torchcodec. Here soundfile decodes and librosa resamples (with soxr,
its default), as users of datasets without torchcodec do.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
from datasets import Audio, Dataset, Features, Value
from transformers import PreTrainedModel, SequenceFeatureExtractor, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback


def clips(paths: list[str], labels: list[int]) -> Dataset:
    audio = [{"path": path, "bytes": None} for path in paths]
    features = Features(
        {"audio": {"path": Value("string"), "bytes": Value("binary")}, "label": Value("int64")}
    )
    # The storage type of an Audio column, cast afterwards: encoding an Audio column needs
    # torchcodec.
    return Dataset.from_dict({"audio": audio, "label": labels}, features).cast_column(
        "audio", Audio(decode=False)
    )


def example_trainer(
    model: PreTrainedModel,
    extractor: SequenceFeatureExtractor,
    train: Dataset,
    validation: Dataset,
    max_length_seconds: float,
    **arguments: Any,
) -> Trainer:
    """Build the example's Trainer, ready for `train()`, without progress output."""
    trainer = Trainer(
        model=model,
        args=TrainingArguments(remove_unused_columns=False, disable_tqdm=True, **arguments),
        train_dataset=train.with_transform(_transform(extractor, max_length_seconds)),
        eval_dataset=validation.with_transform(_transform(extractor, None)),
        compute_metrics=_accuracy,
        processing_class=extractor,  # pads each batch to its longest clip
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def decode(path: str | Path, rate: int) -> np.ndarray:
    """Decode a file to float32 (samples,), the mean of its channels."""
    waveform, file_rate = soundfile.read(path, dtype="float32")
    if waveform.ndim > 1:
        waveform = waveform.mean(axis=1)
    return (
        waveform
        if file_rate == rate
        else librosa.resample(waveform, orig_sr=file_rate, target_sr=rate)
    )


def _transform(
    extractor: SequenceFeatureExtractor, max_length_seconds: float | None
) -> Callable[[dict], dict]:
    name = extractor.model_input_names[0]
    rate = extractor.sampling_rate
    limit = None if max_length_seconds is None else round(max_length_seconds * rate)

    def transform(batch: dict[str, list]) -> dict[str, list]:
        waveforms = [_crop(decode(audio["path"], rate), limit) for audio in batch["audio"]]
        return {name: extractor(waveforms, sampling_rate=rate)[name], "labels": batch["label"]}

    return transform


def _crop(waveform: np.ndarray, limit: int | None) -> np.ndarray:
    if limit is None or len(waveform) <= limit:
        return waveform
    start = random.randint(0, len(waveform) - limit - 1)
    return waveform[start : start + limit]


def _accuracy(predicted: Any) -> dict[str, float]:
    return {"accuracy": float((predicted.predictions.argmax(axis=1) == predicted.label_ids).mean())}
