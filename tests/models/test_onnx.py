"""Exported networks have the outputs of torch for batches and lengths other than those of the
export.
"""

import importlib.util
import json
import sys

import pytest
import torch
from built import NETWORKS, built, trained
from torch import nn
from transformers import Wav2Vec2FeatureExtractor

from ser_hf.export import export_onnx
from ser_hf.models.layers import BiLSTM
from ser_hf.models.modeling_mfcc import Forest
from ser_hf.utils.errors import UserError

# An export takes seconds: networks with every layer that any network has, small, with each part of
# the front end that no network has by default in one of them, and a second LSTM layer.
EXPORTED = {
    "crnn": {
        **{"channels": [4], "time_pooling": [2], "band_pooling": [2], "lstm_layers": 2},
        **{"features": "mfcc", "deltas": 2, "center": True, "normalization": "clip_bands"},
    },
    "se_resnet": {"channels": [4], "compression": "db", "normalization": "corpus", "frames": 100},
    "separable_resnet": {"frames": 100, "frame_fit": "resize"},
    "mfcc_mlp": {"hidden": [8]},
    "cnn14": {"channels": [2, 4]},
    **dict.fromkeys(
        ("cnn1d", "cnn1d_descriptors", "parallel_cnn_transformer", "byols", "vggish"), {}
    ),
    **dict.fromkeys(("mfcc_svm", "mfcc_rbf_svm", "mfcc_forest"), {}),
}
# In samples at 16 kHz; the shortest need frames of padding, which the clips of the export did not.
LENGTHS = [(1,), (4800,), (8 * 16000,), (1, 4800, 8 * 16000), (700, 511, 512)]
# A clip of one sample lies far from the training clips of a support vector machine.
TOLERANCES = {"mfcc_svm": 1e-3}
EXTRACTOR = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)


def test_every_layer_is_exported_in_some_network():
    def layers(name, **settings):
        model = built(name, **settings)
        chains = {model, getattr(model, "encoder", None)}  # only call their layers
        return {type(module) for module in model.modules() if module not in chains}

    exported = set().union(*(layers(name, **settings) for name, settings in EXPORTED.items()))
    assert set().union(*map(layers, NETWORKS)) <= exported


def _disturb(model):
    """Biases of zero would hide a wrong order of gates, and a forest that sends all clips to one
    leaf anything.
    """
    for module in model.modules():
        if isinstance(module, BiLSTM):
            for key, parameter in module.named_parameters():
                if "bias" in key:
                    nn.init.normal_(parameter)
        elif isinstance(module, Forest):
            vectors = []
            with module.register_forward_pre_hook(
                lambda _, given, vectors=vectors: vectors.append(given[0])
            ):
                model(torch.randn(1, 1)), model(torch.randn(1, 4800))
            module.threshold.data.fill_(torch.cat(vectors)[:, 0].mean())


def _session(runtime, model, folder):
    model.train()
    path = export_onnx(model, folder / "new" / "model.onnx", EXTRACTOR)
    assert model.training, "the model itself stays as it is"
    assert [other.name for other in path.parent.iterdir()] == ["model.onnx"]
    model.eval()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _difference(model, session, lengths):
    generator = torch.Generator().manual_seed(len(lengths))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    # Values in the padding must not matter.
    waveform = torch.randn(mask.shape, generator=generator) * 0.1
    with torch.no_grad():
        expected = model(waveform, mask).logits
    if 1 in lengths[:-1]:
        assert expected.std(dim=0).max() > 1e-4, "clips must get different logits"
    (answer,) = session.run(
        ["logits"], {"input_values": waveform.numpy(), "attention_mask": mask.numpy()}
    )
    assert answer.shape == expected.shape
    return (
        (torch.from_numpy(answer) - expected).abs().max() / expected.abs().max().clamp(min=1)
    ).item()


# In every suite: a recurrent network, a convolutional one, and a classical one.
IN_EVERY_SUITE = ("crnn", "se_resnet", "mfcc_svm")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in IN_EVERY_SUITE else pytest.mark.exhaustive)
        for name in EXPORTED
    ],
)
def test_a_network_has_the_logits_of_torch(name, runtime, tmp_path):
    model = trained(built(name, **EXPORTED[name]))
    model.config.id2label = dict(enumerate(["anger", "fear", "joy", "surprise"]))
    _disturb(model)
    session = _session(runtime, model, tmp_path)
    described = [
        (value.name, value.type, value.shape)
        for value in (*session.get_inputs(), *session.get_outputs())
    ]
    assert described == [
        ("input_values", "tensor(float)", ["batch", "samples"]),
        ("attention_mask", "tensor(int64)", ["batch", "samples"]),
        ("logits", "tensor(float)", ["batch", 4]),
        ("probabilities", "tensor(float)", ["batch", 4]),
    ]
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["id2label"]) == {
        "0": "anger",
        "1": "fear",
        "2": "joy",
        "3": "surprise",
    }
    assert metadata["sampling_rate"] == "16000"
    found = {lengths: _difference(model, session, lengths) for lengths in LENGTHS}
    assert max(found.values()) < TOLERANCES.get(name, 1e-4), found


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_packages_are_refused(package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    if importlib.util.find_spec("onnx") is None and package == "onnxscript":
        pytest.skip("both are missing")
    with pytest.raises(UserError, match=rf'{package}: pip install "ser_hf\[onnx\]"'):
        export_onnx(built("crnn"), tmp_path / "model.onnx", EXTRACTOR)


def test_a_bare_recurrent_layer_is_refused(runtime, tmp_path):
    model = built("crnn")
    model.extra = nn.GRU(4, 4)
    with pytest.raises(
        UserError, match="CRNNForAudioClassification cannot be exported to ONNX: extra is a GRU"
    ):
        export_onnx(model, tmp_path / "model.onnx", EXTRACTOR)
