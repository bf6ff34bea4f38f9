"""Any audio data set of the Hub, or parquet files of that kind (corpus name `hub`).

    corpus: {name: hub, dataset: user/name, revision: 3f0e1c..., audio: audio, label: emotion, speaker: speaker_id}

`corpus.dataset` is an id on the Hub, and `corpus.revision` the commit that the recipe means: a branch moves, and what
follows one is not the same recipe next month. Or `corpus.root` is a folder with such a repository's files (parquet
with a card, or the layout of `ser_hf.corpora.audiofolder`), or one parquet file. `corpus.config` and `corpus.splits`
choose among what the card lists; the column `split` has the part, and the protocol `column` splits by it.

Columns are mapped by name: `corpus.audio`, `corpus.label`, `corpus.speaker`, and `corpus.columns` for sex, age,
language, sentence, intensity, take and id. Labels that are class numbers are read by the names that the file has for
them. Every other plain column is carried along; one that has the name of one of ours (`duration`) as ``own_duration``,
and so a column `split` beside parts that files or the card tell. Features and further recordings are not read.

What `ser-hf publish-corpus` has pushed is the corpus that it was, ids and speakers too, where `corpus.corpus_name` is
that corpus's name; its column of votes is not read.

Embedded audio is written to the cache once, as the files that it was, so that rows have paths like every corpus's.
That is the environment's SER_HF_CACHE, else ~/.cache/ser_hf.
Nothing is decoded: `datasets` itself needs torchcodec for that.
"""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import yaml
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import EntryNotFoundError

from ..utils.errors import UserError
from ..utils.files import folders_below
from . import audiofolder, segments
from .audiofolder import METADATA
from .files import AUDIO_SUFFIXES
from .schema import Clip, Listing
from .tables import (
    KNOWN,
    NoSpeaker,
    Reading,
    Row,
    audio_of,
    bytes_of,
    carried,
    clips_of,
    contents_of,
    facts,
    opened,
    part_of,
    rows_of,
    with_parts,
)

