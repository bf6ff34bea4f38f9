"""Checks of the recordings: silence, levels, sampling rates, and the pitch of the voices."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import soxr
from scipy.stats import contingency

from ..audio.remarks import SILENT_PEAK, RemarkKind, silent_classes
from ..evaluation.slices import explained_variance
from ..inspection.measure import MEASURES, AudioFile, clip_table
from ..inspection.voice import RATE, first_speech, median_pitch
from ..report.views import counted, listed
from .case import Case, label_names_of
from .result import Fault, Outcome, Problem, left_out

# Thresholds of the faults. The clips of RAVDESS are soft recordings, with peaks from -36 dBFS.
_SILENT_SHARE = 0.01
_QUIET_PEAK = -45.0  # dBFS
_QUIET_SHARE = 0.1  # of the clips
_CLIPPED_SAMPLES = 0.001  # share of the samples of a clip
_CLIPPED_SHARE = 0.1  # of the clips
_ASSOCIATION = 0.5  # Cramér's V of sampling rate and label
_EXPLAINED = 0.5  # share of the variance
_CLIPS_PER_LABEL = 10  # with fewer, labels explain variance by chance
# The measures that describe the recording and not the voice.
_OF_THE_RECORDING = ("floor", "leading_silence", "trailing_silence")

# Pitch is slow to measure: of so many clips.
_PITCH_CLIPS = 48
_LOWEST_SEARCHED = 45.0  # Hz
# The median pitch of a clip of RAVDESS, EMO-DB and CREMA-D is 95 to 405 Hz for nine of ten clips,
# with medians of 198 Hz. At half speed more than a tenth is below 75 Hz, at double speed about half
# is above 400 Hz.
_SLOW_PITCH = 75.0  # Hz
_SLOW_SHARE = 0.1
_FAST_PITCH = 400.0  # Hz
_FAST_SHARE = 0.3
# Bounds of the median over the clips of women and of men, in Hz.
_PITCH_OF_SEX = {"female": (145.0, 400.0), "male": (70.0, 260.0)}
_PITCH_RATIO = 1.6  # of the clips of two sampling rates
_PITCH_GROUP = 6  # clips
_EXAMPLES = 3


def check_recordings(case: Case) -> Outcome:
    """Find silent, very quiet and clipped clips, and recordings that reveal their label."""
    files = case.measured_files
    rates = Counter(file.measured.sampling_rate for file in files)
    problems = [*_silent(case), *_quiet(files), *_clipped(files)]
    if case.task.has_classes:
        problems += _tells_label(files)

    durations = case.store.durations
    peaks = [file.measured.peak for file in files if file.measured.peak is not None]
    median_peak = float(np.median(peaks)) if peaks else None
    rate_names = listed([f"{rate} Hz" for rate in sorted(rates)])
    text = (
        f"{counted(len(durations), 'clip')}, {durations.sum() / 3600:.2f} h, {rate_names}; of "
        f"{len(files)} measured, the median duration is {np.median(durations):.2f} s"
    )
    if median_peak is not None:
        text += f" and the median peak {median_peak:.0f} dBFS"
    values = {
        "clips": len(durations),
        "measured_clips": len(files),
        "silent_clips": int(len(_silent_rows(case))),
        "median_peak": median_peak,
        "sampling_rates": {str(rate): count for rate, count in sorted(rates.items())},
    }
    return Outcome(text, problems, values)


def _silent_rows(case: Case) -> np.ndarray:
    return np.flatnonzero(case.store.remarks & RemarkKind.SILENT)


def _silent(case: Case) -> Iterator[Problem]:
    """Many silent clips, or a class of silent clips."""
    rows = _silent_rows(case)
    classes = []
    if case.task.has_classes:
        all_rows = list(range(len(case.dataset)))
        is_silent = np.isin(all_rows, rows).tolist()
        classes = silent_classes(label_names_of(case.dataset, all_rows), is_silent)
    if len(rows) <= _SILENT_SHARE * len(case.store) and not classes:
        return
    ids = case.dataset.select(rows[:_EXAMPLES])["id"][:]
    text = (
        f"{counted(len(rows), 'clip')} of {len(case.store):,} silent: no sample reaches "
        f"{20 * np.log10(SILENT_PEAK):.0f} dBFS ({', '.join(ids)}, ...)"
    )
    if classes:
        text += f"; all clips of {listed(classes)} are silent"
    remedy = "leave them out with corpus.exclude, or copy them again from the source"
    yield Problem(Fault.SILENT_CLIPS, text, remedy)


def _quiet(files: Sequence[AudioFile]) -> Iterator[Problem]:
    """Many clips whose peak uses little of the range of the samples."""
    audible = [file for file in files if not file.measured.silent]
    quiet = [file for file in audible if file.measured.peak < _QUIET_PEAK]
    if len(quiet) > _QUIET_SHARE * len(audible):
        yield Problem(
            Fault.QUIET_CLIPS,
            f"{len(quiet)} of {len(audible)} measured clips stay below {_QUIET_PEAK:.0f} dBFS "
            f"({_examples(quiet)})",
            "set audio.level: loudness, and look for a wrong gain where the files were made",
        )


def _clipped(files: Sequence[AudioFile]) -> Iterator[Problem]:
    """Many clips with runs of samples at full scale."""
    clipped = [file for file in files if file.measured.clipped_share > _CLIPPED_SAMPLES]
    if len(clipped) > _CLIPPED_SHARE * len(files):
        yield Problem(
            Fault.CLIPPED_CLIPS,
            f"{len(clipped)} of {len(files)} measured clips are clipped in more than "
            f"{_CLIPPED_SAMPLES:.1%} of their samples ({_examples(clipped)})",
            "convert the files again from the source with less gain; if there is none, "
            "augment.clipping teaches the network to expect it",
        )


def _examples(files: Sequence[AudioFile]) -> str:
    shown = ", ".join(file.shown for file in files[:_EXAMPLES])
    return f"{shown}, ..." if len(files) > _EXAMPLES else shown


def _tells_label(files: Sequence[AudioFile]) -> Iterator[Problem]:
    """Properties of the recording from which the label follows."""
    files = [file for file in files if file.clip.emotion]
    table = clip_table(files)
    classes = table["label"].nunique()
    if classes < 2 or len(files) < _CLIPS_PER_LABEL * classes:
        return
    rates = pd.Series([file.measured.sampling_rate for file in files])
    if rates.nunique() > 1:
        counts = pd.crosstab(rates, table["label"]).to_numpy()
        association = contingency.association(counts, method="cramer")
        if association >= _ASSOCIATION:
            yield Problem(
                Fault.RATE_TELLS_LABEL,
                f"the sampling rate of a file tells its label (Cramér's V {association:.2f})",
                "a network learns the bandwidth: set audio.sampling_rate to the lowest rate, or "
                "record all labels in one way",
            )
    for measure in _OF_THE_RECORDING:
        share = explained_variance(table, measure, "label")
        if share is not None and share >= _EXPLAINED:
            yield Problem(
                Fault.RECORDING_TELLS_LABEL,
                f"the label explains {share:.0%} of the variance of the {MEASURES[measure][1]}",
                "a network learns the recording and not the voice: set audio.trim_silence: 40 for "
                "silence, record all labels in one room for noise",
            )


def check_pitch(case: Case) -> Outcome:
    """Compare the pitch of the voices with that of people, to find files at a wrong speed.

    A file whose header states half of its sampling rate plays at half speed, an octave lower.
    """
    clips = _pitches(case)
    if len(clips) < _PITCH_GROUP:
        return left_out(f"{counted(len(clips), 'clip')} with a voiced sound are too few")
    pitches = clips["pitch"]
    problems = [*_wrong_speed(clips), *_wrong_speed_of_rate(clips)]
    text = (
        f"the median pitch of {len(clips)} clips is {pitches.median():.0f} Hz, from "
        f"{pitches.min():.0f} to {pitches.max():.0f} Hz"
    )
    return Outcome(text, problems, {"median_pitch": float(pitches.median()), "clips": len(clips)})


def _pitches(case: Case) -> pd.DataFrame:
    """The pitch in Hz, the sex and the rate of the file of a sample of the clips."""
    rate_of_clip = {file.clip.id: file.measured.sampling_rate for file in case.measured_files}
    sex_of_clip = {file.clip.id: file.clip.sex for file in case.measured_files}
    rows = [row for row, name in enumerate(case.dataset["id"][:]) if name in rate_of_clip]
    rows = random.Random(1).sample(rows, min(len(rows), _PITCH_CLIPS))
    names = case.dataset.select(rows)["id"][:]
    found_pitches = []
    for row, name in zip(rows, names, strict=True):
        samples = case.store[row]
        if case.store.sampling_rate != RATE:
            samples = soxr.resample(samples, case.store.sampling_rate, RATE)
        if case.store.remarks[row] & (RemarkKind.SILENT | RemarkKind.SHORT):
            continue
        pitch = median_pitch(first_speech(samples), _LOWEST_SEARCHED)
        found_pitches.append((pitch, sex_of_clip[name], rate_of_clip[name]))
    return pd.DataFrame(found_pitches, columns=["pitch", "sex", "rate"]).dropna(subset="pitch")


def _wrong_speed(clips: pd.DataFrame) -> Iterator[Problem]:
    """Voices that are too low or too high for people."""
    pitches = clips["pitch"]
    low = float((pitches < _SLOW_PITCH).mean())
    high = float((pitches > _FAST_PITCH).mean())
    reasons = []
    if low > _SLOW_SHARE:
        reasons.append(f"{low:.0%} of the clips are below {_SLOW_PITCH:.0f} Hz")
    if high > _FAST_SHARE:
        reasons.append(f"{high:.0%} of the clips are above {_FAST_PITCH:.0f} Hz")
    for sex, (lowest, highest) in _PITCH_OF_SEX.items():
        of_sex = pitches[clips["sex"] == sex]
        if len(of_sex) >= _PITCH_GROUP and not lowest <= of_sex.median() <= highest:
            reasons.append(f"the median of {sex} voices is {of_sex.median():.0f} Hz")
    if reasons:
        yield _speed_problem(f"the pitch is not that of people: {listed(reasons)}")


def _wrong_speed_of_rate(clips: pd.DataFrame) -> Iterator[Problem]:
    """A sampling rate whose clips are about an octave from the others."""
    for rate in sorted(clips["rate"].unique()):
        is_of_rate = clips["rate"] == rate
        if min(is_of_rate.sum(), (~is_of_rate).sum()) < _PITCH_GROUP:
            continue
        median = clips["pitch"][is_of_rate].median()
        ratio = median / clips["pitch"][~is_of_rate].median()
        if not 1 / _PITCH_RATIO < ratio < _PITCH_RATIO:
            yield _speed_problem(
                f"the median pitch of the files of {rate} Hz is {median:.0f} Hz, {ratio:.2f} times "
                "that of the other files"
            )


def _speed_problem(text: str) -> Problem:
    return Problem(
        Fault.WRONG_SPEED,
        text,
        "listen to a file: if it plays too slowly or too fast, its header states a wrong sampling "
        "rate; write the files again with the right one",
    )
