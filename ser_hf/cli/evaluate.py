"""ser-hf evaluate: trained models of any origin on corpora."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Exit, Option

from ..utils.errors import UserError
from .first_checks import announce, require_folder_of_corpus, require_model, require_models
from .options import (
    Adapt,
    AdaptFrom,
    BatchSize,
    CpusPerJob,
    Device,
    GpusPerJob,
    JobsOption,
    Json,
    LabelNames,
    NoAudio,
    Overwrite,
    Pictures,
    Revision,
    Root,
    SlurmOptions,
    TrustRemoteCode,
    Window,
    as_json,
    corpus_recipe,
    jobs_of,
    names_of_labels,
    recipe_path,
)
from .shell_completion import complete_model

if TYPE_CHECKING:
    from ..experiment.evaluated_clips import EvaluationOptions
    from ..experiment.recipe import Recipe
    from ..utils.executor import Jobs


def evaluate(
    models: Annotated[
        list[str],
        Argument(
            metavar="MODEL... [key=value]...",
            help="Run folders, model folders, Hub ids or ONNX files; then options of the corpus, "
            "or keys of the recipe.",
            autocompletion=complete_model,
        ),
    ],
    corpus: Annotated[
        list[str] | None,
        Option(metavar="NAME[=DIR]", help="A corpus, such as ravdess; several for a matrix."),
    ] = None,
    root: Root = None,
    recipe: Annotated[
        list[str] | None,
        Option(metavar="RECIPE", help="The corpus and protocol of a recipe or of a run."),
    ] = None,
    protocol: Annotated[
        str | None, Option(metavar="NAME", help="Evaluate one split.  [default: the whole corpus]")
    ] = None,
    part: Annotated[
        Literal["train", "validation", "test"] | None, Option(help="That split.  [default: test]")
    ] = None,
    fold: Annotated[
        int | None, Option(metavar="N", help="Which fold, of a protocol with folds.")
    ] = None,
    label_map: Annotated[
        str | None,
        Option(
            metavar="MAP",
            help="Emotions of the model's labels, as WORD=EMOTION,...; none leaves a label out.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Turns with labels (RTTM, TextGrid, CSV, ...): evaluate MODEL over time on the "
            "RECORDINGS after it.",
        ),
    ] = None,
    segments: Annotated[
        str | None,
        Option(
            metavar="speech|windows|reference|FILE",
            help="With --reference: what is predicted.  [default: speech]",
        ),
    ] = None,
    training_speakers: Annotated[
        bool, Option("--training-speakers", help="Also evaluate on speakers of its training.")
    ] = False,
    output: Annotated[
        str | None,
        Option(metavar="DIR", help="[default: evaluations/MODEL-on-CORPUS, evaluations/matrix]"),
    ] = None,
    overwrite: Overwrite = False,
    robustness: Annotated[
        bool, Option("--robustness", help="Also under noise, in rooms, over telephones.")
    ] = False,
    adapt: Adapt = None,
    adapt_from: AdaptFrom = None,
    noise_folder: Annotated[
        str | None, Option(metavar="DIR", help="With --robustness: recordings of noise to add.")
    ] = None,
    impulse_folder: Annotated[
        str | None, Option(metavar="DIR", help="With --robustness: impulse responses of rooms.")
    ] = None,
    map: Annotated[
        Literal["pca", "tsne", "umap", "none"],
        Option(help="Map of the embeddings, by emotion and by speaker."),
    ] = "pca",
    no_audio: NoAudio = False,
    pictures: Pictures = None,
    window: Window = None,
    batch_size: BatchSize = 16,
    bootstrap: Annotated[int, Option(metavar="N", help="Resamples of the intervals.")] = 2000,
    device: Device = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    label_names: LabelNames = None,
    jobs: JobsOption = None,
    cpus_per_job: CpusPerJob = None,
    gpus_per_job: GpusPerJob = None,
    slurm: SlurmOptions = None,
    json: Json = False,
) -> None:
    """Evaluate trained models of any origin on corpora.

    Writes a report. `ser-hf compare` puts several of them side by side. Several models or corpora
    give a matrix: one page, a heat-map and tables, with a report for each cell. Cells that the
    output folder has are not evaluated again.

    Example: ser-hf evaluate runs/ravdess_crnn --corpus emodb --root data/EMO-DB --output
    evaluations/crnn_on_emodb
    """
    side_by_side = jobs_of(jobs, cpus_per_job, gpus_per_job, slurm)
    if reference is not None:
        _require_matrix(side_by_side)
        of_corpora = {
            "--corpus": corpus,
            "--root": root,
            "--recipe": recipe,
            "--protocol": protocol,
            "--part": part,
            "--fold": fold,
            "--robustness": robustness,
            "--adapt": adapt,
        }
        for key, value in of_corpora.items():
            if value:
                raise UserError(f"{key}: has no effect with --reference; leave one of them out")
        _evaluate_over_time(
            models,
            reference,
            segments=segments or "speech",
            label_map=label_map,
            settings={"window": window, "batch_size": batch_size},
            loading={
                "device": device,
                "revision": revision,
                "trust_remote_code": trust_remote_code,
                "label_names": names_of_labels(label_names),
            },
            output=output,
            overwrite=overwrite,
            json=json,
        )
        return
    if segments is not None:
        raise UserError("--segments: has no effect without --reference")
    sources, words = _models_and_words(models)
    request = _Request(
        corpora=corpus or [],
        root=root,
        recipes=recipe or [],
        words=words,
        protocol=protocol,
        part=part,
        fold=fold,
    )
    require_models(sources, "MODEL")
    require_folder_of_corpus(root, "--root")
    request.check()
    announce(", ".join(sources))
    evaluation_options = {
        "window": window,
        "batch_size": batch_size,
        "bootstrap": bootstrap,
        "robustness": robustness,
        "adapt": adapt,
        "adapt_from": adapt_from,
        "noise_folder": noise_folder,
        "impulse_folder": impulse_folder,
        "map": None if map == "none" else map,
        "audio": not no_audio,
        "pictures": pictures,
        "training_speakers": training_speakers,
    }
    loading = {"device": device, "trust_remote_code": trust_remote_code}
    if len(sources) > 1 or request.columns > 1:
        of_one_model = {
            "--label-map": label_map,
            "--label-names": label_names,
            "--revision": revision,
        }
        for key, value in of_one_model.items():
            if value is not None:
                raise UserError(f"{key}: is for one model on one corpus; leave it out")
        _evaluate_matrix(
            sources,
            request,
            evaluation_options,
            loading,
            output=output,
            overwrite=overwrite,
            jobs=side_by_side,
            json=json,
        )
        return
    _require_matrix(side_by_side)
    loading |= {"revision": revision, "label_names": names_of_labels(label_names)}
    _evaluate_one(
        sources[0],
        request,
        evaluation_options,
        loading,
        label_map=label_map,
        output=output,
        overwrite=overwrite,
        json=json,
    )


def _require_matrix(jobs: "Jobs | None") -> None:
    """Refuse --jobs for an evaluation of one model on one corpus."""
    if jobs is not None:
        raise UserError("--jobs: is for several models or corpora; leave it out")


def _evaluate_over_time(
    arguments: Sequence[str],
    reference: str,
    *,
    segments: str,
    label_map: str | None,
    settings: dict[str, Any],
    loading: dict[str, Any],
    output: str | None,
    overwrite: bool,
    json: bool,
) -> None:
    """Evaluate the first argument, a model, over time on the other ones, recordings."""
    model, *inputs = arguments
    require_model(model)
    if not inputs:
        raise UserError("--reference: name the recordings after the model")
    folder = Path(output or Path("evaluations", f"{_model_name(model)}-over-time"))
    announce(model)

    from ..experiment import evaluate as evaluation
    from ..experiment.over_time import evaluate_over_time
    from ..inference.load import load_classifier
    from ..inference.predict import PredictionSettings
    from ..inference.recordings import from_paths

    if (folder / "over_time.json").is_file():
        if not overwrite:
            raise UserError(
                f"--output: {folder} has an evaluation already; replace it with --overwrite"
            )
    else:
        evaluation.check_evaluation_folder(folder, overwrite)
    recordings = from_paths(inputs)
    classifier = load_classifier(model, **loading)
    result = evaluate_over_time(
        classifier,
        recordings,
        reference,
        PredictionSettings(segments=segments, **settings),
        folder,
        _label_map(label_map),
    )
    if json:
        print(as_json(result.to_dict()))
    else:
        print(f"{result.summary()}\nfolder: {folder}")


@dataclasses.dataclass(frozen=True)
class _Request:
    """Which clips are requested: the options of the command line about corpora and protocols."""

    corpora: list[str]
    root: str | None
    recipes: list[str]
    words: list[str]
    protocol: str | None
    part: str | None
    fold: int | None

    @property
    def columns(self) -> int:
        """The number of corpora."""
        return len(self.corpora) + len(self.recipes)

    def check(self) -> None:
        """Refuse options of a protocol without a protocol."""
        sets_protocol = any(word.startswith("protocol.") for word in self.words)
        needs_protocol = self.part is not None or self.fold is not None or sets_protocol
        if not self.recipes and self.protocol is None and needs_protocol:
            raise UserError("--protocol: missing; --part, --fold and protocol.key=value need it")

    def check_columns(self) -> None:
        """Refuse corpora that a matrix cannot have."""
        if self.columns == 0:
            raise UserError("--corpus: missing; name corpora and their folders, as ravdess=DIR")
        if self.root is not None and len(self.corpora) != 1:
            raise UserError("--root: is for one corpus; name folders as --corpus NAME=DIR")
        if self.recipes and any("=" not in text for text in self.corpora):
            raise UserError(
                "--recipe: names its corpus and protocol itself; leave out --corpus, or name other "
                "corpora with their folders, as --corpus NAME=DIR"
            )

    def of_corpus(self, text: str, words: Sequence[str]) -> "Recipe":
        """The recipe of a corpus as ``NAME`` or ``NAME=DIR``."""
        name, equals, folder = text.partition("=")
        if equals and self.root is not None:
            raise UserError(f"--root: contradicts --corpus {text}; give the folder once")
        return corpus_recipe(name, folder or self.root, words, self.protocol)

    def single(self) -> "Recipe":
        """The recipe of the only corpus."""
        if not self.recipes:
            if not self.corpora:
                return corpus_recipe(None, self.root, self.words, self.protocol)
            return self.of_corpus(self.corpora[0], self.words)
        return _read_recipe(self.recipes[0], self.words, root=self.root, protocol=self.protocol)

    def words_of(self, name: str) -> list[str]:
        """The words for one of several corpora: ``NAME.key=value``, or for all of them."""
        names = [text.partition("=")[0] for text in self.corpora]
        words = []
        for word in self.words:
            first, _, rest = word.partition(".")
            if first == name:
                words.append(rest)
            elif first not in names:
                words.append(word)
        return words


def _models_and_words(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide the arguments into models and ``key=value`` words."""
    models = []
    words = []
    for argument in arguments:
        is_word = "=" in argument and not os.path.exists(argument)
        if is_word:
            words.append(argument)
        else:
            models.append(argument)
    if not models:
        raise UserError("MODEL: missing; name a run, a model folder, a Hub id or an ONNX file")
    return models, words


