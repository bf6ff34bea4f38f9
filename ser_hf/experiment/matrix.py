"""Evaluates several models on several corpora: a matrix with one evaluation in each cell.

A cell is a folder with the report of an evaluation. Its name contains a hash of the model, the
clips and the options, so that a second call evaluates only what is new or has changed. An error in
a cell is a part of the result and does not end the others.
"""

import dataclasses
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset

from ..audio import AudioError
from ..corpora import Corpus, corpus_facts
from ..evaluation.metrics import NAMES, definitions
from ..evaluation.tasks import DIMENSIONS, Task
from ..inference.load import model_digest
from ..report.report import Report, read_report
from ..utils.cache import key_of
from ..utils.environment import __version__
from ..utils.errors import UserError
from ..utils.executor import Jobs, run_all
from ..utils.executor import Task as JobTask
from .compare import check_output
from .data import load_recipe_corpus
from .evaluate import EvaluatedModel, evaluate_on_corpus, load_evaluated_model
from .evaluated_clips import EvaluationOptions, clips_of_training
from .reading import read_recipe
from .recipe import Recipe

logger = logging.getLogger(__name__)

CELLS = "cells"
LOGS = "logs"  # of cells that are evaluated side by side
# The files of a matrix in its folder.
FILES = (
    "index.html",
    "matrix.json",
    "matrix.csv",
    "matrix.tex",
    "matrix.png",
    "matrix.svg",
    CELLS,
    LOGS,
)
# Digits of the hash in the name of a cell's folder.
_DIGITS = 12
# Fields of `EvaluationOptions` that change neither clips nor figures.
_WITHOUT_EFFECT = ("batch_size", "cache_dir")

Relation = Literal["own", "foreign", "unknown"]
Overlap = Literal["none", "left out", "shared", "unknown"]


