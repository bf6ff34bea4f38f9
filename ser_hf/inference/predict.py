"""Predicts recordings: `predict` returns one table, `predict_tables` one table per chunk."""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset, DatasetDict
from pydantic import Field, model_validator
from tqdm.auto import tqdm

from ..audio.decode import SHORTEST
from ..audio.remarks import Remark, sentences, total
from ..utils.errors import UserError
from ..utils.processes import end_process_group
from ..utils.settings import OpenShare
from ..utils.validation import Options
from .adaptation import EmbeddingStatistics, Grouping, read_statistics
from .adapted_tables import adapted_table, require_groups, table_statistics
from .batches import EMBEDDING, ModelOutputs, capture_embeddings, run_batches
from .chunks import Chunk, NoneReadable, read_chunks
from .classifier import Classifier
from .decisions import Decision, decision_of
from .joining import over_time
from .load import load_classifier
from .outputs import TableMetadata, table
from .prediction_table import PredictionTable
from .progress import extend_total, progress_bar
from .recordings import Recording, from_dataset, from_paths
from .segmenting import (
    SPEECH,
    WINDOWS,
    lengths_of,
    require_undivided,
    seconds_of,
    speech_of,
    turns_of,
)
from .timeline import Grid, grid_of

logger = logging.getLogger(__name__)

Seconds = Annotated[float, Field(ge=SHORTEST)]
_LONG_SECONDS = 120  # attention in a longer clip may need much memory (square of the length)


class PredictionSettings(Options):
    """How recordings are processed.

    Args:
        embeddings: return embeddings, the input of the classifier's last layer.
        window: the longest window in seconds. Longer clips are divided into windows, whose
            predictions are averaged, weighted by their duration. None selects the window of the
            model's evaluation. A window is never longer than the model can process.
        batch_size: the number of windows in a batch.
        on_error: raise at the first recording that cannot be read, or skip such recordings with a
            warning.
        segments: return one row for each segment of a recording. ``windows`` are overlapping
            windows (`ser_hf.inference.timeline.Grid`); if `window` is None, they have the fixed
            duration of the model's clips, or the length of the model's evaluation windows, or else
            4 s. ``speech`` is speech that is found (`ser_hf.inference.segmenting.speech_of`).
            Another text is the path of a file or folder of turns
            (`ser_hf.inference.segmenting.turns_of`). Each segment is prepared as a clip by itself.
        hop: seconds from one window to the next; None is half a window.
        smooth: replace each prediction by the median of so many segments around it; an odd number.
        join: join neighbors of one speaker with the same label. With `smooth` or `join`, a single
            table comes after the last recording.
        labels: some of the model's labels, between which it decides; their probabilities have the
            sum 1. None for all labels.
        unknown: the least probability of a prediction; below it the prediction is ``unknown``.
            ``auto`` is the threshold in the model's configuration.
        adapt: move the embeddings of each speaker, folder or recording to the statistics of the
            training speakers, see `ser_hf.inference.adaptation`. Tables then come after the last
            recording.
        adapt_from: recordings of the model's training corpus, from which the statistics are
            computed; None for those that training saved with the model.

    Raises:
        UserError: if a value is out of its range.
    """

    embeddings: bool = False
    window: Seconds | None = None
    batch_size: Annotated[int, Field(ge=1)] = 16
    on_error: Literal["error", "skip"] = "error"
    segments: str | None = None
    hop: Seconds | None = None
    smooth: Annotated[int, Field(ge=1)] | None = None
    join: bool = False
    labels: list[str] | None = None
    unknown: OpenShare | Literal["auto"] | None = None
    adapt: Grouping | None = None
    adapt_from: list[str] | None = None

    @model_validator(mode="after")
    def _check_hop(self) -> Self:
        if self.hop is not None and not self.windows:
            raise ValueError("hop: needs overlapping windows; add --segments windows")
        return self

    @model_validator(mode="after")
    def _check_segments(self) -> Self:
        for name in ("smooth", "join"):
            if getattr(self, name) and self.segments is None:
                raise ValueError(f"{name}: needs segments of recordings; add --segments speech")
            if getattr(self, name) and self.embeddings:
                raise ValueError(f"{name}: cannot be combined with --embeddings; leave one out")
        return self

    @model_validator(mode="after")
    def _check_adaptation(self) -> Self:
        if self.adapt_from is not None and self.adapt is None:
            raise ValueError("adapt_from: has no effect without --adapt")
        if self.adapt == "recording" and self.segments is None:
            raise ValueError(
                "adapt: recording needs several segments of each recording; add --segments speech "
                "or windows, or use speaker or folder"
            )
        return self

    @property
    def windows(self) -> bool:
        """Whether recordings are divided into overlapping windows."""
        return self.segments == WINDOWS


