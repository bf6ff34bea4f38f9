"""Findings about a corpus, each a sentence with numbers, a level and advice, and the inspection that collects them."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..audio import open_store
from ..audio.near_duplicates import near_duplicates
from ..corpora import CORPORA, corpus_facts
from ..utils.errors import UserError
from .measure import (
    MEASURES,
    ROLES,
    SILENT_PEAK,
    AudioFile,
    Measurement,
    Official,
    clip_table,
    compare_with_release,
    crosstable,
    describe,
    explained_variance,
    find_files,
    measure_files,
    ordered_labels,
    printable_path,
)

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")
FORMAT = 1
# Recipes prepare audio at this rate by default, so that the first training finds the waveforms stored here.
_STORE_RATE = 16000
_SHORTEST_STORED = 0.1
# Thresholds of the findings: shares, seconds, decibels, clips.
_DC_OFFSET = 0.01
_LONG_SILENCE = 1.0
_MIX_LOSS = 6.0
_SHORT, _LONG = 0.3, 30.0
_CLIPPED_FILES = 0.01
_IMBALANCE = 1.5
_FEW_SPEAKERS = 10
_EXPLAINED = 0.2
_SPEAKER_SPREAD = 10.0
_CLIPS_PER_LABEL = 10  # with fewer, what a label explains is mostly chance
_REASONS_LISTED = 4
_LISTEN = "Listen to them, then leave the wrong one out with corpus.exclude."
# Properties of the recording rather than of the voice.
_RECORDING_MEASURES = {
    "floor": "the level of the quietest tenth of a clip",
    "dc_offset": "the DC offset",
    "leading_silence": "the silence before the speech",
    "trailing_silence": "the silence after the speech",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One finding. `code` is stable; `files` are the paths concerned, as shown, each with a remark or an empty
    string."""

    code: str
    level: Level
    text: str
    advice: str = ""
    files: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class NearCopy:
    """Two clips that contain the same take; see `ser_hf.audio.near_duplicates.NearDuplicate`."""

    first: AudioFile
    second: AudioFile
    overlap: float
    bit_error_rate: float


@dataclasses.dataclass(frozen=True)
class Inspection:
    """The result of `inspect_corpus`.

    Attributes:
        facts: `ser_hf.corpora.corpus_facts`.
        files: every audio file, sorted by path.
        official: None if the corpus has no packaged list of the release's files.
        near_copies: None if they were not searched.
    """

    name: str
    root: str | None
    options: dict[str, Any]
    facts: dict[str, Any]
    files: list[AudioFile]
    official: Official | None
    near_copies: list[NearCopy] | None
    findings: list[Finding]

    @property
    def clips(self) -> list[AudioFile]:
        """The usable clips: of the corpus, and decodable."""
        return [file for file in self.files if file.usable]

    def to_dict(self) -> dict[str, Any]:
        """The content of `inspect.json`: stable keys, no NaN."""
        level, text = verdict(self.findings)
        clips, table = self.clips, clip_table(self.clips)
        official = self.official and {key: value for key, value in vars(self.official).items() if key != "part"}
        copies = self.near_copies and [
            vars(copy) | {"first": copy.first.shown, "second": copy.second.shown} for copy in self.near_copies
        ]
        return {
            "format": FORMAT,
            "corpus": self.facts,
            "root": self.root,
            "options": self.options,
            "verdict": {"level": level, "text": text},
            "findings": [
                vars(finding) | {"files": [{"path": path, "remark": remark} for path, remark in finding.files]}
                for finding in self.findings
            ],
            "counts": {
                "files": len(self.files),
                "roles": {role: sum(file.role == role for file in self.files) for role in ROLES},
                "readable_clips": len(clips),
                "speakers": table["speaker"].nunique(),
                "labels": table["label"].nunique(),
                "hours": sum(file.measured.duration for file in clips) / 3600,
            },
            "official": official,
            "near_copies": copies,
            "measures": {name: {"unit": unit, "meaning": meaning} for name, (unit, meaning) in MEASURES.items()},
            "distributions": describe(table),
            "explained": {
                measure: {column: explained_variance(table, measure, column) for column in ("label", "speaker")}
                for measure in MEASURES
            },
            "tables": {f"label_by_{name}": crosstable(table, name) for name in ("speaker", "sex", "intensity")},
            "files": [_file_facts(file) for file in self.files],
        }


