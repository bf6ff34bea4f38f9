"""Checks of labels and speakers: balance, and speakers from which the label follows."""

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from ..evaluation.bootstrap import is_unknown
from ..report.views import counted, listed
from .case import Case, label_names_of
from .result import Fault, Outcome, Problem, left_out

# The clips of the largest class / those of the smallest class.
_UNBALANCED = 5.0
_FEW_CLIPS = 20
# A speaker has one label if this share of the clips has it.
_ONE_LABEL = 0.95
# The share of the speakers who have one label.
_SPEAKERS_WITH_ONE_LABEL = 0.8


def check_labels(case: Case) -> Outcome:
    """Compare the numbers of clips of the classes."""
    if not case.task.has_classes:
        return left_out("the recipe predicts dimensions and no classes")
    rows = list(range(len(case.dataset)))
    counts = Counter(label_names_of(case.dataset, rows))
    counts.pop("", None)
    ordered = counts.most_common()
    largest, most = ordered[0]
    smallest, fewest = ordered[-1]
    ratio = most / fewest
    text = f"{len(counts)} classes: {', '.join(f'{label} {count}' for label, count in ordered)}"

    problems = []
    if ratio >= _UNBALANCED and not _is_weighted(case):
        problems.append(
            Problem(
                Fault.UNBALANCED_LABELS,
                f"{largest} has {most} clips, {ratio:.1f} times the {fewest} of {smallest}",
                "set training.loss.class_weights: balanced or training.balance: class, and judge "
                "by UAR",
            )
        )
    return Outcome(text, problems, {"clips": dict(ordered), "ratio": ratio})


def _is_weighted(case: Case) -> bool:
    """Whether the training gives rare classes more weight."""
    training = case.recipe.training
    is_balanced = training.balance in ("class", "corpus_and_class")
    return bool(is_balanced or training.loss.class_weights or training.loss.focal_gamma)


def check_speakers(case: Case) -> Outcome:
    """Count the speakers, and compare their labels."""
    speakers = case.dataset["speaker"][:]
    named = sorted({speaker for speaker in speakers if not is_unknown(speaker)})
    unnamed = sum(is_unknown(speaker) for speaker in speakers)
    text = f"{counted(len(named), 'speaker')} of {counted(len(speakers), 'clip')}"
    if unnamed:
        text += f", {unnamed:,} of which have an unknown speaker"
    problems = [*_numbers(len(named), len(speakers) - unnamed)]
    if not problems and case.task.has_classes:
        problems += _labels_of_speakers(case, speakers)
    return Outcome(text, problems, {"speakers": len(named), "clips_of_unknown_speakers": unnamed})


def _numbers(speakers: int, clips: int) -> Iterator[Problem]:
    """No speaker, one speaker, or a speaker for each clip."""
    if speakers == 0:
        yield Problem(
            Fault.UNKNOWN_SPEAKERS,
            "no clip has a known speaker, so no split keeps speakers apart",
            "name the column with corpus.speaker, or give a corpus.speaker_pattern",
        )
    elif speakers == 1:
        yield Problem(
            Fault.ONE_SPEAKER,
            "all clips have one speaker, so nothing says how other voices are recognized",
            "add speakers, or add corpora with corpus.auxiliary; if there is one voice only, "
            "protocol.name: random_stratified measures that voice",
        )
    elif speakers == clips and clips >= _FEW_CLIPS:
        yield Problem(
            Fault.SPEAKER_OF_EACH_CLIP,
            f"each of {clips} clips has a speaker of its own, so clips of one voice may be in two "
            "splits",
            "check corpus.speaker or corpus.speaker_pattern: it may name the file",
        )


def _labels_of_speakers(case: Case, speakers: list[str | None]) -> Iterator[Problem]:
    """Speakers who have clips of one label only."""
    labels = label_names_of(case.dataset, list(range(len(speakers))))
    table = pd.DataFrame({"speaker": speakers, "label": labels})
    is_named = ~table["speaker"].map(is_unknown).astype(bool)
    table = table[is_named & (table["label"] != "")]
    counts = pd.crosstab(table["speaker"], table["label"])
    if counts.shape[1] < 2:
        return
    has_several_clips = counts.sum(axis=1) > 1
    counts = counts[has_several_clips]
    if len(counts) == 0:
        return
    has_one_label = counts.max(axis=1) >= _ONE_LABEL * counts.sum(axis=1)
    if has_one_label.mean() >= _SPEAKERS_WITH_ONE_LABEL:
        examples = [
            f"{speaker} {counts.loc[speaker].idxmax()}" for speaker in counts.index[has_one_label]
        ]
        yield Problem(
            Fault.SPEAKER_TELLS_LABEL,
            f"{has_one_label.sum()} of {len(counts)} speakers have one label only "
            f"({listed(examples[:3])}), so a network learns voices in place of emotions",
            "use speakers with several labels, or check that corpus.speaker does not name the "
            "label",
        )
