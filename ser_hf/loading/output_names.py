"""Names the outputs of a checkpoint's classifier, so that a new model keeps its rows by label.

The words of corpora are imported where a training needs them: predictions do without.
"""

import difflib
from collections.abc import Mapping, Sequence

from ..utils.errors import UserError


def check_label_names(
    label_names: Sequence[str],
    source: str,
    saved_labels: Mapping[int, str],
    labels: Sequence[str],
) -> None:
    """Check the names that a recipe gives to the outputs of a checkpoint.

    Args:
        label_names: a name for each output, in their order.
        source: the checkpoint, for messages.
        saved_labels: `id2label` of the checkpoint.
        labels: the labels of the new model.

    Raises:
        UserError: naming `model.label_names`, for another number of names than of outputs, for a
            name that is no emotion, no dimension and no label, and if no name is a label.
    """
    from ..corpora.schema import EMOTIONS
    from ..corpora.targets import ALIASES

    if len(label_names) != len(saved_labels):
        raise UserError(
            f"model.label_names: {len(label_names)} names, but {source} has "
            f"{len(saved_labels)} outputs; name each of them, in their order"
        )
    accepted = [*labels, *EMOTIONS, *ALIASES, *saved_labels.values()]
    for name in label_names:
        if name not in accepted:
            nearest = difflib.get_close_matches(name[:100], accepted, n=1, cutoff=0.0)
            raise UserError(
                f"model.label_names: {name!r:.100} is neither a label of the corpus nor an "
                f"emotion; the nearest is {nearest[0]}"
            )
    if not set(label_names).intersection(labels):
        raise UserError(
            f"model.label_names: none of {', '.join(label_names):.100} is a label of the corpus "
            f"({', '.join(labels):.100}), so no row of the classifier can be kept; leave it out"
        )


def output_names(
    saved_labels: Mapping[int, str],
    labels: Sequence[str],
    label_names: Sequence[str] | None = None,
) -> list[str]:
    """The names of a checkpoint's outputs, in the words of the new model's labels.

    Names of models of others are read: ``ang`` and ``Angry`` are `angry`, if that is a label, and
    if no other output has this meaning. Other names stay as they are.

    Args:
        saved_labels: `id2label` of the checkpoint.
        labels: the labels of the new model.
        label_names: names that replace those of the checkpoint; see `check_label_names`.
    """
    from ..corpora.emotion_words import emotions_of_labels

    if label_names is not None:
        return list(label_names)
    saved_names = [saved_labels[i] for i in sorted(saved_labels)]
    meanings = []
    for name, emotion in zip(saved_names, emotions_of_labels(saved_names), strict=True):
        meanings.append(name if name in labels else _meaning(name, emotion, labels))
    names = []
    for name, meaning in zip(saved_names, meanings, strict=True):
        is_clear = meaning is not None and meanings.count(meaning) == 1
        names.append(meaning if is_clear else name)
    return names


def _meaning(name: str, emotion: str | None, labels: Sequence[str]) -> str | None:
    """The label that a name of an output means; None without one."""
    from ..corpora.targets import ALIASES

    dimension = name.strip().lower()
    for candidate in (emotion, dimension, ALIASES.get(dimension)):
        if candidate in labels:
            return candidate
    return None
