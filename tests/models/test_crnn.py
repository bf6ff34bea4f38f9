"""The CRNN as a whole: padding never changes an answer, it saves and loads exactly, and starts from sound weights."""

import ast
import json
import math
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForAudioClassification

import ser_hf.models
from ser_hf.models import CRNNConfig, CRNNForAudioClassification
from ser_hf.models.masked_layers import MaskedBatchNorm2d, Pooling

FOLDER = Path(ser_hf.models.__file__).parent
TINY = {"n_mels": 32, "channels": [4, 8], "time_pooling": [2, 2], "band_pooling": [2, 2], "lstm_hidden": 8}


def _model(**config):
    torch.manual_seed(0)
    return CRNNForAudioClassification(CRNNConfig(num_labels=4, **config)).eval()


def _clip(samples, seed=0):
    """Noise whose level wanders, so that frames differ."""
    noise = torch.randn(1, samples, generator=torch.Generator().manual_seed(seed)) * 0.1
    return noise * (1.2 + torch.sin(torch.arange(samples) / 1500))


def _batch(*clips):
    longest = max(clip.shape[1] for clip in clips)
    lengths = torch.tensor([clip.shape[1] for clip in clips])
    waveforms = torch.cat([torch.nn.functional.pad(clip, (0, longest - clip.shape[1])) for clip in clips])
    return {"input_values": waveforms, "attention_mask": (torch.arange(longest) < lengths[:, None]).long()}


