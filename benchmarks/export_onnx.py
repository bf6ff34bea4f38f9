"""Compare exported models to the model in torch: time per clip and agreement on all evaluated clips
of its run.

    OMP_NUM_THREADS=1 python benchmarks/export_onnx.py runs/ravdess_crnn --corpus-root data/RAVDESS
    [--repeats 3]

The model is exported to ONNX, and to ONNX with int8 weights, in a temporary folder. Then each clip
of the evaluated split of its run is classified alone, as it was decoded: in torch (preparation,
feature extractor and network), by the ONNX file and by the int8 file. The three alternate, so that
other processes slow down all of them. The time of a clip is the minimum over the repeats. Results
are merged into benchmarks/results/export_onnx.json under the name of the run; `--readme` prints the
table of that file without measuring.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ser_hf.audio import prepare
from ser_hf.evaluation.metrics import classification_metrics
from ser_hf.evaluation.probabilities import activated
from ser_hf.experiment.data import load_recipe_corpus
from ser_hf.experiment.evaluated_clips import EvaluationOptions, select_test_clips
from ser_hf.experiment.label_mapping import label_mapping
from ser_hf.experiment.provenance import training_provenance
from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.sections import environment_section
from ser_hf.export.onnx import compare, export_model, logits_of
from ser_hf.inference.load import load_classifier
from ser_hf.models.preparation import Preparation
from ser_hf.utils.run_folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "export_onnx.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", help="folder of a run")
    parser.add_argument(
        "--corpus-root", help="folder of its corpus (default: the one in its recipe)"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--clips", type=int, help="number of clips, for a short trial (default: all)"
    )
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"models": {}}
    if not options.readme:
        if options.model is None:
            parser.error("give the folder of a run")
        result = measure(options.model, options.corpus_root, options.repeats, options.clips)
        results["models"][Path(options.model).resolve().name] = result
        results["environment"] = environment_section().to_dict()
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results["models"]))


def measure(model: str, root: str | None, repeats: int, limit: int | None) -> dict:
    """Measure times and predictions of one model in its three forms."""
    folder = RunFolder(model)
    recipe = read_recipe(folder.recipe, [] if root is None else [f"corpus.root={root}"])
    corpus = load_recipe_corpus(recipe)
    protocol = recipe.protocol
    settings = EvaluationOptions(
        protocol=protocol.name,
        protocol_options=protocol.options,
        fold=training_provenance(str(folder.model)).fold,
        part=recipe.evaluation.part,
        training_speakers=True,
    )
    classifier = load_classifier(model, device="cpu")
    mapping = label_mapping(classifier.labels)
    dataset = select_test_clips(corpus, mapping.classes, None, settings).dataset
    dataset = dataset.select(range(min(limit or len(dataset), len(dataset))))
    # Without preparation in the store: it is part of what is measured.
    dataset, store = prepare(dataset, classifier.extractor.sampling_rate, None, Preparation())
    names = dataset.features["label"].names
    labels = [mapping.classes.index(names[label]) for label in dataset["label"][:]]
    with tempfile.TemporaryDirectory() as folder:
        exports = export_model(model, Path(folder) / "model.onnx", int8=True)
        forms_to_run = {"torch": lambda clip: logits_of(classifier, [clip])}
        for form, file in exports.files.items():
            exported = load_classifier(file.path)
            forms_to_run[form] = lambda clip, exported=exported: logits_of(exported, [clip])
        logits, times = classify_all(forms_to_run, store, repeats)
    parameters = sum(parameter.numel() for parameter in classifier.model.parameters())
    forms = {}
    for form, outputs in logits.items():
        class_probabilities = mapping.to_classes(activated(outputs, classifier.problem_type))
        found = compare(outputs, logits["torch"], classifier.problem_type)
        file = exports.files.get(form)
        forms[form] = {
            "bytes": 4 * parameters if file is None else file.bytes,
            "milliseconds": float(times[form].mean()),
            "median_milliseconds": float(np.median(times[form])),
            "same_label": 1 - found.changed / found.clips,
            "changed": found.changed,
            "largest_logit_difference": found.logits,
            "largest_probability_difference": found.probabilities,
            "uar": classification_metrics(
                labels, class_probabilities.argmax(axis=1), len(mapping.classes)
            )["uar"],
        }
    return {
        "model_type": classifier.model.config.model_type,
        "parameters": parameters,
        "clips": len(labels),
        "seconds_of_audio": float(store.lengths.sum() / store.sampling_rate),
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        "forms": forms,
    }


def classify_all(forms_to_run: dict, store, repeats: int) -> tuple[dict, dict]:
    """Return logits float32 (clips, labels) and milliseconds (clips,) of each form."""
    logits = {form: [] for form in forms_to_run}
    times = {form: [] for form in forms_to_run}
    for row in range(len(store)):
        clip = np.array(store[row])
        durations_of = {form: [] for form in forms_to_run}
        for form, classify in forms_to_run.items():
            # the first call with a new length allocates memory
            logits[form].append(classify(clip)[0])
        for _ in range(repeats):
            for form, classify in forms_to_run.items():
                began = time.perf_counter()
                classify(clip)
                durations_of[form].append(1000 * (time.perf_counter() - began))
        for form, durations in durations_of.items():
            times[form].append(min(durations))
    return {form: np.stack(rows) for form, rows in logits.items()}, {
        form: np.array(ms) for form, ms in times.items()
    }


def table(models: dict) -> str:
    lines = [
        "| model | form | MB | ms per clip | same label | largest difference of a logit | of a "
        "probability | UAR |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in models.items():
        for form, row in result["forms"].items():
            differences = (
                f"{row['largest_logit_difference']:.1e} | "
                f"{row['largest_probability_difference']:.1e}"
            )
            cost = f"{row['bytes'] / 1e6:.2f} | {row['milliseconds']:.1f} | {row['same_label']:.2%}"
            lines.append(f"| {name} | {form} | {cost} | {differences} | {row['uar']:.4f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
