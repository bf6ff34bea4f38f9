"""Runs a model on waveforms, in batches of similar length, and captures embeddings."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from ..evaluation.probabilities import activated
from ..evaluation.tasks import DIMENSIONS
from ..loading.batches import ClipCollator, longest_first, merge, window_bounds
from ..loading.encoders import lengths_needed
from ..utils.environment import MemoryLimit, quiet_libraries, return_freed_memory
from ..utils.errors import UserError
from .chunks import Chunk
from .classifier import Classifier
from .recordings import Recording

_CHUNK_SAMPLES = 2**23  # nine minutes at 16 kHz, 34 MB
# The most seconds in a padded batch, per window of `batch_size`: the length of a long utterance on
# a GPU, and of a short one on a CPU, where larger batches are not faster. (BYOL-S takes 15 MB for a
# second of a batch.)
_SECONDS_A_CLIP = 10
_SECONDS_ON_CPU = 2
EMBEDDING = "input of the classifier's last layer"


class NoEmbeddings(UserError):
    """A model without one embedding per clip."""


# A function that takes the number of clips in the last batch and returns their embeddings, float32
# (batch, size).
TakeVectors = Callable[[int], torch.Tensor]


@contextlib.contextmanager
def capture_embeddings(classifier: Classifier) -> Iterator[TakeVectors]:
    """Capture the embeddings of each batch: the input of the classifier's last layer.

    A hook on this layer captures them, after the pooling and the hidden layers of a head.

    Yields:
        A function that returns the embeddings of the last batch.

    Raises:
        NoEmbeddings: if the model has no last layer, or its input is not one vector per clip.
    """
    captured: list[torch.Tensor] = []

    def capture(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        captured.append(inputs[0].detach())

    def take(clips: int) -> torch.Tensor:
        vectors = captured.pop() if captured else None
        if vectors is None or vectors.ndim != 2 or len(vectors) != clips:
            raise NoEmbeddings(
                f"embeddings: {classifier.source} has no last layer with one input vector per clip"
            )
        return vectors.float()

    hook = last_layer(classifier.model).register_forward_pre_hook(capture)
    try:
        yield take
    finally:
        hook.remove()


def last_layer(model: nn.Module) -> nn.Module:
    """Return the linear layer that computes the logits.

    Support vector machines and trees have no such layer; for them the whole classifier is returned.

    Raises:
        NoEmbeddings: if no linear layer has an output for each label.
    """
    head = getattr(model, "classifier", None)
    if isinstance(head, nn.Module):
        linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
        return linear[-1] if linear else head

    outputs = model.config.num_labels
    last = None
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.out_features == outputs:
            last = module
    if last is None:
        raise NoEmbeddings(
            f"embeddings: {type(model).__name__} does not end with a linear layer of "
            f"{outputs} labels"
        )
    return last


@dataclasses.dataclass(frozen=True)
class ModelOutputs:
    """A model's outputs for the windows of a chunk, sorted by clip and time.

    Args:
        rows: for each window, the position of its clip in the chunk, (windows,).
        starts, lengths: the first sample of each window in the prepared waveform, and the number of
            its samples, (windows,).
        logits, vectors: float32 (windows, labels), and (windows, size) if embeddings are requested.
        ratings: values of the dimensions, float32 (windows, dimensions), if the model predicts them
            beside its labels.
    """

    rows: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    logits: np.ndarray
    vectors: np.ndarray | None
    ratings: np.ndarray | None = None

    def by_clip(self, problem_type: str | None) -> "ModelOutputs":
        """Return outputs with one row per clip.

        Probabilities (or values) and vectors are means over the windows of a clip, weighted by the
        duration of the windows.
        """
        _, logits = merge(self.rows, self.lengths, self.logits, problem_type)
        ratings = None
        if self.ratings is not None:
            _, ratings = merge(self.rows, self.lengths, self.ratings, DIMENSIONS.problem_type)
        clips, first = np.unique(self.rows, return_index=True)
        clip_lengths = np.add.reduceat(self.lengths, first)
        vectors = self.vectors
        if vectors is not None and len(clips) < len(self.rows):
            shares = (self.lengths / clip_lengths[self.rows]).astype(np.float32)
            vectors = np.add.reduceat(vectors * shares[:, None], first, axis=0)
        return ModelOutputs(
            rows=clips,
            starts=np.zeros_like(clip_lengths),
            lengths=clip_lengths,
            logits=logits,
            vectors=vectors,
            ratings=ratings,
        )


@dataclasses.dataclass(frozen=True)
class _Window:
    """A window of a clip: the position of the clip in the chunk, and the samples of the window."""

    row: int
    start: int
    length: int


@torch.inference_mode()
@quiet_libraries()
def run_batches(
    classifier: Classifier,
    chunk: Chunk,
    window: int | None,
    batch_size: int,
    take_vectors: TakeVectors | None = None,
    progress: Callable[[int], None] | None = None,
) -> ModelOutputs:
    """Compute the model's outputs for a chunk, with embeddings if `capture_embeddings` gives them.

    Args:
        window: the most samples of a window; longer clips are divided into windows
            (`ser_hf.loading.batches.window_bounds`).
        batch_size: the number of windows in a batch; windows of different lengths share a batch
            only if padding changes no prediction.
        progress: called after each batch with the number of clips whose first window was in the
            batch.

    Raises:
        UserError: if a logit is not finite.
    """
    windows = _windows_by_length(chunk, window)
    on_cpu = classifier.model.device.type == "cpu"
    seconds = _SECONDS_ON_CPU if on_cpu else _SECONDS_A_CLIP
    shortest, _ = lengths_needed(classifier.model.config)
    collator = ClipCollator(chunk, classifier.extractor, shortest)
    window_batches = longest_first(
        [clip_window.length for clip_window in windows],
        size=batch_size,
        padding_safe=classifier.padding_safe,
        most=batch_size * seconds * chunk.sampling_rate,
    )

    logits = []
    vectors = []
    ratings = []
    evaluated = []
    memory = MemoryLimit()
    for indices in window_batches:
        batch = [windows[i] for i in indices]
        evaluated += batch
        output = _output_of_batch(classifier, collator, batch)
        batch_logits = output.logits.float()
        _check_logits(classifier, chunk, batch, batch_logits)
        logits.append(batch_logits.cpu())
        if classifier.rating_ranges:
            ratings.append(_ratings_of(output, classifier))
        if take_vectors is not None:
            vectors.append(take_vectors(len(batch)).cpu())
        memory.check()
        if progress is not None:
            progress(sum(clip_window.start == 0 for clip_window in batch))

    return _sorted_outputs(
        evaluated,
        torch.cat(logits).numpy(),
        vectors=torch.cat(vectors).numpy() if vectors else None,
        ratings=torch.cat(ratings).numpy() if ratings else None,
    )


def _sorted_outputs(
    windows: Sequence[_Window],
    logits: np.ndarray,
    *,
    vectors: np.ndarray | None,
    ratings: np.ndarray | None,
) -> ModelOutputs:
    """Sort logits (windows, labels), vectors and ratings (windows, size) by clip and time."""
    rows = np.array([clip_window.row for clip_window in windows])
    starts = np.array([clip_window.start for clip_window in windows])
    lengths = np.array([clip_window.length for clip_window in windows])
    order = np.lexsort((starts, rows))
    return ModelOutputs(
        rows=rows[order],
        starts=starts[order],
        lengths=lengths[order],
        logits=logits[order],
        vectors=None if vectors is None else vectors[order],
        ratings=None if ratings is None else ratings[order],
    )


def _windows_by_length(chunk: Chunk, window: int | None) -> list[_Window]:
    """Return the windows of all clips, sorted by length so that batches need little padding.

    Evaluation during training sorts its windows in the same way.
    """
    windows = []
    for row, samples in enumerate(chunk.lengths.tolist()):
        longest = window or samples or 1
        for start, length in window_bounds(samples, longest):
            windows.append(_Window(row, start, length))
    windows.sort(key=lambda clip_window: clip_window.length)
    return windows


def _output_of_batch(
    classifier: Classifier, collator: ClipCollator, batch: Sequence[_Window]
) -> Any:
    """Compute the model's output for a batch, with `logits` (windows, labels), on its device."""
    clips = [{**dataclasses.asdict(clip_window), "labels": 0} for clip_window in batch]
    inputs = collator(clips)
    del inputs["labels"]
    device = classifier.model.device
    inputs = {name: values.to(device) for name, values in inputs.items()}
    return classifier.model(**inputs)


