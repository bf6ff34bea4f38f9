"""Bootstrap intervals and paired tests: how far a metric, or a difference, moves with other
speakers and clips.

The hierarchical bootstrap draws speakers with replacement, then clips of each drawn speaker with
replacement (Davison and Hinkley 1997, section 3.8). With few speakers its intervals are too narrow
(with four, a nominal 95 % covers about 81 %), so reports with fewer than ten say so and show the
interval over clips alone beside it.

A paired comparison draws the same speakers and clips for both sides. If a side has several seeds,
each resample draws seeds as well.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ..corpora.schema import UNNAMED
from .metrics import RESAMPLED, AnyOutputs, compute, mean_metrics, values
from .outputs import Outputs
from .predictions import Predictions
from .ratings import Ratings
from .tasks import task_of
from .weighting import mean_of_known, recalls

FEW_SPEAKERS = 10
# Number of counts that are drawn at once: it bounds the memory, however many clips there are.
_DRAWN_AT_ONCE = 4_000_000
# Number of these counts that are measured at once: they fit into the cache of a processor.
_MEASURED_AT_ONCE = 2**17

# A function from weights (resamples, clips) to the values of each metric, (resamples, ...). A value
# is nan where the metric is undefined for a resample.
Measure = Callable[[np.ndarray], dict[str, np.ndarray]]
Intervals = dict[str, list[float]]


def measure(runs: Sequence[AnyOutputs], names: Sequence[str] = RESAMPLED) -> Measure:
    """Make a function from weights to metrics: their means over runs on the same clips."""

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        scores = [compute(run, weights, names) for run in runs]
        return {name: np.mean([of_run[name] for of_run in scores], axis=0) for name in scores[0]}

    return measured


def measure_recalls(runs: Sequence[Outputs]) -> Measure:
    """Make a function from weights to the recall of each class.

    It returns {"recall": (resamples, classes)}, the means over runs on the same clips.
    """

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        support = weights @ runs[0].labeled
        of_runs = [recalls(support, weights @ run.recognized) for run in runs]
        return {"recall": np.mean(of_runs, axis=0)}

    return measured


def measure_dimensions(runs: Sequence[Ratings]) -> Measure:
    """Make a function from weights to the CCC of each dimension.

    It returns {"ccc": (resamples, dimensions)}, the means over runs on the same clips.
    """

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        of_runs = [run.weighted(weights).ccc() for run in runs]
        return {"ccc": np.mean(of_runs, axis=0)}

    return measured


def fold_intervals(
    folds: Sequence[Predictions],
    draw_folds: bool,
    by_speaker: bool = True,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Percentile intervals of the means of metrics over folds.

    Speakers (or clips) that occur in several folds are resampled once, and all folds use that same
    resample.

    Args:
        draw_folds: whether to draw folds with replacement as well; not used if folds share
            speakers or clips. In leave-one-speaker-out, folds are speakers. With several speakers
            per fold the variation of speakers is counted twice, so the interval is too wide rather
            than too narrow.
        by_speaker: whether to draw speakers and then their clips; otherwise only clips are drawn.
    """
    generator = np.random.default_rng(seed)
    speakers = [speaker_keys(fold) if by_speaker else None for fold in folds]
    if _folds_share(folds, speakers):
        drawn = _resample_shared_folds(folds, speakers, resamples, generator)
    else:
        drawn = _resample_disjoint_folds(folds, speakers, draw_folds, resamples, generator)
    return percentiles(drawn, confidence)


def _folds_share(folds: Sequence[Predictions], speakers: Sequence[list[str] | None]) -> bool:
    """Whether a clip or a speaker is in two folds."""
    seen: set[str] = set()
    for fold, speakers_of_fold in zip(folds, speakers, strict=True):
        clips_and_speakers = {*fold.ids, *(speakers_of_fold or ())}
        if not seen.isdisjoint(clips_and_speakers):
            return True
        seen |= clips_and_speakers
    return False


