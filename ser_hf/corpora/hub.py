"""An audio data set of the Hub, or parquet files in the same form (corpus name `hub`).

    corpus: {name: hub, dataset: user/name, revision: 3f0e1c..., audio: audio, label: emotion, speaker: speaker_id}

`corpus.dataset` is an id on the Hub, and `corpus.revision` a commit: a branch moves, and a recipe that follows one is
not reproducible. Or `corpus.root` is a folder with the files of such a repository (parquet with a card, or the layout
of `ser_hf.corpora.audiofolder`), or one parquet file. `corpus.config` and `corpus.splits` choose among what the card
lists; the column `split` holds the split of each row, and the protocol `column` uses it.

Columns are mapped by name: `corpus.audio`, `corpus.label`, `corpus.speaker`, and `corpus.columns` for sex, age,
language, sentence, intensity, take and id. Class numbers become the class names of the file. Every other plain column
is kept; one with a reserved name (`duration`) is renamed to ``own_duration``, and a column `split` becomes
``own_split`` if the files or the card name splits. Features and further recordings are not read.

A corpus that `ser-hf publish-corpus` has pushed keeps its ids and speakers if `corpus.corpus_name` is the name of that
corpus; its column of votes is not read.

Embedded audio is written to the cache once (the environment's SER_HF_CACHE, else ~/.cache/ser_hf), so that rows have
paths as in every corpus. Nothing is decoded: `datasets` needs torchcodec for that.
"""

import dataclasses
import glob
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import yaml
from datasets.data_files import resolve_pattern, sanitize_patterns
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import EntryNotFoundError

from ..utils.errors import UserError
from ..utils.files import folders_below
from . import audiofolder
from .audiofolder import METADATA
from .files import AUDIO_SUFFIXES
from .schema import Clip, Listing
from .segments import unpack
from .tables import (
    KNOWN,
    Row,
    RowParser,
    embedded_audio,
    extra_columns,
    facts,
    open_parquet,
    parquet_audio,
    parquet_rows,
    split_name,
    uncompressed_bytes,
    with_splits,
)

__all__ = ["ROW_OPTIONS", "facts", "parse"]

ROW_OPTIONS = RowParser
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FRONT = re.compile(r"\A---\r?\n(.*?)\r?\n---", re.DOTALL)
_SHARD = re.compile(r"(?P<split>[A-Za-z0-9_.]+?)(?P<shard>-\d{5}-of-\d{5})?(?:-[0-9a-f]{16})?\.parquet")


def parse(
    root: str | Path | None = None,
    on_unknown: Literal["error", "skip"] = "error",
    dataset: str | None = None,
    revision: str | None = None,
    config: str | None = None,
    splits: list[str] | None = None,
    audio: str = "audio",
    label: str = "label",
    speaker: str = "speaker",
    corpus_name: str = "hub",
    **options: Any,
) -> Listing:
    """Reads the rows of a data set.

    Args:
        root: a folder or a parquet file, instead of `dataset`.
        on_unknown: with ``"skip"``, rows without audio and rows whose label is not an emotion are left out.
        dataset, revision: id on the Hub, and the commit (40 hexadecimal digits).
        config: a configuration of the data set's card; by default the card's default.
        splits: the splits to read; by default all.
        audio, label, speaker: names of these columns.
        corpus_name, options: see `ser_hf.corpora.tables.RowParser` and `ser_hf.corpora.tables.facts`. The speaker
            pattern is matched with the original file name of the clip.

    Raises:
        UserError: naming the key, or the file and row.
    """
    parser = RowParser.from_options(corpus_name, options)
    if (root is None) == (dataset is None):
        raise UserError("corpus.dataset: name an id on the Hub here, or a folder or parquet file in corpus.root")
    if dataset is not None:
        _require_commit(dataset, revision)
        root = snapshot(dataset, revision, config, splits)
    root = Path(os.path.normpath(root))
    files = data_files(root, config, splits)
    if files.tables:
        columns = {"audio": audio, "label": label, "speaker": speaker}
        return Listing(corpus_name, *_parse_tables(files.tables, columns, parser, on_unknown))
    listing = audiofolder.read_folder(root, parser, on_unknown, label, speaker, files.chosen)
    if splits is None:
        return listing
    found = [clip.extra.get("split") or "train" for clip in listing.clips]  # the default of `datasets`
    if not any((files.chosen or {}).values()):  # else the card has named the splits
        require_splits(found, splits)
    kept = [clip for clip, split in zip(listing.clips, found, strict=True) if split in splits]
    return dataclasses.replace(listing, clips=kept)