def _ratings_of(output: Any, classifier: Classifier) -> torch.Tensor:
    """The values of the dimensions beside the labels, float32 (windows, dimensions).

    Raises:
        UserError: if the model does not compute them.
    """
    ratings = getattr(output, "ratings", None)
    if ratings is None or ratings.shape[1] != len(classifier.rating_ranges):
        raise UserError(
            f"{classifier.source}: does not predict {', '.join(classifier.rating_ranges)}; correct "
            "dimension_names in its config.json"
        )
    return ratings.float().cpu()


def _check_logits(
    classifier: Classifier, chunk: Chunk, batch: Sequence[_Window], logits: torch.Tensor
) -> None:
    """Refuse logits of another shape than (windows, labels), and logits that are not finite."""
    shape = tuple(logits.shape[1:])
    if shape != (len(classifier.labels),):
        sizes = "x".join(str(size) for size in shape)
        raise UserError(
            f"{classifier.source}: makes {sizes} logits for {len(classifier.labels)} labels; "
            "correct id2label in its config.json"
        )
    finite = logits.isfinite().all(dim=1)
    if not finite.all():
        first = int((~finite).nonzero()[0])
        path = chunk.recordings[batch[first].row].path
        raise UserError(f"{classifier.source}: its logits of {path} are not finite")


