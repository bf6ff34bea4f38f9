"""Bootstrap intervals: how far a metric would move with other speakers and other clips of them.

The hierarchical bootstrap draws speakers with replacement, then clips of each drawn speaker with replacement (Davison
and Hinkley 1997, section 3.8). With few speakers it promises too much (with four, a nominal 95 % covers about 81 %),
so reports with fewer than ten say so and show the interval over clips alone beside it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from scipy.sparse import csr_array

from ..corpora.schema import UNNAMED
from .metrics import clipped, soft_scores, squared_errors
from .predictions import Judged

# Weights (resamples, clips) -> each figure's value (resamples, ...), nan where a resample leaves it undefined.
Measure = Callable[[np.ndarray], dict[str, np.ndarray]]


def measure(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    probabilities: np.ndarray | None = None,
    votes: np.ndarray | None = None,
) -> Measure:
    """What measures one run's answers: UAR, WA, macro-F1 and weighted F1, and with probabilities all others but the
    calibration error. That one is biased upwards, the more so the fewer different clips there are, and a resample has
    fewer than the clips that it was drawn from: near calibration its percentiles lie above the truth, and above the
    very figure that they are to surround (Kumar, Liang and Ma 2019, arXiv:1909.10155, on the bias).

    Args:
        labels, predictions: class ids, (clips,).
        probabilities: (clips, classes).
        votes: raters' shares, (clips, classes), nan where nobody rated.
    """
    # Sparse, so that memory grows with the clips and not with the classes; of a confusion no metric asks more.
    of_label, called = groups(labels, classes), groups(predictions, classes)
    right = groups(labels, classes, labels == predictions)
    scores: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # each clip's own, and which clips have one
    ranks = []
    if probabilities is not None:
        everyone = np.ones(len(labels))
        own = np.take_along_axis(clipped(probabilities), labels[:, None], axis=1)[:, 0]
        scores = {"log_loss": (-np.log(own), everyone), "brier": (squared_errors(labels, probabilities), everyone)}
        if classes > 2:
            scores["top2_accuracy"] = (_in_top_two(labels, probabilities), everyone)
        if votes is not None:
            for name, values in zip(("kl", "cosine"), soft_scores(probabilities, votes), strict=True):
                scores[name] = (np.nan_to_num(values), np.isfinite(values).astype(np.float64))
        # A class without a clip has no area, in no resample.
        ranks = [_Ranks(labels == i, probabilities[:, i]) for i in np.unique(labels)]

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        weights = np.asarray(weights, dtype=np.float64)
        values = from_counts(weights @ of_label, weights @ called, weights @ right)
        if probabilities is None:
            return {name: values[name] for name in ("uar", "wa", "macro_f1", "weighted_f1")}
        with np.errstate(invalid="ignore", divide="ignore"):
            values["auroc"] = mean_of_known(np.stack([own(weights) for own in ranks], axis=1))
            for name, (own, known) in scores.items():
                values[name] = weights @ (own * known) / (weights @ known)
        return values

    return measured


def groups(of: np.ndarray, count: int, counted: np.ndarray | None = None) -> csr_array:
    """(clips, count), 1 where a clip is of that group: `weights @ groups(...)` is how often each group was drawn,
    (resamples, count). A clip that is not `counted` is of none."""
    clips = len(of)
    ones = np.ones(clips) if counted is None else np.asarray(counted, np.float64)
    return csr_array((ones, np.asarray(of), np.arange(clips + 1)), shape=(clips, count))


def from_counts(support: np.ndarray, called: np.ndarray, hits: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of resamples, each (resamples,), from the clips of each class, the answers that name it and those of
    them that are right, each (resamples, classes)."""
    total = support.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A class that a resample lacks has no recall; it is left out of that resample's mean. So is a fold of which no
        # speaker was drawn.
        f1 = np.where(support > 0, 2 * hits / (support + called), np.nan)
        right = hits.sum(axis=1)
        chance = (support * called).sum(axis=1)
        spread = np.sqrt((total**2 - (called**2).sum(axis=1)) * (total**2 - (support**2).sum(axis=1)))
        correlation = (right * total - chance) / spread
        return {
            "uar": mean_of_known(recalls(support, hits)),
            "wa": right / total,
            "macro_f1": mean_of_known(f1),
            "weighted_f1": np.nansum(f1 * support, axis=1) / total,
            "micro_f1": right / total,
            "kappa": (right * total - chance) / (total**2 - chance),
            # Where all answers, or all labels, are one class, nothing is correlated (as scikit-learn has it).
            "mcc": np.where((spread == 0) & (total > 0), 0, correlation),
        }


