"""Whisper with a shorter input: its positions, its published folder, and wrong windows."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.testing import write_checkpoint
from transformers import pipeline
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_hf.loading.build import build_model
from ser_hf.loading.encoders import longest_clip
from ser_hf.loading.plan import blueprint
from ser_hf.utils.errors import UserError

LABELS = ["angry", "happy", "sad"]
HEADS = pytest.mark.parametrize(
    "head", [{}, {"pooling": "attentive_stats", "weighted_layer_sum": True}]
)


@pytest.fixture
def three_seconds(tmp_path):
    """A tiny Whisper of three seconds whose position vectors are not the usual ones, and these
    vectors.
    """
    folder = write_checkpoint(tmp_path / "whisper", "whisper", max_source_positions=150)
    tensors = load_file(folder / "model.safetensors")
    [name] = [name for name in tensors if name.endswith("encoder.embed_positions.weight")]
    tensors[name] = torch.randn(150, 16, generator=torch.Generator().manual_seed(0))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return str(folder), tensors[name]


def encoder(model):
    return next(module for module in model.modules() if isinstance(module, WhisperEncoder))


@HEADS
@pytest.mark.parametrize("seconds", [1, 2, 3])
def test_the_first_positions_are_kept_and_the_folder_predicts_the_same(
    three_seconds, head, seconds, tmp_path
):
    folder, positions = three_seconds
    plan = blueprint("encoder", LABELS, checkpoint=folder, window=seconds, **head)
    assert longest_clip(plan.config, plan.extractor) == 16000 * seconds
    model = build_model(plan).eval()
    assert torch.equal(encoder(model).embed_positions.weight, positions[: 50 * seconds])

    clip = np.random.default_rng(0).standard_normal(12000).astype(np.float32) * 0.1
    inputs = plan.extractor(clip, sampling_rate=16000, return_tensors="pt")
    assert inputs["input_features"].shape[-1] == 100 * seconds
    with torch.no_grad():
        expected = model(**inputs).logits[0].softmax(dim=0)
    model.save_pretrained(tmp_path / "saved")
    plan.published_extractor.save_pretrained(tmp_path / "saved")
    published = pipeline(
        "audio-classification", model=str(tmp_path / "saved"), trust_remote_code=True
    )
    scores = {one["label"]: one["score"] for one in published(clip, top_k=None)}
    assert [scores[label] for label in LABELS] == pytest.approx(expected.tolist(), abs=1e-5)

    again = build_model(blueprint("encoder", LABELS, checkpoint=str(tmp_path / "saved"), **head))
    assert torch.equal(encoder(again).embed_positions.weight, positions[: 50 * seconds])


def test_a_window_that_does_not_fit_is_refused(three_seconds, encoder_folder):
    with pytest.raises(
        UserError, match=r"^model\.window: the checkpoint takes 3 s, got 4; use less"
    ):
        blueprint("encoder", LABELS, checkpoint=three_seconds[0], window=4)
    with pytest.raises(UserError, match=r"^model\.window: .*wavlm"):
        blueprint("encoder", LABELS, checkpoint=str(encoder_folder("wavlm")), window=4)
