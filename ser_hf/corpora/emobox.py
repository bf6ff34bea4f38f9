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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Annotated, Literal

from pydantic import Field

from ..utils.errors import UserError
from ..utils.files import parse_json
from ..utils.yaml import read_text
from . import cremad, emodb, iemocap, ravdess, savee, tess
from .audiofolder import read_json_lines
from .files import audio_files
from .metadata import Metadata
from .rows import DescribedSettings, Row, RowParser, checked_prefix
from .schema import Clip, Listing
from .settings import AnyPath

URL = "https://github.com/emo-box/EmoBox"
CITATION = (
    "Ma Z, Chen M, Zhang H, Zheng Z, Chen W, Li X, Ye J, Chen X, Hain T (2024). EmoBox: "
    "Multilingual Multi-corpus Speech Emotion Recognition Toolkit and Benchmark. Interspeech 2024."
)
# Corpora whose modules read the clips.
MODULES = {"cremad": cremad, "emodb": emodb, "ravdess": ravdess, "savee": savee, "tess": tess}
# EmoBox's word for a split -> the split.
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
_FOLD = re.compile(r"fold_[0-9]{1,4}", re.ASCII)
_STM = re.compile(r"(?P<key>\S.*?) \S+ (?P<speaker>\S.*?) [0-9.e-]+ [0-9.e-]+ <id=(?P=key),.*> .*")


class EmoboxSettings(DescribedSettings):
    """Keys of a corpus of EmoBox; the root is its folder of metadata.

    Words of `label_map` are EmoBox's, or those of the corpus. A speaker pattern is matched with
    `wav`.
    """

    name: Annotated[Literal["emobox"], Field(description="a corpus with metadata of EmoBox")] = (
        "emobox"
    )
    audio_root: Annotated[
        AnyPath | None, Field(description="the folder of the audio as released")
    ] = None

    def metadata(self) -> Metadata:
        """Also with the page and the citation of EmoBox."""
        title = self.title or "a corpus of EmoBox"
        citation = CITATION
        if self.citation:
            citation = f"{self.citation} {CITATION}"
        return dataclasses.replace(super().metadata(), title=title, url=URL, citation=citation)


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A line of a list: `where` is file and line, the other fields are EmoBox's."""

    where: str
    key: str
    dataset: str
    wav: str
    emo: str
    segment: bool  # of a long recording


def parse(settings: EmoboxSettings) -> Listing:
    """Read a corpus's metadata and find its audio."""
    if settings.root is None or not Path(settings.root).is_dir():
        raise UserError(
            f"corpus.root: {settings.root or 'missing'}; "
            "emobox needs a corpus's folder of EmoBox's data"
        )
    root = Path(settings.root)
    files = audio_files(settings.audio_root, root.name, "corpus.audio_root")
    split_of_key = _folds(root)
    entries = _listed(root, split_of_key)
    corpus_name = entries[0].dataset
    try:
        parser = RowParser(checked_prefix(corpus_name), settings)
    except ValueError as error:
        raise UserError(f"{entries[0].where}: dataset: {error}") from None

    paths = _match_audio(entries, files)
    words = _label_map(root)
    speakers = {} if corpus_name in MODULES else _speakers(root)
    rows = []
    for entry in entries:
        label = entry.emo
        if label not in (settings.label_map or {}):
            label = words.get(label, label)
        folds = {fold: splits.get(entry.key) for fold, splits in split_of_key.items()}
        row = _row(
            entry,
            path=paths[entry.key],
            label=label,
            speaker=speakers.get(entry.key),
            folds=folds,
            settings=settings,
        )
        rows.append(row)
    if corpus_name in MODULES:
        return _listing_of_module(MODULES[corpus_name], rows, parser)
    return parser.listing(rows)


def _row(
    entry: _Entry,
    *,
    path: Path | None,
    label: str,
    speaker: str | None,
    folds: Mapping[str, str | None],
    settings: EmoboxSettings,
) -> Row:
    """The row of a clip, whose audio is at the path, if there is any."""
    wav = PurePosixPath(entry.wav)
    name = entry.key.removeprefix(f"{entry.dataset}-")
    if speaker in (name, wav.name, wav.stem):
        speaker = None
    cells = {}
    extra = dict(folds)
    if entry.dataset == "iemocap":
        fields = iemocap.GRAMMAR.fullmatch(wav.stem)
        if fields is not None:
            speaker = f"Ses0{fields['session']}{fields['sex']}"
            cells = {"sex": fields["sex"]}
            extra = {"session": f"Session{fields['session']}", **folds}
    missing = None
    if path is None:
        missing = (
            f"no audio {wav.with_suffix('')} below {settings.audio_root}; "
            "complete it, or set corpus.on_unknown: skip"
        )
    return Row(
        where=entry.where,
        path=path or Path(wav),
        name=name,
        searched_path=str(wav),
        label=label,
        speaker=speaker,
        cells=cells,
        extra=extra,
        missing=missing,
    )


