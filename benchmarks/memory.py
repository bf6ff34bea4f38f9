"""Measure the peak memory of runs by family of network, on 500 and on 5,000 clips.

    nice -n 5 python benchmarks/memory.py --corpus-root data/RAVDESS [FAMILY ...] [--clips 500 5000]
    [--steps 20] [--weights FILE] [--runs DIR] [--results FILE] [--table]

The clips are segments of RAVDESS, of 1 to 2 s: each recording has four of them, so that there are
5,760 different rows. Each run is `ser-hf train` in a separate process, with a few steps, a
validation, the evaluation of the test speakers and the report. Its memory is sampled every 50 ms
from /proc/PID/status: `anonymous` is the peak of what the process itself holds, `resident` the
peak of that and of mapped files (libraries, store), which the system can drop. `estimate` is what
`ser-hf train --dry-run` prints for the same recipe. Figures are merged into the results after each
run; a run that is there is not repeated.
"""

import argparse
import csv
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

RESULTS = Path(__file__).parent / "results" / "memory.json"
EMOTIONS = ["neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "surprise"]
SHORTEST = 1.0  # seconds of the shortest segment; the longest has 1 s more
STARTS = (0.0, 0.3, 0.6, 0.8)  # seconds; the shortest recording has 2.9 s
MEGABYTE = 1e6

# {family: sections of its recipe}
FAMILIES: dict[str, dict[str, Any]] = {
    "crnn": {"model": {"architecture": "crnn"}},
    "se_resnet": {"model": {"architecture": "se_resnet"}},
    "byols, frozen": {"model": {"architecture": "byols"}, "freeze": {"encoder": True}},
    "byols, frozen, scikit-learn": {
        "model": {"architecture": "byols"},
        "freeze": {"encoder": True},
        "training": {"solver": "sklearn"},
    },
    "byols, trained": {"model": {"architecture": "byols"}},
    "wav2vec2, small": {"model": {"architecture": "encoder"}},
    "wav2vec2, small, lower half cached": {
        "model": {"architecture": "encoder"},
        "freeze": {"top_layers": 2, "cache": True},
    },
    "cnn2d": {"model": {"architecture": "cnn2d"}},
    "mfcc_linear": {"model": {"architecture": "mfcc_linear"}},
    "mfcc_svm": {"model": {"architecture": "mfcc_svm"}},
    "eGeMAPS": {"model": {"architecture": "functionals_linear", "feature_set": "eGeMAPSv02"}},
    "ComParE": {"model": {"architecture": "functionals_linear"}},
    "crnn, robustness": {
        "model": {"architecture": "crnn"},
        "evaluation": {"robustness": ["noise"]},
    },
}
# Families that scikit-learn fits, and which have no steps.
WITHOUT_STEPS = ("byols, frozen, scikit-learn", "mfcc_linear", "mfcc_svm", "eGeMAPS", "ComParE")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--corpus-root", type=Path, help="folder of RAVDESS")
    parser.add_argument("--clips", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--weights", type=Path, help="published weights of BYOL-S")
    parser.add_argument("--runs", type=Path, default=Path("runs/memory"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    unknown = set(options.families) - FAMILIES.keys()
    if unknown:
        parser.error(f"unknown family {sorted(unknown)[0]}; choose from {', '.join(FAMILIES)}")
    if not options.table and options.corpus_root is None:
        parser.error("--corpus-root: name the folder of RAVDESS")

    results = json.loads(options.results.read_text()) if options.results.is_file() else {}
    if not options.table:
        for family in options.families or FAMILIES:
            for clips in options.clips:
                key = f"{family}, {clips} clips"
                if key not in results:
                    results[key] = {"family": family, "clips": clips}
                    results[key] |= measure(family, clips, options)
                    options.results.write_text(json.dumps(results, indent=1) + "\n")
                    print(key, results[key], flush=True)
    print(table(results))


def measure(family: str, clips: int, options: argparse.Namespace) -> dict[str, Any]:
    """The memory of one run in megabytes, and the estimate of a dry run."""
    folder = options.runs.absolute() / f"{family.replace(', ', '-').replace(' ', '-')}-{clips}"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = write_recipe(folder, family, clips, options)
    dry_run = subprocess.run(
        [sys.executable, "-m", "ser_hf.cli", "train", str(recipe), "--dry-run"],
        capture_output=True,
        text=True,
    )
    if dry_run.returncode:
        raise SystemExit(f"{recipe}: {dry_run.stderr}")
    estimate = re.search(
        r"([\d.]+) GiB \(the recipe\)|^memory of a process, .* ([\d.]+) GiB$", dry_run.stdout, re.M
    )
    began = time.perf_counter()
    peaks = _watch(
        [sys.executable, "-m", "ser_hf.cli", "train", str(recipe), "--overwrite"], folder
    )
    store = sum(file.stat().st_size for file in (folder / "cache").rglob("*") if file.is_file())
    if estimate is None:
        raise SystemExit(f"{recipe}: no estimate in {dry_run.stdout}")
    megabytes = float(estimate[1] or estimate[2]) * 2**30 / MEGABYTE
    return {
        **peaks,
        "estimate": megabytes,
        "ratio": megabytes / peaks["anonymous"],
        "cache": store / MEGABYTE,
        "seconds": time.perf_counter() - began,
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }


def _watch(command: list[str], folder: Path) -> dict[str, float]:
    """Run a command, and return the peaks of its memory in megabytes."""
    anonymous = 0
    resident = 0
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            sizes = _sizes(process.pid)
            anonymous = max(anonymous, sizes.get("RssAnon", 0))
            resident = max(resident, sizes.get("VmHWM", 0))
            time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{folder}/output.txt: the run failed")
    return {"anonymous": anonymous / MEGABYTE, "resident": resident / MEGABYTE}


def _sizes(pid: int) -> dict[str, int]:
    """Bytes by name, from the status of a process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # the process has ended
        return {}
    sizes = {}
    for line in lines:
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            sizes[name] = int(value.split()[0]) * 1024
    return sizes


def write_recipe(folder: Path, family: str, clips: int, options: argparse.Namespace) -> Path:
    """Write the table of clips and the recipe of a family; returns the recipe's file."""
    _write_table(folder / "clips.csv", options.corpus_root.absolute(), clips)
    sections = json.loads(json.dumps(FAMILIES[family]))
    model = sections["model"]
    if model["architecture"] == "byols":
        if options.weights is None:
            raise SystemExit(f"--weights: name the published weights of BYOL-S for {family}")
        model["checkpoint"] = str(options.weights.absolute())
    if model["architecture"] == "encoder":
        model["checkpoint"] = str(_write_encoder(options.runs.absolute() / "encoder"))
        model |= {"mask_time_prob": 0.0, "mask_feature_prob": 0.0, "layerdrop": 0.0}
    training = sections.setdefault("training", {})
    training["seeds"] = [1]
    if family not in WITHOUT_STEPS:
        training["max_steps"] = options.steps
    recipe = {
        "name": "memory",
        "output_dir": str(folder / "run"),
        "corpus": {"name": "csv", "root": str(folder / "clips.csv")},
        "protocol": {
            "name": "speaker_independent",
            "validation": 0.1,
            "test": 0.2,
            "near_duplicates": "skip",
        },
        "audio": {"cache_dir": str(folder / "cache")},
        **sections,
    }
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return file


def _write_table(file: Path, root: Path, clips: int) -> None:
    """Write a table of so many segments, from all speakers."""
    recordings = [
        Path(folder) / name
        for folder, _, names in os.walk(root, followlinks=True)
        for name in sorted(names)
        if name.startswith("03-") and name.lower().endswith((".wav", ".flac"))
    ]
    if not recordings:
        raise SystemExit(f"--corpus-root: no recordings of RAVDESS in {root}")
    rows = []
    for start in STARTS:
        for recording in recordings:
            label = EMOTIONS[int(recording.stem.split("-")[2]) - 1]
            speaker = recording.stem.split("-")[6]
            seconds = SHORTEST + (37 * len(rows) % 100) / 100
            rows.append([str(recording), start, round(start + seconds, 2), label, speaker])
    if clips > len(rows):
        raise SystemExit(f"--clips: at most {len(rows)}")
    chosen = random.Random(0).sample(rows, clips)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "start", "end", "label", "speaker"])
        writer.writerows(chosen)


def _write_encoder(folder: Path) -> Path:
    """Write a small wav2vec 2.0 with random weights, 4 layers of 256."""
    if not (folder / "config.json").is_file():
        import torch
        from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

        torch.manual_seed(0)
        config = Wav2Vec2Config(
            hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024
        )
        Wav2Vec2Model(config).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder)
    return folder


def table(results: dict[str, dict[str, Any]]) -> str:
    """The table for the README, in GB."""
    lines = ["| family | clips | peak | with mapped files | estimate | estimate / peak |"]
    lines.append("|---|---|---|---|---|---|")
    for row in results.values():
        lines.append(
            f"| {row['family']} | {row['clips']:,} | {row['anonymous'] / 1000:.2f} | "
            f"{row['resident'] / 1000:.2f} | {row['estimate'] / 1000:.2f} | {row['ratio']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
