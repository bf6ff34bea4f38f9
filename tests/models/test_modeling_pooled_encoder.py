"""The pooling head on each of transformers' speech encoders: real frames only, also in a pipeline
without ser_hf.
"""

from functools import partial

import numpy as np
import pytest
import torch
from built import probabilities_without_ser_hf
from support.close import assert_near
from support.testing import CHECKPOINTS
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from ser_hf.loading.encoders import mask_valid
from ser_hf.models import PooledEncoderConfig, PooledEncoderForAudioClassification
from ser_hf.models.modeling_pooled_encoder import shortest_waveform

WAVEFORMS = [
    name
    for name in CHECKPOINTS
    if name not in ("wav2vec2-bert", "whisper", "audio-spectrogram-transformer")
]
# What transformers makes and never uses, and positions that are not trained.
IDLE = {
    "wav2vec2-conformer": "encoder.encoder.pos_conv_embed.",
    "whisper": "encoder.embed_positions.",
}
# Models that a pipeline without ser_hf loads, and the number of clips it gets.
PUBLISHED = {
    "wav2vec2-stable": 3,
    "wav2vec2": 3,
    "wav2vec2-bert": 2,
    "whisper": 3,
    "audio-spectrogram-transformer": 2,
}


@pytest.fixture
def build(encoder_folder):
    """A fresh model on a kind of encoder in evaluation mode, and its extractor."""

    def built(name, options=None, **settings):
        encoder = AutoConfig.from_pretrained(encoder_folder(name))
        for key, value in (options or {}).items():
            setattr(encoder, key, value)
        for key in ("layerdrop", "encoder_layerdrop"):
            if hasattr(encoder, key):
                setattr(encoder, key, 0.0)
        extractor = AutoFeatureExtractor.from_pretrained(encoder_folder(name))
        extractor.return_attention_mask = True
        torch.manual_seed(0)
        model = PooledEncoderForAudioClassification(
            PooledEncoderConfig(encoder=encoder, num_labels=4, **settings)
        )
        return model.eval(), extractor

    return built


def clips(*lengths):
    generator = np.random.default_rng(0)
    return [(0.1 * generator.standard_normal(length)).astype(np.float32) for length in lengths]


def inputs_of(extractor, waveforms, **settings):
    settings |= {"sampling_rate": 16000, "return_tensors": "pt"}
    if extractor.model_input_names[0] == "input_values" and hasattr(extractor, "do_normalize"):
        settings |= {"padding": True}
    return extractor(waveforms, **settings)


@torch.no_grad()
def logits(model, extractor, waveforms):
    return model(**inputs_of(extractor, waveforms)).logits


@pytest.mark.parametrize("weighted", [False, True], ids=["last", "sum"])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_padding_changes_no_logit_where_the_mask_is_valid(build, name, weighted):
    model, extractor = build(
        name, pooling="attentive_stats", weighted_layer_sum=weighted, head_layers=[5]
    )
    several = clips(9000, 16000, 5000, 12345)
    together = logits(model, extractor, several)
    alone = torch.cat([logits(model, extractor, clip) for clip in several])
    assert together.std(dim=0).min() > 1e-6, "clips get different logits"
    same = torch.allclose(together, alone, rtol=0, atol=1e-5)
    # SEW's squeezed frames are within the padding or not, depending on the length.
    assert same or not mask_valid(model.config)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_parameter_gets_a_gradient(build, name):
    model, extractor = build(
        name, pooling="attention", weighted_layer_sum=True, head_layers=[5, 3], head_dropout=0.1
    )
    batch = inputs_of(extractor, clips(9000, 16000))
    model.train()(**batch, labels=torch.tensor([0, 3])).loss.backward()
    without = {key for key, parameter in model.named_parameters() if parameter.grad is None}
    idle = {
        key
        for key in without
        if key.startswith(IDLE.get(name, "-")) or key.endswith("masked_spec_embed")
    }
    assert without == idle


@pytest.mark.parametrize(
    "name", ["wav2vec2", "hubert", "distilhubert", "wavlm", "unispeech-sat", "sew"]
)
def test_encoders_trained_without_a_mask_get_none_and_padding_is_not_pooled(build, name):
    model, extractor = build(name, pooling="mean")
    seen = []
    model.encoder.register_forward_pre_hook(
        lambda _, args, given: seen.append(given), with_kwargs=True
    )
    batch = inputs_of(extractor, clips(9000, 16000))
    with torch.no_grad():
        answer = model(**batch).logits[0]
        frames = model.encoder(batch["input_values"]).last_hidden_state
        real = model.encoder._get_feat_extract_output_lengths(torch.tensor(9000))
        expected = model.classifier(frames[0, : int(real)].mean(dim=0))
    assert "attention_mask" not in seen[0]
    assert int(real) < frames.shape[1]
    assert_near(answer, expected)


