"""ser-hf download: downloads a corpus and checks every file, or only checks a folder."""

import logging
from typing import Annotated

from typer import Argument, Option

from ..utils.errors import UserError

logger = logging.getLogger(__name__)


def download(
    corpus: Annotated[
        str, Argument(help="ravdess, cremad, tess or emodb; for others the message says where to register.")
    ],
    folder: Annotated[str, Argument(metavar="DIR", help="Files in it are not downloaded again.")],
    source: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="One of the corpus's sources (such as zenodo, gitlab, kaggle), an archive or a folder that you have, "
            "or the URL of a mirror.  [default: the corpus's own sources, one after another]",
        ),
    ] = None,
    jobs: Annotated[int, Option(metavar="N", help="Downloads at a time.")] = 8,
    replace: Annotated[bool, Option("--replace", help="Replace changed files.")] = False,
    verify: Annotated[bool, Option("--verify", help="Only compare the files with the release.")] = False,
) -> None:
    """Download a corpus and check every file.

    With --verify it only checks a folder.

    Example: ser-hf download ravdess data/RAVDESS
    """
    if verify and replace:
        raise UserError("--replace: changes files, and --verify does not; give one of the two")
    from tqdm import tqdm

    from ..corpora import CORPORA
    from ..corpora.download import download, usable_folder
    from ..corpora.files import NAMES, UNFINISHED, unfinished
    from ..corpora.release_check import check_release

    if not verify:
        check = download(corpus, folder, source, jobs, replace=replace)
    elif corpus not in NAMES:
        raise UserError(f"{corpus}: no list of its files is known; choose one of {', '.join(NAMES)}")
    else:
        path = usable_folder(folder, "DIR", CORPORA[corpus].TITLE)
        if not path.is_dir():
            raise UserError(f"{path}: is not a folder")
        check = check_release(corpus, path, progress=lambda files: tqdm(files, "checking", leave=False, disable=None))
        if unfinished(path):
            logger.warning("%s: a download into it has not ended; without --verify it continues", path / UNFINISHED)
    for line in check.details():
        logger.warning("%s", line)
    if not check.complete:
        raise UserError(check.summary())
    print(check.summary())
