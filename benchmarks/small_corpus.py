"""Measure what a warm start gains on a corpus of four speakers.

    OMP_NUM_THREADS=1 python benchmarks/small_corpus.py --corpus-root data \\
    --checkpoint weights/default512_BYOLAs64x96.pth [--stages choose test] [--draws 1 2 3]
    [--epochs N] [--runs runs/small_corpus] [--results FILE] [--readme]

`--corpus-root` has the folders RAVDESS and EMO-DB. There are two stages:

- `choose`: start, layers and rates are chosen on four actors of RAVDESS, from parents that were
  trained on EMO-DB. Only validation speakers are scored, one in each of four folds.
- `test`: the best candidate starts from a parent that was trained on RAVDESS, and is compared with
  training from scratch and with a logistic regression on frozen BYOL-S. Each draw has two women and
  two men of EMO-DB, and leaves out each of the four in turn. Networks are trained on the three
  others: first without the validation speaker, then again with this speaker (`training.refit`), for
  the same number of epochs. Each test speaker is scored once for each arm and draw.

The budget is the numbers of epochs below; `--epochs` caps them for a trial. A row that the results
have is not run again, and an interrupted run continues. The paired differences are over the test
speakers of all draws; a speaker may be in several draws, so the intervals are somewhat too narrow.
"""

import argparse
import random
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from fixed_split import TRIMMED, read, run, write
from scipy.stats import wilcoxon

RESULTS = Path(__file__).parent / "results" / "small_corpus.json"
WOMEN = ("08", "09", "13", "14", "16")
MEN = ("03", "10", "11", "12", "15")
ACTORS = ("01", "02", "03", "04")  # RAVDESS, for the choice
DRAWS = (1, 2, 3)
RESAMPLES = 10_000

# The fixed budget, in epochs.
SCRATCH_EPOCHS = 25
PARENT_EPOCHS = {"crnn": 25, "byols": 6}
CHILD_EPOCHS = {"crnn": 12, "byols": 6}

NETWORK = {"channels": [16, 32, 64, 64]}  # of crnn, as in recipes/emodb_crnn.yaml
TRAINING = {
    "per_device_train_batch_size": 16,
    "loss": {"label_smoothing": 0.1},
    "train_sampling_strategy": "group_by_length",
    "seeds": [1],
}
# Candidate: its network, and the keys of its recipe.
CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {
    "crnn, all layers, 1e-3": ("crnn", {"training.learning_rate": 1e-3}),
    "crnn, all layers, 3e-4": ("crnn", {"training.learning_rate": 3e-4}),
    "crnn, two blocks frozen, 1e-3": (
        "crnn",
        {"training.learning_rate": 1e-3, "freeze.layers": 2},
    ),
    "crnn, rates by layer, 1e-3": (
        "crnn",
        {"training.learning_rate": 1e-3, "training.layer_decay": 0.7},
    ),
    "crnn, classifier only, 1e-2": (
        "crnn",
        {"training.learning_rate": 1e-2, "freeze.encoder": True},
    ),
    "byols, all layers, 3e-4": (
        "byols",
        {"training.learning_rate": 3e-4, "training.head_learning_rate": 1e-3},
    ),
    "byols, all layers, 1e-4": (
        "byols",
        {"training.learning_rate": 1e-4, "training.head_learning_rate": 1e-3},
    ),
    "byols, logistic regression": ("byols", {"training.solver": "sklearn"}),
}
ARMS = ("from scratch", "frozen BYOL-S", "warm start")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus-root", type=Path, default=Path("data"))
    parser.add_argument("--checkpoint", default="weights/default512_BYOLAs64x96.pth")
    parser.add_argument("--stages", nargs="+", default=["choose", "test"])
    parser.add_argument("--draws", type=int, nargs="+", default=list(DRAWS))
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES), choices=CANDIDATES)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--runs", type=Path, default=Path("runs/small_corpus"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", action="store_true", help="print the tables only")
    options = parser.parse_args()
    if not options.readme:
        if "choose" in options.stages:
            choose(options)
        if "test" in options.stages:
            test(options)
    print(tables(read(options.results)))


def choose(options: argparse.Namespace) -> None:
    """Score each candidate on the validation speakers of four actors of RAVDESS."""
    for name in options.candidates:
        corpus = {"name": "ravdess", "root": str(ravdess_folder(options))}
        values = candidate_recipe(name, "EMO-DB", corpus, options)
        values["evaluation"] = {"part": "validation", "bootstrap": 100, "map": None}
        save_row("choose", name, values, options)


