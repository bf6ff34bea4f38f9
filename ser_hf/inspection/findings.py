"""Findings about a corpus, each a sentence with numbers, a level and advice, and the inspection
that collects them.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from ..audio import open_store
from ..audio.near_duplicates import NearDuplicate, near_duplicates
from ..corpora import CORPORA, corpus_facts
from ..corpora.verify import ReleaseCheck, check_release, release_of
from ..evaluation.slices import explained_variance
from ..report.views import counted, listed
from ..utils.errors import UserError
from .measure import (
    MEASURES,
    ROLES,
    AudioFile,
    Measurement,
    clip_table,
    crosstable,
    describe,
    find_files,
    measure_files,
    ordered_labels,
    printable_path,
)

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")
FORMAT = 3
# Recipes prepare audio at this rate by default, so that the first training finds the waveforms
# stored here.
_STORE_RATE = 16000
_SHORTEST_STORED = 0.1
# Thresholds of the findings: seconds, clips, speakers, shares.
_LONG_SILENCE = 1.0
_SPEAKER_SPREAD = 10.0  # LU
_SHORT = 0.3
_LONG = 30.0
_IMBALANCE = 1.5
_FEW_SPEAKERS = 10
_EXPLAINED = 0.2
_CLIPS_PER_LABEL = 10  # with fewer, what a label explains is mostly chance
_LISTEN = "Listen to them, then leave the wrong one out with corpus.exclude."
# Properties of the recording rather than of the voice.
_RECORDING = ("floor", "leading_silence", "trailing_silence")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One finding. `code` is stable; `files` are the paths concerned, each with a remark or an
    empty string.
    """

    code: str
    level: Level
    text: str
    advice: str = ""
    files: tuple[tuple[str, str], ...] = ()


# Two files with the same take, and how their audio is related.
NearCopy = tuple[AudioFile, AudioFile, NearDuplicate]


@dataclasses.dataclass(frozen=True)
class Inspection:
    """The result of `inspect_corpus`.

    Attributes:
        facts: `ser_hf.corpora.corpus_facts`.
        files: every audio file, sorted by path.
    """

    name: str
    root: str | None
    options: dict[str, Any]
    facts: dict[str, Any]
    files: list[AudioFile]
    near_copies: list[NearCopy]
    findings: list[Finding]

    def __repr__(self) -> str:
        return f"Inspection({self.name}, {len(self.files)} files; {verdict(self.findings)[1]})"

    @property
    def clips(self) -> list[AudioFile]:
        """The usable clips: of the corpus, and decodable."""
        return [file for file in self.files if file.usable]

    def to_dict(self) -> dict[str, Any]:
        """The content of `inspect.json`: stable keys, no NaN."""
        level, text = verdict(self.findings)
        clips, table = self.clips, clip_table(self.clips)
        copies = [
            vars(pair) | {"first": first.shown, "second": second.shown}
            for first, second, pair in self.near_copies
        ]
        return {
            "format": FORMAT,
            "corpus": self.facts,
            "root": self.root,
            "options": self.options,
            "verdict": {"level": level, "text": text},
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "counts": {
                "files": len(self.files),
                "roles": {role: sum(file.role == role for file in self.files) for role in ROLES},
                "readable_clips": len(clips),
                "speakers": table["speaker"].nunique(),
                "labels": table["label"].nunique(),
                "hours": sum(file.measured.duration for file in clips) / 3600,
            },
            "near_copies": copies,
            "measures": {
                name: {"unit": unit, "meaning": meaning}
                for name, (unit, meaning) in MEASURES.items()
            },
            "distributions": describe(table),
            "explained": {
                measure: explained_variance(table, measure, "label") for measure in MEASURES
            },
            "tables": {
                f"label_by_{name}": crosstable(table, name)
                for name in ("speaker", "sex", "intensity")
            },
            "files": [_file_facts(file) for file in self.files],
        }


