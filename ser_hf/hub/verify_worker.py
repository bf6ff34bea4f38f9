"""Loads a model where ser_hf cannot be imported, predicts clips, and writes a response as JSON.

    python -P verify_worker.py REQUEST.json RESPONSE.json

`ser_hf.hub.verify` starts it in a separate process and interprets the response. It imports nothing
of ser_hf.
"""

import json
import re
import sys
from pathlib import Path


def inspect(request):
    """Return the response to a request.

    `ser_hf.hub.verify` describes the request, and `ser_hf.hub.response` the response.
    """
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    response = {"versions": versions()}
    try:
        readers = [recording(path) for path in request["recordings"]]
    except Exception as error:
        return {"unreadable": first_line(error)}
    options = {key: request[key] for key in ("model", "revision", "trust_remote_code")}
    try:
        classifier = transformers.pipeline("audio-classification", device="cpu", **options)
        response |= tensors(classifier.model, options) | describe(classifier)
    except (Exception, SystemExit) as error:  # a model's own code may raise anything
        response |= {"loads": False, "error": message_of(error)}
    else:
        response["loads"] = True
    if response["loads"]:
        try:
            response |= predict(classifier, readers, request)
        except Exception as error:  # not an audio classifier
            response |= {"loads": False, "error": message_of(error)}
    return response


def tensors(model, options):
    """Find the tensors that only the network has, and the tensors that only the file has."""
    _, info = type(model).from_pretrained(
        options["model"],
        revision=options["revision"],
        trust_remote_code=options["trust_remote_code"],
        dtype="auto",
        output_loading_info=True,
    )
    missing = sorted(info["missing_keys"])
    unexpected = sorted(info["unexpected_keys"])
    return {"tensors": len(model.state_dict()), "missing": missing, "unexpected": unexpected}


def describe(classifier):
    """Describe labels, sampling rates and classes of the model and its feature extractor."""
    model = classifier.model
    extractor = classifier.feature_extractor
    return {
        "labels": [model.config.id2label.get(i) for i in range(model.config.num_labels)],
        "problem_type": model.config.problem_type,
        "sampling_rate": extractor.sampling_rate,
        "config_sampling_rate": getattr(model.config, "sampling_rate", None),
        "front_end": type(extractor).__name__,
        "model": type(model).__name__,
    }


def recording(path):
    """Return a function that reads a recording at a sampling rate, as the card's example does."""
    from transformers.audio_utils import load_audio

    load_audio(path)
    return lambda sampling_rate: load_audio(path, sampling_rate=sampling_rate)


def predict(classifier, readers, request):
    """Predict each clip, and one clip alone and in a padded batch: logits, or an error."""
    import numpy as np

    rate = classifier.feature_extractor.sampling_rate
    clips = [read(rate) for read in readers]
    clips += [np.load(path) for path in request["waveforms"]]
    loudest = max(clips, key=lambda clip: float(np.abs(clip).max(initial=0)))
    half = loudest[: max(1, len(loudest) // 2)]
    captured = []

    def capture(module, inputs, output):
        captured.append(output.logits)

    hook = classifier.model.register_forward_hook(capture)

    def run(inputs, **options):
        captured.clear()
        try:
            classifier(inputs, top_k=None, **options)
            return {"logits": captured[0][0].float().tolist()}
        except (Exception, SystemExit) as error:
            return {"error": message_of(error)}

    response = {
        "predictions": [run(clip) for clip in clips],
        "alone": run(half),
        "padded": run([half, loudest], batch_size=2),
    }
    hook.remove()
    return response


def message_of(error):
    """Return the kind and the first line of an exception."""
    # The message of `pipeline` has a traceback for each class that it tried; the first class is the
    # class of the task.
    first = str(error).partition("an error is thrown:")[2].partition("\nwhile loading with")[0]
    raised = re.findall(r"^(?:[\w.]*\.)?(\w*(?:Error|Exception)): (.*)", first, re.MULTILINE)
    if not raised:
        return f"{type(error).__name__}: {first_line(error)}"
    kind, message = raised[-1]
    return f"{kind}: {message}"[:300].rstrip(".")


def first_line(error):
    """Return the first line of an exception's message, or its kind if the message is empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300].rstrip(".") if lines else type(error).__name__


def versions():
    """Return the versions of Python and of the libraries that load models."""
    import huggingface_hub
    import torch
    import transformers

    return {
        "python": sys.version.partition(" ")[0],
        "torch": str(torch.__version__),
        "transformers": str(transformers.__version__),
        "huggingface_hub": str(huggingface_hub.__version__),
    }


if __name__ == "__main__":
    sys.modules["ser_hf"] = None  # `import ser_hf` now fails, as if it was not installed
    request_file = Path(sys.argv[1])
    response_file = Path(sys.argv[2])
    response = inspect(json.loads(request_file.read_text(encoding="utf-8")))
    response_file.write_text(json.dumps(response), encoding="utf-8")
