"""Reference clips of a trained model, and the logits that the model computes for them.

`ser_hf.hub.verify` checks published copies of the model with them. The file reference.npz is in the
run's folder beside model/. It is not published, because the clips belong to a corpus.
"""

import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..utils.environment import exact_float32
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder

if TYPE_CHECKING:
    from torch import nn
    from transformers import SequenceFeatureExtractor

    from ..models.preparation import Preparation

CLIPS = 4
LONGEST = 10.0  # seconds


def chosen_clips(lengths: Sequence[int], limit: int, count: int = CLIPS) -> list[int]:
    """Choose clips of different lengths, spread evenly from short to long.

    Args:
        lengths: the number of samples of each clip, (clips,).
        limit: a number of samples; longer clips are only chosen if all clips are longer.
        count: the largest number of clips.

    Returns:
        Positions of the chosen clips, the shortest first.
    """
    lengths = np.asarray(lengths)
    candidates = np.flatnonzero(lengths <= limit)
    if not len(candidates):
        candidates = np.arange(len(lengths))
    # One clip of each length, sorted by length.
    _, first_of_length = np.unique(lengths[candidates], return_index=True)
    different = candidates[first_of_length]
    spread = np.linspace(0, len(different) - 1, min(count, len(different)))
    ranks = np.unique(spread.round().astype(int))
    return different[ranks].tolist()


def compute_logits(
    model: "nn.Module",
    extractor: "SequenceFeatureExtractor",
    preparation: "Preparation",
    clips: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """Compute the logits of clips one at a time, in evaluation mode and exact float32.

    The model may have adapters that are not merged.

    Args:
        model: a model on its device; its training mode is restored at the end.
        extractor: the feature extractor, without the preparation.
        preparation: the preparation of the waveforms.
        clips: one array (samples,) for each clip, before the preparation.

    Returns:
        Logits (classes,) of each clip.
    """
    import torch

    from ..models.preparation import prepare_waveform

    rate = extractor.sampling_rate
    training = model.training
    device = next((tensor.device for tensor in model.state_dict().values()), torch.device("cpu"))
    model.eval()
    logits = []
    with torch.no_grad(), exact_float32():
        for clip in clips:
            prepared = np.array(prepare_waveform(clip, rate, preparation))
            inputs = extractor(prepared, sampling_rate=rate, return_tensors="pt").to(device)
            # Call the method of the class: Accelerate replaces the method of the instance by one
            # with less precision.
            output = type(model).forward(model, **inputs)
            logits.append(output.logits[0].float().cpu().numpy())
    model.train(training)
    return logits


def write_reference(
    path: Path, clips: Sequence[np.ndarray], logits: Sequence[np.ndarray], sampling_rate: int
) -> None:
    """Write reference.npz.

    Args:
        path: the path of the file.
        clips: one array (samples,) for each clip, before the preparation.
        logits: the logits of the model, (classes,) for each clip.
        sampling_rate: the sampling rate of the clips in Hz.
    """
    arrays = {"logits": np.stack(logits), "sampling_rate": sampling_rate}
    for i, clip in enumerate(clips):
        arrays[f"clip_{i}"] = np.asarray(clip, dtype=np.float32)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.replace(path)


def copy_reference(source: Path, target: Path) -> None:
    """Replace a run's reference.npz by that of another run, or remove it if the other has none."""
    target.unlink(missing_ok=True)
    if source.is_file():
        partial = target.with_suffix(".partial")
        shutil.copyfile(source, partial)
        partial.replace(target)


def read_reference(folder: str | Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Read the reference clips and logits of a run's folder.

    Returns:
        Clips, float32 (samples,) each, at the model's rate, and logits, float32 (clips, classes).

    Raises:
        UserError: if the file reference.npz is missing or damaged.
    """
    path = RunFolder(folder).reference
    if not path.is_file():
        raise UserError(
            f"{path}: missing; rerun the run, which writes it (ser-hf reproduce {folder})"
        )
    try:
        with np.load(path, allow_pickle=False) as saved:
            logits = saved["logits"]
            clips = [saved[f"clip_{i}"] for i in range(len(logits))]
        _check_reference(clips, logits)
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        EOFError,
        MemoryError,
        zlib.error,
        zipfile.BadZipFile,
    ):
        raise UserError(
            f"{path}: damaged; rerun the run, which writes it (ser-hf reproduce {folder})"
        ) from None
    return clips, logits


def _check_reference(clips: Sequence[np.ndarray], logits: np.ndarray) -> None:
    """Raise a `ValueError` if an array has the wrong shape or type for a reference."""
    if logits.ndim != 2 or logits.dtype != np.float32:
        raise ValueError("logits: not float32 (clips, classes)")
    for clip in clips:
        if clip.ndim != 1 or clip.dtype != np.float32:
            raise ValueError("a clip: not float32 (samples,)")
