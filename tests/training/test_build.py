"""Blueprints and models: our own networks, real architectures in tiny, and every mistake told before training."""

import json
import logging
import shutil

import pytest
import torch
import transformers
from transformers import AutoConfig, BertConfig

from ser_hf.errors import UserError
from ser_hf.models import CRNNForAudioClassification
from ser_hf.training.build import blueprint, build_model

KINDS = [("wav2vec2", "group"), ("wav2vec2", "layer"), ("hubert", "group"), ("wavlm", "layer")]


def test_the_crnn_follows_recipe_and_rate(labels):
    plan = blueprint("crnn", labels, sampling_rate=8000, normalize=True, options={"lstm_hidden": 7})
    assert plan.config.sampling_rate == plan.extractor.sampling_rate == 8000
    assert plan.config.lstm_hidden == 7
    assert plan.config.id2label == dict(enumerate(labels))
    assert plan.extractor.do_normalize
    assert plan.extractor.return_attention_mask
    assert plan.padding_safe
    assert type(build_model(plan)) is CRNNForAudioClassification


def test_our_networks_hear_loudness_unless_told_otherwise(labels):
    assert blueprint("crnn", labels).extractor.do_normalize is False


def test_an_impossible_network_is_told(labels):
    with pytest.raises(UserError, match="model: channels, time_pooling and band_pooling"):
        blueprint("crnn", labels, options={"channels": [4]})


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_mask_goes_to_the_encoders_that_learnt_with_one(checkpoint, labels, kind):
    plan = blueprint("encoder", labels, checkpoint=checkpoint(*kind))
    assert plan.padding_safe is plan.extractor.return_attention_mask is (kind[1] == "layer")
    assert plan.config.model_type == kind[0]


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_encoders_load_whole_with_a_new_head(checkpoint, labels, kind):
    transformers.set_seed(0)
    model = build_model(blueprint("encoder", labels, checkpoint=checkpoint(*kind)))
    original = transformers.AutoModel.from_pretrained(checkpoint(*kind))
    for name, value in original.state_dict().items():
        assert torch.equal(model.base_model.state_dict()[name], value), name
    assert model.classifier.out_features == len(labels)
    assert model.config.id2label == dict(enumerate(labels))
    assert model.config.label2id["sad"] == 3


@torch.no_grad()
def test_a_padding_safe_encoder_answers_as_for_the_clip_alone(checkpoint, labels, store):
    plan = blueprint("encoder", labels, checkpoint=checkpoint("wav2vec2", "layer"))
    model, settings = build_model(plan).eval(), {"sampling_rate": 16000, "return_tensors": "pt"}
    clips = [store[row] for row in range(4)]
    batched = model(**plan.extractor(clips, padding=True, **settings)).logits
    alone = torch.cat([model(**plan.extractor(clip, **settings)).logits for clip in clips])
    torch.testing.assert_close(batched, alone, rtol=0, atol=1e-5)


def test_normalize_overrules_the_checkpoints_habit(checkpoint, labels):
    assert blueprint("encoder", labels, checkpoint=checkpoint()).extractor.do_normalize is True
    assert blueprint("encoder", labels, checkpoint=checkpoint(), normalize=False).extractor.do_normalize is False


def test_options_reach_the_configuration(checkpoint, labels):
    plan = blueprint("encoder", labels, checkpoint=checkpoint(), options={"mask_time_prob": 0.25})
    assert build_model(plan).config.mask_time_prob == 0.25


def test_an_unknown_option_names_its_key(checkpoint, labels):
    with pytest.raises(UserError, match=r"model\.lstm_hidden: the configuration of .* \(wav2vec2\) has no such key"):
        blueprint("encoder", labels, checkpoint=checkpoint(), options={"lstm_hidden": 3})


def test_another_sampling_rate_is_refused(checkpoint, labels):
    with pytest.raises(UserError, match=r"audio\.sampling_rate: .* expects 16000 Hz, the recipe says 8000"):
        blueprint("encoder", labels, checkpoint=checkpoint(), sampling_rate=8000)


def test_a_missing_folder_is_told_in_one_line(tmp_path, labels):
    with pytest.raises(UserError, match=r"^model\.checkpoint: .*nowhere cannot be loaded: [^\n]+$"):
        blueprint("encoder", labels, checkpoint=str(tmp_path / "nowhere"))


def test_a_text_model_is_refused(tmp_path, labels):
    BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"model\.checkpoint: no audio classifier in transformers for bert"):
        blueprint("encoder", labels, checkpoint=str(tmp_path))


