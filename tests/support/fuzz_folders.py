"""Damages files of a published model or a run, and reads them as the commands do: success, or one
clear line.
"""

import io
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ser_hf.experiment import compare, comparison_page, reproduce, saved_runs
from ser_hf.experiment.label_mapping import label_mapping
from ser_hf.experiment.provenance import training_provenance
from ser_hf.experiment.reading import read_recipe
from ser_hf.export.graph import WaveformClassifier
from ser_hf.hub.space import Demo, write_space
from ser_hf.inference.batches import classify
from ser_hf.inference.load import load_classifier
from ser_hf.inference.reference import read_reference
from ser_hf.report.card import card_of_run
from ser_hf.report.page import render
from ser_hf.report.report import read_report
from ser_hf.report.terminal import comparison_summary
from ser_hf.report.write import figures
from ser_hf.utils.errors import UserError

DEEP = "DEEP" * 3
SCRIPT = "<script>alert(1)</script>"
TEXTS = [
    "",
    "x",
    "7",
    SCRIPT,
    "[a](javascript:b)",
    "\x1b[31m",
    "a\nb",
    "\u202e",
    "\ud800",
    "../../x",
    "/x",
    "$a$",
]
NUMBERS = [0, -1, 1, 3, 2**31, 10**12, 10**400, 0.5, -0.5, 1e300, float("nan"), float("inf"), True]
OTHERS = ["y" * 99_999, DEEP, None, [], [1], ["x"], [[]], {}, {"x": 1}, {"0": "x"}, [0] * 999]
VALUES = TEXTS + NUMBERS + OTHERS
MODEL = ("config.json", "preprocessor_config.json", "report.json", "recipe.yaml")
RUN = (
    "report/report.json",
    "report/predictions.parquet",
    "recipe.yaml",
    "split.json",
    "reference.npz",
)


def attack(model: Path, run: Path, scratch: Path, seed: int) -> list[str]:
    """Damage a copy of one of the folders, one to three times, and read it.

    Returns:
        The message of each `UserError`. Any other exception is raised, and messages that are no
        clear line.
    """
    choose = random.Random(seed)
    folder, names, readers = choose.choice([(model, MODEL, model_readers), (run, RUN, run_readers)])
    copy = scratch / "copy"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(folder, copy)
    for _ in range(choose.randint(1, 3)):
        damage(copy / choose.choice(names), choose)
    messages = []
    for read in readers(copy, run, scratch):
        try:
            read()
        except UserError as error:
            messages.append(str(error))
    for message in messages:
        assert message.isprintable(), message
        assert len(message) <= 300, message
    return messages


def damage(path: Path, choose: random.Random) -> None:
    """Change a value, a key or bytes of a file."""
    content = path.read_bytes()
    if choose.random() < 0.15 or path.suffix == ".npz":
        place = choose.randrange(len(content))
        changed = content[:place] + choose.choice(
            [b"", b"\xff", b"\x00" * 9, b"[" * 99999, content[place + 1 :]]
        )
    elif path.suffix == ".parquet":
        changed = _parquet(content, choose)
    else:
        text = content.decode(errors="replace")
        try:
            values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        except (ValueError, RecursionError, yaml.YAMLError):
            return  # damaged before
        values = _changed(values, choose)
        text = (
            json.dumps(values)
            if path.suffix == ".json"
            else yaml.safe_dump(values, sort_keys=False)
        )
        changed = text.replace(f'"{DEEP}"', "[" * 50_000 + "]" * 50_000).encode(errors="replace")
    path.write_bytes(changed)


def _changed(values: object, choose: random.Random) -> object:
    """The values with one of them replaced or removed, or a key renamed, at any depth."""
    if not isinstance(values, dict | list) or not values or choose.random() < 0.05:
        return choose.choice(VALUES)
    keys = list(values) if isinstance(values, dict) else range(len(values))
    key = choose.choice(keys)
    if choose.random() < 0.7:
        values[key] = _changed(values[key], choose)
    elif choose.random() < 0.5 and isinstance(values, dict):
        values[str(choose.choice(TEXTS))] = values.pop(key)
    else:
        del values[key]
    return values


def _parquet(content: bytes, choose: random.Random) -> bytes:
    try:
        table = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError):
        return content  # damaged before
    name = choose.choice(table.column_names)
    wrong = [
        ["x"] * len(table),
        [None] * len(table),
        [float("nan")] * len(table),
        [[1]] * len(table),
    ]
    changes = [
        table.drop_columns([name]),
        table.slice(0, choose.randrange(3)),
        pa.concat_tables([table] * 2),
    ]
    changes += [
        table.drop_columns([name]).append_column(name, pa.array(values)) for values in wrong
    ]
    pq.write_table(choose.choice(changes), written := io.BytesIO())
    return written.getvalue()


def model_readers(folder: Path, run: Path, scratch: Path) -> list[Callable[[], object]]:
    """What predict, evaluate, export, verify, demo and reproduce read of a published model."""

    def predicts():
        classifier = load_classifier(folder, device="cpu")
        classify(classifier, [np.sin(np.arange(4000, dtype=np.float32))], ["clip"], progress=False)
        label_mapping(classifier.labels)
        WaveformClassifier(classifier.model, classifier.extractor)

    def demonstrates():
        write_space(scratch / "space", Demo(str(folder), read_report(folder / "report.json")))

    return [
        predicts,
        demonstrates,
        lambda: training_provenance(str(folder)),
        lambda: _rerun(folder, run),
    ]


def run_readers(folder: Path, run: Path, scratch: Path) -> list[Callable[[], object]]:
    """What compare, publish, verify and reproduce read of a run."""

    def compares():
        other = shutil.copytree(run, scratch / "other")
        report = json.loads((other / "report" / "report.json").read_text())
        report["seconds"]["training"] = 1.0
        (other / "report" / "report.json").write_text(json.dumps(report))
        comparison = compare.compare_runs([folder, other], resamples=9)
        comparison_summary(comparison_page.tables(comparison), comparison.warnings)
        comparison_page.bar_chart(comparison.runs, "uar")

    def shows():
        read_recipe(folder / "recipe.yaml")
        report = read_report(folder / "report" / "report.json")
        list(figures(report))
        pages = [render(report), str(card_of_run(folder, "someone/model", pictures=False))]
        assert not any(SCRIPT in page for page in pages)

    return [compares, shows, lambda: read_reference(folder), lambda: _rerun(folder, run)]


def _rerun(folder: Path, run: Path) -> None:
    saved = saved_runs.find_saved_run(folder)
    recipe = read_recipe(saved.recipe | {"output_dir": "x"})
    reproduce.compare(saved, recipe, saved_runs.find_saved_run(run).report, 0.005)


def fuzz(model: Path, run: Path, scratch: Path, seeds: range) -> Counter:
    """Run `attack` for many seeds; returns how often each number of refusals came."""
    return Counter(len(attack(model, run, scratch, seed)) for seed in seeds)
