"""The folder of a sweep: whose it is, which of its trials are being run, and what of them is kept.

    sweep.json          what is varied, of which recipe; another recipe or space is refused
    study.journal       the trials (unless they are kept elsewhere, by --storage)
    trials/N/           the run of trial N, as `ser_hf.run_folder` has it; trials/N.lock is held while it runs
    leaderboard.csv     and leaderboard.html: rewritten after every trial
    best.yaml  best/    the best recipe, and its run

Who runs what is said by locks of the kernel (flock), which end with the process that holds them, killed or not, and
need neither clocks nor a grace period. On a network file system they hold between machines where it passes flock on
(NFS as Linux mounts it since 2.6.12, Lustre with `-o flock`).
"""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import UserError


class SweepFolder:
    """`lock` is held for as long as it takes to look and to decide, never while something trains."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.identity = self.path / "sweep.json"
        self.journal = self.path / "study.journal"
        self.trials = self.path / "trials"
        self.best = self.path / "best"
        self.best_recipe = self.path / "best.yaml"
        self.csv = self.path / "leaderboard.csv"
        self.page = self.path / "leaderboard.html"

    def trial(self, number: int) -> Path:
        return self.trials / str(number)

    def open(self, recipe: Mapping[str, Any], space: Mapping[str, Any]) -> str:
        """Makes the folder or checks that it is this sweep's. Returns its own name among folders that share a study.

        Raises:
            UserError: if it holds something else, naming the first key that differs.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"--output: {self.path} is a file")
        here = self._strangers()
        if here:
            raise UserError(f"--output: {self.path} holds {here[0]}, which is no sweep's; choose another folder")
        try:
            self.trials.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--output: {self.path} cannot be made: {error.strerror}") from None
        wanted = json.loads(json.dumps({"recipe": recipe, "space": space}))
        with self.lock():
            if not self.identity.is_file():
                replace_text(self.identity, json.dumps({"home": uuid.uuid4().hex, **wanted}, indent=1) + "\n")
            saved = self._read_identity()
        for kind, what in (("recipe", ""), ("space", "the space's ")):
            if (differing := first_difference(saved[kind], wanted[kind])) is not None:
                key, before, now = differing
                raise UserError(
                    f"{what}{key}: {now!r} here, {before!r} in the sweep at {self.path}; its trials could not be "
                    "compared, so choose another --output"
                )
        return saved["home"]

    def _read_identity(self) -> dict[str, Any]:
        try:
            saved = json.loads(self.identity.read_text(encoding="utf-8"))
        except ValueError:
            saved = None
        if not isinstance(saved, dict) or saved.keys() != {"home", "recipe", "space"}:
            raise UserError(f"--output: {self.identity} is no sweep's of ours; choose another folder")
        return saved

    def _strangers(self) -> list[str]:
        """What is in the folder that a start which was cut off has not left, before there is a sweep.json."""
        if not self.path.is_dir():
            return []
        found = sorted(child.name for child in self.path.iterdir() if not self._is_of_a_start(child))
        return [] if self.identity.is_file() else found  # asked last: another process may be starting the sweep

    def _is_of_a_start(self, child: Path) -> bool:
        if child.name == "trials":
            return child.is_dir() and not any(child.iterdir())
        return child.name == "sweep.lock" or (child.name.startswith("sweep.json.") and child.name.endswith(".partial"))

    def lock(self) -> FileLock:
        return FileLock(self.path / "sweep.lock")

    def occupy(self, name: int | str) -> FileLock | None:
        """The lock of a trial (or of "best"), to be released by whoever runs it; None while another process has it."""
        lock = FileLock(self.trials / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def clear(self, number: int) -> None:
        """Deletes a trial's weights, its folds' and seeds' too; recipe, split, report and logs stay."""
        for recipe in sorted(self.trial(number).rglob("recipe.yaml")):
            for name in ("checkpoints", "model"):
                shutil.rmtree(recipe.with_name(name), ignore_errors=True)
            recipe.with_name("reference.npz").unlink(missing_ok=True)  # which a model is known by


def first_difference(saved: Any, wanted: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """(full key, saved value, wanted value) of the first key, in order of the alphabet, in which the two differ."""
    if isinstance(saved, Mapping) and isinstance(wanted, Mapping):
        for key in sorted({*saved, *wanted}):
            found = first_difference(saved.get(key), wanted.get(key), f"{path}.{key}" if path else key)
            if found:
                return found
        return None
    return None if saved == wanted else (path, saved, wanted)


def replace_text(path: Path, text: str) -> None:
    """Writes a file that readers see whole, before or after."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
