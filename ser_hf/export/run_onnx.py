"""Predicts emotions with an exported model: python run_onnx.py MODEL.onnx FILE..."""

import json
import sys

import numpy as np
import onnxruntime
import soundfile

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
metadata = session.get_modelmeta().custom_metadata_map
labels = json.loads(metadata["id2label"])
rate = int(metadata["sampling_rate"])
for name in sys.argv[2:]:
    clip, own = soundfile.read(name, dtype="float32", always_2d=True)
    clip, length = clip.mean(axis=1), round(len(clip) * rate / own)
    clip = (
        np.fft.irfft(np.fft.rfft(clip)[: length // 2 + 1], length) * length / len(clip)
        if own != rate
        else clip
    )
    inputs = {
        "input_values": clip[None].astype(np.float32),
        "attention_mask": np.ones((1, length), np.int64),
    }
    # probabilities, or values of dimensions
    (values,) = session.run([session.get_outputs()[1].name], inputs)[0]
    print(
        json.dumps({"file": name} | {label: float(values[int(i)]) for i, label in labels.items()})
    )