def inspect_corpus(
    name: str,
    root: str | Path | None = None,
    *,
    near_copies: bool = True,
    cache_dir: str | None = None,
    **options: Any,
) -> Inspection:
    """Measures every audio file of a corpus; bad files are findings, never exceptions.

    Args:
        name: a key of `ser_hf.corpora.CORPORA`.
        root: the folder of the audio (of ``csv`` the table).
        near_copies: whether to search clips that contain the same take cut, re-encoded or at another level. This
            decodes all clips into the waveform store, 64 kB a second.
        cache_dir: where that store is (default: see `ser_hf.utils.cache.cache_root`).
        options: of the corpus.

    Raises:
        UserError: for an unknown corpus, a missing folder, a folder without audio.
    """
    if name not in CORPORA:
        raise UserError(f"corpus.name: expected one of {', '.join(CORPORA)}, got {name!r}")
    files, official = compare_with_release(name, measure_files(find_files(name, root, options)))
    copies = _search_near_copies(files, cache_dir) if near_copies else None
    facts = corpus_facts(name, options)
    findings = find(files, official, copies or [], facts["title"])
    shown = None if root is None else printable_path(str(root), None)
    return Inspection(name, shown, options, facts, files, official, copies, findings)


def find(
    files: Sequence[AudioFile], official: Official | None, near_copies: Sequence[NearCopy], title: str
) -> list[Finding]:
    """All findings, the most serious first."""
    clips = [file for file in files if file.usable]
    found = [
        *_completeness(files, official, title),
        *_readability(files),
        *_originality(files, official),
        *_identical_audio(files),
        *_near_copies(near_copies),
        *_signals(clips),
        *_formats(clips, files),
        *_balance(clips),
        *_leaks(clips),
    ]
    return sorted(found, key=lambda finding: -LEVELS.index(finding.level))


def verdict(findings: Sequence[Finding]) -> tuple[Level, str]:
    """The most serious level, and one sentence."""
    counts = Counter(finding.level for finding in findings)
    warnings = _count(counts["warning"], "warning")
    if counts["error"]:
        also = f" and {warnings}" if counts["warning"] else ""
        return "error", f"Not ready for training: {_count(counts['error'], 'error')}{also}."
    if counts["warning"]:
        return "warning", f"Usable, with {warnings} to read first."
    if counts["note"]:
        return "note", f"Ready for training; {_count(counts['note'], 'note')} to read."
    return "ok", "Ready for training; no remarks."


def _search_near_copies(files: Sequence[AudioFile], cache_dir: str | None) -> list[NearCopy]:
    # In the order of a dataset's rows, so that training on this corpus finds the same store.
    clips = sorted(
        (file for file in files if file.usable and file.measured.duration >= _SHORTEST_STORED),
        key=lambda file: file.clip.id,
    )
    if len(clips) < 2:
        return []
    store = open_store([{"path": file.path, "bytes": None} for file in clips], _STORE_RATE, cache_dir)
    pairs = (NearCopy(clips[p.first], clips[p.second], p.overlap, p.bit_error_rate) for p in near_duplicates(store))
    return [pair for pair in pairs if pair.first.measured.content_hash != pair.second.measured.content_hash]


def _file_facts(file: AudioFile) -> dict[str, Any]:
    facts = {"path": file.shown, "role": file.role, "reason": file.reason, "origin": file.origin}
    facts |= {key: getattr(file.clip, key, None) for key in ("id", "emotion", "speaker", "sex", "intensity")}
    return facts | dataclasses.asdict(file.measured or Measurement())