def _match_audio(entries: Sequence[_Entry], files: Sequence[Path]) -> dict[str, Path | None]:
    """The key of each clip -> its audio; None if there is none."""
    files_of_stem: dict[str, list[Path]] = {}
    for file in files:
        files_of_stem.setdefault(file.stem, []).append(file)
    # How many paths of EmoBox end alike: folders that distinguish files of one name, such as the
    # speaker's.
    paths_with_ending: Counter = Counter()
    for wav in {entry.wav for entry in entries}:
        paths_with_ending.update(_endings(wav))

    paths = {}
    entry_of_path: dict[Path, str] = {}
    for entry in entries:
        wav = PurePosixPath(entry.wav)
        distinct = len(wav.parts) - 1
        for folders, ending in enumerate(_endings(entry.wav)):
            if paths_with_ending[ending] == 1:
                distinct = folders
                break
        path = _best_match(files_of_stem.get(wav.stem, ()), wav, distinct)
        if entry.segment:
            raise UserError(
                f"{entry.where}: segments are not supported; cut this one into its own file"
            )
        if path and entry_of_path.setdefault(path, entry.where) != entry.where:
            raise UserError(
                f"{entry.where}: {path} is already the audio of {entry_of_path[path]}; "
                "add the missing file"
            )
        paths[entry.key] = path
    return paths


def _endings(wav: str) -> list[tuple[str, ...]]:
    """The stem, the stem with its folder, and so on."""
    parts = PurePosixPath(wav).with_suffix("").parts
    return [parts[start:] for start in range(len(parts) - 1, -1, -1)]


def _best_match(paths: Sequence[Path], wav: PurePosixPath, least: int) -> Path | None:
    """The path with most (at least `least`) innermost folders in common with `wav`.

    Raises:
        UserError: for two of them.
    """
    candidates = [path for path in paths if _common_folders(path, wav) >= least]
    if not candidates:
        return None
    candidates.sort(key=lambda path: _common_folders(path, wav), reverse=True)
    best, *others = candidates
    if others and _common_folders(others[0], wav) == _common_folders(best, wav):
        raise UserError(
            f"{others[0]}: matches EmoBox's {wav} as well as {best}; remove one of the two"
        )
    return best


def _common_folders(path: Path, wav: PurePosixPath) -> int:
    """The number of innermost folders that two paths have in common."""
    pairs = zip(path.parts[-2::-1], wav.parts[-2::-1], strict=False)
    for number, (folder, expected) in enumerate(pairs):
        if folder != expected:
            return number
    return len(wav.parts) - 1


def _listed(root: Path, folds: Iterable[str]) -> list[_Entry]:
    """The clips, each key once: from the complete list, or from the lists of all folds."""
    complete = root / f"{root.resolve().name}.jsonl"
    lists = [complete]
    if not complete.is_file():
        lists = [table for fold in folds for table in _lists(root / fold).values()]
    entries: dict[str, _Entry] = {}
    for table in lists:
        for entry in _entries(table):
            entries.setdefault(entry.key, entry)
    if not entries:
        raise UserError(
            f"corpus.root: {root} has neither {complete.name} nor fold_1 with lists of clips; "
            f"name a corpus's folder of EmoBox's data, such as data/ravdess ({URL})"
        )
    return list(entries.values())


def _folds(root: Path) -> dict[str, dict[str, str]]:
    """Fold -> key -> split, folds in the order of their numbers."""
    names = [path.name for path in root.iterdir() if path.is_dir() and _FOLD.fullmatch(path.name)]
    names.sort(key=lambda name: int(name.removeprefix("fold_")))
    folds = {}
    for name in names:
        split_of_key: dict[str, str] = {}
        for split, table in _lists(root / name).items():
            for entry in _entries(table):
                if split_of_key.setdefault(entry.key, split) != split:
                    raise UserError(f"{entry.where}: {entry.key} is listed in another split too")
        folds[name] = split_of_key
    return folds


def _entries(table: Path) -> Iterator[_Entry]:
    """The clips of a list."""
    for line, content in read_json_lines(table):
        where = f"{table}, line {line}"
        for field in ("key", "dataset", "wav", "emo"):
            if not isinstance(content.get(field), str) or not content[field]:
                raise UserError(
                    f"{where}: no {field}; EmoBox's lines have key, dataset, wav and emo"
                )
        times = (content.get("start_time"), content.get("end_time"))
        yield _Entry(
            where=where,
            key=content["key"],
            dataset=content["dataset"],
            wav=content["wav"],
            emo=content["emo"],
            segment=times != (None, None),
        )


def _lists(fold: Path) -> dict[str, Path]:
    """Split -> its list in a fold's folder."""
    lists = {}
    for word, split in SPLITS.items():
        tables = sorted(fold.glob(f"*_{word}_{fold.name}.jsonl"))
        if tables:
            lists[split] = tables[0]
    return lists


def _label_map(root: Path) -> dict[str, str]:
    """The corpus's words -> EmoBox's; empty without the file."""
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


def _listing_of_module(module: ModuleType, rows: Sequence[Row], parser: RowParser) -> Listing:
    """Clips read by the grammar of the corpus's own module."""
    clips = []
    skipped = []
    for row in rows:
        clip = None if row.missing else module.read_name(row.path)
        problem = _problem(row, clip, module, parser)
        if problem and parser.settings.on_unknown == "error":
            message = row.missing or f"{problem} ({row.path})"
            raise UserError(f"{row.where}: {message}")
        reason = problem or getattr(module, "KNOWN_BAD", {}).get(row.path.stem)
        if reason:
            skipped.append((row.where, reason))
        else:
            clips.append(dataclasses.replace(clip, extra={**clip.extra, **row.extra}))
    return Listing(parser.corpus_name, clips, skipped)


def _problem(row: Row, clip: Clip | None, module: ModuleType, parser: RowParser) -> str | None:
    """What is wrong with a row whose name the corpus's own module reads; None if nothing is."""
    if row.missing:
        return "no such file"
    if clip is None:
        return f"not a file name of {module.TITLE}"
    if clip.emotion != parser.emotion(row.label):
        return f"{row.label} in EmoBox, {clip.emotion} by its name"
    return None
