"""ser-hf download and inspect: the files of a corpus, and a page about it."""

import dataclasses
import logging
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option

from ..utils.errors import UserError
from .options import CorpusWords, Json, as_json, corpus_recipe, root_or_word

logger = logging.getLogger(__name__)


def download(
    corpus: Annotated[
        str,
        Argument(
            help="ravdess, cremad, tess or emodb; for others the message says where to register."
        ),
    ],
    folder: Annotated[str, Argument(metavar="DIR", help="Files in it are not downloaded again.")],
    verify: Annotated[
        bool, Option("--verify", help="Only compare the files with the release.")
    ] = False,
    source: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Only use this source: kaggle (needs kagglehub), or a source of the release.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Download a corpus and check every file.

    With --verify it only checks a folder.

    Example: ser-hf download ravdess data/RAVDESS
    """
    from ..corpora.download import download
    from ..corpora.files import UNFINISHED, unfinished
    from ..corpora.verify import check_release

    path = Path(folder)
    if verify:
        if not path.is_dir():
            raise UserError(f"{path}: is not a folder")
        if source is not None:
            raise UserError("--source: --verify downloads nothing; leave one of the two out")
        check = check_release(corpus, path)
        if unfinished(path):
            logger.warning(
                "%s: an unfinished download; run the command without --verify to continue it",
                path / UNFINISHED,
            )
    else:
        check = download(corpus, folder, source)
    if not check.complete:
        raise UserError(check.summary())
    print(as_json(dataclasses.asdict(check)) if json else check.summary())


def inspect(
    corpus: Annotated[str, Argument(help="Such as ravdess; csv for your own table.")],
    root: Annotated[
        str | None, Argument(metavar="DIR", help="Its folder; for csv the table.")
    ] = None,
    words: CorpusWords = None,
    output: Annotated[str | None, Option(metavar="DIR", help="[default: inspect-CORPUS]")] = None,
    json: Json = False,
) -> None:
    """Inspect a corpus before training: write a page with findings.

    The exit code is 2, as that of training, if there is an error that training would stop at.

    Example: ser-hf inspect ravdess data/RAVDESS song=true --output inspect-song
    """
    from ..inspection import check_folder, inspect_corpus, write_inspection
    from ..report.terminal import inspection_summary

    root, words = root_or_word(root, words)
    section = corpus_recipe(corpus, root, words).corpus
    folder = Path(output or f"inspect-{corpus}")
    check_folder(folder)
    inspection = inspect_corpus(section.name, root, **section.changed_keys)
    page = write_inspection(inspection, folder)
    facts = inspection.to_dict()
    print(as_json(facts) if json else f"{inspection_summary(facts)}\n  page: {page}")
    if facts["verdict"]["level"] == "error":
        raise Exit(2)