def inspect_corpus(
    name: str, root: str | Path | None = None, *, cache_dir: str | None = None, **options: Any
) -> Inspection:
    """Measure every audio file of a corpus; bad files are findings, never exceptions.

    Example: `ser_hf.inspect_corpus("emodb", "data/EMO-DB").findings`

    Args:
        name: a key of `ser_hf.corpora.CORPORA`.
        root: the folder of the audio (of ``csv`` the table).
        cache_dir: of the waveform store (default: see `ser_hf.utils.cache.cache_root`), into which
            all clips are decoded, 64 kB a second, to find those with the same take cut, re-encoded
            or at another level.
        options: of the corpus.

    Returns:
        The measurements of every file, and the findings.

    Raises:
        UserError: for an unknown corpus, a missing folder, a folder without audio.
    """
    if name not in CORPORA:
        raise UserError(f"corpus.name: unknown corpus {name!r}; choose one of {', '.join(CORPORA)}")
    files = measure_files(find_files(name, root, options))
    has_list = release_of(name).files is not None
    release = check_release(name, root) if has_list else None
    copies = _search_near_copies(files, cache_dir)
    facts = corpus_facts(name, options)
    findings = find(files, release, copies, facts["title"])
    shown = None if root is None else printable_path(str(root), None)
    return Inspection(name, shown, options, facts, files, copies, findings)


def find(
    files: Sequence[AudioFile],
    release: ReleaseCheck | None,
    near_copies: Sequence[NearCopy],
    title: str,
) -> list[Finding]:
    """All findings, the most serious first; `release` is None for a corpus without a packaged list
    of its files.
    """
    clips = [file for file in files if file.usable]
    found = [
        *_release(release),
        *_names(files, title),
        *_readability(files),
        *_identical_audio(files),
        *_near_copies(near_copies),
        *_signals(clips),
        *_balance(clips),
        *_leaks(clips),
    ]
    return sorted(found, key=lambda finding: -LEVELS.index(finding.level))


def verdict(findings: Sequence[Finding]) -> tuple[Level, str]:
    """The most serious level, and one sentence."""
    counts = Counter(finding.level for finding in findings)
    level = max(counts, key=LEVELS.index)
    ready = {"error": "Not ready for training", "warning": "Usable for training"}.get(
        level, "Ready for training"
    )
    remarks = [counted(counts[one], one) for one in ("error", "warning", "note") if counts[one]]
    return level, f"{ready}: {listed(remarks) or 'no remarks'}."


def _search_near_copies(files: Sequence[AudioFile], cache_dir: str | None) -> list[NearCopy]:
    # In the order of a dataset's rows, so that training on this corpus finds the same store.
    clips = sorted(
        (file for file in files if file.usable and file.measured.duration >= _SHORTEST_STORED),
        key=lambda file: file.clip.id,
    )
    if len(clips) < 2:
        return []
    store = open_store(
        [{"path": file.path, "bytes": None} for file in clips], _STORE_RATE, cache_dir
    )
    pairs = [(clips[pair.first], clips[pair.second], pair) for pair in near_duplicates(store)]
    return [own for own in pairs if own[0].measured.content_hash != own[1].measured.content_hash]


def _file_facts(file: AudioFile) -> dict[str, Any]:
    facts = {"path": file.shown, "role": file.role, "reason": file.reason}
    facts |= {
        key: getattr(file.clip, key, None)
        for key in ("id", "emotion", "speaker", "sex", "intensity")
    }
    return facts | dataclasses.asdict(file.measured or Measurement())


def _release(release: ReleaseCheck | None) -> Iterator[Finding]:
    if release is not None and release.complete:
        yield Finding(
            "release", "ok", "All files of the release are present, with its bytes (sha256)."
        )
    elif release is not None:
        missing = counted(len(release.missing), "file")
        text = f"{missing} of the release missing, {len(release.altered):,} with other bytes."
        advice = "Results on a part or a converted copy of a corpus are not comparable with published figures."
        altered = [printable_path(str(path), release.folder) for path in release.altered]
        files = [(entry.path, "missing") for entry in release.missing] + [
            (path, "other bytes") for path in altered
        ]
        yield Finding("release", "warning", text, advice, tuple(files))


