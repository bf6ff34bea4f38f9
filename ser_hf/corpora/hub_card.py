"""What the card of a data set (`README.md`) lists: configurations, and the files of their parts by pattern.

The keys are those of https://huggingface.co/docs/hub/datasets-manual-configuration: `configs`, and of each
`config_name`, `data_files`, `data_dir`, `default`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError

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
