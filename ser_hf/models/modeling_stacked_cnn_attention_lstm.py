"""Stacked CNN-LSTM with attention: the LSTM's outputs are weighted by how much each tells, then averaged.

After the notebook "stacked_cnn_attention_lstm" of Data-Science-kosta/Speech-Emotion-Classification-with-PyTorch, whose
attention is one linear score for each step and a softmax over them. It differs from ours as "stacked_cnn_lstm" does
(see there); here the softmax runs over a clip's real frames.
"""

from .configuration_stacked_cnn_attention_lstm import StackedCNNAttentionLSTMConfig
from .modeling_stacked_cnn_lstm import StackedCNNLSTMForAudioClassification


class StackedCNNAttentionLSTMForAudioClassification(StackedCNNLSTMForAudioClassification):
    config_class = StackedCNNAttentionLSTMConfig