def _evaluate_one(
    model: str,
    request: _Request,
    evaluation_options: dict[str, Any],
    loading: dict[str, Any],
    *,
    label_map: str | None,
    output: str | None,
    overwrite: bool,
    json: bool,
) -> None:
    """Evaluate one model on one corpus, and print a summary."""
    request.check()
    data = request.single()
    title = f"{_model_name(model)} on {data.corpus.name}"
    folder = Path(output or Path("evaluations", title.replace(" ", "-").replace("/", "-")))

    from ..corpora import corpus_facts
    from ..evaluation.maps import require_installed
    from ..experiment import evaluate as evaluation
    from ..experiment.data import load_recipe_corpus
    from ..report.terminal import evaluation_summary

    evaluation.check_evaluation_folder(folder, overwrite)
    require_installed(evaluation_options["map"], "--map")
    settings = evaluation.EvaluationOptions(**evaluation_options)
    if request.protocol is not None or request.recipes:
        settings = _on_split(settings, data, request.part, request.fold)
    labels = _label_map(label_map)
    clips = load_recipe_corpus(data)
    loaded = evaluation.load_evaluated_model(model, labels, **loading)
    facts = corpus_facts(data.corpus.name, data.corpus.options)
    report = evaluation.evaluate_on_corpus(loaded, clips, title, settings, folder, facts)

    if json:
        print(as_json(report.to_dict()))
    else:
        page = (folder / "index.html").absolute().as_uri()
        print(f"{evaluation_summary(report)}\nreport: {page}")


