"""Runs a model on waveforms in batches of similar length, long clips in windows, and captures embeddings."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from ..audio.transforms import Waveforms
from ..evaluation.metrics import softmax
from ..training.data import Collator, merge, pieces
from ..training.encoders import encoder_config, lengths_needed, shortest_clip, stride, takes_waveforms
from ..training.freezing import structure
from ..utils.errors import UserError
from .classifier import Classifier
from .inputs import Chunk, Recording

_WHISPER, _SPECTROGRAM = "whisper", "audio-spectrogram-transformer"
_TOKENS = 2  # of the audio spectrogram transformer, before its patches: class and distillation
_CHUNK_SAMPLES = 2**23  # nine minutes at 16 kHz, 34 MB
_FRAME, _HOP = 400, 160  # samples of the frames that its extractor makes of a waveform, whole ones only


class EmbeddingCapture:
    """The captured layer's input or output of the last batch; `take` pools it to one vector a clip."""

    def __init__(self, classifier: Classifier, layer: int | None):
        self.classifier, self.layer = classifier, layer
        self.kept: torch.Tensor | None = None

    def take(self, batch: Mapping[str, torch.Tensor], lengths: torch.Tensor) -> torch.Tensor:
        """Vectors float32 (batch, size) of the batch that the model has just processed.

        Args:
            lengths: samples of each clip, (batch,), padding to the shortest possible clip included.
        """
        kept, self.kept = self.kept, None
        if self.layer is None:
            if kept is None or kept.ndim != 2 or len(kept) != len(lengths):
                raise UserError(
                    f"--embeddings: {self.classifier.source} has no layer at its end that is given one vector a clip"
                )
            return kept.float()
        model = self.classifier.model
        frames = kept.float()
        if encoder_config(model.config).model_type == _SPECTROGRAM:
            frames = frames[:, _TOKENS:]
        real = _real_frames(model, batch, lengths, frames.shape[1], self.classifier.padding_safe)
        real = real.to(frames)[:, :, None]
        return (frames * real).sum(dim=1) / real.sum(dim=1)


@contextlib.contextmanager
def capture_embeddings(classifier: Classifier, layer: int | None) -> Iterator[EmbeddingCapture]:
    """Captures embeddings of each batch by hooks.

    Args:
        layer: None is the input of the classifier's last layer: pooled over time, after any hidden layers of the head.
            A number is a hidden state of a Transformers encoder: 0 enters the lowest layer, n leaves the n-th, -1 the
            top one.

    Raises:
        UserError: naming `--layer` for a layer that does not exist, `--embeddings` if the last layer is unknown.
    """
    vectors = EmbeddingCapture(classifier, None if layer is None else layer_number(classifier, layer))

    def keep_input(module: nn.Module, given: tuple) -> None:
        vectors.kept = given[0].detach()

    def ask(module: nn.Module, given: tuple, named: dict) -> tuple[tuple, dict]:
        return given, named | {"output_hidden_states": True, "return_dict": True}

    def keep_state(module: nn.Module, given: tuple, made: Mapping) -> None:
        vectors.kept = made["hidden_states"][vectors.layer].detach()

    if layer is None:
        hooks = [last_layer(classifier.model).register_forward_pre_hook(keep_input)]
    else:
        encoder = classifier.model.get_submodule(structure(classifier.model, "--layer").encoder)
        hooks = [
            encoder.register_forward_pre_hook(ask, with_kwargs=True),
            encoder.register_forward_hook(keep_state),
        ]
    try:
        yield vectors
    finally:
        for hook in hooks:
            hook.remove()


def layer_number(classifier: Classifier, layer: int) -> int:
    """The layer counted from 0, where it is there. Raises a `UserError` where it is not."""
    if not classifier.encoder:
        raise UserError(
            f"--layer: {classifier.source} ({classifier.model.config.model_type}) has no encoder of transformers; "
            "leave it out for what its classifier is given"
        )
    top = encoder_config(classifier.model.config).num_hidden_layers
    if not -top - 1 <= layer <= top:
        raise UserError(f"--layer: {classifier.source} has hidden states 0 to {top}, got {layer}")
    return layer % (top + 1)