def classify(
    classifier: Classifier,
    waveforms: Sequence[np.ndarray],
    ids: Sequence[str],
    *,
    window: float | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> np.ndarray:
    """Predict prepared clips; the windows of a clip are averaged, weighted by their duration.

    Args:
        waveforms: one array (samples,) for each clip, at the model's sampling rate.
        ids: the names of the clips in messages.
        window: seconds of the longest window; None for the window of the model's evaluation.
        batch_size: the number of windows in a batch.
        progress: show a progress bar.

    Returns:
        Probabilities or values, float32 (clips, labels).
    """
    return classify_targets(
        classifier, waveforms, ids, window=window, batch_size=batch_size, progress=progress
    ).predictions


@dataclasses.dataclass(frozen=True)
class ClassifiedClips:
    """Predictions of clips for each target of a model.

    Args:
        predictions: probabilities or values of all clips, float32 (clips, labels).
        ratings: values from 0 to 1 of the dimensions that the model predicts beside its labels,
            float32 (clips, dimensions); None for other models.
    """

    predictions: np.ndarray
    ratings: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class EmbeddedClips(ClassifiedClips):
    """Predictions of clips with the embeddings of some of them.

    Args:
        vectors: embeddings of the selected clips, float32 (selected clips, size).
    """

    vectors: np.ndarray


def classify_targets(
    classifier: Classifier,
    waveforms: Sequence[np.ndarray],
    ids: Sequence[str],
    *,
    window: float | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> ClassifiedClips:
    """Predict prepared clips as `classify` does, with the ratings of a model of both."""
    predictions = []
    ratings = []
    outputs_of_chunks = _clip_outputs(
        classifier, waveforms, ids, window=window, batch_size=batch_size, progress=progress
    )
    for clips in outputs_of_chunks:
        predictions.append(_predictions_of(clips, classifier))
        if clips.ratings is not None:
            ratings.append(bounded_ratings(clips.ratings))
    return ClassifiedClips(
        np.concatenate(predictions), np.concatenate(ratings) if ratings else None
    )


def _predictions_of(clips: ModelOutputs, classifier: Classifier) -> np.ndarray:
    """The probabilities or values of clips, float32 (clips, labels)."""
    return activated(clips.logits, classifier.problem_type, bounded=classifier.bounded)


def bounded_ratings(ratings: np.ndarray) -> np.ndarray:
    """Values of dimensions beside labels, clamped to 0 and 1, where the scale of ratings ends."""
    return ratings.clip(0, 1)


def classify_and_embed(
    classifier: Classifier,
    waveforms: Sequence[np.ndarray],
    ids: Sequence[str],
    rows: np.ndarray,
    *,
    window: float | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> EmbeddedClips:
    """Predict prepared clips as `classify` does, and return the embeddings of selected clips.

    Memory holds the embeddings of the selected clips and of one chunk.

    Args:
        rows: the positions of the selected clips, in order.

    Raises:
        NoEmbeddings: if the model does not have one embedding per clip; see `capture_embeddings`.
    """
    selected = np.zeros(len(ids), dtype=bool)
    selected[rows] = True
    predictions = []
    ratings = []
    vectors = []
    begin = 0
    with capture_embeddings(classifier) as take_vectors:
        outputs_of_chunks = _clip_outputs(
            classifier,
            waveforms,
            ids,
            window=window,
            batch_size=batch_size,
            progress=progress,
            take_vectors=take_vectors,
        )
        for clips in outputs_of_chunks:
            end = begin + len(clips.logits)
            predictions.append(_predictions_of(clips, classifier))
            if clips.ratings is not None:
                ratings.append(bounded_ratings(clips.ratings))
            vectors.append(clips.vectors[selected[begin:end]])
            begin = end
    return EmbeddedClips(
        predictions=np.concatenate(predictions),
        ratings=np.concatenate(ratings) if ratings else None,
        vectors=np.concatenate(vectors),
    )


@dataclasses.dataclass(frozen=True)
class ClipEmbeddings:
    """Embeddings and logits of clips.

    Args:
        vectors: float32 (clips, size).
        logits: float32 (clips, labels).
        whole: whether a clip was processed in one window, bool (clips,).
    """

    vectors: np.ndarray
    logits: np.ndarray
    whole: np.ndarray


def embed_clips(
    classifier: Classifier,
    waveforms: Sequence[np.ndarray],
    ids: Sequence[str],
    *,
    window: float | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> ClipEmbeddings:
    """Compute embeddings and logits of prepared clips; arguments as for `classify`.

    Raises:
        NoEmbeddings: if the model does not have one embedding per clip; see `capture_embeddings`.
    """
    vectors = []
    logits = []
    with capture_embeddings(classifier) as take_vectors:
        outputs_of_chunks = _clip_outputs(
            classifier,
            waveforms,
            ids,
            window=window,
            batch_size=batch_size,
            progress=progress,
            take_vectors=take_vectors,
        )
        for clips in outputs_of_chunks:
            vectors.append(clips.vectors)
            logits.append(clips.logits)
    window_samples = classifier.window(window)
    lengths = np.array([len(waveform) for waveform in waveforms])
    whole = np.ones(len(lengths), dtype=bool)
    if window_samples is not None:
        whole = lengths <= window_samples
    return ClipEmbeddings(np.concatenate(vectors), np.concatenate(logits), whole)


def _clip_outputs(
    classifier: Classifier,
    waveforms: Sequence[np.ndarray],
    ids: Sequence[str],
    *,
    window: float | None,
    batch_size: int,
    progress: bool,
    take_vectors: TakeVectors | None = None,
) -> Iterator[ModelOutputs]:
    """Yield the outputs of consecutive clips, chunk by chunk, with one row per clip."""
    window_samples = classifier.window(window)
    bar = tqdm(total=len(ids), desc="evaluating", unit="clip", disable=None if progress else True)
    with bar:
        for begin, end in _chunk_ranges([len(waveform) for waveform in waveforms]):
            chunk = Chunk(
                recordings=[Recording(clip_id, clip_id) for clip_id in ids[begin:end]],
                waveforms=[np.asarray(waveforms[i]) for i in range(begin, end)],
                sampling_rate=classifier.extractor.sampling_rate,
            )
            windows = run_batches(
                classifier,
                chunk,
                window_samples,
                batch_size,
                take_vectors=take_vectors,
                progress=bar.update,
            )
            yield windows.by_clip(classifier.problem_type)
    return_freed_memory()


def _chunk_ranges(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of consecutive clips that have about `_CHUNK_SAMPLES` samples together."""
    begin = 0
    samples = 0
    for end, length in enumerate(lengths, start=1):
        samples += length
        if samples >= _CHUNK_SAMPLES or end == len(lengths):
            yield begin, end
            begin = end
            samples = 0
