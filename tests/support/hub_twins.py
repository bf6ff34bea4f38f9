"""Tiny twins of published classifiers: their files, and a straight computation of their logits.

`TWINS` has a function for each form. It writes a folder with random weights in the published
layout, and returns a function that computes the logits of a waveform with a few matrix products.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
    Wav2Vec2FeatureExtractor,
)

from .testing import CHECKPOINTS, write_checkpoint

Logits = Callable[[np.ndarray], np.ndarray]
Tensors = dict[str, torch.Tensor]

SEVEN = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
EIGHT = ["angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised"]
IEMOCAP = ["neu", "hap", "ang", "sad"]
PODCAST = ["Angry", "Sad", "Happy", "Surprise", "Fear", "Disgust", "Contempt", "Neutral"]
DIMENSIONS = ["arousal", "dominance", "valence"]
FOREIGN_CODE = "raise SystemExit('the code of a stranger has run')\n"

# Names of weight normalization in transformers before version 4.49.
_OLD_NAMES = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}


def id2label(names: list[str]) -> dict[str, str]:
    """The labels as a configuration has them."""
    return {str(i): name for i, name in enumerate(names)}


def tiny_encoder(folder: Path, kind: str) -> tuple[PreTrainedModel, PreTrainedConfig, Tensors]:
    """A tiny encoder in a folder, and its tensors under the older names."""
    write_checkpoint(folder, **CHECKPOINTS[kind])
    config = AutoConfig.from_pretrained(folder)
    torch.manual_seed(0)
    model = AutoModel.from_config(config).eval()
    tensors = {}
    for name, tensor in model.state_dict().items():
        for new, old in _OLD_NAMES.items():
            name = name.replace(new, old)
        tensors[name] = tensor.clone()
    return model, config, tensors


def write_twin(folder: Path, config: dict[str, Any], tensors: Tensors) -> None:
    """Write config.json and model.safetensors."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _linear(tensors: Tensors, name: str, vector: torch.Tensor) -> torch.Tensor:
    return tensors[f"{name}.weight"] @ vector + tensors[f"{name}.bias"]


def _random_linear(name: str, rows: int, columns: int, seed: int) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{name}.weight": torch.randn(rows, columns, generator=generator) / 3,
        f"{name}.bias": torch.randn(rows, generator=generator) / 3,
    }


def _scaled(clip: np.ndarray) -> torch.Tensor:
    """The waveform as the feature extractor of wav2vec 2.0 scales it, (1, samples)."""
    return torch.from_numpy((clip - clip.mean()) / np.sqrt(clip.var() + 1e-7))[None]


def dense_twin(
    folder: Path,
    names: list[str],
    *,
    kind: str = "wav2vec2-stable",
    output: str = "out_proj",
    **settings: Any,
) -> Logits:
    """A dense layer with tanh over pooled frames (soxan, ehcalabres, harshit345, audEERING)."""
    model, config, encoder_tensors = tiny_encoder(folder.parent / f"{folder.name}-encoder", kind)
    size = config.hidden_size
    head = _random_linear("classifier.dense", size, size, seed=1)
    head |= _random_linear(f"classifier.{output}", len(names), size, seed=2)
    tensors = {f"{config.model_type}.{name}": value for name, value in encoder_tensors.items()}
    content = config.to_dict() | {"id2label": id2label(names)} | settings
    content["architectures"] = ["Wav2Vec2ForSpeechClassification"]
    write_twin(folder, content, tensors | head)
    masked = config.feat_extract_norm == "layer"
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=masked).save_pretrained(
        folder
    )

    @torch.no_grad()
    def logits(clip: np.ndarray) -> np.ndarray:
        frames = model(_scaled(clip)).last_hidden_state[0]
        if settings.get("pooling_mode") == "sum":
            vector = frames.sum(dim=0)
        elif settings.get("pooling_mode") == "max":
            vector = frames.max(dim=0).values
        else:
            vector = frames.mean(dim=0)
        hidden = torch.tanh(_linear(head, "classifier.dense", vector))
        return _linear(head, f"classifier.{output}", hidden).numpy()

    return logits


