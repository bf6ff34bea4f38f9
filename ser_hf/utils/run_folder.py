"""The folder of a run: its files, and the checks before a run writes into it."""

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import held, replace_text
from .yaml import dump_yaml, read_yaml

# What a run writes; --overwrite removes these and nothing else.
CONTENTS = (
    "recipe.yaml",
    "recipe.partial",
    "split.json",
    "split.partial",
    "checkpoints",
    "logs",
    "model",
    "model.partial",
    "model.replaced",
    "model.lock",
    "report",
    "report.partial",
    "report.replaced",
    "report.lock",
    "reference.npz",
    "reference.partial",
)
_CHILD = re.compile(r"(seed|fold)-\d+|foil|curve-[a-z]+-[a-z0-9-]+")

# Sections and keys that do not change what a run computes: --resume accepts other values of them.
_WITHOUT_EFFECT = {"provenance", "output_dir", "corpus.download", "hub"}

# Keys whose value is found during a run, with the value that means "not found yet".
_FOUND_LATER = {"audio.level": "auto", "model.revision": None, "training.auto_batch_size": True}
# Keys that are found with another one.
_FOUND_WITH = {
    "training.auto_batch_size": [
        "training.per_device_train_batch_size",
        "training.gradient_accumulation_steps",
    ]
}


class RunFolder:
    """The paths of a run's files.

    seed-N/, fold-N/ and foil/ contain the same files again.

    Args:
        path: the folder.
        path_in_run: the names of the folders that lead here from the folder of the whole run, such
            as ``("fold-1", "seed-2")``.
    """

    def __init__(self, path: str | Path, path_in_run: tuple[str, ...] = ()):
        self.path = Path(path)
        self.path_in_run = path_in_run
        self.recipe = self.path / "recipe.yaml"
        self.split = self.path / "split.json"
        self.model = self.path / "model"
        self.report = self.path / "report"
        self.reference = self.path / "reference.npz"
        self.checkpoints = self.path / "checkpoints"
        self.log = self.path / "logs" / "run.log"
        self.lock = self.path / ".lock"

    def child(self, name: str) -> "RunFolder":
        """The folder of one seed, of one fold or of the foil."""
        return RunFolder(self.path / name, (*self.path_in_run, name))

    @property
    def complete(self) -> bool:
        """Whether the run is finished: the report is written last."""
        return (self.report / "report.json").is_file()

    def check(self, recipe: dict[str, Any], resume: bool, overwrite: bool) -> None:
        """Raise a UserError for a folder that contains another run, or files that no run wrote.

        With `resume` the folder may contain a run of the same recipe, with `overwrite` any run.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"output_dir: {self.path} is a file")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return
        if (self.path / "config.json").is_file():
            raise UserError(f"output_dir: {self.path} is a model's folder; choose another one")
        if not self.recipe.is_file():
            names = {child.name for child in self.path.iterdir()}
            if names <= {"recipe.partial", ".lock"}:  # a run that is starting, or was interrupted
                return
            raise UserError(
                f"output_dir: {self.path} contains files that no run wrote; choose another folder"
            )
        if resume:
            self._require_same(recipe)
        elif not overwrite:
            raise UserError(
                f"output_dir: {self.path} contains a run already; continue it with --resume, "
                "replace it with --overwrite, or set output_dir"
            )

    @contextlib.contextmanager
    def taken(self, recipe: dict[str, Any], resume: bool, overwrite: bool) -> Iterator[None]:
        """Keep other processes from running in the folder.

        The folder is checked again, because another process may have used it since the first check.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with held(self.lock, self.path):
            self.check(recipe, resume, overwrite)
            yield

    def open(self, recipe: dict[str, Any], resume: bool) -> None:
        """Start the run in a checked folder: clear a replaced run and write the resolved recipe."""
        if self.recipe.is_file() and resume:
            return
        if self.recipe.is_file():
            self._clear()
        self.path.mkdir(parents=True, exist_ok=True)
        replace_text(self.recipe, dump_yaml(recipe))

    def _require_same(self, recipe: dict[str, Any]) -> None:
        """Refuse a recipe that computes something else than the run in the folder."""
        saved = flat(read_yaml(self.recipe))
        requested = flat(recipe)
        for key, not_found_yet in _FOUND_LATER.items():
            # The run compares these again when it has found their values.
            if key in requested and requested[key] == not_found_yet:
                for found in [key, *_FOUND_WITH.get(key, [])]:
                    requested.pop(found, None)
                    saved.pop(found, None)

        # A key that only one of them has may come from another version. It is named last, because
        # the user has not written it.
        in_both = sorted(saved.keys() & requested.keys())
        only_requested = sorted(requested.keys() - saved.keys())
        only_saved = sorted(saved.keys() - requested.keys())
        for key in in_both + only_requested + only_saved:
            section = key.partition(".")[0]
            if key in _WITHOUT_EFFECT or section in _WITHOUT_EFFECT:
                continue
            if saved.get(key) != requested.get(key):
                raise UserError(
                    f"{key}: {requested.get(key)!r} here, {saved.get(key)!r} in the run at "
                    f"{self.path}; --resume continues the same recipe only"
                )

    def _clear(self) -> None:
        """Remove the files of a run, the report first and the recipe last.

        If this is interrupted, the folder has an unfinished run.
        """
        for child in sorted(self.path.iterdir(), key=_clearing_order):
            if child.name not in CONTENTS and not _CHILD.fullmatch(child.name):
                continue
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()


def _clearing_order(child: Path) -> int:
    if child.name == "report":
        return 0
    if child.name == "recipe.yaml":
        return 2
    return 1


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to one mapping with full keys such as ``training.seeds``.

    An empty mapping stays a value.
    """
    flattened = {}
    for key, value in values.items():
        full_key = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flattened |= flat(value, f"{full_key}.")
        else:
            flattened[full_key] = value
    return flattened