_FRONT = re.compile(r"\A---\r?\n(.*?)\r?\n---", re.DOTALL)
_WILD = re.compile(r"(\*\*/|\*\*|\*|\?|\[[^\]/]+\])")
_MEANT = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def configurations(root: Path) -> list[dict[str, Any]]:
    """The configurations that the card of the data set in `root` lists with files or a folder.

    Raises:
        UserError: for metadata that is no YAML.
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


def chosen_patterns(listed: Sequence[dict[str, Any]], config: str | None, root: Path) -> list[tuple[str | None, str]]:
    """Part and pattern of the files of one configuration; the part is None where file names tell it.

    Raises:
        UserError: for a configuration that is not there, or not chosen among several, and for a pattern that leads
            out of the data set.
    """
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
    folder = [part for part in str(chosen.get("data_dir") or "").split("/") if part not in ("", ".")]
    patterns = _patterns(chosen.get("data_files")) or [(None, "**")]
    found = []
    for part, pattern in patterns:
        path = "/".join([*folder, pattern.removeprefix("./")])
        if pattern.startswith("/") or ".." in path.split("/") or "://" in path:
            raise UserError(f"{root / 'README.md'}: lists {path}, which lies outside the data set")
        found.append((part, path))
    return found


def matching(pattern: str, names: Sequence[str], root: Path) -> list[str]:
    """Those of the names (paths from `root` on) that a pattern of the card means: ``*`` stays within a folder, ``**``
    does not.

    Raises:
        UserError: naming card and pattern, where it is none or matches nothing.
    """
    written = "".join(
        _MEANT.get(piece) or (f"[^{piece[2:]}" if piece[1] == "!" else piece)
        if _WILD.fullmatch(piece)
        else re.escape(piece)
        for piece in _WILD.split(pattern)
    )
    try:
        grammar = re.compile(written)
    except re.error as error:
        raise UserError(f"{root / 'README.md'}: lists {pattern}, which is no pattern: {error}") from None
    found = [name for name in names if grammar.fullmatch(name)]
    if not found:
        raise UserError(
            f"{root / 'README.md'}: lists {pattern}, which matches no file below {root}; complete the data set, or "
            "choose another corpus.config or corpus.splits"
        )
    return found


def _patterns(files: Any) -> list[tuple[str | None, str]]:
    """Part and pattern as `data_files` has them: a pattern, a list of them, parts with theirs, or a mapping."""
    if not files:
        return []
    if isinstance(files, dict) and "path" not in files:
        files = [{"split": split, "path": paths} for split, paths in files.items()]
    items = [
        item if isinstance(item, dict) else {"path": item} for item in (files if isinstance(files, list) else [files])
    ]
    found = []
    for item in items:
        paths = item.get("path")
        found += [
            (str(item.get("split", "train")), str(path)) for path in (paths if isinstance(paths, list) else [paths])
        ]
    return found


_SHARD = re.compile(r"(?P<split>[A-Za-z0-9_.]+?)(?P<shard>-\d{5}-of-\d{5})?(?:-[0-9a-f]{16})?\.parquet")


@dataclasses.dataclass(frozen=True)
class DataFiles:
    """What to read: parquet files, each with its part (None where nothing tells it), in the order of parts and names;
    or, without any, files of audio or metadata as `ser_hf.corpora.audiofolder.read_folder` takes them (None: all)."""

    tables: list[tuple[str | None, Path]]
    chosen: Mapping[Path, str | None] | None = None


def data_files(root: Path, config: str | None, splits: Sequence[str] | None) -> DataFiles:
    """The files of a configuration and of the parts that are asked for.

    The card (`README.md`) lists them by configuration; without a card a file's name tells its part, as `push_to_hub`
    writes it (``train-00000-of-00002.parquet``), or its folder.

    Raises:
        UserError: for a configuration or part that is not there, and where there is nothing to read.
    """
    if root.is_file():
        return DataFiles(_of_parts([(_part(root.name), root)], splits))
    if not root.is_dir():
        raise UserError(
            f"corpus.root: {root} is neither a folder nor a parquet file; corpus.dataset names a data set of the Hub"
        )
    names = _below(root)
    listed = configurations(root)
    if listed:
        return _listed(root, names, chosen_patterns(listed, config, root), splits)
    if config is not None and not (root / config).is_dir():
        raise UserError(f"corpus.config: {root} has no card that lists configurations, and no folder {config!r}")
    if config is not None:
        names = [name for name in names if name.startswith(f"{config.strip('/')}/")]
    tables, others = _kinds(names)
    if tables:
        skipped = 0 if config is None else len(config.strip("/")) + 1
        return DataFiles(_of_parts([(_part(name[skipped:]), root / name) for name in tables], splits))
    if not others:
        raise UserError(f"corpus.root: {root} holds neither parquet nor audio files")
    return DataFiles([], None if config is None else dict.fromkeys(root / name for name in others))


def _listed(
    root: Path, names: Sequence[str], patterns: Sequence[tuple[str | None, str]], splits: Sequence[str] | None
) -> DataFiles:
    """The files that a card lists. Patterns of parts that nobody asks for may match nothing: they are not fetched."""
    found: dict[str, str | None] = {}
    others: list[tuple[str | None, Path]] = []
    for part, pattern in patterns:
        if splits is not None and part is not None and part not in splits:
            others.append((part, root))
        else:
            for name in matching(pattern, names, root):
                found.setdefault(name, part or _part(name))
    tables, audio = _kinds(list(found))
    if not tables and not audio and found:
        raise UserError(f"{root / 'README.md'}: lists {next(iter(found))}, which is neither parquet nor audio")
    kept = _of_parts([(found[name], root / name) for name in tables or audio] + others, splits)
    return DataFiles(kept) if tables else DataFiles([], {path: part for part, path in kept})


def _below(root: Path) -> list[str]:
    """The paths of all files, from `root` on, sorted."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}); corpus.root and all in it must be")

    found = (Path(folder, name) for folder, names in folders_below(root, refuse) for name in names)
    return sorted(path.relative_to(root).as_posix() for path in found)


