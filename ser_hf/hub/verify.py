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
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..corpora.synthetic_voice import utterance
from ..errors import UserError
from ..run_folder import RunFolder
from .findings import verdict_of
from .reference import read_reference
from .verdict import Verdict

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
