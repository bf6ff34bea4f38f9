"""Two processes train, judge, normalise and count as one would. They are started once, for all of it."""

import json
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.commands import launch as accelerate_launch
from batch_norm_script import CASES, steps
from ddp_script import ENCODER as CERTAIN
from ddp_script import STEP, curves, load, step_arguments, write_models
from frozen_script import train_frozen
from lora_script import adapted_curves, stock_classifier
from test_gradients import assert_same
from thaw_script import thaw

from ser_hf.training.arguments import seed_everything
from ser_hf.training.factory import blueprint, build_model

SCRIPT = Path(__file__).with_name("processes_script.py")
RECIPES = Path(__file__).parents[2] / "recipes"
TINY = ["corpus.speakers=4", "corpus.takes=1", "training.num_train_epochs=1", "evaluation.bootstrap=20"]
TINY += ["model.channels=[4, 4, 4]", "model.lstm_hidden=8"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(store, checkpoint, encoder_folder, tmp_path_factory):
    """What the scripts read, and after them what they wrote."""
    folder = tmp_path_factory.mktemp("processes")
    for name in ("ddp", "thaw", "lora", "frozen", "batch_norm"):
        (folder / name).mkdir()
        (folder / name / "store").symlink_to(store.folder)
    write_models(folder / "ddp" / "models", checkpoint("wav2vec2", "layer"))
    plan = blueprint("encoder", ["angry", "happy", "neutral", "sad"], checkpoint=checkpoint(), options=CERTAIN)
    seed_everything(0)
    build_model(plan).save_pretrained(folder / "thaw" / "models" / "encoder")
    plan.extractor.save_pretrained(folder / "thaw" / "models" / "encoder")
    stock_classifier(encoder_folder("wav2vec2-layer"), **CERTAIN).save_pretrained(folder / "lora" / "model")
    (folder / "frozen" / "encoder").symlink_to(encoder_folder("wav2vec2-layer"))

    run = [str(RECIPES / "quickstart.yaml"), *TINY, f"output_dir={folder / 'run'}"]
    printed = launch([str(SCRIPT), str(folder), *run], folder)
    (folder / "printed").write_text(printed, encoding="utf-8")
    return folder


def launch(command, folder):
    """What processes print that `accelerate launch` has started; had it started one, that would have been refused. The
    launcher itself is a fork of this process, which has imported all that it needs; what it starts is not."""
    options = ["--config_file", RECIPES / "accelerate" / "cpu.yaml", "--num_processes", 2, "--main_process_port", 0]

    def work():
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
        path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        os.environ |= {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        sys.argv = ["accelerate launch", *map(str, options), *command]
        accelerate_launch.main()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(timeout=600)
    if process.is_alive():
        process.terminate()
    assert process.exitcode == 0, (folder / "err").read_text(encoding="utf-8")[-3000:]
    return (folder / "out").read_text(encoding="utf-8")


def test_a_launcher_of_two_processes_writes_one_whole_run(folder):
    """The recipe's, by `ser_hf.train`."""
    assert (folder / "printed").read_text(encoding="utf-8").count("load it: pipeline(") == 1
    assert (folder / "run" / "report" / "report.json").is_file()


def curves_of(folder):
    """What each of the two measured."""
    return [json.loads((folder / f"curves_{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]


def test_they_train_and_judge_as_one(folder, store, tmp_path):
    """Synchronised batch normalisation included, and a last step that leaves one process fewer clips."""
    first, second = curves_of(folder / "ddp")
    assert_same(first["resumed"], first["whole"])
    for kind in ("crnn", "encoder"):
        measured = first[kind]
        model, extractor = load(folder / "ddp" / "models", kind)
        assert_same(measured, curves(model, extractor, store, kind, step_arguments(tmp_path / kind, STEP, 1)))
        assert second[kind]["weights"] == measured["weights"], "both processes end with the best checkpoint"
        assert second[kind]["eval_loss"] == measured["eval_loss"]


def test_they_thaw_as_one(folder, store):
    first, second = curves_of(folder / "thaw")
    _, alone = thaw(folder / "thaw", store, "alone", STEP)
    for way in ("plain", "checkpointed"):
        assert second[way]["weights"] == first[way]["weights"]
        for key, values in alone.items():
            assert first[way][key] == pytest.approx(values, rel=1e-4, abs=1e-6), (way, key)


def test_they_adapt_as_one(folder, store, encoder_folder, tmp_path):
    first, second = curves_of(folder / "lora")
    assert second["weights"] == first["weights"]
    model = stock_classifier(encoder_folder("wav2vec2-layer"), **CERTAIN)
    assert_same(first, adapted_curves(model, store, tmp_path / "one", STEP, 1)[0])


def test_they_build_a_store_of_what_is_frozen_once_and_learn_as_one(folder):
    """One store, built by one of them, and the losses of one process."""
    frozen = folder / "frozen"
    one, _ = train_frozen(frozen, "one", 4)
    first, second = (np.load(frozen / f"two-{rank}.npy") for rank in (0, 1))
    np.testing.assert_allclose(first, one, rtol=1e-4)
    np.testing.assert_array_equal(first, second)
    assert len(list((frozen / "two-cache" / "frozen").glob("*/states"))) == 1
    built = [path.read_text() for path in sorted(frozen.glob("two-*.log"))]
    assert sorted("found at" in text for text in built) == [False, True]


def test_what_they_count_is_summed(folder):
    for rank in range(2):
        first, second = torch.load(folder / f"counts_{rank}.pt")
        assert first.tolist() == [[2, 1, 0], [0, 0, 0], [0, 1, 0]]
        assert not second.any()


# Batch normalisation.


@pytest.fixture(scope="module")
def normalised(folder):
    """What each of the two found."""
    return [torch.load(folder / "batch_norm" / f"{rank}.pt") for rank in range(2)]


def _close(found, expected, what):
    """To the rounding of float32 sums: one process is 1.2e-6 of the largest gradient from what float64 finds."""
    atol = 5e-6 * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=0, atol=atol, msg=lambda text: f"{what}: {text}")


@pytest.mark.parametrize("case", list(CASES))
def test_two_halves_of_a_batch_are_normalised_as_the_whole(case, normalised):
    shares = CASES[case]
    whole = steps(shares[0] + shares[1])
    for rank, found in enumerate(normalised):
        begin = rank * len(shares[0])
        own = slice(begin, begin + len(shares[rank]))
        half = len(whole["clips"]) // 2
        expected = whole["clips"][:half][own] + whole["clips"][half:][own]
        for clip, (alone, together) in enumerate(zip(expected, found[case]["clips"], strict=True)):
            _close(together[0], alone[0], f"output of clip {clip}")
            _close(together[1], alone[1], f"gradient of clip {clip}")
        for part in ("gradients", "state"):
            assert set(found[case][part]) == set(whole[part])
            for name, value in whole[part].items():
                _close(found[case][part][name], value, f"{part} of {name}")


def test_stock_layers_become_those_of_torch_on_a_gpu_and_are_refused_elsewhere(normalised):
    for found in normalised:
        assert found["switched"] == 2
        assert found["kinds"] == ["Linear", "SyncBatchNorm"]
        assert found["kept"]
        assert found["refusals"] == [
            "training.sync_batch_norm: ModuleDict has torch's own batch normalization (encoder.1), which torch "
            f"synchronizes on GPUs only, not on {device!r}; set it to false"
            for device in ("cpu", "mps")
        ]


def test_every_process_gets_the_buffers_of_the_first(normalised):
    for found in normalised:
        buffers = found["buffers"]
        assert buffers["flags"].tolist() == [True, False]
        assert buffers["table"].tolist() == [[0, 3], [1, 4], [2, 5]]
        assert buffers["ours.running_mean"].tolist() == [1, 1, 1]
