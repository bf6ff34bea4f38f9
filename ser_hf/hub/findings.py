"""What a stranger's answers mean: what is wrong with a model as it is published, in sentences, and what is not."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import UserError
from ..strict import parse_yaml
from .verdict import Verdict, counted

TASK = "audio-classification"
# Of the largest logit, or of 1 where all are smaller: what another machine's order of adding makes of float32.
TOLERANCE = 1e-3
# SpecAugment puts it in place of frames, in training alone.
_TRAINING_ONLY = "masked_spec_embed"
_HEARD = {
    "silence": "A second of silence",
    "short": "A clip of 0.1 s",
    "long": "A clip of 30 s",
    "stereo": "A stereo file of 44.1 kHz, read as the card says,",
}


def verdict_of(where: str, answer: Mapping[str, Any], logits: np.ndarray | None = None) -> Verdict:
    """The verdict on one model.

    Args:
        answer: of `ser_hf.hub.stranger`, which has loaded the model or tried to.
        logits: what the clips should be answered with, (clips, classes).
    """
    problems, notes = [*_of_files(answer)], [*_told_of_files(answer)]
    common = {"where": where, "commit": answer["commit"], "versions": answer["versions"]}
    if not answer["loads"]:
        problems = [*problems, *_unloaded(answer)]
        return Verdict(loads=False, problems=problems, notes=notes, remote_code=answer["remote_code"], **common)
    missing = [key for key in answer["missing"] if not key.endswith(_TRAINING_ONLY)]
    problems += [*_of_tensors(answer, missing), *_of_labels(answer), *_of_answers(answer)]
    notes += [*_told_of_tensors(answer), *_told_of_answers(answer)]
    difference = None
    if logits is not None:
        difference, wrong = _compared(answer["answers"], np.asarray(logits))
        problems += wrong
    padding_safe = None
    if "difference" in answer["padding"]:
        padding = answer["padding"]
        padding_safe = padding["difference"] <= TOLERANCE * max(1.0, padding["scale"])
    return Verdict(
        loads=True,
        problems=problems,
        notes=notes,
        newly_initialised=missing,
        clips=sum("error" not in own for own in answer["answers"]),
        largest_difference=difference,
        padding_safe=padding_safe,
        **{key: answer[key] for key in ("labels", "sampling_rate", "front_end", "model", "dtype", "remote_code")},
        **{key: answer[key] for key in ("tensors", "unexpected")},
        **common,
    )


def _of_files(answer: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the files, whether it loads or not."""
    if answer["pointers"]:
        yield (
            f"{answer['pointers'][0]} is Git LFS's pointer and holds no weights: clone with Git LFS installed, or run "
            "`git lfs pull` there."
        )
    if answer["adapter_of"] is not None:
        base = answer["adapter_of"] or "a base that it does not name"
        if "config.json" in answer["files"]:
            yield (
                f"An adapter (adapter_config.json) lies beside the whole model: from the Hub, pipeline finds that "
                f"first, where peft is installed, and loads {base} in place of these weights; move it into adapter/."
            )
        else:
            fails = "" if answer["loads"] else f" Here that fails: {answer['error']}."
            yield (
                f"It is an adapter alone: pipeline takes configuration, labels and feature extractor from {base}, "
                f"never the adapter's own, and finds nothing at all where peft is not installed.{fails} Merge the "
                "adapter into its base, publish the whole model, and keep the adapter in adapter/."
            )
    for name in answer["code_absent"]:
        yield f"{name} is missing, which its configuration or its other code asks for: it loads nowhere without it."
    if "ser_hf" in answer["code_imports"]:
        yield "Its code imports ser_hf, which its users do not have: they get an ImportError."
    others = [name for name in answer["code_imports"] if name != "ser_hf"]
    if others:
        yield (
            f"Its code imports {', '.join(others)}: who has torch, numpy and transformers alone gets an ImportError."
        )
    task = answer["task"]
    if task and "error" in task:
        yield f"pipeline(model=...) without a task fails: {task['error']}."
    elif task and task["name"] != TASK:
        yield f"pipeline(model=...) without a task takes it for {task['name']}: pipeline_tag should be {TASK}."


def _told_of_files(answer: Mapping[str, Any]) -> Iterator[str]:
    files = answer["files"]
    if answer["readme"] is None:
        yield "It has no model card (README.md)."
    elif answer["task"] is None:
        tag = _card(answer["readme"]).get("pipeline_tag")
        if tag != TASK:
            yield f"pipeline_tag in its card is {tag or 'missing'}: {TASK} is what users and pipeline look for."
    whole = any(name.endswith(".safetensors") and "/" not in name for name in files)
    if not whole and any(re.fullmatch(r"pytorch_model.*\.bin", name) for name in files):
        yield (
            "Its weights are a pickle (pytorch_model.bin): old versions of torch refuse it, and so may its users; "
            "save it as safetensors."
        )
    if answer["code_from"]:
        yield f"Its code comes from {', '.join(answer['code_from'])}, where it may change."
    if answer["remote_code"] and not answer["plain_error"]:
        yield (
            "Without trust_remote_code=True another network of transformers loads in its place, parts of it random."
        )