def _completeness(files: Sequence[AudioFile], official: Official | None, title: str) -> Iterator[Finding]:
    if official is not None and not official.missing:
        yield Finding("complete", "ok", f"All {official.clips} clips of the release are present.")
    elif official is not None:
        missing, share = len(official.missing), _percent(len(official.missing) / official.clips)
        text = f"{missing} of the release's {official.clips} clips are missing ({share})."
        advice = "Results on a part of a corpus are not comparable with published figures; complete the download."
        yield Finding("missing", "warning", text, advice, tuple((path, "") for path in official.missing))
    role = {role: [file for file in files if file.role == role] for role in ROLES}
    text = f"among {len(files)} files: a text of about 130 bytes in place of audio that was not fetched"
    advice = "Run `git lfs pull` in that clone, or download the corpus from a source that serves the audio."
    yield from _about("lfs-pointers", "error", role["LFS pointer"], text, advice, noun="Git LFS pointer")
    advice = "Loading stops at such a name; remove the files, or set corpus.on_unknown: skip."
    text = f"with a name that {title} does not use"
    yield from _about("unknown-names", "warning", role["unknown name"], text, advice, noun="audio file")
    text = f"left out by the corpus's own rules: {_reasons(role['left out'])}"
    yield from _about("left-out", "note", role["left out"], text, "", lambda file: file.reason, "file")
    text, advice = f"left out: {_reasons(role['absent'])}", "Complete the audio, or correct the corpus's table."
    yield from _about("absent", "warning", role["absent"], text, advice, lambda file: file.reason)
    unlisted, uncovered = ([f for f in role["clip"] if f.origin == kind] for kind in ("unlisted", "uncovered"))
    text = "with a name of the release's form, but not in its list of files"
    advice = "Find out where they come from, or leave them out with corpus.exclude."
    yield from _about("unlisted", "warning", unlisted, text, advice)
    text = f"not in the packaged list, which has {official and official.part} only"
    advice = "It is unknown whether they are complete and original."
    yield from _about("uncovered", "note", uncovered, text, advice)
    repeated = _groups(role["clip"], lambda file: file.clip.id)
    if repeated:
        text = f"{_count(len(repeated), 'clip')} in more than one place."
        advice = "Loading refuses this; remove one of each (mirrors often contain a folder twice)."
        members = tuple((file.shown, file.clip.id) for group in repeated for file in group)
        yield Finding("doubled-clips", "error", text, advice, members)


def _readability(files: Sequence[AudioFile]) -> Iterator[Finding]:
    bad = [file for file in files if file.measured is not None and file.measured.error is not None]
    readable = sum(file.usable for file in files)
    text = f"of {len(files)} not readable as a recording (empty, truncated, not audio, or not finite)"
    advice = "Restore each from the source, or remove it; training stops at such a file."
    yield from _about("unreadable", "error", bad, text, advice, lambda file: file.measured.error, "file")
    if not readable:
        yield Finding("nothing-usable", "error", "No clip is readable.", "See the other errors.")
    elif not bad:
        yield Finding("readable", "ok", f"All {readable} clips can be decoded from end to end.")


def _originality(files: Sequence[AudioFile], official: Official | None) -> Iterator[Finding]:
    if official is None:
        return
    original, altered, encoded = (official.origins[kind] for kind in ("original", "altered", "re-encoded"))
    compared = original + altered + encoded
    if compared and original == compared:
        yield Finding("original", "ok", f"All {compared} clips found have the release's original bytes (sha256).")
    if encoded:
        text = f"{_count(encoded, 'file')} re-encoded in another format, which cannot be verified by hash."
        advice = "Report the source of the copy with results; resampled audio differs from the release's."
        yield Finding("re-encoded", "note", f"Not the original bytes: {text}", advice)
    level, advice = "warning", "Resampled, re-tagged or damaged; prefer the official download."
    if original:
        level, advice = "error", "Damaged in the download or edited since; fetch these again."
    text = f"of {compared} with other bytes than the release ({original} with the original bytes)"
    yield from _about("altered", level, [file for file in files if file.origin == "altered"], text, advice)


