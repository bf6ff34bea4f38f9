"""One report over several runs, on artificial predictions: means, deviations, pooled scores, the
preferred run.
"""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset
from sklearn.metrics import f1_score, recall_score
from support.reports import whole_report

from ser_hf.evaluation.metrics import classification_metrics
from ser_hf.evaluation.predictions import of_rows, to_table
from ser_hf.evaluation.summary import few_speakers
from ser_hf.experiment.context import RunContext
from ser_hf.experiment.data import Fold
from ser_hf.experiment.folds import aggregate, merged_warnings, read_child_predictions
from ser_hf.experiment.reading import read_recipe
from ser_hf.models.preparation import Preparation
from ser_hf.protocols import PAIRS, Audit, make_split
from ser_hf.report.plots import robustness_figure
from ser_hf.report.report import Report
from ser_hf.utils.run_folder import RunFolder

LABELS = ["angry", "happy", "sad"]
BARE = {
    "name": "toy",
    "judged_on": "test",
    "labels": LABELS,
    "protocol": {},
    "audit": {"shared": {}},
}
BARE |= {"metrics": {"uar": 0.5}, "confusion": []}
ROBUSTNESS = whole_report()["robustness"]
CLIPS = 72
SPEAKERS = 6
AUDIT = Audit(
    shared={pair: {"speakers": 0} for pair in PAIRS},
    apart={pair: ["speakers"] for pair in PAIRS},
    duplicates=0,
)
# Test speakers of three folds of unequal size, so that a mean over folds is not the pooled figure.
TESTED = {1: [0], 2: [1, 2], 3: [3, 4, 5]}


@pytest.fixture(scope="module")
def dataset():
    """Six speakers of twelve clips; ids are in the reverse order of the rows, so that sorting by id
    would show.
    """
    clips = range(CLIPS)
    columns = {
        name: [value] * CLIPS
        for name, value in (("sex", None), ("intensity", None), ("corpus", "c"))
    }
    columns |= {
        "id": [f"toy/{CLIPS - i:02d}" for i in clips],
        "speaker": [f"toy:{i // 12}" for i in clips],
    }
    columns |= {"label": [i % 3 for i in clips], "sentence": [f"s{i % 2}" for i in clips]}
    return Dataset.from_dict(columns).cast_column("label", ClassLabel(names=LABELS))


@pytest.fixture(scope="module")
def folds(dataset):
    speaker = np.arange(CLIPS) // 12
    made = []
    for number, tested in TESTED.items():
        speakers = {"test": tested, "validation": [(max(tested) + 1) % SPEAKERS]}
        speakers["train"] = [
            own for own in range(SPEAKERS) if own not in sum(speakers.values(), [])
        ]
        rows = {
            part: np.flatnonzero(np.isin(speaker, own)).tolist() for part, own in speakers.items()
        }
        made.append(
            Fold(
                number, make_split("toy", dataset, rows, fold=f"fold of {tested}"), AUDIT, "digest"
            )
        )
    return made


@pytest.fixture(scope="module")
def experiment_data(dataset, folds):
    config = SimpleNamespace(model_type="crnn")
    facts = {
        "checkpoint": None,
        "labels": None,
        "padding_safe": True,
        "remote_code": True,
        "preparation": Preparation(),
    }
    facts |= {"dimensions": (), "targets": None}
    plan = SimpleNamespace(config=config, extractor=SimpleNamespace(sampling_rate=16000), **facts)
    more = {
        "recordings": {},
        "inherited": [],
        "dimensions": [],
        "auxiliary": {},
        "sources": [],
        "notes": ["2 clips disagree."],
        "ranges": {},
    }
    more["preparation_seconds"] = 1.0
    return SimpleNamespace(dataset=dataset, folds=folds, labels=LABELS, plan=plan, **more)


def recipe(*overrides):
    source = {"name": "toy", "corpus": {"name": "synthetic"}, "model": {"architecture": "crnn"}}
    return read_recipe(source, ["evaluation.bootstrap=50", *overrides])