@pytest.mark.parametrize("random_init", [False, True])
def test_another_architectures_weights_are_refused(checkpoint, tmp_path, labels, random_init):
    """WavLM weights fit a wav2vec2 class but for the gates of its attention, and would load with a warning."""
    folder = shutil.copytree(checkpoint("wavlm", "layer"), tmp_path / "edited")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "wav2vec2", "architectures": ["Wav2Vec2Model"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    plan = blueprint("encoder", labels, checkpoint=str(folder), random_init=random_init)
    if random_init:
        assert type(build_model(plan)).__name__ == "Wav2Vec2ForSequenceClassification"
        return
    with pytest.raises(UserError, match=r"model\.checkpoint: .* does not fit Wav2Vec2ForSequenceClassification: \d+ "):
        build_model(plan)


def test_random_init_takes_the_configuration_only(checkpoint, labels):
    plan = blueprint("encoder", labels, checkpoint=checkpoint(), random_init=True)
    first, second = [(transformers.set_seed(seed), build_model(plan))[1].state_dict() for seed in (1, 2)]
    stored = transformers.AutoModel.from_pretrained(checkpoint()).state_dict()
    name = "encoder.layers.0.attention.q_proj.weight"
    assert not torch.equal(first[f"wav2vec2.{name}"], stored[name])
    assert not torch.equal(first[f"wav2vec2.{name}"], second[f"wav2vec2.{name}"])


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_the_weighted_sum_starts_uniform(checkpoint, labels, kind):
    """Several times over: uninitialised memory may look right once."""
    plan = blueprint("encoder", labels, checkpoint=checkpoint(*kind), weighted_layer_sum=True)
    for _ in range(5):
        weights = build_model(plan).layer_weights
        torch.testing.assert_close(weights.detach(), torch.full((3,), 1 / 3))
        assert weights.requires_grad


def test_trained_layer_weights_are_kept(checkpoint, labels, tmp_path):
    model = build_model(blueprint("encoder", labels, checkpoint=checkpoint(), weighted_layer_sum=True))
    model.layer_weights.data.copy_(torch.tensor([0.5, -1.0, 2.0]))
    model.save_pretrained(tmp_path)
    again = build_model(blueprint("encoder", labels, checkpoint=str(tmp_path), weighted_layer_sum=True))
    assert again.layer_weights.tolist() == [0.5, -1.0, 2.0]


def test_a_head_of_other_labels_is_replaced(checkpoint, labels, tmp_path):
    build_model(blueprint("encoder", labels, checkpoint=checkpoint())).save_pretrained(tmp_path)
    model = build_model(blueprint("encoder", labels[:2], checkpoint=str(tmp_path)))
    assert model.classifier.out_features == 2
    assert model.classifier.weight.isfinite().all()


def test_without_an_extractor_the_stock_one_serves(checkpoint, labels, tmp_path, caplog):
    AutoConfig.from_pretrained(checkpoint("hubert", "group")).save_pretrained(tmp_path)
    with caplog.at_level(logging.INFO, "ser_hf"):
        plan = blueprint("encoder", labels, checkpoint=str(tmp_path), random_init=True)
    assert "has no feature extractor" in caplog.text
    assert plan.extractor.do_normalize is False
    assert plan.extractor.return_attention_mask is False


def test_a_fresh_head_is_told(checkpoint, labels, caplog):
    with caplog.at_level(logging.INFO, "ser_hf"):
        build_model(blueprint("encoder", labels, checkpoint=checkpoint()))
    assert "random head" in caplog.text
    assert "classifier, projector" in caplog.text


def test_spec_augment_may_be_switched_off_in_a_checkpoint_that_learnt_with_it(checkpoint, labels, tmp_path):
    build_model(blueprint("encoder", labels, checkpoint=checkpoint())).save_pretrained(tmp_path)
    model = build_model(blueprint("encoder", labels, checkpoint=str(tmp_path), options={"mask_time_prob": 0.0}))
    assert not hasattr(model.base_model, "masked_spec_embed")


def test_spec_augment_may_be_switched_on_in_a_checkpoint_that_learnt_without(checkpoint, labels, tmp_path):
    """The mask embedding is then new, and must not be uninitialised memory."""
    off, on = {"mask_time_prob": 0.0}, {"mask_time_prob": 0.05}
    build_model(blueprint("encoder", labels, checkpoint=checkpoint(), options=off)).save_pretrained(tmp_path)
    for _ in range(5):
        model = build_model(blueprint("encoder", labels, checkpoint=str(tmp_path), options=on))
        embedding = model.base_model.masked_spec_embed
        assert embedding.abs().max() <= 1
        assert embedding.std() > 0.01
