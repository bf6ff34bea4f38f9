"""ser-hf download: a corpus from where it is published, every file checked; or the check alone."""

import argparse
import logging

logger = logging.getLogger(__name__)

EXAMPLE = "ser-hf download ravdess data/RAVDESS"
INTERRUPTED = "; the same command goes on where it stopped"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "corpus", help="ravdess, cremad, tess or emodb; others say where to register (savee, then: --source ARCHIVE)"
    )
    parser.add_argument("folder", metavar="DIR", help="where it goes; what is there already is not downloaded again")
    parser.add_argument(
        "--source",
        metavar="NAME",
        help="one of the corpus's sources (such as zenodo, gitlab, kaggle), an archive or a folder that you have, or "
        "the address of a mirror (default: the corpus's own, one after another)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=8,
        metavar="N",
        help="files at a time, where they come singly (default: %(default)s)",
    )
    parser.add_argument(
        "--replace", action="store_true", help="download files anew that are not as released, and replace them"
    )
    parser.add_argument("--verify", action="store_true", help="download nothing: compare every byte with the release")


def run(options: argparse.Namespace) -> None:
    """Downloads, or only looks, and tells how the folder stands; what is not whole is an error."""
    # Imported late: `--help` must not wait for these.
    from tqdm import tqdm

    from ..corpora import CORPORA
    from ..corpora.files import UNFINISHED, unfinished
    from ..corpora.manifest import NAMES
    from ..download import download, look
    from ..download.alone import usable_folder
    from ..errors import UserError

    name = options.corpus
    if not options.verify:
        standing = download(name, options.folder, options.source, options.jobs, replace=options.replace)
    elif name not in NAMES:
        raise UserError(f"{name}: no list of its files is known to check them by, only of {', '.join(NAMES)}")
    elif options.replace:
        raise UserError("--replace: changes files, and --verify none; give one of the two")
    else:
        folder = usable_folder(options.folder, "DIR", CORPORA[name].TITLE)
        if not folder.is_dir():
            raise UserError(f"{folder}: is no folder")
        standing = look(name, folder, progress=lambda files: tqdm(files, "checking", leave=False, disable=None))
        if unfinished(folder):
            logger.warning(
                "%s: left by a download that has not ended; without --verify this command goes on with it and removes "
                "it once nothing is lacking",
                folder / UNFINISHED,
            )
    for line in standing.listed():
        logger.warning("%s", line)
    if not standing.whole:
        raise UserError(standing.told())
    print(standing.told())
