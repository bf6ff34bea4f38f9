"""EmoBox's metadata: 32 corpora in one form, with the folds of their published figures (corpus name `emobox`).

    corpus: {name: emobox, root: EmoBox/data/ravdess, audio_root: data/RAVDESS}
    protocol: {name: emobox/lists}

`corpus.root` is one corpus's folder of https://github.com/emo-box/EmoBox (`data/ravdess`), `corpus.audio_root` the
folder of its audio as released.

Source: Ma Z, Chen M, Zhang H, Zheng Z, Chen W, Li X, Ye J, Chen X, Hain T (2024). EmoBox: Multilingual Multi-corpus
Speech Emotion Recognition Toolkit and Benchmark. Interspeech 2024. The metadata is under the MIT licence; the audio is
under that of each corpus, which cards quote from the options, or from the corpus's own module.

What is read:
- ``ravdess.jsonl``, one JSON object per clip: key, dataset, wav, emo, length, and start_time and end_time for segments
  of a long recording (PAVOQUE). If this list is missing, the lists of the folds replace it.
- ``label_map.json``, EmoBox's words for those of each corpus: ``{"Fearful": "Fear", "ps": "Surprise"}``. Words that
  are no canonical emotion (PAVOQUE's poker, JL-Corpus's assertive) need a `label_map`, such as ``{Poker: other}``.
- ``data.seg.wrd.stm``, the only file with speakers: ``key channel speaker start end <...> label``.
- ``fold_1/ravdess_test_fold_1.jsonl``: the splits of each fold, which fill the columns ``fold_1`` and so on.

Audio is found by name: among the files below `audio_root` with the stem of `wav`, in any format, the one with the most
matching parent folders.

Quirks:
- The language in stm files is always English; `LANGUAGES` has the right one.
- IEMOCAP's speaker there is the actor with the markers (``Ses05M``), a name that both actors of the session share;
  here it is the actual speaker, as `ser_hf.corpora.iemocap` reads it from the file name.
- MER2023 and RESD have the clip's name as its speaker: the speaker is unknown. They load with `no_speaker: one`, and
  every figure is reported as speaker-dependent.
- EMNS is released as WebM and MELD as video; extract the audio first (the error message has the command).
- Corpora with a module (RAVDESS, CREMA-D, TESS, SAVEE, EMO-DB) get their rows and ids from the grammar of that module;
  a label that differs from EmoBox's is an error. Their known bad clips are left out here too.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ..utils.errors import UserError
from ..utils.yaml import read_text
from . import cremad, emodb, iemocap, ravdess, savee, tables, tess
from .audiofolder import read_json_lines
from .files import audio_files, conversion_advice, other_recordings
from .schema import Clip, Listing
from .segments import Segment
from .tables import NoSpeaker, Row, RowParser


class ListedAudio:
    """The audio below a folder, by the paths that EmoBox lists.

    Args:
        root: the folder (`corpus.audio_root`).
        name: of the corpus.
        listed: every path of the list, to find file names that occur several times.

    Raises:
        UserError: naming `corpus.audio_root`, if it is no folder or has no audio.
    """

    def __init__(self, root: Path, name: str, listed: Iterable[PurePosixPath]):
        if not root.is_dir():
            raise UserError(f"corpus.audio_root: {root} is not a folder; it should hold the audio of {name}")
        self._others = {path.stem: path for path in other_recordings(root)}
        self._root = root
        self._by_stem = _by_stem(_files(root, name, self._others))
        self._listed = _by_stem(set(listed))

    def find(self, wav: PurePosixPath) -> Path | None:
        """The file with the stem of `wav` and the most matching parent folders, at least as many as make it unique in
        the list; None if there is none.

        Raises:
            UserError: if two files match equally well.
        """
        best: list[Path] = []
        furthest = len(self._distinguishing_folders(wav))
        for path in self._by_stem.get(wav.stem, ()):
            far = _common_length(_folders(path), _folders(wav))
            if far > furthest:
                best, furthest = [], far
            if far == furthest:
                best.append(path)
        if len(best) > 1:
            raise UserError(f"{best[1]}: matches EmoBox's {wav} as well as {best[0]}; remove one of the two")
        return best[0] if best else None

    def missing(self, wav: PurePosixPath) -> str:
        """The error message for a path without audio."""
        place = "/".join([*self._distinguishing_folders(wav)[::-1], wav.stem])
        other = self._others.get(wav.stem)
        remedy = f"{other.name}: {conversion_advice(other)}" if other else "complete it"
        return f"no audio {place} below {self._root}, in any format; {remedy}, or set corpus.on_unknown: skip"

    def _distinguishing_folders(self, wav: PurePosixPath) -> tuple[str, ...]:
        """The parent folders that make `wav` unique in the list, innermost first."""
        own = _folders(wav)
        rivals = (_folders(other) for other in self._listed[wav.stem])
        return own[: max((_common_length(own, rival) + 1 for rival in rivals if rival != own), default=0)]


def require_one_row_each(rows: Sequence[Row]) -> None:
    """Raises a UserError for a file of two rows, unless they are segments of it."""
    taken: dict[Path, str] = {}
    for row in rows:
        if not row.missing and row.segment is None and taken.setdefault(row.path, row.where) != row.where:
            raise UserError(f"{row.where}: {row.path} is the audio of {taken[row.path]} already; correct the list")


def times_of(content: Mapping[str, Any], where: str) -> tuple[float, float] | None:
    """Start and end of a segment in seconds; None for a complete recording.

    Raises:
        UserError: naming the line, for times that are not numbers.
    """
    times = [content.get(field) for field in ("start_time", "end_time")]
    if times == [None, None]:
        return None
    for time in times:
        if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
            raise UserError(
                f"{where}: start_time and end_time should be numbers of seconds, got {times[0]!r} to {times[1]!r}"
            )
    return float(times[0]), float(times[1])


def _files(root: Path, name: str, others: Mapping[str, Path]) -> list[Path]:
    try:
        return audio_files(root, name)
    except UserError as error:
        message = str(error).replace("corpus.root: ", "corpus.audio_root: ", 1)
        first = min(others.values(), default=None)
        raise UserError(
            f"{message}; {first.name}: {conversion_advice(first)}" if first and "no audio file" in message else message
        ) from None


def _by_stem(paths: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for path in paths:
        found.setdefault(path.stem, []).append(path)
    return found


def _folders(path: Path | PurePosixPath) -> tuple[str, ...]:
    """The parent folders, innermost first."""
    return path.parts[:-1][::-1]


def _common_length(one: Sequence[str], other: Sequence[str]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


URL = "https://github.com/emo-box/EmoBox"
CITATION = (
    "Ma Z, Chen M, Zhang H, Zheng Z, Chen W, Li X, Ye J, Chen X, Hain T (2024). EmoBox: Multilingual Multi-corpus "
    "Speech Emotion Recognition Toolkit and Benchmark. Interspeech 2024."
)
# ISO 639-1, from the table of the project's page; ASVP-ESD and ESD have several languages.
LANGUAGES = {
    "aesdd": "el",
    "ased": "am",
    "cafe": "fr",
    "casia": "zh",
    "cremad": "en",
    "emns": "en",
    "emodb": "de",
    "emovdb": "en",
    "emovo": "it",
    "emozionalmente": "it",
    "enterface": "en",
    "iemocap": "en",
    "jlcorpus": "en",
    "m3ed": "zh",
    "mead": "en",
    "meld": "en",
    "mer2023": "zh",
    "mesd": "es",
    "msppodcast": "en",
    "oreau": "fr",
    "pavoque": "de",
    "polish": "pl",
    "ravdess": "en",
    "resd": "ru",
    "savee": "en",
    "shemo": "fa",
    "subesco": "bn",
    "tess": "en",
    "turevdb": "tr",
    "urdu": "ur",
}
OWN = {"cremad": cremad, "emodb": emodb, "ravdess": ravdess, "savee": savee, "tess": tess}
PARTS = {"train": "train", "valid": "validation", "test": "test"}
_FOLD = re.compile(r"fold_[0-9]{1,4}", re.ASCII)
_STM = re.compile(r"(?P<key>\S.*?) \S+ (?P<speaker>\S.*?) [0-9.e-]+ [0-9.e-]+ <id=(?P=key),.*> .*")


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    audio_root: str | None = None,
    label_map: dict[str, str] | None = None,
    speaker_pattern: str | None = None,
    no_speaker: NoSpeaker = "error",
    known_bad: Literal["drop", "keep"] = "drop",
    **options: Any,
) -> Listing:
    """Reads a corpus's metadata and finds its audio.

    Args:
        root: the corpus's folder of EmoBox's ``data``.
        on_unknown: with ``"skip"``, clips without audio and clips whose label is not an emotion are left out.
        audio_root: the folder of the audio.
        label_map: words of EmoBox, or of the corpus, -> canonical emotions.
        speaker_pattern, no_speaker: see `ser_hf.corpora.tables.RowParser`; the pattern is matched with `wav`.
        known_bad: ``"drop"`` leaves out the clips in `KNOWN_BAD` of the corpus's module.
        options: see `facts`.

    Raises:
        UserError: naming file and line, or the key.
    """
    if root is None or not Path(root).is_dir():
        raise UserError(f"corpus.root: {root or 'missing'}; emobox needs a corpus's folder of EmoBox's data")
    if audio_root is None:
        raise UserError("corpus.audio_root: missing; EmoBox has metadata alone: name the folder of the audio")
    root = Path(root)
    folds = _folds(root)
    listed = _listed(root, folds)
    name = next(iter(listed.values()))[1]["dataset"]
    words = _label_map(root)
    parser = RowParser(name, None, label_map, speaker_pattern, no_speaker, LANGUAGES.get(name))
    speakers = {} if name in OWN else _speakers(root, name)
    contents = [content for _, content in listed.values()]
    places = ListedAudio(Path(audio_root), name, [PurePosixPath(content["wav"]) for content in contents])
    rows = []
    for key, (where, content) in listed.items():
        word = content["emo"] if content["emo"] in (label_map or {}) else words.get(content["emo"], content["emo"])
        wav = PurePosixPath(content["wav"])
        path = places.find(wav)
        times = times_of(content, where)
        parts = {fold: members[key] for fold, members in folds.items() if key in members}
        rows.append(
            Row(
                where=where,
                path=path or Path(wav),
                name=key.removeprefix(f"{name}-"),
                place=str(wav),
                label=word,
                **_speaker_fields(name, wav, speakers.get(key), key, {fold: parts.get(fold) for fold in folds}),
                missing=None if path else places.missing(wav),
                segment=Segment(path, *times) if path and times else None,
            )
        )
    require_one_row_each(rows)
    if name in OWN:
        return Listing(name, *_own_clips(OWN[name], rows, parser, on_unknown, known_bad))
    return Listing(name, *parser.clips(rows, on_unknown))


def facts(
    title: str | None = None,
    license: str | None = None,
    language: str | None = None,
    citation: str | None = None,
    acted: bool = False,
    **others: Any,
) -> dict[str, Any]:
    """Metadata from the options, as for tables (`ser_hf.corpora.tables`), with a citation of EmoBox."""
    cited = " ".join(filter(None, [citation, CITATION]))
    return tables.facts("emobox", title or "a corpus of EmoBox", license, language, URL, cited, acted)


def _listed(root: Path, folds: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Key -> file and line, and content: from the complete list, or from the lists of all folds."""
    complete = root / f"{root.resolve().name}.jsonl"
    lists = [complete] if complete.is_file() else [path for fold in folds for path in _lists(root / fold).values()]
    listed: dict[str, tuple[str, dict[str, Any]]] = {}
    for table in lists:
        for where, content in _entries(table):
            listed.setdefault(content["key"], (where, content))
    if not listed:
        raise UserError(
            f"corpus.root: {root} has neither {complete.name} nor fold_1 with lists of clips; name a corpus's "
            f"folder of EmoBox's data, such as data/ravdess ({URL})"
        )
    return listed


