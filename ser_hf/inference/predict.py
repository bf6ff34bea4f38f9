"""Predictions of a model for recordings, in memory or chunk by chunk.

from ser_hf import predict

predictions = predict("runs/ravdess_crnn", ["interviews", "more/one.wav"], embeddings=True)
predictions.predicted[0], predictions.probabilities[0], predictions.embeddings.shape
"""

import contextlib
import dataclasses
import inspect
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict
from tqdm.auto import tqdm

from ..audio.decode import SHORTEST
from ..utils.errors import UserError
from ..utils.yaml import Range, coerce_fields
from .batches import capture_embeddings, layer_number, run_batches
from .classifier import Classifier, load_classifier
from .inputs import Chunk, Grid, NoneReadable, Recording, from_dataset, from_paths, read_chunks
from .outputs import Facts, matrix, smooth, table, whole_recordings

logger = logging.getLogger(__name__)

_LONG_SECONDS = 120  # a clip as long may take much memory: that of attention grows with its square
_TIMELINE_SECONDS = 4  # about an utterance of the acted corpora, which most models are trained on
POOLED = "input of the classifier's last layer"


@dataclasses.dataclass(frozen=True)
class PredictionSettings:
    """How recordings are processed.

    Args:
        embeddings: return embeddings.
        layer: the hidden state of a Transformers encoder that embeddings are the mean of, over real frames
            (`ser_hf.inference.batches.capture_embeddings`); None is the input of the classifier's last layer.
        window: seconds; longer clips are processed in windows of at most that. None is the window of the model's own
            evaluation. The longest clip that the model can process limits both.
        by_window: one row a window; else one a clip, with means over its windows weighted by duration.
        timeline: one row for each of overlapping windows (`ser_hf.inference.inputs.sliding`), each prepared as a clip
            by itself. Without `window` they are as long as the model's recipe fixes its clips or windows, else 4 s.
        hop: seconds from one such window to the next; None is half a window.
        smooth: of a timeline, rows that do not overlap: means of the windows that contain a stretch of time.
        batch_size: windows at a time.
        skip: leave out recordings that cannot be read, with a warning; else the first one raises.

    Raises:
        UserError: for a value out of its range.
    """

    embeddings: bool = False
    layer: int | None = None
    window: Annotated[float, Range(min=SHORTEST, unit="seconds")] | None = None
    by_window: bool = False
    batch_size: Annotated[int, Range(min=1)] = 16
    skip: bool = False
    timeline: bool = False
    hop: Annotated[float, Range(min=SHORTEST, unit="seconds")] | None = None
    smooth: bool = False

    def __post_init__(self):
        coerce_fields(self, lambda name: f"--{name.replace('_', '-')}")
        if self.layer is not None and not self.embeddings:
            raise UserError("--layer: selects embeddings; request them (--embeddings FILE.parquet)")
        for flag, given in (("--hop", self.hop is not None), ("--smooth", self.smooth)):
            if given and not self.timeline:
                raise UserError(f"{flag}: belongs to windows over time; request them (--timeline)")
        if self.timeline and self.by_window:
            raise UserError("--timeline: has a row for each window already; leave out --by-window")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions in the order of the recordings.

    Args:
        table: the rows (`ser_hf.inference.outputs.table`).
        facts: the model, its labels and windows.
        skipped: (id, reason) of recordings that could not be read.
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
    def predicted(self) -> list[str]:
        return self.table["predicted"].to_pylist()

    @property
    def probabilities(self) -> np.ndarray:
        """float32 (rows, labels)."""
        return matrix(self.table, "probabilities")

    @property
    def logits(self) -> np.ndarray:
        """float32 (rows, labels)."""
        return matrix(self.table, "logits")

    @property
    def embeddings(self) -> np.ndarray | None:
        """float32 (rows, size); None where none were asked for."""
        return matrix(self.table, "embedding") if "embedding" in self.table.column_names else None


