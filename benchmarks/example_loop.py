"""A training as transformers' own audio-classification example has it, to compare with.

Written after the documented behavior of `examples/pytorch/audio-classification/run_audio_classification.py` of
transformers 5: clips are decoded whenever they are read, resampled where their rate is another, cut at a random place
to `max_length_seconds` where they are longer, and given to the feature extractor, all in a transform of the data set;
the stock Trainer pads what comes together by chance. Validation clips are whole, and in the order of the data set.

Where datasets' `Audio` decodes by torchcodec, here soundfile decodes and librosa resamples (soxr, its default), as
users of datasets do who have no torchcodec.
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
    features = Features({"audio": {"path": Value("string"), "bytes": Value("binary")}, "label": Value("int64")})
    # Built as what an Audio column holds and then cast: building one asks for torchcodec.
    return Dataset.from_dict({"audio": audio, "label": labels}, features).cast_column("audio", Audio(decode=False))


def example_trainer(
    model: PreTrainedModel,
    extractor: SequenceFeatureExtractor,
    train: Dataset,
    validation: Dataset,
    max_length_seconds: float,
    **arguments: Any,
) -> Trainer:
    """The example's Trainer, ready for `train()`; it prints nothing."""
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


def decoded(path: str | Path, rate: int) -> np.ndarray:
    """(samples,) float32, channels mixed to their mean."""
    waveform, own_rate = soundfile.read(path, dtype="float32")
    if waveform.ndim > 1:
        waveform = waveform.mean(axis=1)
    return waveform if own_rate == rate else librosa.resample(waveform, orig_sr=own_rate, target_sr=rate)


def _transform(extractor: SequenceFeatureExtractor, max_length_seconds: float | None) -> Callable[[dict], dict]:
    name, rate = extractor.model_input_names[0], extractor.sampling_rate
    limit = None if max_length_seconds is None else round(max_length_seconds * rate)

    def transform(batch: dict[str, list]) -> dict[str, list]:
        waveforms = [_cut(decoded(audio["path"], rate), limit) for audio in batch["audio"]]
        return {name: extractor(waveforms, sampling_rate=rate)[name], "labels": batch["label"]}

    return transform


def _cut(waveform: np.ndarray, limit: int | None) -> np.ndarray:
    if limit is None or len(waveform) <= limit:
        return waveform
    start = random.randint(0, len(waveform) - limit - 1)
    return waveform[start : start + limit]


def _accuracy(predicted: Any) -> dict[str, float]:
    return {"accuracy": float((predicted.predictions.argmax(axis=1) == predicted.label_ids).mean())}
