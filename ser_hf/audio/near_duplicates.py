"""Near duplicates: pairs of clips of one take that was cut, re-encoded or changed in level.

The search has four steps, each of which looks at fewer pairs more closely:

1. Keys. A key is 24 bits of a clip's fingerprint, from two frames 128 ms apart. Two clips that
   share a key are aligned there.
2. Probes. An alignment stays if 32 frames, spread over the overlap, differ in few bits.
3. Bit errors. It stays if few bits of all frames active in both clips differ (Haitsma and Kalker
   2002).
4. Correlation. The waveforms of the best alignment of a pair must correlate: codecs keep the
   waveform, another take does not have it.

Not found are copies changed in pitch or tempo, recorded in a room or under noise, and segments with
less than half a second in common. `benchmarks/near_duplicates.py` measures what is found.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import scipy.fft
from tqdm.auto import tqdm

from ..utils.cache import built_once, key_of
from ..utils.order import in_order
from .fingerprint import ACTIVE_DB, BAND, BITS, HOP_SECONDS, Fingerprint, fingerprint
from .store import WaveformStore

METHOD_VERSION = 3  # increase it with any change that may alter a result

# Keys: so many adjacent bits, from each of these bits on, in two frames so far apart. A frame is
# compared with so many frames of the same key after it.
_KEY_BITS = 12
_KEY_STARTS = (0, 10, 20)
_KEY_GAP = 16
_KEY_NEIGHBORS = 32
_SORTED_FRAMES = 1 << 21  # frames, about, that are sorted by key together, in some 100 MB

# Probes. The least overlap is 0.5 s, which with the length of two overlapping frames is a segment
# of 0.7 s.
_MIN_FRAMES = 62
_PROBES = 32
_MAX_PROBE_ERROR = 0.42
_PROBED_TOGETHER = 1 << 16  # alignments, in some 50 MB

# Bit errors. Among the pairs of RAVDESS and EMO-DB below this error rate, different takes correlate
# by at most 0.27, and copies by more than 0.9, but for those under noise and those that a
# telephone's filter changed (mostly 0.7 to 0.9).
_MIN_ACTIVE = 40  # frames active in both clips: 0.32 s
_MAX_ERROR = 0.36

# Correlation. Strictly periodic voices, as synthesizers have them, may agree by chance for most of
# a second, so a short overlap needs a higher correlation.
_MIN_CORRELATION = 0.5
_SHORT_SECONDS = 1.25
_MIN_SHORT_CORRELATION = 0.75
_SEGMENT_SECONDS = 0.064


@dataclass(frozen=True, order=True)
class NearDuplicate:
    """Two clips of the same take.

    Attributes:
        first, second: rows of the clips, first < second.
        overlap: seconds that the clips have in common.
        bit_error_rate: share of different bits of the fingerprints in the overlap: 0 for equal
            samples, 0.5 by chance.
    """

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
            content = {"pairs": pairs, "checksum": key_of(pairs)}
            (fresh / "pairs.json").write_text(json.dumps(content), encoding="utf-8")
    return _read(folder)


def _read(folder: Path) -> list[NearDuplicate]:
    """The pairs of a cached search.

    Raises:
        ValueError: the file is damaged.
    """
    content = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("checksum") != key_of(content.get("pairs")):
        raise ValueError("the pairs do not match their checksum")
    return [NearDuplicate(*pair) for pair in content["pairs"]]


def _search(store: WaveformStore) -> list[NearDuplicate]:
    """Find the pairs without the cache."""

    def fingerprint_of_row(row: int) -> Fingerprint:
        return fingerprint(store[row], store.sampling_rate)

    progress = tqdm(
        in_order(fingerprint_of_row, range(len(store))),
        total=len(store),
        desc="fingerprints",
        unit="clip",
        disable=None,
    )
    candidates = FingerprintSearch(list(progress)).similar_pairs()

    pairs = []
    for candidate in candidates:
        match = compare_waveforms(
            store[candidate.first],
            store[candidate.second],
            sampling_rate=store.sampling_rate,
            offset=candidate.offset,
        )
        short = match.overlap < _SHORT_SECONDS
        if match.correlation >= (_MIN_SHORT_CORRELATION if short else _MIN_CORRELATION):
            pair = NearDuplicate(
                first=candidate.first,
                second=candidate.second,
                overlap=round(match.overlap, 3),
                bit_error_rate=round(candidate.bit_error_rate, 4),
            )
            pairs.append(pair)
    return sorted(pairs)


# Fingerprints


@dataclass(frozen=True, order=True)
class SimilarPair:
    """Two clips with similar fingerprints.

    Attributes:
        first, second: rows of the clips, first < second.
        offset: the frame of the second clip at which the first one begins; it may be negative.
        bit_error_rate: share of different bits in the overlap.
    """

    first: int
    second: int
    offset: int
    bit_error_rate: float


@dataclass(frozen=True)
class _Alignments:
    """Two clips and an offset for each of many alignments, as `SimilarPair` has them.

    Each attribute is int64 (alignments,).
    """

    first: np.ndarray
    second: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True)
class _Overlaps:
    """Where the two clips of each alignment overlap.

    Attributes:
        begin_in_first, begin_in_second: the first frame of the overlap in either clip, counted over
            the frames of all clips, int64 (alignments,).
        length: frames of the overlap, int64 (alignments,).
    """

    begin_in_first: np.ndarray
    begin_in_second: np.ndarray
    length: np.ndarray

    def where(self, selected: np.ndarray) -> "_Overlaps":
        """The overlaps where `selected`, bool (alignments,), is true."""
        return _Overlaps(
            begin_in_first=self.begin_in_first[selected],
            begin_in_second=self.begin_in_second[selected],
            length=self.length[selected],
        )


class FingerprintSearch:
    """The search for similar pairs among the fingerprints of all clips.

    The frames of all clips stand end to end in one array. There are millions of alignments, so each
    is packed into one integer: numpy finds equal integers fast, and they need little memory.
    """

    def __init__(self, fingerprints: Sequence[Fingerprint]):
        no_bits = np.zeros(0, np.uint32)
        no_frames = np.zeros(0, bool)
        self._bits = np.concatenate([no_bits, *(clip.bits for clip in fingerprints)])
        self._active = np.concatenate([no_frames, *(clip.active for clip in fingerprints)])
        self._begins_key = np.concatenate([no_frames, *map(_frames_with_key, fingerprints)])
        self._lengths = np.array([len(clip.bits) for clip in fingerprints], dtype=np.int64)
        self._begins = np.cumsum(self._lengths) - self._lengths

        # Offsets lie between minus and plus the longest clip, or one frame beside that. Packed
        # alignments have room for twice as many.
        longest = int(self._lengths.max(initial=0))
        self._zero_offset = 2 * longest
        self._offsets = max(4 * longest, 1)

    def similar_pairs(self) -> list[SimilarPair]:
        """Find the pairs with a bit error rate of at most `_MAX_ERROR`, sorted.

        The best alignment of a pair is the one least likely by chance: few errors in many frames.
        """
        probed = [self._probed(alignments) for alignments in self._collisions()]
        packed = np.unique(np.concatenate([np.zeros(0, np.int64), *probed]))
        # A key may be shared one frame beside the best offset.
        packed = np.unique(np.concatenate([packed - 1, packed, packed + 1]))

        error_rates, active_frames = self._errors(packed)
        similar = (active_frames >= _MIN_ACTIVE) & (error_rates <= _MAX_ERROR)
        error_rates = error_rates[similar]
        # The distance from chance in standard deviations, except for a factor.
        evidence = (0.5 - error_rates) * np.sqrt(active_frames[similar])
        alignments = self._unpacked(packed[similar])

        order = np.lexsort((-evidence, alignments.second, alignments.first))
        clips = np.stack([alignments.first[order], alignments.second[order]])
        _, first_of_pair = np.unique(clips, axis=1, return_index=True)
        return [
            SimilarPair(
                first=int(alignments.first[row]),
                second=int(alignments.second[row]),
                offset=int(alignments.offset[row]),
                bit_error_rate=float(error_rates[row]),
            )
            for row in order[first_of_pair]
        ]

    def _collisions(self) -> Iterator[np.ndarray]:
        """Packed alignments, each once in an array, at which two clips share a key.

        Frames are sorted by their key. Each is compared with the `_KEY_NEIGHBORS` frames after it,
        not with all of the same key, of which a hum may have thousands. Ranges of the key's first
        half are sorted one after another, to save memory.
        """
        values = 1 << _KEY_BITS
        mask = np.uint32(values - 1)
        step = max(1, values * _SORTED_FRAMES // max(1, len(self._bits)))
        for start in _KEY_STARTS:
            half_keys = ((self._bits >> np.uint32(start)) & mask).astype(np.uint16)
            for lowest in range(0, values, step):
                in_range = (half_keys >= lowest) & (half_keys < lowest + step)
                frames = np.flatnonzero(self._begins_key & in_range)
                upper = half_keys[frames].astype(np.uint32) << np.uint32(_KEY_BITS)
                keys = upper | half_keys[frames + _KEY_GAP]
                # Stable sorting keeps the frames of a key in the order of the clips.
                order = np.argsort(keys, kind="stable")
                yield from self._neighbors(frames[order], keys[order])

    def _neighbors(self, frames: np.ndarray, keys: np.ndarray) -> Iterator[np.ndarray]:
        """Packed alignments of frames with equal keys that stand near each other.

        Args:
            frames: sorted by key, int64 (frames,).
            keys: uint32 (frames,).
        """
        for distance in range(1, _KEY_NEIGHBORS + 1):
            same = np.flatnonzero(keys[:-distance] == keys[distance:])
            if len(same) == 0:
                break
            earlier = frames[same]
            later = frames[same + distance]
            first = np.searchsorted(self._begins, earlier, side="right") - 1
            second = np.searchsorted(self._begins, later, side="right") - 1
            offset = (later - self._begins[second]) - (earlier - self._begins[first])
            packed = self._packed(_Alignments(first=first, second=second, offset=offset))
            yield np.unique(packed[first != second])

    def _packed(self, alignments: _Alignments) -> np.ndarray:
        """One integer for each alignment, which sorts by clips and then by offset."""
        pair = alignments.first * len(self._lengths) + alignments.second
        return pair * self._offsets + alignments.offset + self._zero_offset

    def _unpacked(self, packed: np.ndarray) -> _Alignments:
        pair, offset = np.divmod(packed, self._offsets)
        first, second = np.divmod(pair, max(len(self._lengths), 1))
        return _Alignments(first=first, second=second, offset=offset - self._zero_offset)

    def _overlaps(self, packed: np.ndarray) -> _Overlaps:
        alignments = self._unpacked(packed)
        begin = np.maximum(0, -alignments.offset)
        end = np.minimum(
            self._lengths[alignments.first],
            self._lengths[alignments.second] - alignments.offset,
        )
        return _Overlaps(
            begin_in_first=self._begins[alignments.first] + begin,
            begin_in_second=self._begins[alignments.second] + begin + alignments.offset,
            length=end - begin,
        )

    def _probed(self, packed: np.ndarray) -> np.ndarray:
        """The alignments that are long enough and have few errors in `_PROBES` frames."""
        kept = [np.zeros(0, np.int64)]
        for begin in range(0, len(packed), _PROBED_TOGETHER):
            block = packed[begin : begin + _PROBED_TOGETHER]
            overlaps = self._overlaps(block)
            long_enough = overlaps.length >= _MIN_FRAMES
            block = block[long_enough]
            overlaps = overlaps.where(long_enough)

            # (alignments, probes): equal steps through the overlap.
            steps = (np.arange(_PROBES) * overlaps.length[:, None]) // _PROBES
            in_first = overlaps.begin_in_first[:, None] + steps
            in_second = overlaps.begin_in_second[:, None] + steps
            active = self._active[in_first] & self._active[in_second]
            errors = np.bitwise_count(self._bits[in_first] ^ self._bits[in_second]) * active
            most_errors = _MAX_PROBE_ERROR * BITS * active.sum(axis=1)
            kept.append(block[errors.sum(axis=1) <= most_errors])
        return np.concatenate(kept)

    def _errors(self, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bit error rate of each alignment, and how many frames are active in both clips."""
        overlaps = self._overlaps(packed)
        errors = np.zeros(len(packed), np.int64)
        active_frames = np.zeros(len(packed), np.int64)
        for row, length in enumerate(overlaps.length):
            begin_in_first = overlaps.begin_in_first[row]
            begin_in_second = overlaps.begin_in_second[row]
            in_first = slice(begin_in_first, begin_in_first + length)
            in_second = slice(begin_in_second, begin_in_second + length)
            active = self._active[in_first] & self._active[in_second]
            different = np.bitwise_count(self._bits[in_first] ^ self._bits[in_second])
            active_frames[row] = np.count_nonzero(active)
            errors[row] = different[active].sum()
        return errors / np.maximum(BITS * active_frames, 1), active_frames


