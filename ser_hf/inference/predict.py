"""Recordings in, answers out: the whole way, in memory or chunk by chunk.

from ser_hf import predict

answers = predict("runs/ravdess_crnn", ["interviews", "more/one.wav"], embeddings=True)
answers.predicted[0], answers.probabilities[0], answers.embeddings.shape
"""

import contextlib
import dataclasses
import inspect
import logging
import math
import numbers
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict
from tqdm.auto import tqdm

from ..audio.decode import SHORTEST
from ..utils.errors import UserError
from .batches import capture_embeddings, layer_number, run_batches
from .classifier import Classifier, load_classifier
from .inputs import Chunk, Grid, NoneReadable, Recording, from_dataset, from_paths, read_chunks
from .outputs import Facts, matrix, smooth, table, whole_recordings

logger = logging.getLogger(__name__)

_LONG_SECONDS = 120  # heard whole, such a clip may take much memory: that of attention grows with its square
_TIMELINE_SECONDS = 4  # about an utterance of the acted corpora: what most models have learnt from
POOLED = "what the classifier's last layer is given"


@dataclasses.dataclass(frozen=True)
class PredictionSettings:
    """How recordings are heard.

    Args:
        embeddings: keep them.
        layer: of an encoder of transformers: the hidden state that they are the mean of, over real frames
            (`ser_hf.inference.batches.capture_embeddings`); None is what the classifier's last layer is given.
        window: seconds; longer clips are heard in windows of at most that. None takes what the model's own recipe was
            judged with and, whatever that is, no more than the model can take.
        by_window: a row for each window; else one a clip, whose probabilities and embedding are the windows' mean by
            duration.
        timeline: a row for each of overlapping windows over time (`ser_hf.inference.inputs.sliding`), every one
            prepared and heard as a clip by itself. Without `window` they last as long as the model's recipe fixes its
            clips or judged its windows, and 4 s where it does neither.
        hop: seconds from one such window to the next; None is half a window.
        smooth: of a timeline, rows that do not overlap: the mean of the windows that hear a stretch of time.
        batch_size: windows at a time.
        skip: leave out recordings that cannot be read, and tell of them; else the first one ends it.

    Raises:
        UserError: for a value out of its range.
    """

    embeddings: bool = False
    layer: int | None = None
    window: float | None = None
    by_window: bool = False
    batch_size: int = 16
    skip: bool = False
    timeline: bool = False
    hop: float | None = None
    smooth: bool = False

    def __post_init__(self):
        for flag, value, kind, told in (
            ("--layer", self.layer, numbers.Integral, "a whole number"),
            ("--window", self.window, numbers.Real, "seconds"),
            ("--hop", self.hop, numbers.Real, "seconds"),
            ("--batch-size", self.batch_size, numbers.Integral, "a whole number"),
        ):
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                raise UserError(f"{flag}: expected {told}, got {value!r}")
        if self.batch_size is None:
            raise UserError("--batch-size: expected one or more, got None")
        if self.layer is not None and not self.embeddings:
            raise UserError("--layer: says which embeddings; ask for them (--embeddings FILE.parquet)")
        for flag, seconds in (("--window", self.window), ("--hop", self.hop)):
            if seconds is not None and not SHORTEST <= seconds < math.inf:
                raise UserError(f"{flag}: expected seconds, {SHORTEST} or more, got {seconds}")
        for flag, given in (("--hop", self.hop is not None), ("--smooth", self.smooth)):
            if given and not self.timeline:
                raise UserError(f"{flag}: says which windows over time; ask for them (--timeline)")
        if self.timeline and self.by_window:
            raise UserError("--timeline: has a row for each window already; leave out --by-window")
        if self.batch_size < 1:
            raise UserError(f"--batch-size: expected one or more, got {self.batch_size}")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Answers in the order of the recordings: `table` has the rows (`ser_hf.inference.outputs.table`), `facts` what
    they come from, `skipped` the recordings that could not be read, as (id, reason)."""

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
    """Asks a trained model about recordings, as it was judged: the same preparation, windows, padding and mask.

    Args:
        model: a run's folder, a model folder or a Hub id; ours and any audio classifier of transformers.
        inputs: audio files, folders and tables (`ser_hf.inference.inputs.from_paths`), or a dataset such as
            `ser_hf.load_corpus` returns.
        embeddings, layer, window, by_window, timeline, hop, smooth, batch_size: see `PredictionSettings`.
        on_error: ``"error"`` ends with the first recording that cannot be read, so that there is an answer for each;
            ``"skip"``, which the command line does, leaves such ones out.
        device, revision, trust_remote_code: see `ser_hf.inference.classifier.load_classifier`.

    Raises:
        UserError: naming the model, the file or the argument that is wrong.
    """
    try:
        if on_error not in ("error", "skip"):
            raise UserError(f"--on-error: expected error or skip, got {on_error!r}")
        asked = PredictionSettings(
            embeddings, layer, window, by_window, batch_size, on_error == "skip", timeline, hop, smooth
        )
        recordings = _recordings(inputs, asked.skip)
        classifier = load_classifier(model, revision=revision, device=device, trust_remote_code=trust_remote_code)
        skipped: list[tuple[str, str]] = []
        facts = table_facts(classifier, asked)
        tables = list(predict_tables(classifier, recordings, asked, facts, skipped))
    except UserError as error:
        raise type(error)(_in_python(str(error))) from None
    return Predictions(pa.concat_tables(tables), facts, skipped)


def _recordings(inputs: Any, skip: bool) -> Sequence[Recording] | Dataset:
    """Raises a `UserError` that lists what may be asked about, for anything else."""
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
            f"got {type(odd[0]).__name__}; samples in memory are heard from a Dataset, as WAV in its column audio"
        )
    return from_paths(paths, skip)


def _in_python(message: str) -> str:
    """A complaint with the arguments of `predict` in place of the command's flags."""
    values = {"skip": '="skip"', "FILE.parquet": "=True"}

    def argument(flag: re.Match) -> str:
        value = values.get(flag[2], f"={flag[2]}" if flag[2] else "")
        return flag[1].replace("-", "_") + value

    names = [name.replace("_", "-") for name in inspect.signature(predict).parameters]
    return re.sub(rf"(?<![\w/.-])--({'|'.join(names)})\b(?: (skip|FILE\.parquet|\d+))?", argument, message)


