"""The table of tasks: what a model predicts for a clip, and how the predictions are trained,
measured and described.
"""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Task:
    """A task. Metrics are keys of `ser_hf.evaluation.metrics.METRICS`.

    Args:
        problem_type: the key of that name in the model configuration, by which `pipeline` decides
            how to convert logits.
        loss: key of `ser_hf.training.loss.LOSSES`.
        loss_keys: the keys of `training.loss` that the loss has.
        main: the metric in headlines, slices, robustness and pictures.
        selects: the metric that selects the checkpoint by default.
        headline: the metrics in small tables; any of them may select the checkpoint.
        beside: the two metrics that are shown next to `main`.
        compared: the metrics of paired comparisons.
        hub: the metrics of `model-index`: {metric: (type on the Hub, averaging)}.
        outputs: noun for the outputs of a model, in the plural.
        predicts: phrase of the card about the predictions; {} is the number of outputs.
        hardest: sentence of the report about the choice of the hardest clips.
        limits: paragraph of the card about the limits of the outputs; {} is their number.
        group: sentence of the report about the score of a group of clips.
        has_classes: whether a model predicts classes, and not dimensions only.
        one_label: whether each clip has one class, and its probabilities have the sum 1. Only then
            there are confusions, a temperature, a threshold for unknown clips, and a chance level.
        has_votes: whether the targets are votes of raters, which every clip needs.
        has_ratings: whether the targets are ratings in the columns `corpus.targets`.
    """

    name: str
    problem_type: str | None
    loss: str
    loss_keys: tuple[str, ...]
    main: str
    selects: str
    headline: tuple[str, ...]
    beside: tuple[str, str]
    compared: tuple[str, ...]
    hub: dict[str, tuple[str, dict[str, Any] | None]]
    outputs: str
    predicts: str
    hardest: str
    limits: str
    group: str
    has_classes: bool = True
    one_label: bool = False
    has_votes: bool = False
    has_ratings: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the tasks whose targets a model has, each with its metrics."""
        return tuple(self.name.split("+"))


EMOTIONS = Task(
    name="emotions",
    problem_type=None,
    loss="classification",
    loss_keys=("class_weights", "label_smoothing", "focal_gamma", "soft_labels", "auxiliary"),
    main="uar",
    selects="uar",
    headline=("uar", "wa", "macro_f1", "weighted_f1"),
    beside=("macro_f1", "wa"),
    compared=("uar", "wa", "macro_f1"),
    hub={
        "uar": ("recall", {"average": "macro"}),
        "wa": ("accuracy", None),
        "macro_f1": ("f1", {"average": "macro"}),
    },
    outputs="emotions",
    predicts="a probability for each of {} emotions of an utterance",
    hardest="The clips with the lowest probability of the true emotion",
    limits=(
        "**Labels.** It always predicts one of {} labels, even if none fits, and for clips "
        "without speech. A probability is the confidence of the network, not the strength of an "
        "emotion."
    ),
    group="The UAR of a group is the mean over the emotions in it.",
    one_label=True,
)
DIMENSIONS = Task(
    name="dimensions",
    problem_type="regression",
    loss="dimensions",
    loss_keys=("dimensions", "weights", "auxiliary"),
    main="ccc",
    selects="ccc",
    headline=("ccc", "pearson", "mae", "rmse"),
    beside=("pearson", "mae"),
    compared=("ccc", "pearson", "rmse"),
    hub={
        "ccc": ("ccc", None),
        "pearson": ("pearsonr", None),
        "mae": ("mae", None),
        "rmse": ("rmse", None),
    },
    outputs="dimensions",
    predicts="{} dimensions of the emotion of an utterance, each a number from about 0 to about 1",
    hardest="The clips with the largest error, in shares of the range",
    limits=(
        "**Ratings.** It always predicts {} numbers, also for clips without speech. They "
        "estimate the mean rating of listeners, not what a speaker feels."
    ),
    group=(
        "The CCC of a group is the mean over dimensions; it is lower where the ratings in a "
        "group differ little."
    ),
    has_classes=False,
    has_ratings=True,
)
MULTI_LABEL = Task(
    name="multi_label",
    problem_type="multi_label_classification",
    loss="multi_label",
    loss_keys=("class_weights", "label_smoothing", "focal_gamma", "auxiliary"),
    main="macro_f1",
    selects="macro_f1",
    headline=("macro_f1", "micro_f1", "jaccard", "exact_match", "hamming_loss"),
    beside=("micro_f1", "jaccard"),
    compared=("macro_f1", "micro_f1", "jaccard"),
    hub={
        "macro_f1": ("f1", {"average": "macro"}),
        "micro_f1": ("f1", {"average": "micro"}),
        "exact_match": ("accuracy", None),
    },
    outputs="emotions",
    predicts="a separate probability for each of {} emotions, as a clip may have several of them",
    hardest="The clips with the lowest mean probability of the right decisions",
    limits=(
        "**Labels.** It decides on each of {} labels by itself: a clip may get several or none. A "
        "label is true if a large share of the listeners chose it, so a probability estimates what "
        "listeners perceive, not what a speaker feels."
    ),
    group="The macro-F1 of a group is the mean over the emotions that occur in it.",
    has_votes=True,
)
# Both at once: a head for the classes and one for the ratings, on the same vector. Groups, pictures
# and headlines are those of the classes.
EMOTIONS_AND_DIMENSIONS = dataclasses.replace(
    EMOTIONS,
    name=f"{EMOTIONS.name}+{DIMENSIONS.name}",
    loss_keys=tuple(dict.fromkeys((*EMOTIONS.loss_keys, *DIMENSIONS.loss_keys, "task_weights"))),
    selects="uar_ccc",
    headline=(*EMOTIONS.headline, *DIMENSIONS.headline),
    beside=("macro_f1", "ccc"),
    hub=EMOTIONS.hub | DIMENSIONS.hub,
    limits=(
        f"{EMOTIONS.limits} The ratings estimate the mean rating of listeners, not what a speaker "
        "feels; `pipeline` returns the emotions only, and `ser-hf predict` both."
    ),
    has_ratings=True,
)
TASKS = {task.name: task for task in (EMOTIONS, DIMENSIONS, EMOTIONS_AND_DIMENSIONS, MULTI_LABEL)}


def task_of(labels: Any) -> Task:
    """The task to which labels belong.

    Args:
        labels: class ids, int (clips,); sets of classes, bool (clips, classes); or targets, float
            (clips, dimensions).
    """
    if labels.ndim == 1:
        return EMOTIONS
    return MULTI_LABEL if labels.dtype == bool else DIMENSIONS


def task_of_problem(problem_type: str | None) -> Task:
    """The task of a model with this `problem_type` in its configuration."""
    for task in (DIMENSIONS, MULTI_LABEL):
        if problem_type == task.problem_type:
            return task
    return EMOTIONS
