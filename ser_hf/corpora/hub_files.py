"""Which files of a data set are meant, and of which part each is; how they come from the Hub."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import EntryNotFoundError

from ..errors import UserError
from ..folders import folders_below
from .audio_folder import METADATA
from .files import AUDIO_SUFFIXES
from .hub_card import chosen_patterns, configurations, matching
from .part_words import part_of

_SHARD = re.compile(r"(?P<split>[A-Za-z0-9_.]+?)(?P<shard>-\d{5}-of-\d{5})?(?:-[0-9a-f]{16})?\.parquet")


@dataclasses.dataclass(frozen=True)
class DataFiles:
    """What to read: parquet files, each with its part (None where nothing tells it), in the order of parts and names;
    or, without any, files of audio or metadata as `ser_hf.corpora.audio_folder.read_folder` takes them (None: all)."""

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
