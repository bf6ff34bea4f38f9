"""Publishes a finished run on the Hub: the model, its report and its Space.

A process without ser_hf loads the model and predicts clips, before the upload and after it.
"""

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from huggingface_hub import DatasetCardData

from ..evaluation.maps import map_schema
from ..inference.reference import read_reference
from ..loading.data_only import data_only
from ..loading.files import ADAPTER, STATISTICS
from ..protocols.split import PARTS
from ..report.card import (
    card_of_run,
    card_pictures,
    corpora_of,
    hub_page,
    markdown,
    public,
    report_values,
    run_report,
)
from ..report.citations import license_metadata, license_text
from ..report.report import SCHEMA, Report, read_report
from ..report.saved_recipe import read_saved_recipe
from ..report.write import MAP, PREDICTIONS, write_report
from ..utils.errors import UserError, one_line
from ..utils.run_folder import RunFolder
from ..utils.yaml import dump_yaml
from .eval_results import FOLDER as EVAL_RESULTS
from .eval_results import Benchmark, require_comparable, write_result
from .push import (
    Pushed,
    machine_paths,
    push,
    require_no_paths,
    require_valid_card,
    resolve_repo_id,
    without_paths,
)
from .space import Demo, write_space
from .static_space import OWNED as STATIC_OWNED
from .static_space import require_page, write_static_space
from .verdict import Verdict
from .verify import verify

# Patterns of the files that a push of a model writes, and deletes if the model does not have them
# any more.
OWNED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.py",
    "*.png",
    "adapter/*",
    f"{EVAL_RESULTS}/*.yaml",
    "preprocessor_config.json",
    "processor_config.json",
    "recipe.yaml",
    "report.json",
    "training_clips.txt",
)
# Files in a model's folder, other than weights, configurations and code.
_BESIDE = (
    "recipe.yaml",
    "report.json",
    "training_clips.txt",
    STATISTICS,
    f"adapter/{ADAPTER}",
    "adapter/adapter_model.safetensors",
)
# Limits of a table of predictions, and the types of its columns that name files.
_MOST_PREDICTIONS = 10**7
_COLUMN_TYPES = {"part": pa.string(), "path": pa.string()}
# Patterns of the files that a push of a report writes, and deletes if a later one does not contain
# them.
REPORT_OWNED = ("README.md", "index.html", "report.json", SCHEMA, "*.parquet", "*.png", "*.svg")


@dataclasses.dataclass(frozen=True)
class Published:
    """The published repositories; `verdict` is the verdict about the model on the Hub."""

    model: Pushed
    report: Pushed | None
    space: Pushed | None
    verdict: Verdict

    def __str__(self) -> str:
        lines = []
        repositories = {"model": self.model, "report": self.report, "Space": self.space}
        for name, pushed in repositories.items():
            if pushed is None:
                continue
            state = f"commit {pushed.commit[:10]}" if pushed.changed else "up to date, no commit"
            lines.append(f"{name}: {pushed.url} ({state})")
        trust = ", trust_remote_code=True" if self.verdict.remote_code else ""
        lines += [
            "  a process without ser_hf loaded it from there: logits within "
            f"{self.verdict.largest_difference:.1e} of training's",
            f'  load it: pipeline("audio-classification", model="{self.model.repo_id}"{trust})',
        ]
        lines += [f"  note: {note}" for note in self.verdict.notes]
        return "\n".join(lines)


