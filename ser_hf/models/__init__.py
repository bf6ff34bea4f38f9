"""The networks of ser_hf, each a Hugging Face model: flat sibling files that ship to the Hub as code.

They import torch, numpy and transformers only, and nothing of ser_hf but their siblings. Importing this package
registers them with the Auto classes, so that a saved model then loads without `trust_remote_code`.
"""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from .configuration_acoustic import WaveformConfig
from .configuration_byols import BYOLSConfig
from .configuration_cnn1d import CNN1dConfig
from .configuration_cnn1d_descriptors import CNN1dDescriptorsConfig
from .configuration_cnn2d import CNN2dConfig
from .configuration_cnn14 import CNN14Config
from .configuration_cnn_lstm import CNNLSTMConfig
from .configuration_crnn import CRNNConfig
from .configuration_mfcc_forest import MfccForestConfig
from .configuration_mfcc_linear import MfccLinearConfig
from .configuration_mfcc_mlp import MfccMlpConfig
from .configuration_mfcc_rbf_svm import MfccRbfSvmConfig
from .configuration_mfcc_svm import MfccSvmConfig
from .configuration_parallel_cnn_attention_lstm import ParallelCNNAttentionLSTMConfig
from .configuration_parallel_cnn_transformer import ParallelCNNTransformerConfig
from .configuration_pooled_encoder import PooledEncoderConfig
from .configuration_se_resnet import SEResNetConfig
from .configuration_separable_resnet import SeparableResNetConfig
from .configuration_stacked_cnn_attention_lstm import StackedCNNAttentionLSTMConfig
from .configuration_stacked_cnn_lstm import StackedCNNLSTMConfig
from .configuration_vgg16 import VGG16Config
from .configuration_vggish import VGGishConfig
from .feature_extraction_prepared import PreparedFeatureExtractor
from .modeling_byols import BYOLSForAudioClassification
from .modeling_cnn1d import CNN1dForAudioClassification
from .modeling_cnn1d_descriptors import CNN1dDescriptorsForAudioClassification
from .modeling_cnn2d import CNN2dForAudioClassification
from .modeling_cnn14 import CNN14ForAudioClassification
from .modeling_cnn_lstm import CNNLSTMForAudioClassification
from .modeling_crnn import CRNNForAudioClassification
from .modeling_mfcc_forest import MfccForestForAudioClassification
from .modeling_mfcc_linear import MfccLinearForAudioClassification
from .modeling_mfcc_mlp import MfccMlpForAudioClassification
from .modeling_mfcc_rbf_svm import MfccRbfSvmForAudioClassification
from .modeling_mfcc_svm import MfccSvmForAudioClassification
from .modeling_parallel_cnn_attention_lstm import ParallelCNNAttentionLSTMForAudioClassification
from .modeling_parallel_cnn_transformer import ParallelCNNTransformerForAudioClassification
from .modeling_pooled_encoder import PooledEncoderForAudioClassification
from .modeling_se_resnet import SEResNetForAudioClassification
from .modeling_separable_resnet import SeparableResNetForAudioClassification
from .modeling_stacked_cnn_attention_lstm import StackedCNNAttentionLSTMForAudioClassification
from .modeling_stacked_cnn_lstm import StackedCNNLSTMForAudioClassification
from .modeling_vgg16 import VGG16ForAudioClassification
from .modeling_vggish import VGGishForAudioClassification

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
