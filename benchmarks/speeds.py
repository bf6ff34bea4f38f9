"""Measure what `model.test_speeds` gains: the saved models of a run over folds, with and without
it.

    OMP_NUM_THREADS=1 python benchmarks/speeds.py RUN --result benchmarks/results/NAME.json

RUN was trained and evaluated with `test_speeds`; its predictions are read from its folder. The same
weights predict the same validation and test clips once more at their own speed alone. The
comparison is paired, over speakers and clips of all folds, for each split.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from ensemble import PARTS, emotions
from fixed_split import write

from ser_hf.audio import prepare
from ser_hf.corpora import load_corpus
from ser_hf.evaluation.bootstrap import paired_comparison
from ser_hf.evaluation.outputs import Outputs
from ser_hf.evaluation.predictions import from_table
from ser_hf.experiment.reading import read_recipe
from ser_hf.inference.batches import classify
from ser_hf.inference.load import load_classifier


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    recipe = read_recipe(options.run / "recipe.yaml")
    dataset = load_corpus(recipe.corpus.name, recipe.corpus.root)
    result = {"run": recipe.name, "test_speeds": recipe.model.options["test_speeds"]}
    found = {part: {"labels": [], "speakers": [], "speeds": [], "own": []} for part in PARTS}
    for folder in sorted(options.run.glob("fold-*")):
        classifier = load_classifier(folder / "model", device="cpu")
        table = pq.read_table(folder / "report" / "predictions.parquet")
        rate = classifier.extractor.sampling_rate
        clips, store = prepare(dataset, rate, recipe.audio.cache_dir, classifier.preparation)
        rows = {clip: row for row, clip in enumerate(clips["id"][:])}
        classifier.model.config.test_speeds = []
        for part in PARTS:
            saved = from_table(table, part, emotions(table))
            columns = [classifier.labels.index(name) for name in saved.names]
            waveforms = [store[rows[clip]] for clip in saved.ids]
            own = classify(classifier, waveforms, saved.ids, progress=False)
            found[part]["labels"] += saved.labels.tolist()
            found[part]["speakers"] += saved.speakers
            found[part]["speeds"] += saved.predicted[0].tolist()
            found[part]["own"] += own[:, columns].argmax(axis=1).tolist()
        print(folder.name, flush=True)
    for part, own in found.items():
        labels = np.asarray(own["labels"])
        sides = {
            name: [Outputs(labels, np.asarray(own[name]), int(labels.max()) + 1)]
            for name in ("speeds", "own")
        }
        compared = paired_comparison(sides, own["speakers"])
        differences = compared["speeds", "own"].items()
        result[part] = {"clips": len(labels)}
        result[part] |= {name: dataclasses.asdict(own) for name, own in differences}
        print(part, result[part]["uar"])
    write(options.result, result)


if __name__ == "__main__":
    main()