def _names(files: Sequence[AudioFile], title: str) -> Iterator[Finding]:
    role = {role: [file for file in files if file.role == role] for role in ROLES}
    advice = "Loading stops at such a name; remove the files, or set corpus.on_unknown: skip."
    text = f"with a name that {title} does not use"
    yield from _about(
        "unknown-names", "warning", role["unknown name"], text, advice, noun="audio file"
    )
    text = "left out by the corpus's own rules"
    yield from _about(
        "left-out", "note", role["left out"], text, "", lambda file: file.reason, "file"
    )
    advice = "Complete the audio, or correct the corpus's table."
    yield from _about(
        "absent", "warning", role["absent"], "without audio", advice, lambda file: file.reason
    )
    repeated = [
        file for group in _groups(role["clip"], lambda file: file.clip.id) for file in group
    ]
    advice = "Loading refuses this; remove one of each (mirrors often contain a folder twice)."
    text = "of a clip that is in more than one place"
    yield from _about(
        "doubled-clips", "error", repeated, text, advice, lambda file: file.clip.id, "file"
    )


def _readability(files: Sequence[AudioFile]) -> Iterator[Finding]:
    bad = [file for file in files if file.measured is not None and file.measured.error is not None]
    readable = sum(file.usable for file in files)
    text = (
        f"of {len(files)} not readable as a recording (empty, truncated, not audio, or not finite)"
    )
    advice = "Restore each from the source, or remove it; training stops at such a file."
    yield from _about(
        "unreadable", "error", bad, text, advice, lambda file: file.measured.error, "file"
    )
    if not readable:
        yield Finding("nothing-usable", "error", "No clip is readable.", "See the other errors.")
    elif not bad:
        yield Finding("readable", "ok", f"All {readable} clips can be decoded from end to end.")


def _identical_audio(files: Sequence[AudioFile]) -> Iterator[Finding]:
    """Files with the same samples. Silent files have a finding already, and so do clips in two
    places.
    """
    compared = [
        f
        for f in files
        if f.role in ("clip", "unknown name") and f.measured and f.measured.silent is False
    ]
    copies: dict[bool, list[AudioFile]] = {False: [], True: []}
    for group in _groups(compared, lambda file: file.measured.content_hash):
        if len({file.clip.id if file.clip else file.shown for file in group}) > 1:
            across = (
                len({(file.clip.speaker, file.clip.emotion) for file in group if file.clip}) > 1
            )
            copies[across] += group
    text = "with identical audio under several"

    def remark(file: AudioFile) -> str:
        return f"hash {file.measured.content_hash[:8]}"

    advice = "A leak between training and test, or a wrong label. " + _LISTEN
    yield from _about(
        "copies-across", "error", copies[True], f"{text} speakers or labels", advice, remark, "file"
    )
    advice = "Each counts twice; remove one, or leave it out with corpus.exclude."
    yield from _about("copies", "warning", copies[False], f"{text} names", advice, remark, "file")


def _near_copies(pairs: Sequence[NearCopy]) -> Iterator[Finding]:
    text = "of clips with the same take (cut, re-encoded or at another level)"
    for across, code, level in (
        (True, "near-copies-across", "warning"),
        (False, "near-copies", "note"),
    ):
        files = tuple(
            (first.shown, f"and {second.shown} ({pair.overlap:.2f} s in common)")
            for first, second, pair in pairs
            if across
            is (
                (first.clip.speaker, first.clip.emotion)
                != (second.clip.speaker, second.clip.emotion)
            )
        )
        if files:
            where = " under different speakers or labels" * across
            yield Finding(
                code, level, f"{counted(len(files), 'pair')} {text}{where}.", _LISTEN, files
            )