def _frames_with_key(clip: Fingerprint) -> np.ndarray:
    """The frames that begin a key: active, as is the frame `_KEY_GAP` later; bool (frames,)."""
    active_later = np.append(clip.active[_KEY_GAP:], np.zeros(_KEY_GAP, bool))
    return active_later[: len(clip.active)] & clip.active


# Waveforms


@dataclass(frozen=True)
class WaveformMatch:
    """How similar the waveforms of two aligned clips are.

    Attributes:
        overlap: seconds that the clips have in common.
        correlation: median correlation over segments of the overlap, 0 to 1; a copy with inverted
            polarity is a copy.
    """

    overlap: float
    correlation: float


def compare_waveforms(
    first: np.ndarray, second: np.ndarray, *, sampling_rate: int, offset: int
) -> WaveformMatch:
    """Compare two clips within the band of the fingerprints.

    Fingerprints align clips by frames. Here the best lag within two frames is found first.

    Args:
        first, second: float32 (samples,).
        sampling_rate: Hz, of both clips.
        offset: the frame of the fingerprint of the second clip at which the first one begins.
    """
    shift = round(offset * HOP_SECONDS * sampling_rate)
    begin = max(0, -shift)
    end = min(len(first), len(second) - shift)
    overlap = np.stack([first[begin:end], second[begin + shift : end + shift]])

    farthest = round(2 * HOP_SECONDS * sampling_rate)
    # The zeros behind the overlap keep lags from wrapping around.
    size = scipy.fft.next_fast_len(end - begin + farthest, real=True)
    spectra = scipy.fft.rfft(overlap, size, axis=1)
    frequencies = scipy.fft.rfftfreq(size, 1 / sampling_rate)
    spectra[:, (frequencies < BAND[0]) | (frequencies > BAND[1])] = 0

    products = scipy.fft.irfft(spectra[0].conj() * spectra[1], size)
    lags = np.r_[0 : farthest + 1, -farthest:0]
    lag = lags[np.argmax(np.abs(products[lags]))]
    filtered_first, filtered_second = scipy.fft.irfft(spectra, size, axis=1)
    return WaveformMatch(
        overlap=(end - begin) / sampling_rate,
        correlation=_median_correlation(
            filtered_first,
            np.roll(filtered_second, -lag),
            segment=round(_SEGMENT_SECONDS * sampling_rate),
        ),
    )


def _median_correlation(first: np.ndarray, second: np.ndarray, segment: int) -> float:
    """The absolute median of the correlations of short segments, without quiet segments.

    Each segment is normalized by itself, so that a changed level within a clip does not matter.

    Args:
        first, second: float32 (samples,).
        segment: samples of a segment.
    """
    samples = len(first) // segment * segment
    first = first[:samples].reshape(-1, segment).astype(float)
    second = second[:samples].reshape(-1, segment).astype(float)
    energies = (first**2).sum(axis=1) * (second**2).sum(axis=1)
    loud = energies > np.quantile(energies, 0.95) * 10 ** (-2 * ACTIVE_DB / 10)
    correlations = (first * second).sum(axis=1)[loud] / np.sqrt(energies[loud])
    return abs(float(np.median(correlations)))