def guesses(dataset, rows, seed, right=0.6):
    """(clips,) class ids: a share of them right, the share differing by speaker."""
    generator = np.random.default_rng(seed)
    labels = np.asarray(dataset["label"][:])[rows]
    share = right + 0.06 * (np.asarray(rows) // 12 - 2)
    return np.where(
        generator.random(len(rows)) < share, labels, generator.integers(3, size=len(rows))
    )


def write_run(folder, dataset, split, seeds, column=True):
    """Writes predictions.parquet of a run of these seeds, clips in another order; returns {part:
    (seeds, clips)}.
    """
    tables = []
    predicted = {}
    for seed in seeds:
        for part in ("validation", "test"):
            rows = split.rows[part]
            own = guesses(dataset, rows, seed)
            predicted.setdefault(part, []).append(own)
            order = np.random.default_rng(seed).permutation(len(rows))
            probabilities = np.eye(3, dtype=np.float32)[own[order]]
            table = to_table(part, of_rows(dataset, np.asarray(rows)[order], probabilities))
            tables.append(
                table.append_column("seed", pa.array([seed] * len(rows))) if column else table
            )
    folder.report.mkdir(parents=True)
    pq.write_table(pa.concat_tables(tables), folder.report / "predictions.parquet")
    return {part: np.stack(own) for part, own in predicted.items()}


def child_report(dataset, split, predicted):
    labels = np.asarray(dataset["label"][:])
    means = {}
    for part, runs in predicted.items():
        measured = [classification_metrics(labels[split.rows[part]], run, 3) for run in runs]
        means[part] = {
            name: float(np.mean([own[name] for own in measured])) for name in measured[0]
        }
    return bare(
        metrics=means["test"],
        parts={"train": means["validation"], "validation": means["validation"]},
        validated=means["validation"]["uar"],
        model={"architecture": "crnn", "parameters": 10},
        training={"precision": "fp32"},
        seconds={"training": 2.0, "per_epoch": 0.5},
        robustness=ROBUSTNESS | {"clean": ROBUSTNESS["clean"] | {"uar": means["test"]["uar"]}},
    )


def bare(**sections):
    return Report.from_dict(BARE | sections)


def over_folds(folder, dataset, experiment_data, folds, seeds, *overrides):
    """The aggregated report, the reports of the folds, and the (seeds, clips) predictions of each
    fold.
    """
    top = RunFolder(folder)
    reports = {}
    predicted = {}
    for fold in folds:
        own = write_run(
            top.child(f"fold-{fold.number}"), dataset, fold.split, seeds, column=len(seeds) > 1
        )
        reports[fold.number] = child_report(dataset, fold.split, own)
        predicted[fold.number] = own
    run = RunContext(recipe(*overrides), experiment_data, folds, top)
    return (
        aggregate(run, reports, read_child_predictions(top, "fold", list(reports))),
        reports,
        predicted,
    )


@pytest.fixture(scope="module", params=[1, 3], ids=["one seed", "three seeds"])
def aggregated(request, tmp_path_factory, dataset, folds, experiment_data):
    folder = tmp_path_factory.mktemp("run")
    return over_folds(folder, dataset, experiment_data, folds, [11, 12, 13][: request.param])


def test_metrics_over_folds_are_mean_and_deviation(aggregated):
    report, reports, _ = aggregated
    for name in ("uar", "wa", "macro_f1", "weighted_f1"):
        values = [own.metrics[name] for own in reports.values()]
        assert report.metrics[name] == pytest.approx(sum(values) / 3)
        assert report.deviations[name] == pytest.approx(np.std(values, ddof=1))
    validated = [own.parts["validation"]["uar"] for own in reports.values()]
    assert report.parts["validation"]["uar"] == pytest.approx(np.mean(validated))
    best = max(own.validated for own in reports.values())
    assert reports[report.chosen_fold].validated == best == report.validated


def test_robustness_over_folds_is_the_mean_without_intervals(aggregated):
    report, reports, _ = aggregated
    found = report.robustness
    assert found.clean.uar == pytest.approx(
        np.mean([own.metrics["uar"] for own in reports.values()])
    )
    assert (found.clips, found.areas["noise"].uar, found.conditions[0].severity) == (
        report.clips,
        0.4,
        20,
    )
    assert "interval" not in json.dumps(found.to_dict())
    assert robustness_figure(found).get_suptitle().endswith("clips, unchanged")


def test_pooled_scores_are_those_of_scikit_learn_on_all_predictions(aggregated, dataset, folds):
    report, _, predicted = aggregated
    rows = np.concatenate([fold.split.rows["test"] for fold in folds])
    labels = np.asarray(dataset["label"][:])[rows]
    runs = np.concatenate([predicted[fold.number]["test"] for fold in folds], axis=1)
    pooled = report.pooled.metrics
    assert pooled["uar"] == pytest.approx(
        np.mean([recall_score(labels, run, average="macro") for run in runs])
    )
    assert pooled["wa"] == pytest.approx((runs == labels).mean())
    assert pooled["macro_f1"] == pytest.approx(
        np.mean([f1_score(labels, run, average="macro") for run in runs])
    )
    assert pooled["wa"] != pytest.approx(report.metrics["wa"], abs=1e-3), (
        "folds of unequal size: not the mean"
    )
    confusion = np.zeros((3, 3), dtype=int)
    for run in runs:
        np.add.at(confusion, (labels, run), 1)
    assert report.confusion == confusion.tolist()
    assert [own.support for own in report.per_class.values()] == [24, 24, 24]
    clips = {speaker: own.clips for speaker, own in report.slices["speaker"].items()}
    assert clips == {f"toy:{i}": 12 for i in range(SPEAKERS)}


def test_intervals_over_folds_are_those_of_the_mean(aggregated):
    report, _, _ = aggregated
    for intervals, value in (
        (report.intervals, report.metrics),
        (report.clip_intervals, report.metrics),
        (report.pooled.intervals, report.pooled.metrics),
    ):
        assert all(
            intervals[name][0] <= value[name] <= intervals[name][1]
            for name in value
            if name in intervals
        )
    assert report.intervals != report.pooled.intervals
    assert "6 speakers" in report.warnings[0]
    assert report.warnings[1:] == ["2 clips disagree."]


def test_the_protocol_describes_each_fold(aggregated, folds):
    report, reports, _ = aggregated
    protocol = report.protocol
    assert protocol.fold is None
    assert protocol.parts["test"].to_dict() == {
        "clips": CLIPS,
        "speakers": [f"toy:{i}" for i in range(SPEAKERS)],
    }
    assert list(protocol.folds) == ["1", "2", "3"]
    for fold in folds:
        own = protocol.folds[str(fold.number)]
        child = reports[fold.number]
        assert (own.tested, own.sha256) == (fold.split.fold, fold.split.sha256)
        assert own.parts["test"].clips == len(fold.split.rows["test"])
        assert (own.metrics, own.validation) == (child.metrics, child.parts["validation"])


def test_a_warning_of_some_runs_appears_once_with_their_numbers():
    (few,) = few_speakers(1)
    reports = {
        1: bare(speakers=1, warnings=[few, "of all", "everywhere", "cut off"]),
        2: bare(speakers=1, warnings=[few, "of all", "everywhere"]),
        3: bare(speakers=1, warnings=[few, "everywhere", "cut off"]),
    }
    assert merged_warnings("fold", reports, ["of all"]) == [
        "of all",
        "everywhere",
        "Fold 1, 3: cut off",
    ]


def test_folds_share_a_warning_about_their_models_whatever_its_details():
    named = {
        number: f"Seed 3: Some classes of the evaluated clips are never predicted ({number})."
        for number in (2, 5)
    }
    reports = {
        number: bare(speakers=20, warnings=[named[number]] if number in named else [])
        for number in (1, 2, 5)
    }
    (merged,) = merged_warnings("fold", reports, [])
    assert merged.startswith(
        "Fold 2, 5: Some classes of the evaluated clips are never predicted: train"
    )
