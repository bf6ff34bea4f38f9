"""Inspection of a corpus: measures of its files, copies, descriptors of voices, and findings."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..audio import open_store
from ..audio.near_duplicates import near_duplicates
from ..corpora import CORPORA, corpus_facts, corpus_settings
from ..corpora.read import refusal
from ..corpora.verify import check_release, release_of
from ..evaluation.slices import explained_variance
from ..utils.errors import UserError
from .finding import Finding
from .findings import NearCopy, find, verdict
from .measure import (
    MEASURES,
    ROLES,
    AudioFile,
    clip_table,
    crosstable,
    describe,
    find_files,
    measure_files,
    printable_path,
)
from .voice import VoiceSample, describe_voices

# Version of the format of `inspect.json`.
FORMAT = 3
# Recipes prepare audio at this rate by default, so that the first training finds the waveforms
# stored here.
_STORE_RATE = 16000
_SHORTEST_STORED = 0.1  # s


@dataclasses.dataclass(frozen=True)
class Inspection:
    """The result of `inspect_corpus`.

    Attributes:
        facts: facts about the corpus, from `ser_hf.corpora.corpus_facts`.
        files: every audio file, sorted by path.
        voice: descriptors of the voices in a sample of the clips.
    """

    name: str
    root: str | None
    options: dict[str, Any]
    facts: dict[str, Any]
    files: list[AudioFile]
    near_copies: list[NearCopy]
    findings: list[Finding]
    voice: VoiceSample = VoiceSample()

    def __repr__(self) -> str:
        return f"Inspection({self.name}, {len(self.files)} files; {verdict(self.findings)[1]})"

    @property
    def clips(self) -> list[AudioFile]:
        """The usable clips: files that are clips of the corpus and can be decoded."""
        return [file for file in self.files if file.usable]

    def to_dict(self) -> dict[str, Any]:
        """The content of `inspect.json`: stable keys, no NaN."""
        level, text = verdict(self.findings)
        table = clip_table(self.clips)

        tables = {}
        for column in ("speaker", "sex", "intensity"):
            counts = crosstable(table, column)
            tables[f"label_by_{column}"] = None if counts is None else dataclasses.asdict(counts)

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
                "readable_clips": len(self.clips),
                "speakers": table["speaker"].nunique(),
                "labels": table["label"].nunique(),
                "hours": sum(file.measured.duration for file in self.clips) / 3600,
            },
            "near_copies": [copy.to_dict() for copy in self.near_copies],
            "measures": {
                name: {"unit": unit, "meaning": meaning}
                for name, (unit, meaning) in MEASURES.items()
            },
            "distributions": describe(table),
            "explained": {
                measure: explained_variance(table, measure, "label") for measure in MEASURES
            },
            "voice": self.voice.to_dict(),
            "tables": tables,
            "files": [file.to_dict() for file in self.files],
        }


def inspect_corpus(
    name: str, root: str | Path | None = None, *, cache_dir: str | None = None, **options: Any
) -> Inspection:
    """Measure every audio file of a corpus; bad files are findings, never exceptions.

    Example: `ser_hf.inspect_corpus("emodb", "data/EMO-DB").findings`

    Args:
        name: a key of `ser_hf.corpora.CORPORA`.
        root: the folder of the audio; for ``csv`` the table.
        cache_dir: folder of the waveform store (default: see `ser_hf.utils.cache.cache_root`). All
            clips are decoded into the store, 64 kB per second of audio, to find clips of the same
            take that were cut, re-encoded or changed in level.
        options: keys of the recipe's section `corpus`, such as `labels` and `on_unknown`.

    Returns:
        The measurements of every file, and the findings.

    Raises:
        UserError: for an unknown corpus, a missing folder, or a folder without audio.
    """
    if name not in CORPORA:
        raise UserError(f"corpus.name: unknown corpus {name!r}; choose one of {', '.join(CORPORA)}")
    found = find_files(name, root, options)
    refused = refusal(corpus_settings(name, root, **options))
    if refused is not None and not any(file.role == "clip" for file in found.files):
        # Measuring all files would say no more.
        raise UserError(refused)
    files = measure_files(found.files)
    has_list = release_of(name).files is not None
    release = check_release(name, root) if has_list else None
    near_copies = _search_near_copies(files, cache_dir)
    facts = corpus_facts(name, options)
    return Inspection(
        name=name,
        root=None if root is None else printable_path(str(root), None),
        options=options,
        facts=facts,
        files=files,
        near_copies=near_copies,
        findings=find(
            files,
            release,
            near_copies,
            title=facts["title"],
            refused=refused,
            notes=found.notes,
            accounts=found.accounts,
        ),
        voice=describe_voices([file for file in files if file.usable]),
    )


def _search_near_copies(files: Sequence[AudioFile], cache_dir: str | None) -> list[NearCopy]:
    """Find the pairs of clips with the same take, but not with equal samples."""
    clips = [file for file in files if file.usable and file.measured.duration >= _SHORTEST_STORED]
    if len(clips) < 2:
        return []
    # Sort like the rows of a dataset, so that training on this corpus finds the same store.
    clips.sort(key=lambda file: file.clip.id)
    audio = [{"path": file.path, "bytes": None} for file in clips]
    segments = [file.segment for file in clips]
    store = open_store(audio, _STORE_RATE, cache_dir, segments=segments)

    near_copies = []
    for match in near_duplicates(store):
        first = clips[match.first]
        second = clips[match.second]
        if first.measured.content_hash != second.measured.content_hash:
            near_copies.append(NearCopy(first, second, match))
    return near_copies
