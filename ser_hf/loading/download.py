"""Download of published weights for transferred networks: `ser-hf download weights NAME`.

The table of the files is in `published`. A file is collected in the folder `.download`, so that
half a file is never taken for the published one, and moves to its place when its SHA-256 is right.
"""

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from ..corpora.connection import Connection, SourceError
from ..corpora.files import UNFINISHED, refuse_links
from ..utils.errors import UserError, one_line
from .published import PUBLISHED, WEIGHTS_FOLDER, Published, architecture_of, sha256_of

logger = logging.getLogger(__name__)

# A published size is rounded; a transfer with more than so many times its bytes is stopped.
_LIMIT_FACTOR = 1.1


@dataclass(frozen=True)
class WeightsFile:
    """A published file of weights, and whether it is in its folder.

    Args:
        name: the network, as `model.architecture` names it.
        path: where the file is, or will be.
        exists: whether a file has this path.
        recipe: the name of the shipped recipe that uses it.
    """

    name: str
    path: Path
    exists: bool
    sha256: str
    megabytes: int
    source: str
    licence: str
    recipe: str

    def summary(self) -> str:
        """One line about a file that is as published, with the command that uses it."""
        command = f"ser-hf train {self.recipe}"
        if self.path.parent != Path(WEIGHTS_FOLDER):
            command += f" model.checkpoint={self.path}"
        return f"{self.path}: as published (SHA-256 {self.sha256}); used by `{command}`"


def weights_files(folder: str | Path = WEIGHTS_FOLDER) -> list[WeightsFile]:
    """All published files of weights, in the order of the networks' names."""
    return [_weights_file(published, Path(folder)) for published in _by_name().values()]


def weights_table(folder: str | Path = WEIGHTS_FOLDER) -> str:
    """A table of the published files: name, size, recipe, where each lies, and its source."""
    lines = [f"{'NAME':<8} {'size':>6}  {'recipe':<15} file"]
    for weights in weights_files(folder):
        state = "exists" if weights.exists else f"missing; from {weights.source}"
        size = f"{weights.megabytes} MB"
        lines.append(f"{weights.name:<8} {size:>6}  {weights.recipe:<15} {weights.path} ({state})")
    return "\n".join(lines)


def check_weights(name: str, folder: str | Path = WEIGHTS_FOLDER) -> WeightsFile:
    """Check the SHA-256 of a published file in a folder.

    Raises:
        UserError: if the name is unknown, or if the file is missing or another one.
    """
    published = _published(name)
    weights = _weights_file(published, Path(folder))
    if not weights.exists:
        raise UserError(f"{weights.path}: missing; {published.origin}")
    _require_as_published(weights.path, published)
    return weights


def download_weights(name: str, folder: str | Path = WEIGHTS_FOLDER) -> WeightsFile:
    """Download the published weights of a network, unless the folder has them; check the SHA-256.

    An interrupted download is continued. Several processes may download into one folder: the first
    one downloads, and the others wait.

    Args:
        name: the network, as `model.architecture` names it.
        folder: the folder for the file, which is created if it is missing.

    Raises:
        UserError: if the name is unknown, if the folder has another file under the file's name, or
            if the file cannot be downloaded.
    """
    published = _published(name)
    folder = Path(folder).expanduser()
    weights = _weights_file(published, folder)
    if weights.exists:
        _require_as_published(weights.path, published)
        return weights
    if published.url is None:
        raise UserError(
            f"{name}: has no address for downloads; save {published.origin} as {weights.path}; "
            f"`ser-hf download weights {name}` then checks it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / UNFINISHED
    lock = folder / f"{UNFINISHED}.lock"
    refuse_links(folder, [staged, lock, weights.path])
    with FileLock(lock):
        if not weights.path.is_file():  # another process may have downloaded it
            staged.mkdir(exist_ok=True)
            try:
                _fetch(published, weights.path, staged)
            finally:
                with contextlib.suppress(OSError):  # it has a partial file
                    staged.rmdir()
    return _weights_file(published, folder)


def _fetch(published: Published, target: Path, staged: Path) -> None:
    """Download a file into a folder, and move it to its place."""
    logger.info("%s (license: %s), %d MB", published.file, published.licence, published.megabytes)
    connection = Connection(staged)
    limit = int(_LIMIT_FACTOR * published.megabytes * 1e6)
    try:
        with connection.session:
            path = connection.fetch_resumed(published.url, published.file, published.sha256, limit)
    except SourceError as error:
        raise UserError(
            f"{published.file}: {one_line(error)}; run the same command again to continue, or "
            f"save {published.url} as {target}"
        ) from None
    path.replace(target)


def _require_as_published(path: Path, published: Published) -> None:
    """Raise a UserError if a file has another SHA-256 than the published one."""
    actual = sha256_of(path)
    if actual != published.sha256:
        raise UserError(
            f"{path}: not the published file: its SHA-256 is {actual}, not {published.sha256}; "
            "move it away, and run the same command again"
        )


def _by_name() -> dict[str, Published]:
    """The published files, by the names of their networks."""
    return {
        architecture_of(model_type): published
        for model_type, published in sorted(PUBLISHED.items())
    }


def _published(name: str) -> Published:
    """The published file of a network."""
    published = _by_name().get(name)
    if published is None:
        raise UserError(
            f"{name}: no network with published weights; choose one of {', '.join(_by_name())}"
        )
    return published


def _weights_file(published: Published, folder: Path) -> WeightsFile:
    """A published file in a folder."""
    path = folder / published.file
    name = next(name for name, entry in _by_name().items() if entry == published)
    return WeightsFile(
        name=name,
        path=path,
        exists=path.is_file(),
        sha256=published.sha256,
        megabytes=published.megabytes,
        source=published.source,
        licence=published.licence,
        recipe=published.recipe,
    )
