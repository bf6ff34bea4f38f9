"""Configuration of the stacked CNN-LSTM with attention."""

from typing import Literal

from .configuration_stacked_cnn_lstm import StackedCNNLSTMConfig


class StackedCNNAttentionLSTMConfig(StackedCNNLSTMConfig):
    """The settings of the stack and the LSTM (`StackedCNNLSTMConfig`), and:

    Args:
        pooling: ``"attention"``, a learnt weight a frame, or ``"attentive_stats"``, mean and deviation by them.
    """

    model_type = "ser_stacked_cnn_attention_lstm"

    pooling: Literal["attention", "attentive_stats"] = "attention"