def _with_history(model):
    """Training steps on ragged batches, so that batch normalisation has statistics of its own."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.train()
    for step in range(3):
        batch = _batch(*[_clip(2000 + 1500 * i, seed=10 * step + i) for i in range(4)])
        model(**batch, labels=torch.arange(4)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.mark.parametrize("normalization", ["clip", "fixed"])
@pytest.mark.parametrize("pooling", Pooling.KINDS)
@torch.no_grad()
def test_padding_to_three_times_the_length_changes_no_logit(pooling, normalization):
    with torch.enable_grad():
        model = _with_history(_model(pooling=pooling, normalization=normalization))
    clips = [_clip(samples, seed=i) for i, samples in enumerate((3210, 8000, 3 * 8000))]
    batched = model(**_batch(*clips)).logits
    alone = torch.cat([model(clip).logits for clip in clips])
    assert batched.std(dim=0).min() > 1e-3, "the clips must get different answers for this to mean anything"
    assert (batched - alone).abs().max() < 1e-5


@torch.no_grad()
def test_what_stands_in_the_padding_does_not_matter():
    # The first clip is shorter than one frame, which then reaches beyond the clip's end.
    model, batch = _model(**TINY), _batch(_clip(400), _clip(9000, seed=1))
    noisy = batch["input_values"] + 3.0 * (1 - batch["attention_mask"])
    assert torch.equal(model(noisy, batch["attention_mask"]).logits, model(**batch).logits)


@pytest.mark.parametrize("samples", [1, 500, 20 * 16000])
@torch.no_grad()
def test_any_length_gets_an_answer(samples):
    model = _model(**TINY)
    alone = model(_clip(samples)).logits
    batched = model(**_batch(_clip(samples), _clip(16000, seed=1))).logits[:1]
    assert alone.shape == (1, 4)
    assert alone.isfinite().all()
    torch.testing.assert_close(batched, alone, rtol=0, atol=1e-5)


@torch.no_grad()
def test_no_mask_means_all_real():
    model, clip = _model(**TINY), _clip(5000)
    assert torch.equal(model(clip).logits, model(clip, torch.ones_like(clip, dtype=torch.long)).logits)


def test_loss_is_the_mean_cross_entropy():
    model, batch, labels = _model(**TINY), _batch(_clip(4000), _clip(6000, seed=1)), torch.tensor([2, 0])
    output = model(**batch, labels=labels)
    by_hand = -output.logits.log_softmax(dim=1)[torch.arange(2), labels].mean()
    torch.testing.assert_close(output.loss, by_hand)
    assert model(**batch).loss is None


@torch.no_grad()
def test_saved_and_loaded_it_answers_alike_to_the_bit(tmp_path):
    with torch.enable_grad():
        model = _with_history(_model(id2label=dict(enumerate("abcd")), label2id={c: i for i, c in enumerate("abcd")}))
    model.save_pretrained(tmp_path)
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert type(loaded) is CRNNForAudioClassification
    assert not loaded.training
    assert loaded.config.id2label == {0: "a", 1: "b", 2: "c", 3: "d"}
    batch = _batch(_clip(7000), _clip(16000, seed=1))
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)


def test_the_saved_folder_carries_its_code(tmp_path):
    _model(**TINY).save_pretrained(tmp_path)
    names = {"configuration_crnn.py", "log_mel.py", "masked_layers.py", "modeling_crnn.py"}
    assert {path.name for path in tmp_path.glob("*.py")} == names
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["auto_map"] == {
        "AutoConfig": "configuration_crnn.CRNNConfig",
        "AutoModelForAudioClassification": "modeling_crnn.CRNNForAudioClassification",
    }


@torch.no_grad()
def test_a_fresh_network_keeps_the_scale_of_its_signal():
    model, scales = _model(), []
    for layer in [*model.blocks, model.lstm]:
        # The LSTM layer returns its sequence, a block its features and mask.
        layer.register_forward_hook(
            lambda _, __, out: scales.append(out[0].std() if type(out) is tuple else out.std())
        )
    # Statistics of the batch, as in the first step; dropout and SpecAugment would only blur the figure.
    for module in model.modules():
        if isinstance(module, MaskedBatchNorm2d):
            module.train()
    logits = model(torch.cat([_clip(16000, seed=i) for i in range(8)])).logits
    assert all(0.05 < scale < 2 for scale in scales), scales
    assert 0.01 < logits.std() < 1


def test_initial_weights_are_each_layers_own():
    model = _model()
    for block in model.blocks:
        weight = block.conv.weight
        fan_in = weight[0].numel()
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.15)
    recurrent = model.lstm.lstm.weight_hh_l0
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(recurrent.shape[1]), rtol=0, atol=1e-5)
    bound = math.sqrt(6 / sum(model.classifier.weight.shape))
    assert 0.9 * bound < model.classifier.weight.abs().max() <= bound
    assert not model.classifier.bias.any()


@pytest.mark.parametrize("pooling", Pooling.KINDS)
def test_every_parameter_gets_a_gradient(pooling):
    model = _model(pooling=pooling, **TINY).train()
    model(**_batch(_clip(5000), _clip(16000, seed=1)), labels=torch.tensor([0, 1])).loss.backward()
    # Softmax over time is blind to a constant, so the bias of the attention scores cannot learn.
    idle = {name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-9}
    assert idle <= {"pooling.score.bias"}


@torch.no_grad()
def test_augmentation_and_dropout_are_for_training_only():
    model, clip = _model(**TINY, conv_dropout=0.0, dropout=0.0), _clip(16000)
    assert torch.equal(model(clip).logits, model(clip).logits)
    model.train()
    for module in model.modules():
        if isinstance(module, MaskedBatchNorm2d):
            module.eval()
    torch.manual_seed(0)
    assert not torch.equal(model(clip).logits, model(clip).logits)


@torch.no_grad()
def test_bfloat16_autocast_stays_near_float32():
    model, batch = _model(), _batch(_clip(7000), _clip(16000, seed=1))
    exact = model(**batch).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(**batch).logits
    assert not torch.equal(rounded.float(), exact)
    torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=0.03)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"channels": [4, 8, 8]}, "one entry per block"),
        ({"f_max": 9000.0}, "f_max 9000.0 lies outside 0 to 8000 Hz"),
        ({"pooling": "median"}, "pooling 'median' is none of"),
    ],
)
def test_mistakes_in_the_configuration_are_told(config, message):
    with pytest.raises(ValueError, match=message):
        _model(**TINY | config)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_shipped_files_import_only_what_a_hub_user_has(path):
    allowed = {"torch", "numpy", "transformers"} | set(sys.stdlib_module_names)
    siblings = {sibling.stem for sibling in FOLDER.glob("*.py")}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and node.level:
            # `from . import x` and `from ..x import y` are not copied along by save_pretrained.
            assert (node.level, node.module) in {(1, name) for name in siblings}
        elif isinstance(node, ast.ImportFrom):
            assert node.module.partition(".")[0] in allowed
