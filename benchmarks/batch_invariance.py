"""Measure how much padding changes the logits of a trained model: clips alone and padded in a
batch.

    python benchmarks/batch_invariance.py runs/ravdess_crnn [--clips 240]

Loads RUN/model as a user does and classifies test clips of the run, first alone, then in batches
padded with zeros to three times their length. Writes the largest logit difference to
benchmarks/results/batch_invariance.json.
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

import ser_hf.models  # noqa: F401 - registers the architectures
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.sections import environment_section


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--clips", type=int, default=240)
    options = parser.parse_args()

    data = load_experiment_data(read_recipe(options.run / "recipe.yaml"))
    model = AutoModelForAudioClassification.from_pretrained(options.run / "model").eval()
    extractor = AutoFeatureExtractor.from_pretrained(options.run / "model")
    largest = 0.0
    largest_logit = 0.0
    for row in data.folds[0].split.rows["test"][: options.clips]:
        waveform = data.store[row]
        alone = extractor(waveform, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        padded = {
            key: torch.nn.functional.pad(value, (0, 2 * value.shape[1])).repeat(2, 1)
            for key, value in alone.items()
        }
        with torch.no_grad():
            logits = model(**alone).logits
            difference = (model(**padded).logits - logits).abs().max().item()
        largest = max(largest, difference)
        largest_logit = max(largest_logit, logits.abs().max().item())
    result = {
        "run": options.run.name,
        "clips": min(options.clips, len(data.folds[0].split.rows["test"])),
        "largest_logit_difference": largest,
        "largest_logit": largest_logit,
        "environment": environment_section().to_dict(),
    }
    target = Path(__file__).parent / "results" / "batch_invariance.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{result['clips']} clips: largest logit difference {largest:.2e} (largest logit "
        f"{largest_logit:.1f})"
    )


if __name__ == "__main__":
    main()