def _evaluate_matrix(
    models: Sequence[str],
    request: _Request,
    evaluation_options: dict[str, Any],
    loading: dict[str, Any],
    *,
    output: str | None,
    overwrite: bool,
    jobs: "Jobs | None",
    json: bool,
) -> None:
    """Evaluate all models on all corpora, and print the table; exit with 1 if a cell failed."""
    request.check()
    request.check_columns()

    from ..evaluation.maps import require_installed
    from ..experiment.evaluated_clips import EvaluationOptions
    from ..experiment.matrix import MatrixCorpus, matrix_models, run_matrix
    from ..experiment.matrix_page import notes, table
    from ..report.terminal import matrix_summary

    require_installed(evaluation_options["map"], "--map")
    settings = EvaluationOptions(**evaluation_options)
    columns = []
    for text in request.corpora:
        name = text.partition("=")[0]
        data = request.of_corpus(text, request.words_of(name))
        of_corpus = settings
        if request.protocol is not None:
            of_corpus = _on_split(settings, data, request.part, request.fold)
        columns.append(MatrixCorpus(name, data, of_corpus))
    for recipe in request.recipes:
        data = _read_recipe(recipe, request.words)
        on_split = _on_split(settings, data, request.part, request.fold)
        name = f"{data.corpus.name} ({on_split.part} of {data.name})"
        columns.append(MatrixCorpus(name, data, on_split))

    folder = Path(output or Path("evaluations", "matrix"))
    rows = matrix_models(models, loading)
    matrix = run_matrix(rows, columns, folder, overwrite=overwrite, jobs=jobs)
    if json:
        print(as_json(matrix.to_dict()))
    else:
        print(matrix_summary(table(matrix), notes(matrix)))
        print(f"  page: {(folder / 'index.html').absolute().as_uri()}")
    if matrix.failed:
        raise Exit(1)