def _resample_shared_folds(
    folds: Sequence[Predictions],
    speakers: Sequence[list[str] | None],
    resamples: int,
    generator: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Resample folds that share clips or speakers; each is drawn once, for all folds.

    Returns:
        {metric: (resamples,)}, the means over folds.
    """
    measures = [measure(fold.outputs) for fold in folds]
    ends = np.cumsum([len(fold) for fold in folds])[:-1]

    def mean_of_folds(weights: np.ndarray) -> dict[str, np.ndarray]:
        weights_of_folds = np.split(weights, ends, axis=1)
        scores = []
        for measure_fold, weights_of_fold in zip(measures, weights_of_folds, strict=True):
            scores.append(measure_fold(weights_of_fold))

        means = {}
        for name in scores[0]:
            of_folds = np.stack([of_fold[name] for of_fold in scores], axis=1)
            means[name] = mean_of_known(of_folds)
        return means

    ids = list(itertools.chain(*(fold.ids for fold in folds)))
    all_speakers = None if speakers[0] is None else list(itertools.chain(*speakers))
    drawn = clip_draws(ids, all_speakers, resamples, generator)
    return resample([mean_of_folds], drawn)[0]


def _resample_disjoint_folds(
    folds: Sequence[Predictions],
    speakers: Sequence[list[str] | None],
    draw_folds: bool,
    resamples: int,
    generator: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Resample each fold by itself.

    Returns:
        {metric: (resamples,)}, the means over folds.
    """
    scores = []
    for fold, speakers_of_fold in zip(folds, speakers, strict=True):
        drawn = draws(len(fold), speakers_of_fold, resamples, generator)
        scores.append(resample([measure(fold.outputs)], drawn)[0])
    # {metric: (folds, resamples)}
    stacked = {name: np.stack([of_fold[name] for of_fold in scores]) for name in scores[0]}

    if draw_folds:
        chosen_folds = generator.integers(len(folds), size=(len(folds), resamples))
        # Each drawn fold gets a random resample, so that a fold that is drawn twice does not
        # contribute the same value twice.
        chosen_resamples = generator.integers(resamples, size=chosen_folds.shape)
        stacked = {
            name: of_folds[chosen_folds, chosen_resamples] for name, of_folds in stacked.items()
        }
    return {name: mean_of_known(of_folds.T) for name, of_folds in stacked.items()}


def speaker_keys(predictions: Predictions) -> list[str]:
    """The speaker of each clip, (clips,); a clip with an unknown speaker gets its own key."""
    return [
        f"{name or ''} in {clip}" if is_unknown(name) else name
        for name, clip in zip(predictions.speakers, predictions.ids, strict=True)
    ]


def is_unknown(speaker: str | None) -> bool:
    """Whether the corpus does not name the speaker."""
    return speaker is None or speaker.rpartition(":")[2] == UNNAMED


def resample(
    measures: Sequence[Measure], drawn: Iterator[np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """Evaluate each measure on the same resamples.

    Returns:
        For each measure its values, {metric: (resamples, ...)}.
    """
    pieces: list[list[dict[str, np.ndarray]]] = [[] for _ in measures]
    for counts in drawn:
        rows = max(1, _MEASURED_AT_ONCE // max(counts.shape[1], 1))
        for start in range(0, len(counts), rows):
            # Weights are converted here once, not again in each measure.
            weights = counts[start : start + rows].astype(np.float64)
            for pieces_of_measure, measured in zip(pieces, measures, strict=True):
                pieces_of_measure.append(measured(weights))
    return [_joined(pieces_of_measure) for pieces_of_measure in pieces]


def _joined(pieces: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Concatenate the values of consecutive resamples: {metric: (resamples, ...)}."""
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def percentile(values: np.ndarray, confidence: float) -> list[float] | None:
    """The percentile interval [low, high] of the values that are not nan; None if all are nan."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None
    tail = 100 * (1 - confidence) / 2
    return np.percentile(defined, [tail, 100 - tail]).tolist()


def percentiles(values: Mapping[str, np.ndarray], confidence: float) -> Intervals:
    """The interval of each metric that is defined in some resample."""
    intervals = {}
    for name, resampled in values.items():
        interval = percentile(resampled, confidence)
        if interval is not None:
            intervals[name] = interval
    return intervals


def clip_draws(
    ids: Sequence[str],
    speakers: Sequence[str] | None,
    resamples: int,
    generator: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Draw resamples like `draws`, for predictions that may contain the same clip several times.

    A clip that several folds predict is drawn once, and its predictions have equal counts.
    """
    # Clips are numbered in the order of their first prediction.
    number_of_clip: dict[str, int] = {}
    numbers = np.asarray([number_of_clip.setdefault(clip, len(number_of_clip)) for clip in ids])
    if speakers is not None:
        firsts = np.unique(numbers, return_index=True)[1]
        speakers = [speakers[first] for first in firsts]
    drawn = draws(len(number_of_clip), speakers, resamples, generator)
    return (counts[:, numbers] for counts in drawn)


def draws(
    clips: int, speakers: Sequence[str] | None, resamples: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Draw resamples: how often each clip is in each resample.

    Yields:
        Blocks of counts, (resamples of the block, clips).
    """
    block = max(1, _DRAWN_AT_ONCE // max(clips, 1))
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    if speakers is None:
        for size in sizes:
            yield generator.multinomial(clips, np.full(clips, 1 / clips), size=size)
        return

    _, speaker_of_clip = np.unique(np.asarray(speakers), return_inverse=True)
    ends = np.cumsum(np.bincount(speaker_of_clip))[:-1]
    clips_of_speakers = np.split(np.argsort(speaker_of_clip, kind="stable"), ends)
    for size in sizes:
        yield _draw_speakers(clips_of_speakers, clips, size, generator)


def _draw_speakers(
    clips_of_speakers: Sequence[np.ndarray], clips: int, size: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw speakers, then clips of each drawn speaker.

    Returns:
        How often each clip is in each of `size` resamples, (size, clips).
    """
    number = len(clips_of_speakers)
    times = generator.multinomial(number, np.full(number, 1 / number), size=size)
    counts = np.zeros((size, clips), dtype=np.int64)
    for clips_of_speaker, drawn in zip(clips_of_speakers, times.T, strict=True):
        # A speaker drawn k times brings k times as many clips, drawn from the speaker's clips.
        count = len(clips_of_speaker)
        if count == 1:
            counts[:, clips_of_speaker] = drawn[:, None]
        else:
            shares = np.full(count, 1 / count)
            counts[:, clips_of_speaker] = generator.multinomial(drawn * count, shares)
    return counts


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """A metric of two sides, `a` and `b`, on the same clips.

    Args:
        difference: `a` minus `b`.
        interval: interval of the difference; resamples draw speakers and their clips.
        clip_interval: interval of the difference; resamples draw clips only.
        p: two-sided p-value, see `sign_p`.
    """

    a: float
    b: float
    difference: float
    interval: list[float] | None
    clip_interval: list[float] | None
    p: float


def paired_comparison(
    sides: Mapping[str, Sequence[AnyOutputs]],
    speakers: Sequence[str] | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[tuple[str, str], dict[str, PairedDifference]]:
    """Compare every two sides on the same resamples, in the metrics that the task compares.

    Args:
        sides: the outputs of the runs of each side, by name, all for the same clips. If a side has
            several runs (seeds), its metric is the mean over runs, and the bootstrap draws runs as
            well. Two sides with equally many runs draw the same positions: list equal seeds at
            equal positions.
        speakers: the speaker of each clip, (clips,). With None the bootstrap draws clips only, as
            it always does for `clip_interval`.

    Returns:
        {(a, b): {metric: difference}}.
    """
    labels = next(iter(sides.values()))[0].labels
    names = task_of(labels).compared
    plain = {name: _mean_values(runs, names) for name, runs in sides.items()}
    by_clip = _bootstrap(sides, None, resamples, seed, names)
    by_speaker = by_clip
    if speakers is not None:
        by_speaker = _bootstrap(sides, speakers, resamples, seed, names)

    compared: dict[tuple[str, str], dict[str, PairedDifference]] = {}
    for a, b in itertools.combinations(sides, 2):
        compared[a, b] = {}
        for metric in names:
            value_a = plain[a][metric]
            value_b = plain[b][metric]
            drawn = by_speaker[a][metric] - by_speaker[b][metric]
            drawn_clips = by_clip[a][metric] - by_clip[b][metric]
            compared[a, b][metric] = PairedDifference(
                a=value_a,
                b=value_b,
                difference=value_a - value_b,
                interval=percentile(drawn, confidence),
                clip_interval=percentile(drawn_clips, confidence),
                p=sign_p(drawn),
            )
    return compared


def _mean_values(runs: Sequence[AnyOutputs], names: Sequence[str]) -> dict[str, float]:
    """The mean of each metric over the runs; nan if the metric is undefined for a run."""
    means = mean_metrics([values(run, names) for run in runs])
    return {name: math.nan if mean is None else mean for name, mean in means.items()}


def _bootstrap(
    sides: Mapping[str, Sequence[AnyOutputs]],
    speakers: Sequence[str] | None,
    resamples: int,
    seed: int,
    names: Sequence[str],
) -> dict[str, dict[str, np.ndarray]]:
    """Compute the metrics of every side on the same resamples: {side: {metric: (resamples,)}}."""
    clips = len(next(iter(sides.values()))[0].labels)
    # Each number of seeds has its own generator, so that the draw for a side does not depend on the
    # order of the sides.
    numbers_of_seeds = {len(runs) for runs in sides.values()} - {1}
    generators = {number: np.random.default_rng([seed, number]) for number in numbers_of_seeds}

    pieces: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in sides}
    for weights in draws(clips, speakers, resamples, np.random.default_rng(seed)):
        chosen = {
            number: generator.integers(number, size=(number, len(weights)))
            for number, generator in generators.items()
        }
        for name, runs in sides.items():
            pieces[name].append(_mean(runs, weights, names, chosen.get(len(runs))))
    return {name: _joined(pieces_of_side) for name, pieces_of_side in pieces.items()}


def _mean(
    runs: Sequence[AnyOutputs],
    weights: np.ndarray,
    names: Sequence[str],
    chosen: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The mean of each metric over the runs: {metric: (resamples,)}.

    Args:
        chosen: numbers of the runs that each resample draws, (runs, resamples); default: all runs.
    """
    if chosen is None:
        chosen = np.arange(len(runs))[:, None]
    scores = [compute(run, weights, names) for run in runs]
    means = {}
    for metric in names:
        of_runs = np.stack([of_run[metric] for of_run in scores])
        means[metric] = np.take_along_axis(of_runs, chosen, axis=0).mean(axis=0)
    return means


def sign_p(differences: np.ndarray) -> float:
    """Two-sided p-value of resampled differences.

    It is twice the share of the differences that are zero or have the rarer sign, at most 1. One is
    added to the count and to the number of resamples, because a finite number of resamples cannot
    show that something never happens (Davison and Hinkley 1997, section 4.2).
    """
    defined = differences[np.isfinite(differences)]
    rarer = min(np.sum(defined <= 0), np.sum(defined >= 0))
    return float(min(1.0, 2 * (rarer + 1) / (len(defined) + 1)))


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for the number of tests (Holm 1979).

    If corrected values below 0.05 count as significant, the probability of any false positive is at
    most 5 %, whether or not the tests depend on each other.
    """
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, i in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = largest
    return corrected
