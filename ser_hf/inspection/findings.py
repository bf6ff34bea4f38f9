"""From facts to findings: each one sentence with numbers, how much it matters, and what to do about it."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from .measure import SILENT_PEAK
from .official import Official
from .tables import NearCopy, Row, by_group, crosstable, explained, ordered_labels, repeated

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")

# From these on a fact is worth a line. Shares and full-scale fractions, seconds, decibels.
_DC_OFFSET = 0.01
_LONG_SILENCE = 1.0
_MIX_LOSS = 6.0
_SHORT = 0.3
_LONG = 30.0
_CLIPPED_FILES = 0.01
_IMBALANCE = 1.5
_FEW_SPEAKERS = 10
_EXPLAINED = 0.2
_SPEAKER_SPREAD = 10.0
# Fewer clips than this for a label, on average, and what it explains is mostly chance.
_CLIPS_PER_LABEL = 10
# What belongs to the recording rather than to the voice, so that a label should not be told from it.
_RECORDING_MEASURES = {
    "floor": "the level of the quietest tenth of a clip",
    "dc_offset": "the DC offset",
    "leading_silence": "the silence before the speech",
    "trailing_silence": "the silence after the speech",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the verdict. `code` is stable; `paths` are the files it speaks of, as shown, each with a remark or
    an empty string."""

    code: str
    level: Level
    text: str
    advice: str = ""
    paths: tuple[tuple[str, str], ...] = ()


def find(rows: Sequence[Row], official: Official | None, near_copies: Sequence[NearCopy], title: str) -> list[Finding]:
    """Every finding about the files, the gravest first, within a level in the order of the checks below."""
    clips = [row for row in rows if row.usable]
    found = [
        *_completeness(rows, official, title),
        *_readability(rows),
        *_originality(rows, official),
        *_copies(rows),
        *_near_copies(near_copies),
        *_signals(clips),
        *_formats(clips, rows),
        *_balance(clips),
        *_leaks(clips),
    ]
    return sorted(found, key=lambda finding: -LEVELS.index(finding.level))


def verdict(findings: Sequence[Finding]) -> tuple[Level, str]:
    """The gravest level, and one sentence."""
    counts = Counter(finding.level for finding in findings)
    errors, warnings = counts["error"], counts["warning"]
    if errors:
        also = f" and {_count(warnings, 'warning')}" if warnings else ""
        return "error", f"Not fit to train on as it is: {_count(errors, 'error')}{also}."
    if warnings:
        return "warning", f"Usable, with {_count(warnings, 'warning')} to read first."
    if counts["note"]:
        return "note", f"Fit to train on; {_count(counts['note'], 'note')} to know of."
    return "ok", "Fit to train on; nothing stands out."


def _completeness(rows: Sequence[Row], official: Official | None, title: str) -> Iterator[Finding]:
    if official is not None and not official.missing:
        yield Finding("complete", "ok", f"Every one of the {official.clips} clips of the release is there.")
    elif official is not None:
        share = len(official.missing) / official.clips
        yield Finding(
            "missing",
            "warning",
            f"{len(official.missing)} of the release's {official.clips} clips are missing ({_percent(share)}).",
            "Results on a part of a corpus compare with no published figure; complete the download.",
            tuple((path, "") for path in official.missing),
        )
    pointers = [row for row in rows if row.file.role == "LFS pointer"]
    if pointers:
        yield Finding(
            "lfs-pointers",
            "error",
            f"{len(pointers)} of {len(rows)} files are Git LFS pointers: text stubs of some 130 bytes that stand for "
            "audio which was never fetched.",
            "Run `git lfs pull` in that clone, or download the corpus again from a source that serves the audio.",
            _paths(pointers),
        )
    unknown = [row for row in rows if row.file.role == "unknown name"]
    if unknown:
        yield Finding(
            "unknown-names",
            "warning",
            f"{_count(len(unknown), 'audio file')} not named as {title} names its clips.",
            "Loading stops at such a name; remove the files, or set corpus.on_unknown: skip.",
            _paths(unknown),
        )
    for reason, members in _by_reason(rows, "left out"):
        text = f"{_count(len(members), 'file')} left out by the corpus's own rules: {reason}."
        yield Finding("left-out", "note", text, "", _paths(members))
    for reason, members in _by_reason(rows, "absent"):
        text = f"{_count(len(members), 'clip')} of the corpus's tables left out: {reason}."
        yield Finding("absent", "warning", text, "Complete the audio, or correct the table.", _paths(members))
    if official is not None:
        unlisted = [row for row in rows if row.origin == "unlisted" and row.file.role == "clip"]
        if unlisted:
            text = f"{_count(len(unlisted), 'clip')} named like the release's, but not in its list of files."
            advice = "Find out where they come from, or leave them out with corpus.exclude."
            yield Finding("unlisted", "warning", text, advice, _paths(unlisted))
    doubled = repeated([row for row in rows if row.file.role == "clip"], lambda row: row.clip.id)
    if doubled:
        yield Finding(
            "doubled-clips",
            "error",
            f"{_count(len(doubled), 'clip')} in more than one place.",
            "Loading refuses this; point at the folder that holds each clip once (mirrors often double the folder).",
            tuple((row.file.shown, row.clip.id) for group in doubled for row in group),
        )


