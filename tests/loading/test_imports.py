"""Loading needs neither training nor corpora: what its modules import in a new process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ser_hf

PROGRAM = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""
# Of training alone.
TRAINING = ("ser_hf.training", "ser_hf.experiment", "peft", "transformers.trainer")
PACKAGE = Path(ser_hf.__file__).parent


def modules_loaded_by(*names):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def of(packages, modules):
    return [
        name
        for name in modules
        if any(name == package or name.startswith(f"{package}.") for package in packages)
    ]


@pytest.mark.slow
def test_loading_imports_neither_training_nor_corpora():
    # Downloading published weights uses the connection of the corpora. No model is loaded by it.
    stems = {path.stem for path in (PACKAGE / "loading").glob("[!_]*")} - {"download"}
    names = [f"ser_hf.loading.{stem}" for stem in sorted(stems)]
    assert len(names) > 5
    modules = modules_loaded_by(*names)
    assert of((*TRAINING, "ser_hf.corpora", "sklearn"), modules) == []
