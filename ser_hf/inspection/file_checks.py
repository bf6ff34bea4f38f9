"""Findings about the files: complete, readable, original, each once."""

from collections import Counter
from collections.abc import Iterator, Sequence

from .finding import Finding, Level, count, listed, percent
from .official import Official
from .tables import NearCopy, Row, repeated

_REASONS_TOLD = 4


def completeness(rows: Sequence[Row], official: Official | None, title: str) -> Iterator[Finding]:
    """What is missing of the release, what is not among the clips and why, what stands twice."""
    if official is not None and not official.missing:
        yield Finding("complete", "ok", f"Every one of the {official.clips} clips of the release is there.")
    elif official is not None:
        share = len(official.missing) / official.clips
        yield Finding(
            "missing",
            "warning",
            f"{len(official.missing)} of the release's {official.clips} clips are missing ({percent(share)}).",
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
            listed(pointers),
        )
    unknown = [row for row in rows if row.file.role == "unknown name"]
    if unknown:
        yield Finding(
            "unknown-names",
            "warning",
            f"{count(len(unknown), 'audio file')} not named as {title} names its clips.",
            "Loading stops at such a name; remove the files, or set corpus.on_unknown: skip.",
            listed(unknown),
        )
    left_out = [row for row in rows if row.file.role == "left out"]
    if left_out:
        text = f"{count(len(left_out), 'file')} left out by the corpus's own rules: {_reasons(left_out)}."
        yield Finding("left-out", "note", text, "", listed(left_out, _reason))
    absent = [row for row in rows if row.file.role == "absent"]
    if absent:
        text = f"{count(len(absent), 'clip')} of the corpus's tables left out: {_reasons(absent)}."
        yield Finding("absent", "warning", text, "Complete the audio, or correct the table.", listed(absent, _reason))
    if official is not None:
        unlisted = [row for row in rows if row.origin == "unlisted" and row.file.role == "clip"]
        if unlisted:
            text = f"{count(len(unlisted), 'clip')} named like the release's, but not in its list of files."
            advice = "Find out where they come from, or leave them out with corpus.exclude."
            yield Finding("unlisted", "warning", text, advice, listed(unlisted))
        uncovered = [row for row in rows if row.origin == "uncovered" and row.file.role == "clip"]
        if uncovered:
            text = f"{count(len(uncovered), 'clip')} not in the packaged list, which has {official.part} only."
            advice = "Whether they are complete and have the release's bytes is not known here."
            yield Finding("uncovered", "note", text, advice, listed(uncovered))
    doubled = repeated([row for row in rows if row.file.role == "clip"], lambda row: row.clip.id)
    if doubled:
        yield Finding(
            "doubled-clips",
            "error",
            f"{count(len(doubled), 'clip')} in more than one place.",
            "Loading refuses this; remove one of each (mirrors often double a whole folder).",
            tuple((row.file.shown, row.clip.id) for group in doubled for row in group),
        )


def _reasons(rows: Sequence[Row]) -> str:
    """The reasons in words where they are few."""
    counts = Counter(map(_reason, rows))
    if len(counts) == 1:
        return next(iter(counts))
    if len(counts) <= _REASONS_TOLD:
        return "; ".join(f"{reason} ({counts[reason]})" for reason in sorted(counts))
    return f"{len(counts)} reasons, named beside the files"


def _reason(row: Row) -> str:
    return row.file.reason


def readability(rows: Sequence[Row]) -> Iterator[Finding]:
    """Which files cannot be decoded."""
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


def originality(rows: Sequence[Row], official: Official | None) -> Iterator[Finding]:
    """Whose bytes are the release's."""
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
            f"Not the original bytes: {count(counts['re-encoded'], 'file')} re-encoded in another container; that "
            "audio cannot be verified by hash.",
            "Say so beside results, with the source of the copy; resampled audio differs from the release's.",
        )
    if altered and counts["original"]:
        yield Finding(
            "altered",
            "error",
            f"{len(altered)} of {judged} clips have other bytes than the release, beside {counts['original']} "
            "with the original ones.",
            "Damaged in the download or edited since; fetch these again.",
            listed(altered),
        )
    elif altered:
        yield Finding(
            "altered",
            "warning",
            f"Not the original bytes: {count(len(altered), 'file')} in the release's own format with another "
            "content (resampled, re-tagged or damaged).",
            "Their audio cannot be verified by hash; prefer the official download, or say where the copy is from.",
            listed(altered),
        )


def copies(rows: Sequence[Row]) -> Iterator[Finding]:
    """Files that hold the same samples, the worst kind first; see `near_copies` for the same take."""
    # What the corpus's own rules leave out is no copy any more.
    kept = [row for row in rows if row.file.role in ("clip", "unknown name")]
    readable = [row for row in kept if row.measured is not None and row.measured.error is None]
    for code, level, groups, text, advice in _kinds_of_copies(readable):
        if groups:
            listed = tuple((row.file.shown, _member(i, row)) for i, group in enumerate(groups, 1) for row in group)
            yield Finding(code, level, f"{count(len(groups), 'set')} of {text}", advice, listed)


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


def near_copies(pairs: Sequence[NearCopy]) -> Iterator[Finding]:
    """Clips that hold the same take."""
    across, within = [], []
    for copy in pairs:
        first, second = copy.first.clip, copy.second.clip
        same = (first.speaker, first.emotion) == (second.speaker, second.emotion)
        (within if same else across).append(copy)
    advice = "Listen to both, then leave the wrong one out with corpus.exclude."
    words = "holding the same take (cut, re-encoded or re-levelled)"
    if across:
        text = f"{count(len(across), 'pair')} of clips {words} under different speakers or labels."
        yield Finding("near-copies-across", "warning", text, advice, tuple(_pair(copy) for copy in across))
    if within:
        text = f"{count(len(within), 'pair')} of clips {words}."
        yield Finding("near-copies", "note", text, advice, tuple(_pair(copy) for copy in within))


def _pair(copy: NearCopy) -> tuple[str, str]:
    overlap = f"{copy.overlap:.2f} s in common, {percent(copy.bit_error_rate)} of the fingerprint's bits differ"
    return copy.first.file.shown, f"and {copy.second.file.shown} ({overlap})"


def _member(number: int, row: Row) -> str:
    return f"set {number}" if row.clip is None else f"set {number}, {row.clip.speaker}, {row.clip.emotion}"


def _identity(row: Row) -> str:
    return row.clip.id if row.clip is not None else row.file.shown