def last_layer(model: nn.Module) -> nn.Module:
    """The linear layer that computes the logits; the whole classifier of support vector machines and trees."""
    head = getattr(model, "classifier", None)
    if isinstance(head, nn.Module):
        linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
        return linear[-1] if linear else head
    count = model.config.num_labels
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == count]
    if not linear:
        raise UserError(f"embeddings: {type(model).__name__} does not end with a linear layer of {count} labels")
    return linear[-1]


def _real_frames(
    model: PreTrainedModel,
    batch: Mapping[str, torch.Tensor],
    lengths: torch.Tensor,
    frames: int,
    padding_safe: bool,
) -> torch.Tensor:
    """(batch, frames) bool, true where a hidden state is of the clip and not of padding after it."""
    config = encoder_config(model.config)
    place = torch.arange(frames, device=lengths.device)
    mask = batch.get("attention_mask")
    if config.model_type == _WHISPER:
        return place < torch.ceil(lengths[:, None] / stride(config))
    if config.model_type == _SPECTROGRAM:
        # Patches lie band by band, each band's along time; one is of the clip that begins within it.
        columns = (config.max_length - config.patch_size) // config.time_stride + 1
        heard = (lengths[:, None] - _FRAME) // _HOP + 1
        return place % columns * config.time_stride < heard
    if mask is None or not padding_safe:  # then nothing was padded
        return torch.ones(len(lengths), frames, dtype=torch.bool, device=lengths.device)
    if not takes_waveforms(config):
        return mask.bool()
    samples = mask.sum(dim=1).clamp(min=shortest_clip(config))
    encoder = model.get_submodule(structure(model).encoder)
    return place < encoder._get_feat_extract_output_lengths(samples)[:, None]


# Windows of a batch are padded to this many seconds together at most: `batch_size` times a long utterance.
_SECONDS_A_CLIP = 10


@dataclasses.dataclass(frozen=True)
class ModelOutputs:
    """A model's outputs for the windows of a chunk, sorted by clip and time.

    Args:
        rows: the clip of each window, by its place in the chunk, (windows,).
        starts, lengths: samples of the prepared waveform, (windows,).
        logits: float32 (windows, labels).
        vectors: embeddings, float32 (windows, size), if requested.
    """

    rows: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    logits: np.ndarray
    vectors: np.ndarray | None

    def by_clip(self, multi_label: bool) -> "ModelOutputs":
        """One row a clip: probabilities and vectors are means over its windows, weighted by duration."""
        rows, logits = self.rows, self.logits
        if multi_label:  # each label against its absence
            pairs = [merge(rows, self.lengths, np.stack([np.zeros_like(own), own], axis=1))[1] for own in logits.T]
            merged = np.stack([pair[:, 1] - pair[:, 0] for pair in pairs], axis=1)
        else:
            merged = merge(rows, self.lengths, logits)[1]
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
    vectors: EmbeddingCapture | None = None,
    progress: Callable[[int], None] = lambda clips: None,
) -> ModelOutputs:
    """The model's outputs for a chunk, with embeddings from `vectors`.

    Args:
        window: samples; longer clips are processed in windows of at most that (`ser_hf.training.data.pieces`).
        batch_size: windows at a time; those of different lengths share a batch only if padding changes no prediction.
        progress: called after each batch with the number of clips that it began.

    Raises:
        UserError: if a logit is not finite.
    """
    clips = [
        {"row": row, "labels": 0, "start": start, "length": length, "max_samples": 0}
        for row, whole in enumerate(chunk.lengths.tolist())
        for start, length in pieces(whole, window or whole or 1)
    ]
    clips.sort(key=lambda clip: clip["length"])  # as `ser_hf.training.data.part` has it: little is padded
    least = lengths_needed(classifier.model.config)
    collator = Collator(chunk, classifier.extractor, 0, *least)
    device = classifier.model.device
    logits, kept = [], []
    most = batch_size * _SECONDS_A_CLIP * chunk.sampling_rate
    for begin, end in batches([clip["length"] for clip in clips], batch_size, most, classifier.padding_safe):
        batch = collator(clips[begin:end])
        del batch["labels"]
        batch = batch.to(device)
        answer = classifier.model(**batch).logits.float()
        if answer.shape[1:] != (len(classifier.labels),):
            raise UserError(
                f"{classifier.source}: answers {'x'.join(map(str, answer.shape[1:]))} numbers for "
                f"{len(classifier.labels)} labels; mend id2label in its config.json"
            )
        if not answer.isfinite().all():
            worst = clips[begin + int((~answer.isfinite()).any(dim=1).nonzero()[0])]["row"]
            raise UserError(
                f"{classifier.source}: its answer to {chunk.recordings[worst].path} is not a finite number"
            )
        logits.append(answer.cpu())
        if vectors is not None:
            lengths = torch.tensor([max(clip["length"], least[0]) for clip in clips[begin:end]], device=device)
            kept.append(vectors.take(batch, lengths).cpu())
        progress(sum(clip["start"] == 0 for clip in clips[begin:end]))
    rows, starts, lengths = (np.array([clip[name] for clip in clips]) for name in ("row", "start", "length"))
    order = np.lexsort((starts, rows))
    everything = torch.cat(logits).numpy()[order]
    taken = torch.cat(kept).numpy()[order] if kept else None
    return ModelOutputs(rows[order], starts[order], lengths[order], everything, taken)


