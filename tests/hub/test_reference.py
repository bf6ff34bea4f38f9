"""Reference clips of a run, and their logits in the training process."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from support.close import assert_near
from support.testing import tiny_config
from transformers import Wav2Vec2FeatureExtractor

import ser_hf
from ser_hf.evaluation.probabilities import softmax
from ser_hf.hub.verify import verify
from ser_hf.inference.reference import (
    chosen_clips,
    compute_logits,
    copy_reference,
    read_reference,
    write_reference,
)
from ser_hf.models import ARCHITECTURES
from ser_hf.models.preparation import Preparation
from ser_hf.report.report import read_report
from ser_hf.utils.errors import UserError
from ser_hf.utils.run_folder import RunFolder

UNPREPARED = Preparation()
CORPUS = {"name": "synthetic", "speakers": 6, "takes": 1}
PROTOCOL = {"validation": 0.2, "test": 0.2, "near_duplicates": "skip"}
COMMON = {"corpus": CORPUS, "protocol": PROTOCOL, "evaluation": {"bootstrap": 20}}


def test_clips_are_of_different_lengths_and_none_is_too_long():
    lengths = [30, 10, 20, 10, 90, 40, 25]
    assert chosen_clips(lengths, 50, 3) == [1, 6, 5]
    assert chosen_clips(lengths, 50) == [1, 2, 0, 5]
    assert chosen_clips(lengths, 5) == [1, 6, 0, 4], (
        "where all are too long they are cut, and so chosen from"
    )
    assert chosen_clips([10, 10], 50) == [0]


def written(path, model, *clips, preparation=UNPREPARED):
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    write_reference(
        path, clips, compute_logits(model, extractor, preparation, clips), extractor.sampling_rate
    )
    return np.load(path)["logits"]


def test_logits_are_those_of_evaluation_in_float32(tmp_path):
    torch.manual_seed(0)
    model = ARCHITECTURES["crnn"](tiny_config("crnn", dropout=0.9))
    generator = np.random.default_rng(0)
    clips = [
        (0.1 * generator.standard_normal(length)).astype(np.float32) for length in (8000, 12000)
    ]
    with torch.no_grad():
        expected = [model.eval()(torch.from_numpy(clip)[None]).logits[0].numpy() for clip in clips]
    # What Accelerate does to a model that trains in bfloat16.
    exact = model.forward
    model.forward = torch.autocast("cpu", torch.bfloat16)(exact)
    assert model(torch.from_numpy(clips[0])[None]).logits.dtype == torch.bfloat16
    model.train()
    kinds = (torch.backends, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    precisions = []
    before = [kind.fp32_precision for kind in kinds]
    model.classifier.register_forward_hook(
        lambda *_: precisions.extend(kind.fp32_precision for kind in kinds)
    )
    logits = written(tmp_path / "reference.npz", model, *clips)
    assert_near(logits, expected)
    assert logits.dtype == np.float32
    assert model.training, "it is left as it was"
    assert precisions == 2 * len(kinds) * ["ieee"], "TF32 is cuDNN's habit"
    assert [kind.fp32_precision for kind in kinds] == before
    assert [path.name for path in tmp_path.iterdir()] == ["reference.npz"]


def test_a_clip_is_prepared_and_kept_as_it_was(tmp_path):
    torch.manual_seed(0)
    model = ARCHITECTURES["crnn"](tiny_config("crnn"))
    clip = np.concatenate(
        [np.zeros(8000), 0.1 * np.random.default_rng(0).standard_normal(8000)]
    ).astype(np.float32)
    trimmed = written(
        tmp_path / "reference.npz", model, clip, preparation=Preparation(trim_silence=30.0)
    )
    clips, logits = read_reference(tmp_path)
    np.testing.assert_array_equal(clips[0], clip)
    assert_near(logits, trimmed)
    assert not np.allclose(written(tmp_path / "plain.npz", model, clip), trimmed, atol=1e-5)


def test_a_missing_or_damaged_reference_names_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"reference\.npz: missing; .*ser-hf reproduce"):
        read_reference(tmp_path)
    for damaged in (b"", b"PK\x03\x04 cut off"):
        (tmp_path / "reference.npz").write_bytes(damaged)
        with pytest.raises(UserError, match=r"reference\.npz: damaged"):
            read_reference(tmp_path)


def test_an_old_reference_is_replaced_with_the_model(tmp_path):
    (tmp_path / "old.npz").write_bytes(b"old")
    copy_reference(tmp_path / "none.npz", tmp_path / "old.npz")
    assert not (tmp_path / "old.npz").exists()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, encoder_folder):
    """Runs by name.

    One with two seeds and a stored temperature, a classical one on prepared clips, and one with
    adapters.
    """
    base = tmp_path_factory.mktemp("runs")
    mlp = {"architecture": "mfcc_mlp", "n_mels": 32, "n_mfcc": 8, "hidden": [16]}
    sections_of_run = {
        "seeds": {
            "model": mlp,
            "training": {"num_train_epochs": 2, "learning_rate": 3e-3, "seeds": [1, 2]},
            "evaluation": {"bootstrap": 20, "temperature": "store"},
        },
        "classical": {
            "model": {"architecture": "mfcc_linear", "n_mels": 32, "n_mfcc": 8},
            "audio": {"trim_silence": 30.0, "level": "peak"},
            "training": {"solver": "sklearn"},
        },
        "adapted": {
            "model": {
                "architecture": "encoder",
                "checkpoint": str(encoder_folder("wav2vec2-layer")),
            },
            "lora": {"rank": 2},
            "training": {"max_steps": 3, "per_device_train_batch_size": 4, "precision": "bf16"},
        },
    }
    for name, sections in sections_of_run.items():
        ser_hf.run_recipe({"name": name, **COMMON, **sections}, [f"output_dir={base / name}"])
    return base


@pytest.mark.slow
def test_a_run_keeps_the_clips_and_logits_of_its_own_model(runs):
    for name in ("seeds", "classical", "adapted"):
        clips, logits = read_reference(runs / name)
        assert logits.shape == (4, 6)
        assert np.isfinite(logits).all()
        assert len({len(clip) for clip in clips}) == 4
        assert all(clip.dtype == np.float32 and 0 < len(clip) <= 160000 for clip in clips)
        assert not list((runs / name / "model").rglob("*.npz")), "it is not published"
        assert not list((runs / name).glob("*.partial"))
    chosen = read_report(RunFolder(runs / "seeds").report / "report.json").chosen_seed
    both = {seed: read_reference(runs / "seeds" / f"seed-{seed}")[1] for seed in (1, 2)}
    np.testing.assert_array_equal(read_reference(runs / "seeds")[1], both[chosen])
    assert not np.allclose(both[1], both[2])


@pytest.mark.slow
def test_the_logits_give_the_probabilities_of_the_final_evaluation(runs):
    for name in ("seeds/seed-1", "classical"):
        _, logits = read_reference(runs / name)
        table = pq.read_table(
            runs / name / "report" / "predictions.parquet", filters=[("part", "=", "test")]
        )
        saved = np.stack(
            [table[key].to_numpy() for key in table.column_names if key.startswith("p_")], axis=1
        )
        for clip_probabilities in softmax(logits):
            assert np.abs(saved - clip_probabilities).max(axis=1).min() < 1e-5


@pytest.mark.slow
def test_the_published_model_is_the_trained_one(runs, forked, tmp_path):
    other = {1: 2, 2: 1}[read_report(RunFolder(runs / "seeds").report / "report.json").chosen_seed]
    swapped = shutil.copytree(runs / "seeds", tmp_path / "swapped")
    shutil.rmtree(swapped / "model")
    shutil.copytree(runs / "seeds" / f"seed-{other}" / "model", swapped / "model")
    places = [runs / "seeds", runs / "classical" / "model", runs / "adapted", swapped]
    *same, another = (verify(place) for place in places)
    for verdict in same:
        assert verdict.good, str(verdict)
        assert verdict.clips == 4
        assert verdict.largest_difference < 1e-4
    assert same[1].front_end == "PreparedFeatureExtractor"
    (problem,) = another.problems
    assert problem.endswith("on the same clips: it is not the evaluated model.")
