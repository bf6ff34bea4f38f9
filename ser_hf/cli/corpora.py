"""ser-hf download and inspect: the files of a corpus or of weights, and a page about a corpus."""

import dataclasses
import logging
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option

from ..utils.errors import UserError
from .options import CorpusWords, Json, NoAudio, Pictures, as_json, corpus_recipe, root_or_word

logger = logging.getLogger(__name__)


def download(
    corpus: Annotated[
        str,
        Argument(
            help="ravdess, cremad, tess or emodb; for others the message says where to register. "
            "Or weights: published weights of a network."
        ),
    ],
    folder: Annotated[
        str | None,
        Argument(
            metavar="DIR|NAME",
            help="The folder of the corpus; files in it are not downloaded again. Of weights, the "
            "network.  [default: list them]",
        ),
    ] = None,
    output: Annotated[
        str | None, Option(metavar="DIR", help="The folder of weights.  [default: weights]")
    ] = None,
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
    """Download a corpus or published weights, and check every file.

    With --verify it only checks a folder.

    Example: ser-hf download ravdess data/RAVDESS

    Example: ser-hf download weights vggish
    """
    if corpus == "weights":
        if source is not None:
            raise UserError("--source: for corpora only; leave it out")
        _download_weights(folder, output, verify=verify, json=json)
        return
    if output is not None:
        raise UserError("--output: for weights only; name the folder of a corpus after the corpus")
    if folder is None:
        raise UserError(f"DIR: missing; name the folder of the corpus, such as data/{corpus}")

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


def _download_weights(name: str | None, output: str | None, *, verify: bool, json: bool) -> None:
    """Download or check the published weights of a network; without a name, list all of them."""
    from ..loading.download import check_weights, download_weights, weights_files, weights_table
    from ..loading.published import WEIGHTS_FOLDER

    folder = WEIGHTS_FOLDER if output is None else output
    if name is None:
        if json:
            print(as_json([dataclasses.asdict(weights) for weights in weights_files(folder)]))
        else:
            print(weights_table(folder))
        return
    if verify:
        weights = check_weights(name, folder)
    else:
        weights = download_weights(name, folder)
    print(as_json(dataclasses.asdict(weights)) if json else weights.summary())


def inspect(
    corpus: Annotated[str, Argument(help="Such as ravdess; csv for your own table.")],
    root: Annotated[
        str | None, Argument(metavar="DIR", help="Its folder; for csv the table.")
    ] = None,
    words: CorpusWords = None,
    output: Annotated[str | None, Option(metavar="DIR", help="[default: inspect-CORPUS]")] = None,
    no_audio: NoAudio = False,
    pictures: Pictures = None,
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
    page = write_inspection(inspection, folder, audio=not no_audio, pictures=pictures)
    facts = inspection.to_dict()
    print(as_json(facts) if json else f"{inspection_summary(facts)}\n  page: {page}")
    if facts["verdict"]["level"] == "error":
        raise Exit(2)
