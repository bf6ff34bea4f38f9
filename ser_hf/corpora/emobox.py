"""EmoBox's metadata: 32 corpora in one form, with the folds of their published figures (corpus name
`emobox`).

    corpus: {name: emobox, root: EmoBox/data/ravdess, audio_root: data/RAVDESS}
    protocol: {name: emobox/lists}

`corpus.root` is one corpus's folder of https://github.com/emo-box/EmoBox (`data/ravdess`),
`corpus.audio_root` the folder of its audio as released. The metadata is under the MIT license; the
audio is under that of each corpus, which cards quote from the options, or from the corpus's own
module.

What is read:
- ``ravdess.jsonl``, one JSON object per clip: key, dataset, wav, emo, length, and start_time and
  end_time for segments of a long recording (PAVOQUE). If this list is missing, the lists of the
  folds replace it.
- ``label_map.json``, EmoBox's words for those of each corpus: ``{"Fearful": "Fear", "ps":
  "Surprise"}``. Words that are no canonical emotion (PAVOQUE's poker, JL-Corpus's assertive) need a
  `label_map`, such as ``{Poker: other}``.
- ``data.seg.wrd.stm``, the only file with speakers: ``key channel speaker start end <...> label``.
- ``fold_1/ravdess_test_fold_1.jsonl``: the splits of each fold, which fill the columns ``fold_1``
  and so on.

Audio is found by name: among the files below `audio_root` with the stem of `wav`, in any format,
the one with the most matching parent folders.

Quirks:
- The language in stm files is always English: `corpus.language` gives the right one.
- IEMOCAP's speaker there is the actor with the markers (``Ses05M``), a name that both actors of the
  session share; here it is the actual speaker, as `ser_hf.corpora.iemocap` reads it from the file
  name.
- MER2023 and RESD have the clip's name as its speaker: the speaker is unknown. They load with
  `no_speaker: one`, and every figure is reported as speaker-dependent.
- EMNS is released as WebM and MELD as video; extract the audio first.
- Corpora with a module (RAVDESS, CREMA-D, TESS, SAVEE, EMO-DB) get their rows and ids from the
  grammar of that module; a label that differs from EmoBox's is an error. Their known bad clips are
  left out here too.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ..utils.errors import UserError
from ..utils.files import parse_json
from ..utils.yaml import read_text
from . import cremad, emodb, iemocap, ravdess, savee, tables, tess
from .audiofolder import read_json_lines
from .files import audio_files
from .schema import Clip, Listing
from .tables import NoSpeaker, Row, RowParser

URL = "https://github.com/emo-box/EmoBox"
CITATION = (
    "Ma Z, Chen M, Zhang H, Zheng Z, Chen W, Li X, Ye J, Chen X, Hain T (2024). EmoBox: Multilingual Multi-corpus "
    "Speech Emotion Recognition Toolkit and Benchmark. Interspeech 2024."
)
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
    **options: Any,
) -> Listing:
    """Read a corpus's metadata and find its audio.

    Args:
        on_unknown: with ``"skip"``, clips without audio and clips whose label is not an emotion are
            left out.
        label_map: words of EmoBox, or of the corpus, -> canonical emotions.
        speaker_pattern, no_speaker: see `ser_hf.corpora.tables.RowParser`; the pattern is matched
            with `wav`.
        options: see `facts`.
    """
    if root is None or not Path(root).is_dir():
        raise UserError(
            f"corpus.root: {root or 'missing'}; emobox needs a corpus's folder of EmoBox's data"
        )
    root = Path(root)
    files = audio_files(audio_root, root.name, "corpus.audio_root")
    folds = _folds(root)
    listed = _listed(root, folds)
    name = next(iter(listed.values()))[1]["dataset"]
    words = _label_map(root)
    parser = RowParser(name, None, label_map, speaker_pattern, no_speaker, options.get("language"))
    speakers = {} if name in OWN else _speakers(root)
    by_stem: dict[str, list[Path]] = {}
    for path in files:
        by_stem.setdefault(path.stem, []).append(path)
    # Folders that distinguish files of one name, such as the speaker's.
    ends = Counter(
        end for wav in {content["wav"] for _, content in listed.values()} for end in _ends(wav)
    )
    rows = []
    taken = {}
    for key, (where, content) in listed.items():
        wav = PurePosixPath(content["wav"])
        least = next(
            (i for i, end in enumerate(_ends(content["wav"])) if ends[end] == 1), len(wav.parts) - 1
        )
        path = _best_match(by_stem.get(wav.stem, ()), wav, least)
        if any(content.get(time) is not None for time in ("start_time", "end_time")):
            raise UserError(f"{where}: segments are not supported; cut this one into its own file")
        if path and taken.setdefault(path, where) != where:
            raise UserError(
                f"{where}: {path} is already the audio of {taken[path]}; add the missing file"
            )
        word = (
            content["emo"]
            if content["emo"] in (label_map or {})
            else words.get(content["emo"], content["emo"])
        )
        speaker = speakers.get(key)
        cells = {}
        extra = {fold: parts.get(key) for fold, parts in folds.items()}
        if speaker in (key.removeprefix(f"{name}-"), wav.name, wav.stem):
            speaker = None
        if name == "iemocap" and (fields := iemocap.GRAMMAR.fullmatch(wav.stem)):
            speaker = f"Ses0{fields['session']}{fields['sex']}"
            cells = {"sex": fields["sex"]}
            extra = {"session": f"Session{fields['session']}"} | extra
        missing = f"no audio {wav.with_suffix('')} below {audio_root}; complete it, or set corpus.on_unknown: skip"
        rows.append(
            Row(
                where=where,
                path=path or Path(wav),
                name=key.removeprefix(f"{name}-"),
                place=str(wav),
                label=word,
                speaker=speaker,
                cells=cells,
                extra=extra,
                missing=None if path else missing,
            )
        )
    if name in OWN:
        return Listing(name, *_own_clips(OWN[name], rows, parser, on_unknown))
    return Listing(name, *parser.clips(rows, on_unknown))


def facts(
    title: str | None = None,
    license: str | None = None,
    language: str | None = None,
    citation: str | None = None,
    acted: bool = False,
    **others: Any,
) -> dict[str, Any]:
    """Metadata from the options, as for tables (`ser_hf.corpora.tables`), with a citation of
    EmoBox.
    """
    cited = " ".join(filter(None, [citation, CITATION]))
    return tables.facts(
        "emobox", title or "a corpus of EmoBox", license, language, URL, cited, acted
    )


def _ends(wav: str) -> list[tuple[str, ...]]:
    """The stem, the stem with its folder, and so on."""
    parts = PurePosixPath(wav).with_suffix("").parts
    return [parts[start:] for start in range(len(parts) - 1, -1, -1)]


def _best_match(paths: Sequence[Path], wav: PurePosixPath, least: int) -> Path | None:
    """The path with most (at least `least`) innermost folders in common with `wav`; a UserError for
    two of them.
    """

    def common(path: Path) -> int:
        pairs = zip(path.parts[-2::-1], wav.parts[-2::-1], strict=False)
        return next((i for i, (own, other) in enumerate(pairs) if own != other), len(wav.parts) - 1)

    best, *others = sorted(
        (path for path in paths if common(path) >= least), key=common, reverse=True
    ) or [None]
    if others and common(others[0]) == common(best):
        raise UserError(
            f"{others[0]}: matches EmoBox's {wav} as well as {best}; remove one of the two"
        )
    return best


def _listed(
    root: Path, folds: Mapping[str, Mapping[str, str]]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Key -> file and line, and content: from the complete list, or from the lists of all folds."""
    complete = root / f"{root.resolve().name}.jsonl"
    lists = (
        [complete]
        if complete.is_file()
        else [path for fold in folds for path in _lists(root / fold).values()]
    )
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
                raise UserError(
                    f"{where}: no {field}; EmoBox's lines have key, dataset, wav and emo"
                )
        yield where, content