def publish(
    run: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    report_repo: str | None = None,
    space: bool | str = False,
    space_page: str | Path | None = None,
    benchmark: str | None = None,
    token: str | None = None,
) -> Published:
    """Publish a finished run, or update an earlier publication.

    Before and after the upload a process without ser_hf loads the model through `pipeline` and must
    predict the run's reference clips as the training process did. The model is one commit. A second
    call makes no new commit; after an interruption, a second call continues the push.

    Example: `print(ser_hf.publish("runs/a", "USER/NAME", private=True))`

    Args:
        repo_id: USER/NAME of the model, or NAME for the user that is signed in.
        private: whether new repositories are private; existing repositories stay as they are.
        report_repo: the id of a dataset repository for the report.
        space: the id of the Space for a Gradio demo; True for the name of the model.
        space_page: the folder of a page by `ser_hf.export_web`, for a static Space in place of the
            Gradio demo: the model runs in the browser.
        benchmark: a dataset on the Hub whose leaderboard is to show the result, USER/NAME or
            USER/NAME:TASK.

    Returns:
        The repositories with their commits, and the verdict about the published model.

    Raises:
        UserError: if the run is unfinished, the model fails verification, its result must not be
            on the leaderboard of `benchmark`, or the Hub refuses the upload.
    """
    run = Path(run)
    repo_id = resolve_repo_id(repo_id, token)
    if report_repo:
        report_repo = resolve_repo_id(report_repo, token, "--report-repo")
    space_repo = _space_repo(space, repo_id, token)
    if space_page is not None:
        require_page(Path(space_page))
    require_finished(run)
    report = run_report(run)
    leaderboard = None
    if benchmark is not None:
        leaderboard = Benchmark.from_text(benchmark)
        require_comparable(report, leaderboard)
    reference_clips, reference_logits = read_reference(run)
    publication = _Publication(
        run=run,
        reference_clips=reference_clips,
        reference_logits=reference_logits,
        report=report,
        model_repo=repo_id,
        report_repo=report_repo or None,
        space_repo=space_repo,
        space_page=None if space_page is None else Path(space_page),
        benchmark=leaderboard,
        private=private,
        token=token,
    )
    with tempfile.TemporaryDirectory(prefix="ser_hf-publish-") as staging:
        return publication.publish(Path(staging))


def _space_repo(space: bool | str, model_repo: str, token: str | None) -> str | None:
    """Return the Hub id of the requested Space; True stands for the name of the model."""
    if not space:
        return None
    if space is True:
        return model_repo
    return resolve_repo_id(space, token, "--space")


@dataclasses.dataclass(frozen=True)
class _Publication:
    """The publication of a run: its repositories on the Hub, and its steps.

    The id of a repository that is not requested is None.
    """

    run: Path
    reference_clips: Sequence[np.ndarray]
    reference_logits: np.ndarray
    report: Report
    model_repo: str
    report_repo: str | None
    space_repo: str | None
    space_page: Path | None
    benchmark: Benchmark | None
    private: bool
    token: str | None

    def publish(self, staging: Path) -> Published:
        """Push the report, the model and the Space from new folders in `staging`."""
        self.stage_verified_model(staging / "model")
        # The report comes before the model, because the card of the model links the report.
        report = self.push_report(staging / "report")
        model, verdict = self.push_model(staging / "model")
        space = self.push_space(staging / "space", model, verdict)
        return Published(model=model, report=report, space=space, verdict=verdict)

    def stage_verified_model(self, folder: Path) -> None:
        """Fill `folder` with the model, and refuse a model that fails verification."""
        stage_model(
            self.run,
            folder,
            repo_id=self.model_repo,
            report_repo=self.report_repo,
            space=self.space_repo,
        )
        if self.benchmark is not None:
            write_result(folder, self.report, self.benchmark)
        verdict = self._verify(folder)
        if not verdict.good:
            raise UserError(
                f"{self.run}: not published: {'; '.join(verdict.problems)} "
                f"(ser-hf verify {self.run} shows the details)"
            )
        require_valid_card(folder, self.model_repo)

    def push_report(self, folder: Path) -> Pushed | None:
        if self.report_repo is None:
            return None
        stage_report(
            self.run,
            folder,
            repo_id=self.report_repo,
            model_repo=self.model_repo,
            space=self.space_repo,
        )
        return push(
            folder,
            self.report_repo,
            kind="dataset",
            message=f"{self.report.name}: evaluation report",
            owned=REPORT_OWNED,
            private=self.private,
            token=self.token,
        )

    def push_model(self, folder: Path) -> tuple[Pushed, Verdict]:
        """Push the model, and verify the copy on the Hub."""
        pushed = push(
            folder,
            self.model_repo,
            message=f"{self.report.name}: weights, card and figures",
            owned=OWNED,
            private=self.private,
            token=self.token,
        )
        verdict = self._verify(self.model_repo, revision=pushed.commit)
        if not verdict.good:
            problems = "; ".join(verdict.problems)
            raise UserError(f"{pushed.url}: pushed, but fails verification on the Hub: {problems}")
        return pushed, verdict

    def push_space(self, folder: Path, model: Pushed, verdict: Verdict) -> Pushed | None:
        if self.space_repo is None:
            return None
        recipe = read_saved_recipe(RunFolder(self.run).recipe)
        if self.space_page is not None:
            write_static_space(folder, self.space_page, model=self.model_repo, report=self.report)
            return self._push_space_folder(folder, recipe, "static", owned=STATIC_OWNED)
        demo = Demo(
            model=self.model_repo,
            report=self.report,
            revision=model.commit,
            trust_remote_code=verdict.remote_code,
            window=recipe["evaluation"]["window"],
            report_page=hub_page(self.report_repo, "datasets") if self.report_repo else None,
        )
        write_space(folder, demo)
        return self._push_space_folder(folder, recipe, "gradio")

    def _push_space_folder(
        self,
        folder: Path,
        recipe: Mapping[str, Any],
        sdk: Literal["gradio", "static"],
        owned: Sequence[str] = (),
    ) -> Pushed:
        require_no_paths(folder, machine_paths(self.run, recipe=recipe))
        return push(
            folder,
            self.space_repo,
            kind="space",
            space_sdk=sdk,
            owned=owned,
            message=f"A demo of {self.model_repo}",
            private=self.private,
            token=self.token,
        )

    def _verify(self, where: str | Path, revision: str | None = None) -> Verdict:
        """Verify a model, with the run's reference logits."""
        return verify(
            where,
            revision=revision,
            clips=self.reference_clips,
            logits=self.reference_logits,
            token=self.token,
        )


