"""Time of Whisper's encoder on short clips, with its input of 30 s and with shorter ones.

    OMP_NUM_THREADS=1 python benchmarks/whisper_window.py

Random weights in the shape of openai/whisper-tiny, our head, a clip of 3 s, alternately with each
window. Writes medians and quartiles of the time per clip, features included, to
benchmarks/results/whisper_window.json.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ser_hf.experiment.sections import environment_section
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.testing import write_checkpoint

SHAPE = {"d_model": 384, "encoder_layers": 4, "encoder_attention_heads": 6, "encoder_ffn_dim": 1536}
SHAPE |= {"num_mel_bins": 80, "max_source_positions": 1500}
WINDOWS = (30, 15, 8, 4)
REPEATS = 15
SECONDS = 3


def main() -> None:
    clip = np.random.default_rng(0).standard_normal(SECONDS * 16000).astype(np.float32) * 0.1
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        checkpoint = str(write_checkpoint(folder, "whisper", **SHAPE))
        plans = {
            w: blueprint("encoder", ["a", "b"], checkpoint=checkpoint, window=w, pooling="mean")
            for w in WINDOWS
        }
        models = {window: build_model(plan).eval() for window, plan in plans.items()}
        times: dict[int, list[float]] = {window: [] for window in WINDOWS}
        for _ in range(REPEATS + 1):
            for window, plan in plans.items():
                began = time.perf_counter()
                models[window](**plan.extractor(clip, sampling_rate=16000, return_tensors="pt"))
                times[window].append(time.perf_counter() - began)
    rows = {}
    for window, seconds in times.items():
        low, median, high = np.percentile(seconds[1:], (25, 50, 75))  # the first is a warm-up
        rows[window] = {"median": median, "quartiles": [low, high]}
        print(f"{window:>3} s  {1000 * median:7.1f} ms  ({1000 * low:.1f} to {1000 * high:.1f})")
    result = {"shape": SHAPE, "clip_seconds": SECONDS, "repeats": REPEATS, "seconds_per_clip": rows}
    path = Path(__file__).parent / "results" / "whisper_window.json"
    path.write_text(
        json.dumps(result | {"environment": environment_section().to_dict()}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
