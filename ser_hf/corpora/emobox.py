"""EmoBox's metadata: 32 corpora in one form, with the folds that their published figures are made on (name `emobox`).

    corpus: {name: emobox, root: EmoBox/data/ravdess, audio_root: data/RAVDESS}
    protocol: {name: emobox/lists}

`corpus.root` is one corpus's folder of https://github.com/emo-box/EmoBox (`data/ravdess`), `corpus.audio_root` the
folder that holds its audio as its owners release it.

Source: Ma Z, Chen M, Zhang H, Zheng Z, Chen W, Li X, Ye J, Chen X, Hain T (2024). EmoBox: Multilingual Multi-corpus
Speech Emotion Recognition Toolkit and Benchmark. Interspeech 2024. The metadata is under the MIT licence; the audio is
under that of each corpus, which cards quote where the user tells it (or where the corpus has a module here).

What is read:
- ``ravdess.jsonl``, a JSON object a clip: key, dataset, wav, emo, length, and start_time and end_time where clips are
  parts of a long recording (PAVOQUE). Where the whole list is missing, the lists of the folds together are it.
- ``label_map.json``, EmoBox's words for each corpus's own: ``{"Fearful": "Fear", "ps": "Surprise"}``. Words that are
  no canonical emotion (PAVOQUE's poker, JL-Corpus's assertive) want a `label_map`, such as ``{Poker: other}``.
- ``data.seg.wrd.stm``, the only file that tells who speaks: ``key channel speaker start end <...> label``.
- ``fold_1/ravdess_test_fold_1.jsonl``: the parts of each fold, which become a column ``fold_1`` and so on.

Audio is found by name: of the files below `audio_root` with the stem that `wav` ends in, in whatever format, the one
whose folders agree with it furthest from the end (`ser_hf.corpora.emobox`).

Quirks:
- The language that stm files tell is English throughout, whatever is spoken; `LANGUAGES` has the right one.
- IEMOCAP's speaker there is who wore the markers in that dialogue (``Ses05M``), under whose name both actors of the
  session speak; here it is who speaks, as `ser_hf.corpora.iemocap` reads it from the name.
- MER2023 and RESD have the clip's own name for its speaker: nobody knows. They load with `no_speaker: one`, and every
  figure on them is told to be speaker-dependent.
- EMNS is released as WebM and MELD as films; audio is to be taken out of them first, which a clip without any says.
- Corpora that have a module here (RAVDESS, CREMA-D, TESS, SAVEE, EMO-DB) get their rows from the grammar of that
  module, which tells more, and the same ids; a label that differs from EmoBox's is refused. Their known bad clips are
  left out here too.
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
from . import cremad, emodb, iemocap, ravdess, savee, tess
from . import tables as _told
from .audiofolder import read_json_lines
from .files import audio_files, converted, other_recordings
from .schema import Clip, Listing
from .segments import Piece
from .tables import NoSpeaker, Reading, Row, clips_of


class ListedAudio:
    """The audio below a folder, by the paths that EmoBox lists.

    Args:
        root: the folder (`corpus.audio_root`).
        name: the corpus's.
        listed: every path of the list, to know which names stand in it several times.

    Raises:
        UserError: naming `corpus.audio_root`, where it is no folder or holds nothing that can be read.
    """

    def __init__(self, root: Path, name: str, listed: Iterable[PurePosixPath]):
        if not root.is_dir():
            raise UserError(f"corpus.audio_root: {root} is not a folder; it should hold the audio of {name}")
        self._others = {path.stem: path for path in other_recordings(root)}
        self._root = root
        self._by_stem = _by_stem(_files(root, name, self._others))
        self._listed = _by_stem(set(listed))

    def find(self, wav: PurePosixPath) -> Path | None:
        """The file with the stem of `wav` whose folders agree with it furthest from the end, and at least as far as
        tells it from others of the list; None without one.

        Raises:
            UserError: where two agree as far.
        """
        needed = len(self._telling(wav))
        best: list[Path] = []
        furthest = needed
        for path in self._by_stem.get(wav.stem, ()):
            far = _agreeing(_folders(path), _folders(wav))
            if far > furthest:
                best, furthest = [], far
            if far == furthest:
                best.append(path)
        if len(best) > 1:
            raise UserError(f"{best[1]}: as near to EmoBox's {wav} as {best[0]}; remove one of the two")
        return best[0] if best else None

    def absent(self, wav: PurePosixPath) -> str:
        """Why there is none, and what to do."""
        place = "/".join([*self._telling(wav)[::-1], wav.stem])
        other = self._others.get(wav.stem)
        remedy = f"{other.name}: {converted(other)}" if other else "complete it"
        return f"no audio {place} below {self._root}, in any format; {remedy}, or set corpus.on_unknown: skip"

    def _telling(self, wav: PurePosixPath) -> tuple[str, ...]:
        """The folders that tell `wav` from others of its name in the list, from the file upwards."""
        own = _folders(wav)
        rivals = (_folders(other) for other in self._listed[wav.stem])
        return own[: max((_agreeing(own, rival) + 1 for rival in rivals if rival != own), default=0)]


def require_one_row_each(rows: Sequence[Row]) -> None:
    """Refuses a file that two rows take, unless they are parts of it."""
    taken: dict[Path, str] = {}
    for row in rows:
        if not row.absent and row.piece is None and taken.setdefault(row.path, row.where) != row.where:
            raise UserError(f"{row.where}: {row.path} is the audio of {taken[row.path]} already; mend the list")


def times_of(content: Mapping[str, Any], where: str) -> tuple[float, float] | None:
    """Start and end of a clip that is part of a recording, in seconds; None where it is a whole one.

    Raises:
        UserError: naming the line, for times that are no numbers.
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
        told = str(error).replace("corpus.root: ", "corpus.audio_root: ", 1)
        first = min(others.values(), default=None)
        raise UserError(
            f"{told}; {first.name}: {converted(first)}" if first and "no audio file" in told else told
        ) from None


