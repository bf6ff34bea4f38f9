"""Two epochs of a model with adapters: `torchrun --nproc_per_node 2 lora_script.py FOLDER`.

FOLDER holds `model`, a classifier, and `store`; what is logged goes to `curves_0.json` and `curves_1.json`.
"""

import json
import sys
from pathlib import Path

import torch
from ddp_script import STEP, curves, step_arguments
from transformers import AutoModelForAudioClassification, Wav2Vec2FeatureExtractor

from ser_hf.audio import WaveformStore
from ser_hf.training.lora import Lora, add_lora


def adapted_curves(model, store, folder, batch, accumulation, resume=False, average=None, **changes):
    """What `ddp_script.curves` measures; adapters begin from a fixed seed."""
    torch.manual_seed(0)
    adapted = add_lora(model, Lora(2, alpha=4))
    arguments = step_arguments(folder, batch, accumulation, **({"learning_rate": 0.02} | changes))
    arguments.average = average
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    return curves(adapted, extractor, store, "lora", arguments, resume=resume), adapted


def main(folder):
    model = AutoModelForAudioClassification.from_pretrained(folder / "model")
    measured, adapted = adapted_curves(model, WaveformStore(folder / "store"), folder / "run", STEP // 2, 1)
    process = torch.distributed.get_rank()
    assert torch.distributed.get_world_size() == 2
    (folder / f"curves_{process}.json").write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
