"""All findings about a corpus: about its files and rows, its clips, and their balance."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..audio.near_duplicates import NearDuplicate
from ..audio.remarks import PHRASES, RemarkKind, silent_class_sentence, silent_classes, total
from ..corpora.verify import ReleaseCheck
from ..report.views import counted, listed
from .balance import balance_findings, leak_findings
from .finding import LEVELS, Finding, Level, about
from .measure import (
    AudioFile,
    Measurement,
    printable_path,
)

# Thresholds of the findings.
_LONG_SILENCE = 1.0  # s
_SHORT = 0.3  # s
_LONG = 30.0  # s
_REASONS = 5  # in one sentence

# Remarks about files, with the level of their finding and the advice. Silence and duration have
# findings of their own.
_COPY_AGAIN = "Copy them again from the source, or listen to their ends."
_REMARKS: dict[RemarkKind, tuple[Level, str]] = {
    RemarkKind.NO_LENGTH: (
        "note",
        "A recorder that was stopped, or a program that wrote to a pipe, leaves such a header.",
    ),
    RemarkKind.OTHER_LENGTH: ("warning", _COPY_AGAIN),
    RemarkKind.JOINED: (
        "warning",
        "Listen to them: a clip has one label and one speaker. Divide them if they have several.",
    ),
    RemarkKind.NO_END: ("warning", _COPY_AGAIN),
    RemarkKind.SKIPPED_BYTES: ("warning", _COPY_AGAIN),
    RemarkKind.CANCELLING_CHANNELS: (
        "warning",
        "One channel is the negative of the other, as by a swapped wire; other programs that mix "
        "them get silence.",
    ),
}

_LISTEN = "Listen to them, then leave the wrong one out with corpus.exclude."


@dataclasses.dataclass(frozen=True)
class NearCopy:
    """Two files with the same take, and how their audio is related."""

    first: AudioFile
    second: AudioFile
    match: NearDuplicate

    @property
    def across(self) -> bool:
        """Whether the files have different speakers or labels."""
        return _speaker_and_label(self.first) != _speaker_and_label(self.second)

    def to_dict(self) -> dict[str, Any]:
        """The pair in `inspect.json`."""
        return {
            "first": self.first.shown,
            "second": self.second.shown,
            "overlap": self.match.overlap,
            "bit_error_rate": self.match.bit_error_rate,
        }


def find(
    files: Sequence[AudioFile],
    release: ReleaseCheck | None,
    near_copies: Sequence[NearCopy],
    title: str,
    *,
    refused: str | None = None,
    notes: Sequence[str] = (),
    accounts: Sequence[str] = (),
) -> list[Finding]:
    """Compute all findings, the most serious first.

    Args:
        release: comparison of the files with the published release; None if this package has no
            list of the files of the release.
        title: title of the corpus.
        refused: the error with which training refuses the corpus; None if it reads the corpus.
        notes: sentences about the tables and speakers of the corpus.
        accounts: the lines of its tables by their use.
    """
    clips = [file for file in files if file.usable]
    findings = [
        *_refused(refused),
        *_release(release),
        *_names(files, title),
        *_rows(files),
        *_tables(notes, accounts),
        *_readability(files),
        *_remarks(clips),
        *_identical_audio(files),
        *_near_copies(near_copies),
        *_levels(clips),
        *_lengths(clips),
        *_sampling_rates(clips),
        *balance_findings(clips),
        *leak_findings(clips),
    ]
    return sorted(findings, key=lambda finding: -LEVELS.index(finding.level))


def verdict(findings: Sequence[Finding]) -> tuple[Level, str]:
    """The most serious level, and a sentence about all findings."""
    counts = Counter(finding.level for finding in findings)
    most_serious = max(counts, key=LEVELS.index)
    readiness = "Ready for training"
    if most_serious == "error":
        readiness = "Not ready for training"
    elif most_serious == "warning":
        readiness = "Usable for training"

    remarks = []
    for level in ("error", "warning", "note"):
        if counts[level]:
            remarks.append(counted(counts[level], level))
    return most_serious, f"{readiness}: {listed(remarks) or 'no remarks'}."


def _refused(message: str | None) -> Iterator[Finding]:
    """The error at which training stops before it decodes any audio."""
    if message is not None:
        yield Finding("refused", "error", f"Training stops here: {message}.".replace("..", "."))


def _tables(notes: Sequence[str], accounts: Sequence[str]) -> Iterator[Finding]:
    """What the reader of the corpus has noted, such as a speaker with two spellings."""
    for account in accounts:
        yield Finding("lines", "ok", f"{account}.")
    for note in notes:
        yield Finding("reading", "warning", note)


def _release(release: ReleaseCheck | None) -> Iterator[Finding]:
    """Findings about the comparison with the files of the release."""
    if release is None:
        return
    for entry in release.missing_tables:
        yield Finding(
            "missing-table",
            "note",
            f"The release's table {entry.path} is missing.",
            f"`ser-hf download {release.name} DIR` fetches it. No audio depends on it.",
        )
    if release.complete:
        text = "All files of the release are present, with its bytes (sha256)."
        yield Finding("release", "ok", text)
        return

    missing = counted(len(release.missing), "file")
    files = [(entry.path, "missing") for entry in release.missing]
    for path in release.altered:
        files.append((printable_path(str(path), release.folder), "other bytes"))
    yield Finding(
        "release",
        "warning",
        f"{missing} of the release missing, {len(release.altered):,} with other bytes.",
        "Results on a part or a converted copy of a corpus are not comparable with published "
        "figures.",
        tuple(files),
    )


def _names(files: Sequence[AudioFile], title: str) -> Iterator[Finding]:
    """Findings about file names, and about clips in more than one folder."""
    clips = _with_role(files, "clip")
    repeated = []
    for group in _groups(clips, lambda file: file.clip.id):
        repeated += group

    yield from about(
        _with_role(files, "unknown name"),
        f"with a name that {title} does not use",
        code="unknown-names",
        level="warning",
        advice="Loading stops at such a name; remove the files, or set corpus.on_unknown: skip.",
        noun="audio file",
    )
    yield from about(
        _with_role(files, "left out"),
        "left out by the corpus's own rules",
        code="left-out",
        level="note",
        remark=_reason_of,
        noun="file",
    )
    yield from about(
        _with_role(files, "copy"),
        "equal, byte for byte, to another file of the same clip",
        code="equal-copies",
        level="note",
        advice="Each clip is read once. Mirrors often contain a folder twice.",
        remark=lambda file: file.clip.id if file.clip else "",
        noun="file",
    )
    yield from about(
        repeated,
        "of a clip that is in more than one place, with different content",
        code="doubled-clips",
        level="error",
        advice="Loading refuses this; remove one of each.",
        remark=lambda file: file.clip.id,
        noun="file",
    )


def _rows(files: Sequence[AudioFile]) -> Iterator[Finding]:
    """Findings about rows of tables, and files in folders, that are not clips."""
    yield from about(
        _with_role(files, "absent"),
        "without audio",
        code="absent",
        level="warning",
        advice="Complete the audio, or correct the corpus's table.",
        remark=_reason_of,
    )
    unlabeled = _with_role(files, "unknown label")
    yield from about(
        unlabeled,
        f"without a known emotion ({_tally(unlabeled)})",
        code="unknown-labels",
        level="warning",
        advice="Map each label with corpus.label_map, or list it in corpus.custom_labels.",
        remark=_reason_of,
    )
    yield from about(
        _with_role(files, "unknown speaker"),
        "without a speaker",
        code="unknown-speakers",
        level="warning",
        advice="Name the column with corpus.speaker, or give a corpus.speaker_pattern.",
        remark=_reason_of,
    )


def _tally(files: Sequence[AudioFile]) -> str:
    """The most frequent reasons of files, with their numbers."""
    reasons = Counter(file.reason for file in files).most_common()
    listed = [f"{reason}: {count}" for reason, count in reasons[:_REASONS]]
    if len(reasons) > _REASONS:
        listed.append(f"{len(reasons) - _REASONS} more")
    return ", ".join(listed)


def _readability(files: Sequence[AudioFile]) -> Iterator[Finding]:
    """Findings about files that cannot be decoded."""
    bad = [file for file in files if file.measured is not None and file.measured.error is not None]
    readable = sum(file.usable for file in files)
    yield from about(
        bad,
        f"of {len(files)} not readable as a recording (empty, truncated, not audio, or not finite)",
        code="unreadable",
        level="error",
        advice="Restore each from the source, or remove it; training stops at such a file.",
        remark=lambda file: file.measured.error,
        noun="file",
    )
    if not readable:
        yield Finding("nothing-usable", "error", "No clip is readable.", "See the other findings.")
    elif not bad:
        yield Finding("readable", "ok", f"All {readable} clips can be decoded from end to end.")


def _remarks(clips: Sequence[AudioFile]) -> Iterator[Finding]:
    """Findings about files whose header differs from their content, and about their channels."""
    for kind, (level, advice) in _REMARKS.items():
        yield from about(
            [file for file in clips if total(file.measured.remarks) & kind],
            PHRASES[kind],
            code=kind.name.lower().replace("_", "-"),
            level=level,
            advice=advice,
            remark=_detail_of(kind),
        )


def _identical_audio(files: Sequence[AudioFile]) -> Iterator[Finding]:
    """Findings about files with the same samples.

    Silent files and clips in two folders are left out, because they have other findings.
    """
    compared = []
    for file in files:
        named = file.role in ("clip", "unknown name")
        if named and file.measured and file.measured.silent is False:
            compared.append(file)

    within: list[AudioFile] = []
    across: list[AudioFile] = []
    for group in _groups(compared, lambda file: file.measured.content_hash):
        names = {file.clip.id if file.clip else file.shown for file in group}
        if len(names) < 2:
            continue
        if len({_speaker_and_label(file) for file in group if file.clip}) > 1:
            across += group
        else:
            within += group

    yield from about(
        across,
        "with identical audio under several speakers or labels",
        code="copies-across",
        level="error",
        advice="A leak between training and test, or a wrong label. " + _LISTEN,
        remark=_hash_of,
        noun="file",
    )
    yield from about(
        within,
        "with identical audio under several names",
        code="copies",
        level="warning",
        advice="Each counts twice; remove one, or leave it out with corpus.exclude.",
        remark=_hash_of,
        noun="file",
    )


def _near_copies(pairs: Sequence[NearCopy]) -> Iterator[Finding]:
    """Findings about files with the same take."""
    text = "of clips with the same take (cut, re-encoded or at another level)"
    across = _pairs_of_files([pair for pair in pairs if pair.across])
    if across:
        count = counted(len(across), "pair")
        sentence = f"{count} {text} under different speakers or labels."
        yield Finding("near-copies-across", "warning", sentence, _LISTEN, across, "pair")

    within = _pairs_of_files([pair for pair in pairs if not pair.across])
    if within:
        sentence = f"{counted(len(within), 'pair')} {text}."
        yield Finding("near-copies", "note", sentence, _LISTEN, within, "pair")


def _pairs_of_files(pairs: Sequence[NearCopy]) -> tuple[tuple[str, str], ...]:
    """The first file of each pair, with a remark about the second."""
    return tuple(
        (pair.first.shown, f"and {pair.second.shown} ({pair.match.overlap:.2f} s in common)")
        for pair in pairs
    )


def _levels(clips: Sequence[AudioFile]) -> Iterator[Finding]:
    """Findings about silent and clipped clips."""
    yield from about(
        _where(clips, lambda measured: measured.silent),
        PHRASES[RemarkKind.SILENT],
        code="silent",
        level="warning",
        advice="Leave out with corpus.exclude.",
        remark=lambda file: file.clip.emotion,
    )
    labels = [file.clip.emotion for file in clips]
    for label in silent_classes(labels, [bool(file.measured.silent) for file in clips]):
        yield Finding(
            "silent-class",
            "warning",
            silent_class_sentence(label),
            "Check the recordings of this class, or drop it with corpus.drop.",
        )
    yield from about(
        _where(clips, lambda measured: measured.clipped_share > 0),
        f"of {len(clips)} clipped: runs of 3 or more samples at full scale",
        code="clipped",
        level="warning",
        advice="Clipping cannot be undone; compare the labels and speakers concerned before using "
        "loudness as a cue.",
        remark=lambda file: f"{file.measured.clipped_share:.3%}",
    )


def _lengths(clips: Sequence[AudioFile]) -> Iterator[Finding]:
    """Findings about long silence, and about short and long clips."""

    def has_long_silence(measured: Measurement) -> bool:
        longest = max(measured.leading_silence, measured.trailing_silence)
        return not measured.silent and longest > _LONG_SILENCE

    def silence_of(file: AudioFile) -> str:
        measured = file.measured
        return f"{measured.leading_silence:.2f} s before, {measured.trailing_silence:.2f} s after"

    yield from about(
        _where(clips, has_long_silence),
        f"with more than {_LONG_SILENCE:g} s of silence before or after the speech",
        code="silence",
        level="note",
        advice="Pooling over time includes silence; if you trim it, report that with results.",
        remark=silence_of,
    )
    yield from about(
        _where(clips, lambda measured: not _SHORT <= measured.duration <= _LONG),
        f"shorter than {_SHORT:g} s or longer than {_LONG:g} s",
        code="duration",
        level="note",
        advice="Listen to them; audio.max_duration limits the length of training clips.",
        remark=lambda file: f"{file.measured.duration:.2f} s",
    )


def _sampling_rates(clips: Sequence[AudioFile]) -> Iterator[Finding]:
    """Findings about clips with another sampling rate than most clips."""
    rates = Counter(file.measured.sampling_rate for file in clips)
    # If two rates are equally frequent, the higher rate counts as usual.
    usual = max(rates, key=lambda rate: (rates[rate], rate), default=None)
    tally = ", ".join(f"{rate} Hz: {rates[rate]}" for rate in sorted(rates))
    yield from about(
        _where(clips, lambda measured: measured.sampling_rate != usual),
        f"with another sampling rate than most ({tally})",
        code="sampling-rates",
        level="warning",
        advice="All is resampled to one rate, but the bandwidth stays: check that no label or "
        "speaker has its own rate.",
        remark=lambda file: f"{file.measured.sampling_rate} Hz",
    )


def _with_role(files: Sequence[AudioFile], role: str) -> list[AudioFile]:
    return [file for file in files if file.role == role]


def _where(clips: Sequence[AudioFile], condition: Callable[[Measurement], bool]) -> list[AudioFile]:
    """The clips whose measures meet a condition."""
    return [file for file in clips if condition(file.measured)]


def _groups(files: Sequence[AudioFile], key: Callable[[AudioFile], Any]) -> list[list[AudioFile]]:
    """The groups of at least two files with the same key, in the order of their first files."""
    groups: dict[Any, list[AudioFile]] = {}
    for file in files:
        groups.setdefault(key(file), []).append(file)
    return [group for group in groups.values() if len(group) > 1]


def _speaker_and_label(file: AudioFile) -> tuple[str, str]:
    return file.clip.speaker, file.clip.emotion


def _reason_of(file: AudioFile) -> str:
    return file.reason


def _detail_of(kind: RemarkKind) -> Callable[[AudioFile], str]:
    """A function that returns the detail of a file's remark of a kind."""

    def detail(file: AudioFile) -> str:
        return "; ".join(remark.detail for remark in file.measured.remarks if remark.kind == kind)

    return detail


def _hash_of(file: AudioFile) -> str:
    return f"hash {file.measured.content_hash[:8]}"