@dataclasses.dataclass(frozen=True)
class MatrixModel:
    """A row of the matrix.

    Args:
        source: a run folder, a model folder, a Hub id or an ONNX file.
        name: the name in the matrix.
        loading: arguments of `load_evaluated_model`.
    """

    source: str
    name: str
    loading: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A hash of the model and of how its outputs are named."""
        names = {key: self.loading.get(key) for key in ("label_map", "label_names")}
        return key_of([model_digest(self.source, self.loading.get("revision")), names])


@dataclasses.dataclass(frozen=True)
class MatrixCorpus:
    """A column of the matrix.

    Args:
        name: the name in the matrix.
        recipe: a recipe with the corpus.
        settings: which of its clips are evaluated, and how.
    """

    name: str
    recipe: Recipe
    settings: EvaluationOptions


@dataclasses.dataclass(frozen=True)
class MatrixCell:
    """The result of one model on one corpus.

    Args:
        folder: the folder of the evaluation, relative to that of the matrix; None after an error.
        error: why there is no result; None for a result.
        relation: whether the model was trained on this corpus (``own``) or not (``foreign``).
        overlap: ``left out`` if clips of the model's training speakers or recordings were left
            out, ``shared`` if they were evaluated, ``none`` if there are none.
        left_out: number of the clips that were left out for this reason.
        metric: the main metric of the task, whose value is `value`.
    """

    model: str
    corpus: str
    folder: str | None = None
    error: str | None = None
    relation: Relation = "unknown"
    overlap: Overlap = "unknown"
    left_out: int = 0
    metric: str | None = None
    value: float | None = None
    interval: tuple[float, float] | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    labels: Sequence[str] = ()
    protocol: str | None = None
    clips: int | None = None
    speakers: int | None = None


@dataclasses.dataclass(frozen=True)
class Matrix:
    """The content of matrix.json. `cells` are those of the first model, then of the second, ..."""

    models: list[str]
    corpora: list[str]
    cells: list[MatrixCell]
    confidence: float
    definitions: dict[str, str]

    def cell(self, model: str, corpus: str) -> MatrixCell:
        """The result of a model on a corpus."""
        for cell in self.cells:
            if (cell.model, cell.corpus) == (model, corpus):
                return cell
        raise KeyError((model, corpus))

    @property
    def failed(self) -> list[MatrixCell]:
        """The cells without a result."""
        return [cell for cell in self.cells if cell.error is not None]

    def to_dict(self) -> dict[str, Any]:
        """The matrix as matrix.json has it."""
        return dataclasses.asdict(self)


def evaluate_matrix(
    models: Sequence[str | os.PathLike | Mapping[str, Any]],
    corpora: Mapping[str, str | os.PathLike | Mapping[str, Any]],
    output: str | os.PathLike,
    *,
    overwrite: bool = False,
    loading: Mapping[str, Any] | None = None,
    jobs: Jobs | int | str | None = None,
    **evaluation: Any,
) -> Matrix:
    """Evaluate several models on several corpora, and write a page, tables and a heat-map.

    Example: `ser_hf.evaluate_matrix(["runs/a", "runs/b"], {"emodb": "data/EMO-DB"}, "matrix")`

    Args:
        models: run folders, model folders, Hub ids or ONNX files; or mappings with `source` and
            further arguments of `load_evaluated_model`, such as `revision` and `label_names`.
        corpora: {name of a corpus: its folder}, or in place of the folder a mapping with `root` and
            options of the corpus, and with `protocol` for the test split of a protocol: its name,
            or its section of a recipe.
        output: the folder. Cells that it has are not evaluated again.
        overwrite: whether to evaluate all cells again.
        loading: arguments of `load_evaluated_model` for all models.
        jobs: evaluate cells side by side, see `ser_hf.run_recipe`.
        evaluation: fields of `EvaluationOptions` for all cells.

    Raises:
        UserError: for a wrong setting, or a folder with other files. Errors of single models and
            corpora are in the cells.
    """
    try:
        settings = EvaluationOptions(**evaluation)
    except TypeError as error:
        raise UserError(f"evaluate_matrix: {error}") from None
    columns = [matrix_corpus(name, values, settings) for name, values in corpora.items()]
    rows = matrix_models(models, loading or {})
    return run_matrix(rows, columns, Path(output), overwrite=overwrite, jobs=Jobs.of(jobs))


def matrix_models(
    models: Sequence[str | os.PathLike | Mapping[str, Any]], loading: Mapping[str, Any]
) -> list[MatrixModel]:
    """The rows of the matrix, each with another name.

    Raises:
        UserError: if a model is named twice.
    """
    rows = []
    for model in models:
        values = dict(model) if isinstance(model, Mapping) else {"source": model}
        source = os.fspath(values.pop("source"))
        rows.append(MatrixModel(source, name="", loading={**loading, **values}))
    sources = [row.source for row in rows]
    for source in sources:
        if sources.count(source) > 1:
            raise UserError(f"{source}: named twice; name each model once")
    names = _unique_names(sources)
    return [dataclasses.replace(row, name=name) for row, name in zip(rows, names, strict=True)]


def _unique_names(sources: Sequence[str]) -> list[str]:
    """The shortest ends of paths that differ; Hub ids are unchanged."""
    parts_of_source = {}
    for source in sources:
        is_path = os.path.exists(source) or os.path.isabs(source)
        path = Path(os.path.abspath(source).removesuffix(f"{os.sep}model"))
        parts_of_source[source] = path.parts if is_path else (source,)
    depth = 1
    while len({parts[-depth:] for parts in parts_of_source.values()}) < len(sources):
        depth += 1
    return ["/".join(parts_of_source[source][-depth:]) for source in sources]


def matrix_corpus(
    name: str, values: str | os.PathLike | Mapping[str, Any], settings: EvaluationOptions
) -> MatrixCorpus:
    """A column of the matrix from the folder of a corpus, or from its options."""
    options = dict(values) if isinstance(values, Mapping) else {"root": os.fspath(values)}
    protocol = options.pop("protocol", None)
    recipe_values: dict[str, Any] = {
        "name": "evaluation",
        "corpus": {"name": name, **options},
        "model": {"architecture": "crnn"},
    }
    if protocol is not None:
        is_name = isinstance(protocol, str)
        recipe_values["protocol"] = {"name": protocol} if is_name else dict(protocol)
    if "targets" in options:
        recipe_values["task"] = "emotions+dimensions" if "partial" in options else "dimensions"
    recipe = read_recipe(recipe_values)
    if protocol is not None:
        settings = settings.replace(
            protocol=recipe.protocol.name, protocol_options=recipe.protocol.options
        )
    return MatrixCorpus(name, recipe, settings)


def run_matrix(
    models: Sequence[MatrixModel],
    corpora: Sequence[MatrixCorpus],
    folder: Path,
    *,
    overwrite: bool = False,
    jobs: Jobs | None = None,
) -> Matrix:
    """Evaluate the cells that the folder does not have, and write the page and the tables.

    Args:
        jobs: evaluate cells side by side; None for one after another in this process.

    Raises:
        UserError: if the folder has other files, or two corpora have the same name.
    """
    names = [corpus.name for corpus in corpora]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--corpus: {name} is named twice; name each corpus once")
    check_output(folder, FILES, "a matrix")
    # Drawing the heat-map imports matplotlib, which evaluating does not need.
    from .matrix_page import write_matrix

    rows = [_Row(model) for model in models]
    columns = [_Column(corpus) for corpus in corpora]
    errors: dict[str, str] = {}
    if jobs is not None:
        errors = _evaluate_side_by_side(rows, columns, folder, overwrite, jobs)
        overwrite = False
    cells = []
    for row in rows:
        for column in columns:
            error = errors.get(_name_of_cell(row, column))
            if error is None:
                cells.append(_cell(row, column, folder, overwrite))
            else:
                cells.append(MatrixCell(row.model.name, column.corpus.name, error=error))
    shown: dict[str, str] = {}
    for column in columns:
        for task in column.tasks.values():
            meanings = definitions(task)
            shown |= {name: meanings[name] for name in _shown_metrics(task)}
    matrix = Matrix(
        models=[model.name for model in models],
        corpora=names,
        cells=cells,
        confidence=corpora[0].settings.confidence,
        definitions=shown,
    )
    write_matrix(matrix, folder)
    return matrix


class _Row:
    """A model, which is hashed and loaded when a cell needs it."""

    def __init__(self, model: MatrixModel):
        self.model = model
        self._digest: str | None = None
        self._loaded: EvaluatedModel | None = None
        self._error: Exception | None = None

    @property
    def digest(self) -> str:
        if self._digest is None:
            self._digest = self.model.digest
        return self._digest

    def loaded(self) -> EvaluatedModel:
        """The model; if it cannot be loaded, each call raises the same error."""
        if self._error is not None:
            raise self._error
        if self._loaded is None:
            try:
                self._loaded = load_evaluated_model(self.model.source, **self.model.loading)
            except Exception as error:
                self._error = error
                raise
        return self._loaded


class _Column:
    """A corpus, which is read when a cell needs it; `tasks` are those of its results."""

    def __init__(self, corpus: MatrixCorpus):
        self.corpus = corpus
        self.tasks: dict[str, Task] = {}
        self._read: Corpus | None = None
        self._fingerprint: str | None = None
        self._error: Exception | None = None

    def read(self) -> Corpus:
        """The corpus; if it cannot be read, each call raises the same error."""
        if self._error is not None:
            raise self._error
        if self._read is None:
            try:
                self._read = load_recipe_corpus(self.corpus.recipe)
            except Exception as error:
                self._error = error
                raise
        return self._read

    @property
    def fingerprint(self) -> str:
        """A hash of the clips, of the files' sizes, and of the options of the evaluation."""
        if self._fingerprint is None:
            options = self.corpus.settings.model_dump(exclude=set(_WITHOUT_EFFECT))
            clips = clips_fingerprint(self.read().dataset)
            self._fingerprint = key_of([clips, options, __version__])
        return self._fingerprint


