"""Near-duplicates: pairs of clips of one take that was cut, re-encoded or changed in level.

Clips whose fingerprints share a key (24 bits from two frames 128 ms apart) are aligned there. Pairs
with a low bit error rate over the frames active in both (Haitsma and Kalker 2002) are then compared
by the correlation of their waveforms: codecs keep it, another take does not have it. Not found are
copies changed in pitch or tempo, recorded in a room or under noise, and segments with less than
half a second in common. `benchmarks/near_duplicates.py` measures what is found.
"""

import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.fft
import soxr
from tqdm.auto import tqdm

from ..utils.cache import built_once, key_of
from ..utils.order import in_order
from .store import WaveformStore

RATE = 8000  # Hz: the analysis covers the band of a telephone
BAND = (300.0, 3200.0)  # Hz
BITS = 32  # of a sub-fingerprint
FRAME = 1024  # samples
HOP = 64  # samples
HOP_SECONDS = HOP / RATE
# Between the two frames whose difference gives the bits: half a frame, which a Hann window makes
# nearly independent.
_LAG = 8
ACTIVE_DB = 30.0
# A band that far below the loud frames is rounding and dither; a floor keeps its logarithm
# constant.
_FLOOR_DB = 60.0
_BLOCK_FRAMES = 128  # frames at once: half a megabyte, which stays in a core's cache
_WINDOW = np.hanning(FRAME).astype(np.float32)
_EDGES = np.rint(np.geomspace(*BAND, BITS + 2) * FRAME / RATE).astype(int)

METHOD_VERSION = 3  # increase it with any change that may alter a result

# Among the pairs of RAVDESS and EMO-DB below this error rate, different takes correlate by at most
# 0.27, and copies by more than 0.9, but for those under noise and those that a telephone's filter
# changed (mostly 0.7 to 0.9).
_MAX_ERROR = 0.36
_MIN_CORRELATION = 0.5
# Strictly periodic voices, as synthesizers have them, may agree by chance for most of a second.
_SHORT_SECONDS = 1.25
_MIN_SHORT_CORRELATION = 0.75
_SEGMENT_SECONDS = 0.064
# of the overlap: 0.5 s, which with the length of two overlapping frames is a segment of 0.7 s
_MIN_FRAMES = 62
_MIN_ACTIVE = 40  # frames active in both clips: 0.32 s
# The bits of a key: so many adjacent ones, from each of these on, in two frames so far apart.
_KEY_BITS = 12
_KEY_STARTS = (0, 10, 20)
_KEY_GAP = 16
_KEY_NEIGHBORS = 32
_PROBES = 32  # frames compared before all are
_MAX_PROBE_ERROR = 0.42
_BLOCK = 1 << 16  # alignments compared together, in some 50 MB
_SORTED = 1 << 21  # frames, about, that are sorted by key together, in some 100 MB


class Fingerprint(NamedTuple):
    """Sub-fingerprints of a clip, one each `HOP_SECONDS`: `bits` uint32 (frames,), `active` bool
    (frames,), False where the clip is too quiet for the bits to mean anything."""

    bits: np.ndarray
    active: np.ndarray


def fingerprint(samples: np.ndarray, sampling_rate: int) -> Fingerprint:
    """The fingerprint of mono samples, shape (samples,), at `sampling_rate` Hz: signs of
    differences of band energies between neighboring bands and frames. Clips under 0.19 s give an
    empty fingerprint."""
    samples = np.asarray(samples, dtype=np.float32)
    if sampling_rate != RATE:
        samples = soxr.resample(samples, sampling_rate, RATE)
    if len(samples) < FRAME + _LAG * HOP:
        return Fingerprint(np.zeros(0, np.uint32), np.zeros(0, bool))
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    blocks = []
    for begin in range(0, len(frames), _BLOCK_FRAMES):
        spectra = scipy.fft.rfft(frames[begin : begin + _BLOCK_FRAMES] * _WINDOW, axis=1)[
            :, : _EDGES[-1]
        ]
        blocks.append(np.add.reduceat(spectra.real**2 + spectra.imag**2, _EDGES[:-1], axis=1))
    energies = np.concatenate(blocks)
    totals = energies.sum(axis=1)
    loud = np.quantile(totals, 0.95)
    levels = np.log(
        energies + np.float32(loud * 10 ** (-_FLOOR_DB / 10)) + np.finfo(np.float32).tiny
    )
    slopes = np.diff(levels, axis=1)
    rising = slopes[_LAG:] > slopes[:-_LAG]
    bits = np.packbits(rising, axis=1, bitorder="little").view("<u4")[:, 0].astype(np.uint32)
    active = totals > loud * 10 ** (-ACTIVE_DB / 10)
    # Both frames of a difference must be active.
    return Fingerprint(bits, active[_LAG:] & active[:-_LAG])