def _by_stem(paths: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for path in paths:
        found.setdefault(path.stem, []).append(path)
    return found


def _folders(path: Path | PurePosixPath) -> tuple[str, ...]:
    """From the file upwards."""
    return path.parts[:-1][::-1]


def _agreeing(one: Sequence[str], other: Sequence[str]) -> int:
    """How many agree, from the first on."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


URL = "https://github.com/emo-box/EmoBox"
CITATION = (
    "Ma Z, Chen M, Zhang H, Zheng Z, Chen W, Li X, Ye J, Chen X, Hain T (2024). EmoBox: Multilingual Multi-corpus "
    "Speech Emotion Recognition Toolkit and Benchmark. Interspeech 2024."
)
# ISO 639-1 of what is spoken, from the table of the project's page; ASVP-ESD and ESD have several languages.
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
    **told: Any,
) -> Listing:
    """Reads a corpus's metadata and finds its audio.

    Args:
        root: the corpus's folder of EmoBox's ``data``.
        on_unknown: with ``"skip"``, clips without audio and clips whose label is not an emotion are left out and told.
        audio_root: the folder that holds the audio.
        label_map: words of EmoBox, or of the corpus, -> canonical emotions.
        speaker_pattern, no_speaker: see `ser_hf.corpora.tables.Reading`; the pattern is matched with `wav`.
        known_bad: ``"drop"`` leaves out what the corpus's own module knows to be bad.
        told: what `ser_hf.corpora.tables.facts` takes.

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
    reading = Reading(name, label_map, None, LANGUAGES.get(name), speaker_pattern, no_speaker)
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
                **_who(name, wav, speakers.get(key), key, {fold: parts.get(fold) for fold in folds}),
                absent=None if path else places.absent(wav),
                piece=Piece(path, *times) if path and times else None,
            )
        )
    require_one_row_each(rows)
    if name in OWN:
        return Listing(name, *_own_clips(OWN[name], rows, reading, on_unknown, known_bad))
    return Listing(name, *clips_of(rows, reading, on_unknown))


