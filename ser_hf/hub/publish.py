"""Publishes a finished run on the Hub: the model, its report and its Space, with a round trip before and after."""

import dataclasses
import datetime
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from ..evaluation.metrics import NAMES
from ..inference.reference import read_reference
from ..report.card import card_of_run, card_pictures, hub_page, run_report
from ..report.report import Report
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_yaml
from . import report_repository
from .push import Pushed, machine_paths, push, require_no_paths, resolve_repo_id
from .space import Demo, write_space
from .verify import Verdict, verify

# Patterns of the files that a push of a model writes, and deletes if the model does not have them any more.
OWNED = (
    *("*.safetensors", "*.safetensors.index.json", "*.py", "*.png", "adapter/*", ".eval_results/*.yaml"),
    *("preprocessor_config.json", "processor_config.json", "recipe.yaml", "report.json"),
)


@dataclasses.dataclass(frozen=True)
class Published:
    """What was published; `verdict` is that of the model on the Hub."""

    model: Pushed
    report: Pushed | None
    space: Pushed | None
    verdict: Verdict

    def __str__(self) -> str:
        lines = []
        for name, pushed in {"model": self.model, "report": self.report, "Space": self.space}.items():
            if pushed is not None:
                commit = f"commit {pushed.commit[:10]}" if pushed.changed else "up to date, no commit"
                lines.append(f"{name}: {pushed.url} ({commit})")
        difference, trust = self.verdict.largest_difference, ", trust_remote_code=True" * self.verdict.remote_code
        lines.append(f"  a process without ser_hf loaded it from there: logits within {difference:.1e} of training's")
        lines.append(f'  load it: pipeline("audio-classification", model="{self.model.repo_id}"{trust})')
        return "\n".join(lines + [f"  note: {note}" for note in self.verdict.notes])


def publish(
    run: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    report_repo: str | None = None,
    space: bool | str = False,
    benchmark: str | None = None,
    benchmark_task: str = "default",
    token: str | None = None,
) -> Published:
    """Publishes a finished run, or updates what was published of it.

    Before anything is sent, and afterwards, a process without ser_hf loads the model through `pipeline` and must
    predict the run's reference clips as the training process did. The model is one commit; the same call again makes
    none, and continues an interrupted push. The run's published.json records the repositories. The parameters are the
    keys of a recipe's section `hub`.

    Args:
        repo_id: USER/NAME of the model, or NAME for the user that is signed in.
        private: of repositories that are created; existing ones stay as they are.
        report_repo: a data set repository for the report.
        space: of a Gradio demo; True for the model's own name.
        benchmark, benchmark_task: a data set whose leaderboard shows the headline metric, and its task.

    Raises:
        UserError: if the run is not finished, fails the round trip, or the Hub refuses it.
    """
    run = Path(run)
    repo_id = resolve_repo_id(repo_id, token)
    report_repo = report_repo and resolve_repo_id(report_repo, token, "--report-repo")
    space = repo_id if space is True else resolve_repo_id(space, token, "--space") if space else None
    require_finished(run)
    clips, logits = read_reference(run)
    report = run_report(run)
    known: Any = {"clips": clips, "logits": logits, "token": token, "trust_remote_code": True}  # our own code
    pushing: Any = {"private": private, "token": token}
    published_report = published_space = None
    with tempfile.TemporaryDirectory(prefix="ser_hf-publish-") as temporary:
        staging = Path(temporary)
        results = {"dataset_id": benchmark, "task_id": benchmark_task} if benchmark else None
        stage_model(run, staging / "model", repo_id=repo_id, report_repo=report_repo, space=space, benchmark=results)
        before = verify(staging / "model", **known)
        if not before.good:
            problems = "; ".join(before.problems)
            raise UserError(f"{run}: not published: {problems} (ser-hf verify {run} shows the details)")
        if report_repo:  # before the model, whose card links it
            report_repository.stage_report(
                run, staging / "report", repo_id=report_repo, model_repo=repo_id, space=space
            )
            published_report = push(
                staging / "report",
                report_repo,
                kind="dataset",
                message=f"{report.name}: evaluation report",
                owned=report_repository.OWNED,
                **pushing,
            )
        message = f"{report.name}: weights, card and figures"
        model = push(staging / "model", repo_id, message=message, owned=OWNED, **pushing)
        verdict = verify(repo_id, revision=model.commit, **known)
        if not verdict.good:
            raise UserError(f"{model.url}: pushed, but users get something else: {'; '.join(verdict.problems)}")
        if space:
            _stage_space(run, staging / "space", report, model, report_repo, verdict.remote_code)
            message = f"A demo of {repo_id}"
            published_space = push(staging / "space", space, kind="space", message=message, **pushing)
    published = Published(model, published_report, published_space, verdict)
    _record(run, published)
    return published