def predict(
    model: str | Path,
    inputs: str | os.PathLike | Iterable[str | os.PathLike] | Dataset,
    *,
    device: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    label_names: Sequence[str] | None = None,
    **settings: Any,
) -> PredictionTable:
    """Predict the emotions of recordings.

    Preparation, windows and padding are those of the model's evaluation.

    Example: `ser_hf.predict("runs/a", ["recording.wav"]).predicted`

    Args:
        model: a run's folder, a model folder or a Hub id of any audio classifier of Transformers.
        inputs: audio files, folders or tables (`ser_hf.inference.recordings.from_paths`), or a
            dataset.
        device: a torch device such as ``"cuda:1"`` (default: the GPU if there is one).
        revision: a branch, tag or commit of a model on the Hub.
        trust_remote_code: run the code that models of other authors contain; ser_hf's models do not
            need it.
        label_names: the names of the outputs in their order, in place of those of the model.
        settings: fields of `PredictionSettings`, such as ``embeddings=True`` or ``window=3.0``.

    Returns:
        One row per recording or window: label and probabilities (for dimensions: values), logits
        and, if requested, embeddings.

    Raises:
        AudioError: naming the first recording that cannot be read, unless they are skipped.
        UserError: if the model, the inputs or a setting are wrong; the message names the mistake.
    """
    checked = PredictionSettings(**settings)
    recordings = _recordings(inputs, skip_missing=checked.on_error == "skip")
    classifier = load_classifier(
        model,
        revision=revision,
        device=device,
        trust_remote_code=trust_remote_code,
        label_names=label_names,
    )
    metadata = table_metadata(classifier, checked)
    skipped = []
    tables = list(predict_tables(classifier, recordings, checked, metadata, skipped))
    return PredictionTable(pa.concat_tables(tables), metadata, skipped)


def _recordings(inputs: Any, skip_missing: bool) -> Sequence[Recording] | Dataset:
    """Return the dataset as it is, or the recordings that the paths lead to."""
    if isinstance(inputs, Dataset):
        return inputs
    if isinstance(inputs, DatasetDict):
        first_split = next(iter(inputs))
        raise UserError(
            f"inputs: expected a Dataset, got a DatasetDict; select a split: [{first_split!r}]"
        )
    several = isinstance(inputs, list | tuple | set | Iterator)
    paths = list(inputs) if several else [inputs]
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise UserError(
                f"inputs: expected paths or a datasets.Dataset, got {type(path).__name__}; put "
                "samples in memory into a Dataset with a column audio (datasets.Audio)"
            )
    return from_paths(paths, skip_missing)


def table_metadata(classifier: Classifier, settings: PredictionSettings) -> TableMetadata:
    """Return the metadata of the tables that `predict_tables` yields."""
    rate = classifier.extractor.sampling_rate
    hop_seconds = None
    if settings.windows:
        grid = grid_of(classifier, settings.window, settings.hop)
        window = grid.window
        hop_seconds = grid.hop / rate
    else:
        window = classifier.window(settings.window)
    decision = decision_of(classifier, settings.labels, settings.unknown)
    embedding = None
    if settings.embeddings:
        embedding = EMBEDDING if settings.adapt is None else f"{EMBEDDING}, adapted"
    return TableMetadata(
        model=classifier.source,
        revision=classifier.revision,
        sampling_rate=rate,
        labels=decision.labels,
        window=None if window is None else window / rate,
        hop=hop_seconds,
        problem_type=classifier.problem_type,
        ranges=classifier.ranges,
        embedding=embedding,
        threshold=decision.threshold,
        adapt=settings.adapt,
        segments=settings.segments,
        bounded=classifier.bounded,
        label_threshold=decision.label_threshold,
        rating_ranges=classifier.rating_ranges,
    )


def predict_tables(
    classifier: Classifier,
    recordings: Sequence[Recording] | Dataset,
    settings: PredictionSettings,
    metadata: TableMetadata,
    skipped: list[tuple[str, str]],
) -> Iterator[pa.Table]:
    """Predict recordings chunk by chunk, with a progress bar; memory holds about two chunks.

    Args:
        classifier: from `load_classifier`.
        recordings: from `ser_hf.inference.recordings.from_paths`, or a dataset.
        settings: how recordings are processed.
        metadata: from `table_metadata`.
        skipped: a list to which (id, reason) of each skipped recording is added.

    Yields:
        One table per chunk, see `ser_hf.inference.outputs.table`. With adaptation, smoothing or
        joining, a single table after the last chunk.

    Raises:
        AudioError: naming the first recording that cannot be read, unless such recordings are
            skipped; `NoneReadable` if no recording can be read.
        UserError: if there are no recordings, or the model cannot be adapted.
    """
    tables = _tables(classifier, recordings, settings, metadata, skipped)
    if settings.smooth is None and not settings.join:
        yield from tables
        return
    collected = list(tables)
    if collected:
        yield over_time(
            pa.concat_tables(collected), metadata, smooth=settings.smooth, join=settings.join
        )