def _by_reason(rows: Sequence[Row], role: str) -> list[tuple[str, list[Row]]]:
    """The rows of a role by the reason for it, sorted by reason."""
    reasons: dict[str, list[Row]] = {}
    for row in rows:
        if row.file.role == role:
            reasons.setdefault(row.file.reason, []).append(row)
    return sorted(reasons.items())


def _readability(rows: Sequence[Row]) -> Iterator[Finding]:
    bad = [row for row in rows if row.measured is not None and row.measured.error is not None]
    readable = sum(row.usable for row in rows)
    if bad:
        yield Finding(
            "unreadable",
            "error",
            f"{len(bad)} of {len(rows)} files cannot be read as a recording (empty, truncated, not audio, or not "
            "finite).",
            "Restore each from the source, or remove it; training stops at such a file.",
            tuple((row.file.shown, row.measured.error) for row in bad),
        )
    elif readable:
        yield Finding("readable", "ok", f"All {readable} clips can be decoded from end to end.")
    if not readable:
        yield Finding("nothing-usable", "error", "No clip can be read at all.", "See the errors beside this one.")


def _originality(rows: Sequence[Row], official: Official | None) -> Iterator[Finding]:
    if official is None:
        return
    counts = official.counts
    judged = sum(counts[origin] for origin in ("original", "altered", "re-encoded"))
    altered = [row for row in rows if row.origin == "altered"]
    if judged and counts["original"] == judged:
        yield Finding("original", "ok", f"All {judged} clips found have the release's original bytes (sha256).")
    if counts["re-encoded"]:
        yield Finding(
            "re-encoded",
            "note",
            f"Not the original bytes: {_count(counts['re-encoded'], 'file')} re-encoded in another container; that "
            "audio cannot be verified by hash.",
            "Say so beside results, with the source of the copy; resampled audio differs from the release's.",
        )
    if altered and counts["original"]:
        yield Finding(
            "altered",
            "error",
            f"{len(altered)} of {judged} clips have other bytes than the release, while {counts['original']} have "
            "the original ones.",
            "Damaged in the download or edited since; fetch these again.",
            _paths(altered),
        )
    elif altered:
        yield Finding(
            "altered",
            "warning",
            f"Not the original bytes: {_count(len(altered), 'file')} in the release's own format with another "
            "content (resampled, re-tagged or damaged).",
            "Their audio cannot be verified by hash; prefer the official download, or say where the copy is from.",
            _paths(altered),
        )


def _copies(rows: Sequence[Row]) -> Iterator[Finding]:
    # What the corpus's own rules leave out is no copy any more.
    kept = [row for row in rows if row.file.role in ("clip", "unknown name")]
    readable = [row for row in kept if row.measured is not None and row.measured.error is None]
    for code, level, groups, text, advice in _kinds_of_copies(readable):
        if groups:
            listed = tuple((row.file.shown, f"set {i}") for i, group in enumerate(groups, 1) for row in group)
            yield Finding(code, level, f"{_count(len(groups), 'set')} of {text}", advice, listed)


