"""Corpora with metadata of EmoBox, which also has the folds of published results (name `emobox`).

EmoBox has the metadata of 32 corpora in one format:

    corpus: {name: emobox, root: EmoBox/data/ravdess, audio_root: data/RAVDESS}
    protocol: {name: emobox/lists}

`corpus.root` is the folder of one corpus in https://github.com/emo-box/EmoBox (`data/ravdess`).
`corpus.audio_root` is the folder of the audio as released. The metadata is under the MIT license.
The audio is under the license of each corpus; cards quote it from the options or from the corpus's
module.

These files are read:
- ``ravdess.jsonl``, one JSON object per clip: key, dataset, wav, emo, length, and start_time and
  end_time for segments of a long recording (PAVOQUE). If this list is missing, the lists of the
  folds are read instead.
- ``label_map.json``, which maps the labels of the corpus to those of EmoBox: ``{"Fearful": "Fear",
  "ps": "Surprise"}``. A label that is not a canonical emotion (poker in PAVOQUE, assertive in
  JL-Corpus) must be in the option `label_map`, such as ``{Poker: other}``.
- ``data.seg.wrd.stm``, the only file with speakers: ``key channel speaker start end <...> label``.
- ``fold_1/ravdess_test_fold_1.jsonl`` and similar lists, the splits of each fold. They become the
  columns ``fold_1`` and so on.

Audio files are searched below `audio_root` by name. Of all files with the same stem as `wav`, in
any format, the one with the most matching parent folders is used.

Quirks:
- The language in stm files is always English: `corpus.language` gives the right one.
- For IEMOCAP, EmoBox gives as speaker the actor who wore the markers (``Ses05M``), so that both
  actors of a session have one name. Here the speaker is the actor who speaks, as
  `ser_hf.corpora.iemocap` reads it from the file name.
- For MER2023 and RESD, EmoBox gives the clip's name as speaker: the speaker is unknown. These
  corpora load with `no_speaker: one`, and every result is reported as speaker-dependent.
- EMNS is released as WebM and MELD as video; extract the audio first.
- Corpora with a module (RAVDESS, CREMA-D, TESS, SAVEE, EMO-DB) get their rows and ids from the
  grammar of that module; a label that differs from EmoBox's is an error. Clips that the module
  leaves out as bad are left out here too.
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
from .content import same_content
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
# Name of a split in EmoBox -> the split.
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
_FOLD = re.compile(r"fold_[0-9]{1,4}", re.ASCII)
_STM = re.compile(r"(?P<key>\S.*?) \S+ (?P<speaker>\S.*?) [0-9.e-]+ [0-9.e-]+ <id=(?P=key),.*> .*")


class EmoboxSettings(DescribedSettings):
    """Settings of a corpus of EmoBox. The root is the folder with its metadata.

    `label_map` may contain labels of EmoBox and labels of the corpus. The speaker pattern is
    searched in `wav`.
    """

    name: Annotated[Literal["emobox"], Field(description="a corpus with metadata of EmoBox")] = (
        "emobox"
    )
    audio_root: Annotated[
        AnyPath | None, Field(description="the folder of the audio as released")
    ] = None

    def metadata(self) -> Metadata:
        """The metadata of the corpus, with the page and the citation of EmoBox added."""
        title = self.title or "a corpus of EmoBox"
        citation = CITATION
        if self.citation:
            citation = f"{self.citation} {CITATION}"
        return dataclasses.replace(super().metadata(), title=title, url=URL, citation=citation)


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A clip in a list of EmoBox.

    Attributes:
        where: the list and the line, for messages.
        segment: whether the clip is a segment of a long recording.

    The other attributes are fields of EmoBox.
    """

    where: str
    key: str
    dataset: str
    wav: str
    emo: str
    segment: bool


def parse(settings: EmoboxSettings) -> Listing:
    """Read the metadata of a corpus and find the audio file of each clip."""
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
    emobox_labels = _label_map(root)
    speakers = {} if corpus_name in MODULES else _speakers(root)
    rows = []
    for entry in entries:
        label = entry.emo
        if label not in (settings.label_map or {}):
            label = emobox_labels.get(label, label)
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
    """Make the row of a clip; `path` is its audio file, or None if it is missing."""
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
    """Map the key of each clip to its audio file, or to None if no file matches."""
    files_of_stem: dict[str, list[Path]] = {}
    for file in files:
        files_of_stem.setdefault(file.stem, []).append(file)
    # Ending of a path -> the number of paths in EmoBox with this ending. Files with equal names are
    # distinguished by their folders, such as the folder of the speaker.
    paths_with_ending: Counter = Counter()
    for wav in {entry.wav for entry in entries}:
        paths_with_ending.update(_endings(wav))

    paths = {}
    entry_of_path: dict[Path, str] = {}
    for entry in entries:
        wav = PurePosixPath(entry.wav)
        required_folders = len(wav.parts) - 1
        for folders, ending in enumerate(_endings(entry.wav)):
            if paths_with_ending[ending] == 1:
                required_folders = folders
                break
        path = _best_match(files_of_stem.get(wav.stem, ()), wav, required_folders)
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
    """The endings of a path: the stem, the stem with its parent folder, and so on."""
    parts = PurePosixPath(wav).with_suffix("").parts
    return [parts[start:] for start in range(len(parts) - 1, -1, -1)]