def _tables(
    classifier: Classifier,
    recordings: Sequence[Recording] | Dataset,
    settings: PredictionSettings,
    metadata: TableMetadata,
    skipped: list[tuple[str, str]],
) -> Iterator[pa.Table]:
    """Predict recordings as `predict_tables` does, without smoothing and joining."""
    if settings.adapt is None:
        decision = decision_of(classifier, settings.labels, settings.unknown)
        yield from _model_tables(classifier, recordings, settings, metadata, decision, skipped)
        return
    statistics = statistics_for(classifier, settings.adapt_from, settings.batch_size)
    plain_tables = list(_plain_tables(classifier, recordings, _plain(settings), skipped))
    yield from _adapted_tables(classifier, plain_tables, statistics, settings, metadata)


def _plain(settings: PredictionSettings) -> PredictionSettings:
    """The settings of predictions before adaptation: all labels, with embeddings."""
    return settings.replace(embeddings=True, adapt=None, adapt_from=None, labels=None, unknown=None)


def _plain_tables(
    classifier: Classifier,
    recordings: Sequence[Recording] | Dataset,
    settings: PredictionSettings,
    skipped: list[tuple[str, str]],
) -> Iterator[pa.Table]:
    """Predict recordings with `_plain` settings."""
    metadata = table_metadata(classifier, settings)
    decision = decision_of(classifier)
    return _model_tables(classifier, recordings, settings, metadata, decision, skipped)


def _adapted_tables(
    classifier: Classifier,
    tables: Sequence[pa.Table],
    statistics: EmbeddingStatistics,
    settings: PredictionSettings,
    metadata: TableMetadata,
) -> Iterator[pa.Table]:
    """Adapt the predictions of all recordings together.

    Args:
        tables: from `_plain_tables`.
    """
    if not tables:
        return
    plain = pa.concat_tables(tables)
    require_groups(plain, settings.adapt)
    yield adapted_table(
        classifier,
        statistics,
        plain,
        metadata,
        decision_of(classifier, settings.labels, settings.unknown),
        embeddings=settings.embeddings,
    )


def statistics_for(
    classifier: Classifier, adapt_from: Sequence[str] | None, batch_size: int = 16
) -> EmbeddingStatistics:
    """Return the statistics of a model's training speakers, for an adaptation without labels.

    Args:
        adapt_from: recordings of the training corpus, from which the statistics are computed. Their
            speakers are those of a table, or else their folders. None for the statistics that
            training saved with the model.

    Raises:
        UserError: if the model has no statistics, or a recording cannot be read.
    """
    if adapt_from is None:
        return read_statistics(classifier)
    settings = _plain(PredictionSettings(batch_size=batch_size))
    recordings = from_paths(adapt_from)
    return table_statistics(pa.concat_tables(_plain_tables(classifier, recordings, settings, [])))


def _model_tables(
    classifier: Classifier,
    recordings: Sequence[Recording] | Dataset,
    settings: PredictionSettings,
    metadata: TableMetadata,
    decision: Decision,
    skipped: list[tuple[str, str]],
) -> Iterator[pa.Table]:
    """Predict recordings chunk by chunk, as `predict_tables` does without adaptation."""
    if not len(recordings):
        raise UserError("inputs: empty")
    recordings = _divided(classifier, recordings, settings, skipped)
    total = len(recordings) + len(skipped)
    if settings.windows:
        window = None
        grid = grid_of(classifier, settings.window, settings.hop)
    else:
        window = classifier.window(settings.window)
        grid = None

    remarks: dict[str, int] = {}
    chunks = _chunks(classifier, recordings, settings, grid, skipped, remarks)
    with progress_bar(None if grid else len(recordings)) as bar:
        chunks = extend_total(chunks, bar) if grid else _warn_of_long_clip(chunks)
        for chunk, outputs in _outputs_of(classifier, chunks, window, settings, bar):
            yield table(chunk, outputs, metadata, decision)
    for sentence in sentences(list(remarks), list(remarks.values()), noun="recording"):
        logger.warning("%s", sentence)
    if len(skipped) == total:
        raise NoneReadable(f"{skipped[0][1]}; none of {total} recordings can be read")


