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
        main: the metric in headlines, slices, robustness and pictures; by default it selects the
            checkpoint.
        headline: the metrics in small tables; any of them may select the checkpoint.
        beside: the two metrics that are shown next to `main`.
        compared: the metrics of paired comparisons.
        hub: the metrics of `model-index`: {metric: (type on the Hub, averaging)}.
        outputs: noun for the outputs of a model, in the plural.
        predicts: phrase of the card about the predictions; {} is the number of outputs.
        hardest: sentence of the report about the choice of the hardest clips.
        limits: paragraph of the card about the limits of the outputs; {} is their number.
        group: sentence of the report about the score of a group of clips.
    """

    name: str
    problem_type: str | None
    loss: str
    main: str
    headline: tuple[str, ...]
    beside: tuple[str, str]
    compared: tuple[str, ...]
    hub: dict[str, tuple[str, dict[str, Any] | None]]
    outputs: str
    predicts: str
    hardest: str
    limits: str
    group: str


EMOTIONS = Task(
    name="emotions",
    problem_type=None,
    loss="classification",
    main="uar",
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
)
DIMENSIONS = Task(
    name="dimensions",
    problem_type="regression",
    loss="dimensions",
    main="ccc",
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
)
TASKS = {task.name: task for task in (EMOTIONS, DIMENSIONS)}


def task_of(labels: Any) -> Task:
    """The task to which labels belong: class ids, (clips,), or targets, (clips, dimensions)."""
    return DIMENSIONS if labels.ndim == 2 else EMOTIONS
