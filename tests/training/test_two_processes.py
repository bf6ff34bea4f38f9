"""Two processes train, judge, normalise and count as one would. They are started once, for all of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from batch_norm_script import CASES, steps
from ddp_script import ENCODER as CERTAIN
from ddp_script import STEP, curves, load, step_arguments, write_models
from lora_script import adapted_curves, stock_classifier
from test_gradients import assert_same
from thaw_script import thaw

from ser_hf.training.build import blueprint, build_model
from ser_hf.training.machine import seed_everything

SCRIPT = Path(__file__).with_name("processes_script.py")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(store, checkpoint, encoder_folder, tmp_path_factory):
    """What the scripts read, and after them what they wrote."""
    folder = tmp_path_factory.mktemp("processes")
    for name in ("ddp", "thaw", "lora", "batch_norm"):
        (folder / name).mkdir()
        (folder / name / "store").symlink_to(store.folder)
    write_models(folder / "ddp" / "models", checkpoint("wav2vec2", "layer"))
    plan = blueprint("encoder", ["angry", "happy", "neutral", "sad"], checkpoint=checkpoint(), options=CERTAIN)
    seed_everything(0)
    build_model(plan).save_pretrained(folder / "thaw" / "models" / "encoder")
    plan.extractor.save_pretrained(folder / "thaw" / "models" / "encoder")
    stock_classifier(encoder_folder("wav2vec2-layer"), **CERTAIN).save_pretrained(folder / "lora" / "model")

    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, SCRIPT, folder],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


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
            "training.sync_batch_norm: ModuleDict has torch's own batch normalisation (encoder.1), which torch "
            f"synchronises on GPUs only, not on {device!r}; set it to false"
            for device in ("cpu", "mps")
        ]


def test_every_process_gets_the_buffers_of_the_first(normalised):
    for found in normalised:
        buffers = found["buffers"]
        assert buffers["flags"].tolist() == [True, False]
        assert buffers["table"].tolist() == [[0, 3], [1, 4], [2, 5]]
        assert buffers["ours.running_mean"].tolist() == [1, 1, 1]