def clips_fingerprint(dataset: Dataset) -> str:
    """A hash of ids, labels, speakers and ratings of clips, and of the sizes of their audio."""
    columns = [
        name for name in ("id", "label", "speaker", "targets", "votes") if name in dataset.features
    ]
    sizes = []
    for audio in dataset["audio"]:
        content = audio.get("bytes")
        size = len(content) if content is not None else os.path.getsize(audio["path"])
        sizes.append(size)
    values = {name: list(dataset[name]) for name in columns}
    return key_of([dataset.features["label"].names, values, sizes])


def _name_of_cell(row: _Row, column: _Column) -> str:
    return f"{row.model.name} on {column.corpus.name}"


def _folder_of_cell(row: _Row, column: _Column, folder: Path) -> Path:
    """The folder of a cell; it depends on the model, the clips and the options."""
    key = key_of([row.digest, column.fingerprint])[:_DIGITS]
    name = f"{row.model.name}-on-{column.corpus.name}-{key}"
    return folder / CELLS / name.replace("/", "-").replace(" ", "-")


def _evaluate_side_by_side(
    rows: Sequence[_Row], columns: Sequence[_Column], folder: Path, overwrite: bool, jobs: Jobs
) -> dict[str, str]:
    """Evaluate cells in processes of their own; returns the error of each that failed, by name."""
    tasks = []
    for row in rows:
        for column in columns:
            try:
                cell = _folder_of_cell(row, column, folder)
            except Exception:  # it is reported with the cell
                continue
            if overwrite or not cell.is_dir():
                task = JobTask(
                    name=_name_of_cell(row, column),
                    function=_evaluate_in_process,
                    arguments=(row.model, column.corpus, cell),
                    log=folder / LOGS / f"{cell.name}.log",
                )
                tasks.append(task)
    if not tasks:
        return {}
    executor = jobs.executor(len(tasks), folder / LOGS / "jobs")
    logger.info("%d cells, %s", len(tasks), executor.description)
    outcomes = run_all(executor, tasks, str)
    return {outcome.task: outcome.error for outcome in outcomes if outcome.error is not None}


