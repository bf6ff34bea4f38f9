"""Cached activations: models train on the store as they do without it, and are complete again."""

import copy

import numpy as np
import pytest
import torch
from support.testing import tiny_config
from support.testing.models import TINY
from transformers import AutoConfig

from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.models import ARCHITECTURES
from ser_hf.training.arguments import seed_everything
from ser_hf.training.cached_module import cached_module
from ser_hf.training.clips import clip_table
from ser_hf.training.collator import Collator
from ser_hf.training.feature_cache import CachedCollator, replace_frozen
from ser_hf.training.feature_store import open_feature_store, segments_of
from ser_hf.training.freezing import Freezing, freeze, frozen_modules

# Nothing at random: the same steps must follow with the store and without.
STILL = dict.fromkeys(
    (
        *(
            "mask_time_prob",
            "hidden_dropout",
            "attention_dropout",
            "activation_dropout",
            "feat_proj_dropout",
        ),
        *(
            "final_dropout",
            "dropout",
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
            "feature_dropout",
        ),
        *("conformer_conv_dropout", "layerdrop"),
    ),
    0.0,
)
FROZEN = Freezing(encoder=True)
SUMMED = {"weighted_layer_sum": True}
OURS = {"pooling": "mean"}
LENGTH = 4000  # samples that all clips have at least
# Kinds of encoders that differ in mask, frames or output, and settings of the head.
ENCODERS = [
    ("wav2vec2", SUMMED),
    ("wav2vec2-stable", OURS | SUMMED),
    ("hubert-large", {}),
    ("data2vec-audio", OURS),
    ("wav2vec2-conformer", SUMMED | OURS),
    ("wav2vec2-bert", {}),
    ("wav2vec2-bert", OURS | SUMMED),
    ("whisper", OURS),
    ("whisper", SUMMED),
    ("emotion2vec", {}),
    ("emotion2vec-stable", OURS | SUMMED),
]


def _plan(folder, labels, **head):
    keys = AutoConfig.from_pretrained(folder).to_dict()
    options = {key: value for key, value in STILL.items() if key in keys}
    return blueprint("encoder", labels, checkpoint=str(folder), options=options, **head)


@pytest.fixture
def replayed(store, tmp_path):
    """A function from model, extractor, freezing and parts to a copy on the store, both collators,
    and what restores the copy."""

    def build(model, extractor, freezing, *parts, batch_size=1, padding_safe=True):
        collator = Collator.for_model(model.config, store, extractor)
        own = copy.deepcopy(model)
        cached = cached_module(own, freezing)
        segments = [segment for clips in parts for segment in segments_of(clips)]
        cache = open_feature_store(
            own,
            cached,
            collator,
            segments,
            batch_size=batch_size,
            padding_safe=padding_safe,
            cache_dir=tmp_path / "cache",
        )
        return (
            own,
            collator,
            CachedCollator(cache, own, cached, collator.epoch),
            replace_frozen(own, cached),
        )

    return build


