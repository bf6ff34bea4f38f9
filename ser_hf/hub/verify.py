"""Verifies a model: a process without ser_hf loads it through `pipeline` and predicts clips."""

import dataclasses
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from ..corpora.synthesis import utterance
from ..inference.load import check_configurations, find_model
from ..inference.reference import read_reference
from ..loading.data_only import data_only, references
from ..loading.files import WeightFiles, find_weights
from ..loading.hub_connection import connection_problem
from ..utils.errors import UserError
from ..utils.files import read_json
from ..utils.run_folder import RunFolder
from .push import hub_errors
from .response import Died, NotLoaded, Response, response_of
from .verdict import Inspected, Verdict, verdict_of

logger = logging.getLogger(__name__)

Clips = Sequence[np.ndarray | str | Path]


def verify(
    where: str | Path,
    *,
    revision: str | None = None,
    clips: Clips | None = None,
    logits: np.ndarray | None = None,
    token: str | None = None,
    trust_remote_code: bool | None = None,
) -> Verdict:
    """Check that `pipeline` loads a model and predicts correctly where ser_hf is not installed.

    Example: `print(ser_hf.verify("runs/a"))`

    Args:
        where: the folder of a model or a run, or a Hub id. Clips and logits of a run default to its
            `reference.npz`.
        revision: a branch, tag or commit of a model on the Hub.
        clips: waveforms (samples,) at the model's rate, or audio files; None for a synthetic voice.
        logits: the expected logits of `clips`, (clips, classes), in the order of the labels.
        token: the access token for the Hub; None for the stored token.
        trust_remote_code: run the code that comes with the model. Otherwise the worker loads a copy
            that holds data and the code of this package, byte for byte, but no other code
            (`ser_hf.loading.data_only.data_only`).

    Returns:
        The verdict; `problems` is empty for a good model.

    Raises:
        UserError: if there is no model, a clip cannot be read, or the model contains code of
            others or pickles.
    """
    if logits is not None and clips is None:
        raise ValueError("logits need their clips")
    where = str(where)
    location = _locate(where, revision, token)
    if clips is None and location.run is not None:
        clips, logits = read_reference(location.run.path)
    contradiction = check_configurations(location.folder)

    logger.info("loading %s in a process without ser_hf", location.where)
    if trust_remote_code:
        inspected = _inspect_as_it_is(location, clips, token)
    else:
        inspected = _inspect_copy(location, clips, token)
    verdict = verdict_of(inspected, logits)
    if contradiction is not None:
        return dataclasses.replace(verdict, problems=[*verdict.problems, contradiction])
    return verdict


@dataclasses.dataclass(frozen=True)
class _Location:
    """The location of a model.

    Args:
        where: the name of the model in messages: a folder or a Hub id.
        folder: the folder with the model's files.
        weights: the files with its weights.
        commit: the commit of a model on the Hub.
        run: the folder of the model's run, if the run has reference clips.
    """

    where: str
    folder: str
    weights: WeightFiles
    commit: str | None = None
    run: RunFolder | None = None


def _locate(where: str, revision: str | None, token: str | None) -> _Location:
    """Find the folder of a model, or download the files that `pipeline` needs from the Hub."""
    if os.path.exists(where):
        folder = find_model(where, revision)
        model = Path(folder).resolve()
        run = RunFolder(model.parent)
        with_reference = run.model.name == model.name and run.reference.is_file()
        return _Location(
            folder,
            folder,
            find_weights(folder, folder),
            run=run if with_reference else None,
        )

    from huggingface_hub import snapshot_download

    with hub_errors(where):
        folder = snapshot_download(
            where,
            revision=revision,
            allow_patterns=["*.json", "*.py", "README.md", "model*.safetensors"],
            ignore_patterns="*/*",
            token=token,
            local_files_only=connection_problem() is not None,
        )
    commit = Path(folder).name
    weights = find_weights(where, where, commit, token)
    return _Location(where, str(folder), weights, commit=commit)


