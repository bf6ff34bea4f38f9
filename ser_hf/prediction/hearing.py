"""A chunk of waveforms through the model, in batches of like length; long clips in windows, as evaluation does it."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from ..errors import UserError
from ..training.batches import Collator
from ..training.encoders import lengths_needed
from ..training.windows import merge, pieces
from .expert import Expert
from .reading import Chunk
from .vectors import Vectors

# Windows of a batch are padded to this many seconds together at most: `batch_size` times a long utterance.
_SECONDS_A_CLIP = 10


@dataclasses.dataclass(frozen=True)
class Heard:
    """What the model made of a chunk, by window, those of a clip one after the other.

    Args:
        rows: the clip of each window, by its place in the chunk, (windows,).
        starts, lengths: samples of the waveform as the model heard it, (windows,).
        logits: float32 (windows, labels).
        vectors: float32 (windows, size), None where none were asked for.
    """

    rows: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    logits: np.ndarray
    vectors: np.ndarray | None

    def by_clip(self, multi_label: bool) -> "Heard":
        """One window a clip: the mean of probabilities by duration, as evaluation has it, and of vectors likewise."""
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
        return Heard(own, np.zeros_like(lengths), lengths, merged, vectors)


@torch.inference_mode()
def hear(
    expert: Expert,
    chunk: Chunk,
    window: int | None,
    batch_size: int,
    vectors: Vectors | None = None,
    progress: Callable[[int], None] = lambda clips: None,
) -> Heard:
    """What the model says of a chunk, and what `vectors` keeps of it on the way.

    Args:
        window: samples; longer clips are heard in pieces of at most that (`ser_hf.training.windows`).
        batch_size: windows at a time; padded ones only where padding changes no answer.
        progress: hears how many clips have begun to be heard, batch by batch.

    Raises:
        UserError: if an answer is not finite.
    """
    clips = [
        {"row": row, "labels": 0, "start": start, "length": length, "max_samples": 0}
        for row, whole in enumerate(chunk.lengths.tolist())
        for start, length in pieces(whole, window or whole or 1)
    ]
    clips.sort(key=lambda clip: clip["length"])  # as `ser_hf.training.batches.part` has it: little is padded
    least = lengths_needed(expert.model.config)
    collator = Collator(chunk, expert.extractor, 0, *least)
    device = expert.model.device
    logits, kept = [], []
    most = batch_size * _SECONDS_A_CLIP * chunk.sampling_rate
    for begin, end in batches([clip["length"] for clip in clips], batch_size, most, expert.padding_safe):
        batch = collator(clips[begin:end])
        del batch["labels"]
        batch = batch.to(device)
        answer = expert.model(**batch).logits.float()
        if answer.shape[1:] != (len(expert.labels),):
            raise UserError(
                f"{expert.source}: answers {'x'.join(map(str, answer.shape[1:]))} numbers for {len(expert.labels)} "
                "labels; mend id2label in its config.json"
            )
        if not answer.isfinite().all():
            worst = clips[begin + int((~answer.isfinite()).any(dim=1).nonzero()[0])]["row"]
            raise UserError(f"{expert.source}: its answer to {chunk.recordings[worst].path} is not a finite number")
        logits.append(answer.cpu())
        if vectors is not None:
            lengths = torch.tensor([max(clip["length"], least[0]) for clip in clips[begin:end]], device=device)
            kept.append(vectors.take(batch, lengths).cpu())
        progress(sum(clip["start"] == 0 for clip in clips[begin:end]))
    rows, starts, lengths = (np.array([clip[name] for clip in clips]) for name in ("row", "start", "length"))
    order = np.lexsort((starts, rows))
    everything = torch.cat(logits).numpy()[order]
    taken = torch.cat(kept).numpy()[order] if kept else None
    return Heard(rows[order], starts[order], lengths[order], everything, taken)


def batches(lengths: Sequence[int], batch_size: int, most: int, padding_safe: bool) -> Iterator[tuple[int, int]]:
    """(begin, end) of batches of windows that are sorted by length: at most `batch_size`, at most `most` samples when
    padded, and of one length alone where padding would change answers."""
    begin = 0
    for end in range(1, len(lengths) + 1):
        full = end == len(lengths) or end - begin == batch_size or lengths[end] * (end + 1 - begin) > most
        if full or not padding_safe and lengths[end] != lengths[begin]:
            yield begin, end
            begin = end
