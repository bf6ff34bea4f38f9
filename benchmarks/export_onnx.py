"""An exported model beside the model: milliseconds per clip and agreement over all clips that judged its run.

    OMP_NUM_THREADS=1 python benchmarks/export_onnx.py runs/ravdess_crnn --corpus-root data/RAVDESS [--repeats 3]

The model is exported to ONNX, and to ONNX with int8 weights, into a temporary folder. Then every clip of the part that
its run was judged on is asked about, one at a time and as it was decoded: by torch (preparation, feature extractor and
network), by the ONNX file and by the int8 file, in turn, so that other work on the machine meets all three. A clip's
time is the least of the repeats. Results are merged into benchmarks/results/export_onnx.json under the run's name;
`--readme` prints the table of that file and measures nothing.
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
from ser_hf.experiment.data import load_recipe_corpus, training_provenance
from ser_hf.experiment.evaluate import label_mapping, select_test_clips
from ser_hf.experiment.recipe_checks import read_recipe
from ser_hf.export.onnx import compare, export_model, logits_of
from ser_hf.inference.classifier import load_classifier
from ser_hf.inference.outputs import probabilities
from ser_hf.models.preparation import Preparation
from ser_hf.utils.environment import environment
from ser_hf.utils.run_folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "export_onnx.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a run's folder")
    parser.add_argument("--corpus-root", help="the folder of its corpus (default: as its recipe says)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clips", type=int, help="only so many, to try it")
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"models": {}}
    if not options.readme:
        if options.model is None:
            parser.error("name a run's folder")
        result = measure(options.model, options.corpus_root, options.repeats, options.clips)
        results["models"][Path(options.model).resolve().name] = result
        results["environment"] = environment()
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results["models"]))


def measure(model: str, root: str | None, repeats: int, most: int | None) -> dict:
    """Times and answers of one model in its three forms."""
    folder = RunFolder(model)
    recipe = read_recipe(folder.recipe, [] if root is None else [f"corpus.root={root}"])
    corpus, protocol = load_recipe_corpus(recipe), recipe.protocol
    chosen = {"protocol": protocol.name, "protocol_options": protocol.options, "part": recipe.evaluation.part}
    chosen["fold"] = training_provenance(str(folder.model)).fold
    expert = load_classifier(model, device="cpu")
    meaning = label_mapping(expert.labels)
    dataset = select_test_clips(corpus, meaning.classes, None, training_speakers=True, **chosen).dataset
    dataset = dataset.select(range(min(most or len(dataset), len(dataset))))
    # As decoded: what is done to a waveform before the network is part of what is measured.
    dataset, store = prepare(dataset, expert.extractor.sampling_rate, None, Preparation())
    names = dataset.features["label"].names
    labels = [meaning.classes.index(names[label]) for label in dataset["label"][:]]
    with tempfile.TemporaryDirectory() as folder:
        exports = export_model(model, Path(folder) / "model.onnx", int8=True)
        ways = {"torch": lambda clip: logits_of(expert, [clip])}
        for way, file in exports.files.items():
            exported = load_classifier(file.path)
            ways[way] = lambda clip, exported=exported: logits_of(exported, [clip])
        logits, times = asked(ways, store, repeats)
    parameters = sum(parameter.numel() for parameter in expert.model.parameters())
    forms = {}
    for way, own in logits.items():
        shares = meaning.judged(probabilities(own, expert.multi_label))
        found = compare(own, logits["torch"], expert.multi_label)
        file = exports.files.get(way)
        forms[way] = {
            "bytes": 4 * parameters if file is None else file.bytes,
            "milliseconds": float(times[way].mean()),
            "median_milliseconds": float(np.median(times[way])),
            "same_label": 1 - found.changed / found.clips,
            "changed": found.changed,
            "largest_logit_difference": found.logits,
            "largest_probability_difference": found.probabilities,
            "uar": classification_metrics(labels, shares.argmax(axis=1), len(meaning.classes))["uar"],
        }
    return {
        "model_type": expert.model.config.model_type,
        "parameters": parameters,
        "clips": len(labels),
        "seconds_of_audio": float(store.lengths.sum() / store.sampling_rate),
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        "forms": forms,
    }


def asked(ways: dict, store, repeats: int) -> tuple[dict, dict]:
    """Logits float32 (clips, labels) and milliseconds (clips,) by way."""
    logits, times = {way: [] for way in ways}, {way: [] for way in ways}
    for row in range(len(store)):
        clip = np.array(store[row])
        taken = {way: [] for way in ways}
        for way, ask in ways.items():
            logits[way].append(ask(clip)[0])  # the first time of a length, memory is laid out
        for _ in range(repeats):
            for way, ask in ways.items():
                began = time.perf_counter()
                ask(clip)
                taken[way].append(1000 * (time.perf_counter() - began))
        for way, own in taken.items():
            times[way].append(min(own))
    return {way: np.stack(own) for way, own in logits.items()}, {way: np.array(own) for way, own in times.items()}


def table(models: dict) -> str:
    lines = [
        "| model | form | MB | ms per clip | same label | largest difference of a logit | of a probability | UAR |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in models.items():
        for form, own in result["forms"].items():
            differences = f"{own['largest_logit_difference']:.1e} | {own['largest_probability_difference']:.1e}"
            cost = f"{own['bytes'] / 1e6:.2f} | {own['milliseconds']:.1f} | {own['same_label']:.2%}"
            lines.append(f"| {name} | {form} | {cost} | {differences} | {own['uar']:.4f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
