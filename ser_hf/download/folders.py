"""Files that are on this disk already: an archive or a folder of somebody's, and what kagglehub downloads."""

from pathlib import Path

from ..corpora.files import is_lfs_pointer
from ..errors import UserError
from ..folders import folders_below
from .archives import unpack
from .line import SourceFailed, spoken
from .members import Content
from .shelf import Shelf
from .sources import Kaggle


def take_on_disk(path: Path, shelf: Shelf, most: int) -> None:
    """Copies what is wanted out of an archive or a folder, wherever in it that lies: mirrors put folders around the
    release's own, or hold everything twice.

    Raises:
        SourceFailed: for an archive that is damaged or must not be trusted, for a clone without its LFS content, and
            where something is still missing and a file or a folder cannot be read.
    """
    if path.is_file():
        unpack(path, shelf, most)
        return
    lost: list[str] = []

    def lose(error: OSError) -> None:
        lost.append(f"{error.filename}: cannot be read ({error.strerror})")

    # Hidden folders too: a clone keeps what it has fetched from Git LFS below `.git`.
    walk = folders_below(path, lose, hidden=True)
    taken, others = 0, []
    for file in sorted(Path(folder, name) for folder, names in walk for name in names):
        try:
            if not file.is_file():
                continue
            size = file.stat().st_size
            if not shelf.may_want(size):
                others.append(file)
                continue
            content = file.open("rb")
        except OSError as error:
            lose(error)
            continue
        with content:
            taken += shelf.take(Content(content, str(file)), size)
    if lost and shelf.missing():
        raise SourceFailed(f"{lost[0]}{f', and {len(lost) - 1:,} more' if lost[1:] else ''}")
    if not taken and (pointers := [file for file in others if is_lfs_pointer(file)]):
        raise SourceFailed(
            f"{path}: {len(pointers):,} Git LFS pointers in place of files (first {pointers[0].name}); `git lfs pull` "
            "there fetches their content"
        )


def kaggle_folder(source: Kaggle) -> Path:
    """The folder to which kagglehub downloads a data set, in its own cache.

    Raises:
        UserError: if kagglehub is not installed.
        SourceFailed: if it does not get the data set.
    """
    try:
        import kagglehub
    except ImportError:
        raise UserError('--source kaggle: needs kagglehub; pip install "ser_hf[kaggle]"') from None
    try:
        return Path(kagglehub.dataset_download(source.handle))
    except Exception as error:  # kagglehub's own errors, those of requests, and OSError
        raise SourceFailed(f"kaggle ({source.handle}): {spoken(error)}") from error
