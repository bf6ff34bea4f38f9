"""Which parquet files a data set's card lists under which part, and how they come from the Hub."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import EntryNotFoundError

from ..errors import UserError
from .audio_folder import METADATA, PARTS
from .files import AUDIO_SUFFIXES

_FRONT = re.compile(r"\A---\r?\n(.*?)\r?\n---", re.DOTALL)
_SHARD = re.compile(r"(?P<split>[A-Za-z0-9_]+?)(?:-\d{5}-of-\d{5})?(?:-[0-9a-f]{16})?\.parquet")


def data_files(root: Path, config: str | None, splits: Sequence[str] | None) -> list[tuple[str, Path]] | None:
    """Part and path of each parquet file, in the order of parts and names; None where there is none at all.

    The card (`README.md`) lists them by configuration; without a card a file's name tells its part, as `push_to_hub`
    writes it (``train-00000-of-00002.parquet``), or its folder.

    Raises:
        UserError: for a configuration or part that is not there.
    """
    if root.is_file():
        return [(_part(root, root.parent), root)]
    if not root.is_dir():
        raise UserError(f"corpus.root: {root} is neither a folder nor a parquet file")
    listed = _configurations(root)
    if listed:
        chosen = _chosen(listed, config, root)
        files = [(part, path) for part, pattern in chosen for path in sorted(root.glob(pattern)) if path.is_file()]
        files = [file for file in files if file[1].suffix == ".parquet"]
    else:
        base = root if config is None else root / config
        if config is not None and not base.is_dir():
            raise UserError(f"corpus.config: {root} has no card that lists configurations, and no folder {config!r}")
        files = [(_part(path, base), path) for path in sorted(base.rglob("*.parquet"))]
    if not files:
        return None
    return _of_parts(files, splits)


def _of_parts(files: Sequence[tuple[str, Any]], splits: Sequence[str] | None) -> list[tuple[str, Any]]:
    """Those of the parts that are asked for."""
    parts = list(dict.fromkeys(part for part, _ in files))
    for split in splits or ():
        if split not in parts:
            raise UserError(f"corpus.splits: no part {split!r}; the data set has {', '.join(parts)}")
    return [(part, file) for part, file in files if splits is None or part in splits]


def _part(path: Path, base: Path) -> str:
    """The part that a file's name or folder tells, by `datasets`' words for it; train where neither does."""
    named = _SHARD.fullmatch(path.name)
    words = [named["split"] if named else "", *path.relative_to(base).parts[:-1]]
    known = [PARTS[word.lower()] for word in words if word.lower() in PARTS]
    return known[0] if known else "train"


def _chosen(listed: list[dict[str, Any]], config: str | None, root: Path) -> list[tuple[str, str]]:
    """Part and pattern of the files of one configuration."""
    names = [item.get("config_name", "default") for item in listed]
    if config is None:
        first = next((item for item in listed if item.get("default")), None)
        if first is None and len(listed) > 1 and "default" not in names:
            raise UserError(f"corpus.config: {root} has several, {', '.join(names)}; name one")
        chosen = first or listed[names.index("default") if "default" in names else 0]
    elif config in names:
        chosen = listed[names.index(config)]
    else:
        raise UserError(f"corpus.config: no configuration {config!r}; the data set has {', '.join(names)}")
    files = chosen.get("data_files")
    items = files if isinstance(files, list) else [files]
    items = [item if isinstance(item, dict) else {"path": item} for item in items]
    patterns = []
    for item in items:
        paths = item.get("path")
        for path in map(str, paths if isinstance(paths, list) else [paths]):
            if path.startswith("/") or ".." in path.split("/") or "://" in path:
                raise UserError(f"{root / 'README.md'}: lists {path}, which lies outside the data set")
            patterns.append((str(item.get("split", "train")), path))
    return patterns


def _configurations(root: Path) -> list[dict[str, Any]]:
    """What the card's `configs` lists with files."""
    card = root / "README.md"
    front = _FRONT.match(card.read_text(encoding="utf-8-sig", errors="replace")) if card.is_file() else None
    try:
        content = yaml.safe_load(front[1]) if front else None
    except yaml.YAMLError as error:
        raise UserError(f"{card}: its metadata is not valid YAML: {' '.join(str(error).split())}") from None
    listed = content.get("configs") if isinstance(content, dict) else None
    return [item for item in listed or () if isinstance(item, dict) and item.get("data_files")]


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
        listed = _configurations(folder)
        if listed:
            patterns = [path for _, path in _of_parts(_chosen(listed, config, folder), splits)]
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
