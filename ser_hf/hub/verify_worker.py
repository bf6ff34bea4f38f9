"""Loads a model where ser_hf cannot be imported, predicts clips, and writes what it found as JSON.

    python -P verify_worker.py REQUEST.json RESPONSE.json

`ser_hf.hub.verify` starts it in a process of its own and interprets the response. It imports nothing of ser_hf.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

CODE_MAY_IMPORT = {"torch", "numpy", "transformers"}
CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")


class Refused(Exception):
    """The model cannot be inspected, for a reason that the user can change: (kind, message)."""


def inspect(request):
    """All facts about one model; `request` is what `ser_hf.hub.verify` writes."""
    try:
        folder, commit = snapshot(request)
        readers = [recording(path) for path in request["recordings"]]
    except Refused as refused:
        return {"refused": list(refused.args)}
    quiet()
    response = {"commit": commit, "versions": versions(), "adapter": (folder / "adapter_config.json").is_file()}
    response |= code(folder, request["known_code"])
    if response["adapter"]:
        return response | {"loads": False, "remote_code": False}
    has_code = bool(response["code"] or response["code_from"])
    options = {"model": request["where"], "revision": commit, "trust_remote_code": False, "device": "cpu"}
    classifier, facts, error = load(options)
    # A known model type loads as a network of transformers, which may lack tensors that the model's own code has.
    response["remote_code"] = has_code and (classifier is None or bool(facts["missing"]))
    if response["remote_code"]:
        trusted = request["trust_remote_code"]
        if trusted is None:
            trusted = not (response["code_unknown"] or response["code_from"])
        if not trusted:
            return response | {"untrusted": True}
        classifier, facts, error = load(options | {"trust_remote_code": True})
    if classifier is not None:
        try:
            return response | {"loads": True} | facts | describe(classifier) | predict(classifier, readers, request)
        except Exception as raised:  # not an audio classifier
            error = raised
    return response | {"loads": False, "error": message_of(error)}


def snapshot(request):
    """The folder that holds the model's configurations and code, and the commit of a model on the Hub."""
    if request["folder"]:
        return Path(request["where"]), None
    from huggingface_hub import errors, snapshot_download

    kinds = {
        errors.LocalEntryNotFoundError: "offline",
        errors.OfflineModeIsEnabled: "offline",
        errors.GatedRepoError: "gated",
        errors.RepositoryNotFoundError: "absent",
        errors.RevisionNotFoundError: "revision",
        errors.HFValidationError: "name",
        errors.HfHubHTTPError: "hub",
        Exception: "offline",
    }
    try:
        found = snapshot_download(
            request["where"], revision=request["revision"], allow_patterns=["*.json", "*.py", "README.md"]
        )
    except tuple(kinds) as error:
        kind = next(kind for known, kind in kinds.items() if isinstance(error, known))
        status = getattr(getattr(error, "response", None), "status_code", None)
        raise Refused("token" if kind == "hub" and status == 401 else kind, first_line(error)) from None
    return Path(found), Path(found).name


def code(folder, known):
    """The code files that loading the model runs, their imports besides `CODE_MAY_IMPORT`, the files whose SHA-256
    sums are not `known`, and other repositories that code comes from."""
    from transformers.dynamic_module_utils import get_imports, get_relative_imports

    named = []
    for name in CONFIGS:
        if (folder / name).is_file():
            try:
                named += references(json.loads((folder / name).read_text(encoding="utf-8")))
            except ValueError:
                continue  # loading reports it
    foreign = sorted({name.partition("--")[0] for name in named if "--" in name})
    wanted = [name.rpartition(".")[0] + ".py" for name in named if "--" not in name]
    used, imports = set(), set()
    while wanted:
        name = wanted.pop()
        if name in used or not (folder / name).is_file():
            continue
        used.add(name)
        try:
            imports |= set(get_imports(folder / name))
            wanted += [f"{module}.py" for module in get_relative_imports(folder / name)]
        except SyntaxError:
            continue  # loading reports it
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in used}
    return {
        "code": sorted(used),
        "code_imports": sorted(imports - CODE_MAY_IMPORT - sys.stdlib_module_names),
        "code_unknown": sorted(name for name, digest in sums.items() if digest not in known),
        "code_from": foreign,
    }


