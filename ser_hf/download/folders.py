"""Files that are on this disk already: an archive or a folder of somebody's, and what kagglehub downloads."""

from pathlib import Path

from ..corpora.files import is_lfs_pointer
from ..errors import UserError
from .archives import unpack
from .line import SourceFailed
from .shelf import Shelf
from .sources import Kaggle


def take_on_disk(path: Path, shelf: Shelf, most: int) -> None:
    """Copies what is wanted out of an archive or a folder, wherever in it that lies: mirrors put folders around the
    release's own, or hold everything twice.

    Raises:
        SourceFailed: for an archive that is damaged or must not be trusted, and for a clone without its LFS content.
    """
    if path.is_file():
        unpack(path, shelf, most)
        return
    files = sorted(file for file in path.rglob("*") if file.is_file())
    taken = [shelf.take_file(file) for file in files]
    if not any(taken) and (pointers := [file for file in files if is_lfs_pointer(file)]):
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
        raise SourceFailed(f"kaggle ({source.handle}): {' '.join(str(error).split())}") from error
