"""The result of a check: what it measured, the faults that it names, and what to do about them."""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Status = Literal["passed", "failed", "left out"]


class Fault(enum.StrEnum):
    """The faults that checks name; the values do not change between versions."""

    SILENT_CLIPS = "silent-clips"
    QUIET_CLIPS = "quiet-clips"
    CLIPPED_CLIPS = "clipped-clips"
    RATE_TELLS_LABEL = "rate-tells-label"
    RECORDING_TELLS_LABEL = "recording-tells-label"
    WRONG_SPEED = "wrong-speed"
    UNBALANCED_LABELS = "unbalanced-labels"
    UNKNOWN_SPEAKERS = "unknown-speakers"
    ONE_SPEAKER = "one-speaker"
    SPEAKER_OF_EACH_CLIP = "speaker-of-each-clip"
    SPEAKER_TELLS_LABEL = "speaker-tells-label"
    NO_SPLIT = "no-split"
    MISSING_CLASS = "missing-class"
    LEAK = "leak"
    SHARED_SPEAKERS = "shared-speakers"
    ALL_FROZEN = "all-frozen"
    PADDING_CHANGES_LOGITS = "padding-changes-logits"
    RATE_TOO_HIGH = "rate-too-high"
    RATE_TOO_LOW = "rate-too-low"
    NOTHING_LEARNED = "nothing-learned"
    SHUFFLED_LABELS_LEARNED = "shuffled-labels-learned"
    BASELINE_AT_CHANCE = "baseline-at-chance"


@dataclasses.dataclass(frozen=True)
class Problem:
    """A fault that a check found: what was measured, and what to do."""

    fault: Fault
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.text}; {self.remedy}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a check measured.

    Args:
        text: the measured values in words; for a check that is left out, the reason.
        problems: the faults; a check without any has passed.
        values: the measured values by name, for programs.
        is_left_out: whether nothing was measured.
    """

    text: str
    problems: Sequence[Problem] = ()
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    is_left_out: bool = False


def left_out(reason: str) -> Outcome:
    """The outcome of a check that does not apply or cannot be made."""
    return Outcome(reason, is_left_out=True)


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """A check with its outcome and the seconds that it took."""

    name: str
    outcome: Outcome
    seconds: float

    @property
    def status(self) -> Status:
        """Whether the check has passed, has failed or is left out."""
        if self.outcome.is_left_out:
            return "left out"
        return "failed" if self.outcome.problems else "passed"

    @property
    def faults(self) -> list[Fault]:
        """The faults that the check names."""
        return [problem.fault for problem in self.outcome.problems]

    def line(self) -> str:
        """The check in one line: its status, what was measured, and for a fault what to do."""
        parts = [str(problem) for problem in self.outcome.problems]
        text = " | ".join(parts) or self.outcome.text
        return f"{self.status:<8}  {self.name:<15}  {text} ({self.seconds:.1f} s)"

    def to_dict(self) -> dict[str, Any]:
        """The check as JSON values."""
        return {
            "name": self.name,
            "status": self.status,
            "measured": self.outcome.text,
            "values": dict(self.outcome.values),
            "problems": [dataclasses.asdict(problem) for problem in self.outcome.problems],
            "seconds": round(self.seconds, 3),
        }


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """The checks of a recipe, in the order in which they were made."""

    recipe: str
    checks: Sequence[CheckResult]

    @property
    def passed(self) -> bool:
        """Whether no check has failed."""
        return not self.faults

    @property
    def faults(self) -> list[Fault]:
        """The faults that all checks name."""
        return [fault for check in self.checks for fault in check.faults]

    @property
    def seconds(self) -> float:
        """The seconds of all checks."""
        return sum(check.seconds for check in self.checks)

    def summary(self) -> str:
        """The numbers of passed, failed and omitted checks, in one line."""
        statuses = [check.status for check in self.checks]
        counts = [
            f"{statuses.count(status)} {status}" for status in ("passed", "failed", "left out")
        ]
        return f"{self.recipe}: {', '.join(counts)} in {self.seconds:.0f} s"

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON values."""
        return {
            "recipe": self.recipe,
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "faults": [str(fault) for fault in self.faults],
            "checks": [check.to_dict() for check in self.checks],
        }
