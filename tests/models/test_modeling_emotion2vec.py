"""emotion2vec: padding changes nothing, and every setting does what it says."""

import json

import pytest
import soundfile
import torch
from signals import noise
from support.isolated import run_without_ser_hf
from support.testing import tiny_encoder_config
from transformers import AutoModelForAudioClassification, Wav2Vec2FeatureExtractor, pipeline

from ser_hf.models import Emotion2vecForAudioClassification, PooledEncoderForAudioClassification
from ser_hf.models.modeling_emotion2vec import Emotion2vecConfig, alibi_slopes
from ser_hf.models.modeling_pooled_encoder import PooledEncoderConfig


def build(**settings):
    torch.manual_seed(0)
    config = tiny_encoder_config("ser_emotion2vec", num_labels=3, **settings)
    model = Emotion2vecForAudioClassification(config).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"do_stable_layer_norm": True}, {"alibi_scale_per_layer": True}, {"standardize": False}],
    ids=["published", "norm first", "scale per layer", "not standardized"],
)
@torch.no_grad()
def test_hidden_states_of_a_padded_clip_are_those_of_the_clip(settings, attention):
    model = build(**settings).emotion2vec
    model.set_attn_implementation(attention)
    clips = [noise(samples, seed=samples)[0] for samples in (9000, 6100, 4000)]
    batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=7.0)
    mask = torch.arange(batch.shape[1]) < torch.tensor([len(clip) for clip in clips])[:, None]
    together = model(batch, mask.long(), output_hidden_states=True)
    for i, clip in enumerate(clips):
        alone = model(clip[None], output_hidden_states=True)
        for state, other in zip(together.hidden_states, alone.hidden_states, strict=True):
            torch.testing.assert_close(state[i, : other.shape[1]], other[0], atol=1e-5, rtol=0)


@torch.no_grad()
def test_both_implementations_of_attention_agree():
    model = build()
    clip = noise(8000)
    logits = model(clip).logits
    model.set_attn_implementation("eager")
    torch.testing.assert_close(model(clip).logits, logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_level_of_a_recording_changes_nothing_where_clips_are_standardized():
    clip = noise(8000)
    model = build()
    torch.testing.assert_close(
        model(0.5 * clip + 0.1).logits, model(clip).logits, atol=1e-4, rtol=0
    )


def test_distance_lowers_attention_by_the_slopes_of_the_heads():
    assert alibi_slopes(8) == [2**-exponent for exponent in range(1, 9)]
    # The published number of heads: those of 8 heads, then every second one of 16 heads.
    assert alibi_slopes(12)[8:] == [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    encoder = build(num_extra_tokens=2).emotion2vec.encoder
    bias = encoder._distance_bias(torch.zeros(1, 5, 16))[0, 1]
    slope = alibi_slopes(2)[1]
    assert not bias[:2].any()
    assert not bias[:, :2].any()
    torch.testing.assert_close(bias[2, 2:], torch.tensor([0.0, -slope, -2 * slope]))


def test_training_hides_frames_and_drops_layers_only_where_set():
    clip = noise(8000)
    still = {
        "feat_proj_dropout": 0.0,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "apply_spec_augment": False,
    }
    model = build(**still)
    expected = model(clip).logits
    torch.testing.assert_close(model.train()(clip).logits, expected)
    for settings in ({"apply_spec_augment": True, "mask_time_prob": 0.9}, {"layerdrop": 0.99}):
        changed = build(**still | settings).train()
        assert not torch.allclose(changed(clip).logits, expected)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"hidden_dropout": 1.5}, "hidden_dropout"),
        ({"num_attention_heads": 5}, "num_attention_heads"),
        ({"num_conv_pos_groups": 7}, "num_conv_pos_groups"),
        ({"conv_kernel": [10, 3]}, "conv_dim"),
    ],
)
def test_a_wrong_size_is_refused_by_its_name(settings, key):
    with pytest.raises(ValueError, match=f"^{key}: "):
        Emotion2vecConfig(**settings)


@pytest.mark.slow
@pytest.mark.parametrize("pooled", [False, True], ids=["published head", "pooling head"])
def test_a_pipeline_without_ser_hf_gives_the_same(pooled, tmp_path):
    if pooled:
        config = PooledEncoderConfig(
            encoder=tiny_encoder_config("ser_emotion2vec"),
            pooling="attentive_stats",
            weighted_layer_sum=True,
            num_labels=3,
        )
        torch.manual_seed(0)
        model = PooledEncoderForAudioClassification(config)
    else:
        model = build()
    model.save_pretrained(tmp_path / "model")
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    extractor.save_pretrained(tmp_path / "model")
    clip = noise(9000)[0].numpy()
    soundfile.write(tmp_path / "clip.wav", clip, 16000, subtype="FLOAT")
    printed = run_without_ser_hf(
        "import json, soundfile\n"
        "from transformers import pipeline\n"
        "found = pipeline('audio-classification', model='model', trust_remote_code=True)\n"
        "print(json.dumps(found(soundfile.read('clip.wav', dtype='float32')[0], top_k=None)))",
        tmp_path,
    )
    here = pipeline("audio-classification", model=str(tmp_path / "model"), device="cpu")
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path / "model")
    assert type(here.model) is type(loaded) is type(model)
    expected = {row["label"]: row["score"] for row in here(clip, top_k=None)}
    scores = {row["label"]: row["score"] for row in json.loads(printed.splitlines()[-1])}
    assert scores == pytest.approx(expected, abs=1e-5)