def stage_model(
    run: Path,
    folder: Path,
    *,
    repo_id: str,
    report_repo: str | None = None,
    space: str | None = None,
) -> None:
    """Fill `folder` with the content of the model's repository. The same run gives the same bytes.

    Only files with expected names are copied from the run, and the code comes from this package,
    because another person may have made the run.

    Args:
        report_repo, space: Hub ids to which the card has links.
    """
    require_finished(run)
    card = str(card_of_run(run, repo_id, report_repo=report_repo, space=space))
    model = RunFolder(run).model
    for path in (*model.rglob("*"), *RunFolder(run).report.rglob("*"), *card_pictures(run)):
        if not path.resolve().is_relative_to(run.resolve()):
            raise UserError(
                f"{path}: leads to {path.resolve()}, outside of the run, and is not published"
            )
    with data_only(str(model), code=True) as copy:
        shutil.copytree(copy.folder, folder, dirs_exist_ok=True)
    for name in _BESIDE:
        if (model / name).is_file():
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(model / name, folder / name)
    for picture in card_pictures(run):
        shutil.copyfile(picture, folder / picture.name)
    (folder / "README.md").write_text(card, encoding="utf-8")
    recipe = read_saved_recipe(RunFolder(run).recipe)
    require_no_paths(folder, machine_paths(run, recipe=recipe))


def require_finished(run: Path) -> None:
    """Check that a run folder has a report and a model.

    Raises:
        UserError: naming the folder, if one of them is missing.
    """
    if not RunFolder(run).complete or not RunFolder(run).model.is_dir():
        raise UserError(
            f"{run}: no finished run; publish takes its folder (output_dir), with model/ and "
            "report/"
        )


def stage_report(
    run: Path,
    folder: Path,
    *,
    repo_id: str,
    model_repo: str | None = None,
    space: str | None = None,
) -> None:
    """Fill `folder` with the content of the report's repository. The same run gives the same bytes.

    ``load_dataset(repo)`` loads the predictions.

    Args:
        repo_id: USER/NAME of the repository, for the snippets of its card.
        model_repo, space: Hub ids of the model that the report describes, and of its demo.
    """
    source = RunFolder(run).report
    recipe = read_saved_recipe(RunFolder(run).recipe)
    predictions = _read_predictions(source / PREDICTIONS)
    private_paths = machine_paths(run, _folder_of_clips(predictions), recipe=recipe)
    report = _public_report(source, private_paths)
    map_table = _read_map(source / MAP, report)
    corpora = corpora_of(report, recipe["corpus"], report.evaluated_split).facts_of_each()

    folder.mkdir(parents=True, exist_ok=True)
    if map_table is not None:
        pq.write_table(map_table, folder / MAP)
    write_report(
        folder,
        report,
        recipe=dump_yaml(public(recipe)),
        corpus=corpora[0] if len(corpora) == 1 else None,
        predictions=source / PREDICTIONS,
    )
    _write_predictions(folder / "predictions", predictions)
    card = _report_card(
        report, corpora, folder, repo_id=repo_id, model_repo=model_repo, space=space
    )
    (folder / "README.md").write_text(without_paths(card, private_paths), encoding="utf-8")
    require_no_paths(folder, private_paths)


