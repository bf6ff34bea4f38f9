"""ser-hf download: downloads a corpus and checks every file, or only checks a folder."""

import argparse
import logging

logger = logging.getLogger(__name__)

EXAMPLE = "ser-hf download ravdess data/RAVDESS"
INTERRUPTED = "; the same command continues where it stopped"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "corpus", help="ravdess, cremad, tess or emodb; others say where to register (savee, then: --source ARCHIVE)"
    )
    parser.add_argument("folder", metavar="DIR", help="folder of the corpus; files in it are not downloaded again")
    parser.add_argument(
        "--source",
        metavar="NAME",
        help="one of the corpus's sources (such as zenodo, gitlab, kaggle), an archive or a folder that you have, or "
        "the URL of a mirror (default: the corpus's own, one after another)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=8,
        metavar="N",
        help="files at a time, where they come one by one (default: %(default)s)",
    )
    parser.add_argument("--replace", action="store_true", help="download altered files again, and replace them")
    parser.add_argument("--verify", action="store_true", help="only compare every byte with the release")


def run(options: argparse.Namespace) -> None:
    """Downloads, or only checks, and prints the result; an incomplete corpus is an error."""
    # Imported late: `--help` must not wait for these.
    from tqdm import tqdm

    from ..corpora import CORPORA
    from ..corpora.download import download, usable_folder
    from ..corpora.files import NAMES, UNFINISHED, unfinished
    from ..corpora.release_check import check_release
    from ..utils.errors import UserError

    name = options.corpus
    if not options.verify:
        check = download(name, options.folder, options.source, options.jobs, replace=options.replace)
    elif name not in NAMES:
        raise UserError(f"{name}: no list of its files is known to check them by, only of {', '.join(NAMES)}")
    elif options.replace:
        raise UserError("--replace: changes files, and --verify does not; give one of the two")
    else:
        folder = usable_folder(options.folder, "DIR", CORPORA[name].TITLE)
        if not folder.is_dir():
            raise UserError(f"{folder}: is no folder")
        check = check_release(name, folder, progress=lambda files: tqdm(files, "checking", leave=False, disable=None))
        if unfinished(folder):
            logger.warning(
                "%s: left by an unfinished download; without --verify this command continues it and removes the "
                "folder once the corpus is complete",
                folder / UNFINISHED,
            )
    for line in check.details():
        logger.warning("%s", line)
    if not check.complete:
        raise UserError(check.summary())
    print(check.summary())
