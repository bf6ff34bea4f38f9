"""The networks of ser_hf, each a Hugging Face model: flat sibling files that ship to the Hub as code.

They import torch, numpy and transformers only, and nothing of ser_hf but their siblings. Importing this package
registers them with the Auto classes, so that a saved model then loads without `trust_remote_code`.
"""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from .configuration import WaveformConfig
from .modeling_cnn import CNN1dConfig, CNN1dForAudioClassification, CNN2dConfig, CNN2dForAudioClassification
from .modeling_cnn_lstm import (
    CNNLSTMConfig,
    CNNLSTMForAudioClassification,
    ParallelCNNAttentionLSTMConfig,
    ParallelCNNAttentionLSTMForAudioClassification,
    ParallelCNNTransformerConfig,
    ParallelCNNTransformerForAudioClassification,
    StackedCNNAttentionLSTMConfig,
    StackedCNNAttentionLSTMForAudioClassification,
    StackedCNNLSTMConfig,
    StackedCNNLSTMForAudioClassification,
)
from .modeling_crnn import CRNNConfig, CRNNForAudioClassification
from .modeling_descriptors import CNN1dDescriptorsConfig, CNN1dDescriptorsForAudioClassification
from .modeling_mfcc import (
    MfccForestConfig,
    MfccForestForAudioClassification,
    MfccLinearConfig,
    MfccLinearForAudioClassification,
    MfccMlpConfig,
    MfccMlpForAudioClassification,
    MfccRbfSvmConfig,
    MfccRbfSvmForAudioClassification,
    MfccSvmConfig,
    MfccSvmForAudioClassification,
)
from .modeling_pooled_encoder import PooledEncoderConfig, PooledEncoderForAudioClassification
from .modeling_resnet import (
    SeparableResNetConfig,
    SeparableResNetForAudioClassification,
    SEResNetConfig,
    SEResNetForAudioClassification,
)
from .modeling_transfer_audio import (
    BYOLSConfig,
    BYOLSForAudioClassification,
    CNN14Config,
    CNN14ForAudioClassification,
    VGGishConfig,
    VGGishForAudioClassification,
)
from .modeling_transfer_image import VGG16Config, VGG16ForAudioClassification
from .preparation import PreparedFeatureExtractor

# Recipe word -> model class: networks that start from published weights, and all.
TRANSFERRED = {
    "byols": BYOLSForAudioClassification,
    "cnn14": CNN14ForAudioClassification,
    "vgg16": VGG16ForAudioClassification,
    "vggish": VGGishForAudioClassification,
}
ARCHITECTURES = {
    "crnn": CRNNForAudioClassification,
    "se_resnet": SEResNetForAudioClassification,
    "separable_resnet": SeparableResNetForAudioClassification,
    "mfcc_linear": MfccLinearForAudioClassification,
    "mfcc_svm": MfccSvmForAudioClassification,
    "mfcc_rbf_svm": MfccRbfSvmForAudioClassification,
    "mfcc_forest": MfccForestForAudioClassification,
    "mfcc_mlp": MfccMlpForAudioClassification,
    "cnn2d": CNN2dForAudioClassification,
    "cnn1d": CNN1dForAudioClassification,
    "cnn1d_descriptors": CNN1dDescriptorsForAudioClassification,
    "cnn_lstm": CNNLSTMForAudioClassification,
    "stacked_cnn_lstm": StackedCNNLSTMForAudioClassification,
    "stacked_cnn_attention_lstm": StackedCNNAttentionLSTMForAudioClassification,
    "parallel_cnn_transformer": ParallelCNNTransformerForAudioClassification,
    "parallel_cnn_attention_lstm": ParallelCNNAttentionLSTMForAudioClassification,
} | TRANSFERRED

# The last is reached by architecture `encoder`.
for _model in (*ARCHITECTURES.values(), PooledEncoderForAudioClassification):
    AutoConfig.register(_model.config_class.model_type, _model.config_class, exist_ok=True)
    AutoModelForAudioClassification.register(_model.config_class, _model, exist_ok=True)
    # `save_pretrained` then copies the sibling files beside the weights and writes `auto_map`.
    _model.config_class.register_for_auto_class()
    _model.register_for_auto_class("AutoModelForAudioClassification")

# Found by its name in preprocessor_config.json, whatever the model; the key is no model's own configuration.
AutoFeatureExtractor.register(WaveformConfig, PreparedFeatureExtractor, exist_ok=True)
PreparedFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")

__all__ = [
    "ARCHITECTURES",
    "TRANSFERRED",
    "BYOLSConfig",
    "BYOLSForAudioClassification",
    "CNN14Config",
    "CNN14ForAudioClassification",
    "CNN1dConfig",
    "CNN1dDescriptorsConfig",
    "CNN1dDescriptorsForAudioClassification",
    "CNN1dForAudioClassification",
    "CNN2dConfig",
    "CNN2dForAudioClassification",
    "CNNLSTMConfig",
    "CNNLSTMForAudioClassification",
    "CRNNConfig",
    "CRNNForAudioClassification",
    "MfccForestConfig",
    "MfccForestForAudioClassification",
    "MfccLinearConfig",
    "MfccLinearForAudioClassification",
    "MfccMlpConfig",
    "MfccMlpForAudioClassification",
    "MfccRbfSvmConfig",
    "MfccRbfSvmForAudioClassification",
    "MfccSvmConfig",
    "MfccSvmForAudioClassification",
    "ParallelCNNAttentionLSTMConfig",
    "ParallelCNNAttentionLSTMForAudioClassification",
    "ParallelCNNTransformerConfig",
    "ParallelCNNTransformerForAudioClassification",
    "PooledEncoderConfig",
    "PooledEncoderForAudioClassification",
    "PreparedFeatureExtractor",
    "SEResNetConfig",
    "SEResNetForAudioClassification",
    "SeparableResNetConfig",
    "SeparableResNetForAudioClassification",
    "StackedCNNAttentionLSTMConfig",
    "StackedCNNAttentionLSTMForAudioClassification",
    "StackedCNNLSTMConfig",
    "StackedCNNLSTMForAudioClassification",
    "VGG16Config",
    "VGG16ForAudioClassification",
    "VGGishConfig",
    "VGGishForAudioClassification",
]