def configurations(root: Path) -> list[dict[str, Any]]:
    """The configurations in the card of the data set in `root` that list files or a folder.

    Raises:
        UserError: for metadata that is not YAML.
    """
    card = root / "README.md"
    front = _FRONT.match(card.read_text(encoding="utf-8-sig", errors="replace")) if card.is_file() else None
    try:
        content = yaml.safe_load(front[1]) if front else None
    except yaml.YAMLError as error:
        raise UserError(f"{card}: its metadata is not valid YAML: {' '.join(str(error).split())}") from None
    listed = content.get("configs") if isinstance(content, dict) else None
    listed = listed if isinstance(listed, list) else []
    return [item for item in listed if isinstance(item, dict) and (item.get("data_files") or item.get("data_dir"))]


def config_patterns(listed: Sequence[dict[str, Any]], config: str | None, root: Path) -> list[tuple[str | None, str]]:
    """Split and glob pattern of the files of one configuration; the split is None if file names give it.

    Raises:
        UserError: for an unknown configuration, none where there are several, and a pattern outside the data set.
    """
    card = root / "README.md"
    names = [str(item.get("config_name", "default")) for item in listed]
    if config is None:
        first = next((item for item in listed if item.get("default")), None)
        if first is None and len(listed) > 1 and "default" not in names:
            raise UserError(f"corpus.config: {root} has several, {', '.join(names)}; name one")
        chosen = first or listed[names.index("default") if "default" in names else 0]
    elif config in names:
        chosen = listed[names.index(config)]
    else:
        raise UserError(f"corpus.config: no configuration {config!r}; the data set has {', '.join(names)}")
    folder = [name for name in str(chosen.get("data_dir") or "").split("/") if name not in ("", ".")]
    try:
        by_split = sanitize_patterns(chosen["data_files"]) if chosen.get("data_files") else {None: ["**"]}
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{card}: its data_files cannot be read: {' '.join(str(error).split())}") from None
    found = []
    for split, patterns in by_split.items():
        for pattern in map(str, patterns if isinstance(patterns, list) else [patterns]):
            path = "/".join([*folder, pattern.removeprefix("./")])
            if pattern.startswith("/") or ".." in path.split("/") or "://" in path:
                raise UserError(f"{card}: lists {path}, which lies outside the data set")
            found.append((split and str(split), path))
    return found


def matching(pattern: str, root: Path) -> list[str]:
    """The files of the data set in `root` that a pattern of its card matches, relative to `root`.

    Raises:
        UserError: naming card and pattern, if it matches nothing.
    """
    try:
        found = resolve_pattern(pattern, glob.escape(str(root.absolute())))
    except FileNotFoundError:
        raise UserError(
            f"{root / 'README.md'}: lists {pattern}, which matches no file below {root}; complete the data set, or "
            "choose another corpus.config or corpus.splits"
        ) from None
    return sorted(Path(path).relative_to(root.absolute()).as_posix() for path in found)


@dataclasses.dataclass(frozen=True)
class DataFiles:
    """What to read: parquet files, each with its split (None if unknown); or, if there are none, the files of audio or
    metadata for `ser_hf.corpora.audiofolder.read_folder` (None: all)."""

    tables: list[tuple[str | None, Path]]
    chosen: Mapping[Path, str | None] | None = None


def data_files(root: Path, config: str | None, splits: Sequence[str] | None) -> DataFiles:
    """The files of a configuration and of the requested splits.

    The card (`README.md`) lists them by configuration. Without a card the split comes from the name of a file, as
    `push_to_hub` writes it (``train-00000-of-00002.parquet``), or of its folder.

    Raises:
        UserError: for an unknown configuration or split, and if there is nothing to read.
    """
    if root.is_file():
        return DataFiles(_of_splits([(_file_split(root.name), root)], splits))
    if not root.is_dir():
        raise UserError(
            f"corpus.root: {root} is neither a folder nor a parquet file; corpus.dataset names a data set of the Hub"
        )
    listed = configurations(root)
    if listed:
        return _listed_files(root, config_patterns(listed, config, root), splits)
    if config is not None and not (root / config).is_dir():
        raise UserError(f"corpus.config: {root} has no card that lists configurations, and no folder {config!r}")
    below = "" if config is None else f"{config.strip('/')}/"
    tables, others = _kinds([name for name in _files_below(root) if name.startswith(below)])
    if tables:
        named = [(_file_split(name.removeprefix(below)), root / name) for name in tables]
        return DataFiles(_of_splits(named, splits))
    if not others:
        raise UserError(f"corpus.root: {root} holds neither parquet nor audio files")
    return DataFiles([], None if config is None else dict.fromkeys(root / name for name in others))


