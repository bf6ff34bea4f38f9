"""What a user of a model would get, as values and as text."""

import dataclasses
import json


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
