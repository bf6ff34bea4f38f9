"""Measures a corpus: its audio files, their signals, the comparison with the official release, tables of counts."""

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import soundfile
from tqdm.auto import tqdm

from ..audio.decode import decode, suffix_matches_format
from ..corpora import CORPORA
from ..corpora import files as manifest
from ..corpora.files import audio_paths, is_lfs_pointer
from ..corpora.schema import EMOTIONS, Clip
from ..utils.errors import UserError
from ..utils.order import in_order

# Measure -> unit, and its name on the page.
MEASURES = {
    "duration": ("s", "duration"),
    "loudness": ("LUFS", "loudness (gated)"),
    "rms": ("dBFS", "RMS level"),
    "peak": ("dBFS", "peak level"),
    "floor": ("dBFS", "level of the quietest tenth"),
    "leading_silence": ("s", "leading silence"),
    "trailing_silence": ("s", "trailing silence"),
    "silent_share": ("%", "share of silence"),
    "clipped_share": ("%", "share of clipped samples"),
    "dc_offset": ("%", "DC offset"),
}
FULL_SCALE = 0.999
CLIPPED_RUN = 3
SILENT_PEAK = 1e-3
FRAME_SECONDS = 0.01
QUIET_BELOW_LOUDEST = 40.0
# In the reason that a parser without `read_name` gives for a file name that it does not know.
_UNKNOWN = "file name"
_INTENSITIES = {"low": 0, "medium": 1, "high": 2, "normal": 0, "strong": 1}