def _read_predictions(path: Path) -> pa.Table:
    """Read the table of predictions of a run, which another person may have made or changed.

    Raises:
        UserError: for a file that is not such a table. Its splits name files, so a split is one of
            `PARTS`.
    """
    try:
        table = _read_table(path)
        for column, kind in _COLUMN_TYPES.items():
            if column in table.column_names and table.schema.field(column).type != kind:
                raise ValueError(
                    f"{column}: expected {kind}, got {table.schema.field(column).type}"
                )
        if "part" not in table.column_names:
            raise ValueError("no column part")
        others = set(table["part"].unique().to_pylist()).difference(PARTS)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(
            f"{path}: not a table of predictions of ser_hf: {one_line(error)}; "
            "publish the folder as the run wrote it"
        ) from None
    if others:
        split = min(map(str, others))
        raise UserError(
            f"{path}: part: expected a split ({', '.join(PARTS)}), got {split!r:.100}; "
            "publish the folder as the run wrote it"
        )
    return table


def _read_table(path: Path) -> pa.Table:
    """Read a table of a run.

    Raises:
        ValueError: for a table with too many rows.
    """
    file = pq.ParquetFile(path)
    if file.metadata.num_rows > _MOST_PREDICTIONS:
        raise ValueError(f"more than {_MOST_PREDICTIONS:,} rows")
    return file.read()


def _read_map(path: Path, report: Report) -> pa.Table | None:
    """Read the table of a map of embeddings, which another person may have made or changed.

    Returns:
        The table; None if the report has no map.

    Raises:
        UserError: for a file that is not such a table.
    """
    if report.embeddings is None or not path.is_file():
        return None
    expected = map_schema(report.labels, report.measured)
    try:
        table = _read_table(path)
        if not table.schema.equals(expected):
            columns = ", ".join(f"{field.name} ({field.type})" for field in expected)
            raise ValueError(f"expected the columns {columns}")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(
            f"{path}: not a map of embeddings of ser_hf: {one_line(error)}; "
            "publish the folder as the run wrote it"
        ) from None
    return table


def _folder_of_clips(predictions: pa.Table) -> str | None:
    """Return the folder that holds all clips, if the paths of the clips are absolute."""
    if "path" not in predictions.column_names:
        return None
    folders = set()
    for path in predictions["path"].to_pylist():
        if path and Path(path).is_absolute():
            folders.add(str(Path(path).parent))
    return os.path.commonpath(folders) if folders else None


def _public_report(source: Path, private_paths: Sequence[str]) -> Report:
    """Read the report in the folder `source`, and remove the paths of this machine and of clips."""
    values = public(read_report(source / "report.json").to_dict())
    values["hardest"] = [{**clip, "path": None} for clip in values.get("hardest", ())]
    text = without_paths(json.dumps(values, ensure_ascii=False), private_paths)
    return Report.from_dict(json.loads(text), source)


def _write_predictions(folder: Path, predictions: pa.Table) -> None:
    """Write a file of predictions for each split, without the paths of clips."""
    folder.mkdir()
    columns = [name for name in predictions.column_names if name != "path"]
    predictions = predictions.select(columns)
    for part in predictions["part"].unique().to_pylist():
        rows = predictions.filter(pc.equal(predictions["part"], part))
        pq.write_table(rows, folder / f"{part}.parquet")


def _report_card(
    report: Report,
    corpora: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    repo_id: str,
    model_repo: str | None,
    space: str | None,
) -> str:
    """Return the card of the report's repository; the files of the repository are in `folder`."""
    parts = sorted(path.stem for path in (folder / "predictions").iterdir())
    parts.sort(key=lambda part: part != report.evaluated_split)  # the viewer shows the first one
    files = [{"split": part, "path": f"predictions/{part}.parquet"} for part in parts]
    tags = ["speech-emotion-recognition", "evaluation", "ser_hf"]
    if report.protocol.leak:
        tags.append("leaky-protocol")
    page = hub_page(repo_id, "datasets")
    licenses = []
    for corpus in corpora:
        if corpus["license"]:
            licenses.append(f"{corpus['title']} ({license_text(corpus['license'])})")
    data = DatasetCardData(
        pretty_name=f"{report.name}: evaluation report",
        task_categories=["audio-classification"],
        tags=tags,
        configs=[{"config_name": "predictions", "data_files": files, "default": True}],
        **license_metadata(corpora, f"{page}#license"),
    )
    values = report_values(report) | {
        "card_data": data.to_yaml(),
        "repo_id": repo_id,
        "model_repo": model_repo,
        "model_page": hub_page(model_repo) if model_repo else None,
        "space_page": hub_page(space, "spaces") if space else None,
        "page": f"{page}/resolve/main/index.html",
        "rows": sum(pq.read_metadata(folder / file["path"]).num_rows for file in files),
        "licenses": licenses,
    }
    return markdown("report_repository.md", values)
