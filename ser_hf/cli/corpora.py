"""ser-hf download and inspect: the files of a corpus or of weights, and a page about a corpus."""

import dataclasses
import logging
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option

from ..utils.errors import UserError
from .first_checks import announce, require_folder_of_corpus
from .options import CorpusWords, Json, NoAudio, Pictures, as_json, corpus_recipe, root_or_word
from .shell_completion import complete_corpus, complete_download

logger = logging.getLogger(__name__)


def download(
    corpus: Annotated[
        str,
        Argument(
            help="ravdess, cremad, tess or emodb; for others the message says where to register. "
            "Or weights: published weights of a network.",
            autocompletion=complete_download,
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


def table(
    folder: Annotated[str, Argument(metavar="FOLDER", help="The folder of the audio files.")],
    pattern: Annotated[
        str | None,
        Option(
            metavar="PATTERN",
            help="Parts of a file's name, such as {speaker}_{label}_{take}, or a regular "
            "expression with named groups. With a slash: of its path below FOLDER.  "
            "[default: suggest one and stop]",
        ),
    ] = None,
    output: Annotated[str, Option(metavar="FILE", help="The table: ends with .csv.")] = "clips.csv",
    overwrite: Annotated[bool, Option("--overwrite", help="Replace an earlier table.")] = False,
) -> None:
    """Write a table of clips from the names of audio files.

    Its columns are path and the parts of the pattern; paths are relative to the table.

    Example: ser-hf table calls/ --pattern "{speaker}_{label}_{take}"
    """
    file = Path(output)
    if file.suffix != ".csv":
        raise UserError(f"--output: {output}: expected a name that ends with .csv")
    if pattern is not None and file.exists() and not overwrite:
        raise UserError(f"--output: {output} exists; replace it with --overwrite")
    if not Path(folder).is_dir():
        raise UserError(f"FOLDER: {folder}: no such folder")

    from ..corpora.name_patterns import suggest, table_of_names
    from ..report.views import counted
    from ..utils.files import replace_text

    if pattern is None:
        suggestion = suggest(folder)
        if suggestion is None:
            raise UserError(
                "--pattern: missing, and no part of the names is a known emotion; write one, such "
                "as {speaker}_{label}_{take}"
            )
        raise UserError(
            f"--pattern: missing; the names look like {suggestion}: check which part is the "
            f"speaker, then add --pattern '{suggestion}'"
        )
    clips = table_of_names(folder, pattern)
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_text(file, clips.to_csv(file.parent))
    print(f"{file}: {counted(len(clips.rows), 'clip')}")
    for column in ("label", "speaker"):
        if column in clips.columns:
            counts = [f"{value} {count}" for value, count in clips.counts(column).items()]
            print(f"  {column}: {', '.join(shortened(counts))}")
    for path in clips.unmatched[:1]:
        print(f"  left out, another name: {len(clips.unmatched)} (first {path})")
    if "speaker" not in clips.columns:
        print("  no {speaker}: protocols that keep speakers apart need it")
    unknown = clips.unknown_labels()
    if unknown:
        print(f"  no known emotions: {', '.join(shortened(unknown))}; set corpus.label_map")
    print(f"  next: ser-hf inspect csv {file}")


def shortened(words: list[str], most: int = 12) -> list[str]:
    """The first words of a long list, and how many more there are."""
    if len(words) <= most:
        return words
    return [*words[:most], f"and {len(words) - most} more"]


def inspect(
    corpus: Annotated[
        str,
        Argument(help="Such as ravdess; csv for your own table.", autocompletion=complete_corpus),
    ],
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
    root, words = root_or_word(root, words)
    require_folder_of_corpus(root, "DIR")
    announce(corpus)
    from ..inspection import check_folder, inspect_corpus, write_inspection
    from ..report.terminal import inspection_summary

    section = corpus_recipe(corpus, root, words).corpus
    folder = Path(output or f"inspect-{corpus}")
    check_folder(folder)
    inspection = inspect_corpus(section.name, root, **section.changed_keys)
    page = write_inspection(inspection, folder, audio=not no_audio, pictures=pictures)
    facts = inspection.to_dict()
    print(as_json(facts) if json else f"{inspection_summary(facts)}\n  page: {page}")
    if facts["verdict"]["level"] == "error":
        raise Exit(2)