def classify(
    classifier: Classifier,
    waveforms: Waveforms | Sequence[np.ndarray],
    ids: Sequence[str],
    *,
    window: float | None = None,
    batch_size: int = 16,
    embeddings: bool = False,
    progress: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Probabilities float32 (clips, labels) of prepared waveforms and, if requested, embeddings float32 (clips, size).

    Args:
        window: seconds of the longest window; None is that of the model's own evaluation.
    """
    shares, vectors, samples = [], [], classifier.window(window)
    with contextlib.ExitStack() as stack:
        capture = stack.enter_context(capture_embeddings(classifier, None)) if embeddings else None
        bar = stack.enter_context(
            tqdm(total=len(ids), desc="evaluating", unit="clip", disable=None if progress else True)
        )
        for begin, end in _chunks([len(waveforms[i]) for i in range(len(ids))]):
            recordings = [Recording(name, name) for name in ids[begin:end]]
            clips = [np.asarray(waveforms[i]) for i in range(begin, end)]
            chunk = Chunk(recordings, clips, classifier.extractor.sampling_rate)
            outputs = run_batches(classifier, chunk, samples, batch_size, capture, bar.update)
            outputs = outputs.by_clip(classifier.multi_label)
            shares.append(probabilities(outputs.logits, classifier.multi_label))
            vectors.append(outputs.vectors)
    return np.concatenate(shares), np.concatenate(vectors) if embeddings else None


def probabilities(logits: np.ndarray, multi_label: bool) -> np.ndarray:
    """Softmax of logits (rows, labels), or the sigmoid of each label of a multi-label model, as in `pipeline`."""
    if multi_label:
        return torch.from_numpy(logits).sigmoid().numpy()
    return softmax(logits)


def _chunks(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    begin = samples = 0
    for i, length in enumerate(lengths):
        samples += length
        if samples >= _CHUNK_SAMPLES or i + 1 == len(lengths):
            yield begin, i + 1
            begin, samples = i + 1, 0


def batches(lengths: Sequence[int], batch_size: int, most: int, padding_safe: bool) -> Iterator[tuple[int, int]]:
    """(begin, end) of batches of windows that are sorted by length: at most `batch_size`, at most `most` samples when
    padded, and of one length alone where padding would change answers."""
    begin = 0
    for end in range(1, len(lengths) + 1):
        full = end == len(lengths) or end - begin == batch_size or lengths[end] * (end + 1 - begin) > most
        if full or not padding_safe and lengths[end] != lengths[begin]:
            yield begin, end
            begin = end
