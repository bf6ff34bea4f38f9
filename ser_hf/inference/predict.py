"""Predictions of a model for recordings: the public `predict`, and `predict_tables`, which works
chunk by chunk.
"""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset, DatasetDict
from tqdm.auto import tqdm

from ..audio.decode import SHORTEST
from ..utils.errors import UserError
from ..utils.processes import end_process_group
from ..utils.yaml import Range, coerce_fields
from .batches import EMBEDDING, capture_embeddings, run_batches
from .classifier import Classifier, load_classifier
from .inputs import Grid, NoneReadable, Recording, from_dataset, from_paths, read_chunks
from .outputs import Facts, matrix, table

logger = logging.getLogger(__name__)

_LONG_SECONDS = 120  # a longer clip may take much memory: that of attention grows with its square
_TIMELINE_SECONDS = 4  # about an utterance of the acted corpora, which most models are trained on


@dataclasses.dataclass(frozen=True)
class PredictionSettings:
    """How recordings are processed.

    Args:
        embeddings: return embeddings, the input of the classifier's last layer.
        window: seconds; longer clips are processed in windows of at most that, and averaged by
            their duration. None is the window of the model's own evaluation. The longest clip that
            the model can process limits both.
        batch_size: windows at a time.
        on_error: raise at the first recording that cannot be read, or skip such recordings with a
            warning.
        timeline: one row for each of overlapping windows (`ser_hf.inference.inputs.sliding`), each
            prepared as a clip by itself. Without `window` they are as long as the model's recipe
            fixes its clips or windows, else 4 s.
        hop: seconds from one such window to the next; None is half a window.

    Raises:
        UserError: for a value out of its range.
    """

    embeddings: bool = False
    window: Annotated[float, Range(min=SHORTEST, unit="seconds")] | None = None
    batch_size: Annotated[int, Range(min=1)] = 16
    on_error: Literal["error", "skip"] = "error"
    timeline: bool = False
    hop: Annotated[float, Range(min=SHORTEST, unit="seconds")] | None = None

    def __post_init__(self):
        coerce_fields(self, lambda name: f"--{name.replace('_', '-')}")
        if self.hop is not None and not self.timeline:
            raise UserError("--hop: needs overlapping windows; add --timeline")


@dataclasses.dataclass(frozen=True)
class PredictionTable:
    """Rows of predictions (`ser_hf.inference.outputs.table`), facts about the model, and unreadable
    (id, reason).
    """

    table: pa.Table
    facts: Facts
    skipped: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> list[str]:
        return self.table["id"].to_pylist()

    @property
    def labels(self) -> list[str]:
        """The names of the columns of probabilities and logits."""
        return self.facts.labels

    @property
    def predicted(self) -> list[str] | None:
        """The label of each row; None of a model of dimensions."""
        return None if self.facts.ranges else self.table["predicted"].to_pylist()

    @property
    def probabilities(self) -> np.ndarray | None:
        """float32 (rows, labels); None of a model of dimensions."""
        return None if self.facts.ranges else matrix(self.table, "probabilities")

    @property
    def values(self) -> np.ndarray | None:
        """Dimensions on the scale of the ratings, float32 (rows, labels); None of a model of
        classes.
        """
        return matrix(self.table, "values") if self.facts.ranges else None

    @property
    def logits(self) -> np.ndarray:
        """float32 (rows, labels)."""
        return matrix(self.table, "logits")

    @property
    def embeddings(self) -> np.ndarray | None:
        """float32 (rows, size); None if they were not requested."""
        return matrix(self.table, "embedding") if "embedding" in self.table.column_names else None


def predict(
    model: str | Path,
    inputs: str | os.PathLike | Iterable[str | os.PathLike] | Dataset,
    *,
    device: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    **settings: Any,
) -> PredictionTable:
    """Predict the emotions of recordings as the model was evaluated: same preparation, windows and
    padding.

    Example: `ser_hf.predict("runs/a", ["recording.wav"]).predicted`

    Args:
        model: a run's folder, a model folder or a Hub id of any audio classifier of Transformers.
        inputs: audio files, folders or tables (`ser_hf.inference.inputs.from_paths`), or a dataset.
        device: such as ``"cuda:1"`` (default: the GPU if there is one).
        revision: of a model on the Hub: a branch, tag or commit.
        trust_remote_code: run code of other authors' models; those of ser_hf need none.
        settings: fields of `PredictionSettings`, such as ``embeddings=True`` or ``window=3.0``.

    Returns:
        One row per recording or window: label, probabilities (of dimensions values), logits and, if
            requested,
        embeddings.

    Raises:
        AudioError: naming the first recording that cannot be read, unless they are skipped.
        UserError: naming what is wrong with the model, the inputs or a setting.
    """
    checked = PredictionSettings(**settings)
    if isinstance(inputs, DatasetDict):
        raise UserError(
            f"inputs: expected a Dataset, got a DatasetDict; select a split: [{next(iter(inputs))!r}]"
        )
    if not isinstance(inputs, Dataset):
        paths = list(inputs) if isinstance(inputs, list | tuple | set | Iterator) else [inputs]
        for path in paths:
            if not isinstance(path, str | os.PathLike):
                raise UserError(
                    f"inputs: expected paths or a datasets.Dataset, got {type(path).__name__}; put samples in memory "
                    "into a Dataset with a column audio (datasets.Audio)"
                )
        inputs = from_paths(paths, checked.on_error == "skip")
    classifier = load_classifier(
        model, revision=revision, device=device, trust_remote_code=trust_remote_code
    )
    facts = table_facts(classifier, checked)
    skipped = []
    tables = list(predict_tables(classifier, inputs, checked, facts, skipped))
    return PredictionTable(pa.concat_tables(tables), facts, skipped)