def _lists(fold: Path) -> dict[str, Path]:
    """Split -> its list in a fold's folder."""
    found = {part: sorted(fold.glob(f"*_{word}_{fold.name}.jsonl")) for word, part in PARTS.items()}
    return {part: tables[0] for part, tables in found.items() if tables}


def _label_map(root: Path) -> dict[str, str]:
    path = root / "label_map.json"
    words = parse_json(read_text(path), path) if path.is_file() else {}
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise UserError(
            f'{path}: expected a mapping of words to words, such as {{"Fearful": "Fear"}}'
        )
    return words


def _speakers(root: Path) -> dict[str, str]:
    """Key -> speaker, from the stm file; empty without one."""
    path = root / "data.seg.wrd.stm"
    speakers = {}
    lines = read_text(path).split("\n") if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        fields = _STM.fullmatch(line.rstrip("\r"))
        if fields:
            speakers[fields["key"]] = fields["speaker"]
        elif line.strip():
            raise UserError(
                f"{path}, line {number}: expected key channel speaker start end <id=key,...> label"
            )
    return speakers


def _own_clips(
    module: Any, rows: list[Row], parser: RowParser, on_unknown: str
) -> tuple[list[Clip], list[tuple[str, str]]]:
    """Clips read by the grammar of the corpus's own module."""
    clips = []
    skipped = []
    for row in rows:
        clip = None if row.missing else module.read_name(row.path)
        reason = None
        if row.missing:
            reason = "no such file"
        elif clip is None:
            reason = f"not a file name of {module.TITLE}"
        elif clip.emotion != parser.emotion(row.label):
            reason = f"{row.label} in EmoBox, {clip.emotion} by its name"
        if reason and on_unknown == "error":
            raise UserError(f"{row.where}: {row.missing or f'{reason} ({row.path})'}")
        reason = reason or getattr(module, "KNOWN_BAD", {}).get(row.path.stem)
        if reason:
            skipped.append((row.where, reason))
        else:
            clips.append(dataclasses.replace(clip, extra=dict(clip.extra) | dict(row.extra)))
    return clips, skipped
