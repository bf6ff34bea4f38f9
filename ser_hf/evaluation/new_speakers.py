"""What to expect from a new speaker: the scores of speakers that a model was not trained on."""

import dataclasses

import numpy as np

from .bootstrap import is_unknown
from .predictions import Predictions
from .sections import SpeakerScore, SpeakerScores

# A speaker with fewer clips has too random a score.
_FEWEST_CLIPS = 10
# The score of a speaker below chance + this share of (1 - chance) is near chance.
_ABOVE_CHANCE = 0.1
# Of a speaker's predictions, a larger share of one class is named if the labels have less of it.
_ONE_CLASS = 0.8
# A class with at least so many clips of a speaker and a recall up to this is hardly ever predicted.
_CLIPS_OF_CLASS = 3
_HARDLY_EVER = 0.1
_MOST_ROWS = 24


def speaker_scores(predictions: Predictions, basis: str) -> SpeakerScores | None:
    """The scores of each speaker with at least ten clips, the lowest first.

    The score is the UAR over the classes that the speaker has. Several runs are counted together.

    Args:
        basis: who the speakers are, in words.

    Returns:
        None for dimensions and sets of classes, and with fewer than two such speakers.
    """
    if not predictions.task.one_label:
        return None
    names = predictions.names
    chance = 1 / len(names)
    speaker_of_clip = np.asarray(predictions.speakers, dtype=object)
    rows = {}
    for speaker in sorted(set(predictions.speakers) - {None}):
        clips = np.flatnonzero(speaker_of_clip == speaker)
        if not is_unknown(speaker) and len(clips) >= _FEWEST_CLIPS:
            counts = _confusion(predictions, clips)
            rows[speaker] = _score(counts, len(clips), names)
    if len(rows) < 2:
        return None

    rows = dict(sorted(rows.items(), key=lambda row: row[1].uar))
    scores = [row.uar for row in rows.values()]
    return SpeakerScores(
        basis=basis,
        speakers=len(rows),
        chance=chance,
        mean=float(np.mean(scores)),
        quartiles=np.quantile(scores, [0, 0.25, 0.5, 0.75, 1]).tolist(),
        lowest=dict(list(rows.items())[:_MOST_ROWS]),
        near_chance=[
            speaker for speaker, row in rows.items() if is_near_chance(row.uar, len(names))
        ],
        one_class=[speaker for speaker, row in rows.items() if row.one_class],
    )


def _confusion(predictions: Predictions, clips: np.ndarray) -> np.ndarray:
    """The counts of labels and predictions of some clips, over all runs: (classes, classes)."""
    classes = len(predictions.names)
    counts = np.zeros((classes, classes), dtype=int)
    for predicted in predictions.predicted:
        np.add.at(counts, (predictions.labels[clips], predicted[clips]), 1)
    return counts


def _score(counts: np.ndarray, clips: int, names: list[str]) -> SpeakerScore:
    labeled = counts.sum(axis=1)
    predicted = counts.sum(axis=0)
    total = counts.sum()
    present = labeled > 0
    recalls = counts.diagonal()[present] / labeled[present]
    most = int(predicted.argmax())
    share = predicted[most] / total
    runs = total / clips
    rarely = [
        names[label]
        for label in np.flatnonzero(present)
        if labeled[label] / runs >= _CLIPS_OF_CLASS
        and counts[label, label] / labeled[label] <= _HARDLY_EVER
    ]
    return SpeakerScore(
        clips=clips,
        uar=float(recalls.mean()),
        most=names[most],
        share=float(share),
        one_class=bool(share > _ONE_CLASS and labeled[most] / total <= _ONE_CLASS / 2),
        rarely=rarely,
    )


@dataclasses.dataclass(frozen=True)
class _SpeakerFault:
    """A fault of some speakers: the sentence, in which {} is replaced by their names."""

    sentence: str
    attribute: str


_FAULTS = (
    _SpeakerFault(
        "Near chance for some {}: {}. Expect as much from some new speakers; more training "
        "speakers may help (see What to expect from a new speaker).",
        "near_chance",
    ),
    _SpeakerFault(
        "More than 80 % of the clips of some {} get one class: {}. Compare their recording level, "
        "room and microphone with those of the training clips.",
        "one_class",
    ),
)
_MOST_NAMED = 6


def is_near_chance(uar: float, classes: int) -> bool:
    """Whether a UAR is less than a tenth of the way from chance to 1."""
    chance = 1 / classes
    return uar < chance + _ABOVE_CHANCE * (1 - chance)


def is_about_speakers(warning: str) -> bool:
    """Whether a warning is one of `speaker_warnings`."""
    return any(warning.startswith(fault.sentence.partition("{}")[0]) for fault in _FAULTS)


def speaker_warnings(scores: SpeakerScores | None) -> list[str]:
    """A warning that names the speakers near chance, and one that names those with one class."""
    if scores is None:
        return []
    warnings = []
    for fault in _FAULTS:
        speakers = getattr(scores, fault.attribute)
        if not speakers:
            continue
        named = []
        for speaker in speakers[:_MOST_NAMED]:
            row = scores.lowest.get(speaker)
            if row is None:
                named.append(speaker)
            elif fault.attribute == "one_class":
                named.append(f"{speaker} ({row.share:.0%} {row.most})")
            else:
                named.append(f"{speaker} ({row.uar:.3f}, chance {scores.chance:.3f})")
        if len(speakers) > _MOST_NAMED:
            named.append(f"{len(speakers) - _MOST_NAMED} more")
        warnings.append(fault.sentence.format(scores.basis, ", ".join(named)))
    return warnings