def _kinds_of_copies(readable: Sequence[Row]) -> Iterator[tuple[str, Level, list[list[Row]], str, str]]:
    # Silence equals silence; that is told as silence. A clip in two places is told by its id.
    groups = repeated([row for row in readable if not row.measured.silent], lambda row: row.measured.content_hash)
    groups = [group for group in groups if len({_identity(row) for row in group}) > 1]
    speakers = [g for g in groups if len({row.clip.speaker for row in g if row.clip}) > 1]
    labels = [g for g in groups if g not in speakers and len({row.clip.emotion for row in g if row.clip}) > 1]
    plain = [g for g in groups if g not in speakers and g not in labels]
    advice = "Listen, then leave the wrong one out with corpus.exclude."
    shared = "clips with identical audio under several speakers: a leak between training and test speakers."
    yield "copies-across-speakers", "error", speakers, shared, advice
    yield "copies-across-labels", "error", labels, "clips with identical audio under several labels.", advice
    advice = "Each counts twice; leave one out with corpus.exclude, or remove it."
    yield "copies", "warning", plain, "files with identical audio under several names.", advice


def _near_copies(copies: Sequence[NearCopy]) -> Iterator[Finding]:
    across, within = [], []
    for copy in copies:
        first, second = copy.first.clip, copy.second.clip
        same = (first.speaker, first.emotion) == (second.speaker, second.emotion)
        (within if same else across).append(copy)
    advice = "Listen to both, then leave the wrong one out with corpus.exclude."
    words = "holding the same take (cut, re-encoded or re-levelled)"
    if across:
        text = f"{_count(len(across), 'pair')} of clips {words} under different speakers or labels."
        yield Finding("near-copies-across", "warning", text, advice, tuple(_pair(copy) for copy in across))
    if within:
        text = f"{_count(len(within), 'pair')} of clips {words}."
        yield Finding("near-copies", "note", text, advice, tuple(_pair(copy) for copy in within))


def _pair(copy: NearCopy) -> tuple[str, str]:
    overlap = f"{copy.overlap:.2f} s in common, {_percent(copy.bit_error_rate)} of the fingerprint's bits differ"
    return copy.first.file.shown, f"and {copy.second.file.shown} ({overlap})"


def _identity(row: Row) -> str:
    return row.clip.id if row.clip is not None else row.file.shown


def _signals(clips: Sequence[Row]) -> Iterator[Finding]:
    silent = [row for row in clips if row.measured.silent]
    if silent:
        level = 20 * np.log10(SILENT_PEAK)
        text = f"{_count(len(silent), 'clip')} silent from end to end (no sample reaches {level:.0f} dBFS)."
        yield Finding("silent", "warning", text, "Leave out with corpus.exclude.", _paths(silent, _label))
    clipped = [row for row in clips if row.measured.clipped_share > 0]
    if clipped:
        worst = max(row.measured.clipped_share for row in clipped)
        yield Finding(
            "clipped",
            "warning" if len(clipped) > _CLIPPED_FILES * len(clips) else "note",
            f"{_count(len(clipped), 'clip')} of {len(clips)} clipped: runs of 3 or more samples at full scale, at "
            f"most {_percent(worst, 2)} of a clip.",
            "Cannot be undone; compare the labels and speakers concerned before trusting loudness as a cue.",
            _paths(sorted(clipped, key=lambda row: -row.measured.clipped_share), _clipping),
        )
    offset = [row for row in clips if abs(row.measured.dc_offset) > _DC_OFFSET]
    if offset:
        text = f"{_count(len(offset), 'clip')} with a DC offset above {_percent(_DC_OFFSET)} of full scale."
        advice = "Harmless for normalised input; for log-mel features remove the mean or high-pass the audio."
        yield Finding(
            "dc-offset", "note", text, advice, _paths(offset, lambda r: f"{100 * r.measured.dc_offset:+.1f} %")
        )
    for code, name, where in (
        ("silence-before", "leading_silence", "before the speech"),
        ("silence-after", "trailing_silence", "after the speech"),
    ):
        lengths = {id(row): getattr(row.measured, name) for row in clips if not row.measured.silent}
        padded = [row for row in clips if lengths.get(id(row), 0.0) > _LONG_SILENCE]
        if padded:
            text = f"{_count(len(padded), 'clip')} with more than {_LONG_SILENCE:g} s of silence {where}."
            advice = "Pooling over time sees that silence too; trimming it is a choice to name beside results."
            yield Finding(code, "note", text, advice, _paths(padded, lambda row, name=name: _seconds(row, name)))
    for code, members, text in (
        ("short", [row for row in clips if row.measured.duration < _SHORT], f"shorter than {_SHORT:g} s"),
        ("long", [row for row in clips if row.measured.duration > _LONG], f"longer than {_LONG:g} s"),
    ):
        if members:
            advice = "Listen to them; audio.max_duration bounds what a batch holds." if code == "long" else "Listen."
            listed = _paths(members, lambda row: _seconds(row, "duration"))
            yield Finding(code, "note", f"{_count(len(members), 'clip')} {text}.", advice, listed)


