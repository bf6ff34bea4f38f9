"""The round trip: a clean process without ser_hf loads a model through `pipeline` and predicts
clips.
"""

import contextlib
import dataclasses
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
from ..inference.load import check_configurations, find_model
from ..inference.reference import read_reference
from ..loading.data_only import data_only, references
from ..loading.files import weight_files
from ..report.views import counted
from ..utils.errors import UserError, printable
from ..utils.files import read_json
from ..utils.run_folder import RunFolder
from .push import hub_errors

logger = logging.getLogger(__name__)

# Of the largest logit, or of 1 where all are smaller: float32 sums in another order on another
# machine.
TOLERANCE = 1e-3
# SpecAugment uses it, in training only.
_TRAINING_ONLY = "masked_spec_embed"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a user of a model gets; fields stay empty where `pipeline` does not load it.

    Args:
        problems: what is wrong, a sentence each; none for a good model.
        notes: what a user should know and is no fault.
        remote_code: it is loaded with ``trust_remote_code=True``.
        newly_initialized: tensors that are not in the file and start from random numbers;
            `unexpected` are only there.
        largest_difference: between its logits and the expected ones; None without expected logits.
        padding_safe: whether a clip gets the same logits alone and in a padded batch; None if
            batches fail.
    """

    where: str
    loads: bool
    problems: list[str]
    notes: list[str] = dataclasses.field(default_factory=list)
    labels: list[str] = dataclasses.field(default_factory=list)
    sampling_rate: int | None = None
    front_end: str | None = None
    model: str | None = None
    remote_code: bool = False
    tensors: int = 0
    newly_initialized: list[str] = dataclasses.field(default_factory=list)
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
            trust = ", with its own code (trust_remote_code=True)" if self.remote_code else ""
            random = len(self.newly_initialized)
            compared = "no expected logits to compare with"
            if self.largest_difference is not None:
                compared = f"logits at most {self.largest_difference:.1e} from those of the training process"
            lines += [
                f"  loads: {self.model} after {self.front_end} at {self.sampling_rate} Hz{trust}",
                f"  labels: {', '.join(map(str, self.labels))}",
                f"  tensors: {self.tensors}, {random} of them random",
                f"  {counted(self.clips, 'clip')} predicted, {compared}",
            ]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  PROBLEM: {problem}" for problem in self.problems]
        lines.append(
            f"  checked with {', '.join(f'{name} {version}' for name, version in self.versions.items())}"
        )
        lines.append(f"{counted(len(self.problems), 'problem')} found" if self.problems else "good")
        return "\n".join(map(printable, lines))


def verify(
    where: str | Path,
    *,
    revision: str | None = None,
    clips: Sequence[np.ndarray | str | Path] | None = None,
    logits: np.ndarray | None = None,
    token: str | None = None,
    trust_remote_code: bool | None = None,
) -> Verdict:
    """Check what a user without ser_hf gets from a model that `pipeline` loads.

    Example: `print(ser_hf.verify("runs/a"))`

    Args:
        where: the folder of a model or a run, or a Hub id. Clips and logits of a run default to its
            `reference.npz`.
        revision: branch, tag or commit of a model on the Hub.
        clips: waveforms (samples,) at the model's rate, or audio files; None for a synthetic voice.
        logits: the expected logits of `clips`, (clips, classes), in the order of the labels.
        token: for the Hub; None for the stored one.
        trust_remote_code: run code that comes with the model; otherwise only ser_hf's own runs,
            byte for byte, in a copy that holds nothing else (`ser_hf.loading.data_only.data_only`).

    Returns:
        The verdict; `problems` is empty for a good model.

    Raises:
        UserError: if there is no model, a clip cannot be read, or the model has code of others or
            pickles.
    """
    if logits is not None and clips is None:
        raise ValueError("logits need their clips")
    where = str(where)
    if os.path.exists(where):
        where = place = find_model(where, revision)
        run = RunFolder(Path(where).resolve().parent)
        commit = None
        if (
            clips is None
            and run.model.name == Path(where).resolve().name
            and run.reference.is_file()
        ):
            clips, logits = read_reference(run.path)
    else:
        from huggingface_hub import snapshot_download

        with hub_errors(where):
            files = ["*.json", "*.py", "README.md", "model*.safetensors"]
            place = snapshot_download(
                where, revision=revision, allow_patterns=files, ignore_patterns="*/*", token=token
            )
        commit = Path(place).name
    check_configurations(str(place))
    logger.info("loading %s in a process without ser_hf", where)
    with contextlib.ExitStack() as stack:
        if trust_remote_code:
            weight_files(place, where)
            named = references([read_json(path) for path in Path(place).glob("*config.json")])
            model = where if commit else os.path.abspath(where)
            trust = bool(named)
        else:
            copy = stack.enter_context(data_only(place, where=where, code=True))
            model = copy.folder
            trust = copy.names_code
            named = []
        request = {
            "model": model,
            "revision": commit if trust_remote_code else None,
            "trust_remote_code": trust,
        }
        response = _inspect(request, clips, token)
        response |= {
            "remote_code": trust,
            "code_from": sorted(set(re.findall(r"([\w./-]+?)--", str(named)))),
        }
        if "error" in response:
            response["error"] = response["error"].replace(model, where)
        return verdict_of(where, response, logits, commit)


def _inspect(
    request: dict[str, Any], clips: Sequence[np.ndarray | str | Path] | None, token: str | None
) -> dict[str, Any]:
    """The response of the worker (verify_worker.py); ``{"died": ...}`` if its process ended without
    one.
    """
    with tempfile.TemporaryDirectory(prefix="ser_hf-verify-") as temporary:
        folder = Path(temporary)
        recordings = []
        waveforms = []
        if clips is None:
            soundfile.write(folder / "voice.wav", utterance(0, "neutral", 0, 0, 16000), 16000)
            clips = [folder / "voice.wav"]
        for i, clip in enumerate(clips):
            if isinstance(clip, str | Path):
                if not Path(clip).is_file():
                    raise UserError(f"--clips: no such file: {clip}")
                recordings.append(os.path.abspath(clip))
            else:
                waveforms.append(str(folder / f"{i}.npy"))
                np.save(waveforms[-1], np.asarray(clip, dtype=np.float32))
        request = request | {"recordings": recordings, "waveforms": waveforms}
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        environment = os.environ | {
            # no code that another model has left there
            "HF_MODULES_CACHE": str(folder / "modules"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            # transformers would open a pull request with safetensors in a repository without them.
            "DISABLE_SAFETENSORS_CONVERSION": "1",
        }
        if token is not None:
            environment["HF_TOKEN"] = token
        worker = Path(__file__).with_name("verify_worker.py")
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                str(worker),
                str(folder / "request.json"),
                str(folder / "response.json"),
            ],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if sys.stderr.isatty() else subprocess.STDOUT,  # progress bars of downloads
        )
        if (folder / "response.json").is_file():
            return json.loads((folder / "response.json").read_text(encoding="utf-8"))
    output = done.stdout.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
    if done.returncode == 1:  # an exception that nothing caught
        raise RuntimeError(f"the process that verifies failed: {output[0]}")
    return {"died": done.returncode, "output": output[0]}


def verdict_of(
    where: str,
    response: Mapping[str, Any],
    logits: np.ndarray | None = None,
    commit: str | None = None,
) -> Verdict:
    """The verdict that follows from a response of the worker."""
    if "unreadable" in response:
        raise UserError(f"--clips: {response['unreadable']}")
    if "died" in response:
        code = response["died"]
        cause = (
            f"with exit code {code}"
            if code >= 0
            else f"of signal {-code}{' (out of memory?)' * (code == -9)}"
        )
        return Verdict(
            where,
            False,
            [f"The process that loads it dies {cause}; its last line: {response['output']}."],
        )
    facts = {
        "remote_code": response["remote_code"],
        "versions": response["versions"],
        "commit": commit,
    }
    notes = [f"Its code comes from {repo}, where it may change." for repo in response["code_from"]]
    if not response["loads"]:
        return Verdict(
            where, False, [f"pipeline does not load it: {response['error']}."], notes, **facts
        )
    missing = [name for name in response["missing"] if not name.endswith(_TRAINING_ONLY)]
    problems = list(_problems(response, missing))
    if response["unexpected"] and not missing:
        notes.append(
            f"Its files contain tensors that the network does not use: {_some(response['unexpected'])}."
        )
    if response["problem_type"] in ("regression", "multi_label_classification"):
        notes.append(
            f"Its outputs are no distribution over labels (problem_type: {response['problem_type']})."
        )
    difference = padding_safe = None
    predicted = [prediction.get("logits") for prediction in response["predictions"]]
    if logits is not None and all(row is not None and np.isfinite(row).all() for row in predicted):
        if np.shape(predicted) != np.shape(logits):
            problems.append(
                f"Its logits have the shape {np.shape(predicted)}, expected {np.shape(logits)}."
            )
        else:
            difference = float(np.abs(np.asarray(predicted) - logits).max())
            if difference > TOLERANCE * max(1.0, float(np.abs(logits).max())):
                problems.append(
                    f"Its logits differ from those of the training process by up to {difference:.2g} on the same "
                    "clips: it is not the evaluated model."
                )
    alone, padded = (response[name] for name in ("alone", "padded"))
    if error := padded.get("error") or alone.get("error"):
        notes.append(f"It refuses a batch of clips of different lengths: {error}.")
    else:
        gap = float(np.abs(np.subtract(alone["logits"], padded["logits"])).max())
        padding_safe = gap <= TOLERANCE * max(1.0, float(np.abs(alone["logits"]).max()))
        if not padding_safe:
            notes.append(
                f"A clip gets other predictions in a batch with a longer one than alone (logits differ by {gap:.2g}): "
                "process one clip at a time."
            )
    described = ("labels", "sampling_rate", "front_end", "model", "tensors", "unexpected")
    return Verdict(
        where,
        True,
        problems,
        notes,
        newly_initialized=missing,
        clips=sum(row is not None for row in predicted),
        largest_difference=difference,
        padding_safe=padding_safe,
        **{key: response[key] for key in described},
        **facts,
    )


def _problems(response: Mapping[str, Any], missing: Sequence[str]) -> Iterator[str]:
    """Problems of tensors, labels and sampling rates, and of the first clip that has one."""
    labels, rate, own = (
        response[key] for key in ("labels", "sampling_rate", "config_sampling_rate")
    )
    if missing:
        others = (
            response["unexpected"]
            and f" The file has other, unused tensors: {_some(response['unexpected'])}."
        )
        yield (
            f"{counted(len(missing), 'tensor')} of {response['tensors']} are not in its files and start from random "
            f"numbers: {_some(missing)}. Its predictions are random, different after each loading.{others or ''}"
        )
    unnamed = [label for label in labels if label is None or re.fullmatch(r"LABEL_\d+", str(label))]
    if unnamed and response["problem_type"] != "regression":
        yield f"It predicts {_some(unnamed)} instead of emotions: name them in id2label of config.json."
    if repeated := [
        label for label, count in Counter(labels).items() if count > 1 and label is not None
    ]:
        yield f"Several classes have the same label: {_some(repeated)}."
    if isinstance(own, int) and own != rate:
        speed = (
            f"{max(own, rate) / min(own, rate):.2g} times too {'slow' if rate > own else 'fast'}"
        )
        yield f"Its feature extractor uses {rate} Hz and its network {own}: every clip plays {speed}."
    for number, clip in enumerate(response["predictions"], start=1):
        wrong = None
        if "error" in clip:
            wrong = f"is refused: {clip['error']}"
        elif not np.isfinite(clip["logits"]).all():
            wrong = "gets NaN or infinity"
        elif len(clip["logits"]) != len(labels):
            wrong = f"gets {len(clip['logits'])} logits for {counted(len(labels), 'label')}"
        if wrong:
            yield f"Clip {number} of {len(response['predictions'])} {wrong}."
            return


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(str, names[:4]))
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"
