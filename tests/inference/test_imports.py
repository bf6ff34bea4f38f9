"""What prediction, export and publication import, measured in new processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ser_hf

PACKAGE = Path(ser_hf.__file__).parent
PROGRAM = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""
TRAINING = ("ser_hf.training", "ser_hf.experiment", "peft", "transformers.trainer")
# Prediction reads no corpus, changes no waveform, and computes no metric.
BESIDES_PREDICTION = (
    "ser_hf.corpora",
    "ser_hf.audio.augmenter",
    "ser_hf.audio.near_duplicates",
    "ser_hf.report",
    "sklearn",
)


def modules_of(package):
    """The modules of a package that run inside ser_hf."""
    scripts = {"__init__", "run_onnx", "verify_worker"}
    paths = sorted((PACKAGE / package).glob("*.py"))
    return [f"ser_hf.{package}.{path.stem}" for path in paths if path.stem not in scripts]


def loaded_by(names):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def those_in(packages, modules):
    """The modules that are one of the packages, or in one."""
    inside = tuple(f"{package}." for package in packages)
    return [name for name in modules if name in packages or name.startswith(inside)]


@pytest.mark.slow
def test_prediction_imports_neither_training_nor_corpora():
    names = modules_of("inference")
    assert "ser_hf.inference.predict" in names
    assert those_in((*TRAINING, *BESIDES_PREDICTION), loaded_by(names)) == []


@pytest.mark.slow
@pytest.mark.parametrize("package", ["export", "hub"])
def test_export_and_publication_import_no_training(package):
    names = modules_of(package)
    assert names
    assert those_in(TRAINING, loaded_by(names)) == []
