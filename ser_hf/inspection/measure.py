"""The audio files of a corpus, measures of their signals, and tables of counts."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..audio.decode import Decoded
from ..audio.remarks import Remark, is_silent
from ..audio.segment_reader import decode_segment
from ..corpora import CORPORA, corpus_settings
from ..corpora.schema import EMOTIONS, Clip
from ..utils.order import in_order
from ..utils.segments import Segment
from ..utils.unpacked import row_of

# {measure: (unit, name on the page)}
MEASURES = {
    "duration": ("s", "duration"),
    "loudness": ("LUFS", "loudness (gated)"),
    "rms": ("dBFS", "RMS level"),
    "peak": ("dBFS", "peak level"),
    "floor": ("dBFS", "level of the quietest tenth"),
    "leading_silence": ("s", "leading silence"),
    "trailing_silence": ("s", "trailing silence"),
    "clipped_share": ("%", "share of clipped samples"),
}
# A sample is at full scale if its magnitude is at least this value. Samples are clipped if at least
# this number of consecutive samples are at full scale.
FULL_SCALE = 0.999
CLIPPED_RUN = 3
# Silence is measured in frames of this length. A frame is quiet if it is this number of dB below
# the loudest frame.
FRAME_SECONDS = 0.01
QUIET_BELOW_LOUDEST = 40.0

Role = Literal[
    "clip", "left out", "copy", "unknown name", "absent", "unknown label", "unknown speaker"
]
ROLES: tuple[Role, ...] = get_args(Role)
# The roles of files that are measured. A copy is equal to another file, and the other roles are of
# rows in tables.
_MEASURED = ("clip", "left out", "unknown name")


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The measures of one file, mixed to mono.

    If there is an `error`, the file is unreadable, and the other values may be None. Levels are in
    dB relative to full scale (a full-scale square wave has 0 dBFS, a full-scale sine -3.01 dBFS);
    they are None for digital silence. Times are in seconds, shares are between 0 and 1.

    Attributes:
        rms: level of the whole file.
        peak: level of the largest sample.
        loudness: gated loudness in LUFS (ITU-R BS.1770).
        floor: 10th percentile of the level of 10 ms frames.
        clipped_share: share of the samples in runs of at least 3 at full scale (0.999 and above).
        leading_silence, trailing_silence: duration of the silence before and after the sound, in
            10 ms frames that are at least 40 dB below the loudest frame.
        silent: whether no sample reaches -60 dBFS.
        remarks: how the header differs from the file, and the like.
    """

    bytes: int | None = None
    error: str | None = None
    sampling_rate: int | None = None
    duration: float | None = None
    rms: float | None = None
    peak: float | None = None
    loudness: float | None = None
    floor: float | None = None
    clipped_share: float | None = None
    leading_silence: float | None = None
    trailing_silence: float | None = None
    silent: bool | None = None
    content_hash: str | None = None
    remarks: tuple[Remark, ...] = ()


@dataclasses.dataclass(frozen=True)
class AudioFile:
    """One audio file of a corpus, or a segment of it.

    Attributes:
        shown: the path below the root, with unprintable characters escaped; for a segment with
            its times.
        role: one of `ROLES`. ``absent`` means a row of the table of the corpus whose audio is
            missing. ``copy`` means a file that is equal to another file of the same clip.
        clip: the clip; None if the corpus does not know the file name.
        reason: why the file is not a clip.
        measured: None for copies, absent files and rows of tables that are not clips.
    """

    path: str
    shown: str
    role: Role
    clip: Clip | None = None
    reason: str | None = None
    measured: Measurement | None = None

    @property
    def usable(self) -> bool:
        """Whether the file is a clip of the corpus and can be decoded."""
        return self.role == "clip" and self.measured is not None and self.measured.error is None

    @property
    def segment(self) -> Segment | None:
        """The part of the file that is the clip; None for all of it."""
        if self.clip is None or self.clip.start is None:
            return None
        return Segment(self.clip.start, self.clip.end)

    def to_dict(self) -> dict[str, Any]:
        """The file's row in `inspect.json`; that of a segment has its times."""
        row: dict[str, Any] = {"path": self.shown, "role": self.role, "reason": self.reason}
        if self.segment is not None:
            row |= self.segment._asdict()
        for key in ("id", "emotion", "speaker", "sex", "intensity"):
            row[key] = getattr(self.clip, key, None)
        measured = self.measured or Measurement()
        row |= dataclasses.asdict(measured)
        row["remarks"] = {remark.kind.name.lower(): remark.detail for remark in measured.remarks}
        return row


