"""The round trip: a clean process without ser_hf loads a folder or a repository through `pipeline` and answers clips.

The process is that of `stranger/`; here it is asked, and its answers become a `Verdict`.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..corpora.synthetic import utterance
from ..inference.reference import read_reference
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import parse_yaml


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a user of a model would get.

    Args:
        where: as it was named; `commit` is that of the Hub.
        loads: whether `pipeline` loads it at all; what follows is empty where it does not.
        problems: each a sentence that says what a user would get; none where all is well.
        notes: what a user should know, and is no fault.
        front_end: class of the feature extractor; `sampling_rate` is its own, in Hz.
        remote_code: it loads with ``trust_remote_code=True`` only.
        tensors: how many the network has; `newly_initialised` are those that its files lack, whose numbers are random,
            `unexpected` those of the files that it has no place for.
        largest_difference: of its logits from those that are known; None where none are, or none can be compared.
        padding_safe: whether a clip gets the same answer alone and beside a longer one; None where it cannot be told.
        versions: of the libraries that all of this was tried with.
    """

    where: str
    loads: bool
    problems: list[str]
    notes: list[str] = dataclasses.field(default_factory=list)
    labels: list[str] = dataclasses.field(default_factory=list)
    sampling_rate: int | None = None
    front_end: str | None = None
    model: str | None = None
    dtype: str | None = None
    remote_code: bool = False
    tensors: int = 0
    newly_initialised: list[str] = dataclasses.field(default_factory=list)
    unexpected: list[str] = dataclasses.field(default_factory=list)
    clips: int = 0
    largest_difference: float | None = None
    padding_safe: bool | None = None
    commit: str | None = None
    versions: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def good(self) -> bool:
        return not self.problems

    def to_json(self) -> str:
        """One object, `good` among its keys."""
        values = {"good": self.good} | dataclasses.asdict(self)
        return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)

    def __str__(self) -> str:
        lines = [self.where + (f" (commit {self.commit[:12]})" if self.commit else "")]
        if self.loads:
            trust = ", with code of its own (trust_remote_code=True)" if self.remote_code else ""
            lines += [
                f"  loads: {self.model} behind {self.front_end} at {self.sampling_rate} Hz{trust}",
                f"  labels: {', '.join(map(str, self.labels))}",
                f"  tensors: {self.tensors}, {_accounted(self)}",
            ]
            lines.append(f"  {counted(self.clips, 'clip')} answered{_compared(self)}")
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  PROBLEM: {problem}" for problem in self.problems]
        lines.append(f"  tried with {', '.join(f'{name} {version}' for name, version in self.versions.items())}")
        lines.append(f"{counted(len(self.problems), 'problem')} found" if self.problems else "good")
        return "\n".join(lines)


def _accounted(verdict: Verdict) -> str:
    if verdict.newly_initialised:
        return f"{len(verdict.newly_initialised)} of them random"
    return "each from the file"


def _compared(verdict: Verdict) -> str:
    if verdict.largest_difference is None:
        return "; nothing says what the answers should be"
    return f", logits at most {verdict.largest_difference:.1e} from those of the training process"


def counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


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
        difference, wrong = _findings_compared(answer["answers"], np.asarray(logits))
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


def _findings_compared(answers: Sequence[Mapping[str, Any]], logits: np.ndarray) -> tuple[float | None, list[str]]:
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


logger = logging.getLogger(__name__)

_STRANGER = Path(__file__).with_name("stranger")
_SIGN_IN = "sign in with `hf auth login`, or set HF_TOKEN, as somebody who may read it"
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclasses.dataclass(frozen=True)
class Question:
    """One model to look at; see `verify`."""

    where: str
    revision: str | None = None
    clips: Sequence[np.ndarray | str | Path] | None = None
    logits: np.ndarray | None = None
    trust_remote_code: bool | None = None


def verify(
    where: str | Path,
    *,
    revision: str | None = None,
    clips: Sequence[np.ndarray | str | Path] | None = None,
    logits: np.ndarray | None = None,
    token: str | bool | None = None,
    trust_remote_code: bool | None = None,
) -> Verdict:
    """What a user would get of a model, ours or anybody's, who loads it through `pipeline` and has no ser_hf.

    Args:
        where: a model's folder, a run's, or a Hub id. Of a run, clips and logits are its `reference.npz` where nothing
            else is said.
        revision: of a model on the Hub: a branch, tag or commit.
        clips: waveforms (samples,) at the model's rate, or audio files; None takes a synthetic voice.
        logits: what they should be answered with, (clips, classes), in the order of the labels.
        token: for the Hub; None is the one that is signed in, False none at all, and nothing from the cache.
        trust_remote_code: run the code that a model brings; None runs it where it is ser_hf's own, to the letter.

    Raises:
        UserError: if there is no such model, it cannot be reached, it brings code that was not to be run, or a clip
            cannot be read.
    """
    found = verify_several([Question(str(where), revision, clips, logits, trust_remote_code)], token=token)[0]
    if isinstance(found, UserError):
        raise found
    return found