def _card(text: str) -> Mapping[str, Any]:
    """The front matter of a card; nothing where it cannot be read."""
    found = re.match(r"\s*---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    try:
        values = parse_yaml(found[1], "README.md") if found else {}
    except UserError:
        return {}
    return values if isinstance(values, Mapping) else {}


def _unloaded(answer: Mapping[str, Any]) -> Iterator[str]:
    """Why it does not load, where the files have not said it already."""
    told = answer["pointers"] or answer["code_absent"] or (answer["lacks"] and answer["code_imports"])
    if told or answer["adapter_of"] is not None:
        return
    if answer["shapes"]:
        name, file, network = answer["shapes"][0]
        yield (
            f"{counted(len(answer['shapes']), 'tensor')} of the file have other shapes than config.json says, the "
            f"first {name}: {file} in the file, {network} by config.json; pipeline refuses it."
        )
    elif answer["error"].startswith("SafetensorError"):
        yield f"Its weights are damaged or cut off, and pipeline does not load them: {answer['error']}."
    else:
        yield f"pipeline does not load it: {answer['error']}."


def _of_tensors(answer: Mapping[str, Any], missing: Sequence[str]) -> Iterator[str]:
    if answer.get("needed") and not answer["code_imports"]:
        yield f"pipeline loads it only where more than torch and transformers is installed: {answer['needed']}."
    if missing:
        unused = f" The file has others, which are not used: {_some(answer['unexpected'])}." * bool(
            answer["unexpected"]
        )
        yield (
            f"{counted(len(missing), 'tensor')} of {answer['tensors']} are not in its files and start from random "
            f"numbers: {_some(missing)}. Its answers are guesses, others each time it is loaded.{unused}"
        )
    if answer["mismatched"]:
        yield f"Tensors of another shape than the network's are not loaded: {_some(answer['mismatched'])}."
    if "unaccounted" in answer:
        yield f"What became of its tensors cannot be told: {answer['unaccounted']}."
    if answer["not_finite"]:
        yield f"Weights hold NaN or infinity: {_some(answer['not_finite'])}."


def _told_of_tensors(answer: Mapping[str, Any]) -> Iterator[str]:
    if answer["unexpected"] and not answer["missing"]:
        yield f"Tensors in its files that the network has no place for: {_some(answer['unexpected'])}."
    if any(key.endswith(_TRAINING_ONLY) for key in answer["missing"]):
        yield f"{_TRAINING_ONLY} is not in its files, which only training uses."
    if answer["dtype"] != "float32":
        yield f"Its weights are {answer['dtype']}, and pipeline computes in that."


def _of_labels(answer: Mapping[str, Any]) -> Iterator[str]:
    labels = answer["labels"]
    unnamed = [label for label in labels if label is None or re.fullmatch(r"LABEL_\d+", str(label))]
    if unnamed and answer["problem_type"] != "regression":
        yield f"It answers {_some(unnamed)} in place of emotions: name them in id2label of config.json."
    double = [label for label, count in Counter(labels).items() if count > 1]
    if double:
        yield f"Several of its classes are called {_some(double)}: nobody can tell them apart."
    told, own = answer["config_sampling_rate"], answer["sampling_rate"]
    if isinstance(told, int) and told != own:
        yield (
            f"Its feature extractor takes {own} Hz and its network {told}: every clip is heard "
            f"{max(own, told) / min(own, told):.2g} times too {'slow' if own > told else 'fast'}."
        )


def _of_answers(answer: Mapping[str, Any]) -> Iterator[str]:
    for number, own in enumerate(answer["answers"], start=1):
        told = [*_wrong(own, answer)]
        if told:  # and so, mostly, is everything else
            yield f"Clip {number} of {len(answer['answers'])} {told[0]}."
            return
    for name, own in answer["others"].items():
        if "error" in own and name in ("short", "long"):
            continue  # no clip that a user must have
        for told in _wrong(own, answer):
            yield f"{_HEARD[name]} {told}."


def _wrong(own: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    if "error" in own:
        yield f"is refused: {own['error']}"
    elif not own["finite"]:
        yield "is answered with NaN or infinity"
    elif len(own["logits"]) != len(answer["labels"]):
        yield f"is answered with {len(own['logits'])} numbers, and has {counted(len(answer['labels']), 'label')}"
    elif answer["problem_type"] in (None, "single_label_classification") and abs(own["sum"] - 1) > 1e-3:
        yield f"gets probabilities that add up to {own['sum']:.3f}"


def _told_of_answers(answer: Mapping[str, Any]) -> Iterator[str]:
    for name in ("short", "long"):
        if "error" in answer["others"][name]:
            yield f"{_HEARD[name]} is refused: {answer['others'][name]['error']}."
    padding = answer["padding"]
    if "error" in padding:
        yield f"It takes no batch of clips of different lengths: {padding['error']}."
    elif padding["difference"] > TOLERANCE * max(1.0, padding["scale"]):
        yield (
            f"A clip gets other answers in a batch with a longer one than alone (logits {padding['difference']:.2g} "
            "apart): ask it one clip at a time."
        )
    if answer["problem_type"] == "regression":
        yield "It answers numbers, not labels (problem_type: regression)."
    elif answer["problem_type"] == "multi_label_classification":
        yield "Each label has a probability of its own (problem_type: multi_label_classification)."


def _compared(answers: Sequence[Mapping[str, Any]], logits: np.ndarray) -> tuple[float | None, list[str]]:
    """The largest difference from the logits that are known, and what is to be said of it."""
    made = [own.get("logits") for own in answers]
    if not all(own.get("finite") for own in answers):
        return None, []  # which is told already
    if any(len(own) != logits.shape[1] for own in made) or len(made) != len(logits):
        shape = (len(made), len(made[0]))
        return None, [f"It answers with logits of shape {shape}, where the training process had {logits.shape}."]
    difference = float(np.abs(np.asarray(made) - logits).max())
    if difference <= TOLERANCE * max(1.0, float(np.abs(logits).max())):
        return difference, []
    return difference, [
        f"Its logits differ from those of the training process by up to {difference:.2g} on the same clips: it is not "
        "the model that was judged."
    ]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(str, names[:4]))
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"