def _folds(root: Path) -> dict[str, dict[str, str]]:
    """Fold -> key -> split, folds in the order of their numbers."""
    folds = {}
    names = [path.name for path in root.iterdir() if path.is_dir() and _FOLD.fullmatch(path.name)]
    for name in sorted(names, key=lambda fold: int(fold[5:])):
        members: dict[str, str] = {}
        for part, table in _lists(root / name).items():
            for where, content in _entries(table):
                if members.setdefault(content["key"], part) != part:
                    raise UserError(f"{where}: {content['key']} is listed in another split too")
        folds[name] = members
    return folds


def _entries(table: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """File and line of each clip of a list, and its content."""
    for line, content in read_json_lines(table):
        where = f"{table}, line {line}"
        for field in ("key", "dataset", "wav", "emo"):
            if not isinstance(content.get(field), str) or not content[field]:
                raise UserError(f"{where}: no {field}; EmoBox's lines have key, dataset, wav and emo")
        yield where, content


def _lists(fold: Path) -> dict[str, Path]:
    """Split -> its list in a fold's folder."""
    found = {}
    for word, part in PARTS.items():
        tables = sorted(fold.glob(f"*_{word}_{fold.name}.jsonl"))
        if tables:
            found[part] = tables[0]
    return found


def _label_map(root: Path) -> dict[str, str]:
    path = root / "label_map.json"
    if not path.is_file():
        return {}
    try:
        words = json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise UserError(f'{path}: expected words for words, such as {{"Fearful": "Fear"}}')
    return words


def _speakers(root: Path, name: str) -> dict[str, str]:
    """Key -> speaker, from the stm file; empty without one."""
    path = root / "data.seg.wrd.stm"
    if not path.is_file():
        return {}
    speakers = {}
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if text.strip():
            fields = _STM.fullmatch(text.rstrip("\r"))
            if fields is None:
                raise UserError(f"{path}, line {line}: expected key channel speaker start end <id=key,...> label")
            speakers[fields["key"]] = fields["speaker"]
    return speakers


def _speaker_fields(
    name: str, wav: PurePosixPath, listed: str | None, key: str, extra: dict[str, Any]
) -> dict[str, Any]:
    """The fields of a row about the speaker; `speaker` is None if the metadata does not have it."""
    if name == "iemocap" and (fields := iemocap.GRAMMAR.fullmatch(wav.stem)):
        speaker = f"Ses0{fields['session']}{fields['sex']}"
        session = f"Session{fields['session']}"
        return {"speaker": speaker, "cells": {"sex": fields["sex"]}, "extra": {"session": session} | extra}
    unknown = listed in (None, key.removeprefix(f"{name}-"), wav.name, wav.stem)
    return {"speaker": None if unknown else listed, "extra": extra}


def _own_clips(
    module: Any, rows: list[Row], parser: RowParser, on_unknown: str, known_bad: str
) -> tuple[list[Clip], list[tuple[str, str]]]:
    """Clips read by the grammar of the corpus's own module."""
    clips, skipped = [], []
    for row in rows:
        clip = module.read_name(row.path)
        reason = f"not a file name of {module.TITLE}" if clip is None else None
        if row.segment is not None:
            reason = f"a segment of a recording; {module.TITLE} has none"
        elif clip is not None and clip.emotion != parser.emotion(row.label):
            reason = f"{row.label} in EmoBox, {clip.emotion} by its name"
        if row.missing or reason:
            if on_unknown == "error":
                raise UserError(f"{row.where}: {row.missing or reason}" + ("" if row.missing else f" ({row.path})"))
            skipped.append((row.where, "no such file" if row.missing else reason))
        elif known_bad == "drop" and row.path.stem in getattr(module, "KNOWN_BAD", {}):
            skipped.append((str(row.path), module.KNOWN_BAD[row.path.stem]))
        else:
            clips.append(dataclasses.replace(clip, extra=dict(clip.extra) | dict(row.extra)))
    return clips, skipped