def recalls(support: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Of each class, (..., classes), nan where it has no clip."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(support > 0, hits / support, np.nan)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not nan."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(values, axis=-1) / np.isfinite(values).sum(axis=-1)


def _in_top_two(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    # Equal probabilities rank as in scikit-learn: the later class first.
    ranked = np.argsort(probabilities, axis=1, kind="stable")[:, ::-1][:, :2]
    return (ranked == labels[:, None]).any(axis=1).astype(np.float64)


class _Ranks:
    """The area under a class's ROC curve, equal probabilities counting half, under weights (resamples, clips)."""

    def __init__(self, own: np.ndarray, scores: np.ndarray):
        self.order = np.argsort(scores, kind="stable")
        ranked = scores[self.order]
        places = np.flatnonzero(own[self.order])
        self.own = self.order[places]
        # Of each of the class's clips: how many clips, and how many of the class's, rank below it, and with it or
        # below.
        self.below, self.upto = (np.searchsorted(ranked, ranked[places], side) for side in ("left", "right"))
        self.own_below, self.own_upto = np.searchsorted(places, self.below), np.searchsorted(places, self.upto)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        drawn, own = weights[:, self.own], _counted(weights[:, self.own])
        everyone = _counted(weights[:, self.order])
        others = everyone[:, self.below] + everyone[:, self.upto] - own[:, self.own_below] - own[:, self.own_upto]
        pairs = own[:, -1] * (everyone[:, -1] - own[:, -1])
        return (drawn * others).sum(axis=1) / (2 * pairs)


def _counted(weights: np.ndarray) -> np.ndarray:
    """How much weight there is before each place and, at the end, in all: (resamples, places + 1)."""
    return np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)


FEW_SPEAKERS = 10
# Counts that are drawn at once: memory stays flat however many clips there are.
_DRAWN_AT_ONCE = 4_000_000
# Of these, counts that are measured at once: what a processor's cache holds.
_MEASURED_AT_ONCE = 2**17

Intervals = dict[str, list[float]]


def bootstrap_intervals(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    speakers: Sequence[str] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Percentile intervals {metric: [low, high]} of UAR, WA, macro-F1 and weighted F1.

    Args:
        labels: (clips,) class ids.
        predictions: (clips,), or (runs, clips) for several seeds on the same clips: the metric is then the runs' mean,
            and its interval that of the mean of these very runs, which are not drawn.
        speakers: (clips,) for the hierarchical bootstrap; None draws clips alone.
    """
    labels = np.asarray(labels)
    runs = _mean([measure(labels, run, classes) for run in np.atleast_2d(predictions)])
    (values,) = resample([runs], draws(len(labels), speakers, resamples, np.random.default_rng(seed)))
    return percentiles(values, confidence)


def fold_intervals(
    folds: Sequence[Judged],
    draw_folds: bool,
    by_speaker: bool = True,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Percentile intervals of a metric's mean over folds, of every metric that the answers have but ECE.

    Args:
        folds: the judged clips of each.
        draw_folds: draw the folds with replacement as well. In leave-one-speaker-out they are the speakers; where a
            fold has several speakers this counts their variation twice, which errs on the wide side. Where a speaker
            stands in several folds, speakers are drawn once for all folds instead, and folds are not; where a clip
            does, clips are.
        by_speaker: draw speakers and their clips, otherwise clips alone.
    """
    generator = np.random.default_rng(seed)
    if len({clip for fold in folds for clip in fold.ids}) < sum(map(len, folds)):
        values = _of_shared_clips(folds, by_speaker, resamples, generator)
        return percentiles(values, confidence)
    of_fold = [sorted(set(who(fold))) for fold in folds if by_speaker]
    everyone = sorted({speaker for own in of_fold for speaker in own})
    drawn = None
    if sum(map(len, of_fold)) > len(everyone):
        counts = generator.multinomial(len(everyone), np.full(len(everyone), 1 / len(everyone)), size=resamples)
        drawn = dict(zip(everyone, counts.T, strict=True))
        draw_folds = False
    values = []
    for fold in folds:
        speakers = who(fold) if by_speaker else None
        values += resample([all_of(fold)], draws(len(fold), speakers, resamples, generator, drawn))
    stacked = {name: np.stack([own[name] for own in values]) for name in values[0]}  # (folds, resamples) each
    if draw_folds:
        chosen = generator.integers(len(folds), size=(len(folds), resamples))
        # Each drawn fold brings a resample of its own, so that a fold drawn twice is not the same twice.
        own = generator.integers(resamples, size=chosen.shape)
        stacked = {name: one[chosen, own] for name, one in stacked.items()}
    return percentiles({name: mean_of_known(one.T) for name, one in stacked.items()}, confidence)


def _of_shared_clips(
    folds: Sequence[Judged], by_speaker: bool, resamples: int, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Each metric's mean over folds in each resample, (resamples,), where folds judge the same clips: each clip is
    drawn once for all of them."""
    number: dict[str, int] = {}
    places = [np.asarray([number.setdefault(clip, len(number)) for clip in fold.ids]) for fold in folds]
    speaker = {clip: name for fold in folds for clip, name in zip(fold.ids, who(fold), strict=True)}
    speakers = [speaker[clip] for clip in number] if by_speaker else None
    measures = [all_of(fold) for fold in folds]

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        values = [own(weights[:, at]) for own, at in zip(measures, places, strict=True)]
        return {name: mean_of_known(np.stack([own[name] for own in values], axis=1)) for name in values[0]}

    return resample([measured], draws(len(number), speakers, resamples, generator))[0]


def who(judged: Judged) -> list[str]:
    """The speaker of each clip, (clips,); whose speaker is not known is one of its own."""
    return [
        f"{name or ''} in {clip}" if is_unknown(name) else name
        for name, clip in zip(judged.speakers, judged.ids, strict=True)
    ]


def is_unknown(speaker: str | None) -> bool:
    """Whether this names nobody."""
    return speaker is None or speaker.rpartition(":")[2] == UNNAMED


def judged_draws(judged: Judged, by_speaker: bool, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """`draws` of the clips of a part, by their speakers or alone. A clip that was judged several times, by several
    folds, is drawn once."""
    first: dict[str, int] = {}
    for place, clip in enumerate(judged.ids):
        first.setdefault(clip, place)
    speakers = who(judged) if by_speaker else None
    generator = np.random.default_rng(seed)
    if len(first) == len(judged):
        return draws(len(judged), speakers, resamples, generator)
    number = {clip: i for i, clip in enumerate(first)}
    places = np.asarray([number[clip] for clip in judged.ids])
    own = [speakers[place] for place in first.values()] if by_speaker else None
    return (counts[:, places] for counts in draws(len(first), own, resamples, generator))


def all_of(judged: Judged) -> Measure:
    """What measures every metric that has an interval, mean over the runs."""
    classes = len(judged.names)
    answered = zip(judged.predictions, judged.probabilities, strict=True)
    return _mean([measure(judged.labels, run, classes, shares, judged.votes) for run, shares in answered])


def recalls_of(judged: Judged) -> Measure:
    """What measures `recall`, (resamples, classes), mean over the runs."""
    classes, runs = len(judged.names), judged.predictions
    support = groups(judged.labels, classes)
    hits = [groups(judged.labels, classes, judged.labels == run) for run in runs]

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        clips = weights @ support
        return {"recall": np.mean([recalls(clips, weights @ own) for own in hits], axis=0)}

    return measured


def _mean(runs: Sequence[Measure]) -> Measure:
    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        values = [run(weights) for run in runs]
        return {name: np.mean([own[name] for own in values], axis=0) for name in values[0]}

    return measured


def resample(measures: Sequence[Measure], drawn: Iterator[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """What each of the measures says of each resample, (resamples, ...), all of the same ones."""
    pieces: list[list[dict[str, np.ndarray]]] = [[] for _ in measures]
    for counts in drawn:
        rows = max(1, _MEASURED_AT_ONCE // max(counts.shape[1], 1))
        for start in range(0, len(counts), rows):
            weights = counts[start : start + rows].astype(np.float64)  # once, not in each measure
            for own, measured in zip(pieces, measures, strict=True):
                own.append(measured(weights))
    return [{name: np.concatenate([piece[name] for piece in own]) for name in own[0]} for own in pieces]


def percentile(values: np.ndarray, confidence: float) -> list[float] | None:
    """[low, high] of what resamples gave, nan left out; None where there is nothing else."""
    known = values[np.isfinite(values)]
    tail = 100 * (1 - confidence) / 2
    return [float(end) for end in np.percentile(known, [tail, 100 - tail])] if len(known) else None


def draws(
    clips: int,
    speakers: Sequence[str] | None,
    resamples: int,
    generator: np.random.Generator,
    drawn: Mapping[str, np.ndarray] | None = None,
) -> Iterator[np.ndarray]:
    """How often each clip stands in each resample, in blocks of (some resamples, clips): `resamples` in all. `drawn`
    says how often each speaker does, (resamples,), where that is settled elsewhere."""
    block = max(1, _DRAWN_AT_ONCE // max(clips, 1))
    for start in range(0, resamples, block):
        end = min(start + block, resamples)
        own = None if drawn is None else {name: counts[start:end] for name, counts in drawn.items()}
        yield _clip_counts(clips, speakers, end - start, generator, own)


def percentiles(values: Mapping[str, np.ndarray], confidence: float) -> Intervals:
    """Of each figure; one that no resample defines is left out."""
    found = {name: percentile(own, confidence) for name, own in values.items()}
    return {name: own for name, own in found.items() if own is not None}


def _clip_counts(
    clips: int,
    speakers: Sequence[str] | None,
    resamples: int,
    generator: np.random.Generator,
    drawn: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """How often each clip stands in each resample, (resamples, clips); `drawn` says how often each speaker does,
    (resamples,), where that is settled elsewhere."""
    if speakers is None:
        return generator.multinomial(clips, np.full(clips, 1 / clips), size=resamples)
    names, of = np.unique(np.asarray(speakers), return_inverse=True)
    members = np.split(np.argsort(of, kind="stable"), np.cumsum(np.bincount(of))[:-1])
    if drawn is None:
        times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples).T
    else:
        times = [drawn[name] for name in names]
    counts = np.zeros((resamples, clips), dtype=np.int64)
    for i, own in enumerate(members):
        if len(own) == 1:
            counts[:, own[0]] = times[i]
            continue
        # A speaker drawn k times brings k times as many clips, drawn from its own.
        counts[:, own] = generator.multinomial(times[i] * len(own), np.full(len(own), 1 / len(own)))
    return counts
