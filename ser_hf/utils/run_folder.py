"""The folder of a run: its files, and when a run may write into it."""

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
    *("recipe.yaml", "recipe.partial", "split.json", "split.partial", "checkpoints", "logs"),
    *(
        f"{name}{end}"
        for name in ("model", "report")
        for end in ("", ".partial", ".replaced", ".lock")
    ),
    *("reference.npz", "reference.partial"),
)
_CHILD = re.compile(r"(seed|fold)-\d+|foil")
_WITHOUT_EFFECT = {"provenance", "output_dir", "corpus.download", "hub"}  # on what a run computes


class RunFolder:
    """The paths of a run's files. seed-N/, fold-N/ and foil/ contain the same files again; `place`
    says where such a folder is in the whole run, such as ``("fold-1", "seed-2")``."""

    def __init__(self, path: str | Path, place: tuple[str, ...] = ()):
        self.path = Path(path)
        self.place = place
        self.recipe = self.path / "recipe.yaml"
        self.split = self.path / "split.json"
        self.model = self.path / "model"
        self.report = self.path / "report"
        self.reference = self.path / "reference.npz"
        self.checkpoints = self.path / "checkpoints"
        self.log = self.path / "logs" / "run.log"
        self.lock = self.path / ".lock"

    def child(self, name: str) -> "RunFolder":
        return RunFolder(self.path / name, (*self.place, name))

    @property
    def complete(self) -> bool:
        """Whether the run is finished: the report is written last."""
        return (self.report / "report.json").is_file()

    def check(self, recipe: dict[str, Any], resume: bool, overwrite: bool) -> None:
        """Refuse a folder that contains another run, or files that no run wrote."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"output_dir: {self.path} is a file")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return
        if (self.path / "config.json").is_file():
            raise UserError(f"output_dir: {self.path} is a model's folder; choose another one")
        if not self.recipe.is_file():
            if {child.name for child in self.path.iterdir()} <= {"recipe.partial", ".lock"}:
                return  # a start that was interrupted, or happens now
            raise UserError(
                f"output_dir: {self.path} contains files that no run wrote; choose another folder"
            )
        if resume:
            self._require_same(recipe)
        elif not overwrite:
            raise UserError(
                f"output_dir: {self.path} contains a run already; continue it with --resume, replace it with "
                "--overwrite, or set output_dir"
            )

    @contextlib.contextmanager
    def taken(self, recipe: dict[str, Any], resume: bool, overwrite: bool) -> Iterator[None]:
        """Keep other processes from running in the folder. It is checked again: one may have begun
        meanwhile.
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
        saved = flat(read_yaml(self.recipe))
        wanted = flat(recipe)
        # Not known before the clips are measured and the checkpoint is found; checked again after
        # that.
        for key, unknown in (("audio.level", "auto"), ("model.revision", None)):
            if key in wanted and wanted[key] == unknown:
                del wanted[key]
        for key in sorted(wanted):  # a saved recipe may have keys of earlier versions
            if not {key, key.partition(".")[0]} & _WITHOUT_EFFECT and saved.get(key) != wanted.get(
                key
            ):
                raise UserError(
                    f"{key}: {wanted.get(key)!r} here, {saved.get(key)!r} in the run at {self.path}; --resume "
                    "continues the same recipe only"
                )

    def _clear(self) -> None:
        # The report first and the recipe last: interrupted in between, the folder is an unfinished
        # run.
        order = sorted(
            self.path.iterdir(),
            key=lambda child: (child.name == "recipe.yaml", child.name != "report"),
        )
        for child in order:
            if child.name not in CONTENTS and not _CHILD.fullmatch(child.name):
                continue
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with full keys such as ``training.seeds``."""
    found = {}
    for key, value in values.items():
        found |= (
            flat(value, f"{prefix}{key}.")
            if isinstance(value, Mapping) and value
            else {prefix + key: value}
        )
    return found
