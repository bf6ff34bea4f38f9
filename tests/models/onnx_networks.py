"""Networks exported to ONNX compared to torch, for the test files that share them."""

import json

import torch
from built import NETWORKS, built, trained
from torch import nn
from transformers import Wav2Vec2FeatureExtractor

from ser_hf.export import export_onnx
from ser_hf.models.layers import BiLSTM

# Every file has a share of the networks: exporting takes long, and a file is run by one worker.
SHARES = [NETWORKS[share::2] for share in range(2)]
# In samples at 16 kHz; the shortest need frames of padding, which the clips of the export did not.
LENGTHS = [(1,), (4800,), (8 * 16000,), (1, 4800, 8 * 16000), (700, 511, 512)]
# A clip of one sample lies far from the training clips of a support vector machine.
TOLERANCES = {"mfcc_svm": 1e-3}
# Each part of the front end that no network has by default, in one that is exported anyway, and a second LSTM layer.
SETTINGS = {
    # Tracing six equal blocks would take as long as the rest of the network.
    "cnn14": {"channels": [2, 4, 8]},
    "crnn": {"lstm_layers": 2, "features": "mfcc", "deltas": 2, "center": True, "normalization": "clip_bands"},
    "cnn_lstm": {"compression": "db", "frames": 100},
    "stacked_cnn_lstm": {"normalization": "corpus", "frames": 100, "frame_fit": "resize"},
}
EXTRACTOR = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)


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
    (answer,) = session.run(["logits"], {"input_values": waveform.numpy(), "attention_mask": mask.numpy()})
    assert answer.shape == expected.shape
    return ((torch.from_numpy(answer) - expected).abs().max() / expected.abs().max().clamp(min=1)).item()


def assert_logits_as_in_torch(name, runtime, folder):
    """Description, metadata and predictions of the network's file."""
    model = trained(built(name, **SETTINGS.get(name, {})))
    model.config.id2label = dict(enumerate(["anger", "fear", "joy", "surprise"]))
    for module in model.modules():
        if isinstance(module, BiLSTM):
            # Biases start at zero, which would hide a wrong order of the gates.
            for key, parameter in module.named_parameters():
                if "bias" in key:
                    nn.init.normal_(parameter)
    session = _session(runtime, model, folder)
    described = [(value.name, value.type, value.shape) for value in (*session.get_inputs(), *session.get_outputs())]
    assert described == [
        ("input_values", "tensor(float)", ["batch", "samples"]),
        ("attention_mask", "tensor(int64)", ["batch", "samples"]),
        ("logits", "tensor(float)", ["batch", 4]),
        ("probabilities", "tensor(float)", ["batch", 4]),
    ]
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["id2label"]) == {"0": "anger", "1": "fear", "2": "joy", "3": "surprise"}
    assert metadata["sampling_rate"] == "16000"
    found = {lengths: _difference(model, session, lengths) for lengths in LENGTHS}
    assert max(found.values()) < TOLERANCES.get(name, 1e-4), found