def verify_several(questions: Sequence[Question], *, token: str | bool | None = None) -> list[Verdict | UserError]:
    """`verify` of several models in one process, which takes seconds to start; a `UserError` in the place of what
    could not be looked at.

    Raises:
        UserError: for a folder without a model, and files of clips that are not there.
    """
    questions = [_of_run(question) for question in questions]
    for question in questions:
        logger.info("loading %s in a process without ser_hf", question.where)
    answers = _ask(questions, token)
    # What more is needed than a card asks for shows where everything is there that is installed here.
    lacking = [i for i, answer in enumerate(answers) if answer.get("lacks") and _here(answer["code_imports"])]
    if lacking:
        for i, answer in zip(lacking, _ask([questions[i] for i in lacking], token, everything=True), strict=True):
            answers[i] = answer | {"needed": answers[i]["error"]}
    return [_found(question, answer) for question, answer in zip(questions, answers, strict=True)]


def _here(packages: Sequence[str]) -> bool:
    return all(package != "ser_hf" and importlib.util.find_spec(package) is not None for package in packages)


def _found(question: Question, answer: Mapping[str, Any]) -> Verdict | UserError:
    if "refused" in answer:
        return _refusal(question, *answer["refused"])
    if "died" in answer:
        return _dead(question, answer)
    if answer.get("untrusted"):
        return _untrusted(question, answer)
    return verdict_of(question.where, answer, question.logits)


def _of_run(question: Question) -> Question:
    """The question about a folder, checked, and of a run with what the run keeps for it."""
    if question.logits is not None and question.clips is None:
        raise ValueError("logits need the clips that they answer")
    folder = Path(question.where)
    if not folder.is_dir():
        if folder.is_file():
            raise UserError(f"{folder}: a file; name a run's folder, a model folder or a Hub id")
        return question
    if question.revision is not None:
        raise UserError(f"--revision: {folder} is a folder, which has no revisions; leave it out")
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        run = RunFolder(folder)
        if not (run.model / "config.json").is_file():
            if run.recipe.is_file():
                raise UserError(f"{folder}: the run in it has no model yet; finish it with --resume")
            raise UserError(f"{folder}: holds neither a model (config.json) nor a run; name the folder of one of them")
        folder = run.model
    above = RunFolder(folder.resolve().parent)
    question = dataclasses.replace(question, where=str(folder))
    if question.clips is None and above.model.name == folder.resolve().name and above.reference.is_file():
        clips, logits = read_reference(above.path)
        return dataclasses.replace(question, clips=clips, logits=logits)
    return question