def table_facts(classifier: Classifier, settings: PredictionSettings) -> Facts:
    """The metadata of the tables."""
    rate = classifier.extractor.sampling_rate
    hop = None
    if settings.timeline:
        window, hop = sliding_windows(classifier, settings)
    else:
        window = classifier.window(settings.window)
    return Facts(
        classifier.source,
        classifier.revision,
        rate,
        classifier.labels,
        None if window is None else window / rate,
        None if hop is None else hop / rate,
        classifier.problem_type,
        classifier.ranges,
        EMBEDDING if settings.embeddings else None,
    )


def sliding_windows(classifier: Classifier, settings: PredictionSettings) -> Grid:
    """The windows of a timeline."""
    rate = classifier.extractor.sampling_rate
    fixed = classifier.preparation.fixed_duration
    if fixed is not None and settings.window is not None and settings.window > fixed:
        raise UserError(
            f"--window: {classifier.source} processes at most {fixed:g} s of a clip; use that or less"
        )
    seconds = settings.window or fixed or classifier.evaluation_window or _TIMELINE_SECONDS
    window = classifier.window(seconds, prepared=False)
    hop = max(1, window // 2) if settings.hop is None else round(settings.hop * rate)
    if hop > window:
        raise UserError(
            f"--hop: {settings.hop:g} s leaves gaps between windows of {window / rate:g} s; use less"
        )
    return Grid(window, hop)


def predict_tables(
    classifier: Classifier,
    recordings: Sequence[Recording] | Dataset,
    settings: PredictionSettings,
    facts: Facts,
    skipped: list[tuple[str, str]],
) -> Iterator[pa.Table]:
    """Predict recordings chunk by chunk, with a progress bar; memory holds about two chunks.

    Args:
        classifier: from `load_classifier`.
        recordings: from `ser_hf.inference.inputs.from_paths`, or a dataset.
        settings: how recordings are processed.
        facts: from `table_facts`.
        skipped: receives (id, reason) of recordings that are left out.

    Yields:
        One table per chunk, see `ser_hf.inference.outputs.table`.

    Raises:
        AudioError: naming the first recording that cannot be read, unless skipped; `NoneReadable`
            if none can.
        UserError: if there are no recordings.
    """
    rate = classifier.extractor.sampling_rate
    grid = sliding_windows(classifier, settings) if settings.timeline else None
    window = None if grid else classifier.window(settings.window)
    total = len(recordings)
    if not total:
        raise UserError("inputs: empty")

    def skip(recording: Recording, reason: str) -> None:
        logger.warning("left out: %s", reason)
        skipped.append((recording.id, reason))

    rows = from_dataset(recordings) if isinstance(recordings, Dataset) else recordings
    with contextlib.ExitStack() as stack:
        take = stack.enter_context(capture_embeddings(classifier)) if settings.embeddings else None
        unit = {"unit": "window"} if grid else {"unit": "clip", "total": total}
        quiet = os.environ.get("RANK", "0") != "0" or None  # None: unless on a terminal
        bar = stack.enter_context(tqdm(desc="predicting", disable=quiet, **unit))
        warned = grid is not None
        on_error = skip if settings.on_error == "skip" else None
        for chunk in read_chunks(rows, rate, classifier.preparation, on_error, grid):
            longest = int(chunk.lengths.argmax())
            if not warned and chunk.lengths[longest] > _LONG_SECONDS * rate:
                warned = True
                message = "%s gets one label; --timeline predicts its course, and --window 30 limits the memory"
                logger.warning(message, chunk.recordings[longest].path)
            if grid:  # the number of windows is known once a recording is decoded
                bar.total = (bar.total or 0) + sum(
                    place.windows for place in chunk.places if place.number == 0
                )
            outputs = run_batches(classifier, chunk, window, settings.batch_size, take, bar.update)
            yield table(chunk, outputs, classifier, facts)
    if len(skipped) == total:
        raise NoneReadable(f"{skipped[0][1]}; none of {total} recordings can be read")


def predict_in_processes(
    classifier: Classifier,
    recordings: Sequence[Recording],
    settings: PredictionSettings,
    facts: Facts,
    skipped: list[tuple[str, str]],
) -> Iterator[pa.Table]:
    """`predict_tables` with the recordings divided among the processes of `accelerate launch`.

    Yields:
        In the first process the tables of all, in the order of the recordings; in the others
        nothing.
    """
    state = PartialState()
    own_skipped = []
    tables = []
    begin, end = (
        len(recordings) * (state.process_index + i) // state.num_processes for i in (0, 1)
    )
    if begin < end:
        with contextlib.suppress(NoneReadable):
            tables = list(
                predict_tables(classifier, recordings[begin:end], settings, facts, own_skipped)
            )
    for own, reasons in gather_object([(tables, own_skipped)]):
        skipped += reasons
        yield from own if state.is_main_process else ()
    end_process_group()
    if len(skipped) == len(recordings):
        raise NoneReadable(f"{skipped[0][1]}; none of {len(recordings)} recordings can be read")