def challenge_twin(
    folder: Path, names: list[str], *, encoder_id: str, attentive: bool = True, **settings: Any
) -> Logits:
    """A baseline of the MSP-Podcast challenges; `encoder_id` is also a path from this folder."""
    model, config, encoder_tensors = tiny_encoder(Path(encoder_id), "wavlm-large")
    size = config.hidden_size
    pooled = 2 * size if attentive else size
    head = _random_linear("ser_model.fc.0.0", 8, pooled, seed=3)
    head |= {"ser_model.fc.0.1.weight": torch.rand(8), "ser_model.fc.0.1.bias": torch.rand(8)}
    head |= _random_linear("ser_model.out.0", len(names), 8, seed=4)
    if attentive:
        head |= _random_linear("pool_model.sap_linear", size, size, seed=5)
        head["pool_model.attention"] = torch.randn(size, 1)
    content = {
        "model_type": "ser",
        "architectures": ["SERModel"],
        "ssl_type": encoder_id,
        "mean": 0.01,
        "std": 0.2,
        "num_classes": len(names),
        "id2label": id2label(names),
        "auto_map": {"AutoModelForAudioClassification": "pipeline_utils.SERModel"},
    }
    tensors = {f"ssl_model.{name}": value for name, value in encoder_tensors.items()}
    write_twin(folder, content | settings, tensors | head)
    (folder / "pipeline_utils.py").write_text(FOREIGN_CODE)

    @torch.no_grad()
    def logits(clip: np.ndarray) -> np.ndarray:
        waveform = torch.from_numpy((clip - 0.01) / (0.2 + 1e-6))[None].float()
        frames = model(waveform).last_hidden_state[0]
        vector = frames.mean(dim=0)
        if attentive:
            projected = frames @ head["pool_model.sap_linear.weight"].T
            hidden = torch.tanh(projected + head["pool_model.sap_linear.bias"])
            weights = (hidden @ head["pool_model.attention"]).softmax(dim=0)
            mean = (weights * frames).sum(dim=0)
            variance = (weights * frames**2).sum(dim=0) - mean**2
            vector = torch.cat([mean, variance.clamp(min=1e-5).sqrt()])
        layer = torch.nn.functional.layer_norm(
            _linear(head, "ser_model.fc.0.0", vector),
            (8,),
            head["ser_model.fc.0.1.weight"],
            head["ser_model.fc.0.1.bias"],
        )
        return _linear(head, "ser_model.out.0", torch.relu(layer)).numpy()

    return logits


def stock_twin(folder: Path, names: list[str], kind: str = "wav2vec2", **settings: Any) -> Logits:
    """A stock classifier of transformers: projector and classifier, as in superb's models."""
    encoder_folder = write_checkpoint(folder.parent / f"{folder.name}-encoder", **CHECKPOINTS[kind])
    torch.manual_seed(6)
    model = AutoModelForAudioClassification.from_pretrained(
        encoder_folder, id2label=id2label(names), num_labels=len(names), **settings
    ).eval()
    with torch.no_grad():
        if hasattr(model, "layer_weights"):
            model.layer_weights.copy_(torch.randn(len(model.layer_weights)))
    model.save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(encoder_folder)
    extractor.save_pretrained(folder)
    head = {name: value for name, value in model.state_dict().items() if "encoder" not in name}
    encoder = getattr(model, model.config.model_type)

    @torch.no_grad()
    def logits(clip: np.ndarray) -> np.ndarray:
        outputs = encoder(_scaled(clip), output_hidden_states=True)
        frames = outputs.last_hidden_state[0]
        if "layer_weights" in head:
            shares = head["layer_weights"].softmax(dim=0)
            frames = sum(
                share * state[0] for share, state in zip(shares, outputs.hidden_states, strict=True)
            )
        projected = frames @ head["projector.weight"].T + head["projector.bias"]
        return _linear(head, "classifier", projected.mean(dim=0)).numpy()

    return logits


def write_recognizer(folder: Path) -> None:
    """A speech recognizer (CTC) in the layout of a classifier."""
    _, config, encoder_tensors = tiny_encoder(folder.parent / f"{folder.name}-encoder", "wav2vec2")
    tensors = {f"wav2vec2.{name}": value for name, value in encoder_tensors.items()}
    tensors |= _random_linear("lm_head", 32, config.hidden_size, seed=7)
    content = config.to_dict() | {
        "architectures": ["Wav2Vec2ForCTC"],
        "id2label": id2label(SEVEN),
    }
    write_twin(folder, content, tensors)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)


# The published form -> a function of the folder. Those of the challenges expect to run in the
# folder above `folder`, because their encoder has a Hub id.
TWINS: dict[str, Callable[[Path], Logits]] = {
    "soxan mean": functools.partial(dense_twin, names=SEVEN, pooling_mode="mean"),
    "soxan sum": functools.partial(dense_twin, names=SEVEN, pooling_mode="sum"),
    "soxan max": functools.partial(dense_twin, names=SEVEN, pooling_mode="max"),
    "soxan HuBERT": functools.partial(dense_twin, names=SEVEN, kind="hubert-large"),
    "soxan wav2vec2-base": functools.partial(dense_twin, names=SEVEN, kind="wav2vec2"),
    "ehcalabres": functools.partial(dense_twin, names=EIGHT, output="output"),
    "harshit345": functools.partial(
        dense_twin,
        names=SEVEN,
        pooling_mode="mean",
        problem_type="single_label_classification",
    ),
    "audEERING": functools.partial(dense_twin, names=DIMENSIONS, problem_type="regression"),
    "superb": functools.partial(stock_twin, names=IEMOCAP, use_weighted_layer_sum=True),
    "Odyssey categorical": functools.partial(
        challenge_twin, names=PODCAST, encoder_id="tiny/wavlm"
    ),
    "Odyssey dimensional": functools.partial(
        challenge_twin, names=DIMENSIONS, encoder_id="tiny/wavlm"
    ),
    "Odyssey mean": functools.partial(
        challenge_twin, names=PODCAST, encoder_id="tiny/wavlm", attentive=False
    ),
}