@dataclasses.dataclass(frozen=True)
class FoundFiles:
    """The audio files of a corpus.

    Attributes:
        notes: sentences about its tables and speakers.
        accounts: the lines of its tables by their use.
    """

    files: list[AudioFile]
    notes: list[str]
    accounts: list[str]


def find_files(name: str, root: str | Path | None, options: dict[str, Any]) -> FoundFiles:
    """Find all audio files of the corpus at `root`, sorted by path.

    Raises:
        UserError: if the folder is missing, has no audio or has Git LFS pointers instead.
    """
    module = CORPORA[name]
    settings = corpus_settings(name, root, **(options | {"on_unknown": "skip"}))
    listing = module.parse(settings)

    # The folder of the corpus, of a table, or of generated clips.
    if root is None:
        base = Path(os.path.commonpath([clip.path for clip in listing.clips]))
    else:
        base = Path(root)
    if not base.is_dir():
        base = base.parent

    files = []
    for clip in listing.clips:
        file = AudioFile(clip.path, printable_path(clip.path, base), role="clip", clip=clip)
        if file.segment is not None:
            file = dataclasses.replace(file, shown=f"{file.shown} ({file.segment})")
        files.append(file)

    read_name = getattr(module, "read_name", None)
    for path, reason in listing.skipped:
        clip = read_name(PurePath(path)) if read_name else None
        unknown = clip is None if read_name else "file name" in reason
        role: Role
        if reason in listing.kind_of_reason:
            role = listing.kind_of_reason[reason]
        elif unknown:
            role = "unknown name"
        elif os.path.isfile(path):
            role = "left out"
        else:
            role = "absent"
        shown = printable_path(path, base)
        files.append(AudioFile(path, shown, role=role, clip=clip, reason=reason))
    return FoundFiles(
        files=sorted(files, key=_position),
        notes=list(listing.notes),
        accounts=list(listing.accounts),
    )


def _position(file: AudioFile) -> tuple[str, float]:
    """The path of a file, and the start of a segment, for sorting."""
    return file.path, 0.0 if file.segment is None else file.segment.start


def printable_path(path: str, base: Path | None) -> str:
    """The path relative to `base`, or the whole path if it is not below `base`.

    Unprintable characters are escaped.
    """
    if base is not None and Path(path).is_relative_to(base):
        path = Path(path).relative_to(base).as_posix()
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    characters = []
    for character in text:
        if not character.isprintable():
            character = character.encode("unicode_escape").decode("ascii")
        characters.append(character)
    return "".join(characters)


def measure_files(files: Sequence[AudioFile]) -> list[AudioFile]:
    """Measure files on threads; the result has the files with measurements.

    A path is measured once, or once for each of its segments.
    """
    # This import loads torch. It is late because it takes seconds, and it is here so that the
    # threads of `measure` do not import torch at the same time.
    from ..models import preparation  # noqa: F401

    parts = [(file.path, file.segment) for file in files if file.role in _MEASURED]
    parts = list(dict.fromkeys(parts))
    progress = tqdm(
        in_order(lambda part: measure(*part), parts),
        total=len(parts),
        desc="measuring",
        unit="file",
        disable=None,
    )
    measured = dict(zip(parts, progress, strict=True))
    with_measurements = []
    for file in files:
        measurement = measured.get((file.path, file.segment))
        with_measurements.append(dataclasses.replace(file, measured=measurement))
    return with_measurements


def measure(path: str, segment: Segment | None = None) -> Measurement:
    """Decode and measure a file or a segment; a bad one gives a `Measurement` with an error."""
    size = None
    try:
        size = Path(path).stat().st_size
        decoded = decode_segment(path, segment)
    except (ValueError, OSError, RuntimeError) as error:
        return Measurement(bytes=size, error=_reason(error, path))
    return measure_decoded(decoded, size)


def measure_decoded(decoded: Decoded, size: int | None = None) -> Measurement:
    """Measure a decoded recording; `size` are the bytes of its file."""
    from ..models.preparation import gated_loudness

    samples = decoded.samples
    rate = decoded.sampling_rate
    silence = _silence(samples, rate)
    peak = float(np.abs(samples).max())
    return Measurement(
        bytes=size,
        sampling_rate=rate,
        duration=len(samples) / rate,
        rms=_decibels(np.square(samples, dtype=np.float64).mean()),
        peak=_decibels(peak**2),
        loudness=gated_loudness(samples, rate),
        clipped_share=clipped_share(samples),
        silent=is_silent(samples),
        content_hash=decoded.content_hash,
        remarks=decoded.remarks,
        floor=silence.floor,
        leading_silence=silence.leading,
        trailing_silence=silence.trailing,
    )


