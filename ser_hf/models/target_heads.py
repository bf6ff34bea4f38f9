"""Heads for several targets on one vector: ratings beside the classes, and auxiliary targets.

The classes stay the `logits`, so that `pipeline` predicts them. Auxiliary targets, such as the sex
of the speaker, exist in training only: published models have no such head.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput

from .layers import classifier_output

# Keys of the configuration. The names of the dimensions that are predicted beside the classes:
DIMENSIONS_KEY = "dimension_names"
# {auxiliary target: the names of its classes}:
AUXILIARY_KEY = "auxiliary_targets"
# The modules of a model that map its vector to targets.
RATING_HEAD = "rating_head"
AUXILIARY_HEAD = "auxiliary_head"
HEADS = ("classifier", RATING_HEAD, AUXILIARY_HEAD)


@dataclasses.dataclass
class TargetsOutput(SequenceClassifierOutput):
    """The output of a model with several targets.

    Args:
        ratings: values of the dimensions, (batch, dimensions).
        auxiliary: logits of all auxiliary targets, (batch, classes of all targets).
    """

    ratings: torch.FloatTensor | None = None
    auxiliary: torch.FloatTensor | None = None


def dimension_names(config: PreTrainedConfig) -> list[str]:
    """The dimensions that a model predicts beside its classes; empty for other models."""
    return list(getattr(config, DIMENSIONS_KEY, None) or ())


def auxiliary_targets(config: PreTrainedConfig) -> dict[str, Sequence[str]]:
    """{auxiliary target: the names of its classes}."""
    targets: Mapping[str, Sequence[str]] | None = getattr(config, AUXILIARY_KEY, None)
    return dict(targets or {})


class TargetHeads:
    """Adds the heads of further targets to a network with a linear `classifier`.

    A network calls `add_target_heads` before `post_init`, and `targets_output` on the vector that
    the classifier receives.
    """

    config: PreTrainedConfig
    classifier: nn.Module

    def add_target_heads(self) -> None:
        """Make a linear head for the dimensions, and one for all auxiliary targets.

        Raises:
            ValueError: if the classifier is no linear layer.
        """
        dimensions = dimension_names(self.config)
        auxiliary = auxiliary_targets(self.config)
        if not dimensions and not auxiliary:
            return
        if not isinstance(self.classifier, nn.Linear):
            raise ValueError("a network with several targets needs a linear classifier")
        size = self.classifier.in_features
        if dimensions:
            self.rating_head = nn.Linear(size, len(dimensions))
        if auxiliary:
            outputs = sum(len(names) for names in auxiliary.values())
            self.auxiliary_head = nn.Linear(size, outputs)

    def targets_output(
        self, vector: torch.Tensor, labels: torch.Tensor | None
    ) -> SequenceClassifierOutput:
        """Apply all heads to a vector, (batch, size); `labels` as for `classifier_output`."""
        output = classifier_output(self.config, self.classifier(vector), labels)
        rating_head = getattr(self, RATING_HEAD, None)
        auxiliary_head = getattr(self, AUXILIARY_HEAD, None)
        if rating_head is None and auxiliary_head is None:
            return output
        return TargetsOutput(
            loss=output.loss,
            logits=output.logits,
            ratings=None if rating_head is None else rating_head(vector),
            auxiliary=None if auxiliary_head is None else auxiliary_head(vector),
        )