def _best_match(paths: Sequence[Path], wav: PurePosixPath, required_folders: int) -> Path | None:
    """The path that has the most innermost folders in common with `wav`.

    Returns:
        None if no path has at least `required_folders` folders in common.

    Of equal copies of a file, such as those of a mirror with all folders twice, the first is used.

    Raises:
        UserError: if two paths with different content match equally well.
    """
    candidates = [path for path in paths if _common_folders(path, wav) >= required_folders]
    if not candidates:
        return None
    candidates.sort(key=lambda path: _common_folders(path, wav), reverse=True)
    best, *others = candidates
    for other in others:
        is_tie = _common_folders(other, wav) == _common_folders(best, wav)
        if is_tie and not same_content(best, other):
            raise UserError(
                f"{other}: matches EmoBox's {wav} as well as {best}; remove one of the two"
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
    """Read the clips from the complete list, or from the lists of all folds; each key once."""
    complete_list = root / f"{root.resolve().name}.jsonl"
    list_paths = [complete_list]
    if not complete_list.is_file():
        list_paths = [path for fold in folds for path in _list_paths(root / fold).values()]
    entries: dict[str, _Entry] = {}
    for list_path in list_paths:
        for entry in _entries(list_path):
            entries.setdefault(entry.key, entry)
    if not entries:
        raise UserError(
            f"corpus.root: {root} has neither {complete_list.name} nor fold_1 with lists of clips; "
            f"name a corpus's folder of EmoBox's data, such as data/ravdess ({URL})"
        )
    return list(entries.values())


def _folds(root: Path) -> dict[str, dict[str, str]]:
    """Read the splits: fold -> key of a clip -> split. Folds are in the order of their numbers."""
    names = [path.name for path in root.iterdir() if path.is_dir() and _FOLD.fullmatch(path.name)]
    names.sort(key=lambda name: int(name.removeprefix("fold_")))
    folds = {}
    for name in names:
        split_of_key: dict[str, str] = {}
        for split, list_path in _list_paths(root / name).items():
            for entry in _entries(list_path):
                if split_of_key.setdefault(entry.key, split) != split:
                    raise UserError(f"{entry.where}: {entry.key} is listed in another split too")
        folds[name] = split_of_key
    return folds


def _entries(list_path: Path) -> Iterator[_Entry]:
    """Read the clips in a list."""
    for line, content in read_json_lines(list_path):
        where = f"{list_path}, line {line}"
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


def _list_paths(fold: Path) -> dict[str, Path]:
    """Map each split to the path of its list in the folder of a fold."""
    path_of_split = {}
    for emobox_name, split in SPLITS.items():
        paths = sorted(fold.glob(f"*_{emobox_name}_{fold.name}.jsonl"))
        if paths:
            path_of_split[split] = paths[0]
    return path_of_split


def _label_map(root: Path) -> dict[str, str]:
    """Read `label_map.json`: label of the corpus -> label of EmoBox. Empty without this file."""
    path = root / "label_map.json"
    labels = parse_json(read_text(path), path) if path.is_file() else {}
    if not isinstance(labels, dict) or not all(isinstance(name, str) for name in labels.values()):
        raise UserError(
            f'{path}: expected a mapping of words to words, such as {{"Fearful": "Fear"}}'
        )
    return labels


def _speakers(root: Path) -> dict[str, str]:
    """Read the stm file: key of a clip -> speaker. Empty without this file."""
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
    """Make the clips of a corpus that has a module, whose grammar reads the file names."""
    clips = []
    skipped = []
    for row in rows:
        clip = None if row.missing else module.read_name(row.path)
        problem = _problem(row, clip, module, parser)
        if problem and parser.settings.on_unknown == "error":
            message = row.missing or f"{problem} ({row.path})"
            raise UserError(f"{row.where}: {message}")
        reason = problem or _known_bad(module, clip)
        if reason:
            skipped.append((row.where, reason))
        else:
            clips.append(dataclasses.replace(clip, extra={**clip.extra, **row.extra}))
    return Listing(parser.corpus_name, clips, skipped)


def _known_bad(module: ModuleType, clip: Clip | None) -> str | None:
    """Why the module of a corpus leaves a clip out; None if it keeps the clip."""
    return None if clip is None else getattr(module, "KNOWN_BAD", {}).get(clip.name)


def _problem(row: Row, clip: Clip | None, module: ModuleType, parser: RowParser) -> str | None:
    """What is wrong with a row of a corpus that has a module; None if the row is right.

    `clip` is the result of the module for the file name of this row.
    """
    if row.missing:
        return "no such file"
    if clip is None:
        return f"not a file name of {module.TITLE}"
    if clip.emotion != parser.emotion(row.label):
        return f"{row.label} in EmoBox, {clip.emotion} by its name"
    return None