def _steps(model, batches):
    """Losses of steps of gradient descent with frozen modules in evaluation mode."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=0.02)
    losses = []
    for batch in batches:
        model.train()
        for module in frozen_modules(model):
            module.eval()
        labels = batch.pop("labels")
        loss = torch.nn.functional.cross_entropy(model(**batch).logits, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def _logits(model, collator, clips):
    model.eval()
    batches = [
        {key: own for key, own in collator([clip]).items() if key != "labels"} for clip in clips
    ]
    return torch.cat([model(**batch).logits for batch in batches])


@torch.no_grad()
def _make_it_count(model, collator, clips):
    """Enlarge weights, so that all that is cached changes the loss."""
    for name, parameter in model.named_parameters():
        if name in ("layer_weights", "layer_sum.weight"):
            parameter.copy_(torch.arange(len(parameter)))
        elif parameter.dim() == 2:
            parameter.mul_(4)
    last = [module for module in model.classifier.modules() if isinstance(module, torch.nn.Linear)][
        -1
    ]
    last.weight.div_(_logits(model, collator, clips).std())


@pytest.mark.parametrize(("kind", "head"), ENCODERS)
def test_encoders_train_the_same(kind, head, encoder_folder, labels, clips, store, replayed):
    plan = _plan(encoder_folder(kind), labels, **head)
    seed_everything(0)
    real = build_model(plan)
    freeze(real, FROZEN)
    # Training clips of one length, so that padding has no effect.
    train = clip_table(clips, range(6), store, window=LENGTH).filter(
        lambda clip: clip["start"] == 0
    )
    columns = train.to_dict() | {"length": [2000] * len(train)}
    train = train.from_dict(columns)
    validation = clip_table(clips, range(6, 12), store, window=9000)
    _make_it_count(real, Collator.for_model(real.config, store, plan.extractor), validation)
    own, collator, frozen, replay = replayed(
        real,
        plan.extractor,
        FROZEN,
        train,
        validation,
        batch_size=4,
        padding_safe=plan.padding_safe,
    )
    turns = [[0, 1, 2], [3, 4, 5], [5, 0, 3]]
    losses = [
        _steps(model, [source([train[i] for i in turn], training=True) for turn in turns])
        for model, source in ((real, collator), (own, frozen))
    ]
    np.testing.assert_allclose(*losses, rtol=2e-3, atol=2e-3)
    true = _logits(real, collator, validation)
    tolerance = {"rtol": 0, "atol": 5e-3 * max(1, true.abs().max().item())}
    torch.testing.assert_close(_logits(own, frozen, validation), true, **tolerance)
    replay.restore()
    assert list(own.state_dict()) == list(real.state_dict())
    torch.testing.assert_close(_logits(own, collator, validation), true, **tolerance)


NETWORKS = [("crnn", Freezing()), ("mfcc_mlp", Freezing()), ("byols", Freezing())]
NETWORKS += [(name, FROZEN) for name in ("byols", "cnn14", "vgg16", "vggish")]


@pytest.mark.parametrize(("name", "freezing"), NETWORKS)
def test_networks_train_the_same(name, freezing, labels, clips, store, replayed):
    seed_everything(0)
    options = {"time_masks": 0, "band_masks": 0} if hasattr(tiny_config(name), "time_masks") else {}
    dropouts = [key for key in vars(tiny_config(name)) if "dropout" in key]
    config = tiny_config(name, **options | dict.fromkeys(dropouts, 0.0))
    real = ARCHITECTURES[name](config)
    freeze(real, freezing)
    plan = blueprint(name, labels, options=TINY[name], random_init=True)
    train = clip_table(clips, range(6), store)
    validation = clip_table(clips, range(6, 12), store)
    own, collator, frozen, replay = replayed(
        real, plan.extractor, freezing, train, validation, batch_size=4
    )
    turns = [[0, 1, 2], [3, 4, 5]]
    losses = [
        _steps(model, [source([train[i] for i in turn], training=True) for turn in turns])
        for model, source in ((real, collator), (own, frozen))
    ]
    np.testing.assert_allclose(*losses, rtol=5e-3, atol=5e-3)
    true = _logits(real, collator, validation)
    torch.testing.assert_close(_logits(own, frozen, validation), true, rtol=0, atol=2e-2)
    replay.restore()
    torch.testing.assert_close(_logits(own, collator, validation), true, rtol=0, atol=2e-2)


def test_padding_does_not_change_a_batch(encoder_folder, labels, clips, store, replayed):
    """Group norm includes padding. Cached activations are computed from single clips and have a
    mask.
    """
    validation = clip_table(clips, range(4), store)
    plan = _plan(encoder_folder("wav2vec2"), labels)
    model = build_model(plan)
    freeze(model, FROZEN)
    own, _, frozen, _ = replayed(model, plan.extractor, FROZEN, validation)
    together = frozen([validation[i] for i in range(4)])
    own.eval()
    with torch.no_grad():
        logits = own(**{key: value for key, value in together.items() if key != "labels"}).logits
    torch.testing.assert_close(logits, _logits(own, frozen, validation), rtol=1e-4, atol=1e-4)


LAYERED = [
    *("wav2vec2", "wav2vec2-layer", "wav2vec2-stable", "mms", "hubert", "hubert-large", "wavlm"),
    *("wavlm-large", "unispeech", "unispeech-sat", "data2vec-audio", "wav2vec2-conformer"),
    "wav2vec2-bert",
]
HEADS = {"stock": {}, "stock sum": SUMMED, "ours": OURS, "ours sum": OURS | SUMMED}
LAYERED_AND_HEADS = [(kind, head) for kind in LAYERED for head in ("stock", "ours sum")]
LAYERED_AND_HEADS += [("wav2vec2", "stock sum"), ("wavlm", "stock sum"), ("wav2vec2", "ours")]


@pytest.mark.parametrize(("kind", "head"), LAYERED_AND_HEADS)
def test_the_upper_layers_train_the_same(
    kind, head, encoder_folder, labels, clips, store, replayed
):
    """Dropout of the trained layers stays: both trainings draw the same random numbers."""
    plan = _plan(encoder_folder(kind), labels, **HEADS[head])
    if kind != "wav2vec2-bert":  # its extractor pads frames, so that random numbers differ
        for name in ("hidden_dropout", "attention_dropout"):
            setattr(getattr(plan.config, "encoder", plan.config), name, 0.1)
    lowest = Freezing(layers=1)
    seed_everything(0)
    real = build_model(plan)
    freeze(real, lowest)
    # Training clips of one length, so that padding has no effect.
    train = clip_table(clips, range(6), store, window=LENGTH).filter(
        lambda clip: clip["start"] == 0
    )
    train = train.from_dict(train.to_dict() | {"length": [2000] * len(train)})
    validation = clip_table(clips, range(6, 12), store, window=9000)
    _make_it_count(real, Collator.for_model(real.config, store, plan.extractor), validation)
    copied, collator, frozen, replacement = replayed(
        real,
        plan.extractor,
        lowest,
        train,
        validation,
        batch_size=4,
        padding_safe=plan.padding_safe,
    )
    losses = []
    for model, source in ((real, collator), (copied, frozen)):
        torch.manual_seed(3)
        turns = [[0, 1, 2], [3, 4, 5], [5, 0, 3]]
        losses.append(_steps(model, [source([train[i] for i in turn], True) for turn in turns]))
    np.testing.assert_allclose(*losses, rtol=1e-5, atol=1e-5)
    assert len({*losses[0]}) == 3

    true = _logits(real, collator, validation)
    scale = max(1, true.abs().max().item())
    stored = _logits(copied, frozen, validation)
    torch.testing.assert_close(stored, true, rtol=0, atol=2e-5 * scale)
    replacement.restore()
    assert list(copied.state_dict()) == list(real.state_dict())
    restored = _logits(copied, collator, validation)
    torch.testing.assert_close(restored, true, rtol=0, atol=2e-5 * scale)


def test_padding_does_not_change_stored_lower_layers(
    encoder_folder, labels, clips, store, replayed
):
    validation = clip_table(clips, range(4), store)
    plan = _plan(encoder_folder("wav2vec2"), labels)
    model = build_model(plan)
    lowest = Freezing(top_layers=1)
    freeze(model, lowest)
    copied, collator, frozen, _ = replayed(model, plan.extractor, lowest, validation)
    together = frozen([validation[i] for i in range(4)])
    del together["labels"]
    copied.eval()
    with torch.no_grad():
        logits = copied(**together).logits
    torch.testing.assert_close(logits, _logits(model, collator, validation), rtol=0, atol=1e-5)
