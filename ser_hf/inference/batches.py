"""Runs a model on waveforms in batches of similar length, long clips in windows, and captures
embeddings.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from ..evaluation.probabilities import activated
from ..loading.batches import ClipCollator, batches, merge, pieces
from ..loading.encoders import lengths_needed
from ..utils.errors import UserError
from .classifier import Classifier
from .inputs import Chunk, Recording

_CHUNK_SAMPLES = 2**23  # nine minutes at 16 kHz, 34 MB
# Windows of a batch are padded to this many seconds together at most: `batch_size` times a long
# utterance.
_SECONDS_A_CLIP = 10
EMBEDDING = "input of the classifier's last layer"

# The vectors float32 (batch, size) of the last batch, of so many clips.
TakeVectors = Callable[[int], torch.Tensor]


@contextlib.contextmanager
def capture_embeddings(classifier: Classifier) -> Iterator[TakeVectors]:
    """Capture, by a hook, the input of the classifier's last layer for each batch (after pooling
    and any head).
    """
    kept: list[torch.Tensor] = []

    def take(clips: int) -> torch.Tensor:
        vectors = kept.pop() if kept else None
        if vectors is None or vectors.ndim != 2 or len(vectors) != clips:
            raise UserError(
                f"--embeddings: {classifier.source} has no last layer with one input vector per clip"
            )
        return vectors.float()

    hook = last_layer(classifier.model).register_forward_pre_hook(
        lambda module, given: kept.append(given[0].detach())
    )
    try:
        yield take
    finally:
        hook.remove()


def last_layer(model: nn.Module) -> nn.Module:
    """The linear layer that computes the logits; the whole classifier of support vector machines
    and trees.
    """
    head = getattr(model, "classifier", None)
    if isinstance(head, nn.Module):
        linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
        return linear[-1] if linear else head
    count = model.config.num_labels
    linear = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.out_features == count
    ]
    if not linear:
        raise UserError(
            f"embeddings: {type(model).__name__} does not end with a linear layer of {count} labels"
        )
    return linear[-1]


@dataclasses.dataclass(frozen=True)
class ModelOutputs:
    """A model's outputs for the windows of a chunk, sorted by clip and time.

    Args:
        rows: the clip of each window, by its place in the chunk, (windows,).
        starts, lengths: samples of the prepared waveform, (windows,).
        logits, vectors: float32 (windows, labels), and (windows, size) if embeddings are requested.
    """

    rows: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    logits: np.ndarray
    vectors: np.ndarray | None

    def by_clip(self, problem_type: str | None) -> "ModelOutputs":
        """One row per clip: probabilities (or values) and vectors are means over its windows,
        weighted by duration.
        """
        rows = self.rows
        merged = merge(rows, self.lengths, self.logits, problem_type)[1]
        own, first = np.unique(rows, return_index=True)
        lengths = np.add.reduceat(self.lengths, first)
        vectors = self.vectors
        if vectors is not None and len(own) < len(rows):
            shares = (self.lengths / lengths[rows]).astype(np.float32)
            vectors = np.add.reduceat(vectors * shares[:, None], first, axis=0)
        return ModelOutputs(own, np.zeros_like(lengths), lengths, merged, vectors)


@torch.inference_mode()
def run_batches(
    classifier: Classifier,
    chunk: Chunk,
    window: int | None,
    batch_size: int,
    take_vectors: TakeVectors | None = None,
    progress: Callable[[int], None] = lambda clips: None,
) -> ModelOutputs:
    """The model's outputs for a chunk, with embeddings from `capture_embeddings`.

    Args:
        window: samples; longer clips are processed in windows of at most that
            (`ser_hf.loading.batches.pieces`).
        batch_size: windows at a time; those of different lengths share a batch only if padding
            changes no prediction.
        progress: called after each batch with the number of clips that it began.

    Raises:
        UserError: if a logit is not finite.
    """
    windows = [
        {"row": row, "labels": 0, "start": start, "length": length, "max_samples": 0}
        for row, whole in enumerate(chunk.lengths.tolist())
        for start, length in pieces(whole, window or whole or 1)
    ]
    windows.sort(key=lambda own: own["length"])  # as in training's evaluation, for little padding
    shortest, _ = lengths_needed(classifier.model.config)
    collator = ClipCollator(chunk, classifier.extractor, shortest)
    logits = []
    vectors = []
    most = batch_size * _SECONDS_A_CLIP * chunk.sampling_rate
    for begin, end in batches(
        [own["length"] for own in windows], batch_size, classifier.padding_safe, most
    ):
        batch = collator(windows[begin:end])
        batch = {
            name: values.to(classifier.model.device)
            for name, values in batch.items()
            if name != "labels"
        }
        own = classifier.model(**batch).logits.float()
        if own.shape[1:] != (len(classifier.labels),):
            raise UserError(
                f"{classifier.source}: makes {'x'.join(map(str, own.shape[1:]))} logits for {len(classifier.labels)} "
                "labels; correct id2label in its config.json"
            )
        if not own.isfinite().all():
            worst = windows[begin + int((~own.isfinite()).any(dim=1).nonzero()[0])]["row"]
            raise UserError(
                f"{classifier.source}: its logits of {chunk.recordings[worst].path} are not finite"
            )
        logits.append(own.cpu())
        if take_vectors is not None:
            vectors.append(take_vectors(end - begin).cpu())
        progress(sum(own["start"] == 0 for own in windows[begin:end]))
    rows, starts, lengths = (
        np.array([own[name] for own in windows]) for name in ("row", "start", "length")
    )
    order = np.lexsort((starts, rows))
    taken = torch.cat(vectors).numpy()[order] if vectors else None
    return ModelOutputs(
        rows[order], starts[order], lengths[order], torch.cat(logits).numpy()[order], taken
    )


def classify(
    classifier: Classifier,
    waveforms: Sequence[np.ndarray],
    ids: Sequence[str],
    *,
    window: float | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> np.ndarray:
    """Predict prepared clips; several windows of a clip are averaged by duration.

    Args:
        waveforms: (samples,) each, at the model's sampling rate.
        ids: of the clips, for messages.
        window: seconds of the longest window; None is the window of the model's own evaluation.
        batch_size: windows at a time.
        progress: show a progress bar.

    Returns:
        Probabilities or values, float32 (clips, labels).
    """
    shares = []
    samples = classifier.window(window)
    with tqdm(
        total=len(ids), desc="evaluating", unit="clip", disable=None if progress else True
    ) as bar:
        begin = length = 0
        for i in range(len(ids)):
            length += len(waveforms[i])
            if length < _CHUNK_SAMPLES and i + 1 < len(ids):
                continue
            recordings = [Recording(name, name) for name in ids[begin : i + 1]]
            clips = [np.asarray(waveforms[place]) for place in range(begin, i + 1)]
            chunk = Chunk(recordings, clips, classifier.extractor.sampling_rate)
            outputs = run_batches(classifier, chunk, samples, batch_size, progress=bar.update)
            outputs = outputs.by_clip(classifier.problem_type)
            shares.append(activated(outputs.logits, classifier.problem_type))
            begin = i + 1
            length = 0
    return np.concatenate(shares)
