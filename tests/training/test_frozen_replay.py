"""Stand-ins for what is frozen: every kind of model learns from the store as it would without, and is whole again."""

import copy

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from ser_hf.models import ARCHITECTURES
from ser_hf.testing import CHECKPOINTS, tiny_config
from ser_hf.testing.models import TINY
from ser_hf.training.arguments import seed_everything
from ser_hf.training.data import Collator, part
from ser_hf.training.encoders import lengths_needed
from ser_hf.training.factory import blueprint, build_model
from ser_hf.training.feature_cache import FrozenCollator, pieces_of
from ser_hf.training.feature_store import open_frozen
from ser_hf.training.freezing import Freezing, freeze, still_modules
from ser_hf.training.frozen_parts import frozen_part, masks_in_vain
from ser_hf.training.frozen_replay import Replay
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.slow  # trains for most of them

# Nothing at random: the same steps must follow with the store and without.
STILL = dict.fromkeys(
    (
        *("mask_time_prob", "hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"),
        *("final_dropout", "dropout", "hidden_dropout_prob", "attention_probs_dropout_prob", "feature_dropout"),
        *("conformer_conv_dropout", "layerdrop"),
    ),
    0.0,
)
WHOLE, FIRST, BOTH, STEM = (
    Freezing(encoder=True),
    Freezing(layers=1),
    Freezing(layers=2),
    Freezing(feature_encoder=True),
)
SUMMED, OURS = {"weighted_layer_sum": True}, {"pooling": "mean"}
LENGTH = 4000  # samples that all clips have at least
# Each kind once at every depth over all of them, and under either head: kind, what is frozen, the head.
MATRIX = [
    ("wav2vec2", WHOLE, SUMMED),
    ("wav2vec2", FIRST, {}),
    ("wav2vec2-layer", STEM, {}),
    ("wav2vec2-stable", BOTH, OURS),
    ("mms", Freezing(top_layers=1), OURS | SUMMED),
    ("hubert", FIRST, SUMMED),
    ("hubert-large", WHOLE, OURS | SUMMED),
    ("distilhubert", WHOLE, OURS),
    ("wavlm", FIRST, {}),
    ("wavlm-large", BOTH, SUMMED),
    ("unispeech", Freezing(top_layers=2), {}),
    ("unispeech-sat", STEM, OURS),
    ("data2vec-audio", FIRST, OURS | SUMMED),
    ("sew", WHOLE, SUMMED),
    ("sew", FIRST, {}),
    ("sew-d", WHOLE, OURS | SUMMED),
    ("sew-d", FIRST, SUMMED),
    ("wav2vec2-conformer", FIRST, SUMMED),
    ("wav2vec2-bert", FIRST, OURS | SUMMED),
    ("wav2vec2-bert", WHOLE, {}),
    ("whisper", FIRST, SUMMED),
    ("whisper", BOTH, SUMMED),
    ("whisper", WHOLE, OURS),
    ("whisper", STEM, {}),
    ("audio-spectrogram-transformer", WHOLE, {}),
    ("audio-spectrogram-transformer", FIRST, OURS | SUMMED),
    ("audio-spectrogram-transformer", STEM, {}),
]


def test_every_kind_has_its_turn():
    assert {kind for kind, _, _ in MATRIX} == set(CHECKPOINTS)


def _plan(folder, labels, **asked):
    known = AutoConfig.from_pretrained(folder).to_dict()
    options = {key: value for key, value in STILL.items() if key in known}
    return blueprint("encoder", labels, checkpoint=str(folder), options=options, **asked)


@pytest.fixture
def replayed(store, tmp_path):
    """A function from model, extractor, freezing and parts to a copy that learns from the store, its collator, and
    what puts the copy back."""

    def build(model, extractor, freezing, *parts, batch_size=1):
        collator = Collator(store, extractor, 0, *lengths_needed(model.config))
        own = copy.deepcopy(model)
        kept = frozen_part(own, freezing)
        pieces = [piece for clips in parts for piece in pieces_of(clips)]
        frozen, _ = open_frozen(own, kept, collator, pieces, batch_size, tmp_path / "cache")
        return own, collator, FrozenCollator(frozen, own, kept, collator.epoch), Replay(own, kept)

    return build