def _evaluate_in_process(model: MatrixModel, corpus: MatrixCorpus, cell: Path) -> str:
    """Evaluate a cell in the process of its task; returns its main figure as text."""
    _evaluate(_Row(model), _Column(corpus), cell)
    report = read_report(cell / "report.json")
    return f"{NAMES[report.main]} {report.metrics[report.main]:.4f}"


def _cell(row: _Row, column: _Column, folder: Path, overwrite: bool) -> MatrixCell:
    """The result of a model on a corpus, from the folder if it has one, or by an evaluation."""
    model = row.model.name
    corpus = column.corpus.name
    try:
        place = _folder_of_cell(row, column, folder)
        if place.is_dir() and not overwrite:
            logger.info("%s on %s: evaluated already, in %s", model, corpus, place)
        else:
            _evaluate(row, column, place)
        report = read_report(place / "report.json")
        column.tasks[report.task] = report.measured
        return _cell_of_report(report, model, corpus, f"{CELLS}/{place.name}")
    except (UserError, AudioError) as error:
        logger.error("%s on %s: %s", model, corpus, error)
        return MatrixCell(model, corpus, error=str(error))
    except Exception as error:  # a fault in one cell must not end the others
        logger.exception("%s on %s", model, corpus)
        return MatrixCell(model, corpus, error=f"{type(error).__name__}: {error}")


def _evaluate(row: _Row, column: _Column, place: Path) -> None:
    """Evaluate a model on a corpus, and write the report to the folder of the cell."""
    logger.info("evaluating %s on %s", row.model.name, column.corpus.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        shutil.rmtree(place)
    corpus = column.corpus
    evaluate_on_corpus(
        row.loaded(),
        column.read(),
        f"{row.model.name} on {corpus.name}",
        corpus.settings,
        output=place,
        citation=corpus_facts(corpus.recipe.corpus.name, corpus.recipe.corpus.options),
    )


def _cell_of_report(report: Report, model: str, corpus: str, folder: str) -> MatrixCell:
    """The figures of a report, with its relation to the model's training."""
    metric = report.measured.main
    interval = report.intervals.get(metric)
    tested = report.protocol.parts["test"].speakers
    left_out = clips_of_training(report.protocol.notes)
    return MatrixCell(
        model=model,
        corpus=corpus,
        folder=folder,
        relation=_relation(report, tested),
        overlap=_overlap(report, left_out),
        left_out=left_out,
        metric=metric,
        value=report.metrics[metric],
        interval=None if interval is None else tuple(interval),
        metrics={name: report.metrics[name] for name in _shown_metrics(report.measured)},
        labels=_evaluated_labels(report),
        protocol=report.protocol.name,
        clips=report.clips,
        speakers=len(tested),
    )


def _shown_metrics(task: Task) -> list[str]:
    """The metrics of a cell; a model of labels and ratings has the main metric of both."""
    names = list(task.compared)
    if task.has_ratings and DIMENSIONS.main not in names:
        names.append(DIMENSIONS.main)
    return names


def _evaluated_labels(report: Report) -> list[str]:
    """The classes that have clips, which are those that the corpus and the model share."""
    if report.class_distribution is None:  # dimensions
        return list(report.labels)
    clips = report.class_distribution["test"]
    return [name for name in report.labels if clips.get(name)]


def _relation(report: Report, tested: Sequence[str]) -> Relation:
    """Whether the model was trained on a corpus of the evaluated speakers."""
    trained = report.model.learnt_from
    if trained is None:
        return "unknown"
    corpora = {speaker.partition(":")[0] for speaker in tested}
    return "foreign" if corpora.isdisjoint(trained) else "own"


def _overlap(report: Report, left_out: int) -> Overlap:
    """What the evaluated clips share with the model's training."""
    shared = report.audit.shared["train/test"]["speakers"]
    if shared is None:
        return "unknown"
    if shared:
        return "shared"
    return "left out" if left_out else "none"
