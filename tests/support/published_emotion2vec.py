"""A checkpoint of emotion2vec in its published layout, from a tiny network of ser_hf."""

import re
from pathlib import Path

import torch

from ser_hf.models import Emotion2vecForAudioClassification

# Our names of modules and the published ones; blocks are renamed one by one.
_AUDIO = "modality_encoders.AUDIO"
_RENAMED = (
    (r"feature_extractor\.conv_layers\.(\d+)\.conv", _AUDIO + r".local_encoder.conv_layers.\1.0"),
    (
        r"feature_extractor\.conv_layers\.(\d+)\.layer_norm",
        _AUDIO + r".local_encoder.conv_layers.\1.2.1",
    ),
    (r"feature_projection\.layer_norm", f"{_AUDIO}.project_features.1"),
    (r"feature_projection\.projection", f"{_AUDIO}.project_features.2"),
    (r"extra_tokens", f"{_AUDIO}.extra_tokens"),
    (r"encoder\.alibi_scale", f"{_AUDIO}.alibi_scale"),
    (r"encoder\.input_layer_norm", f"{_AUDIO}.context_encoder.norm"),
    (r"encoder\.layer_norm", "norm"),
    (r"attention\.out_proj", "attn.proj"),
    (r"\.final_layer_norm", ".norm2"),
    (r"\.layer_norm", ".norm1"),
    (r"feed_forward\.intermediate_dense", "mlp.fc1"),
    (r"feed_forward\.output_dense", "mlp.fc2"),
    (r"classifier", "proj"),
)


def published_tensors(
    model: Emotion2vecForAudioClassification, lower: int = 1
) -> dict[str, torch.Tensor]:
    """The tensors of a network by their published names.

    Args:
        lower: number of lower blocks, which belong to the published audio encoder.
    """
    tensors = {}
    state = model.state_dict()
    for name, tensor in state.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            parts = [state[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            tensor = torch.cat(parts)
            name = name.replace("attention.q_proj", "attn.qkv")
        tensors[_published_name(name.removeprefix("emotion2vec."), lower)] = tensor.clone()
    scale = f"{_AUDIO}.alibi_scale"
    layers, heads = tensors[scale].shape
    tensors[scale] = tensors[scale].reshape(layers, 1, heads, 1, 1)
    return tensors


def _published_name(name: str, lower: int) -> str:
    for pattern, published in _RENAMED:
        name, count = re.subn(pattern, published, name)
        if count:
            break
    positions = re.fullmatch(r"positions\.layers\.(\d+)\.(.+)", name)
    if positions:
        index = int(positions[1]) + 1
        return f"{_AUDIO}.relative_positional_encoder.{index}.0.{positions[2]}"
    block = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)", name)
    if block is None:
        return name
    index = int(block[1])
    if index < lower:
        return f"{_AUDIO}.context_encoder.blocks.{index}.{block[2]}"
    return f"blocks.{index - lower}.{block[2]}"


def write_published(
    folder: Path,
    model: Emotion2vecForAudioClassification,
    *,
    classifier: bool = True,
    pretraining: bool = False,
) -> Path:
    """Write a checkpoint as it is published, and return its path.

    Args:
        classifier: with a classifier, as the plus models; without, as the base model.
        pretraining: with the decoder and the teacher, as fairseq saves them.
    """
    tensors = published_tensors(model)
    if not classifier:
        tensors = {name: t for name, t in tensors.items() if not name.startswith("proj.")}
    content = {"model": tensors}
    if pretraining:
        tensors[f"{_AUDIO}.decoder.blocks.0.0.weight"] = torch.zeros(2, 2, 3)
        tensors["recon_proj.weight"] = torch.zeros(2, 2)
        tensors["_ema"] = {"blocks.0.attn.qkv.weight": torch.zeros(3, 3)}
        content |= {"args": None, "cfg": {"task": {"normalize": True}}}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / "model.pt")
    return folder / "model.pt"
