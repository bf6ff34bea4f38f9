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


def resampled(clip: np.ndarray, file_rate: int) -> np.ndarray:
    """The clip at the rate of the model, by its spectrum."""
    if file_rate == rate:
        return clip
    length = round(len(clip) * rate / file_rate)
    spectrum = np.fft.rfft(clip)[: length // 2 + 1]
    return np.fft.irfft(spectrum, length) * length / len(clip)


for name in sys.argv[2:]:
    channels, file_rate = soundfile.read(name, dtype="float32", always_2d=True)
    clip = resampled(channels.mean(axis=1), file_rate)
    inputs = {
        "input_values": clip[None].astype(np.float32),
        "attention_mask": np.ones((1, len(clip)), np.int64),
    }
    # The second output: probabilities, or values of dimensions.
    output = session.get_outputs()[1].name
    (values,) = session.run([output], inputs)[0]
    prediction = {label: float(values[int(i)]) for i, label in labels.items()}
    print(json.dumps({"file": name} | prediction))