def _steps(model, batches):
    """Losses of steps of gradient descent, what is frozen in evaluation mode."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, losses = torch.optim.SGD(learning, lr=0.02), []
    for batch in batches:
        model.train()
        for module in still_modules(model):
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
    batches = [collator([clip]) for clip in clips]
    return torch.cat(
        [model(**{key: own for key, own in batch.items() if key != "labels"}).logits for batch in batches]
    )


@torch.no_grad()
def _make_it_count(model, collator, clips):
    """New weights are so small that each layer changes next to nothing and all answers are alike: larger ones, and
    layers of unlike weight in a sum of them, have everything that is kept show in the loss."""
    for name, parameter in model.named_parameters():
        if name in ("layer_weights", "layer_sum.weight"):
            parameter.copy_(torch.arange(len(parameter)))
        elif parameter.dim() == 2:
            parameter.mul_(4)
    last = [module for module in model.classifier.modules() if isinstance(module, torch.nn.Linear)][-1]
    last.weight.div_(_logits(model, collator, clips).std())


@pytest.mark.parametrize(("kind", "freezing", "asked"), MATRIX)
def test_a_step_learns_the_same(kind, freezing, asked, encoder_folder, labels, clips, store, replayed):
    plan = _plan(encoder_folder(kind), labels, **asked)
    seed_everything(0)
    real = build_model(plan)
    freeze(real, freezing)
    # Clips of one length learn, so that padding has no part in it; ragged ones judge.
    train = part(clips, range(6), store, window=LENGTH).filter(lambda clip: clip["start"] == 0)
    columns = train.to_dict() | {"length": [2000] * len(train)}
    train, judged = train.from_dict(columns), part(clips, range(6, 12), store, window=9000)
    _make_it_count(real, Collator(store, plan.extractor, 0, *lengths_needed(real.config)), judged)
    batch_size = 4 if plan.padding_safe else 1
    own, collator, frozen, replay = replayed(real, plan.extractor, freezing, train, judged, batch_size=batch_size)
    turns = [[0, 1, 2], [3, 4, 5], [5, 0, 3]]
    losses = [
        _steps(model, [source([train[i] for i in turn], training=True) for turn in turns])
        for model, source in ((real, collator), (own, frozen))
    ]
    np.testing.assert_allclose(*losses, rtol=2e-3, atol=2e-3)
    true = _logits(real, collator, judged)
    tolerance = {"rtol": 0, "atol": 5e-3 * max(1, true.abs().max().item())}
    torch.testing.assert_close(_logits(own, frozen, judged), true, **tolerance)
    replay.restore()
    assert list(own.state_dict()) == list(real.state_dict())
    torch.testing.assert_close(_logits(own, collator, judged), true, **tolerance)


NETWORKS = [("crnn", Freezing()), ("mfcc_mlp", Freezing()), ("cnn1d_descriptors", Freezing()), ("vggish", Freezing())]
NETWORKS += [(name, WHOLE) for name in ("byols", "cnn14", "vgg16", "vggish")]


@pytest.mark.parametrize(("name", "freezing"), NETWORKS)
def test_networks_of_ours_learn_the_same(name, freezing, labels, clips, store, replayed):
    seed_everything(0)
    options = {"time_masks": 0, "band_masks": 0} if hasattr(tiny_config(name), "time_masks") else {}
    dropouts = [key for key in vars(tiny_config(name)) if "dropout" in key]
    config = tiny_config(name, **options | dict.fromkeys(dropouts, 0.0))
    real = ARCHITECTURES[name](config)
    freeze(real, freezing)
    plan = blueprint(name, labels, options=TINY[name], random_init=True)
    train, judged = part(clips, range(6), store), part(clips, range(6, 12), store)
    own, collator, frozen, replay = replayed(real, plan.extractor, freezing, train, judged, batch_size=4)
    turns = [[0, 1, 2], [3, 4, 5]]
    losses = [
        _steps(model, [source([train[i] for i in turn], training=True) for turn in turns])
        for model, source in ((real, collator), (own, frozen))
    ]
    np.testing.assert_allclose(*losses, rtol=5e-3, atol=5e-3)
    true = _logits(real, collator, judged)
    torch.testing.assert_close(_logits(own, frozen, judged), true, rtol=0, atol=2e-2)
    replay.restore()
    torch.testing.assert_close(_logits(own, collator, judged), true, rtol=0, atol=2e-2)


def test_bands_are_still_warped_at_random(labels, clips, store, replayed):
    seed_everything(0)
    model = ARCHITECTURES["crnn"](tiny_config("crnn", band_warp=0.3, time_masks=0, band_masks=0))
    plan = blueprint("crnn", labels, options=TINY["crnn"])
    own, _, frozen, _ = replayed(model, plan.extractor, Freezing(), part(clips, range(2), store))
    batch = frozen([part(clips, range(2), store)[0]])
    own.front_end.train()
    own.eval()
    heard = []
    own.stack.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    for training in (False, False, True, True):
        own.front_end.train(training)
        own(**{key: value for key, value in batch.items() if key != "labels"})
    assert torch.equal(heard[0], heard[1])
    assert not torch.equal(heard[1], heard[2])
    assert not torch.equal(heard[2], heard[3])


def test_padding_is_left_out_where_the_encoder_learnt_with_it(encoder_folder, labels, clips, store, replayed):
    """Group norm hears padding; what is kept is of clips alone, and its padding is masked."""
    judged = part(clips, range(4), store)
    for freezing, asked in ((WHOLE, {}), (FIRST, OURS), (STEM, {})):
        plan = _plan(encoder_folder("wav2vec2"), labels, **asked)
        model = build_model(plan)
        freeze(model, freezing)
        own, _, frozen, _ = replayed(model, plan.extractor, freezing, judged)
        together = frozen([judged[i] for i in range(4)])
        own.eval()
        with torch.no_grad():
            logits = own(**{key: value for key, value in together.items() if key != "labels"}).logits
        torch.testing.assert_close(logits, _logits(own, frozen, judged), rtol=1e-4, atol=1e-4)


def test_a_span_of_specaugment_fits(encoder_folder, labels, clips, store, replayed):
    """Clips shorter than a span would have transformers fail: with a stem that is kept, masking goes on."""
    plan = blueprint(
        "encoder",
        labels,
        checkpoint=str(encoder_folder("wav2vec2-layer")),
        options={"mask_time_prob": 0.5, "mask_time_length": 30},
    )
    model = build_model(plan)
    freeze(model, STEM)
    train = part(clips, range(2), store, window=2000)
    own, _, frozen, _ = replayed(model, plan.extractor, STEM, train)
    own.train()
    own(**frozen([train[0]], training=True))
    with pytest.raises(ValueError, match="mask_length"):
        own(**frozen([train[0]]))
    freeze(model, FIRST)
    own, _, frozen, replay = replayed(model, plan.extractor, FIRST, train)
    own.train()
    own(**frozen([train[0]], training=True))  # below what is kept nothing is masked
    replay.restore()
    with pytest.raises(ValueError, match="mask_length"):
        own.train()(input_values=torch.zeros(1, 2000))


def test_specaugment_that_was_asked_for_in_vain_is_told(encoder_folder, labels):
    def told(freezing, cache=True, kind="wav2vec2", **options):
        plan = blueprint("encoder", labels, checkpoint=str(encoder_folder(kind)), options=options)
        return masks_in_vain(plan.config, options, freezing, cache)

    asked = {"mask_time_prob": 0.05}
    for cache in (True, False):
        (note,) = told(WHOLE, cache, **asked)
        assert (
            note == "SpecAugment of the encoder (model.mask_time_prob) has no effect: a frozen encoder masks nothing."
        )
    for first in (FIRST, Freezing(top_layers=1)):
        (note,) = told(first, **asked)
        assert note.endswith("what it masks lies below the cached layers.")
        assert told(first, cache=False, **asked) == []
    (note,) = told(WHOLE, apply_spec_augment=True, mask_feature_prob=0.1)
    assert "(model.mask_feature_prob and model.apply_spec_augment)" in note
    assert told(WHOLE) == []  # the checkpoint's own 0.05
    assert told(WHOLE, mask_time_prob=0.0) == []
    assert told(WHOLE, apply_spec_augment=False, **asked) == []
    assert told(STEM, **asked) == []
    assert told(WHOLE, kind="whisper", apply_spec_augment=True, **asked) == []
    assert masks_in_vain(tiny_config("byols"), ["mask_time_prob"], WHOLE, True) == []


def test_what_cannot_be_cached_is_told(encoder_folder, labels, monkeypatch):
    def encoder(**options):
        return build_model(
            blueprint("encoder", labels, checkpoint=str(encoder_folder("wav2vec2")), options=options, random_init=True)
        )

    def network(name, **settings):
        return ARCHITECTURES[name](tiny_config(name, **settings))

    from ser_hf.training.lora import Lora, add_lora

    for model, freezing, message in (
        (encoder(), Freezing(), "freeze.cache: nothing of the encoder is frozen"),
        (encoder(), Freezing(every=1), "freeze.cache: freeze.gradual thaws"),
        (encoder(layerdrop=0.1), FIRST, "freeze.cache: model.layerdrop skips layers"),
        (add_lora(encoder(), Lora(2)), Freezing(), "freeze.cache: lora adapts"),
        (network("cnn14"), Freezing(layers=1), "freeze.cache: of cnn14 the whole encoder"),
        (network("byols", time_masks=1), WHOLE, "freeze.cache: model.time_masks changes at random"),
        (network("cnn1d"), Freezing(), "freeze.cache: cnn1d learns from the waveform itself"),
    ):
        with pytest.raises(UserError, match=message.replace(".", r"\.")):
            frozen_part(model, freezing)
