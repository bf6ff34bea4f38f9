"""Run recipes from start to end, test split included, and save their reports in benchmarks/results.

    OMP_NUM_THREADS=1 python benchmarks/recipes.py [NAME ...] [--corpora data] [--epochs 60] [--runs
    runs/recipes]
        [--set KEY=VALUE ...] [--list]

A NAME is one of `RUNS` (recipes with overrides) or a recipe without its suffix; without any, all of
`RUNS` that have no report yet are run in their order, the fastest first. `--epochs` caps the epochs
of each recipe. `--corpora` is the folder of RAVDESS/ and EMO-DB/. Each run is a folder below
`--runs`, and the same command resumes an interrupted run. A configuration is scored on its test
split once: one with a report is run again only if its NAME is given. `--list` prints a row for each
report without running anything.
"""

import argparse
import json
from pathlib import Path

from fixed_split import write

import ser_hf
from ser_hf.experiment.reading import read_recipe
from ser_hf.report.card import public

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
FOLDERS = {"ravdess": "RAVDESS", "emodb": "EMO-DB"}
# The published weights of these networks are not downloaded here.
RANDOM = ["model.random_init=true", "model.checkpoint=null"]
HYBRIDS = (
    "cnn_lstm",
    "stacked_cnn_lstm",
    "stacked_cnn_attention_lstm",
    "parallel_cnn_attention_lstm",
    "parallel_cnn_transformer",
)
# RAVDESS and EMO-DB as training and test corpus of each other, in their six common emotions.
BETWEEN = [
    "corpus={name: mixture, corpora: [{name: ravdess, root: data/RAVDESS, merge: {calm: neutral}, "
    "drop: [surprise]}, "
    "{name: emodb, root: data/EMO-DB, drop: [boredom]}], labels: [angry, disgust, fear, happy, "
    "neutral, sad]}",
    "protocol={name: leave_one_corpus_out}",
]
PER_SPEAKER = "evaluation.per_speaker=true"
EGEMAPS = "model.feature_set=eGeMAPSv02"
# Name -> recipe and overrides.
RUNS: dict[str, tuple[str, list[str]]] = {
    "emodb_compare_svm_per_speaker": ("emodb_compare_svm", [PER_SPEAKER]),
    "between_corpora_compare": ("emodb_compare_svm", [*BETWEEN, PER_SPEAKER]),
    "between_corpora_egemaps": ("emodb_compare_svm", [*BETWEEN, PER_SPEAKER, EGEMAPS]),
    "ravdess_vggish_random": ("ravdess_vggish", RANDOM),
    "emodb_cnn2d": ("emodb_crnn", ["model.architecture=cnn2d"]),
    **{f"ravdess_{name}": (f"ravdess_{name}", []) for name in HYBRIDS},
    "ravdess_separable_resnet": ("ravdess_separable_resnet", []),
    "ravdess_emobox_robust": ("ravdess_emobox_robust", ["evaluation.robustness=true"]),
    "ravdess_vgg16_random": ("ravdess_vgg16", [*RANDOM, "freeze.layers=0"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    recipes = [path.stem for path in sorted((ROOT / "recipes").glob("*.yaml"))]
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--corpora", type=Path, default=Path("data"))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.names) - {*RUNS, *recipes}:
        parser.error(
            f"unknown name {', '.join(sorted(unknown))}; choose from {', '.join(RUNS)}, or a recipe"
        )
    if options.list:
        print(table())
        return
    for name in options.names or [name for name in RUNS if not (RESULTS / f"{name}.json").exists()]:
        recipe, overrides = RUNS.get(name, (name, []))
        measure(
            name,
            recipe,
            overrides + options.overrides,
            options.corpora,
            options.epochs,
            options.runs,
        )
    print(table())


def measure(
    name: str, recipe: str, overrides: list[str], corpora: Path, epochs: int, runs: Path
) -> None:
    """Start, resume or read one run, and save its report without paths of this machine."""
    file = ROOT / "recipes" / f"{recipe}.yaml"
    values = read_recipe(file, overrides)
    overrides = [item.replace("data/", f"{corpora}/") for item in overrides]
    overrides += [f"name={name}", f"output_dir={runs / name}"]
    if values.corpus.name in FOLDERS:  # a mixture has a root for each corpus
        overrides.append(f"corpus.root={corpora / FOLDERS[values.corpus.name]}")
    if values.training.solver == "trainer":
        own = values.training.arguments.get("num_train_epochs", epochs)
        overrides.append(f"training.num_train_epochs={min(epochs, own)}")
    report = ser_hf.run_recipe(file, overrides, resume=True).to_dict()
    for clip in report.get("hardest", ()):
        clip.pop("path", None)
    write(
        RESULTS / f"{name}.json",
        public(report | {"recipe": read_recipe(file, overrides).to_dict()}),
    )


def table() -> str:
    """Format the reports of `RUNS` as Markdown."""
    lines = [
        "| run | UAR | 95 % interval | WA | macro-F1 | training |",
        "|---|---|---|---|---|---|",
    ]
    for name in RUNS:
        path = RESULTS / f"{name}.json"
        if path.exists():
            report = json.loads(path.read_text(encoding="utf-8"))
            metrics, (low, high) = report["metrics"], report["intervals"]["uar"]
            lines.append(
                f"| `{name}` | {metrics['uar']:.3f} | {low:.3f} to {high:.3f} | "
                f"{metrics['wa']:.3f} | "
                f"{metrics['macro_f1']:.3f} | {report['seconds']['training'] / 60:.0f} min |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
