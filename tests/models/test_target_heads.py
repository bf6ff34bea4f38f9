"""Heads for ratings and auxiliary targets on the networks of ser_hf and on encoders."""

import pytest
import torch
from support.testing import tiny_config
from transformers import Wav2Vec2Config

from ser_hf.models import ARCHITECTURES, PooledEncoderConfig, PooledEncoderForAudioClassification
from ser_hf.models.target_heads import TargetsOutput, auxiliary_targets, dimension_names
from ser_hf.training.targets import without_auxiliary

TARGETS = {
    "dimension_names": ["arousal", "valence"],
    "auxiliary_targets": {"sex": ["female", "male"], "age_group": ["young", "old", "older"]},
}
WAVEFORMS = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))


def pooled(**targets):
    encoder = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=[8] * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    return PooledEncoderForAudioClassification(
        PooledEncoderConfig(encoder=encoder, num_labels=3, **targets)
    ).eval()


def network(**targets):
    config = tiny_config("crnn", labels=3)
    for key, value in targets.items():
        setattr(config, key, value)
    return ARCHITECTURES["crnn"](config).eval()


@pytest.mark.parametrize("build", [pooled, network])
def test_each_target_has_a_head_on_the_same_vector(build):
    model = build(**TARGETS)
    vectors = []
    model.classifier.register_forward_pre_hook(lambda module, inputs: vectors.append(inputs[0]))
    with torch.no_grad():
        output = model(WAVEFORMS)
        (vector,) = vectors
        torch.testing.assert_close(output.ratings, model.rating_head(vector))
        torch.testing.assert_close(output.auxiliary, model.auxiliary_head(vector))
    assert isinstance(output, TargetsOutput)
    assert output.logits.shape == (2, 3)
    assert output[0] is output.logits, "pipeline uses the first output"
    assert output.auxiliary.shape == (2, 5)


@pytest.mark.parametrize("build", [pooled, network])
def test_a_model_with_one_target_has_no_further_head(build):
    model = build()
    names = {name.partition(".")[0] for name, _ in model.named_parameters()}
    assert not names & {"rating_head", "auxiliary_head"}
    assert not isinstance(model(WAVEFORMS), TargetsOutput)
    assert dimension_names(model.config) == []
    assert auxiliary_targets(model.config) == {}


@pytest.mark.parametrize("build", [pooled, network])
def test_a_saved_model_keeps_the_ratings_and_loses_auxiliary_targets(build, tmp_path):
    model = build(**TARGETS)
    with without_auxiliary(model):
        model.save_pretrained(tmp_path)
    assert model.auxiliary_head is not None
    loaded, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert dimension_names(loaded.config) == ["arousal", "valence"]
    assert auxiliary_targets(loaded.config) == {}
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.eval()(WAVEFORMS).ratings, model(WAVEFORMS).ratings, rtol=1e-4, atol=1e-5
        )


def test_a_classifier_without_a_linear_layer_is_refused():
    config = tiny_config("mfcc_svm", labels=3)
    config.dimension_names = ["arousal"]
    with pytest.raises(ValueError, match="linear classifier"):
        ARCHITECTURES["mfcc_svm"](config)