def stage_model(
    run: Path,
    folder: Path,
    *,
    repo_id: str,
    report_repo: str | None = None,
    space: str | None = None,
    benchmark: Mapping[str, str] | None = None,
) -> None:
    """Fills `folder` with the content of the model's repository. The same run gives the same bytes.

    Args:
        report_repo, space: Hub ids that the card links.
        benchmark: `dataset_id` and `task_id` of `benchmark_result`.

    Raises:
        UserError: if the run is not finished, or a file contains a path of this machine.
    """
    require_finished(run)
    card = str(card_of_run(run, repo_id, report_repo=report_repo, space=space))
    shutil.copytree(RunFolder(run).model, folder, dirs_exist_ok=True)
    for picture in card_pictures(run):
        shutil.copyfile(picture, folder / picture.name)
    (folder / "README.md").write_text(card, encoding="utf-8")
    if benchmark:
        name, text = benchmark_result(run_report(run), **benchmark)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    require_no_paths(folder, machine_paths(run, recipe=read_yaml(RunFolder(run).recipe)))


def require_finished(run: Path) -> None:
    if not RunFolder(run).complete or not RunFolder(run).model.is_dir():
        raise UserError(f"{run}: no finished run; publish takes its folder (output_dir), with model/ and report/")


def benchmark_result(report: Report, dataset_id: str, task_id: str = "default") -> tuple[str, str]:
    """Name and YAML of the file by which the leaderboard of a benchmark on the Hub shows the headline metric, UAR.

    Raises:
        UserError: for results of a leaky protocol or of the validation split, which a leaderboard must not compare
            with others.
    """
    protocol = report.protocol
    if protocol.leak:
        raise UserError(f"{dataset_id}: no result for a leaderboard: the protocol {protocol.name} is leaky")
    if report.judged_on != "test":
        raise UserError(f"{dataset_id}: no result for a leaderboard: evaluated on the {report.judged_on} split")
    split = f"fold {protocol.fold}, " * bool(protocol.fold) + f"split {protocol.sha256[:16]}"
    entry = EvalResultEntry(
        dataset_id=dataset_id,
        task_id=task_id,
        value=round(report.metrics["uar"], 4),
        notes=f"{NAMES['uar']} on unseen speakers, protocol {protocol.name}, {split}",
    )
    name = re.sub(r"[^a-z0-9]+", "-", dataset_id.rpartition("/")[2].lower()).strip("-")
    return f".eval_results/{name}.yaml", yaml_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)


def _stage_space(
    run: Path, folder: Path, report: Report, model: Pushed, report_repo: str | None, remote_code: bool
) -> None:
    recipe = read_yaml(RunFolder(run).recipe)
    page = report_repo and hub_page(report_repo, "datasets")
    write_space(folder, Demo(model.repo_id, report, model.commit, remote_code, recipe["evaluation"]["window"], page))
    require_no_paths(folder, machine_paths(run, recipe=recipe))


def _record(run: Path, published: Published) -> None:
    """Writes published.json, which contains neither the token nor anything about its user."""
    content: dict[str, Any] = {
        name: pushed and {"repo_id": pushed.repo_id, "url": pushed.url, "commit": pushed.commit}
        for name, pushed in (("model", published.model), ("report", published.report), ("space", published.space))
    }
    content["largest_difference"] = published.verdict.largest_difference
    content["date"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    path = RunFolder(run).published
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
