"""The same steps, however they are cut: accumulated gradients and several processes against one batch.

    OMP_NUM_THREADS=1 python benchmarks/equal_steps.py [--steps 20]

Trains a few steps of 16 clips by the real command (`python -m ser_hf.train`, `torchrun ... -m ser_hf.train`) and
compares loss and gradient norm of each step with those of one process and one batch. The 102 training clips do not
come out even in batches of 16, so that the last, smaller step of an epoch is part of it. Two networks: an encoder with
random weights, and the crnn, whose batch normalization sees the batch of one process.
Dropout and SpecAugment are off: they draw anew for every batch. Writes benchmarks/results/equal_steps.json; `--readme`
prints its table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ser_hf.testing import write_checkpoint
from ser_hf.utils.environment import environment

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "equal_steps.json"
COMMON = {
    "corpus": {"name": "synthetic", "speakers": 25, "takes": 1},
    # 25 speakers say 6 emotions once: 17 learn, 102 clips.
    "protocol": {"near_duplicates": "skip", "validation": 0.16, "test": 0.16},
    "audio": {"max_duration": 0.8},
    "training": {
        "learning_rate": 3e-3,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "max_grad_norm": 1.0,
        "lr_scheduler_type": "constant",
        "loss": {"class_weights": "balanced", "label_smoothing": 0.1, "focal_gamma": 1.0},
    },
    "evaluation": {"part": "validation", "bootstrap": 10},
}
NO_DROPOUT = dict.fromkeys(
    ("attention_dropout", "activation_dropout", "hidden_dropout", "feat_proj_dropout", "final_dropout", "layerdrop"),
    0.0,
)
CRNN = {
    "architecture": "crnn",
    "channels": [8, 16],
    "time_pooling": [2, 2],
    "band_pooling": [4, 2],
    "lstm_hidden": 16,
    "hop_length": 320,
    "conv_dropout": 0.0,
    "dropout": 0.0,
    "time_masks": 0,
    "band_masks": 0,
}
# Network, how a step of 16 clips is cut, processes, batch, accumulation, overrides; the first of a network is what the
# others are compared with.
CASES = [
    ("encoder", "one batch of 16", 1, 16, 1, []),
    ("encoder", "4 accumulated batches of 4", 1, 4, 4, []),
    ("encoder", "2 processes, batches of 8", 2, 8, 1, []),
    ("encoder", "2 processes, 4 accumulated batches of 2", 2, 2, 4, []),
    ("crnn", "one batch of 16", 1, 16, 1, []),
    ("crnn", "2 processes, batches of 8", 2, 8, 1, []),
    ("crnn", "4 accumulated batches of 4", 1, 4, 4, []),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    if options.readme:
        print(table(json.loads(RESULTS.read_text())["cases"]))
        return
    cases, reference = [], {}
    with tempfile.TemporaryDirectory() as folder:
        models = {"crnn": CRNN, "encoder": encoder(Path(folder))}
        for number, (network, cut, processes, batch, accumulation, overrides) in enumerate(CASES):
            steps = [
                f"training.per_device_train_batch_size={batch}",
                f"training.gradient_accumulation_steps={accumulation}",
                f"training.max_steps={options.steps}",
                f"output_dir={folder}/{number}",
            ]
            curve = train(COMMON | {"model": models[network]}, processes, [*steps, *overrides], Path(folder))
            reference.setdefault(network, curve)
            gaps = {key: largest_gap(reference[network][key], curve[key]) for key in curve}
            cases.append({"network": network, "cut": cut, "processes": processes, "gaps": gaps, "curve": curve})
            print(network, cut, gaps, flush=True)
    RESULTS.write_text(json.dumps({"cases": cases, "environment": environment()}, indent=1) + "\n")
    print(table(cases))


def encoder(folder: Path) -> dict:
    """A tiny wav2vec2 with layer normalization, its weights random."""
    checkpoint = write_checkpoint(folder / "encoder", "wav2vec2", "layer")
    return {"architecture": "encoder", "checkpoint": str(checkpoint), "mask_time_prob": 0.0} | NO_DROPOUT


def train(recipe: dict, processes: int, overrides: list[str], folder: Path) -> dict[str, list[float]]:
    """Loss and gradient norm of each step."""
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [*launcher, "-m", "ser_hf.train", str(path), *overrides]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    (output,) = [Path(word.partition("=")[2]) for word in overrides if word.startswith("output_dir=")]
    history = json.loads((output / "report" / "report.json").read_text(encoding="utf-8"))["history"]
    logged = [entry for entry in history if "train_loss" in entry]
    return {"loss": [entry["train_loss"] for entry in logged], "grad_norm": [entry["grad_norm"] for entry in logged]}


def largest_gap(reference: list[float], curve: list[float]) -> float:
    """The largest relative difference of any step."""
    return max(abs(own - right) / abs(right) for own, right in zip(curve, reference, strict=True))


def table(cases: list[dict]) -> str:
    """Markdown: the first and the last step of each curve, and its largest relative difference from one batch."""
    lines = [
        "| network | 16 clips a step as | loss, first to last step | gradient norm | largest difference of loss | "
        "of gradient norm |",
        "|---|---|---|---|---|---|",
    ]
    for case in cases:
        loss, norm, gaps = case["curve"]["loss"], case["curve"]["grad_norm"], case["gaps"]
        lines.append(
            f"| {case['network']} | {case['cut']} | {loss[0]:.5f} to {loss[-1]:.5f} | {norm[0]:.5f} to {norm[-1]:.5f} "
            f"| {gaps['loss']:.1e} | {gaps['grad_norm']:.1e} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
