"""Types of the public functions: `.ci/run types` checks them, nothing runs this file."""

from typing import assert_type

import datasets
import numpy as np

import ser_hf
from ser_hf.inference.predict import PredictionTable
from ser_hf.protocols.audit import Audit
from ser_hf.protocols.split import Split
from ser_hf.report.report import Report

rows = ser_hf.load_corpus("synthetic", speakers=4)
dataset, store = ser_hf.prepare(rows)
split = ser_hf.speaker_independent(dataset)
predictions = ser_hf.predict("runs/a", ["a.wav"])
assert_type(rows, datasets.Dataset)
assert_type(store[0], np.ndarray)
assert_type(split, Split)
assert_type(ser_hf.split_corpus(rows, "random"), list[Split])
assert_type(ser_hf.audit(split, dataset), Audit)
assert_type(predictions, PredictionTable)
assert_type(predictions.predicted, list[str] | None)
assert_type(ser_hf.run_recipe("quickstart"), Report)
assert_type(ser_hf.evaluate_model("runs/a", "emodb", "data").metrics["uar"], float | None)
assert_type(ser_hf.verify("runs/a").good, bool)
assert_type(ser_hf.publish("runs/a", "me/a").model.url, str)