def _identical_audio(files: Sequence[AudioFile]) -> Iterator[Finding]:
    """Files with the same samples. Silent files have a finding already, and so do clips in two places."""
    compared = [f for f in files if f.role in ("clip", "unknown name") and f.decodable and not f.measured.silent]
    kinds: dict[str, list[list[AudioFile]]] = {"speakers": [], "labels": [], "names": []}
    for group in _groups(compared, lambda file: file.measured.content_hash):
        speakers = {file.clip.speaker for file in group if file.clip}
        labels = {file.clip.emotion for file in group if file.clip}
        kind = "speakers" if len(speakers) > 1 else "labels" if len(labels) > 1 else "names"
        if len({file.clip.id if file.clip else file.shown for file in group}) > 1:
            kinds[kind].append(group)
    for kind, code, level, advice in (
        ("speakers", "copies-across-speakers", "error", "A leak between training and test. " + _LISTEN),
        ("labels", "copies-across-labels", "error", _LISTEN),
        ("names", "copies", "warning", "Each counts twice; remove one, or leave it out with corpus.exclude."),
    ):
        if kinds[kind]:
            members = tuple(
                (file.shown, f"set {i}" + (f", {file.clip.speaker}, {file.clip.emotion}" if file.clip else ""))
                for i, group in enumerate(kinds[kind], 1)
                for file in group
            )
            text = f"{_count(len(kinds[kind]), 'set')} of files with identical audio under several {kind}."
            yield Finding(code, level, text, advice, members)


def _near_copies(pairs: Sequence[NearCopy]) -> Iterator[Finding]:
    members: dict[bool, list[tuple[str, str]]] = {False: [], True: []}
    for pair in pairs:
        first, second = pair.first.clip, pair.second.clip
        same = (first.speaker, first.emotion) == (second.speaker, second.emotion)
        overlap = f"{pair.overlap:.2f} s in common, {_percent(pair.bit_error_rate)} of the fingerprint's bits differ"
        members[same].append((pair.first.shown, f"and {pair.second.shown} ({overlap})"))
    text = "of clips with the same take (cut, re-encoded or at another level)"
    if members[False]:
        across = f"{_count(len(members[False]), 'pair')} {text} under different speakers or labels."
        yield Finding("near-copies-across", "warning", across, _LISTEN, tuple(members[False]))
    if members[True]:
        within = f"{_count(len(members[True]), 'pair')} {text}."
        yield Finding("near-copies", "note", within, _LISTEN, tuple(members[True]))


