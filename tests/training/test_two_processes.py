"""Two processes train, evaluate and count as one process. They are started once for all tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from ddp_script import ENCODER as CERTAIN
from ddp_script import STEP, curves, hold_batch_norm, load, step_arguments, write_models
from encoders_script import WAYS
from frozen_script import train_frozen
from lora_script import adapted_curves, stock_classifier
from test_encoder_matrix import KINDS
from test_gradients import assert_same

from ser_hf import cli
from ser_hf.corpora.synthesis import utterance
from ser_hf.inference.adaptation import LEAST_CLIPS

SCRIPT = Path(__file__).with_name("processes_script.py")
RECIPES = Path(__file__).parents[2] / "recipes"
TINY = [
    "corpus.speakers=4",
    "corpus.takes=1",
    "training.num_train_epochs=1",
    "evaluation.bootstrap=20",
]
TINY += ["model.channels=[4, 4, 4]", "model.lstm_hidden=8"]
# Raw audio with and without group normalization, and features computed before the encoder.
FAMILIES = ["wav2vec2", "wavlm", "whisper", "emotion2vec"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kinds(pytestconfig):
    """The encoders of the shared start: one of each family, or all."""
    return KINDS if pytestconfig.getoption("exhaustive") else FAMILIES


@pytest.fixture(scope="module")
def folder(store, checkpoint, encoder_folder, kinds, tmp_path_factory):
    """The inputs of the scripts and their outputs."""
    folder = tmp_path_factory.mktemp("processes")
    for name in ("ddp", "lora", "frozen", "encoders"):
        (folder / name).mkdir()
        (folder / name / "store").symlink_to(store.folder)
    write_models(folder / "ddp" / "models", checkpoint("wav2vec2", "layer"))
    stock_classifier(encoder_folder("wav2vec2-layer"), **CERTAIN).save_pretrained(
        folder / "lora" / "model"
    )
    (folder / "frozen" / "encoder").symlink_to(encoder_folder("wav2vec2-layer"))

    for kind in kinds:
        (folder / "encoders" / kind).symlink_to(encoder_folder(kind))

    run = [str(RECIPES / "quickstart.yaml"), *TINY, f"output_dir={folder / 'run'}"]
    printed = launch([str(SCRIPT), str(folder), *run], folder)
    (folder / "printed").write_text(printed, encoding="utf-8")
    return folder


def launch(command, folder):
    """The output of processes that `accelerate launch` starts."""
    options = [
        "--config_file",
        RECIPES / "accelerate" / "cpu.yaml",
        "--num_processes",
        2,
        "--main_process_port",
        0,
    ]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "accelerate.commands.launch", *map(str, options), *command]
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_launcher_of_two_processes_writes_one_whole_run(folder):
    assert (folder / "printed").read_text(encoding="utf-8").count("load it: pipeline(") == 1
    assert (folder / "run" / "report" / "report.json").is_file()


def curves_of(folder):
    """What each of the two measured."""
    return [
        json.loads((folder / f"curves_{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)
    ]


def test_two_processes_train_and_evaluate_as_one(folder, store, tmp_path):
    """In the last step one process has fewer clips."""
    first, second = curves_of(folder / "ddp")
    assert_same(first["resumed"], first["whole"])
    for kind in ("crnn", "encoder"):
        measured = first[kind]
        model, extractor = load(folder / "ddp" / "models", kind)
        hold_batch_norm(model)
        assert_same(
            measured,
            curves(model, extractor, store, kind, step_arguments(tmp_path / kind, STEP, 1)),
        )
        assert second[kind]["weights"] == measured["weights"], (
            "both processes end with the best checkpoint"
        )
        assert second[kind]["eval_loss"] == measured["eval_loss"]


def test_two_processes_train_adapters_as_one(folder, store, encoder_folder, tmp_path):
    first, second = curves_of(folder / "lora")
    assert second["weights"] == first["weights"]
    model = stock_classifier(encoder_folder("wav2vec2-layer"), **CERTAIN)
    assert_same(first, adapted_curves(model, store, tmp_path / "one", STEP, 1)[0])


def test_two_processes_build_one_cache_and_train_as_one(folder):
    frozen = folder / "frozen"
    one, _ = train_frozen(frozen, "one", 4)
    first, second = (np.load(frozen / f"two-{rank}.npy") for rank in (0, 1))
    np.testing.assert_allclose(first, one, rtol=1e-4)
    np.testing.assert_array_equal(first, second)
    assert len(list((frozen / "two-cache" / "frozen").glob("*/states"))) == 1


def test_encoders_train_in_two_processes(folder, kinds):
    for rank in range(2):
        steps = json.loads((folder / "encoders" / f"steps_{rank}.json").read_text(encoding="utf-8"))
        assert steps == {f"{kind} {way}": 4 for kind in kinds for way in WAYS}


def test_counts_are_summed_and_buffers_broadcast(folder):
    for rank in range(2):
        first, second, running_mean = torch.load(folder / f"counts_{rank}.pt")
        assert first.tolist() == [[2, 1, 0], [0, 0, 0], [0, 1, 0]]
        assert not second.any()
        assert running_mean.tolist() == [1, 1, 1], "the buffers of process 0"


def test_two_processes_predict_as_one(folder):
    """The rows of both, in the order of the recordings; the second process has a file that cannot
    be read.
    """
    (folder / "clips").mkdir()
    for number in range(5):
        voice = utterance(number, "sad", number, 0, 16000)[: 8000 + 2000 * number]
        soundfile.write(folder / "clips" / f"{number}.wav", voice, 16000)
    (folder / "clips" / "5.wav").write_text("no audio")
    command = [str(folder / "run"), str(folder / "clips"), "--output"]
    assert cli.main(["predict", *command, str(folder / "one.csv")]) == 1
    one = pd.read_csv(folder / "one.csv")
    with pytest.raises(AssertionError, match="exitcode: 1"):
        launch(["-m", "ser_hf.cli", "predict", *command, str(folder / "two.csv")], folder)
    two = pd.read_csv(folder / "two.csv")
    pd.testing.assert_frame_equal(one, two, rtol=1e-3, atol=1e-4)
    assert [Path(path).name for path in two["path"]] == [f"{number}.wav" for number in range(5)]


@pytest.mark.exhaustive
def test_a_group_in_two_processes_is_adapted_as_one(folder):
    (folder / "group").mkdir()
    for number in range(LEAST_CLIPS):
        voice = utterance(number, "sad", number, 0, 16000)[: 6000 + 100 * number]
        soundfile.write(folder / "group" / f"{number:02}.wav", voice, 16000)
    command = [str(folder / "run"), str(folder / "group"), "--adapt", "folder", "--output"]
    assert cli.main(["predict", *command, str(folder / "adapted_one.csv")]) == 0
    launch(["-m", "ser_hf.cli", "predict", *command, str(folder / "adapted_two.csv")], folder)
    one = pd.read_csv(folder / "adapted_one.csv")
    two = pd.read_csv(folder / "adapted_two.csv")
    assert one["adapted"].all()
    pd.testing.assert_frame_equal(one, two, rtol=1e-3, atol=1e-4)