def clipped_share(samples: np.ndarray) -> float:
    """The share of the samples in runs of at least `CLIPPED_RUN` samples at full scale."""
    at_limit = np.abs(samples) >= FULL_SCALE
    ends = np.flatnonzero(np.diff(at_limit.astype(np.int8), prepend=0, append=0))
    lengths = ends[1::2] - ends[::2]
    return float(lengths[lengths >= CLIPPED_RUN].sum() / len(samples))


@dataclasses.dataclass(frozen=True)
class _Silence:
    """Silence before and after the sound in seconds, and the level of the quietest tenth."""

    leading: float
    trailing: float
    floor: float | None


def _silence(samples: np.ndarray, sampling_rate: int) -> _Silence:
    length = max(1, min(round(FRAME_SECONDS * sampling_rate), len(samples)))
    count = len(samples) // length
    frames = samples[: count * length].reshape(count, length)
    powers = np.square(frames, dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(powers > powers.max() * 10 ** (-QUIET_BELOW_LOUDEST / 10))

    if len(loud) == 0:  # digital silence
        leading = len(samples)
        trailing = len(samples)
    else:
        leading = loud[0] * length
        trailing = len(samples) - (loud[-1] + 1) * length
        if loud[-1] == count - 1:  # the last frame includes the remaining samples
            trailing = 0
    return _Silence(
        leading=float(leading / sampling_rate),
        trailing=float(trailing / sampling_rate),
        floor=_decibels(np.percentile(powers, 10)),
    )


def _decibels(power: float) -> float | None:
    return 10 * float(np.log10(power)) if power > 0 else None


def _reason(error: Exception, path: str) -> str:
    """The message of an error without the path, because the path is shown beside it.

    The remedy for a file that was unpacked from a dataset is one for its row.
    """
    name = os.fsencode(path).decode(errors="backslashreplace")
    reason = str(error).removeprefix(f"{name}: ") or type(error).__name__
    row = row_of(path)
    if row is None:
        return reason
    cause = reason.partition("; ")[0]
    return f"{cause}; correct row {row} of the dataset, or leave its clip out with corpus.exclude"


def clip_table(clips: Sequence[AudioFile]) -> pd.DataFrame:
    """Make a table of usable clips, with label, speaker, sex, intensity and `MEASURES`."""
    columns = ["emotion", "speaker", "sex", "intensity", *MEASURES]
    rows = [vars(file.clip) | vars(file.measured) for file in clips]
    table = pd.DataFrame(rows, columns=columns).rename(columns={"emotion": "label"})
    return table.astype(dict.fromkeys(MEASURES, float))


def ordered_labels(labels: Sequence[str]) -> list[str]:
    """The different labels: canonical emotions in their order, then other labels by name."""
    present = set(labels)
    return [emotion for emotion in EMOTIONS if emotion in present] + sorted(present - set(EMOTIONS))


@dataclasses.dataclass(frozen=True)
class CrossTable:
    """Numbers of clips per label, for each value of a column and in total."""

    labels: list[str]
    rows: dict[str, list[int]]
    total: list[int]


def crosstable(table: pd.DataFrame, column: str) -> CrossTable | None:
    """Count the clips by label and by a column of a `clip_table`; None if no clip has a value."""
    if table[column].isna().all():
        return None
    counts = pd.crosstab(table[column].fillna("not stated"), table["label"])
    labels = ordered_labels(counts.columns)
    values = sorted(counts.index, key=lambda name: (name == "not stated", name))
    return CrossTable(
        labels=labels,
        rows={value: counts.loc[value, labels].tolist() for value in values},
        total=counts[labels].sum().tolist(),
    )


def describe(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The number of clips and the percentiles of each measure that any clip has."""
    points = {"minimum": 0, "p05": 0.05, "median": 0.5, "p95": 0.95, "maximum": 1}
    measured = table[list(MEASURES)].dropna(axis=1, how="all")
    quantiles = measured.quantile(list(points.values())).set_axis(list(points))
    return {
        name: {"clips": int(measured[name].count())} | quantiles[name].to_dict()
        for name in measured
    }
