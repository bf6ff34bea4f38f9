"""One trial: one whole run of the recipe, judged on validation, from its claim to its result."""

import contextlib
import dataclasses
import gc
import logging
import math
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from ..errors import UserError
from ..run_folder import RunFolder
from .folder import SweepFolder
from .parameters import overrides
from .rows import Row
from .storage import StorageTrouble
from .study import Claim, Study

logger = logging.getLogger(__name__)

# `ser_hf.run_recipe`, or what stands in for it in tests.
Runner = Callable[..., dict[str, Any]]
# What a trial's run does otherwise than the recipe: the test speakers are left alone, and so is the leaky foil, and
# nothing is published.
_JUDGED = ["evaluation.part=validation", "protocol.foil=null", "hub.repo=null"]
_LONGEST_MESSAGE = 300


class Pruned(Exception):
    """Ends the run of a trial that has fallen behind."""


@dataclasses.dataclass(frozen=True)
class Source:
    """The recipe as it was when the sweep began, whatever happens to its file meanwhile."""

    name: str
    recipe: Mapping[str, Any]
    overrides: tuple[str, ...]

    def at(self, settings: Mapping[str, Any], called: str, folder: Path) -> list[str]:
        """The overrides of a run at one point of the space."""
        where = {"name": f"{self.name}-{called}", "output_dir": str(folder)}
        return [*self.overrides, *overrides({**settings, **where})]

    def of_trial(self, settings: Mapping[str, Any], number: int, folder: Path) -> list[str]:
        return [*self.at(settings, str(number), folder), *_JUDGED]


def run_trial(
    claim: Claim,
    study: Study,
    source: Source,
    folder: SweepFolder,
    run: Runner,
    hear: Callable[[float, float], None] | None = None,
) -> Row:
    """Runs a claimed trial to its end, from its last checkpoint if it was interrupted, and records the result.

    What goes wrong in the run is the trial's failure and not the sweep's; only what is no `Exception` (Ctrl-C), and a
    storage that does not answer, leave the trial as it is, to go on another time.

    Args:
        hear: is told epoch and metric after each validation of the trial's first fold or seed.

    Raises:
        UserError: if the storage does not answer, or another machine has taken the trial over.
    """
    began = time.monotonic()
    before = claim.trial.user_attrs.get("seconds", 0.0)

    def facts() -> dict[str, Any]:
        return {"seconds": before + time.monotonic() - began}

    def watch(place: tuple[str, ...], epoch: float, metrics: Mapping[str, float]) -> None:
        try:
            tell(place, epoch, metrics)
        except StorageTrouble as error:  # it trains on; what matters is that the end can be told
            logger.warning("trial %d, epoch %g, is not noted: %s", claim.number, epoch, error)

    def tell(place: tuple[str, ...], epoch: float, metrics: Mapping[str, float]) -> None:
        study.progress(claim, place, epoch, **facts())
        # One fold or seed, the same in all trials: what is compared at an epoch must be alike.
        if study.first_place(claim) != list(place):
            return
        step, value = math.floor(epoch + 1e-6), metrics.get(study.search.metric, math.nan)
        if step < 1 or not math.isfinite(value):
            return
        if hear is not None:
            hear(epoch, value)
        if study.report(claim, step, value):
            raise Pruned

    try:
        if (twin := study.twin(claim)) is not None:
            known = {key: twin.user_attrs[key] for key in ("metrics", "interval", "judged") if key in twin.user_attrs}
            message = f"the same settings as trial {twin.number}, whose figures these are"
            known |= {"same_as": twin.number, "message": message, "seconds": 0.0}
            return study.finish(claim, TrialState.COMPLETE, twin.value, **known)
        if study.died_too_often(claim):
            raise UserError(
                "killed again and again at the same place, by the system perhaps, as memory ran out; its log is "
                f"{folder.trial(claim.number) / 'logs' / 'run.log'}"
            )
        where = folder.trial(claim.number)
        changes = source.of_trial(claim.settings, claim.number, where)
        report = run(source.recipe, changes, resume=True, watch=watch)
        result = _result(report, where, study.search.metric)
        _require_comparable(study, result["judged"])
        return study.finish(claim, TrialState.COMPLETE, result.pop("value"), **result, **facts())
    except Pruned:
        return study.finish(claim, TrialState.PRUNED, **facts())
    except StorageTrouble:
        with contextlib.suppress(StorageTrouble):
            study.interrupted(claim)
        raise
    except UpdateFinishedTrialError:
        raise UserError(f"trial {claim.number} was taken over by another machine, which runs it anew") from None
    except Exception as error:
        told = {"message": failure(error, folder.trial(claim.number)), "cause": _cause(error)}
        return study.finish(claim, TrialState.FAIL, **told, **facts())
    except BaseException:
        study.interrupted(claim)
        raise
    finally:
        claim.lock.release()
        _free_memory()


def _result(report: Mapping[str, Any], where: Path, metric: str) -> dict[str, Any]:
    """What validation says of the kept checkpoint, of several folds or seeds their mean."""
    metrics = dict(report["parts"]["validation"])
    if (loss := _kept_loss(RunFolder(where))) is not None:
        metrics["loss"] = loss
    if metric not in metrics:
        raise UserError(f"metric: {metric} is not measured by this recipe's validation; {', '.join(metrics)} are")
    if not math.isfinite(metrics[metric]):
        raise UserError(f"{metric} on validation is {metrics[metric]}")
    return {
        "value": metrics[metric],
        "metrics": metrics,
        "interval": report.get("intervals", {}).get(metric),
        "judged": {
            "labels": list(report["labels"]),
            "protocol": report["protocol"]["sha256"],
            "folds": len(report["protocol"].get("folds", "1")),
        },
    }


def _kept_loss(folder: RunFolder) -> float | None:
    """Validation loss at the kept checkpoint, of several folds or seeds their mean."""
    children = sorted(child.name for child in folder.path.iterdir() if child.name.startswith(("fold-", "seed-")))
    if children:
        losses = [_kept_loss(folder.child(name)) for name in children]
    else:
        kept = [entry for entry in folder.read_report()["history"] if entry.get("kept")]
        losses = [entry["validation"].get("loss") for entry in kept]
    return None if not losses or None in losses else sum(losses) / len(losses)


def _require_comparable(study: Study, judged: dict[str, Any]) -> None:
    """All trials are judged on the same clips with the same labels, or their figures say nothing of each other."""
    for row in study.complete():
        if row.user_attrs["judged"] != judged:
            raise UserError(
                f"other labels or another split than trial {row.number}: their figures cannot be compared; leave "
                "the keys that change them out of the space"
            )
        return


def _cause(error: Exception) -> str:
    """Whose fault: the settings', which would fail again, or the machine's, whose disk was full or whose GPU was lost.
    Memory that runs out is the settings'."""
    memory = isinstance(error, MemoryError) or "out of memory" in str(error).lower()
    return "settings" if memory or isinstance(error, UserError) else "machine"


def failure(error: Exception, run: Path) -> str:
    """An error in one line; what is no mistake of the user's leaves its traceback in the run's logs/failure.txt."""
    text = " ".join(str(error).split())
    if not isinstance(error, UserError):
        text = f"{type(error).__name__}: {text}"
        file = run / "logs" / "failure.txt"
        with contextlib.suppress(OSError):  # the disk may be what failed
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."


def _free_memory() -> None:
    """What one trial held must not be what the next one lacks."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