@pytest.mark.parametrize("name", ["wav2vec2-layer", "wav2vec2-stable", "whisper", "wav2vec2-bert"])
def test_the_sum_of_layers_is_their_mean_at_first_and_any_of_them_later(build, name):
    model, extractor = build(name, pooling="mean", weighted_layer_sum=True)
    batch = inputs_of(extractor, clips(16000))
    with torch.no_grad():
        given = {model.main_input_name: batch[model.main_input_name]}
        outputs = model.encoder(**given, output_hidden_states=True)
        # The last one as the encoder returns it, after its norm.
        states = [*outputs.hidden_states[:-1], outputs.last_hidden_state]
        assert len(states) == 3
        assert_near(model(**given).logits, model.classifier(sum(states).mean(dim=1) / 3))
        model.layer_sum.weight.copy_(torch.tensor([0.0, 50.0, 0.0]))
        assert_near(model(**given).logits, model.classifier(states[1].mean(dim=1)))


@pytest.mark.parametrize("name", ["sew", "sew-d"])
def test_layers_that_see_every_other_frame_are_brought_back_to_all(build, name):
    model, extractor = build(name, pooling="max", weighted_layer_sum=True)
    batch = inputs_of(extractor, clips(16320))["input_values"]
    with torch.no_grad():
        # the last layer, which the encoder returns
        model.layer_sum.weight.copy_(torch.tensor([0.0, 0.0, 50.0]))
        frames = model.encoder(batch).last_hidden_state
        assert frames.shape[1] == 51, "odd: one more than the layers' frames make"
        assert_near(model(batch).logits, model.classifier(frames.amax(dim=1)))


@torch.no_grad()
def test_special_tokens_are_not_pooled(build):
    model, extractor = build("audio-spectrogram-transformer", pooling="mean")
    batch = inputs_of(extractor, clips(9000, 16000))
    tokens = model.encoder(batch["input_values"]).last_hidden_state
    assert_near(model(**batch).logits, model.classifier(tokens[:, 2:].mean(dim=1)))


@torch.no_grad()
def test_whisper_s_silence_is_not_pooled_however_the_mask_counts(build):
    model, extractor = build("whisper", pooling="mean")
    by_sample = inputs_of(extractor, clips(4000, 9001))
    by_frame = inputs_of(extractor, clips(4000, 9001), return_attention_mask=True)
    assert by_sample["attention_mask"].shape == (2, 16000)
    assert by_frame["attention_mask"].shape == (2, 100)
    frames = model.encoder(by_frame["input_features"]).last_hidden_state
    # A position is 320 samples; the last one of a clip is real if it begins within it.
    expected = torch.stack([frames[0, :13].mean(dim=0), frames[1, :29].mean(dim=0)])
    for batch in (by_sample, by_frame):
        assert_near(model(**batch).logits, model.classifier(expected))
    everything = model(input_features=by_frame["input_features"]).logits
    assert_near(everything, model.classifier(frames.mean(dim=1)))


