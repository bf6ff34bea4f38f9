"""The networks of ser_hf, each a Hugging Face model.

The files of this folder are published as code beside the weights of a model. They import torch,
numpy, transformers and each other only. Importing this package registers its networks with the Auto
classes, so that a saved model loads without `trust_remote_code`. Other packages add networks as
entry points.
"""

import inspect
from importlib import import_module
from pathlib import Path

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    PreTrainedModel,
)

from ..utils.plugins import WithPlugins
from .configuration import WaveformConfig
from .modeling_base import AcousticClassifier
from .modeling_emotion2vec import (
    Emotion2vecConfig,
    Emotion2vecForAudioClassification,
    Emotion2vecModel,
)
from .modeling_pooled_encoder import PooledEncoderConfig, PooledEncoderForAudioClassification
from .modeling_transfer import TransferClassifier
from .preparation import PreparedFeatureExtractor

# For each architecture of recipes: its module, and its class name without `ForAudioClassification`.
_NETWORKS = {
    "crnn": ("modeling_crnn", "CRNN"),
    "se_resnet": ("modeling_resnet", "SEResNet"),
    "separable_resnet": ("modeling_resnet", "SeparableResNet"),
    "mfcc_linear": ("modeling_mfcc", "MfccLinear"),
    "mfcc_svm": ("modeling_mfcc", "MfccSvm"),
    "mfcc_rbf_svm": ("modeling_mfcc", "MfccRbfSvm"),
    "mfcc_forest": ("modeling_mfcc", "MfccForest"),
    "mfcc_mlp": ("modeling_mfcc", "MfccMlp"),
    "functionals_linear": ("modeling_functionals", "FunctionalsLinear"),
    "functionals_svm": ("modeling_functionals", "FunctionalsSvm"),
    "cnn2d": ("modeling_cnn", "CNN2d"),
    "cnn1d": ("modeling_cnn", "CNN1d"),
    "cnn1d_descriptors": ("modeling_descriptors", "CNN1dDescriptors"),
    "cnn_lstm": ("modeling_crnn", "CNNLSTM"),
    "stacked_cnn_lstm": ("modeling_crnn", "StackedCNNLSTM"),
    "stacked_cnn_attention_lstm": ("modeling_crnn", "StackedCNNAttentionLSTM"),
    "parallel_cnn_transformer": ("modeling_parallel", "ParallelCNNTransformer"),
    "parallel_cnn_attention_lstm": ("modeling_parallel", "ParallelCNNAttentionLSTM"),
    "byols": ("modeling_transfer", "BYOLS"),
    "cnn14": ("modeling_transfer", "CNN14"),
    "vgg16": ("modeling_vgg", "VGG16"),
    "vggish": ("modeling_vgg", "VGGish"),
}


def _import_network(module_name: str, prefix: str) -> type[AcousticClassifier]:
    module = import_module(f".{module_name}", __name__)
    return getattr(module, f"{prefix}ForAudioClassification")


_MODELS = {
    name: _import_network(module_name, prefix) for name, (module_name, prefix) in _NETWORKS.items()
}
# Networks that start from published weights.
TRANSFERRED = {
    name: model for name, model in _MODELS.items() if issubclass(model, TransferClassifier)
}


def _register(model: type[PreTrainedModel]) -> None:
    """Register a network and its configuration with the Auto classes of transformers."""
    AutoConfig.register(model.config_class.model_type, model.config_class, exist_ok=True)
    AutoModelForAudioClassification.register(model.config_class, model, exist_ok=True)
    # `save_pretrained` then copies the sibling files beside the weights and writes `auto_map`.
    model.config_class.register_for_auto_class()
    model.register_for_auto_class("AutoModelForAudioClassification")


def _register_plugin(name: str, model: type[PreTrainedModel]) -> None:
    """Register the network of another package, or raise a ValueError."""
    if not (inspect.isclass(model) and issubclass(model, AcousticClassifier)):
        raise ValueError(
            "a network is a class derived from ser_hf.models.modeling_base.AcousticClassifier"
        )
    config_class = model.config_class
    taken_types = {network.config_class.model_type for network in _MODELS.values()}
    if not config_class.model_type or config_class.model_type in taken_types:
        raise ValueError(f"{config_class.__name__} needs a model_type that no other class has")
    file = Path(inspect.getfile(model))
    # A model is published with both files in the same folder, so their names must differ.
    if Path(__file__).with_name(file.name).exists():
        raise ValueError(f"its file {file} needs another name than those in ser_hf/models")
    _register(model)


# The models of this package that are not an architecture of recipes: they belong to `encoder`.
ENCODER_MODELS = (PooledEncoderForAudioClassification, Emotion2vecForAudioClassification)

# Networks and their configurations are attributes of this package.
for _model in [*_MODELS.values(), *ENCODER_MODELS]:
    globals()[_model.__name__] = _model
    globals()[_model.config_class.__name__] = _model.config_class
    _register(_model)

# A checkpoint of emotion2vec may have no head, as those of the encoders of transformers.
AutoModel.register(Emotion2vecConfig, Emotion2vecModel, exist_ok=True)
Emotion2vecModel.register_for_auto_class("AutoModel")

# Architecture -> model class. Architecture `encoder` is `PooledEncoderForAudioClassification` or a
# stock model.
ARCHITECTURES = WithPlugins(_MODELS, "ser_hf.networks", _register_plugin)

# preprocessor_config.json names this class, whichever the model is. The Auto class wants a
# configuration as key: this one is a base class, and belongs to no model.
AutoFeatureExtractor.register(WaveformConfig, PreparedFeatureExtractor, exist_ok=True)
PreparedFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")

__all__ = [
    "ARCHITECTURES",
    "ENCODER_MODELS",
    "TRANSFERRED",
    "Emotion2vecConfig",
    "Emotion2vecForAudioClassification",
    "Emotion2vecModel",
    "PooledEncoderConfig",
    "PooledEncoderForAudioClassification",
    "PreparedFeatureExtractor",
]
