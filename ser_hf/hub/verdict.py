"""The verdict about a model that a process without ser_hf has loaded: problems and notes."""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from ..report.views import counted
from ..utils.errors import printable
from .response import Died, Loaded, NotLoaded, Response

# The largest allowed difference, as a share of the largest logit (or of 1 if all logits are
# smaller). Another machine may add float32 numbers in another order.
TOLERANCE = 1e-3
# SpecAugment uses this vector in training only.
_TRAINING_ONLY = "masked_spec_embed"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The verdict about a model; fields stay empty if `pipeline` does not load the model.

    Args:
        problems: the faults of the model, one sentence each; empty for a good model.
        notes: properties of the model that a user should know, but that are no faults.
        remote_code: whether the model is loaded with ``trust_remote_code=True``.
        newly_initialized: tensors of the network that are not in the file and therefore random.
        unexpected: tensors in the file that the network does not use.
        largest_difference: the largest difference between the model's logits and the expected
            logits; None if no logits are expected.
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
        """Return one JSON object, which has the key `good` beside the fields."""
        values = {"good": self.good} | dataclasses.asdict(self)
        return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)

    def __str__(self) -> str:
        commit = f" (commit {self.commit[:12]})" if self.commit else ""
        lines = [f"{self.where}{commit}"]
        if self.loads:
            lines += self._lines_of_loaded()
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  PROBLEM: {problem}" for problem in self.problems]
        versions = [f"{name} {version}" for name, version in self.versions.items()]
        lines.append(f"  checked with {', '.join(versions)}")
        lines.append(f"{counted(len(self.problems), 'problem')} found" if self.problems else "good")
        return "\n".join(map(printable, lines))

    def _lines_of_loaded(self) -> list[str]:
        """Describe the input, labels, tensors and predictions of a model that was loaded."""
        trust = ", with its own code (trust_remote_code=True)" if self.remote_code else ""
        random = len(self.newly_initialized)
        if self.largest_difference is None:
            compared = "no expected logits to compare with"
        else:
            compared = (
                f"logits at most {self.largest_difference:.1e} from those of the training process"
            )
        return [
            f"  loads: {self.model} after {self.front_end} at {self.sampling_rate} Hz{trust}",
            f"  labels: {', '.join(map(str, self.labels))}",
            f"  tensors: {self.tensors}, {random} of them random",
            f"  {counted(self.clips, 'clip')} predicted, {compared}",
        ]


@dataclasses.dataclass(frozen=True)
class Inspected:
    """A model, and the response of the process without ser_hf about this model.

    Args:
        where: the folder or Hub id of the model.
        commit: the commit of a model on the Hub.
        remote_code: whether the model was loaded with the code in its files.
        code_from: the repositories from which this code comes.
    """

    where: str
    response: Response
    commit: str | None = None
    remote_code: bool = False
    code_from: Sequence[str] = ()


def verdict_of(inspected: Inspected, logits: np.ndarray | None = None) -> Verdict:
    """Derive the verdict from a response of the worker.

    Args:
        inspected: the model and the response.
        logits: the expected logits, (clips, classes), if there are any.
    """
    response = inspected.response
    if isinstance(response, Died):
        problem = (
            f"The process that loads it dies {_cause_of_death(response.code)}; "
            f"its last line: {response.last_line}."
        )
        return Verdict(inspected.where, loads=False, problems=[problem])

    if isinstance(response, NotLoaded):
        return Verdict(
            where=inspected.where,
            loads=False,
            problems=[f"pipeline does not load it: {response.error}."],
            notes=_code_notes(inspected),
            remote_code=inspected.remote_code,
            commit=inspected.commit,
            versions=response.versions,
        )
    return _verdict_of_loaded(inspected, response, logits)


def _verdict_of_loaded(
    inspected: Inspected, response: Loaded, logits: np.ndarray | None
) -> Verdict:
    """Derive the verdict about a model that `pipeline` loads."""
    missing = [name for name in response.missing if not name.endswith(_TRAINING_ONLY)]
    predicted = [prediction.logits for prediction in response.predictions]
    difference = _compare(predicted, logits)
    padding = _padding(response)
    problems = [
        *_tensor_problems(response, missing),
        *_label_problems(response),
        *_rate_problems(response),
        *_clip_problems(response),
        *difference.problems,
    ]
    return Verdict(
        where=inspected.where,
        loads=True,
        problems=problems,
        notes=[*_code_notes(inspected), *_notes(response, missing), *padding.notes],
        labels=response.labels,
        sampling_rate=response.sampling_rate,
        front_end=response.front_end,
        model=response.model,
        remote_code=inspected.remote_code,
        tensors=response.tensors,
        newly_initialized=missing,
        unexpected=response.unexpected,
        clips=sum(clip_logits is not None for clip_logits in predicted),
        largest_difference=difference.largest,
        padding_safe=padding.safe,
        commit=inspected.commit,
        versions=response.versions,
    )