def test(options: argparse.Namespace) -> None:
    """Score the three arms on the test speakers of each draw."""
    candidate = best_candidate(read(options.results))
    for draw in options.draws:
        root = emodb_folder(draw, options)
        corpus = {"name": "emodb", "root": str(root), "drop": ["disgust"]}
        for arm in ARMS:
            if arm == "warm start":
                values = candidate_recipe(candidate, "RAVDESS", corpus, options)
            elif arm == "from scratch":
                values = scratch_recipe(corpus, options)
            else:
                values = frozen_recipe(corpus, options)
            if values["training"].get("solver") != "sklearn":
                values["training"]["refit"] = True
            values["evaluation"] = {"bootstrap": 100, "map": None}
            save_row("test", f"{arm}/{draw}", values, options, candidate=candidate)


def best_candidate(results: dict[str, Any]) -> str:
    """The candidate with the best mean UAR of the validation speakers."""
    rows = results.get("choose", {})
    if not rows:
        raise SystemExit("no candidate was scored; run the stage choose first")
    return max(rows, key=lambda name: rows[name]["uar"])


def save_row(
    stage: str, key: str, values: dict[str, Any], options: argparse.Namespace, **extra: Any
) -> None:
    """Run a recipe and save its row, unless the results have it."""
    if key in read(options.results).get(stage, {}):
        return
    folder = options.runs / stage / key.replace(", ", "_").replace(" ", "_")
    report = run({**values, "name": folder.name, "output_dir": str(folder)})
    part = "validation" if stage == "choose" else "test"
    speakers = {}
    for fold in report["protocol"]["folds"].values():
        (speaker,) = fold["parts"][part]["speakers"]
        speakers[speaker] = fold["metrics"]["uar"]
    row = {
        "uar": report["metrics"]["uar"],
        "speakers": speakers,
        "seconds": report["seconds"]["training"],
        "split": report["protocol"]["sha256"],
        "git_revision": report["environment"]["git_revision"],
        **extra,
    }
    results = read(options.results)
    results.setdefault(stage, {})[key] = row
    write(options.results, results)
    print(f"{stage}: {key}: UAR {row['uar']:.3f}, {row['seconds']:.0f} s", flush=True)


def child_sections(corpus: dict[str, Any]) -> dict[str, Any]:
    """The sections that all recipes for four speakers have in common."""
    return {
        "corpus": corpus,
        "protocol": {"name": "leave_one_speaker_out", "validation": 0.3},
        "audio": dict(TRIMMED),
    }