def _signals(clips: Sequence[AudioFile]) -> Iterator[Finding]:
    def where(concerned: Callable[[Measurement], bool]) -> list[AudioFile]:
        return [file for file in clips if concerned(file.measured)]

    text = f"silent (no sample reaches {20 * np.log10(SILENT_PEAK):.0f} dBFS)"
    silent = where(lambda m: m.silent)
    yield from _about("silent", "warning", silent, text, "Leave out with corpus.exclude.", lambda f: f.clip.emotion)
    clipped = sorted(where(lambda m: m.clipped_share > 0), key=lambda file: -file.measured.clipped_share)
    level = "warning" if len(clipped) > _CLIPPED_FILES * len(clips) else "note"
    most = clipped[0].measured.clipped_share if clipped else 0.0
    text = f"of {len(clips)} clipped: runs of 3 or more samples at full scale, at most {_percent(most, 2)} of a clip"
    advice = "Clipping cannot be undone; compare the labels and speakers concerned before using loudness as a cue."
    yield from _about("clipped", level, clipped, text, advice, lambda file: _percent(file.measured.clipped_share, 3))
    offset = where(lambda m: abs(m.dc_offset) > _DC_OFFSET)
    text = f"with a DC offset above {_percent(_DC_OFFSET)} of full scale"
    advice = "Harmless for normalized input; for log-mel features remove the mean or high-pass the audio."
    yield from _about("dc-offset", "note", offset, text, advice, lambda file: _percent(file.measured.dc_offset))
    advice = "Pooling over time includes silence; if you trim it, report that with results."
    text = f"with more than {_LONG_SILENCE:g} s of silence"
    before = where(lambda m: not m.silent and m.leading_silence > _LONG_SILENCE)
    remark = "{0.measured.leading_silence:.2f} s".format
    yield from _about("silence-before", "note", before, f"{text} before the speech", advice, remark)
    after = where(lambda m: not m.silent and m.trailing_silence > _LONG_SILENCE)
    remark = "{0.measured.trailing_silence:.2f} s".format
    yield from _about("silence-after", "note", after, f"{text} after the speech", advice, remark)
    remark = "{0.measured.duration:.2f} s".format
    short, long = where(lambda m: m.duration < _SHORT), where(lambda m: m.duration > _LONG)
    yield from _about("short", "note", short, f"shorter than {_SHORT:g} s", "Listen to them.", remark)
    advice = "Listen to them; audio.max_duration limits the length of training clips."
    yield from _about("long", "note", long, f"longer than {_LONG:g} s", advice, remark)


def _formats(clips: Sequence[AudioFile], files: Sequence[AudioFile]) -> Iterator[Finding]:
    advice = "All is resampled to one rate, but the bandwidth stays: check that no label or speaker has its own rate."
    text, rate = "with another sampling rate than most", "{0.measured.sampling_rate} Hz".format
    yield from _minority("sampling-rates", "warning", clips, text, advice, rate)
    advice = "Lossy or coarse coding of some clips can reveal a label or a speaker."
    coding = "{0.measured.format} {0.measured.subtype}".format
    yield from _minority("codings", "note", clips, "with another coding than most", advice, coding)
    several = [file for file in clips if file.measured.channels > 1]
    loss = max((file.measured.mix_loss or 0.0 for file in several), default=0.0)
    level, text, advice = "note", "with several channels, mixed to mono by the mean", "Report it with results."
    if loss > _MIX_LOSS:
        level, text = "warning", f"{text}, which cancels up to {loss:.1f} dB of the channels' power"
        advice = "Listen, and use one channel instead of the mix."
    yield from _about("channels", level, several, text, advice, "{0.measured.channels} channels".format)
    mismatched = [file for file in files if file.measured is not None and file.measured.honest_suffix is False]
    text = "with a suffix that does not match the format"
    advice = "They are read by their content; rename them for other tools."
    yield from _about("lying-suffix", "warning", mismatched, text, advice, "is {0.measured.format}".format, "file")


def _minority(
    code: str,
    level: Level,
    clips: Sequence[AudioFile],
    text: str,
    advice: str,
    value: Callable[[AudioFile], str],
) -> list[Finding]:
    """A finding about the clips whose value is not the most frequent one, with the number of clips of each value."""
    counts = Counter(map(value, clips))
    # Of equally frequent values the last by name, so that the order of files has no influence.
    usual = max(counts, key=lambda name: (counts[name], name), default=None)
    tally = ", ".join(f"{name}: {counts[name]}" for name in sorted(counts))
    return _about(code, level, [f for f in clips if value(f) != usual], f"{text} ({tally})", advice, value)