def _read_recipe(
    recipe: str, words: Sequence[str], *, root: str | None = None, protocol: str | None = None
) -> "Recipe":
    """Read the recipe for corpus and protocol; options that name these too are refused."""
    from ..experiment.reading import read_recipe

    if root or protocol:
        raise UserError(
            "--recipe: names its corpus and protocol itself; leave out --root and --protocol"
        )
    return read_recipe(recipe_path(recipe), words)


def _model_name(model: str) -> str:
    """Return the name of a run folder, a model folder or a file; a Hub id is returned unchanged."""
    if not os.path.exists(model):
        return model
    return Path(os.path.abspath(model).removesuffix(f"{os.sep}model")).name


def _on_split(
    settings: "EvaluationOptions", recipe: "Recipe", part: str | None, fold: int | None
) -> "EvaluationOptions":
    """Return the settings for an evaluation on one split of the recipe's protocol."""
    folds = recipe.protocol.folds
    if fold is None and folds is not None and len(folds) == 1:
        fold = folds[0]
    return settings.replace(
        protocol=recipe.protocol.name,
        protocol_options=recipe.protocol.options,
        fold=fold,
        part=part or recipe.evaluation.part,
    )


def _label_map(text: str | None) -> dict[str, str]:
    """Read ``--label-map``: the emotion for each label of the model."""
    if text is None:
        return {}
    pairs = [pair.rpartition("=") for pair in text.split(",")]
    if not all(equals and word and emotion for word, equals, emotion in pairs):
        raise UserError(f"--label-map: expected WORD=EMOTION,..., got {text!r}")
    return {word.strip(): emotion.strip() for word, _, emotion in pairs}