def candidate_recipe(
    name: str, parent_corpus: str, corpus: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """The recipe of a candidate, from a parent that was trained on `parent_corpus`."""
    network, keys = CANDIDATES[name]
    parent = parent_run(network, parent_corpus, options)
    values = child_sections(corpus) | {"model": {"checkpoint": str(parent)}}
    values["training"] = {"seeds": [1]}
    if keys.get("training.solver") != "sklearn":
        values["training"] = dict(TRAINING, num_train_epochs=epochs(CHILD_EPOCHS[network], options))
    else:
        del values["audio"]["max_duration"]  # scikit-learn fits whole clips
    for key, value in keys.items():
        section, _, option = key.partition(".")
        values.setdefault(section, {})[option] = value
    return values


def scratch_recipe(corpus: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The recipe of a network from random weights."""
    training = dict(TRAINING, learning_rate=2e-3, num_train_epochs=epochs(SCRATCH_EPOCHS, options))
    model = {"architecture": "crnn", **NETWORK}
    return child_sections(corpus) | {"model": model, "training": training}


def frozen_recipe(corpus: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The recipe of a logistic regression on frozen BYOL-S (recipes/ravdess_byols.yaml)."""
    sections = child_sections(corpus)
    del sections["audio"]["max_duration"]
    return sections | {
        "model": {"architecture": "byols", "checkpoint": options.checkpoint},
        "freeze": {"encoder": True},
        "training": {"solver": "sklearn", "seeds": [1]},
    }


def parent_run(network: str, corpus: str, options: argparse.Namespace) -> Path:
    """Train a parent on RAVDESS or EMO-DB, unless it is there, and return its run."""
    folder = options.runs / "parents" / f"{network}_{corpus}"
    name = {"RAVDESS": "ravdess", "EMO-DB": "emodb"}[corpus]
    model = {"architecture": "crnn", **NETWORK}
    rates = {"learning_rate": 2e-3}
    if network == "byols":
        model = {"architecture": "byols", "checkpoint": options.checkpoint}
        rates = {"learning_rate": 3e-4, "head_learning_rate": 1e-3}
    run(
        {
            "name": folder.name,
            "output_dir": str(folder),
            "corpus": {"name": name, "root": str(options.corpus_root / corpus)},
            # Most speakers train. The test split has one or two, as every run needs one.
            "protocol": {"name": "speaker_independent", "validation": 0.1, "test": 0.05},
            "audio": dict(TRIMMED),
            "model": model,
            "training": dict(
                TRAINING, num_train_epochs=epochs(PARENT_EPOCHS[network], options), **rates
            ),
            "evaluation": {"bootstrap": 100, "map": None},
        }
    )
    return folder


def epochs(planned: int, options: argparse.Namespace) -> int:
    """The number of epochs: as planned, or the cap of a trial."""
    return min(planned, options.epochs or planned)


def emodb_folder(draw: int, options: argparse.Namespace) -> Path:
    """A folder with links to the clips of two women and two men of EMO-DB, drawn with a seed."""
    generator = random.Random(draw)
    speakers = {*generator.sample(WOMEN, 2), *generator.sample(MEN, 2)}
    clips = [
        path
        for path in sorted((options.corpus_root / "EMO-DB").rglob("*"))
        if path.suffix in (".wav", ".flac") and path.name[:2] in speakers
    ]
    return linked(clips, options.runs / "corpora" / f"emodb_{draw}")


def ravdess_folder(options: argparse.Namespace) -> Path:
    """A folder with links to the clips of four actors of RAVDESS."""
    clips = [
        path
        for path in sorted((options.corpus_root / "RAVDESS").rglob("*"))
        if path.suffix in (".wav", ".flac") and path.stem[-2:] in ACTORS
    ]
    return linked(clips, options.runs / "corpora" / "ravdess")


def linked(clips: list[Path], folder: Path) -> Path:
    """Write links to clips into a folder, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in clips:
        link = folder / path.name
        if not link.exists():
            link.symlink_to(path.resolve())
    return folder


def tables(results: dict[str, Any]) -> str:
    """Format the candidates, the arms and their paired differences as Markdown."""
    lines = ["| candidate (four actors of RAVDESS, validation speakers) | UAR | seconds |"]
    lines.append("|---|---|---|")
    for name, row in results.get("choose", {}).items():
        lines.append(f"| {name} | {row['uar']:.3f} | {row['seconds']:.0f} |")
    lines += ["", "| arm (four speakers of EMO-DB, test speakers) | draws | UAR | seconds |"]
    lines.append("|---|---|---|---|")
    rows = results.get("test", {})
    for arm in ARMS:
        draws = [row for key, row in rows.items() if key.startswith(f"{arm}/")]
        if draws:
            uar = statistics.mean(row["uar"] for row in draws)
            seconds = sum(row["seconds"] for row in draws)
            lines.append(f"| {arm} | {len(draws)} | {uar:.3f} | {seconds:.0f} |")
    lines += ["", "| difference of UAR | speakers | mean | 95 % interval | p (Wilcoxon) |"]
    lines.append("|---|---|---|---|---|")
    for other in ARMS[:2]:
        lines.append(difference("warm start", other, rows))
    return "\n".join(lines)


def difference(arm: str, other: str, rows: dict[str, dict[str, Any]]) -> str:
    """A row of the table: the paired difference of two arms over the test speakers of all draws."""
    differences = []
    for key, row in rows.items():
        name, _, draw = key.partition("/")
        if name != arm or f"{other}/{draw}" not in rows:
            continue
        others = rows[f"{other}/{draw}"]["speakers"]
        differences += [uar - others[speaker] for speaker, uar in row["speakers"].items()]
    title = f"| {arm}, minus {other} | {len(differences)} |"
    if len(differences) < 2:
        return f"{title} | | |"
    values = np.asarray(differences)
    generator = np.random.default_rng(0)
    means = generator.choice(values, (RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    p = wilcoxon(values).pvalue if values.any() else 1.0
    return f"{title} {values.mean():+.3f} | {low:+.3f} to {high:+.3f} | {p:.3f} |"


if __name__ == "__main__":
    main()