def _inspect_as_it_is(location: _Location, clips: Clips | None, token: str | None) -> Inspected:
    """Inspect the model as it was published, and run the code in its files."""
    location.weights.require_own_revision(location.where)
    configurations = [read_json(path) for path in Path(location.folder).glob("*config.json")]
    code_names = references(configurations)
    model = os.path.abspath(location.where) if location.commit is None else location.where
    trust = bool(code_names)
    request = _Request(model, location.commit, trust)
    return Inspected(
        where=location.where,
        response=_run_worker(request, clips, token, where=location.where),
        commit=location.commit,
        remote_code=trust,
        code_from=sorted(set(re.findall(r"([\w./-]+?)--", str(code_names)))),
    )


def _inspect_copy(location: _Location, clips: Clips | None, token: str | None) -> Inspected:
    """Inspect a copy of the model that holds only data and the code of this package."""
    with data_only(
        location.folder, where=location.where, weights=location.weights, code=True
    ) as copy:
        request = _Request(copy.folder, None, copy.names_code)
        return Inspected(
            where=location.where,
            response=_run_worker(request, clips, token, where=location.where),
            commit=location.commit,
            remote_code=copy.names_code,
        )


@dataclasses.dataclass(frozen=True)
class _Request:
    """The arguments of `pipeline` in the worker: a folder or Hub id, a commit, and trust."""

    model: str
    revision: str | None
    trust_remote_code: bool


def _run_worker(request: _Request, clips: Clips | None, token: str | None, where: str) -> Response:
    """Run verify_worker.py in a separate process.

    Args:
        request: the model to load.
        clips, token: the arguments of `verify`.
        where: the name of the model as the user wrote it. Messages show it instead of the folder.

    Raises:
        RuntimeError: for an exception of the worker that nothing caught.
        UserError: if a clip cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="ser_hf-verify-") as temporary:
        folder = Path(temporary)
        request_file = folder / "request.json"
        response_file = folder / "response.json"
        content = dataclasses.asdict(request) | _clip_files(clips, folder)
        request_file.write_text(json.dumps(content), encoding="utf-8")
        worker = Path(__file__).with_name("verify_worker.py")
        command = [sys.executable, "-P", str(worker), str(request_file), str(response_file)]
        done = subprocess.run(
            command,
            cwd=folder,
            env=_environment(folder, token),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if sys.stderr.isatty() else subprocess.STDOUT,  # progress bars of downloads
        )
        if response_file.is_file():
            response = response_of(json.loads(response_file.read_text(encoding="utf-8")))
            if isinstance(response, NotLoaded):
                error = response.error.replace(request.model, where)
                return dataclasses.replace(response, error=error)
            return response

    lines = done.stdout.decode(errors="replace").strip().splitlines()
    last_line = lines[-1] if lines else "nothing"
    if done.returncode == 1:  # an exception that nothing caught
        raise RuntimeError(f"the process that verifies failed: {last_line}")
    return Died(code=done.returncode, last_line=last_line)


def _clip_files(clips: Clips | None, folder: Path) -> dict[str, list[str]]:
    """Return the files of the clips, by the keys of a request.

    Clips that are waveforms are written into `folder`.
    """
    if clips is None:
        voice = folder / "voice.wav"
        soundfile.write(voice, utterance(0, "neutral", 0, 0, 16000), 16000)
        clips = [voice]
    recordings = []
    waveforms = []
    for i, clip in enumerate(clips):
        if not isinstance(clip, str | Path):
            waveform_file = folder / f"{i}.npy"
            np.save(waveform_file, np.asarray(clip, dtype=np.float32))
            waveforms.append(str(waveform_file))
        elif Path(clip).is_file():
            recordings.append(os.path.abspath(clip))
        else:
            raise UserError(f"--clips: no such file: {clip}")
    return {"recordings": recordings, "waveforms": waveforms}


def _environment(folder: Path, token: str | None) -> dict[str, str]:
    """Return the environment variables of the worker."""
    environment = os.environ | {
        # The usual folder may hold code that another model has left there.
        "HF_MODULES_CACHE": str(folder / "modules"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # transformers would open a pull request with safetensors in a repository without them.
        "DISABLE_SAFETENSORS_CONVERSION": "1",
    }
    if token is not None:
        environment["HF_TOKEN"] = token
    return environment