def _cause_of_death(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    memory = " (out of memory?)" if code == -9 else ""
    return f"of signal {-code}{memory}"


@dataclasses.dataclass(frozen=True)
class _Difference:
    """The largest difference from the expected logits; None if nothing was compared."""

    largest: float | None = None
    problems: Sequence[str] = ()


def _compare(predicted: list[list[float] | None], expected: np.ndarray | None) -> _Difference:
    """Compare the logits of all clips, if all are finite."""
    if expected is None:
        return _Difference()
    for clip_logits in predicted:
        if clip_logits is None or not np.isfinite(clip_logits).all():
            return _Difference()
    if np.shape(predicted) != np.shape(expected):
        return _Difference(
            problems=[
                f"Its logits have the shape {np.shape(predicted)}, expected {np.shape(expected)}."
            ]
        )
    largest = float(np.abs(np.asarray(predicted) - expected).max())
    if largest <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        return _Difference(largest)
    problem = (
        f"Its logits differ from those of the training process by up to {largest:.2g} on the "
        "same clips: it is not the evaluated model."
    )
    return _Difference(largest, [problem])


@dataclasses.dataclass(frozen=True)
class _Padding:
    """Whether padding leaves predictions unchanged; None if the model refuses batches."""

    safe: bool | None
    notes: Sequence[str] = ()


def _padding(response: Loaded) -> _Padding:
    """Compare a clip alone with the same clip in a batch with a longer one."""
    alone = response.alone
    padded = response.padded
    error = padded.error or alone.error
    if error:
        return _Padding(None, [f"It refuses a batch of clips of different lengths: {error}."])
    gap = float(np.abs(np.subtract(alone.logits, padded.logits)).max())
    if gap <= TOLERANCE * max(1.0, float(np.abs(alone.logits).max())):
        return _Padding(True)
    note = (
        "A clip gets other predictions in a batch with a longer one than alone (logits differ by "
        f"{gap:.2g}): process one clip at a time."
    )
    return _Padding(False, [note])


def _code_notes(inspected: Inspected) -> list[str]:
    """Write notes about the model's code."""
    return [f"Its code comes from {repo}, where it may change." for repo in inspected.code_from]


def _notes(response: Loaded, missing: Sequence[str]) -> Iterator[str]:
    """Write notes about tensors and outputs."""
    if response.unexpected and not missing:
        tensors = _first_few(response.unexpected)
        yield f"Its files contain tensors that the network does not use: {tensors}."
    problem_type = response.problem_type
    if problem_type in ("regression", "multi_label_classification"):
        yield f"Its outputs are no distribution over labels (problem_type: {problem_type})."


def _tensor_problems(response: Loaded, missing: Sequence[str]) -> Iterator[str]:
    if missing:
        problem = (
            f"{counted(len(missing), 'tensor')} of {response.tensors} are not in its files and "
            f"start from random numbers: {_first_few(missing)}. Its predictions are random, "
            "different after each loading."
        )
        if response.unexpected:
            unused = _first_few(response.unexpected)
            problem += f" The file has other, unused tensors: {unused}."
        yield problem


def _label_problems(response: Loaded) -> Iterator[str]:
    labels = response.labels
    unnamed = [label for label in labels if label is None or re.fullmatch(r"LABEL_\d+", str(label))]
    if unnamed and response.problem_type != "regression":
        yield (
            f"It predicts {_first_few(unnamed)} instead of emotions: name them in id2label of "
            "config.json."
        )
    counts = Counter(label for label in labels if label is not None)
    repeated = [label for label, count in counts.items() if count > 1]
    if repeated:
        yield f"Several classes have the same label: {_first_few(repeated)}."


def _rate_problems(response: Loaded) -> Iterator[str]:
    rate = response.sampling_rate
    network_rate = response.config_sampling_rate
    if isinstance(network_rate, int) and network_rate != rate:
        factor = max(network_rate, rate) / min(network_rate, rate)
        direction = "slow" if rate > network_rate else "fast"
        yield (
            f"Its feature extractor uses {rate} Hz and its network {network_rate}: "
            f"every clip plays {factor:.2g} times too {direction}."
        )


def _clip_problems(response: Loaded) -> Iterator[str]:
    """Yield the problem of the first clip that has a problem."""
    predictions = response.predictions
    labels = len(response.labels)
    for number, prediction in enumerate(predictions, start=1):
        if prediction.error is not None:
            problem = f"is refused: {prediction.error}"
        elif not np.isfinite(prediction.logits).all():
            problem = "gets NaN or infinity"
        elif len(prediction.logits) != labels:
            problem = f"gets {len(prediction.logits)} logits for {counted(labels, 'label')}"
        else:
            continue
        yield f"Clip {number} of {len(predictions)} {problem}."
        return


def _first_few(names: Sequence[str | None]) -> str:
    shown = ", ".join(str(name) for name in names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"
