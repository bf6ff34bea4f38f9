"""Curves of a training in TensorBoard, Trackio or Weights & Biases, by the callbacks of transformers.

Each training is one run of the tracker: two seeds in one process make two, and a training that is resumed goes on in
the run that it began. What is logged is what the Trainer logs: training loss, learning rate and gradient norm under
``train/``, validation loss and metrics under ``eval/``.
"""

import contextlib
import importlib.util
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    from transformers import Trainer

# The word in a recipe, and the packages of which one is needed.
TRACKERS: dict[str, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}

# Which run of a tracker a training is, kept beside its log: `--resume` finds it there, `--overwrite` clears it.
RUN_ID = "run_id"


def check_report_to(value: Any) -> None:
    """Checks `training.report_to`: ``none``, a tracker or a list of trackers, each installed.

    ``all``, which transformers takes too, is refused: one recipe would report elsewhere on every machine.

    Raises:
        UserError: naming `training.report_to` and what to do.
    """
    if value in ("none", ["none"]):
        return
    words = value if isinstance(value, list) else [value]
    for word in words:
        if word not in TRACKERS:
            alone = " among others" if word == "none" else ""
            raise UserError(f"training.report_to: {word!r}{alone} is no tracker; use none, or {', '.join(TRACKERS)}")
        if not any(map(_installed, TRACKERS[word])):
            raise UserError(f'training.report_to: {word} is not installed; pip install "ser_hf[tracking]"')
    if len(set(words)) < len(words):
        raise UserError(f"training.report_to: each tracker once, got {', '.join(words)}")


def _installed(package: str) -> bool:
    # W&B keeps its files in a folder called wandb, which Python takes for a package without an __init__.py.
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


@contextlib.contextmanager
def tracked(report_to: str | list[str], name: str, logs: Path, project: str = "ser_hf") -> Iterator[str]:
    """Around the making of a Trainer and its training: one run in each tracker.

    Yields the run's name, `name` and an id, which belongs into `TrainingArguments.run_name`; `project` belongs into
    `TrainingArguments.project` as well, where Trackio looks for it. TensorBoard's events and the files of W&B go to
    `logs`; Trackio keeps all runs in one place, so that its dashboard compares them. What the user has set in the
    environment stays as it is, but a folder of TensorBoard's gets one below it for each run. Afterwards the
    environment is as before and the run is closed, as failed if the training was; a W&B run that was open already is
    the user's and stays open.

    Raises:
        UserError: if W&B cannot begin a run, for want of a login mostly.
    """
    words = {report_to} if isinstance(report_to, str) else set(report_to)
    # Only the first process reports.
    if os.environ.get("RANK", "0") != "0" or not words & set(TRACKERS):
        yield name
        return
    logs.mkdir(parents=True, exist_ok=True)
    identity = _identity(logs / RUN_ID)
    run = f"{name}-{identity}"
    with contextlib.ExitStack() as stack:
        if "tensorboard" in words:
            stack.enter_context(_tensorboard(logs, run))
        if "trackio" in words:
            stack.enter_context(_trackio())
        if "wandb" in words:
            stack.enter_context(_wandb({"project": project, "name": run, "dir": str(logs), "id": identity}))
        yield run


@contextlib.contextmanager
def _tensorboard(logs: Path, run: str) -> Iterator[None]:
    """The callback reads where to write from the environment, when it is made."""
    key = "TENSORBOARD_LOGGING_DIR"
    before = os.environ.get(key)
    os.environ[key] = str(logs if before is None else Path(before, run))
    try:
        yield
    finally:
        if before is None:
            del os.environ[key]
        else:
            os.environ[key] = before


@contextlib.contextmanager
def _trackio() -> Iterator[None]:
    """The callback begins a run, or goes on with that of the same name, and ends it unless the training fails."""
    try:
        yield
    finally:
        if "trackio" in sys.modules:
            with contextlib.suppress(RuntimeError):  # none is open
                sys.modules["trackio"].finish()


@contextlib.contextmanager
def _wandb(wanted: Mapping[str, str]) -> Iterator[None]:
    """A run that the callback finds open. It would not close one, and W&B reads the environment only once in a
    process: told by it, a second seed would write over the first."""
    import wandb

    if wandb.run is not None:
        yield
        return
    variables = {"project": "WANDB_PROJECT", "name": "WANDB_NAME", "dir": "WANDB_DIR", "id": "WANDB_RUN_ID"}
    settings = {key: value for key, value in wanted.items() if variables[key] not in os.environ}
    try:
        wandb.init(**settings, resume="allow")
    except wandb.errors.Error as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"training.report_to: W&B says: {reason}; log in with `wandb login`, or set WANDB_MODE=offline in the "
            "environment"
        ) from None
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        wandb.finish(exit_code)


def stop_reporting(trainer: "Trainer") -> None:
    """Takes the trackers off a Trainer that has trained.

    Its predictions would be logged to a run that is closed (an error of W&B's) or open a new one (Trackio), under
    names such as ``train/judged_uar``.
    """
    from transformers.integrations import get_reporting_integration_callbacks

    for callback in get_reporting_integration_callbacks(trainer.args.report_to):
        trainer.remove_callback(callback)


def _identity(path: Path) -> str:
    """Eight hexadecimal digits: those in the file, or new ones written to it."""
    if not path.is_file():
        path.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
