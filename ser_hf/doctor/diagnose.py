"""Runs all checks of a recipe, the fastest first."""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..experiment.data import load_recipe_corpus, plan_model
from ..experiment.reading import read_recipe
from ..experiment.recipe import Recipe
from ..utils.environment import quiet_libraries
from .baseline import check_baseline
from .case import Case
from .labels import check_labels, check_speakers
from .network import check_padding, check_parameters
from .overfitting import check_overfitting
from .recordings import check_pitch, check_recordings
from .result import CheckResult, Diagnosis, Outcome, left_out
from .shuffled import check_shuffled
from .splits import check_leaks, check_split

# The longest time of each short training by default.
SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Check:
    """A check by its name.

    Args:
        name: its name in the output.
        make: makes the check.
        needs_splits: whether it needs splits that share no clips.
    """

    name: str
    make: Callable[[Case], Outcome]
    needs_splits: bool = False


CHECKS = (
    Check("recordings", check_recordings),
    Check("pitch", check_pitch),
    Check("labels", check_labels),
    Check("speakers", check_speakers),
    Check("split", check_split),
    Check("leaks", check_leaks),
    Check("parameters", check_parameters, needs_splits=True),
    Check("padding", check_padding, needs_splits=True),
    Check("16 clips", check_overfitting, needs_splits=True),
    Check("shuffled labels", check_shuffled, needs_splits=True),
    Check("baseline", check_baseline, needs_splits=True),
)


def diagnose(
    recipe: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    seconds: float = SECONDS,
    report: Callable[[CheckResult], None] | None = None,
) -> Diagnosis:
    """Check a recipe on its data, and name what keeps its network from learning.

    The recordings, labels, speakers and splits are checked first, then the network, which is
    trained for a short time on 16 clips and on shuffled labels, and last a classical classifier.
    No run is written. Waveforms are stored as in a run.

    Example: `ser_hf.diagnose("quickstart", ["corpus.speakers=12"]).faults`

    Args:
        recipe: a YAML file, the name of a built-in recipe, or a mapping.
        overrides: changes of keys, such as ``training.learning_rate=1e-3``.
        seconds: the longest time of each short training.
        report: called with each check when it is done.

    Returns:
        The checks with what they measured, the faults, and what to do.

    Raises:
        UserError: for a mistake in the recipe, or a corpus that cannot be read.
    """
    return examine(read_recipe(recipe, overrides), seconds, report)


def examine(
    recipe: Recipe, seconds: float, report: Callable[[CheckResult], None] | None = None
) -> Diagnosis:
    """Make all checks of a recipe; see `diagnose`."""
    results = []
    with quiet_libraries(), tempfile.TemporaryDirectory() as folder:
        corpus = load_recipe_corpus(recipe)
        # A wrong checkpoint is a mistake in the recipe, and is reported before audio is decoded.
        plan_model(recipe, corpus)
        case = Case(recipe, corpus, Path(folder), seconds)
        for check in CHECKS:
            result = make_check(check, case)
            results.append(result)
            if report is not None:
                report(result)
    return Diagnosis(recipe.name, results)


def make_check(check: Check, case: Case) -> CheckResult:
    """Make one check, and measure its time."""
    began = time.perf_counter()
    if check.needs_splits and not case.has_data:
        outcome = left_out("needs splits that share no clips; see the checks above")
    else:
        outcome = check.make(case)
    return CheckResult(check.name, outcome, time.perf_counter() - began)
