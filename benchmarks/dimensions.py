"""Dimensions of emotion on real recordings, with targets made from published means of emotion
words.

    OMP_NUM_THREADS=1 python benchmarks/dimensions.py --ravdess data/RAVDESS --emodb data/EMO-DB

No corpus with ratings is open, so every clip of a class gets the same arousal and valence: the
means that Russell and Mehrabian (1977, Journal of Research in Personality 11) report for its word,
from -1 to 1; neutral is the origin. This shows that the task works from audio to report. It is **no
benchmark**: the targets are classes in other clothes, and nobody rated these clips. Calm, which
they do not have, is left out.

A crnn, five folds of speakers for RAVDESS and ten of EMO-DB. Runs are in --runs, are resumed, and
their figures are written to benchmarks/results/dimensions.json.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

from fixed_split import write

from ser_hf import load_corpus, run_recipe
from ser_hf.report.card import public

# Arousal and valence of angry, disgusted, fearful, happy, sad, surprised and bored.
MEANS = {
    "angry": (0.59, -0.51),
    "disgust": (0.35, -0.60),
    "fear": (0.60, -0.64),
    "happy": (0.51, 0.81),
    "neutral": (0.0, 0.0),
    "sad": (-0.27, -0.63),
    "surprise": (0.67, 0.40),
    "boredom": (-0.62, -0.65),
}
TARGETS = ("arousal", "valence")
# Epochs are capped, so that both corpora take less than an hour on one core.
SETTINGS: dict[str, dict[str, Any]] = {
    "ravdess": {
        "protocol": {"name": "kfold", "k": 5},
        "epochs": 40,
        "audio": {"trim_silence": 40, "max_duration": 2.2},
    },
    "emodb": {
        "protocol": {"name": "leave_one_speaker_out"},
        "epochs": 40,
        "audio": {"max_duration": 3.0},
    },
}
RESULT = Path(__file__).parent / "results" / "dimensions.json"


def write_table(corpus: str, root: str, path: Path) -> None:
    """Write a CSV file with the clips of a corpus and their targets."""
    dataset = load_corpus(corpus, root, drop=["calm"] if corpus == "ravdess" else [])
    names = dataset.features["label"].names
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "speaker", "sex", "sentence", *TARGETS])
        for row in dataset:
            label = names[row["label"]]
            audio = (
                Path(row["audio"]["path"]).absolute().relative_to(Path(root).absolute()).as_posix()
            )
            rows.writerow(
                [audio, label, row["speaker"], row["sex"], row["sentence"], *MEANS[label]]
            )


def recipe(corpus: str, root: str, runs: Path) -> dict[str, Any]:
    settings = SETTINGS[corpus]
    return {
        "name": f"{corpus}_dimensions",
        "output_dir": str(runs / f"{corpus}_dimensions"),
        "task": "dimensions",
        "corpus": {
            "name": "csv",
            "root": str(runs / f"{corpus}.csv"),
            "audio_root": root,
            "corpus_name": corpus,
            "targets": list(TARGETS),
            "ranges": dict.fromkeys(TARGETS, [-1, 1]),
            "title": f"{corpus}, targets made from class means (no ratings)",
            "acted": True,
        },
        "protocol": settings["protocol"],
        "audio": settings["audio"],
        "model": {
            "architecture": "crnn",
            "channels": [16, 32, 64, 64],
            "pooling": "attentive_stats",
        },
        "training": {
            "learning_rate": 2.0e-3,
            "num_train_epochs": settings["epochs"],
            "per_device_train_batch_size": 32,
            "train_sampling_strategy": "group_by_length",
            "seeds": [1],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for corpus in SETTINGS:
        parser.add_argument(f"--{corpus}", metavar="DIR", help="Folder of the corpus.")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR")
    parser.add_argument(
        "overrides", nargs="*", help="Of both recipes, such as training.num_train_epochs=1."
    )
    options = parser.parse_args()
    results = {}
    for corpus in SETTINGS:
        if root := getattr(options, corpus):
            write_table(corpus, root, options.runs / f"{corpus}.csv")
            values = recipe(corpus, root, options.runs)
            resume = Path(values["output_dir"]).exists()
            report = run_recipe(values, options.overrides, resume=resume).to_dict()
            shown = (
                "name",
                "task",
                "labels",
                "ranges",
                "protocol",
                "clips",
                "metrics",
                "intervals",
                "per_dimension",
            )
            kept = {
                key: report[key]
                for key in (*shown, "pooled", "gaps", "deviations", "seconds", "environment")
            }
            results[corpus] = public(kept)
            write(RESULT, results)
            print(report["name"], report["metrics"], flush=True)


if __name__ == "__main__":
    main()
