"""Reference clips of a trained model and its logits of them, with which `ser_hf.hub.verify` checks
published copies.

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
    whole = np.flatnonzero(lengths <= limit)
    candidates = whole if len(whole) else np.arange(len(lengths))
    _, first = np.unique(lengths[candidates], return_index=True)
    places = np.unique(np.linspace(0, len(first) - 1, min(count, len(first))).round().astype(int))
    return candidates[first[places]].tolist()


def compute_logits(
    model: "nn.Module",
    extractor: "SequenceFeatureExtractor",
    preparation: "Preparation",
    clips: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """Compute the logits of clips one at a time, in evaluation mode and exact float32; adapters
    need not be merged.

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
            logits.append(type(model).forward(model, **inputs).logits[0].float().cpu().numpy())
    model.train(training)
    return logits


def write_reference(
    path: Path, clips: Sequence[np.ndarray], logits: Sequence[np.ndarray], sampling_rate: int
) -> None:
    """Write clips (samples,) as recorded, and the model's logits (classes,) of each, to
    reference.npz.
    """
    named = {f"clip_{i}": np.asarray(clip, dtype=np.float32) for i, clip in enumerate(clips)}
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, logits=np.stack(logits), sampling_rate=sampling_rate, **named)
    partial.replace(path)


def copy_reference(source: Path, target: Path) -> None:
    """Replace the reference by that of another run, or remove it if that run has none."""
    target.unlink(missing_ok=True)
    if source.is_file():
        partial = target.with_suffix(".partial")
        shutil.copyfile(source, partial)
        partial.replace(target)


def read_reference(folder: str | Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Clips, each (samples,) float32 at the model's rate, and logits (clips, classes) float32 of a
    run's folder.

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
        if logits.ndim != 2 or any(
            one.ndim != 1 or one.dtype != np.float32 for one in (*clips, *logits)
        ):
            raise ValueError("other arrays than clips and logits")
        return clips, logits
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