@pytest.mark.parametrize("name", WAVEFORMS)
def test_clips_too_short_for_a_frame_are_followed_by_silence(build, name):
    model, _ = build(name, pooling="attentive_stats")
    least = shortest_waveform(model.config.encoder)
    short = torch.randn(1, least - 1)
    mask = torch.ones(1, least - 1, dtype=torch.long)
    with torch.no_grad():
        padded = model(torch.nn.functional.pad(short, (0, 1))).logits
        assert_near(model(short).logits, padded)
        assert_near(model(short, attention_mask=mask).logits, padded)
        if mask_valid(model.config):  # beside a longer clip, which has silence added to it
            beside = torch.stack(
                [torch.nn.functional.pad(short[0], (0, 4001)), torch.randn(least + 4000)]
            )
            mask = torch.ones(2, least + 4000, dtype=torch.long)
            mask[0, least - 1 :] = 0
            assert_near(model(beside, attention_mask=mask).logits[:1], padded)
        with pytest.raises(RuntimeError):
            model.encoder(torch.randn(1, least // 4))


def test_only_waveforms_have_a_shortest():
    assert shortest_waveform(AutoConfig.for_model("whisper")) is None
    assert shortest_waveform(AutoConfig.for_model("wav2vec2")) == 400, "the receptive field, 25 ms"
    squeezed = AutoConfig.for_model(
        "sew", conv_kernel=(10, 3), conv_stride=(5, 2), conv_dim=(8, 8), squeeze_factor=2
    )
    assert shortest_waveform(squeezed) == (5 - 1) * 5 + 10, "two frames, of five of the first layer"


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_saved_and_loaded_it_is_the_same(build, name, tmp_path):
    settings = {
        "pooling": "attention",
        "weighted_layer_sum": True,
        "head_layers": [5],
        "head_dropout": 0.2,
    }
    model, extractor = build(name, **settings)
    with torch.no_grad():
        model.layer_sum.weight.copy_(torch.tensor([1.0, -1.0, 0.5]))
    model.save_pretrained(tmp_path)
    again = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert type(again) is PooledEncoderForAudioClassification
    assert type(again.config.encoder) is type(model.config.encoder)
    assert {key: getattr(again.config, key) for key in settings} == settings
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    assert "attn_implementation" not in (tmp_path / "config.json").read_text(encoding="utf-8")
    assert again.main_input_name == extractor.model_input_names[0]


@pytest.fixture(scope="module")
def published(encoder_folder, tmp_path_factory):
    """By kind of input: the probabilities of saved models for clips, one of a few samples, and
    those of `pipeline` without ser_hf, single and in a batch."""
    folder = tmp_path_factory.mktemp("hub")
    waveforms = clips(9000, 16000, 30)
    expected = {}
    for name, count in PUBLISHED.items():
        extractor = AutoFeatureExtractor.from_pretrained(encoder_folder(name))
        extractor.return_attention_mask = True
        encoder = AutoConfig.from_pretrained(encoder_folder(name))
        config = PooledEncoderConfig(
            encoder=encoder, pooling="mean_std", head_layers=[5], num_labels=4
        )
        torch.manual_seed(0)
        model = PooledEncoderForAudioClassification(config).eval()
        model.save_pretrained(folder / name)
        extractor.save_pretrained(folder / name)
        expected[name] = [
            logits(model, extractor, clip).softmax(dim=1)[0].tolist() for clip in waveforms[:count]
        ]
    return expected, probabilities_without_ser_hf(folder, waveforms, PUBLISHED), folder


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_pipeline_without_ser_hf_gives_the_same(published, name):
    expected, predictions, _ = published
    # torchaudio is hidden there, whose filter bank differs a little from the one that transformers
    # then uses.
    tolerance = 1e-3 if name == "audio-spectrogram-transformer" else 1e-6
    # The group normalization of wav2vec2 sees padding in a batch.
    for probabilities in predictions[name][: 1 if name == "wav2vec2" else 2]:
        np.testing.assert_allclose(probabilities, expected[name], rtol=0, atol=tolerance)


@pytest.mark.slow
def test_published_code_is_that_of_the_model_only(published):
    code = sorted(path.name for path in (published[2] / "whisper").glob("*.py"))
    assert code == [
        "configuration.py",
        "layers.py",
        "modeling_emotion2vec.py",
        "modeling_pooled_encoder.py",
        "options.py",
        "target_heads.py",
    ]


def test_gradient_checkpointing_changes_no_gradient(build):
    gradients = []
    for checkpointing in (False, True):
        model, extractor = build("wav2vec2-layer", {"mask_time_prob": 0.0}, weighted_layer_sum=True)
        if checkpointing:
            model._set_gradient_checkpointing(
                gradient_checkpointing_func=partial(checkpoint, use_reentrant=False)
            )
            assert any(
                getattr(module, "gradient_checkpointing", False) for module in model.modules()
            )
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        for layer in model.encoder.encoder.layers:
            layer.attention.dropout = 0.0
        batch = inputs_of(extractor, clips(9000, 16000))
        model.train()(**batch, labels=torch.tensor([0, 3])).loss.backward()
        gradients.append({key: parameter.grad for key, parameter in model.named_parameters()})
    for key, value in gradients[0].items():
        if value is not None:
            torch.testing.assert_close(gradients[1][key], value, msg=key)