@dataclass(frozen=True, order=True)
class NearDuplicate:
    """Two rows, first < second, of the same take, and the seconds that they have in common.
    `bit_error_rate` is the share of different bits of the fingerprints there: 0 for equal samples,
    0.5 by chance."""

    first: int
    second: int
    overlap: float
    bit_error_rate: float


def near_duplicates(store: WaveformStore) -> list[NearDuplicate]:
    """Find all pairs of clips that are one take, cut, re-encoded or copied; the result is cached.

    Example: `pairs = ser_hf.near_duplicates(store)`

    Args:
        store: waveforms of the clips, from `prepare`.

    Returns:
        Pairs, sorted by their rows in the store.
    """
    key = key_of({"version": METHOD_VERSION, "store": store.folder.name})
    folder = store.folder.parent.parent / "near_duplicates" / key
    with built_once(folder, _read) as fresh:
        if fresh is not None:
            pairs = [astuple(pair) for pair in _search(store)]
            (fresh / "pairs.json").write_text(
                json.dumps({"pairs": pairs, "checksum": key_of(pairs)})
            )
    return _read(folder)


def _read(folder: Path) -> list[NearDuplicate]:
    kept = json.loads((folder / "pairs.json").read_text())
    if not isinstance(kept, dict) or kept.get("checksum") != key_of(kept.get("pairs")):
        raise ValueError("the pairs do not match their checksum")
    return [NearDuplicate(*pair) for pair in kept["pairs"]]


def _search(store: WaveformStore) -> list[NearDuplicate]:
    def work(row: int) -> Fingerprint:
        return fingerprint(store[row], store.sampling_rate)

    prints = list(
        tqdm(
            in_order(work, range(len(store))),
            total=len(store),
            desc="fingerprints",
            unit="clip",
            disable=None,
        )
    )
    found = []
    for a, b, offset, error in _Comparison(prints).similar_pairs():
        overlap, correlation = _correlation(store[a], store[b], store.sampling_rate, offset)
        if correlation >= (
            _MIN_CORRELATION if overlap >= _SHORT_SECONDS else _MIN_SHORT_CORRELATION
        ):
            found.append(NearDuplicate(a, b, round(overlap, 3), round(error, 4)))
    return sorted(found)