def _listed_files(root: Path, patterns: Sequence[tuple[str | None, str]], splits: Sequence[str] | None) -> DataFiles:
    """The files that a card lists. Patterns of other splits may match nothing: those files are not downloaded."""
    found: dict[str, str | None] = {}
    others: list[tuple[str | None, Path]] = []
    for split, pattern in patterns:
        if splits is not None and split is not None and split not in splits:
            others.append((split, root))
        else:
            for name in matching(pattern, root):
                found.setdefault(name, split or _file_split(name))
    tables, audio = _kinds(list(found))
    if not tables and not audio and found:
        raise UserError(f"{root / 'README.md'}: lists {next(iter(found))}, which is neither parquet nor audio")
    kept = _of_splits([(found[name], root / name) for name in tables or audio] + others, splits)
    return DataFiles(kept) if tables else DataFiles([], {path: split for split, path in kept})


def _files_below(root: Path) -> list[str]:
    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}); corpus.root and all in it must be")

    found = (Path(folder, name) for folder, names in folders_below(root, refuse) for name in names)
    return sorted(path.relative_to(root).as_posix() for path in found)


def _kinds(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The tables of clips, and the other readable files. A `metadata.parquet` beside audio describes that audio."""
    audio = [name for name in names if Path(name).suffix.lower() in AUDIO_SUFFIXES]
    metadata = [name for name in names if Path(name).name in METADATA]
    tables = [name for name in names if name.endswith(".parquet") and (name not in metadata or not audio)]
    if not audio and len(tables) > 1:
        tables = [name for name in tables if name not in metadata] or tables
    return tables, [*audio, *(name for name in metadata if name not in tables)]


def _of_splits(
    files: Sequence[tuple[str | None, Path]], splits: Sequence[str] | None
) -> list[tuple[str | None, Path]]:
    """The files of the requested splits; a file without a split is train, as in `datasets`."""
    require_splits([split for split, _ in files], splits)
    return [(split, file) for split, file in files if splits is None or (split or "train") in splits]


def require_splits(found: Sequence[str | None], requested: Sequence[str] | None) -> None:
    """Raises a UserError for a requested split that does not exist. None among those `found` is train."""
    known = list(dict.fromkeys(split or "train" for split in found))
    for split in requested or ():
        if split not in known:
            raise UserError(f"corpus.splits: no split {split!r}; the data set has {', '.join(known)}")


def _file_split(path: str) -> str | None:
    """The split in a file's name (as `push_to_hub` or `datasets` names splits) or in its folders."""
    *folders, name = path.split("/")
    shard = _SHARD.fullmatch(name)
    words = [*([shard["split"]] if shard else []), *folders]
    known = next((split for word in words if (split := split_name(word))), None)
    return known or (shard["split"] if shard and shard["shard"] else None)


def commit_of(dataset: str, revision: str | None) -> str:
    """The current commit of a branch or tag of a data set.

    Raises:
        UserError: if the Hub is out of reach, or does not have it.
    """
    try:
        return HfApi().dataset_info(dataset, revision=revision).sha
    except (OSError, ValueError) as error:  # HTTP errors are OSErrors
        raise _unreachable(dataset, revision, error) from None


def snapshot(dataset: str, revision: str, config: str | None, splits: Sequence[str] | None) -> Path:
    """The folder with the files of one commit of a data set, downloaded if necessary: its card, then the files that it
    lists for the requested splits, or without a list all parquet, audio and metadata.

    Raises:
        UserError: if the Hub is out of reach, or does not have it.
    """
    card = ["README.md", *METADATA]
    try:
        folder = Path(_download(dataset, revision, card))
        listed = configurations(folder)
        if listed:
            chosen = config_patterns(listed, config, folder)
            if all(split for split, _ in chosen):
                require_splits([split for split, _ in chosen], splits)
            patterns = [path for split, path in chosen if splits is None or split is None or split in splits]
            patterns += [f"*/{name}" for name in METADATA]
        else:
            below = "" if config is None else f"{config}/"
            patterns = [f"{below}*{suffix}" for suffix in (".parquet", *sorted(AUDIO_SUFFIXES), *METADATA)]
        return Path(_download(dataset, revision, [*card, *patterns]))
    except UserError:
        raise
    except (EntryNotFoundError, OSError, ValueError) as error:
        raise _unreachable(dataset, revision, error) from None


def _download(dataset: str, revision: str, patterns: Sequence[str]) -> str:
    return snapshot_download(dataset, repo_type="dataset", revision=revision, allow_patterns=list(patterns))


def _unreachable(dataset: str, revision: str | None, error: Exception) -> UserError:
    reason = " ".join(str(error).split()).partition(". ")[0]
    at = f" at {revision}" if revision else ""
    return UserError(f"corpus.dataset: {dataset}{at} cannot be had from the Hub: {reason}")


def _require_commit(dataset: str, revision: str | None) -> None:
    if revision is None or not _COMMIT.fullmatch(revision):
        now = commit_of(dataset, revision)
        raise UserError(
            f"corpus.revision: {'missing' if revision is None else f'{revision} may move'}; give a commit of 40 "
            f"hexadecimal digits: {revision or 'the newest'} is {now} today"
        )


def _parse_tables(
    files: Sequence[tuple[str | None, Path]], columns: dict[str, str], parser: RowParser, on_unknown: str
) -> tuple[list[Clip], list[tuple[str, str]]]:
    """Checks labels and speakers first, and unpacks audio only of files with a valid clip, to one folder per file."""
    tables = {path: _open(path, columns) for _, path in files}
    rows = _rows([(split, path, tables[path]) for split, path in files], columns, parser)
    embedded = {str(row.path): row.path for row in rows if row.embedded}  # TABLE/NUMBER
    clips, skipped = parser.clips(rows, on_unknown)
    wanted = {embedded[clip.path].parent for clip in clips if clip.path in embedded}
    column = columns["audio"]
    unpacked = {
        path: unpack(path, column, embedded_audio(table, column), uncompressed_bytes(table, column))
        for path, table in tables.items()
        if path in wanted
    }
    for i, clip in enumerate(clips):
        if clip.path in embedded:
            place = embedded[clip.path]
            clips[i] = dataclasses.replace(clip, path=str(unpacked[place.parent][int(place.name)]))
    return clips, skipped


def _rows(
    tables: Sequence[tuple[str | None, Path, pq.ParquetFile]], columns: dict[str, str], parser: RowParser
) -> list[Row]:
    """The rows of all files. The path of embedded audio is the path of its table with the row's number below it."""
    column = columns["audio"]
    used = {*columns.values(), *map(parser.column, KNOWN)}
    places, cells, splits = [], [], []
    for split, path, table in tables:
        audio_and_rows = zip(parquet_audio(table, column), parquet_rows(table, used - {column}), strict=True)
        for number, ((size, name), row) in enumerate(audio_and_rows):
            places.append((path, number, size, name))
            cells.append(row)
            splits.append(split)
    extra = extra_columns(cells, used, guess=False)
    if any(splits) or not any("split" in row for row in extra):
        splits = [split or "train" for split in splits]
    names = _clip_names([name for *_, name in places], [split or "train" for split in splits])
    rows = []
    for (path, number, size, name), row, kept, clip_name in zip(
        places, cells, with_splits(splits, extra), names, strict=True
    ):
        embedded = bool(size)
        audio = path / str(number) if embedded else path.parent / (name or "no audio")
        missing = None
        if not embedded and not (size is None and name and audio.is_file()):
            missing = f"no audio at {audio}" if size is None else "its audio has no bytes"
            missing += "; correct the table, or set corpus.on_unknown: skip"
        rows.append(
            Row(
                where=f"{path}, row {number}",
                path=audio,
                name=clip_name,
                place=name,
                label=row.get(columns["label"]),
                speaker=row.get(columns["speaker"]),
                cells=row,
                extra=kept,
                missing=missing,
                embedded=embedded,
            )
        )
    return rows


def _open(path: Path, columns: dict[str, str]) -> pq.ParquetFile:
    table = open_parquet(path)
    found = table.schema_arrow.names
    for key in ("audio", "label"):
        if columns[key] not in found:
            raise UserError(
                f"corpus.{key}: {path} has no column {columns[key]!r}; it has {', '.join(found)}; name the one that "
                "holds it"
            )
    return table


def _clip_names(paths: Sequence[str | None], splits: Sequence[str]) -> list[str]:
    """Names of the clips: of their files if all have one and no two are equal, else split and number."""
    stems = [None if not path else re.sub(r"\.[A-Za-z0-9]{1,4}$", "", path).lstrip("./") for path in paths]
    if None not in stems and len(set(stems)) == len(stems):
        return stems
    counts: dict[str, int] = {}
    names = []
    for split in splits:
        names.append(f"{split}/{counts.get(split, 0):07d}")
        counts[split] = counts.get(split, 0) + 1
    return names