def table_facts(classifier: Classifier, asked: PredictionSettings) -> Facts:
    """What the tables will say of themselves. Raises a `UserError` where the model has no such layer."""
    layer = None if asked.layer is None else layer_number(classifier, asked.layer)
    rate, window, grid = (
        classifier.extractor.sampling_rate,
        classifier.window(asked.window),
        sliding_windows(classifier, asked),
    )
    words = POOLED if layer is None else f"hidden state {layer} of the encoder, averaged over real frames"
    embedding = words if asked.embeddings else None
    seconds = grid.window / rate if grid else None if window is None else window / rate
    hop, own = grid.hop / rate if grid else None, (classifier.source, classifier.revision, rate, classifier.labels)
    return Facts(*own, seconds, hop, classifier.multi_label, layer, embedding)


def sliding_windows(classifier: Classifier, asked: PredictionSettings) -> Grid | None:
    """The windows of a timeline; None where none is asked for. Raises a `UserError` where the model cannot be asked in
    such windows, or they would leave gaps."""
    if not asked.timeline:
        return None
    rate, fixed = classifier.extractor.sampling_rate, classifier.preparation.fixed_duration
    if fixed is not None and asked.window is not None and asked.window > fixed:
        raise UserError(f"--window: {classifier.source} hears the first {fixed:g} s of a clip; ask for that or less")
    window = classifier.window(asked.window or fixed or classifier.judged_window or _TIMELINE_SECONDS)
    hop = max(1, window // 2) if asked.hop is None else round(asked.hop * rate)
    if hop > window:
        raise UserError(f"--hop: {asked.hop:g} s leaves gaps between windows of {window / rate:g} s; ask for less")
    return Grid(window, hop)


def predict_tables(
    classifier: Classifier,
    recordings: Sequence[Recording] | Dataset,
    asked: PredictionSettings,
    facts: Facts,
    skipped: list[tuple[str, str]],
) -> Iterator[pa.Table]:
    """The tables of one chunk after the other, with a progress bar; memory holds the chunk that is heard, and as much
    again or one recording that is decoded meanwhile.

    Args:
        skipped: (id, reason) of recordings that are left out is appended to it.

    Raises:
        AudioError: naming the first recording that cannot be read, unless they are skipped.
        NoneReadable: if none could be read.
        UserError: if there is none.
    """
    rate, window, grid = (
        classifier.extractor.sampling_rate,
        classifier.window(asked.window),
        sliding_windows(classifier, asked),
    )
    total = len(recordings)

    def skip(recording: Recording, reason: str) -> None:
        logger.warning("left out: %s", reason)
        skipped.append((recording.id, reason))

    rows = from_dataset(recordings) if isinstance(recordings, Dataset) else recordings
    chunks = read_chunks(rows, rate, classifier.preparation, skip if asked.skip else None, grid)

    def heard() -> Iterator[pa.Table]:
        for chunk in _told(chunks, grid or window):
            if grid:  # how many windows there are is known of what is decoded
                bar.total = (bar.total or 0) + sum(place.windows for place in chunk.places if place.number == 0)
            answer = run_batches(classifier, chunk, None if grid else window, asked.batch_size, vectors, bar.update)
            yield table(chunk, answer, classifier, asked.by_window, facts)

    with contextlib.ExitStack() as held:
        vectors = held.enter_context(capture_embeddings(classifier, asked.layer)) if asked.embeddings else None
        unit = {"unit": "window"} if grid else {"unit": "clip", "total": total}
        bar = held.enter_context(tqdm(desc="predicting", disable=None, **unit))
        yield from map(smooth, whole_recordings(heard())) if asked.smooth else heard()
    if total == 0:
        raise UserError("inputs: empty")
    if len(skipped) == total:
        raise NoneReadable(f"{skipped[0][1]}; none of {total} recordings can be read")


def _told(chunks: Iterable[Chunk], window: object | None) -> Iterator[Chunk]:
    """The chunks; the first clip that will take long to hear whole is told of."""
    told = window is not None
    for chunk in chunks:
        limit = _LONG_SECONDS * chunk.sampling_rate
        if not told and chunk.lengths.max() > limit:
            recording = chunk.recordings[int(chunk.lengths.argmax())]
            seconds = chunk.lengths.max() / chunk.sampling_rate
            logger.warning(
                "%s lasts %.0f s and is heard whole, which may take much memory; --window 30 hears it in pieces",
                *(recording.path, seconds),
            )
            told = True
        yield chunk
