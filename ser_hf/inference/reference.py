"""reference.npz of a run: a few clips and the logits of the training process, for `ser_hf.hub.verify`.

The file is never published, as licences of corpora forbid it.
"""

import contextlib
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..utils.errors import UserError
from ..utils.run_folder import RunFolder

if TYPE_CHECKING:
    from torch import nn
    from transformers import SequenceFeatureExtractor

    from ..models.preparation import Preparation

CLIPS = 4
LONGEST = 10.0  # seconds


def chosen_clips(lengths: Sequence[int], limit: int, count: int = CLIPS) -> list[int]:
    """Places of at most `count` clips of different lengths, shortest first, spread evenly over them.

    Args:
        lengths: samples of each clip; those of more than `limit` are taken only where all are.
    """
    lengths = np.asarray(lengths)
    whole = np.flatnonzero(lengths <= limit)
    candidates = whole if len(whole) else np.arange(len(lengths))
    _, first = np.unique(lengths[candidates], return_index=True)
    places = np.unique(np.linspace(0, len(first) - 1, min(count, len(first))).round().astype(int))
    return candidates[first[places]].tolist()


def write_reference(
    path: Path,
    model: "nn.Module",
    extractor: "SequenceFeatureExtractor",
    preparation: "Preparation",
    clips: Sequence[np.ndarray],
) -> None:
    """Writes clips and the model's logits of each alone: in evaluation mode, in float32, on the device it is on.

    Args:
        model: trained, as it is to be published; adapters may still stand beside its weights.
        extractor: that it was trained behind; `preparation` is done to clips before it.
        clips: waveforms (samples,) at the extractor's rate, before any preparation.
    """
    import torch

    from ..models.preparation import prepare_waveform

    rate, training = extractor.sampling_rate, model.training
    device = next((tensor.device for tensor in model.state_dict().values()), torch.device("cpu"))
    model.eval()
    logits = []
    with torch.no_grad(), _exact():
        for clip in clips:
            heard = np.array(prepare_waveform(clip, rate, preparation))
            inputs = extractor(heard, sampling_rate=rate, return_tensors="pt").to(device)
            # The method of the class: Accelerate has put one with less precision into the instance.
            logits.append(type(model).forward(model, **inputs).logits[0].float().cpu().numpy())
    model.train(training)
    named = {f"clip_{i}": np.asarray(clip, dtype=np.float32) for i, clip in enumerate(clips)}
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, logits=np.stack(logits), sampling_rate=rate, **named)
    partial.replace(path)


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """Products of float32 numbers as such, where the training took TF32 for them, as cuDNN's convolutions and
    recurrences do unless each is told otherwise."""
    from torch import backends

    kinds = (backends, backends.cudnn.conv, backends.cudnn.rnn)
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = "ieee"
    try:
        yield
    finally:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision


def copy_reference(source: Path, target: Path) -> None:
    """Copies the reference of the run whose model was chosen, or removes an old one."""
    target.unlink(missing_ok=True)
    if source.is_file():
        partial = target.with_suffix(".partial")
        shutil.copyfile(source, partial)
        partial.replace(target)


def read_reference(folder: str | Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Clips, each (samples,) float32 at the model's rate, and logits (clips, classes) float32 of a run's folder.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    path = RunFolder(folder).reference
    if not path.is_file():
        raise UserError(
            f"{path}: missing; a run writes it at its end, so rerun this one (ser-hf reproduce {folder}, or ser-hf "
            "train with --overwrite)"
        )
    try:
        with np.load(path, allow_pickle=False) as saved:
            logits = saved["logits"]
            return [saved[f"clip_{i}"] for i in range(len(logits))], logits
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise UserError(f"{path}: damaged; rerun the run, which writes it (ser-hf reproduce {folder})") from None