def references(value, inside=False):
    """All names of classes under `auto_map` and `custom_pipelines` of a configuration."""
    if isinstance(value, str):
        return [value] if inside and "." in value else []
    if isinstance(value, dict):
        pairs = [(item, inside or key in ("auto_map", "custom_pipelines")) for key, item in value.items()]
    else:
        pairs = [(item, inside) for item in value] if isinstance(value, list) else []
    return [name for item, below in pairs for name in references(item, below)]


def load(options):
    """The pipeline, what became of its tensors, and what loading raised."""
    from transformers import pipeline

    try:
        classifier = pipeline("audio-classification", **options)
        return classifier, tensors(classifier.model, options), None
    except (Exception, SystemExit) as error:  # a model's own code may raise anything
        return None, {}, error


def tensors(model, options):
    """Which tensors of the network are not in the file, and the other way round."""
    state = model.state_dict()
    floating = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    _, info = type(model).from_pretrained(
        options["model"], revision=options["revision"], dtype="auto", output_loading_info=True
    )
    return {
        "tensors": len(state),
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(info["unexpected_keys"]),
        "not_finite": sorted(name for name, tensor in floating.items() if not tensor.isfinite().all()),
    }


def describe(classifier):
    model, extractor = classifier.model, classifier.feature_extractor
    return {
        "labels": [model.config.id2label.get(i) for i in range(model.config.num_labels)],
        "problem_type": model.config.problem_type,
        "sampling_rate": extractor.sampling_rate,
        "config_sampling_rate": getattr(model.config, "sampling_rate", None),
        "front_end": type(extractor).__name__,
        "model": type(model).__name__,
        "dtype": str(model.dtype).removeprefix("torch."),
    }


def recording(path):
    """A function that reads a recording at a sampling rate, as the snippet of a model card does."""
    from transformers.audio_utils import load_audio

    try:
        load_audio(path)
    except Exception as error:
        raise Refused("recording", f"{path}: {first_line(error)}") from None
    return lambda sampling_rate: load_audio(path, sampling_rate=sampling_rate)


def predict(classifier, readers, request):
    """Logits, or the error, of each clip, of unusual clips, and of one clip alone and in a padded batch."""
    import numpy as np

    rate = classifier.feature_extractor.sampling_rate
    clips = [read(rate) for read in readers] + [np.load(path) for path in request["waveforms"]]
    loudest = max(clips, key=lambda clip: float(np.abs(clip).max(initial=0)))
    half = loudest[: max(1, len(loudest) // 2)]
    unusual = {
        "A second of silence": np.zeros(rate, np.float32),
        "A clip of 0.1 s": loudest[: rate // 10],
        "A clip of 30 s": np.resize(loudest, 30 * rate),
    }
    captured = []
    hook = classifier.model.register_forward_hook(lambda module, given, output: captured.append(output.logits))

    def run(inputs, **options):
        captured.clear()
        try:
            classifier(inputs, top_k=None, **options)
            return {"logits": captured[0][0].float().tolist()}
        except (Exception, SystemExit) as error:
            return {"error": message_of(error)}

    found = {
        "predictions": [run(clip) for clip in clips],
        "unusual": {name: run(clip) for name, clip in unusual.items()},
        "alone": run(half),
        "padded": run([half, loudest], batch_size=2),
    }
    hook.remove()
    return found


def message_of(error):
    """Kind and first line of an exception."""
    text = str(error)
    if (
        "See the original errors" in text
    ):  # one traceback for each class that pipeline tried; the first is for the task
        first = text.partition("an error is thrown:")[2].partition("\nwhile loading with")[0]
        raised = re.findall(r"^(?:[\w.]*\.)?(\w*(?:Error|Exception)): (.*)", first, re.MULTILINE)
        if raised:
            return ": ".join(raised[-1])[:300].rstrip(".")
    return f"{type(error).__name__}: {first_line(error)}"


def first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300].rstrip(".") if lines else type(error).__name__


def quiet():
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def versions():
    import huggingface_hub
    import numpy
    import torch
    import transformers

    modules = (torch, transformers, huggingface_hub, numpy)
    found = {module.__name__: str(module.__version__) for module in modules}
    return {"python": sys.version.partition(" ")[0]} | found


if __name__ == "__main__":
    sys.modules["ser_hf"] = None  # an import of it fails, as where it is not installed
    answer = inspect(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
