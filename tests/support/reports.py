"""A report with every optional section, from made-up predictions, for tests of pages, cards and
schemas.
"""

import copy
import functools

import jsonschema
import numpy as np

from ser_hf.evaluation.summary import evaluate_predictions
from ser_hf.report.report import Report, report_schema
from support.predictions import guesses, predictions_of

SCHEMA = report_schema()
typed = Report.from_dict

LABELS = ["angry", "happy", "sad"]
CLIPS = 48


@functools.cache
def _evaluated(paths):
    """The evaluation of the predictions, computed once."""
    labels, probabilities = guesses(CLIPS, 3)
    speakers = [f"{'ab'[i // 24]}:{i // 6}" for i in range(CLIPS)]
    known = {"corpus": ["ab"[i // 24] for i in range(CLIPS)]}
    known["sex"] = ["female" if i // 6 % 2 else "male" for i in range(CLIPS)]
    known["perceived"] = [LABELS[(label + (i % 4 == 0)) % 3] for i, label in enumerate(labels)]
    predictions = predictions_of(labels, None, 3, speakers, probabilities, names=LABELS, **known)
    if paths:
        predictions.paths.extend(paths)
    return evaluate_predictions(predictions, bootstrap=50).to_dict(), labels, speakers


def whole_report(paths=None, **changes):
    """Eight speakers of two corpora, six clips each; the splits are made up.

    Nothing in it is shared with another report, so that a test may change what it was given.
    """
    report, labels, speakers = copy.deepcopy(_evaluated(tuple(paths or ())))
    parts = {
        "train": {"clips": 96, "speakers": [f"a:{i}" for i in range(20, 36)]},
        "validation": {"clips": 24, "speakers": [f"a:{i}" for i in range(40, 44)]},
        "test": {"clips": CLIPS, "speakers": sorted(set(speakers))},
    }
    pairs = ("train/validation", "train/test", "validation/test")
    nothing = {"speakers": 0, "sentences": 2, "recordings": 0, "near_duplicates": None}
    scores = {"log_loss": 1.0, "ece": 0.2, "brier": 0.5}
    validation = {"loss": 1.0, "uar": 0.5, "macro_f1": 0.5}
    leaky = {key: value and value + 0.1 for key, value in report["metrics"].items()}
    clean = {key: report["metrics"][key] for key in ("uar", "wa", "macro_f1")} | {
        "interval": [0.4, 0.9]
    }
    noise = clean | {
        "uar": 0.4,
        "interval": [0.2, 0.6],
        "drop": clean["uar"] - 0.4,
        "drop_interval": [0.1, 0.3],
    }
    noise |= {"kind": "noise", "unit": "dB", "description": "pink noise", "changed": CLIPS}
    values = {
        **{"name": "toy", "judged_on": "test", "labels": LABELS},
        "protocol": {
            **{
                "name": "speaker_independent",
                "sha256": "ab" * 32,
                "clips": ["c0ffee"],
                "leak": None,
                "fold": None,
            },
            **{"notes": ["A note of the protocol."], "parts": parts},
            "published": {
                "protocol": "someone/toy",
                "fingerprint": "12" * 32,
                "source": "Someone 2020.",
                "figures_source": "https://example.org/figures",
                "figures_of": "a table",
                "figures": [
                    {"system": "their network", "metrics": {"uar": 0.623}, "parameters": 46772},
                    {"system": "their encoder", "metrics": {"uar": 0.1}, "note": "another corpus"},
                ],
            },
        },
        "audit": {
            "shared": {pair: dict(nothing) for pair in pairs},
            "apart": {pair: ["speakers", "recordings"] for pair in pairs},
            "duplicates": 1,
        },
        "sources": [
            {
                "corpus": "a",
                "emotion": "happy",
                "word": "H",
                "label": "happy",
                "left_out": None,
                "clips": 90,
            },
            {
                "corpus": "b",
                "emotion": "calm",
                "word": None,
                "label": None,
                "left_out": "dropped",
                "clips": 7,
            },
        ],
        "label_words": [{"word": "HAP", "emotion": "happy"}, {"word": "noise", "emotion": None}],
        "foil": {
            **{
                "protocol": "random",
                "sha256": "cd" * 32,
                "audit": {"shared": {"train/test": {"speakers": 8}}},
            },
            **{"metrics": leaky, "intervals": report["intervals"], "against": report["metrics"]},
            "gap": {key: 0.1 for key, value in report["metrics"].items() if value is not None},
        },
        "model": {
            **{
                "architecture": "crnn",
                "model_type": "ser_crnn",
                "checkpoint": None,
                "adapter": False,
            },
            **{"remote_code": True, "padding_safe": True, "preparation": "silence trimmed off"},
            **{"depth": "All parameters are trained.", "augmentation": "speed (in 50 % of them)"},
            **{"parameters": 123456, "learning": 123456, "solver": "trainer"},
        },
        **report,
        "parts": dict.fromkeys(("train", "validation"), report["metrics"]),
        "temperature": {
            "value": 1.5,
            "fitted_on": "validation",
            "before": scores,
            "after": scores,
            "stored": False,
        },
        "history": [
            {
                "epoch": epoch,
                "step": 6,
                "train_loss": 1 / epoch,
                "learning_rate": 1e-3,
                "validation": validation,
            }
            for epoch in (1.0, 2.0)
        ],
        "selected_by": "uar",
        "validated": 0.5,
        "seconds": {"preparation": 1.0, "training": 240.0, "per_epoch": 2.0, "judgement": 0.5},
        "training": {
            "precision": "fp32",
            "clips_per_step": 16,
            "data_workers": 0,
            "strategy": "full",
        },
        "abstention": {
            "stated_error": 0.1,
            "aurc": 0.2,
            "curve": [
                {"coverage": share, "error": 0.4 * share, "threshold": 1 - share / 2}
                for share in (0.25, 0.5, 0.75, 1.0)
            ],
            "threshold": 0.8,
            "validation": {"clips": 24, "coverage": 0.5, "error": 0.1},
            "evaluated": {
                "clips": CLIPS,
                "coverage": 0.4,
                "error": 0.15,
                "coverage_interval": [0.3, 0.5],
                "error_interval": [0.05, 0.3],
            },
        },
        "adaptation": {
            "grouping": "speaker",
            "groups": 8,
            "adapted_groups": 6,
            "clips": 36,
            "metrics": report["metrics"],
            "intervals": report["intervals"],
            "difference": 0.05,
            "difference_interval": [0.01, 0.09],
        },
        "robustness": {
            "clips": CLIPS,
            "chance": 1 / 3,
            "clean": clean,
            "conditions": [
                noise | {"name": f"noise at {level} dB", "severity": float(level)}
                for level in (20, 10)
            ],
            "areas": {"noise": clean | {"uar": 0.4, "interval": [0.2, 0.6]}},
            "settings": {
                "seed": 0,
                "of_clips": CLIPS,
                "bootstrap": 50,
                "confidence": 0.95,
                "sampling_rate": 16000,
            },
        },
        "embeddings": {
            "method": "pca",
            "clips": CLIPS,
            "of_clips": CLIPS,
            "size": 16,
            "emotions": 0.125,
            "speakers": 0.25,
            "explained": [0.5, 0.25],
            "seed": 0,
        },
        "learning_curve": {
            "metric": "uar",
            "speakers": [
                {"speakers": 8, "clips": 48, "scores": [0.4, 0.5], "mean": 0.45},
                {"speakers": 16, "clips": 96, "scores": [0.6], "mean": 0.6},
            ],
            "clips": [
                {"speakers": 16, "clips": 48, "scores": [0.55, 0.59], "mean": 0.57},
                {"speakers": 16, "clips": 96, "scores": [0.6], "mean": 0.6},
            ],
            "verdict": "More speakers would help more.",
        },
        "new_speaker": {
            "evaluated": {
                "basis": "test speakers",
                "speakers": 2,
                "chance": 1 / 3,
                "mean": 0.5,
                "quartiles": [0.34, 0.4, 0.5, 0.6, 0.66],
                "lowest": {
                    "a:1": {
                        "clips": 12,
                        "uar": 0.34,
                        "most": "sad",
                        "share": 0.9,
                        "one_class": True,
                        "rarely": ["happy"],
                    },
                },
                "near_chance": ["a:1"],
                "one_class": ["a:1"],
            },
        },
        "environment": {
            "versions": {"python": "3.11.7", "ser_hf": "0.1.0", "torch": "2.12.1"},
            **{"git_revision": "0123456789abcdef", "platform": "Linux", "processor": "A processor"},
            **{"cores": 2, "threads": 1, "accelerator": None, "processes": 1},
        },
        "class_distribution": {
            part: {label: int(np.sum(labels == i)) for i, label in enumerate(LABELS)}
            for part in parts
        },
        "definitions": {"uar": "..."},
    }
    return copy.deepcopy(values | changes)


def over_folds(report):
    """The same as a report over two folds."""
    parts = report["protocol"]["parts"]
    metrics = report["metrics"]
    own = {
        "tested": "a",
        "sha256": "ef" * 32,
        "parts": parts,
        "metrics": metrics,
        "validation": metrics,
    }
    protocol = report["protocol"] | {
        "parts": {"test": parts["test"]},
        "folds": {"1": own, "2": own},
    }
    pooled = {key: report[key] for key in ("metrics", "intervals", "clip_intervals")}
    deviations = dict.fromkeys(metrics, 0.05)
    return report | {
        "protocol": protocol,
        "pooled": pooled,
        "deviations": deviations,
        "chosen_fold": 2,
        "history": [],
    }


def undescribed(report):
    """Keys of a report that the schema lacks, and values of another type."""
    return [
        error.message
        for error in jsonschema.Draft202012Validator(_closed(SCHEMA)).iter_errors(report)
    ]


def _closed(schema):
    """The schema without additional properties."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        changed["additionalProperties"] = False
    return changed