def _formats(clips: Sequence[Row], rows: Sequence[Row]) -> Iterator[Finding]:
    rates = Counter(row.measured.sampling_rate for row in clips)
    if len(rates) > 1:
        usual = _usual(rates)
        odd = [row for row in clips if row.measured.sampling_rate != usual]
        yield Finding(
            "sampling-rates",
            "warning",
            f"{_count(len(odd), 'clip')} not sampled at the {usual} Hz of the other {rates[usual]} "
            f"({_listing(rates, ' Hz')}).",
            "All is resampled to one rate, but the bandwidth stays: check that no label or speaker has its own rate.",
            _paths(odd, lambda row: f"{row.measured.sampling_rate} Hz"),
        )
    several = [row for row in clips if row.measured.channels > 1]
    if several:
        worst = max((row.measured.mix_loss or 0.0 for row in several), default=0.0)
        text = (
            f"{_count(len(several), 'clip')} of {len(clips)} with several channels; they are mixed to mono by the mean"
        )
        if worst > _MIX_LOSS:
            text += f", which cancels up to {worst:.1f} dB of the channels' power"
            advice = "Channels out of phase: listen, and take one channel in place of the mix."
        else:
            advice = "Nothing to do; name it beside results."
        listed = _paths(several, lambda row: f"{row.measured.channels} channels")
        yield Finding("channels", "warning" if worst > _MIX_LOSS else "note", text + ".", advice, listed)
    codings = Counter(f"{row.measured.format} {row.measured.subtype}" for row in clips)
    if len(codings) > 1:
        usual = _usual(codings)
        odd = [row for row in clips if f"{row.measured.format} {row.measured.subtype}" != usual]
        text = f"{_count(len(odd), 'clip')} coded otherwise than most ({_listing(codings)})."
        advice = "Lossy or coarse coding of a part of the clips can give away a label or a speaker."
        listed = _paths(odd, lambda row: f"{row.measured.format} {row.measured.subtype}")
        yield Finding("codings", "note", text, advice, listed)
    lying = [row for row in rows if row.measured is not None and row.measured.honest_suffix is False]
    if lying:
        text = f"{_count(len(lying), 'file')} whose suffix does not belong to the format inside."
        advice = "They are read by their content; rename them before other tools trip over them."
        listed = _paths(lying, lambda row: f"is {row.measured.format}")
        yield Finding("lying-suffix", "warning", text, advice, listed)


