"""Clips longer than a model takes, judged piece by piece: where the pieces lie, what becomes of their logits, and what
a reader of the figures is told."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from datasets.table import InMemoryTable
from scipy.special import log_softmax, logsumexp
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler
from transformers import BatchFeature, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor
from transformers.trainer_pt_utils import get_length_grouped_indices

from ..audio import WaveformStore
from ..audio.augmentation import Mixup
from ..models.preparation import fix_length
from ..utils.errors import UserError
from .balancing import Turns


def pieces(samples: int, window: int) -> list[tuple[int, int]]:
    """(start, length) of the fewest pieces of a clip, one after the other, that are no longer than `window` samples.

    They are equally long, to a sample: a last piece of what is left over would be judged on next to nothing.
    """
    count = max(1, -(-samples // window))
    bounds = [i * samples // count for i in range(count + 1)]
    return [(start, end - start) for start, end in zip(bounds, bounds[1:], strict=False)]


def firsts(rows: Sequence[int]) -> np.ndarray:
    """Where each row number stands first, in the order in which they come, shape (clips,)."""
    return np.sort(np.unique(np.asarray(rows), return_index=True)[1])


def merge(rows: Sequence[int], lengths: Sequence[int], logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (clips,), each once, and logits (clips, classes) of judged windows.

    Of several windows: the logarithm of their probabilities' mean, weighted by duration, which the softmax turns into
    that mean again. A single window's logits are left as they are.

    Args:
        rows: row number of each window, shape (windows,); those of one clip may stand anywhere.
        lengths: samples of each window, shape (windows,).
        logits: (windows, classes).
    """
    rows, lengths = np.asarray(rows), np.asarray(lengths, dtype=np.float64)
    first = firsts(rows)
    merged = logits[first]
    if len(first) == len(rows):
        return rows, merged
    clips, clip_of, counts = np.unique(rows, return_inverse=True, return_counts=True)
    for clip in np.flatnonzero(counts > 1):
        own = clip_of == clip
        shares = lengths[own] / lengths[own].sum()
        log_probabilities = log_softmax(logits[own].astype(np.float64), axis=1)
        merged[rows[first] == clips[clip]] = logsumexp(log_probabilities, axis=0, b=shares[:, None])
    return rows[first], merged


def told(
    name: str, part: Dataset, sampling_rate: int, window: int | None, longest: int | None = None, shortest: int = 0
) -> list[str]:
    """Sentences about clips of a part that are not judged as they are; none where all are.

    Args:
        name: of the part ("test").
        part: from `ser_hf.training.data.part`.
        window: samples, as the part was made with.
        longest: samples that the model can take, None where there is no limit: why there are windows.
        shortest: samples below which silence is added.
    """
    rows = np.asarray(part["row"][:])
    clips, counts = np.unique(rows, return_counts=True)
    sentences = []
    if cut := int((counts > 1).sum()):
        limit = window == longest
        why = "that the model can take" if limit else "of evaluation.window"
        sentences.append(
            f"{_counted(cut, len(clips), name)} longer than the {window / sampling_rate:.2f} s {why}: judged in "
            "windows of at most that, probabilities averaged by duration; "
            f"pipeline {'cuts them off there' if limit else 'hears them whole'}"
        )
    if padded := int((np.asarray(part["length"][:]) < shortest).sum()):
        sentences.append(
            f"{_counted(padded, len(clips), name)} shorter than the {1000 * shortest / sampling_rate:.0f} ms that the "
            "model needs: heard with silence after them"
        )
    return sentences


def _counted(some: int, everyone: int, name: str) -> str:
    return f"{some} of {everyone} {name} clips {'is' if some == 1 else 'are'}"


# What torch's and transformers' losses call a target that does not count.
UNCOUNTED = -100


