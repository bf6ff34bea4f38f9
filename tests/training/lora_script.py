"""Two epochs of a model with adapters, in one of two processes: see processes_script.py.

Its folder has `model`, a classifier, and `store`; the processes log to `curves_0.json` and
`curves_1.json`.
"""

import json

import torch
from ddp_script import STEP, curves, step_arguments
from torch import nn
from transformers import AutoConfig, AutoModelForAudioClassification, Wav2Vec2FeatureExtractor

from ser_hf.audio import WaveformStore
from ser_hf.training.freezing import structure
from ser_hf.training.lora import Lora, add_lora


def enlarged(model):
    """The linear layers of its encoder are made larger: at their random size hardly anything
    depends on the input.
    """
    parts = structure(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and parts.position(f"{name}.weight")[0] == "layer":
            module.weight.data.mul_(8)
    return model.eval()


def stock_classifier(checkpoint, seed=0, **options):
    """A new classifier of four classes of transformers' own on `checkpoint`, layers summed where
    they can be.
    """
    torch.manual_seed(seed)
    config = AutoConfig.from_pretrained(checkpoint, num_labels=4, **options)
    if hasattr(config, "use_weighted_layer_sum"):
        config.use_weighted_layer_sum = True
    model = AutoModelForAudioClassification.from_pretrained(
        checkpoint, config=config, ignore_mismatched_sizes=True
    )
    if hasattr(model, "layer_weights"):
        model.layer_weights.data.fill_(seed + 1.0)  # the library leaves it uninitialized
    return enlarged(model)


def adapted_curves(
    model, store, folder, batch, accumulation, resume=False, average=None, **changes
):
    """What `ddp_script.curves` measures; adapters begin from a fixed seed."""
    torch.manual_seed(0)
    adapted = add_lora(model, Lora(2, alpha=4))
    arguments = step_arguments(folder, batch, accumulation, **({"learning_rate": 0.02} | changes))
    arguments.average = average
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    return curves(adapted, extractor, store, "lora", arguments, resume=resume), adapted


def main(folder):
    model = AutoModelForAudioClassification.from_pretrained(folder / "model")
    measured, adapted = adapted_curves(
        model, WaveformStore(folder / "store"), folder / "run", STEP // 2, 1
    )
    process = torch.distributed.get_rank()
    assert torch.distributed.get_world_size() == 2
    (folder / f"curves_{process}.json").write_text(json.dumps(measured), encoding="utf-8")
