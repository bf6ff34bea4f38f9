"""Reference clips of a trained model, and its logits of them.

`ser_hf.hub.verify` checks published copies with them.
reference.npz is in the run's folder beside model/ and is not published, since the clips belong to a
corpus.
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
        lengths: samples of each clip, (clips,).
        limit: samples; longer clips are only chosen if all are longer.
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

    Adapters need not be merged.

    Args:
        model: on its device; its training mode is restored.
        extractor: without the preparation.
        preparation: of the waveforms.
        clips: (samples,) each, before the preparation.

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
            # The method of the class, since Accelerate replaces that of the instance by one with
            # less precision.
            output = type(model).forward(model, **inputs)
            logits.append(output.logits[0].float().cpu().numpy())
    model.train(training)
    return logits


def write_reference(
    path: Path, clips: Sequence[np.ndarray], logits: Sequence[np.ndarray], sampling_rate: int
) -> None:
    """Write reference.npz.

    Args:
        path: of the file.
        clips: (samples,) each, as recorded.
        logits: of the model, (classes,) for each clip.
        sampling_rate: of the clips.
    """
    arrays = {"logits": np.stack(logits), "sampling_rate": sampling_rate}
    for i, clip in enumerate(clips):
        arrays[f"clip_{i}"] = np.asarray(clip, dtype=np.float32)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.replace(path)


def copy_reference(source: Path, target: Path) -> None:
    """Replace the reference by that of another run, or remove it if that run has none."""
    target.unlink(missing_ok=True)
    if source.is_file():
        partial = target.with_suffix(".partial")
        shutil.copyfile(source, partial)
        partial.replace(target)


def read_reference(folder: str | Path) -> tuple[list[np.ndarray], np.ndarray]:
    """The reference clips and logits of a run's folder.

    Returns:
        Clips, float32 (samples,) each, at the model's rate, and logits, float32 (clips, classes).

    Raises:
        UserError: if there is none, or it is damaged.
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
    """Raise a `ValueError` for arrays of other shapes or types than those of a reference."""
    if logits.ndim != 2 or logits.dtype != np.float32:
        raise ValueError("logits: not float32 (clips, classes)")
    for clip in clips:
        if clip.ndim != 1 or clip.dtype != np.float32:
            raise ValueError("a clip: not float32 (samples,)")