def _divided(
    classifier: Classifier,
    recordings: Sequence[Recording] | Dataset,
    settings: PredictionSettings,
    skipped: list[tuple[str, str]],
) -> Sequence[Recording] | Dataset:
    """Divide recordings into speech or turns, if they are requested.

    (id, reason) of each recording that cannot be read is added to `skipped`.

    Raises:
        UserError: if no speech is found.
    """
    if settings.segments in (None, WINDOWS):
        return recordings
    whole = list(from_dataset(recordings)) if isinstance(recordings, Dataset) else recordings
    require_undivided(whole, settings.segments)
    if settings.segments != SPEECH:
        return turns_of(whole, settings.segments)

    def skip(recording: Recording, reason: str) -> None:
        logger.warning("left out: %s", reason)
        skipped.append((recording.id, reason))

    seconds = round(seconds_of(whole))
    with progress_bar(seconds, unit="s", title="finding speech") as bar:
        divided = speech_of(
            whole,
            lengths_of(classifier),
            skipped=skip if settings.on_error == "skip" else None,
            progress=bar.update,
        )
    if not divided and len(skipped) < len(whole):
        raise UserError("--segments speech: no speech is found; --segments windows needs none")
    return divided


def _chunks(
    classifier: Classifier,
    recordings: Sequence[Recording] | Dataset,
    settings: PredictionSettings,
    grid: Grid | None,
    skipped: list[tuple[str, str]],
    remarks: dict[str, int],
) -> Iterator[Chunk]:
    """Decode the recordings.

    (id, reason) of each skipped recording is added to `skipped`, and the kinds of remarks about a
    recording, by its id, to `remarks`.
    """

    def skip(recording: Recording, reason: str) -> None:
        logger.warning("left out: %s", reason)
        skipped.append((recording.id, reason))

    def remark(recording: Recording, remarks_of_recording: Sequence[Remark]) -> None:
        remarks[recording.id] = int(total(remarks_of_recording))

    return read_chunks(
        from_dataset(recordings) if isinstance(recordings, Dataset) else recordings,
        classifier.extractor.sampling_rate,
        classifier.preparation,
        skipped=skip if settings.on_error == "skip" else None,
        grid=grid,
        remarked=remark,
    )


def _outputs_of(
    classifier: Classifier,
    chunks: Iterable[Chunk],
    window: int | None,
    settings: PredictionSettings,
    bar: tqdm,
) -> Iterator[tuple[Chunk, ModelOutputs]]:
    """Yield each chunk with the model's outputs, and with embeddings if they are requested."""
    with contextlib.ExitStack() as stack:
        take_vectors = None
        if settings.embeddings:
            take_vectors = stack.enter_context(capture_embeddings(classifier))
        for chunk in chunks:
            outputs = run_batches(
                classifier,
                chunk,
                window,
                settings.batch_size,
                take_vectors=take_vectors,
                progress=bar.update,
            )
            yield chunk, outputs


def _warn_of_long_clip(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Pass the chunks on, and warn once if a chunk has a long clip; the warning names this clip."""
    warned = False
    for chunk in chunks:
        longest = int(chunk.lengths.argmax())
        if not warned and chunk.lengths[longest] > _LONG_SECONDS * chunk.sampling_rate:
            warned = True
            logger.warning(
                "%s gets one label; --segments speech predicts its course, and --window 30 limits "
                "the memory",
                chunk.recordings[longest].path,
            )
        yield chunk


def predict_in_processes(
    classifier: Classifier,
    recordings: Sequence[Recording],
    settings: PredictionSettings,
    metadata: TableMetadata,
    skipped: list[tuple[str, str]],
) -> Iterator[pa.Table]:
    """Run `predict_tables` with the recordings divided among the processes of `accelerate launch`.

    Yields:
        In the first process the tables of all processes, in the order of the recordings; in the
        other processes nothing.
    """
    state = PartialState()
    statistics = None
    if settings.adapt is not None:
        statistics = statistics_for(classifier, settings.adapt_from, settings.batch_size)
    total = len(recordings)
    begin = total * state.process_index // state.num_processes
    end = total * (state.process_index + 1) // state.num_processes

    skipped_here = []
    tables_here = []
    if begin < end:
        share = recordings[begin:end]
        with contextlib.suppress(NoneReadable):
            if settings.adapt is None:
                tables = predict_tables(classifier, share, settings, metadata, skipped_here)
            else:
                tables = _plain_tables(classifier, share, _plain(settings), skipped_here)
            tables_here = list(tables)
    plain_tables = []
    for tables, skipped_there in gather_object([(tables_here, skipped_here)]):
        skipped += skipped_there
        if not state.is_main_process:
            continue
        if settings.adapt is None:
            yield from tables
        else:
            # The clips of a group may be in several processes.
            plain_tables += tables
    if statistics is not None:
        yield from _adapted_tables(classifier, plain_tables, statistics, settings, metadata)
    end_process_group()
    if len(skipped) == total:
        raise NoneReadable(f"{skipped[0][1]}; none of {total} recordings can be read")