def _ask(questions: Sequence[Question], token: str | bool | None, everything: bool = False) -> list[dict[str, Any]]:
    """The stranger's answer to each question; ``{"died": ...}`` where it did not live to give one."""
    with tempfile.TemporaryDirectory(prefix="ser_hf-verify-") as temporary:
        folder = Path(temporary)
        soundfile.write(folder / "voice.wav", _voice(16000), 16000)
        soundfile.write(folder / "stereo.wav", np.stack([_voice(44100), 0.5 * _voice(44100)], axis=1), 44100)
        asked = {
            "models": [_written(question, folder, i) for i, question in enumerate(questions)],
            "path": _homes(),
            "everything": everything,
        }
        (folder / "questions.json").write_text(json.dumps(asked), encoding="utf-8")
        answers = folder / "answers.jsonl"
        answers.touch()
        shown = sys.stderr.isatty()  # bars of downloads
        done = subprocess.run(
            [sys.executable, "-I", str(_STRANGER), str(folder / "questions.json"), str(answers)],
            cwd=folder,
            env=_environment(folder, token) | ({} if shown else {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if shown else subprocess.STDOUT,
        )
        lines = answers.read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    if len(found) == len(questions):
        return found
    said = done.stdout.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
    if done.returncode == 1:  # Python's own, of an exception that nobody caught
        if not found and not everything:  # it may have been missing something before it began
            return _ask(questions, token, everything=True)
        raise RuntimeError(f"the process that verifies failed: {said[0]}")
    dead = [{"died": done.returncode, "said": said[0]}]
    left = questions[len(found) + 1 :]
    return [*found, *dead, *(_ask(left, token, everything) if left else [])]


def _written(question: Question, folder: Path, number: int) -> dict[str, Any]:
    """A question as the stranger reads it, its waveforms as files."""
    waveforms, recordings = [], []
    for i, clip in enumerate([folder / "voice.wav"] if question.clips is None else question.clips):
        if isinstance(clip, str | Path):
            if not Path(clip).is_file():
                raise UserError(f"--clips: there is no file {clip}")
            recordings.append(os.path.abspath(clip))
        else:
            waveforms.append(str(folder / f"{number}-{i}.npy"))
            np.save(waveforms[-1], np.asarray(clip, dtype=np.float32))
    if not waveforms and not recordings:
        raise UserError("--clips: none given; leave it out for a synthetic voice")
    local = os.path.isdir(question.where)
    return {
        "where": os.path.abspath(question.where) if local else question.where,
        "folder": local,
        "revision": question.revision,
        "recordings": recordings,
        "waveforms": waveforms,
        "stereo": str(folder / "stereo.wav"),
        "trust_remote_code": question.trust_remote_code,
        "known_code": _known_code(),
    }


def _voice(sampling_rate: int) -> np.ndarray:
    return utterance(0, "neutral", 0, 0, sampling_rate)


def _known_code() -> list[str]:
    """SHA-256 sums of the code that ser_hf publishes with its models."""
    models = Path(__file__).parents[1] / "models"
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(models.glob("*.py"))]


def _homes() -> list[str]:
    """Folders that the libraries lie in, which an isolated process would not look into where a path variable or the
    user's own folder brought them."""
    homes = {}
    for name in ("torch", "transformers", "numpy", "huggingface_hub", "soundfile", "soxr", "peft", "packaging"):
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin is not None:
                path = Path(spec.origin)
                homes[str(path.parents[1] if path.name == "__init__.py" else path.parent)] = None
    return list(homes)


def _environment(folder: Path, token: str | bool | None) -> dict[str, str]:
    """Of the stranger: ours, with no code that other models have left in the cache, and the token asked for."""
    environment = dict(os.environ)
    environment |= {
        "HF_MODULES_CACHE": str(folder / "modules"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # transformers would ask a service to open a pull request with safetensors in a repository without.
        "DISABLE_SAFETENSORS_CONVERSION": "1",
    }
    if token is False:
        # Somebody else has downloaded nothing either.
        environment |= {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_HUB_CACHE": str(folder / "hub")}
        environment = {key: value for key, value in environment.items() if key not in _TOKENS}
    elif isinstance(token, str):
        environment["HF_TOKEN"] = token
    return environment


def _refusal(question: Question, kind: str, said: str) -> UserError:
    """Why nothing could be looked at, and what to do."""
    where = question.where
    if kind == "recording":
        return UserError(f"--clips: {said}")
    reasons = {
        "gated": "gated: ask for access on its page of the Hub, then " + _SIGN_IN + " (a fine-grained token needs the "
        "right to read gated repositories)",
        "absent": f"no such folder here; on the Hub no such model, or a private one: check the name, or {_SIGN_IN}",
        "token": "the Hub refuses the token: get a new one with `hf auth login`, or take a wrong HF_TOKEN away",
        "revision": f"has no branch, tag or commit {question.revision}; leave out --revision for the newest",
        "name": "no such folder here, and no name that a model on the Hub can have (NAME or USER/NAME)",
        "offline": "no such folder here, and the Hub cannot be reached: "
        + (said or "HF_HUB_OFFLINE is set, and its files are not in the cache"),
        "hub": f"the Hub answers: {said}",
    }
    return UserError(f"{where}: {reasons[kind]}")


def _untrusted(question: Question, answer: Mapping[str, Any]) -> UserError:
    files = answer["code_unknown"]
    told = ", ".join(files) if len(files) <= 3 else f"{len(files)} files, such as {files[-1]}"
    sources = [told] * bool(files) + [f"from {place}" for place in answer["code_from"]]
    return UserError(
        f"{question.where}: brings code that is not ser_hf's ({', '.join(sources)}); --trust-remote-code runs it, if "
        "you trust its author"
    )


def _dead(question: Question, answer: Mapping[str, Any]) -> Verdict:
    code = answer["died"]
    cause = f"of signal {-code}" + ", mostly a lack of memory" * (code == -9) if code < 0 else f"with exit code {code}"
    problem = f"The process that loads it dies {cause}; its last words: {answer['said']}."
    return Verdict(question.where, False, [problem])