class EpochOrder(Sampler[int]):
    """The order of the training clips in each epoch: drawn anew from seed and epoch, and from nothing else.

    Args:
        lengths: samples of each clip.
        strategy: ``random``, ``sequential``, or ``group_by_length``: batches of similar length, in random order.
        step_batch_size: clips of one optimiser step, over all processes and accumulated batches.
        clock: the epoch, noted by the Trainer and read by all who need it, in whatever process.
        turns: which clips an epoch meets; None for all of them.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        strategy: str,
        step_batch_size: int,
        seed: int,
        clock: torch.Tensor | None = None,
        turns: Turns | None = None,
    ):
        self.lengths, self.strategy, self.step_batch_size = list(lengths), strategy, step_batch_size
        self.seed = seed
        self.clock = torch.zeros((), dtype=torch.int64) if clock is None else clock
        self.turns = turns

    def __len__(self) -> int:
        return len(self.lengths) if self.turns is None else len(self.turns)

    def __iter__(self) -> Iterator[int]:
        if self.turns is None:
            return iter(self._order(self.lengths))
        met = self.turns.of(int(self.clock)).tolist()
        return iter([met[i] for i in self._order([self.lengths[clip] for clip in met])])

    def _order(self, lengths: list[int]) -> list[int]:
        if self.strategy == "sequential":
            return list(range(len(lengths)))
        # Seeds of neighbouring epochs and runs must not meet: seed 1 in epoch 2 is not seed 2 in epoch 1.
        drawn = np.random.SeedSequence((self.seed, int(self.clock))).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(drawn[0] >> 1))
        if self.strategy == "group_by_length":
            return get_length_grouped_indices(lengths, self.step_batch_size, generator=generator)
        return torch.randperm(len(lengths), generator=generator).tolist()


class EpochBatches(Sampler[list[int]]):
    """Batches for several processes, which take turns at them (Accelerate's way), from one order of the clips.

    The batches of a turn together hold the clips that one process would have in one batch. Those of the last turn,
    where clips run out, are of equal size to a clip; Accelerate would fill them up with clips of other steps, which
    would then count twice. Only where there are fewer clips than processes are some repeated (see `Repeating`).

    Args:
        size: clips of a batch, of one process.
        drop_last: leaves the last turn out if it is not full.
    """

    def __init__(self, order: EpochOrder, size: int, processes: int = 1, drop_last: bool = False):
        # Not called batch_size, by which Accelerate would tell batches that it must fill up.
        self.order, self.size, self.processes, self.drop_last = order, size, processes, drop_last

    def __len__(self) -> int:
        turns = len(self.order) / (self.size * self.processes)
        return self.processes * (math.floor(turns) if self.drop_last else math.ceil(turns))

    def __iter__(self) -> Iterator[list[int]]:
        together = self.size * self.processes
        order = list(self.order)
        for begin in range(0, len(order), together):
            turn = order[begin : begin + together]
            if self.drop_last and len(turn) < together:
                return
            beyond = len(self.order.lengths)
            repeated = [beyond + order[i % len(order)] for i in range(self.processes - len(turn))]
            for piece in np.array_split(turn + repeated, self.processes):
                yield piece.tolist()


class Repeating(TorchDataset):
    """`clips`, which numbers beyond the last begin again, labelled `UNCOUNTED` from there on."""

    def __init__(self, clips: TorchDataset):
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, number: int) -> dict:
        clip = self.clips[number % len(self.clips)]
        return clip if number < len(self.clips) else clip | {"labels": UNCOUNTED}


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Mixup of waveforms (Zhang et al. 2018, arXiv:1710.09412), before any features are made of them.

    A clip x1 with the label y1 becomes ``lam * x1 + (1 - lam) * x2``, its label ``lam * y1 + (1 - lam) * y2``: a
    `probability` of the clips, each with a share lam of its own from Beta(alpha, alpha) and a partner from its batch,
    any other recording, or one of the same or of another speaker. Where the batch has none the clip stays as it is.

    Shares weigh amplitudes as they stand in the recordings: of a loud and a soft clip the loud one is heard for more
    than its share, which between-class learning (Tokozume et al. 2018, arXiv:1711.10282) would even out by level; the
    level is left in because it is an emotion cue. A shorter clip has silence after it, and is mixed in for its share
    all the same.

    Partners come from the clips that one process has in one batch. So, as with the contrastive loss, accumulation and
    several processes change who is mixed with whom.

    Args:
        classes: how many labels there are.
        speakers: of each row of the corpus, shape (rows,).
    """

    mixup: Mixup
    classes: int
    speakers: np.ndarray

    def __call__(
        self,
        waveforms: Sequence[np.ndarray],
        rows: Sequence[int],
        shares: np.ndarray,
        generator: np.random.Generator,
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Waveforms and shares of a batch -> those of the mixed batch, float32.

        Args:
            waveforms: float32 (samples,) each.
            rows: of the corpus, one a clip.
            shares: (batch, classes), from `one_hot` or votes; clips at `UNCOUNTED` are not mixed, and nobody's
                partner.
        """
        partners, own_shares = self.draw(rows, shares[:, 0] != UNCOUNTED, generator)
        mixed, labels = list(waveforms), np.array(shares, dtype=np.float32)
        for i, (partner, share) in enumerate(zip(partners, own_shares, strict=True)):
            if partner is not None:
                mixed[i] = mix(waveforms[i], waveforms[partner], share)
                labels[i] = share * shares[i] + (1 - share) * shares[partner]
        return mixed, labels

    def draw(
        self, rows: Sequence[int], counted: np.ndarray, generator: np.random.Generator
    ) -> tuple[list[int | None], list[float]]:
        """For each clip its partner's place in the batch, None for no partner, and its own share in the mixture."""
        rows = np.asarray(rows)
        speakers = np.asarray(self.speakers)[rows]
        happens = counted & (generator.random(len(rows)) < self.mixup.probability)
        shares = generator.beta(self.mixup.alpha, self.mixup.alpha, len(rows))
        partners: list[int | None] = []
        for i in range(len(rows)):
            possible = counted & (rows != rows[i])  # a copy of the clip itself would be an echo
            if self.mixup.speakers != "any":
                possible &= (speakers == speakers[i]) == (self.mixup.speakers == "same")
            places = np.flatnonzero(possible)
            partners.append(int(generator.choice(places)) if happens[i] and len(places) else None)
        return partners, shares.tolist()


def mix(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """``share * first + (1 - share) * second``, float32, as long as the longer one."""
    mixed = np.zeros(max(len(first), len(second)), dtype=np.float32)
    mixed[: len(first)] = np.float32(share) * first
    mixed[: len(second)] += np.float32(1 - share) * second
    return mixed


def one_hot(labels: Sequence[int], classes: int) -> np.ndarray:
    """Class ids -> shares (batch, classes), float32; `UNCOUNTED` is a row of itself."""
    labels = np.asarray(labels)
    shares = np.zeros((len(labels), classes), dtype=np.float32)
    counted = labels != UNCOUNTED
    shares[np.flatnonzero(counted), labels[counted]] = 1.0
    shares[~counted] = UNCOUNTED
    return shares


def part(
    dataset: Dataset,
    rows: Sequence[int],
    store: WaveformStore,
    max_duration: float | None = None,
    soft_labels: bool = False,
    window: int | None = None,
) -> Dataset:
    """The clips of one part as the Trainer takes them: `row`, `labels`, `start`, `length` and `max_samples`.

    Sorted by length, so that evaluation, which walks in order, pads little; training shuffles anyway. With
    `soft_labels` a column `shares` holds the raters' votes, one number a class, which then are the batch's labels.

    Args:
        max_duration: seconds; of longer clips a piece is learnt from, another in each epoch (`max_samples`; 0 is whole
            clips).
        window: samples; longer clips are judged in pieces of at most that (`ser_hf.training.data`), entries of one
            `row` that begin at `start`. Not with `max_duration`, of which nothing could be judged.

    Raises:
        UserError: if a clip has no votes to learn from.
    """
    if max_duration is not None and window is not None:
        raise ValueError("max_duration is for learning and window for judging")
    limit = 0 if max_duration is None else round(max_duration * store.sampling_rate)
    rows, lengths = np.asarray(rows, dtype=np.int64), store.lengths[rows]
    entries = [
        (row, start, length)
        for row, whole in zip(rows.tolist(), lengths.tolist(), strict=True)
        for start, length in pieces(whole, window or whole or 1)
    ]
    entries.sort(key=lambda entry: entry[2])
    rows, starts, lengths = np.asarray(entries, dtype=np.int64).reshape(-1, 3).T
    columns = {
        "row": rows,
        "labels": np.asarray(dataset["label"][:])[rows],
        "start": starts,
        "length": np.minimum(lengths, limit) if limit else lengths,
        "max_samples": np.full(len(rows), limit),
    }
    if soft_labels:
        columns["shares"] = _votes(dataset, rows)
    # A name by chance: nothing is cached under it, and by its content it takes longer than all the rest.
    return Dataset(InMemoryTable.from_pydict(columns), fingerprint=generate_random_fingerprint())


def _votes(dataset: Dataset, rows: np.ndarray) -> list[list[float]]:
    votes = dataset["votes"][:] if "votes" in dataset.column_names else [None] * len(dataset)
    for row in rows:
        if votes[row] is None:
            raise UserError(
                f"training.loss.soft_labels: {dataset['id'][int(row)]} has no votes; the corpus must carry them "
                "(CREMA-D: corpus.target and corpus.soft: true)"
            )
    return [votes[row] for row in rows]


@dataclasses.dataclass(frozen=True)
class Changes:
    """What is done to clips that are learnt from, and to no others.

    Args:
        augmenter: waveform float32 (samples,), generator -> waveform (other samples,), as
            `ser_hf.audio.augmentation.Augmenter`; None leaves waveforms alone.
        mixing: mixup of a batch; None does without.
        fixed_length: samples that every clip has by its preparation, to which an augmented one is cut or padded; 0
            where lengths differ.
    """

    augmenter: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None
    mixing: Mixing | None = None
    fixed_length: int = 0


class Collator:
    """Reads waveforms, crops those over `max_samples` at a random place, and pads them by the feature extractor.

    Only batches to train on (`training`) are changed besides: each clip is augmented whole, so that a crop's place
    varies as ever and nothing gets longer than `max_samples`, and the waveforms of the batch are mixed at the end,
    before any extractor hears of them. With mixup the labels of every such batch are shares (batch, classes).

    All that is drawn for a clip follows from seed, epoch, row and copy alone, and what is drawn for a batch from seed,
    epoch and its clips: it is the same for any number of workers, and after an interruption. `epoch` is shared with
    workers, and set by the Trainer. Augmentation runs where batches are made: in the training's own process unless
    there are workers (`training.dataloader_num_workers`), which then work ahead of it.

    Args:
        shortest: samples; shorter clips get silence after them before the extractor hears of it, which then counts as
            theirs: they become the clips that one who asks a published model has to make of them.
        shortest_batch: samples that a batch to train on is padded to at least; a mask leaves this padding out.
        changes: what is done to clips of batches to train on.
    """

    def __init__(
        self,
        store: WaveformStore,
        extractor: SequenceFeatureExtractor,
        seed: int = 0,
        shortest: int = 0,
        shortest_batch: int = 0,
        changes: Changes | None = None,
    ):
        self.store, self.extractor, self.seed = store, extractor, seed
        self.shortest, self.shortest_batch = shortest, shortest_batch
        self.changes = changes or Changes()
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __call__(self, clips: list[dict[str, Any]], training: bool = False) -> BatchFeature:
        changes = self.changes if training else Changes()
        waveforms, labels = [self._read(clip, changes) for clip in clips], labels_of(clips)
        if changes.mixing:
            waveforms, labels = self._mix(changes.mixing, clips, waveforms, labels)
        least = self.shortest_batch if training else 0
        if max(map(len, waveforms)) < least:
            # A silent clip of that length joins the batch and leaves it again: how padding is made and masked is the
            # extractor's matter.
            batch = self._extract([*waveforms, np.zeros(least, dtype=np.float32)])
            batch = BatchFeature({name: values[:-1] for name, values in batch.items()})
        else:
            batch = self._extract(waveforms)
        batch["labels"] = torch.from_numpy(labels)
        return batch

    def _read(self, clip: dict[str, Any], changes: Changes) -> np.ndarray:
        waveform, limit = self.store[clip["row"]], clip["max_samples"]
        generator = np.random.default_rng((self.seed, int(self.epoch), clip["row"], clip.get("copy", 0)))
        if not limit:
            waveform = waveform[clip["start"] : clip["start"] + clip["length"]]
        if changes.augmenter:
            waveform = changes.augmenter(waveform, generator)
            if changes.fixed_length:
                waveform = fix_length(waveform, changes.fixed_length)
        if limit and len(waveform) > limit:
            start = generator.integers(len(waveform) - limit + 1)
            waveform = waveform[start : start + limit]
        lacking = self.shortest - len(waveform)
        return np.pad(waveform, (0, lacking)) if lacking > 0 else waveform

    def _mix(
        self, mixing: Mixing, clips: list[dict[str, Any]], waveforms: list[np.ndarray], labels: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray]:
        rows, copies = ([clip.get(name, 0) for clip in clips] for name in ("row", "copy"))
        generator = np.random.default_rng((self.seed, int(self.epoch), *rows, *copies))
        shares = labels if labels.ndim == 2 else one_hot(labels, mixing.classes)
        return mixing(waveforms, rows, shares, generator)

    def _extract(self, waveforms: list[np.ndarray]) -> BatchFeature:
        rate = self.extractor.sampling_rate
        if not isinstance(self.extractor, Wav2Vec2FeatureExtractor):
            # Extractors that compute features know the length their model wants (Whisper: 30 s). Theirs are copies:
            # torch warns of arrays that may not be written to, as the store's may not.
            return self.extractor(
                [np.array(waveform) for waveform in waveforms], sampling_rate=rate, return_tensors="pt"
            )
        # Each clip by itself: without a mask this extractor would normalise over the padding too, and a clip's
        # amplitude would depend on its neighbours in the batch.
        alone = [self.extractor(waveform, sampling_rate=rate)["input_values"][0] for waveform in waveforms]
        return self.extractor.pad(BatchFeature({"input_values": alone}), padding=True, return_tensors="pt")


def labels_of(clips: list[dict[str, Any]]) -> np.ndarray:
    """Class ids (batch,), or shares (batch, classes) where raters' votes are learnt; `UNCOUNTED` in either form."""
    labels = np.asarray([clip["labels"] for clip in clips])
    if "shares" not in clips[0]:
        return labels
    shares = np.asarray([clip["shares"] for clip in clips], dtype=np.float32)
    shares[labels == UNCOUNTED] = UNCOUNTED
    return shares
