"""ser-hf download: downloads a corpus and checks every file, or only checks a folder."""

import logging
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from ..utils.errors import UserError

logger = logging.getLogger(__name__)


def download(
    corpus: Annotated[
        str, Argument(help="ravdess, cremad, tess or emodb; for others the message says where to register.")
    ],
    folder: Annotated[str, Argument(metavar="DIR", help="Files in it are not downloaded again.")],
    verify: Annotated[bool, Option("--verify", help="Only compare the files with the release.")] = False,
) -> None:
    """Download a corpus and check every file.

    With --verify it only checks a folder.

    Example: ser-hf download ravdess data/RAVDESS
    """
    from ..corpora.download import check_release, download
    from ..corpora.files import UNFINISHED, unfinished

    if not verify:
        check = download(corpus, folder)
    else:
        path = Path(folder)
        if not path.is_dir():
            raise UserError(f"{path}: is not a folder")
        check = check_release(corpus, path)
        if unfinished(path):
            logger.warning("%s: left by an unfinished download; without --verify it continues", path / UNFINISHED)
    if not check.complete:
        raise UserError(check.summary())
    print(check.summary())