def _balance(clips: Sequence[AudioFile]) -> Iterator[Finding]:
    if not clips:
        return
    table = clip_table(clips)
    labels, counts = ordered_labels(table["label"]), table["label"].value_counts()
    if len(labels) < 2:
        yield Finding("one-label", "error", f"Every clip is {labels[0]}.", "A classifier needs at least two classes.")
    elif counts.max() > _IMBALANCE * counts.min():
        largest, smallest = max(labels, key=counts.get), min(labels, key=counts.get)
        yield Finding(
            "imbalance",
            "note",
            f"The largest class ({largest}, {counts.max()} clips) has {counts.max() / counts.min():.1f} times the "
            f"clips of the smallest ({smallest}, {counts.min()}).",
            "Report UAR, which weights classes equally; training.loss.class_weights: balanced may help.",
        )
    speakers = crosstable(table, "speaker")["rows"]
    if len(speakers) < _FEW_SPEAKERS:
        yield Finding(
            "few-speakers",
            "note",
            f"{_count(len(speakers), 'speaker')}: a speaker-independent test rests on very few voices.",
            "Expect wide intervals; cross-validate over the speakers.",
        )
    lacking = {speaker: row for speaker, row in speakers.items() if 0 in row}
    if lacking:
        first, row = next(iter(lacking.items()))
        missing = ", ".join(label for label, count in zip(labels, row, strict=True) if count == 0)
        yield Finding(
            "empty-cells",
            "note",
            f"{len(lacking)} of {_count(len(speakers), 'speaker')} without clips of some label (such as {first}: "
            f"{missing}).",
            "The speaker then predicts the label; see the table of labels by speaker.",
        )
    sexes = crosstable(table, "sex")
    if sexes is not None and len(sexes["rows"]) > 1:
        for sex, row in sexes["rows"].items():
            alone = [label for label, a, b in zip(labels, row, sexes["total"], strict=True) if a == b]
            if alone and sex != "not stated":
                text = f"Only {sex} speakers have clips of: {', '.join(alone)}."
                yield Finding("one-sex", "warning", text, "Sex then predicts the label; evaluate by sex as well.")


def _leaks(clips: Sequence[AudioFile]) -> Iterator[Finding]:
    """Properties of the recording that reveal the label or the speaker."""
    table = clip_table(clips)
    enough = len(clips) >= _CLIPS_PER_LABEL * table["label"].nunique()
    for measure, words in _RECORDING_MEASURES.items() if enough else ():
        share = explained_variance(table, measure, "label")
        if share is not None and share >= _EXPLAINED:
            yield Finding(
                f"label-leak-{measure.replace('_', '-')}",
                "note",
                f"The label explains {_percent(share)} of the variance of {words}.",
                "A model may learn the recording instead of the voice; compare with a model of this feature alone.",
            )
    medians = table.groupby("speaker")["loudness"].median().dropna()
    if len(medians) > 1 and medians.max() - medians.min() >= _SPEAKER_SPREAD:
        low, high = medians.idxmin(), medians.idxmax()
        yield Finding(
            "speaker-loudness",
            "note",
            f"The median loudness of the speakers spans {medians[high] - medians[low]:.1f} LU, from "
            f"{medians[low]:.1f} ({low}) to {medians[high]:.1f} LUFS ({high}).",
            "The level then identifies speakers; normalizing each clip removes that, and loudness as a cue.",
        )


def _groups(files: Sequence[AudioFile], key: Callable[[AudioFile], Any]) -> list[list[AudioFile]]:
    """The groups of at least two files with the same key, in order of their first file."""
    groups: dict[Any, list[AudioFile]] = {}
    for file in files:
        groups.setdefault(key(file), []).append(file)
    return [group for group in groups.values() if len(group) > 1]


def _about(
    code: str,
    level: Level,
    files: Sequence[AudioFile],
    text: str,
    advice: str,
    remark: Callable[[AudioFile], str] = lambda file: "",
    noun: str = "clip",
) -> list[Finding]:
    """A finding about `files`, which begins with their number; nothing if there are none."""
    members = tuple((file.shown, remark(file)) for file in files)
    return [Finding(code, level, f"{_count(len(files), noun)} {text}.", advice, members)] if files else []


def _reasons(files: Sequence[AudioFile]) -> str:
    counts = Counter(file.reason for file in files).most_common()
    named = [f"{reason} ({count})" for reason, count in counts[:_REASONS_LISTED]]
    return "; ".join(named + ["..."] * (len(counts) > _REASONS_LISTED))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"