class _Comparison:
    """Fingerprints of all clips end to end, and the similar pairs among them. An alignment is a
    clip, a later clip, and the frame of the later one at which the first begins."""

    def __init__(self, prints: list[Fingerprint]):
        self.bits = np.concatenate([np.zeros(0, np.uint32), *(clip.bits for clip in prints)])
        self.active = np.concatenate([np.zeros(0, bool), *(clip.active for clip in prints)])
        # Frames that begin a key: active, as is the frame `_KEY_GAP` later in the same clip.
        gap = np.zeros(_KEY_GAP, bool)
        keyed = [
            np.append(clip.active[_KEY_GAP:], gap)[: len(clip.active)] & clip.active
            for clip in prints
        ]
        self.keyed = np.concatenate([np.zeros(0, bool), *keyed])
        self.lengths = np.array([len(clip.bits) for clip in prints], dtype=np.int64)
        self.begins = np.cumsum(self.lengths) - self.lengths
        self.longest = int(self.lengths.max(initial=0))

    def similar_pairs(self) -> list[tuple[int, int, int, float]]:
        """Clip, later clip, offset in frames and bit error rate of the pairs under `_MAX_ERROR`,
        sorted.

        The best alignment of a pair is the one least likely by chance: few errors in many frames.
        """
        near = np.unique(
            np.concatenate([np.zeros(0, np.int64), *map(self._probed, self._collisions())])
        )
        # A key may be shared one frame beside the best offset.
        near = np.unique(np.concatenate([near - 1, near, near + 1]))
        errors, counts = self._errors(near)
        kept = (counts >= _MIN_ACTIVE) & (errors <= _MAX_ERROR)
        evidence = (0.5 - errors[kept]) * np.sqrt(counts[kept])
        a, b, offset = self._unpack(near[kept])
        order = np.lexsort((-evidence, b, a))
        best = order[np.unique(np.stack([a[order], b[order]]), axis=1, return_index=True)[1]]
        columns = a[best], b[best], offset[best], errors[kept][best]
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def _collisions(self) -> Iterator[np.ndarray]:
        """Packed alignments, each once, at which two clips share a key: each frame of a key is
        compared with the `_KEY_NEIGHBORS` frames after it. Frames are sorted by ranges of the key's
        first half, to save memory."""
        mask = np.uint32((1 << _KEY_BITS) - 1)
        values = 1 << _KEY_BITS
        step = max(1, values * _SORTED // max(1, len(self.bits)))
        for start in _KEY_STARTS:
            half = ((self.bits >> np.uint32(start)) & mask).astype(np.uint16)
            for lowest in range(0, values, step):
                # Stable sorting keeps the frames of a key in the order of the clips.
                frames = np.flatnonzero(self.keyed & (half >= lowest) & (half < lowest + step))
                keys = (
                    half[frames].astype(np.uint32) << np.uint32(_KEY_BITS) | half[frames + _KEY_GAP]
                )
                order = np.argsort(keys, kind="stable")
                keys = keys[order]
                frames = frames[order]
                for distance in range(1, _KEY_NEIGHBORS + 1):
                    same = np.flatnonzero(keys[:-distance] == keys[distance:])
                    if len(same) == 0:
                        break
                    one = frames[same]
                    other = frames[same + distance]
                    a, b = (
                        np.searchsorted(self.begins, each, side="right") - 1
                        for each in (one, other)
                    )
                    offset = (other - self.begins[b]) - (one - self.begins[a])
                    packed = (
                        (a * len(self.lengths) + b) * (4 * self.longest) + offset + 2 * self.longest
                    )
                    yield np.unique(packed[a != b])

    def _unpack(self, alignments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pair, offset = np.divmod(alignments, max(4 * self.longest, 1))
        a, b = np.divmod(pair, max(len(self.lengths), 1))
        return a, b, offset - 2 * self.longest

    def _overlaps(self, alignments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The first frame of the overlap in each clip (counted over all clips), and its length in
        frames.
        """
        a, b, offset = self._unpack(alignments)
        start = np.maximum(0, -offset)
        stop = np.minimum(self.lengths[a], self.lengths[b] - offset)
        return self.begins[a] + start, self.begins[b] + start + offset, stop - start

    def _probed(self, alignments: np.ndarray) -> np.ndarray:
        """Those that are long enough and differ in few bits of a few frames spread over the
        overlap.
        """
        kept = [np.zeros(0, np.int64)]
        for begin in range(0, len(alignments), _BLOCK):
            block = alignments[begin : begin + _BLOCK]
            first, second, length = self._overlaps(block)
            long = length >= _MIN_FRAMES
            block = block[long]
            first = first[long]
            second = second[long]
            length = length[long]
            steps = (np.arange(_PROBES) * length[:, None]) // _PROBES
            first = first[:, None] + steps
            second = second[:, None] + steps
            active = self.active[first] & self.active[second]
            wrong = np.bitwise_count(self.bits[first] ^ self.bits[second]) * active
            kept.append(block[wrong.sum(axis=1) <= _MAX_PROBE_ERROR * BITS * active.sum(axis=1)])
        return np.concatenate(kept)

    def _errors(self, alignments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bit error rate of each alignment, and how many frames are active in both clips."""
        wrong = np.zeros(len(alignments), np.int64)
        counts = np.zeros(len(alignments), np.int64)
        for i, (first, second, length) in enumerate(zip(*self._overlaps(alignments), strict=True)):
            one = slice(first, first + length)
            other = slice(second, second + length)
            active = self.active[one] & self.active[other]
            counts[i] = np.count_nonzero(active)
            wrong[i] = np.bitwise_count(self.bits[one] ^ self.bits[other])[active].sum()
        return wrong / np.maximum(BITS * counts, 1), counts


def _correlation(
    first: np.ndarray, second: np.ndarray, sampling_rate: int, offset: int
) -> tuple[float, float]:
    """Seconds of overlap at an offset in frames, and the waveforms' median correlation over
    segments.
    """
    shift = round(offset * HOP_SECONDS * sampling_rate)
    start = max(0, -shift)
    stop = min(len(first), len(second) - shift)
    overlap = np.stack([first[start:stop], second[start + shift : stop + shift]])
    reach = round(2 * HOP_SECONDS * sampling_rate)
    size = scipy.fft.next_fast_len(stop - start + reach, real=True)
    spectra = scipy.fft.rfft(overlap, size, axis=1)
    frequencies = scipy.fft.rfftfreq(size, 1 / sampling_rate)
    spectra[:, (frequencies < BAND[0]) | (frequencies > BAND[1])] = 0
    products = scipy.fft.irfft(spectra[0].conj() * spectra[1], size)
    lags = np.r_[0 : reach + 1, -reach:0]
    lag = lags[np.argmax(np.abs(products[lags]))]
    one, other = scipy.fft.irfft(spectra, size, axis=1)
    length = round(_SEGMENT_SECONDS * sampling_rate)
    one, other = (
        signal[: size // length * length].reshape(-1, length).astype(float)
        for signal in (one, np.roll(other, -lag))
    )
    energies = (one**2).sum(axis=1) * (other**2).sum(axis=1)
    loud = energies > np.quantile(energies, 0.95) * 10 ** (-2 * ACTIVE_DB / 10)
    correlations = (one * other).sum(axis=1)[loud] / np.sqrt(energies[loud])
    # A copy with inverted polarity is a copy.
    return (stop - start) / sampling_rate, abs(float(np.median(correlations)))