def _kinds(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The tables of clips, and the rest that can be read. A `metadata.parquet` beside audio says what that is."""
    audio = [name for name in names if Path(name).suffix.lower() in AUDIO_SUFFIXES]
    metadata = [name for name in names if Path(name).name in METADATA]
    tables = [name for name in names if name.endswith(".parquet") and (name not in metadata or not audio)]
    if not audio and len(tables) > 1:
        tables = [name for name in tables if name not in metadata] or tables
    return tables, [*audio, *(name for name in metadata if name not in tables)]


def _of_parts(files: Sequence[tuple[str | None, Path]], splits: Sequence[str] | None) -> list[tuple[str | None, Path]]:
    """Those of the parts that are asked for; what no part is told of is train, as `datasets` has it."""
    require_parts([part for part, _ in files], splits)
    return [(part, file) for part, file in files if splits is None or (part or "train") in splits]


def require_parts(parts: Sequence[str | None], splits: Sequence[str] | None) -> None:
    """Refuses to read a part that is not there. None among `parts` is train."""
    known = list(dict.fromkeys(part or "train" for part in parts))
    for split in splits or ():
        if split not in known:
            raise UserError(f"corpus.splits: no part {split!r}; the data set has {', '.join(known)}")


def _part(name: str) -> str | None:
    """The part that a file's name or folder tells: what `push_to_hub` calls it, or `datasets`' words for one."""
    *folders, own = name.split("/")
    named = _SHARD.fullmatch(own)
    words = [*([named["split"]] if named else []), *folders]
    known = next((part for word in words if (part := part_of(word))), None)
    return known or (named["split"] if named and named["shard"] else None)


def commit_of(dataset: str, revision: str | None) -> str:
    """The commit that a branch or tag of a data set stands at now.

    Raises:
        UserError: where the Hub cannot be asked, or does not have it.
    """
    try:
        return HfApi().dataset_info(dataset, revision=revision).sha
    except (OSError, ValueError) as error:  # HTTP's are OSErrors
        raise _unreachable(dataset, revision, error) from None


def snapshot(dataset: str, revision: str, config: str | None, splits: Sequence[str] | None) -> Path:
    """The folder with a data set's files of one commit, fetched where it does not stand whole: its card, then the
    files that it lists for the parts that are asked for, or without a list all parquet, audio and metadata.

    Raises:
        UserError: where the Hub cannot be reached, or does not have it.
    """
    card = ["README.md", *METADATA]
    try:
        folder = Path(_fetched(dataset, revision, card))
        listed = configurations(folder)
        if listed:
            chosen = chosen_patterns(listed, config, folder)
            if all(part for part, _ in chosen):
                require_parts([part for part, _ in chosen], splits)
            patterns = [path for part, path in chosen if splits is None or part is None or part in splits]
            patterns += [f"*/{name}" for name in METADATA]
        else:
            below = "" if config is None else f"{config}/"
            patterns = [f"{below}*{suffix}" for suffix in (".parquet", *sorted(AUDIO_SUFFIXES), *METADATA)]
        return Path(_fetched(dataset, revision, [*card, *patterns]))
    except UserError:
        raise
    except (EntryNotFoundError, OSError, ValueError) as error:
        raise _unreachable(dataset, revision, error) from None


def _fetched(dataset: str, revision: str, patterns: Sequence[str]) -> str:
    return snapshot_download(dataset, repo_type="dataset", revision=revision, allow_patterns=list(patterns))


def _unreachable(dataset: str, revision: str | None, error: Exception) -> UserError:
    told = " ".join(str(error).split()).partition(". ")[0]
    return UserError(
        f"corpus.dataset: {dataset}" + (f" at {revision}" if revision else "") + f" cannot be had from the Hub: {told}"
    )


__all__ = ["facts", "parse"]

_COMMIT = re.compile(r"[0-9a-f]{40}")


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
    columns: dict[str, str] | None = None,
    label_map: dict[str, str] | None = None,
    speaker_pattern: str | None = None,
    no_speaker: NoSpeaker = "error",
    corpus_name: str = "hub",
    language: str | None = None,
    **told: Any,
) -> Listing:
    """Reads the rows of a data set.

    Args:
        root: a folder or a parquet file, in place of `dataset`.
        on_unknown: with ``"skip"``, rows without audio and rows whose label is not an emotion are left out and told.
        dataset, revision: id on the Hub, and the commit (40 hexadecimal digits).
        config: one of the configurations in the data set's card; by default its default.
        splits: the parts to read; by default all.
        audio, label, speaker, columns: names of its columns (above).
        label_map, speaker_pattern, no_speaker, corpus_name, language: see `ser_hf.corpora.tables.Reading`. A
            speaker pattern is matched with the name that a clip's file had.
        told: what `ser_hf.corpora.tables.facts` takes.

    Raises:
        UserError: naming the key, or the file and row.
    """
    reading = Reading(corpus_name, label_map, columns, language, speaker_pattern, no_speaker)
    if (root is None) == (dataset is None):
        raise UserError("corpus.dataset: name an id on the Hub here, or a folder or parquet file in corpus.root")
    if dataset is not None:
        _require_commit(dataset, revision)
        root = snapshot(dataset, revision, config, splits)
    root = Path(os.path.normpath(root))
    files = data_files(root, config, splits)
    if files.tables:
        return Listing(
            corpus_name,
            *_parse_tables(files.tables, {"audio": audio, "label": label, "speaker": speaker}, reading, on_unknown),
        )
    listing = audiofolder.read_folder(root, reading, on_unknown, label, speaker, files.chosen)
    if splits is None:
        return listing
    parts = [clip.extra.get("split") or "train" for clip in listing.clips]  # as `datasets` has it without parts
    if not any((files.chosen or {}).values()):  # else the card has told them
        require_parts(parts, splits)
    kept = [clip for clip, part in zip(listing.clips, parts, strict=True) if part in splits]
    return dataclasses.replace(listing, clips=kept)


def _require_commit(dataset: str, revision: str | None) -> None:
    if revision is None or not _COMMIT.fullmatch(revision):
        now = commit_of(dataset, revision)
        raise UserError(
            f"corpus.revision: {'missing' if revision is None else f'{revision} may move'}; write the commit that the "
            f"recipe means, 40 digits: {revision or 'the newest'} is {now} today"
        )


def _parse_tables(
    files: Sequence[tuple[str | None, Path]], needed: dict[str, str], reading: Reading, on_unknown: str
) -> tuple[list[Clip], list[tuple[str, str]]]:
    """Labels and speakers first: audio is unpacked where they let a clip be, a folder a file."""
    tables = {path: _open(path, needed) for _, path in files}
    rows = _rows([(part, path, tables[path]) for part, path in files], needed, reading)
    inside = {str(row.path): number for number, row in enumerate(rows) if row.inside}
    clips, skipped = clips_of(rows, reading, on_unknown)
    wanted = {rows[inside[clip.path]].path.parent for clip in clips if clip.path in inside}
    column = needed["audio"]
    unpacked = {
        path: segments.unpacked(path, column, contents_of(table, column), bytes_of(table, column))
        for path, table in tables.items()
        if path in wanted
    }
    for i, clip in enumerate(clips):
        if clip.path in inside:
            place = rows[inside[clip.path]].path
            clips[i] = dataclasses.replace(clip, path=str(unpacked[place.parent][int(place.name)]))
    return clips, skipped


def _rows(
    tables: Sequence[tuple[str | None, Path, pq.ParquetFile]], needed: dict[str, str], reading: Reading
) -> list[Row]:
    """The rows of all files. The path of audio that is inside is a table's with the number of its row below it."""
    column = needed["audio"]
    used = {*needed.values(), *map(reading.column, KNOWN)}
    places, cells, parts = [], [], []
    for part, path, table in tables:
        told = zip(audio_of(table, column), rows_of(table, used - {column}), strict=True)
        for number, ((size, name), row) in enumerate(told):
            places.append((path, number, size, name))
            cells.append(row)
            parts.append(part)
    extra = carried(cells, used, guess=False)
    if any(parts) or not any("split" in own for own in extra):
        parts = [part or "train" for part in parts]
    names = _names([name for *_, name in places], [part or "train" for part in parts])
    rows = []
    for (path, number, size, name), own, others, called in zip(
        places, cells, with_parts(parts, extra), names, strict=True
    ):
        inside = bool(size)
        there = path / str(number) if inside else path.parent / (name or "no audio")
        absent = f"no audio at {there}" if size is None else "its audio has no bytes"
        rows.append(
            Row(
                where=f"{path}, row {number}",
                path=there,
                name=called,
                place=name,
                label=own.get(needed["label"]),
                speaker=own.get(needed["speaker"]),
                cells=own,
                extra=others,
                absent=None
                if inside or (size is None and name and there.is_file())
                else f"{absent}; mend the table, or set corpus.on_unknown: skip",
                inside=inside,
            )
        )
    return rows


def _open(path: Path, needed: dict[str, str]) -> pq.ParquetFile:
    table = opened(path)
    columns = table.schema_arrow.names
    for key in ("audio", "label"):
        if needed[key] not in columns:
            raise UserError(
                f"corpus.{key}: {path} has no column {needed[key]!r}; it has {', '.join(columns)}; name the one that "
                "holds it"
            )
    return table


def _names(paths: Sequence[str | None], splits: Sequence[str]) -> list[str]:
    """Names of the clips: those of their files where each has one of its own, else part and number."""
    stems = [None if not path else re.sub(r"\.[A-Za-z0-9]{1,4}$", "", path).lstrip("./") for path in paths]
    if None not in stems and len(set(stems)) == len(stems):
        return stems
    counts: dict[str, int] = {}
    names = []
    for split in splits:
        names.append(f"{split}/{counts.get(split, 0):07d}")
        counts[split] = counts.get(split, 0) + 1
    return names