Role = Literal["clip", "left out", "unknown name", "LFS pointer", "absent"]
Origin = Literal["original", "altered", "re-encoded", "unlisted", "uncovered"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The measures of one file; where `error` is set the file is unreadable and the rest may be None.

    Levels are in dB relative to full scale (a full-scale square wave is 0 dBFS, a full-scale sine -3.01 dBFS) of the
    mono mix, and None for digital silence. Times are in seconds, shares between 0 and 1.

    Attributes:
        bytes: size of the file.
        format, subtype: libsndfile's names, such as ``WAV`` and ``PCM_16``.
        honest_suffix: whether the file's suffix matches its format.
        rms, peak: level of the whole file, and of its largest sample.
        loudness: gated loudness in LUFS (ITU-R BS.1770).
        floor: 10th percentile of the level of 10 ms frames.
        dc_offset: mean of the samples; full scale is 1.
        clipped_share: share of the samples, over all channels, in runs of at least 3 at full scale (0.999 and above).
        leading_silence, trailing_silence, silent_share: from 10 ms frames more than 40 dB below the loudest frame.
        silent: whether no sample reaches -60 dBFS.
        mix_loss: dB that mixing to mono takes from the channels' mean power; None for mono.
        content_hash: of the decoded samples (`ser_hf.audio.decode`).
    """

    bytes: int | None = None
    error: str | None = None
    format: str | None = None
    subtype: str | None = None
    honest_suffix: bool | None = None
    sampling_rate: int | None = None
    channels: int | None = None
    duration: float | None = None
    rms: float | None = None
    peak: float | None = None
    loudness: float | None = None
    floor: float | None = None
    dc_offset: float | None = None
    clipped_share: float | None = None
    leading_silence: float | None = None
    trailing_silence: float | None = None
    silent_share: float | None = None
    silent: bool | None = None
    mix_loss: float | None = None
    content_hash: str | None = None


@dataclasses.dataclass(frozen=True)
class AudioFile:
    """One audio file of a corpus.

    Attributes:
        shown: the path below the root, without unprintable characters.
        role: ``absent`` is a row of the corpus's own table that is not a clip, usually because its file is missing.
        clip: None where the corpus does not know the file name.
        reason: why the file is not a clip.
        measured: None for Git LFS pointers and absent files.
        origin: the result of `compare_with_release`.
    """

    path: str
    shown: str
    role: Role
    clip: Clip | None = None
    reason: str | None = None
    measured: Measurement | None = None
    origin: Origin | None = None

    @property
    def decodable(self) -> bool:
        return self.measured is not None and self.measured.error is None

    @property
    def usable(self) -> bool:
        """Whether it is a clip of the corpus that can be decoded."""
        return self.role == "clip" and self.decodable


def find_files(name: str, root: str | Path | None, options: dict[str, Any]) -> list[AudioFile]:
    """All audio files of the corpus at `root`, sorted by path.

    Raises:
        UserError: if the folder is missing or holds no audio.
    """
    module = CORPORA[name]
    try:
        listing = module.parse(root=root, on_unknown="skip", **options)
    except UserError:
        # Parsers refuse a folder with Git LFS pointers. An inspection lists them.
        folder = None if root is None else Path(root)
        if folder is None or not folder.is_dir() or not hasattr(module, "read_name"):
            raise
        paths = audio_paths(folder)
        pointers = {path for path in paths if is_lfs_pointer(path)}
        if not pointers:
            raise
        return [_file_by_name(name, path, folder, path in pointers) for path in paths]
    base = _base_folder(root, [clip.path for clip in listing.clips])
    files = [AudioFile(clip.path, printable_path(clip.path, base), "clip", clip) for clip in listing.clips]
    for path, reason in listing.skipped:
        clip = _read_name(name, path)
        unknown = clip is None if hasattr(module, "read_name") else _UNKNOWN in reason
        role = "unknown name" if unknown else "left out" if os.path.isfile(path) else "absent"
        files.append(AudioFile(path, printable_path(path, base), role, clip, reason))
    return sorted(files, key=lambda file: file.path)


def _file_by_name(name: str, path: Path, root: Path, pointer: bool) -> AudioFile:
    clip, shown = _read_name(name, path), printable_path(str(path), root)
    if pointer:
        return AudioFile(str(path), shown, "LFS pointer", clip, "a Git LFS pointer, not audio")
    if clip is None:
        return AudioFile(str(path), shown, "unknown name", None, f"not a file name of {CORPORA[name].TITLE}")
    return AudioFile(str(path), shown, "clip", clip)


def _read_name(name: str, path: str | Path) -> Clip | None:
    reader = getattr(CORPORA[name], "read_name", None)
    return reader(PurePath(path)) if reader else None


def printable_path(path: str, base: Path | None) -> str:
    """The path below `base`, or the whole path if it is elsewhere, with unprintable characters escaped."""
    if base is not None and Path(path).is_relative_to(base):
        path = Path(path).relative_to(base).as_posix()
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _base_folder(root: str | Path | None, paths: list[str]) -> Path | None:
    """The root, the folder of a table, or the common folder of generated clips."""
    if root is not None:
        return Path(root) if Path(root).is_dir() else Path(root).parent
    try:
        return Path(os.path.commonpath(paths)) if paths else None
    except ValueError:  # a mixture of relative and absolute paths
        return None


def measure_files(files: Sequence[AudioFile]) -> list[AudioFile]:
    """The files with their measurements, computed on threads, each path once."""
    # This import loads torch: late, as it takes seconds, and before the threads of `measure` do the same.
    from ..models import preparation  # noqa: F401

    paths = list(dict.fromkeys(file.path for file in files if file.role not in ("LFS pointer", "absent")))
    progress = tqdm(in_order(measure, paths), total=len(paths), desc="measuring", unit="file", disable=None)
    measured = dict(zip(paths, progress, strict=True))
    return [dataclasses.replace(file, measured=measured.get(file.path)) for file in files]


def measure(path: str) -> Measurement:
    """Decodes and measures one file; a bad file gives a `Measurement` with an error."""
    from ..models.preparation import gated_loudness

    size = None
    try:
        size = Path(path).stat().st_size
        decoded = decode(path)
        header = soundfile.info(path)
        samples = decoded.samples
        channels = samples[:, None]
        if decoded.channels > 1:
            channels = soundfile.read(path, dtype="float32", always_2d=True)[0]
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        return Measurement(bytes=size, error=_reason(error, path))
    peak = float(np.abs(samples).max())
    before, after = _power(channels), _power(samples)
    return Measurement(
        bytes=size,
        format=header.format,
        subtype=header.subtype,
        honest_suffix=suffix_matches_format(path, header.format),
        sampling_rate=decoded.sampling_rate,
        channels=decoded.channels,
        duration=len(samples) / decoded.sampling_rate,
        rms=_decibels(after),
        peak=_decibels(peak**2),
        loudness=gated_loudness(samples, decoded.sampling_rate),
        dc_offset=float(samples.mean(dtype=np.float64)),
        clipped_share=clipped_share(channels),
        silent=peak < SILENT_PEAK,
        mix_loss=_decibels(before / after) if decoded.channels > 1 and after > 0 else None,
        content_hash=decoded.content_hash,
        **_silence(samples, decoded.sampling_rate),
    )


def clipped_share(channels: np.ndarray) -> float:
    """Share of the samples, shape (samples, channels), in runs of at least `CLIPPED_RUN` at either full scale."""
    # A column of False after each channel separates the runs of neighboring channels.
    at_limit = np.zeros((channels.shape[1], len(channels) + 1), dtype=np.int8)
    clipped = 0
    for limit in (channels >= FULL_SCALE, channels <= -FULL_SCALE):
        if limit.any():
            at_limit[:, :-1] = limit.T
            steps = np.flatnonzero(np.diff(at_limit.ravel(), prepend=0))
            lengths = steps[1::2] - steps[::2]
            clipped += int(lengths[lengths >= CLIPPED_RUN].sum())
    return clipped / channels.size


def _silence(samples: np.ndarray, sampling_rate: int) -> dict[str, float | None]:
    length = max(1, min(round(FRAME_SECONDS * sampling_rate), len(samples)))
    frames = len(samples) // length
    powers = np.square(samples[: frames * length].reshape(frames, length), dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(powers > powers.max() * 10 ** (-QUIET_BELOW_LOUDEST / 10))
    leading = trailing = len(samples)  # digital silence
    if len(loud):
        leading = loud[0] * length
        # The last frame includes the remaining samples.
        trailing = 0 if loud[-1] == frames - 1 else len(samples) - (loud[-1] + 1) * length
    return {
        "leading_silence": float(leading / sampling_rate),
        "trailing_silence": float(trailing / sampling_rate),
        "silent_share": 1 - len(loud) / frames,
        "floor": _decibels(float(np.percentile(powers, 10))),
    }


def _power(samples: np.ndarray) -> float:
    return float(np.square(samples, dtype=np.float64).mean())


def _decibels(power: float) -> float | None:
    return 10 * float(np.log10(power)) if power > 0 else None


def _reason(error: Exception, path: str) -> str:
    if isinstance(error, MemoryError):
        return "its header announces more samples than memory can hold; restore or remove this file"
    name = os.fsencode(path).decode(errors="backslashreplace")
    return str(error).removeprefix(f"{name}: ") or type(error).__name__


@dataclasses.dataclass(frozen=True)
class Official:
    """The official release of a corpus, and which of its clips were found; clips are matched by their ids.

    Attributes:
        per_label, found_per_label: clips of each emotion in the release, and those found, readable or not.
        missing: paths of the release whose clip was not found, in the release's order.
        origins: how many files are ``original`` (the release's sha256), ``altered`` (other content in the release's
            format), ``re-encoded`` (another format), ``uncovered`` (of a part of the release that the packaged list
            does not have) and ``unlisted`` (in no list).
        part: the part of the release that the packaged list has; None for the whole release.
    """

    clips: int
    per_label: dict[str, int]
    found_per_label: dict[str, int]
    missing: list[str]
    origins: dict[Origin, int]
    part: str | None = None


def compare_with_release(name: str, files: Sequence[AudioFile]) -> tuple[list[AudioFile], Official | None]:
    """The files with their origins, and the comparison; None if the corpus has no packaged list of files."""
    if name not in manifest.NAMES:
        return list(files), None
    module = CORPORA[name]
    release = [(_read_name(name, entry.path), entry) for entry in manifest.manifest(name)]
    by_id = {clip.id: entry for clip, entry in release}

    def origin(file: AudioFile) -> Origin | None:
        if file.role in ("LFS pointer", "absent"):
            return None
        if file.clip is None or file.clip.id not in by_id:
            covered = file.clip is None or getattr(module, "in_manifest", lambda clip: True)(file.clip)
            return "unlisted" if covered else "uncovered"
        return _compare_bytes(Path(file.path), by_id[file.clip.id])

    progress = tqdm(in_order(origin, files), total=len(files), desc="comparing", unit="file", disable=None)
    compared = [dataclasses.replace(file, origin=own) for file, own in zip(files, progress, strict=True)]
    found = {file.clip.id for file in compared if file.origin is not None and file.clip is not None}
    counts = Counter(file.origin for file in compared)
    official = Official(
        clips=len(by_id),
        per_label=dict(Counter(clip.emotion for clip, _ in release)),
        found_per_label=dict(Counter(clip.emotion for clip, _ in release if clip.id in found)),
        missing=[entry.path for clip, entry in release if clip.id not in found],
        origins={kind: counts[kind] for kind in get_args(Origin)},
        part=getattr(module, "MANIFEST_PART", None),
    )
    return compared, official


def _compare_bytes(path: Path, entry: manifest.Entry) -> Origin:
    if path.suffix.lower() != PurePath(entry.path).suffix.lower():
        return "re-encoded"
    try:
        if path.stat().st_size == entry.bytes:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256:
                    return "original"
    except OSError:
        pass
    return "altered"


def clip_table(clips: Sequence[AudioFile]) -> pd.DataFrame:
    """One row for each usable clip: label, speaker, sex, intensity and `MEASURES`."""
    known = ("speaker", "sex", "intensity")
    rows = [
        {"label": file.clip.emotion}
        | {name: getattr(file.clip, name) for name in known}
        | {name: getattr(file.measured, name) for name in MEASURES}
        for file in clips
    ]
    table = pd.DataFrame(rows, columns=["label", *known, *MEASURES])
    return table.astype(dict.fromkeys(MEASURES, float))


def ordered_labels(labels: Sequence[str]) -> list[str]:
    """The labels, each once: canonical emotions in their order, then others by name."""
    present = set(labels)
    return [emotion for emotion in EMOTIONS if emotion in present] + sorted(present - set(EMOTIONS))


def crosstable(table: pd.DataFrame, column: str) -> dict[str, Any] | None:
    """Counts as ``{labels, rows: {value of the column: [counts]}, total: [counts]}``; None if no clip has a value."""
    if table[column].isna().all():
        return None
    counts = pd.crosstab(table[column].fillna("not stated"), table["label"])
    labels = ordered_labels(counts.columns)
    rows = sorted(counts.index, key=lambda name: (name == "not stated", _INTENSITIES.get(name, -1), name))
    return {
        "labels": labels,
        "rows": {name: counts.loc[name, labels].tolist() for name in rows},
        "total": counts[labels].sum().tolist(),
    }


def describe(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Percentiles of each of `MEASURES`."""
    described = {}
    for measure in MEASURES:
        values = table[measure].dropna()
        if len(values):
            points = zip(("minimum", "p05", "median", "p95", "maximum"), (0, 0.05, 0.5, 0.95, 1), strict=True)
            described[measure] = {"clips": len(values)} | {name: float(values.quantile(q)) for name, q in points}
    return described


def explained_variance(table: pd.DataFrame, measure: str, column: str) -> float | None:
    """Share of a measure's variance between the groups of a column: epsilon squared (Kelley, 1935), at least 0.

    None where it is undefined: fewer than two groups, as many groups as clips, or no variance.
    """
    values = table[[column, measure]].dropna()
    groups = values.groupby(column)[measure]
    if groups.ngroups < 2 or len(values) <= groups.ngroups or values[measure].var() <= 1e-20:
        return None
    within = ((values[measure] - groups.transform("mean")) ** 2).sum() / (len(values) - groups.ngroups)
    return max(0.0, float(1 - within / values[measure].var()))