def facts(
    title: str | None = None,
    license: str | None = None,
    language: str | None = None,
    citation: str | None = None,
    acted: bool = False,
    **others: Any,
) -> dict[str, Any]:
    """What cards and reports say: as much as the options tell (`ser_hf.corpora.tables`), with EmoBox cited beside."""
    cited = " ".join(filter(None, [citation, CITATION]))
    return _told.facts("emobox", title or "a corpus of EmoBox", license, language, URL, cited, acted)


def _listed(root: Path, folds: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Key -> where it stands and its content: of the whole list, or of the lists of all folds."""
    whole = root / f"{root.resolve().name}.jsonl"
    tables = [whole] if whole.is_file() else [path for fold in folds for path in _lists(root / fold).values()]
    listed: dict[str, tuple[str, dict[str, Any]]] = {}
    for table in tables:
        for where, content in _entries(table):
            listed.setdefault(content["key"], (where, content))
    if not listed:
        raise UserError(
            f"corpus.root: {root} has neither {whole.name} nor fold_1 with lists of clips; name a corpus's folder of "
            f"EmoBox's data, such as data/ravdess ({URL})"
        )
    return listed


def _folds(root: Path) -> dict[str, dict[str, str]]:
    """Fold -> key -> part, folds in the order of their numbers."""
    folds = {}
    names = [path.name for path in root.iterdir() if path.is_dir() and _FOLD.fullmatch(path.name)]
    for name in sorted(names, key=lambda fold: int(fold[5:])):
        members: dict[str, str] = {}
        for part, table in _lists(root / name).items():
            for where, content in _entries(table):
                if members.setdefault(content["key"], part) != part:
                    raise UserError(f"{where}: {content['key']} is listed in another part too")
        folds[name] = members
    return folds


def _entries(table: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each clip of a list stands, and its content."""
    for line, content in read_json_lines(table):
        where = f"{table}, line {line}"
        for field in ("key", "dataset", "wav", "emo"):
            if not isinstance(content.get(field), str) or not content[field]:
                raise UserError(f"{where}: no {field}; EmoBox's lines have key, dataset, wav and emo")
        yield where, content


def _lists(fold: Path) -> dict[str, Path]:
    """Part -> its list in a fold's folder."""
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
    """Key -> speaker, from the stm file; empty where there is none."""
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


def _who(name: str, wav: PurePosixPath, told: str | None, key: str, extra: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row that tell who speaks; `speaker` is None where the metadata does not know."""
    if name == "iemocap" and (fields := iemocap.GRAMMAR.fullmatch(wav.stem)):
        speaker = f"Ses0{fields['session']}{fields['sex']}"
        session = f"Session{fields['session']}"
        return {"speaker": speaker, "cells": {"sex": fields["sex"]}, "extra": {"session": session} | extra}
    nobody = told in (None, key.removeprefix(f"{name}-"), wav.name, wav.stem)
    return {"speaker": None if nobody else told, "extra": extra}


def _own_clips(
    module: Any, rows: list[Row], reading: Reading, on_unknown: str, known_bad: str
) -> tuple[list[Clip], list[tuple[str, str]]]:
    """Clips by the grammar of the corpus's own module."""
    clips, skipped = [], []
    for row in rows:
        clip = module.read_name(row.path)
        said = f"not a file name of {module.TITLE}" if clip is None else None
        if row.piece is not None:
            said = f"a part of a recording, of which {module.TITLE} has none"
        elif clip is not None and clip.emotion != reading.emotion(row.label):
            said = f"{row.label} in EmoBox, {clip.emotion} by its name"
        if row.absent or said:
            if on_unknown == "error":
                raise UserError(f"{row.where}: {row.absent or said}" + ("" if row.absent else f" ({row.path})"))
            skipped.append((row.where, "no such file" if row.absent else said))
        elif known_bad == "drop" and row.path.stem in getattr(module, "KNOWN_BAD", {}):
            skipped.append((str(row.path), module.KNOWN_BAD[row.path.stem]))
        else:
            clips.append(dataclasses.replace(clip, extra=dict(clip.extra) | dict(row.extra)))
    return clips, skipped