def predict(
    model: str | Path,
    inputs: str | os.PathLike | Iterable[str | os.PathLike] | Dataset,
    *,
    embeddings: bool = False,
    layer: int | None = None,
    window: float | None = None,
    by_window: bool = False,
    timeline: bool = False,
    hop: float | None = None,
    smooth: bool = False,
    batch_size: int = 16,
    on_error: str = "error",
    device: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Predictions:
    """Predictions of a trained model for recordings, as in its evaluation: same preparation, windows and padding.

    Args:
        model: a run's folder, a model folder or a Hub id of any audio classifier of Transformers.
        inputs: audio files, folders and tables (`ser_hf.inference.inputs.from_paths`), or a dataset such as
            `ser_hf.load_corpus` returns.
        embeddings, layer, window, by_window, timeline, hop, smooth, batch_size: see `PredictionSettings`.
        on_error: ``"error"`` raises at the first recording that cannot be read; ``"skip"``, the command line's
            default, leaves such recordings out.
        device, revision, trust_remote_code: see `ser_hf.inference.classifier.load_classifier`.

    Raises:
        UserError: naming the model, the file or the argument that is wrong.
    """
    try:
        if on_error not in ("error", "skip"):
            raise UserError(f"--on-error: expected error or skip, got {on_error!r}")
        settings = PredictionSettings(
            embeddings, layer, window, by_window, batch_size, on_error == "skip", timeline, hop, smooth
        )
        recordings = _recordings(inputs, settings.skip)
        classifier = load_classifier(model, revision=revision, device=device, trust_remote_code=trust_remote_code)
        skipped: list[tuple[str, str]] = []
        facts = table_facts(classifier, settings)
        tables = list(predict_tables(classifier, recordings, settings, facts, skipped))
    except UserError as error:
        raise type(error)(_in_python(str(error))) from None
    return Predictions(pa.concat_tables(tables), facts, skipped)


def _recordings(inputs: Any, skip: bool) -> Sequence[Recording] | Dataset:
    """Raises a `UserError` that lists the possible inputs, for anything else."""
    if isinstance(inputs, Dataset):
        return inputs
    if isinstance(inputs, DatasetDict):
        raise UserError(f"inputs: a DatasetDict; give one of its parts, such as [{next(iter(inputs), 'train')!r}]")
    paths = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    paths = list(paths) if isinstance(paths, list | tuple | set | Iterator) else [inputs]
    odd = [given for given in paths if not isinstance(given, str | os.PathLike)]
    if odd:
        raise UserError(
            "inputs: expected paths of audio files, folders and tables, or a datasets.Dataset with a column audio, "
            f"got {type(odd[0]).__name__}; put samples in memory into a Dataset, as WAV in its column audio"
        )
    return from_paths(paths, skip)


def _in_python(message: str) -> str:
    """An error message with the arguments of `predict` in place of the command's flags."""
    values = {"skip": '="skip"', "FILE.parquet": "=True"}

    def argument(flag: re.Match) -> str:
        value = values.get(flag[2], f"={flag[2]}" if flag[2] else "")
        return flag[1].replace("-", "_") + value

    names = [name.replace("_", "-") for name in inspect.signature(predict).parameters]
    return re.sub(rf"(?<![\w/.-])--({'|'.join(names)})\b(?: (skip|FILE\.parquet|\d+))?", argument, message)


def table_facts(classifier: Classifier, settings: PredictionSettings) -> Facts:
    """The metadata of the tables. Raises a `UserError` if the model has no such layer."""
    layer = None if settings.layer is None else layer_number(classifier, settings.layer)
    rate, window = classifier.extractor.sampling_rate, classifier.window(settings.window)
    hop = None
    if settings.timeline:
        window, hop = sliding_windows(classifier, settings)
    words = POOLED if layer is None else f"hidden state {layer} of the encoder, averaged over real frames"
    return Facts(
        classifier.source,
        classifier.revision,
        rate,
        classifier.labels,
        None if window is None else window / rate,
        None if hop is None else hop / rate,
        classifier.multi_label,
        layer,
        words if settings.embeddings else None,
    )


def sliding_windows(classifier: Classifier, settings: PredictionSettings) -> Grid:
    """The windows of a timeline. Raises a `UserError` if they are too long for the model, or have gaps in between."""
    rate, fixed = classifier.extractor.sampling_rate, classifier.preparation.fixed_duration
    if fixed is not None and settings.window is not None and settings.window > fixed:
        raise UserError(f"--window: {classifier.source} processes the first {fixed:g} s of a clip; use that or less")
    window = classifier.window(settings.window or fixed or classifier.judged_window or _TIMELINE_SECONDS)
    hop = max(1, window // 2) if settings.hop is None else round(settings.hop * rate)
    if hop > window:
        raise UserError(f"--hop: {settings.hop:g} s leaves gaps between windows of {window / rate:g} s; use less")
    return Grid(window, hop)


def predict_tables(
    classifier: Classifier,
    recordings: Sequence[Recording] | Dataset,
    settings: PredictionSettings,
    facts: Facts,
    skipped: list[tuple[str, str]],
) -> Iterator[pa.Table]:
    """The tables of one chunk after the other, with a progress bar. Memory holds about two chunks.

    Args:
        skipped: (id, reason) of recordings that are left out are appended to it.

    Raises:
        AudioError: naming the first recording that cannot be read, unless they are skipped.
        NoneReadable: if none could be read.
        UserError: if there is none.
    """
    rate, window = classifier.extractor.sampling_rate, classifier.window(settings.window)
    grid = sliding_windows(classifier, settings) if settings.timeline else None
    total = len(recordings)

    def skip(recording: Recording, reason: str) -> None:
        logger.warning("left out: %s", reason)
        skipped.append((recording.id, reason))

    rows = from_dataset(recordings) if isinstance(recordings, Dataset) else recordings
    chunks = read_chunks(rows, rate, classifier.preparation, skip if settings.skip else None, grid)

    def tables() -> Iterator[pa.Table]:
        warned = grid is not None or window is not None
        for chunk in chunks:
            warned = warned or _warn_of_long_clip(chunk)
            if grid:  # the number of windows is known once a recording is decoded
                bar.total = (bar.total or 0) + sum(place.windows for place in chunk.places if place.number == 0)
            size = settings.batch_size
            outputs = run_batches(classifier, chunk, None if grid else window, size, capture, bar.update)
            yield table(chunk, outputs, classifier, settings.by_window, facts)

    with contextlib.ExitStack() as stack:
        capture = None
        if settings.embeddings:
            capture = stack.enter_context(capture_embeddings(classifier, settings.layer))
        unit = {"unit": "window"} if grid else {"unit": "clip", "total": total}
        bar = stack.enter_context(tqdm(desc="predicting", disable=None, **unit))
        yield from map(smooth, whole_recordings(tables())) if settings.smooth else tables()
    if total == 0:
        raise UserError("inputs: empty")
    if len(skipped) == total:
        raise NoneReadable(f"{skipped[0][1]}; none of {total} recordings can be read")


def _warn_of_long_clip(chunk: Chunk) -> bool:
    """Warns of a clip that may take much memory; whether there is one."""
    longest = int(chunk.lengths.argmax())
    seconds = chunk.lengths[longest] / chunk.sampling_rate
    if seconds <= _LONG_SECONDS:
        return False
    logger.warning(
        "%s lasts %.0f s and is processed as a whole, which may take much memory; --window 30 processes it in windows",
        *(chunk.recordings[longest].path, seconds),
    )
    return True
