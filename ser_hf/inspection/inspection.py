"""The whole look at a corpus: survey, measure, compare, judge. Nothing is written; see `ser_hf.inspection.folder`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..audio import open_store
from ..audio.duplicates import near_duplicates
from ..corpora import CORPORA, corpus_facts
from ..errors import UserError
from .finding import Finding, Level, verdict
from .findings import find
from .measure import Measurement, measure_all
from .official import Official, compare
from .survey import shown, survey
from .tables import MEASURES, NearCopy, Row, crosstable, describe, explained

FORMAT = 1
# The rate at which recipes prepare audio by default: the waveforms stored here are found again by the first training.
_STORE_RATE = 16000
_SHORTEST_STORED = 0.1


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What is known of a corpus's folder. `rows` has every audio file by path; `official` is None where no list of the
    release's files is known, `near_copies` where they were not looked for; `facts` are those of
    `ser_hf.corpora.corpus_facts`."""

    name: str
    root: str | None
    options: dict[str, Any]
    facts: dict[str, Any]
    rows: list[Row]
    official: Official | None
    near_copies: list[NearCopy] | None
    findings: list[Finding]

    @property
    def clips(self) -> list[Row]:
        """The rows that can be learnt from: in the corpus's grammar, and decodable."""
        return [row for row in self.rows if row.usable]

    @property
    def verdict(self) -> tuple[Level, str]:
        return verdict(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as `inspect.json` holds it: stable keys, no NaN; measures as `Measurement` defines them."""
        level, text = self.verdict
        clips = self.clips
        known = [row.clip for row in clips]
        return {
            "format": FORMAT,
            "corpus": self.facts,
            "root": self.root,
            "options": self.options,
            "verdict": {"level": level, "text": text},
            "findings": [_finding(finding) for finding in self.findings],
            "counts": self._counts(),
            "official": _official(self.official),
            "near_copies": None if self.near_copies is None else [_near_copy(copy) for copy in self.near_copies],
            "measures": {name: {"unit": unit, "meaning": words} for name, (unit, words) in MEASURES.items()},
            "distributions": describe(clips),
            "explained": self._explained(),
            "tables": {
                "label_by_speaker": crosstable(known, lambda clip: clip.speaker),
                "label_by_sex": crosstable(known, lambda clip: clip.sex),
                "label_by_intensity": crosstable(known, lambda clip: clip.intensity),
            },
            "files": [_row(row) for row in self.rows],
        }

    def _counts(self) -> dict[str, Any]:
        roles = ("clip", "left out", "unknown name", "LFS pointer", "absent")
        clips = self.clips
        return {
            "files": len(self.rows),
            "roles": {role: sum(row.file.role == role for row in self.rows) for role in roles},
            "readable_clips": len(clips),
            "speakers": len({row.clip.speaker for row in clips}),
            "labels": len({row.clip.emotion for row in clips}),
            "hours": sum(row.measured.duration for row in clips) / 3600,
        }

    def _explained(self) -> dict[str, dict[str, float | None]]:
        clips = self.clips
        return {
            measure: {
                "label": explained(clips, measure, lambda clip: clip.emotion),
                "speaker": explained(clips, measure, lambda clip: clip.speaker),
            }
            for measure in MEASURES
        }


def inspect_corpus(
    name: str,
    root: str | Path | None = None,
    *,
    near_copies: bool = True,
    cache_dir: str | None = None,
    **options: Any,
) -> Inspection:
    """Looks at every audio file of a corpus; bad files are findings, never exceptions.

    Args:
        name: a key of `ser_hf.corpora.CORPORA`.
        root: the folder that holds the audio (of ``csv`` the table).
        near_copies: whether to look for clips that hold the same take cut, re-encoded or re-levelled
            (`ser_hf.audio.duplicates`). That decodes all clips into the waveform store, 64 kB a second.
        cache_dir: where that store lives (default: see `ser_hf.cache.cache_root`).
        options: what the corpus's own `parse` takes.

    Raises:
        UserError: for an unknown corpus, a missing folder, a folder without any audio.
    """
    if name not in CORPORA:
        raise UserError(f"corpus.name: {name!r} is none of {', '.join(CORPORA)}")
    files = survey(name, root, options)
    measured: dict[str, Measurement] = {}
    paths = list(dict.fromkeys(file.path for file in files if file.audio))
    for path, measurement in zip(_progress(paths, "measuring"), measure_all(paths), strict=True):
        measured[path] = measurement
    official = compare(name, files, lambda items: _progress(items, "comparing"))
    origins = official.origins if official is not None else {}
    rows = [Row(file, measured.get(file.path), origins.get(file.path)) for file in files]
    copies = _near_copies(rows, cache_dir) if near_copies else None
    facts = corpus_facts(name, options)
    findings = find(rows, official, copies or [], facts["title"])
    where = None if root is None else shown(str(root), None)
    return Inspection(name, where, options, facts, rows, official, copies, findings)


def _near_copies(rows: Sequence[Row], cache_dir: str | None) -> list[NearCopy]:
    """The pairs of clips that hold one take, but not the same samples."""
    # In the order of a dataset's rows, so that training on this corpus finds the same store.
    clips = sorted(
        (row for row in rows if row.usable and row.measured.duration >= _SHORTEST_STORED), key=lambda row: row.clip.id
    )
    if len(clips) < 2:
        return []
    store = open_store([{"path": row.file.path, "bytes": None} for row in clips], _STORE_RATE, cache_dir)
    pairs = (NearCopy(clips[p.first], clips[p.second], p.overlap, p.bit_error_rate) for p in near_duplicates(store))
    return [pair for pair in pairs if pair.first.measured.content_hash != pair.second.measured.content_hash]


def _progress(items: Sequence, words: str) -> Sequence:
    return tqdm(items, desc=words, unit="file", disable=None)


def _finding(finding: Finding) -> dict[str, Any]:
    files = [{"path": path, "remark": remark} for path, remark in finding.paths]
    return {key: getattr(finding, key) for key in ("code", "level", "text", "advice")} | {"files": files}


def _official(official: Official | None) -> dict[str, Any] | None:
    if official is None:
        return None
    kinds = ("original", "altered", "re-encoded", "unlisted", "uncovered")
    return {
        "clips": official.clips,
        "per_label": official.per_label,
        "found_per_label": official.found_per_label,
        "missing": official.missing,
        "origins": {kind: official.counts[kind] for kind in kinds},
    }


def _near_copy(copy: NearCopy) -> dict[str, Any]:
    paths = {"first": copy.first.file.shown, "second": copy.second.file.shown}
    return paths | {"overlap": copy.overlap, "bit_error_rate": copy.bit_error_rate}


def _row(row: Row) -> dict[str, Any]:
    clip = row.clip
    described = ("id", "emotion", "speaker", "sex", "intensity")
    measured = row.measured or Measurement()
    return {
        "path": row.file.shown,
        "role": row.file.role,
        "reason": row.file.reason,
        "origin": row.origin,
        **{key: getattr(clip, key) if clip is not None else None for key in described},
        **dataclasses.asdict(measured),
    }
