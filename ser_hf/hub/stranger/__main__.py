"""What somebody meets who has no ser_hf: run by `ser_hf.hub.verify` in a process of its own.

    python -I FOLDER/stranger QUESTIONS.json ANSWERS.jsonl

It must import nothing of ser_hf, and hides what `pip install` of `INSTALLED` would not have brought: who follows a
model card has that and no more. Each answer is a line of plain facts; what they mean is `ser_hf.hub.verify`' matter.
"""

import json
import sys
from pathlib import Path

from hiding import Hiding, importable
from listening import heard, listen
from place import Place, Refused
from words import told

# What a card asks for, and what adapters are looked up with.
INSTALLED = ("torch", "numpy", "transformers", "soundfile", "soxr", "peft")


def look(asked):
    """All facts about one model: a dict that JSON can hold. `asked` is what `ser_hf.hub.verify` writes."""
    try:
        place = Place(asked)
        recordings = [heard(path) for path in asked["recordings"]]
    except Refused as refused:
        return {"refused": list(refused.args)}
    quiet()
    answer = {"versions": versions()}
    answer |= {"commit": place.commit, "files": place.files, "readme": place.text("README.md"), "task": place.task()}
    answer |= {"pointers": place.pointers(), "adapter_of": place.adapter_of()}
    answer |= place.code(asked["known_code"])
    code = bool(answer["code"] or answer["code_absent"] or answer["code_from"])
    trust = False
    classifier, error = attempt(place, trust)
    answer["plain_error"] = told(error)
    if classifier is not None:
        answer |= tensors(classifier.model, place, answer["adapter_of"])
    # Where transformers knows the kind of model it makes one of its own, and what the code has more is missing.
    answer["remote_code"] = code and (classifier is None or bool(answer["missing"]))
    if answer["remote_code"]:
        ours = not (answer["code_unknown"] or answer["code_from"])
        trust = ours if asked["trust_remote_code"] is None else asked["trust_remote_code"]
        if not trust:
            return answer | {"untrusted": True}
        classifier, error = attempt(place, trust)
        if classifier is not None:
            answer |= tensors(classifier.model, place, answer["adapter_of"])
    if classifier is not None:
        try:
            answer |= describe(classifier)
            return answer | {"loads": True} | listen(classifier, recordings, asked["waveforms"], asked["stereo"])
        except Exception as raised:  # of what is no audio classifier's
            error = raised
    shape = shapes(place, error, trust)
    return answer | {"loads": False, "error": told(error), "lacks": lacks(error), "shapes": shape}


def attempt(place, trust):
    """The pipeline, or what loading it raised."""
    from transformers import pipeline

    try:
        kind = {"revision": place.commit, "trust_remote_code": trust, "device": "cpu"}
        return pipeline("audio-classification", model=place.name, **kind), None
    except (Exception, SystemExit) as error:  # code of others may raise anything
        return None, error


def tensors(model, place, adapter_of):
    """What became of every tensor: of the network, and of the file."""
    state = model.state_dict()
    found = {"tensors": len(state), "missing": [], "unexpected": [], "mismatched": []}
    floating = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    found["not_finite"] = sorted(name for name, tensor in floating.items() if not tensor.isfinite().all())
    if adapter_of is not None:
        return found
    try:
        _, info = type(model).from_pretrained(
            place.name, revision=place.commit, dtype="auto", output_loading_info=True
        )
    except Exception as error:
        return found | {"unaccounted": told(error)}
    found |= {key: sorted(info[f"{key}_keys"]) for key in ("missing", "unexpected")}
    return found | {"mismatched": sorted(str(key[0]) for key in info["mismatched_keys"])}


def describe(classifier):
    model, extractor = classifier.model, classifier.feature_extractor
    names = model.config.id2label
    return {
        "labels": [names.get(i) for i in range(model.config.num_labels)],
        "problem_type": model.config.problem_type,
        "sampling_rate": extractor.sampling_rate,
        "config_sampling_rate": getattr(model.config, "sampling_rate", None),
        "front_end": type(extractor).__name__,
        "model": type(model).__name__,
        "dtype": str(model.dtype).removeprefix("torch."),
    }


def shapes(place, error, trust):
    """Tensors of another shape in the file than in the network, where that is why it does not load."""
    if "ignore_mismatched_sizes" not in str(error):
        return []
    from transformers import AutoModelForAudioClassification

    _, info = AutoModelForAudioClassification.from_pretrained(
        place.name,
        revision=place.commit,
        trust_remote_code=trust,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    return [[name, list(file), list(network)] for name, file, network in sorted(info["mismatched_keys"])]


def lacks(error):
    """Whether a package that is not there is why it does not load."""
    said = str(error)
    return isinstance(error, ImportError) or any(
        word in said for word in ("ModuleNotFoundError", "ImportError", "requires the following packages")
    )


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
    own = {module.__name__: str(module.__version__) for module in modules}
    return {"python": sys.version.partition(" ")[0]} | own


def main(questions, answers):
    asked = json.loads(Path(questions).read_text(encoding="utf-8"))
    sys.path += [folder for folder in asked["path"] if folder not in sys.path]
    names = None if asked["everything"] else importable(INSTALLED)
    sys.meta_path[:] = [Hiding(finder, names) for finder in sys.meta_path]
    with open(answers, "a", encoding="utf-8") as file:
        for model in asked["models"]:
            file.write(json.dumps(look(model)) + "\n")
            file.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
