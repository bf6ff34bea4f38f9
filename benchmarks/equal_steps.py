"""Compare training steps with accumulated gradients or several processes to steps with one batch.

    OMP_NUM_THREADS=1 python benchmarks/equal_steps.py [--steps 20]

Trains a few steps of 16 clips by the command of users (`python -m ser_hf.train`, `torchrun ... -m
ser_hf.train`) and compares loss and gradient norm of each step to those of one process with one
batch. There are 102 training clips, so that the last step of an epoch has fewer than 16. The
networks are an encoder with random weights, and the crnn, whose batch normalization computes the
statistics of one process. Dropout and SpecAugment are off, because their random numbers differ from
batch to batch. Writes benchmarks/results/equal_steps.json; `--readme` prints its table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ser_hf.experiment.sections import environment_section

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.testing import write_checkpoint

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "equal_steps.json"
COMMON = {
    "corpus": {"name": "synthetic", "speakers": 25, "takes": 1},
    # 25 speakers with one clip of each of 6 emotions. 17 of them are training speakers: 102 clips.
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
    (
        "attention_dropout",
        "activation_dropout",
        "hidden_dropout",
        "feat_proj_dropout",
        "final_dropout",
        "layerdrop",
    ),
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
# Network, how a step of 16 clips is divided, processes, batch, accumulation, overrides. The first
# case of a network is the reference of the others.
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    if options.readme:
        print(table(json.loads(RESULTS.read_text())["cases"]))
        return
    cases = []
    reference = {}
    with tempfile.TemporaryDirectory() as folder:
        models = {"crnn": CRNN, "encoder": encoder(Path(folder))}
        for number, (network, division, processes, batch, accumulation, overrides) in enumerate(
            CASES
        ):
            steps = [
                f"training.per_device_train_batch_size={batch}",
                f"training.gradient_accumulation_steps={accumulation}",
                f"training.max_steps={options.steps}",
                f"output_dir={folder}/{number}",
            ]
            curve = train(
                COMMON | {"model": models[network]}, processes, [*steps, *overrides], Path(folder)
            )
            reference.setdefault(network, curve)
            gaps = {key: largest_gap(reference[network][key], curve[key]) for key in curve}
            cases.append(
                {
                    "network": network,
                    "division": division,
                    "processes": processes,
                    "gaps": gaps,
                    "curve": curve,
                }
            )
            print(network, division, gaps, flush=True)
    RESULTS.write_text(
        json.dumps({"cases": cases, "environment": environment_section().to_dict()}, indent=1)
        + "\n"
    )
    print(table(cases))


def encoder(folder: Path) -> dict:
    """Write a tiny wav2vec2 with layer normalization and random weights."""
    checkpoint = write_checkpoint(folder / "encoder", "wav2vec2", "layer")
    return {
        "architecture": "encoder",
        "checkpoint": str(checkpoint),
        "mask_time_prob": 0.0,
    } | NO_DROPOUT


def train(
    recipe: dict, processes: int, overrides: list[str], folder: Path
) -> dict[str, list[float]]:
    """Train by the command and return loss and gradient norm of each step."""
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [*launcher, "-m", "ser_hf.train", str(path), *overrides]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    (output,) = [
        Path(word.partition("=")[2]) for word in overrides if word.startswith("output_dir=")
    ]
    history = json.loads((output / "report" / "report.json").read_text(encoding="utf-8"))["history"]
    logged = [entry for entry in history if "train_loss" in entry]
    return {
        "loss": [entry["train_loss"] for entry in logged],
        "grad_norm": [entry["grad_norm"] for entry in logged],
    }


def largest_gap(reference: list[float], curve: list[float]) -> float:
    """Return the largest relative difference over all steps."""
    return max(
        abs(value - expected) / abs(expected)
        for value, expected in zip(curve, reference, strict=True)
    )


def table(cases: list[dict]) -> str:
    """Format the ends of each curve and its largest relative difference as Markdown."""
    lines = [
        "| network | 16 clips a step as | loss, first to last step | gradient norm | largest "
        "difference of loss | "
        "of gradient norm |",
        "|---|---|---|---|---|---|",
    ]
    for case in cases:
        loss = case["curve"]["loss"]
        norm = case["curve"]["grad_norm"]
        gaps = case["gaps"]
        lines.append(
            f"| {case['network']} | {case['division']} | {loss[0]:.5f} to {loss[-1]:.5f} | "
            f"{norm[0]:.5f} to "
            f"{norm[-1]:.5f} | {gaps['loss']:.1e} | {gaps['grad_norm']:.1e} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