def _balance(clips: Sequence[Row]) -> Iterator[Finding]:
    if not clips:
        return
    every = [row.clip for row in clips]
    labels = ordered_labels(every)
    counts = Counter(clip.emotion for clip in every)
    largest, smallest = max(counts.values()), min(counts.values())
    if len(labels) < 2:
        yield Finding("one-label", "error", f"Every clip is {labels[0]}.", "A classifier needs two classes at least.")
    elif largest > _IMBALANCE * smallest:
        yield Finding(
            "imbalance",
            "note",
            f"The largest class ({max(labels, key=counts.get)}, {largest} clips) has {largest / smallest:.1f} times "
            f"the clips of the smallest ({min(labels, key=counts.get)}, {smallest}).",
            "Report UAR, which counts each class alike; training.class_weights: balanced is worth a try.",
        )
    speakers = crosstable(every, lambda clip: clip.speaker)["rows"]
    if len(speakers) < _FEW_SPEAKERS:
        yield Finding(
            "few-speakers",
            "note",
            f"{_count(len(speakers), 'speaker')}: a speaker-independent test rests on very few voices.",
            "Expect wide intervals; cross-validate over the speakers.",
        )
    lacking = {
        speaker: [label for label, count in zip(labels, row, strict=True) if count == 0]
        for speaker, row in speakers.items()
    }
    lacking = {speaker: missing for speaker, missing in lacking.items() if missing}
    if lacking:
        first = next(iter(lacking))
        yield Finding(
            "empty-cells",
            "note",
            f"{len(lacking)} of {_count(len(speakers), 'speaker')} without clips of some label (such as {first}: "
            f"{', '.join(lacking[first])}).",
            "Who speaks then hints at the label; look at the table of labels by speaker.",
        )
    sexes = crosstable(every, lambda clip: clip.sex)
    if sexes is not None and len(sexes["rows"]) > 1:
        total = np.array(sexes["total"])
        for sex, row in sexes["rows"].items():
            alone = [label for label, a, b in zip(labels, row, total, strict=True) if a == b]
            if alone and sex != "not stated":
                text = f"Only {sex} speakers have clips of: {', '.join(alone)}."
                yield Finding("one-sex", "warning", text, "Sex then predicts the label; judge by sex as well.")


def _leaks(clips: Sequence[Row]) -> Iterator[Finding]:
    enough = len(clips) >= _CLIPS_PER_LABEL * len({row.clip.emotion for row in clips})
    for measure, words in _RECORDING_MEASURES.items() if enough else ():
        share = explained(clips, measure, lambda clip: clip.emotion)
        if share is not None and share >= _EXPLAINED:
            yield Finding(
                f"label-leak-{measure.replace('_', '-')}",
                "note",
                f"The label explains {_percent(share)} of the variance of {words}.",
                "A model may learn the recording in place of the voice; try a control that hears only that.",
            )
    groups = by_group(clips, "loudness", lambda clip: clip.speaker)
    medians = {speaker: float(np.median(values)) for speaker, values in groups.items()}
    if len(medians) > 1:
        low, high = min(medians, key=medians.get), max(medians, key=medians.get)
        spread = medians[high] - medians[low]
        if spread >= _SPEAKER_SPREAD:
            yield Finding(
                "speaker-loudness",
                "note",
                f"The median loudness of the speakers spans {spread:.1f} LU, from {medians[low]:.1f} ({low}) to "
                f"{medians[high]:.1f} LUFS ({high}).",
                "Level then tells speakers apart; normalising each clip removes that and loudness as a cue.",
            )


def _paths(rows: Sequence[Row], remark: Callable[[Row], str] = lambda row: "") -> tuple[tuple[str, str], ...]:
    return tuple((row.file.shown, remark(row)) for row in rows)


def _label(row: Row) -> str:
    return row.clip.emotion


def _clipping(row: Row) -> str:
    return f"{_percent(row.measured.clipped_share, 3)} of its samples"


def _seconds(row: Row, measure: str) -> str:
    return f"{getattr(row.measured, measure):.2f} s"


def _usual(counts: Counter) -> Any:
    """The most frequent value; of equally frequent ones the largest, so that the order of files decides nothing."""
    return max(counts, key=lambda value: (counts[value], value))


def _listing(counts: Counter, unit: str = "") -> str:
    return ", ".join(f"{value}{unit}: {counts[value]}" for value in sorted(counts))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"
