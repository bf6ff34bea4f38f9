"""Training data: windows of long clips, balancing and order of epochs, mixup, and the collator."""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from datasets.table import InMemoryTable
from scipy.special import log_softmax, logsumexp
from torch.utils.data import Sampler
from transformers import BatchFeature, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor
from transformers.trainer_pt_utils import get_length_grouped_indices

from ..audio import WaveformStore
from ..audio.augmentation import Mixup
from ..corpora.targets import targets_of
from ..models.preparation import fix_length
from ..utils.errors import UserError
from ..utils.order import apportion, interleave


def pieces(samples: int, window: int) -> list[tuple[int, int]]:
    """(start, length) of the fewest consecutive windows of equal length, each of at most `window`
    samples.
    """
    count = max(1, -(-samples // window))
    bounds = [i * samples // count for i in range(count + 1)]
    return [(start, end - start) for start, end in zip(bounds, bounds[1:], strict=False)]


def batches(
    lengths: Sequence[int], size: int, padding_safe: bool, most: float = math.inf
) -> Iterator[tuple[int, int]]:
    """(begin, end) of batches of windows sorted by length: at most `size` windows, and `most`
    samples with padding; windows of one length only for models that are not `padding_safe`, whose
    predictions change with padding."""
    begin = 0
    for end in range(1, len(lengths) + 1):
        full = end == len(lengths) or end - begin == size or lengths[end] * (end + 1 - begin) > most
        if full or not padding_safe and lengths[end] != lengths[begin]:
            yield begin, end
            begin = end


def firsts(rows: Sequence[int]) -> np.ndarray:
    """Index of the first entry of each row number, in their order, (clips,)."""
    return np.sort(np.unique(np.asarray(rows), return_index=True)[1])


def merge(
    rows: Sequence[int], lengths: Sequence[int], logits: np.ndarray, problem_type: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the logits of each clip's windows: the logarithm of their mean probabilities, weighted
    by duration; of dimensions (`problem_type` regression) their mean, of several labels
    (multi-label) those of each label's.

    Args:
        rows: row number of each window, (windows,).
        lengths: samples of each window, (windows,).
        logits: (windows, classes).

    Returns:
        Row numbers (clips,), each once, and logits (clips, classes); a single window keeps its
        logits.
    """
    if problem_type == "multi_label_classification":  # each label against its absence
        pairs = [
            merge(rows, lengths, np.stack([np.zeros_like(own), own], axis=1)) for own in logits.T
        ]
        return pairs[0][0], np.stack([pair[:, 1] - pair[:, 0] for _, pair in pairs], axis=1)
    rows = np.asarray(rows)
    lengths = np.asarray(lengths, dtype=np.float64)
    first = firsts(rows)
    merged = logits[first]
    if len(first) == len(rows):
        return rows, merged
    for clip in np.flatnonzero(np.bincount(rows) > 1):
        own = rows == clip
        shares = lengths[own] / lengths[own].sum()
        if problem_type == "regression":
            merged[rows[first] == clip] = shares @ logits[own]
            continue
        log_probabilities = log_softmax(logits[own].astype(np.float64), axis=1)
        merged[rows[first] == clip] = logsumexp(log_probabilities, axis=0, b=shares[:, None])
    return rows[first], merged


def window_notes(
    name: str,
    part: Dataset,
    sampling_rate: int,
    window: int | None,
    longest: int | None = None,
    shortest: int = 0,
) -> list[str]:
    """Describe how many clips of a split are evaluated in windows or padded, for the report;
    lengths in samples.
    """
    rows = np.asarray(part["row"][:])
    clips, counts = np.unique(rows, return_counts=True)
    sentences = []
    if cut := int((counts > 1).sum()):
        limit = window == longest
        why = "that the model can take" if limit else "of evaluation.window"
        sentences.append(
            f"{cut} of {len(clips)} {name} clips are longer than the {window / sampling_rate:.2f} s {why}: evaluated "
            "in windows of at most that, predictions averaged by duration; "
            f"pipeline {'cuts them off there' if limit else 'processes them whole'}"
        )
    if padded := int((np.asarray(part["length"][:]) < shortest).sum()):
        sentences.append(
            f"{padded} of {len(clips)} {name} clips are shorter than the {1000 * shortest / sampling_rate:.0f} ms "
            "that the model needs: silence is added"
        )
    return sentences


Balance = Literal["corpus", "class", "corpus_and_class"]
ALWAYS = -1  # the lot of entries that every epoch uses


def balanced(
    clips: Dataset,
    corpora: Sequence[str],
    speakers: Sequence[str],
    weights: Mapping[str, float],
    balance: Balance | None,
    seed: int,
) -> Dataset:
    """Make entries of `clips` from which every epoch takes as many of each corpus and class as
    `quotas` gives.

    Entries beyond one per clip and epoch have a `copy` number. If an epoch uses only some entries
    of a corpus and class, these share a number `lot` (else `ALWAYS`) and have a position `turn` in
    it, of which an epoch uses the next `take`: epochs continue where the last one stopped
    (`EpochSchedule`).

    Args:
        clips: from `clip_table`.
        corpora, speakers: of each row of the corpus; the order keeps speakers in proportion.
        weights: {corpus: clips per epoch, relative to its number of clips}; 1 if missing.
        balance: what is equally frequent in an epoch; None for the natural frequencies.
        seed: of the order.
    """
    rows = np.asarray(clips["row"][:])
    labels = np.asarray(clips["labels"][:])
    cells: dict[tuple[str, int], list[int]] = {}
    for place in np.argsort(rows, kind="stable").tolist():  # the draw must not depend on lengths
        cells.setdefault((corpora[rows[place]], int(labels[place])), []).append(place)
    generator = np.random.default_rng(seed)
    counts = quotas({cell: len(own) for cell, own in cells.items()}, weights, balance)
    entries: list[tuple[int, ...]] = []
    for number, (cell, own) in enumerate(sorted(cells.items())):
        rounds, lacking = divmod(counts[cell], len(own))
        entries += [(place, copy, ALWAYS, 0, 0) for copy in range(rounds) for place in own]
        turns = interleave([(speakers[rows[place]],) for place in own], generator)
        if lacking:
            entries += [(own[i], rounds, number, turn, lacking) for turn, i in enumerate(turns)]
    places, *columns = np.asarray(entries, dtype=np.int64).reshape(-1, 5).T
    # by length as a part is
    order = np.lexsort((columns[0], places, np.asarray(clips["length"][:])[places]))
    names = ("copy", "lot", "turn", "take")
    added = {name: values[order] for name, values in zip(names, columns, strict=True)}
    return Dataset.from_dict(clips.select(places[order]).to_dict() | added)


def quotas(
    sizes: Mapping[tuple[str, int], int], weights: Mapping[str, float], balance: Balance | None
) -> dict[tuple[str, int], int]:
    """Compute the clips per epoch of each (corpus, class): the same total, corpora by weight, none
    left out.

    ``corpus`` gives corpora equal shares and keeps their class ratios, ``class`` the reverse;
    ``corpus_and_class`` gives corpora equal shares, and the classes of each corpus too.
    """
    cells = sorted(sizes)
    mass = np.asarray([sizes[cell] * weights.get(cell[0], 1.0) for cell in cells])
    corpora, classes = (np.asarray([cell[i] for cell in cells]) for i in (0, 1))
    for corpus in np.unique(corpora):
        own = corpora == corpus
        mass[own] *= max(1.0, own.sum() / mass[own].sum())
    total = round(mass.sum())
    if balance == "corpus_and_class":
        mass = np.ones(len(cells))
    outer = classes if balance == "class" else corpora  # whose sums are to be right, to a clip
    members = [np.flatnonzero(outer == group) for group in np.unique(outer)]
    if balance:
        for own in members:
            mass[own] /= mass[own].sum()
    sums = apportion(
        total, [mass[own].sum() for own in members], least=[len(own) for own in members]
    )
    shares = np.zeros(len(cells), dtype=int)
    for own, count in zip(members, sums, strict=True):
        shares[own] = apportion(count, mass[own], least=1)
    return dict(zip(cells, shares.tolist(), strict=True))


class EpochSchedule:
    """Selects the entries of each epoch from those of `clip_table` or `balanced`."""

    def __init__(self, clips: Dataset):
        self.entries = len(clips)
        self._lots = None
        if "lot" in clips.column_names:
            self._lots, self._turns, self._takes = (
                np.asarray(clips[name][:]) for name in ("lot", "turn", "take")
            )
            self._sizes = np.bincount(self._lots - ALWAYS)[self._lots - ALWAYS]

    def __len__(self) -> int:
        """Entries per epoch, the same in each."""
        return len(self.of(0))

    def of(self, epoch: int) -> np.ndarray:
        """Indices of the entries of this epoch, ascending."""
        if self._lots is None:
            return np.arange(self.entries)
        since = (self._turns - epoch * self._takes) % self._sizes
        return np.flatnonzero((self._lots == ALWAYS) | (since < self._takes))


def clips_by_corpus(entries: Dataset, corpora: Sequence[str]) -> dict[str, int]:
    """Clips of each corpus in an epoch."""
    rows = np.asarray(entries["row"][:])[EpochSchedule(entries).of(0)]
    return dict(sorted(Counter(corpora[row] for row in rows.tolist()).items()))


def epoch_labels(entries: Dataset) -> list[int]:
    """Labels of an epoch, which differ between epochs in order only."""
    return np.asarray(entries["labels"][:])[EpochSchedule(entries).of(0)].tolist()


def recordings(clips: Dataset) -> Dataset:
    """Each recording once, without repetitions; for statistics."""
    if "copy" not in clips.column_names:
        return clips
    return clips.select(np.flatnonzero(np.asarray(clips["copy"][:]) == 0))


class EpochOrder(Sampler[int]):
    """Order of the training clips in each epoch, a function of seed and epoch alone: ``random``,
    ``sequential``, or ``group_by_length`` (batches of similar length, in random order). `clock` is
    the epoch, shared with the Trainer and workers; without a `schedule` an epoch uses all clips."""

    def __init__(
        self,
        lengths: Sequence[int],
        strategy: str,
        step_batch_size: int,
        seed: int,
        clock: torch.Tensor | None = None,
        schedule: EpochSchedule | None = None,
    ):
        self.lengths = list(lengths)
        self.strategy = strategy
        self.step_batch_size = step_batch_size
        self.seed = seed
        self.schedule = schedule
        self.clock = torch.zeros((), dtype=torch.int64) if clock is None else clock

    def __len__(self) -> int:
        return len(self.lengths) if self.schedule is None else len(self.schedule)

    def __iter__(self) -> Iterator[int]:
        epoch = int(self.clock)
        clips = (
            list(range(len(self.lengths)))
            if self.schedule is None
            else self.schedule.of(epoch).tolist()
        )
        if self.strategy == "sequential":
            return iter(clips)
        # Seed 1 in epoch 2 must differ from seed 2 in epoch 1.
        drawn = np.random.SeedSequence((self.seed, epoch)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(drawn[0] >> 1))
        if self.strategy == "group_by_length":
            lengths = [self.lengths[clip] for clip in clips]
            order = get_length_grouped_indices(lengths, self.step_batch_size, generator=generator)
        else:
            order = torch.randperm(len(clips), generator=generator).tolist()
        return iter([clips[i] for i in order])


class EpochBatches(Sampler[list[int]]):
    """Batches of `size` clips for several processes in turn, from one order of the clips.

    The batches of one turn hold the clips that a single process would have in one batch; in the
    last turn their sizes differ by at most one, where Accelerate would repeat clips. A last turn
    with fewer clips than processes joins the one before it.
    """

    def __init__(self, order: EpochOrder, size: int, processes: int = 1):
        # Not called batch_size: Accelerate would fill up batches of a sampler with that attribute.
        self.order = order
        self.processes = processes
        self.together = size * processes
        whole, rest = divmod(len(order), self.together)
        self.turns = whole + (rest >= processes)

    def __len__(self) -> int:
        return self.turns * self.processes

    def __iter__(self) -> Iterator[list[int]]:
        clips = list(self.order)
        for turn in range(1, self.turns + 1):
            end = len(clips) if turn == self.turns else turn * self.together
            for batch in np.array_split(clips[(turn - 1) * self.together : end], self.processes):
                yield batch.tolist()


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Mixup of waveforms (Zhang et al. 2018, arXiv:1710.09412).

    A clip x1 with label y1 becomes ``lam * x1 + (1 - lam) * x2`` with the label ``lam * y1 + (1 -
    lam) * y2``, for a `probability` of the clips. lam is drawn from Beta(alpha, alpha); x2 is
    another recording of the same micro-batch. Without a partner the clip stays.
    """

    mixup: Mixup
    classes: int

    def __call__(
        self,
        waveforms: Sequence[np.ndarray],
        rows: Sequence[int],
        shares: np.ndarray,
        generator: np.random.Generator,
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Mixed waveforms and labels (batch, classes) of a batch, float32."""
        rows = np.asarray(rows)
        happens = generator.random(len(rows)) < self.mixup.probability
        own_shares = generator.beta(self.mixup.alpha, self.mixup.alpha, len(rows))
        mixed = list(waveforms)
        labels = np.array(shares, dtype=np.float32)
        for i in np.flatnonzero(happens):
            others = np.flatnonzero(rows != rows[i])  # a copy of the clip itself would be an echo
            if len(others):
                partner = generator.choice(others)
                share = own_shares[i]
                mixed[i] = mix(waveforms[i], waveforms[partner], share)
                labels[i] = share * shares[i] + (1 - share) * shares[partner]
        return mixed, labels


def mix(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """``share * first + (1 - share) * second``, float32, as long as the longer one."""
    mixed = np.zeros(max(len(first), len(second)), dtype=np.float32)
    mixed[: len(first)] = np.float32(share) * first
    mixed[: len(second)] += np.float32(1 - share) * second
    return mixed


def clip_table(
    dataset: Dataset,
    rows: Sequence[int],
    store: WaveformStore,
    max_duration: float | None = None,
    soft_labels: bool = False,
    window: int | None = None,
) -> Dataset:
    """The clips of one split for the Trainer: `row`, `labels`, `start`, `length` and `max_samples`,
    sorted by length.

    A column `shares` holds the targets of dimensions, or with `soft_labels` the votes, one value
    per class, which are used as labels in place of `labels`. Example: `clips =
    ser_hf.clip_table(dataset, split.rows["train"], store, max_duration=3.0)`

    Args:
        max_duration: seconds; longer clips are cropped at random in each epoch (`max_samples`; 0
            for whole clips).
        window: samples; longer clips become several entries of one `row`. Not together with
            `max_duration`.
    """
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
    targets = targets_of(dataset, rows)
    if targets is not None or soft_labels:
        columns["shares"] = _votes(dataset, rows) if targets is None else targets.tolist()
    # A random fingerprint, since computing one from the content takes longer than all the rest.
    return Dataset(InMemoryTable.from_pydict(columns), fingerprint=generate_random_fingerprint())


def _votes(dataset: Dataset, rows: np.ndarray) -> list[list[float]]:
    votes = dataset["votes"][:] if "votes" in dataset.column_names else [None] * len(dataset)
    without = [int(row) for row in rows if votes[row] is None]
    if without:
        raise UserError(
            f"training.loss.soft_labels: {dataset['id'][without[0]]} has no votes, which every clip needs "
            "(CREMA-D: corpus.target and corpus.soft: true)"
        )
    return [votes[row] for row in rows]


@dataclasses.dataclass(frozen=True)
class TrainTransforms:
    """Changes to training clips: `augmenter`, from a waveform float32 (samples,) and a generator to
    a waveform, mixup, and the length in samples to which augmented clips are cut or padded (0 for
    any)."""

    augmenter: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None
    mixing: Mixing | None = None
    fixed_length: int = 0


class Collator:
    """Loads waveforms, crops those over `max_samples` at random, and pads them with the feature
    extractor.

    Training batches are also augmented before the crop and mixed before the extractor; with mixup,
    labels are shares (batch, classes). Random numbers depend on seed, epoch and clip only: they do
    not change with the number of workers or after an interruption. `epoch` is shared memory, set by
    the Trainer. Example: `Trainer(model, args, data_collator=ser_hf.Collator(store, extractor))`

    Args:
        shortest: samples; silence is added to shorter clips, as published models require it.
        shortest_batch: samples to which training batches are padded; the mask leaves this padding
            out.
    """

    def __init__(
        self,
        store: WaveformStore,
        extractor: SequenceFeatureExtractor,
        seed: int = 0,
        shortest: int = 0,
        shortest_batch: int = 0,
        transforms: TrainTransforms | None = None,
    ):
        self.store = store
        self.extractor = extractor
        self.seed = seed
        self.shortest = shortest
        self.shortest_batch = shortest_batch
        self.transforms = transforms or TrainTransforms()
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __call__(self, clips: list[dict[str, Any]], training: bool = False) -> dict[str, Any]:
        transforms = self.transforms if training else TrainTransforms()
        waveforms = [self._read(clip, transforms) for clip in clips]
        labels = labels_of(clips)
        if mixing := transforms.mixing:
            rows, copies = ([clip.get(name, 0) for clip in clips] for name in ("row", "copy"))
            generator = np.random.default_rng((self.seed, int(self.epoch), *rows, *copies))
            shares = (
                labels if labels.ndim == 2 else np.eye(mixing.classes, dtype=np.float32)[labels]
            )
            waveforms, labels = mixing(waveforms, rows, shares, generator)
        least = self.shortest_batch if training else 0
        if max(map(len, waveforms)) < least:
            # The extractor pads and masks: a silent clip of that length joins the batch and leaves
            # it again.
            batch = self._extract([*waveforms, np.zeros(least, dtype=np.float32)])
            batch = BatchFeature({name: values[:-1] for name, values in batch.items()})
        else:
            batch = self._extract(waveforms)
        return {**batch, "labels": torch.from_numpy(labels)}

    def _read(self, clip: dict[str, Any], transforms: TrainTransforms) -> np.ndarray:
        waveform = self.store[clip["row"]]
        limit = clip["max_samples"]
        generator = np.random.default_rng(
            (self.seed, int(self.epoch), clip["row"], clip.get("copy", 0))
        )
        if not limit:
            waveform = waveform[clip["start"] : clip["start"] + clip["length"]]
        if transforms.augmenter:
            waveform = transforms.augmenter(waveform, generator)
            if transforms.fixed_length:
                waveform = fix_length(waveform, transforms.fixed_length)
        if limit and len(waveform) > limit:
            start = generator.integers(len(waveform) - limit + 1)
            waveform = waveform[start : start + limit]
        lacking = self.shortest - len(waveform)
        return np.pad(waveform, (0, lacking)) if lacking > 0 else waveform

    def _extract(self, waveforms: list[np.ndarray]) -> BatchFeature:
        rate = self.extractor.sampling_rate
        if not isinstance(self.extractor, Wav2Vec2FeatureExtractor):
            # Copies: torch warns of arrays that are read-only, as the store's are.
            return self.extractor(
                [*map(np.array, waveforms)], sampling_rate=rate, return_tensors="pt"
            )
        # Each clip by itself: without a mask this extractor would normalize over the padding too,
        # and a clip's amplitude would depend on its neighbours in the batch.
        alone = [
            self.extractor(waveform, sampling_rate=rate)["input_values"][0]
            for waveform in waveforms
        ]
        return self.extractor.pad(
            BatchFeature({"input_values": alone}), padding=True, return_tensors="pt"
        )


def labels_of(clips: list[dict[str, Any]]) -> np.ndarray:
    """Class ids (batch,); with soft labels shares (batch, classes), of dimensions targets (batch,
    dimensions).
    """
    if "shares" in clips[0]:
        return np.asarray([clip["shares"] for clip in clips], dtype=np.float32)
    return np.asarray([clip["labels"] for clip in clips])