def _signals(clips: Sequence[AudioFile]) -> Iterator[Finding]:
    def where(concerned: Callable[[Measurement], bool]) -> list[AudioFile]:
        return [file for file in clips if concerned(file.measured)]

    advice = "Leave out with corpus.exclude."
    silent = where(lambda m: m.silent)
    text = "silent (no sample reaches -60 dBFS)"
    yield from _about("silent", "warning", silent, text, advice, lambda file: file.clip.emotion)
    clipped = where(lambda m: m.clipped_share > 0)
    text = f"of {len(clips)} clipped: runs of 3 or more samples at full scale"
    advice = "Clipping cannot be undone; compare the labels and speakers concerned before using loudness as a cue."
    yield from _about(
        "clipped",
        "warning",
        clipped,
        text,
        advice,
        lambda file: f"{file.measured.clipped_share:.3%}",
    )
    quiet = where(
        lambda m: not m.silent and max(m.leading_silence, m.trailing_silence) > _LONG_SILENCE
    )
    text = f"with more than {_LONG_SILENCE:g} s of silence before or after the speech"
    advice = "Pooling over time includes silence; if you trim it, report that with results."
    remark = "{0.measured.leading_silence:.2f} s before, {0.measured.trailing_silence:.2f} s after".format
    yield from _about("silence", "note", quiet, text, advice, remark)
    remark = "{0.measured.duration:.2f} s".format
    odd = where(lambda m: not _SHORT <= m.duration <= _LONG)
    advice = "Listen to them; audio.max_duration limits the length of training clips."
    yield from _about(
        "duration",
        "note",
        odd,
        f"shorter than {_SHORT:g} s or longer than {_LONG:g} s",
        advice,
        remark,
    )
    rates = Counter(file.measured.sampling_rate for file in clips)
    usual = max(rates, key=lambda rate: (rates[rate], rate), default=None)
    tally = ", ".join(f"{rate} Hz: {rates[rate]}" for rate in sorted(rates))
    advice = "All is resampled to one rate, but the bandwidth stays: check that no label or speaker has its own rate."
    text = f"with another sampling rate than most ({tally})"
    other = where(lambda m: m.sampling_rate != usual)
    yield from _about(
        "sampling-rates", "warning", other, text, advice, "{0.measured.sampling_rate} Hz".format
    )


def _balance(clips: Sequence[AudioFile]) -> Iterator[Finding]:
    if not clips:
        return
    table = clip_table(clips)
    labels = ordered_labels(table["label"])
    counts = table["label"].value_counts()
    if len(labels) < 2:
        yield Finding(
            "one-label",
            "error",
            f"Every clip is {labels[0]}.",
            "A classifier needs at least two classes.",
        )
    elif counts.max() > _IMBALANCE * counts.min():
        largest = max(labels, key=counts.get)
        smallest = min(labels, key=counts.get)
        text = f"The largest class ({largest}, {counts.max()} clips) has {counts.max() / counts.min():.1f} times the "
        text += f"clips of the smallest ({smallest}, {counts.min()})."
        advice = "Report UAR, which weights classes equally; training.loss.class_weights: balanced may help."
        yield Finding("imbalance", "note", text, advice)
    speakers = crosstable(table, "speaker")["rows"]
    if len(speakers) < _FEW_SPEAKERS:
        text = f"{counted(len(speakers), 'speaker')}: a speaker-independent test rests on very few voices."
        yield Finding(
            "few-speakers", "note", text, "Expect wide intervals; cross-validate over the speakers."
        )
    lacking = {speaker: row for speaker, row in speakers.items() if 0 in row}
    if lacking:
        text = f"{len(lacking)} of {counted(len(speakers), 'speaker')} without clips of some label."
        advice = "The speaker then predicts the label; see the table of labels by speaker."
        yield Finding(
            "empty-cells", "note", text, advice, tuple((speaker, "") for speaker in lacking)
        )


def _leaks(clips: Sequence[AudioFile]) -> Iterator[Finding]:
    """Properties of the recording that reveal the label or the speaker."""
    table = clip_table(clips)
    enough = len(clips) >= _CLIPS_PER_LABEL * table["label"].nunique()
    advice = "A model may learn the recording instead of the voice; compare with a model of this feature alone."
    for measure in _RECORDING if enough else ():
        share = explained_variance(table, measure, "label")
        if share is not None and share >= _EXPLAINED:
            text = f"The label explains {share:.0%} of the variance of the {MEASURES[measure][1]}."
            yield Finding(f"label-leak-{measure.replace('_', '-')}", "note", text, advice)
    medians = table.groupby("speaker")["loudness"].median().dropna()
    if len(medians) > 1 and medians.max() - medians.min() >= _SPEAKER_SPREAD:
        text = f"The median loudness of the speakers spans {medians.max() - medians.min():.1f} LU, from "
        text += f"{medians.min():.1f} ({medians.idxmin()}) to {medians.max():.1f} LUFS ({medians.idxmax()})."
        yield Finding(
            "speaker-loudness",
            "note",
            text,
            "The level identifies speakers; audio.level removes that.",
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
    return (
        [Finding(code, level, f"{counted(len(files), noun)} {text}.", advice, members)]
        if files
        else []
    )
