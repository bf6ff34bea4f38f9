"""A finished run onto the Hub: the model, its report and its Space, after and before a look at it from outside."""

import dataclasses
import datetime
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id, yaml_dump

from ..evaluation.metrics import NAMES
from ..inference.reference import read_reference
from ..report.card import card_of_run, card_pictures, run_report
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_yaml
from .card_check import check_card
from .push import Pushed, machine_paths, push, require_no_paths, whole_name
from .verify import Verdict


def eval_result_files(
    report: Mapping[str, Any],
    dataset_id: str,
    task_id: str = "default",
    *,
    metric: str = "uar",
    dataset_revision: str | None = None,
    source_url: str | None = None,
    date: datetime.date | None = None,
) -> dict[str, str]:
    """{name of the file: its YAML} of one figure.

    Args:
        report: of the weights that are published (`ser_hf.report.card.run_report`).
        dataset_id: the benchmark's id on the Hub.
        task_id: of the task, as its eval.yaml has it.
        metric: which figure the benchmark compares.
        source_url: where the figure can be looked up, such as the report's repository.
        date: when it was measured; by default the day of the commit.

    Raises:
        UserError: for what is no id, a metric that was not measured, figures of a leaky protocol, and figures of the
            validation part, which would stand on a leaderboard beside honest ones.
    """
    try:
        validate_repo_id(dataset_id)
    except HFValidationError:
        raise UserError(f"{dataset_id}: no id of a data set on the Hub, which reads USER/NAME") from None
    value = report["metrics"].get(metric)
    if value is None:
        raise UserError(f"{metric}: not measured; the report has {', '.join(report['metrics'])}")
    protocol, judged_on = report["protocol"], report["judged_on"]
    if protocol["leak"] or judged_on != "test":
        why = f"the protocol {protocol['name']} is leaky" if protocol["leak"] else f"the {judged_on} part judged"
        raise UserError(f"{dataset_id}: {report['name']} has no figure for a leaderboard, as {why}")
    where = f"{protocol['name']}" + (f", fold {protocol['fold']}" if protocol.get("fold") else "")
    entry = EvalResultEntry(
        dataset_id=dataset_id,
        task_id=task_id,
        value=round(value, 4),
        dataset_revision=dataset_revision,
        date=date and date.isoformat(),
        source_url=source_url,
        source_name=source_url and "Evaluation report",
        notes=f"{NAMES[metric]} on unheard speakers, protocol {where}, split {protocol['sha256'][:16]}",
    )
    name = re.sub(r"[^a-z0-9]+", "-", dataset_id.rpartition("/")[2].lower()).strip("-")
    return {f".eval_results/{name}.yaml": yaml_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)}


# Files that a push of a model writes; one that the model has no more is deleted. Whatever else stands in the
# repository is the user's own.
OWNED = (
    *("*.safetensors", "*.safetensors.index.json", "*.py", "*.png", "adapter/*", ".eval_results/*.yaml"),
    *("preprocessor_config.json", "processor_config.json", "recipe.yaml", "report.json"),
)


def stage_model(
    run: Path,
    folder: Path,
    *,
    repo_id: str,
    report_repo: str | None = None,
    space: str | None = None,
    benchmark: Mapping[str, str] | None = None,
) -> None:
    """Fills `folder` with what the repository `repo_id` is to hold of a finished run.

    The same run gives the same bytes, so that publishing it twice is one commit.

    Args:
        report_repo, space: ids on the Hub that the card links.
        benchmark: ``dataset_id`` and ``task_id`` of the leaderboard that is to show the headline; none for nowhere.

    Raises:
        UserError: if there is no finished run, its card is not what the Hub takes, or a file names a place on this
            machine.
    """
    source = RunFolder(run)
    if not source.complete or not source.model.is_dir():
        raise UserError(f"{run}: no finished run; publish takes its folder (output_dir), with model/ and report/")
    card = str(card_of_run(run, repo_id, report_repo=report_repo, space=space))
    shutil.copytree(source.model, folder, dirs_exist_ok=True)
    for picture in card_pictures(run):
        shutil.copyfile(picture, folder / picture.name)
    (folder / "README.md").write_text(card, encoding="utf-8")
    if benchmark:
        for name, text in eval_result_files(run_report(run).to_dict(), **benchmark).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if wrong := check_card(card, names):
        raise UserError(f"{run}: its card is none that the Hub takes: {'; '.join(wrong)}")
    require_no_paths(folder, machine_paths(run, recipe=read_yaml(source.recipe)))


logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Published:
    """What publishing came to. `verdict` is that of the model as it stands on the Hub."""

    model: Pushed
    report: Pushed | None
    space: Pushed | None
    verdict: Verdict

    def __str__(self) -> str:
        kinds = {"the model": self.model, "its report": self.report, "its Space": self.space}
        lines = []
        for what, pushed in kinds.items():
            if pushed is not None:
                done = f"commit {pushed.commit[:10]}" if pushed.changed else "there already, no commit"
                lines.append(f"{what}: {pushed.url} ({done})")
        difference = self.verdict.largest_difference
        trust = ", trust_remote_code=True" if self.verdict.remote_code else ""
        lines += [
            f"  loaded from there by a process without ser_hf: {self.verdict.tensors} tensors, none new, logits of "
            f"{self.verdict.clips} clips within {difference:.1e} of the training's",
            f'  load it: pipeline("audio-classification", model="{self.model.repo_id}"{trust})',
        ]
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
    """Publishes a finished run, or brings what was published of it up to date.

    Before anything is sent, and after, a process without ser_hf loads the model through `pipeline` and must answer the
    run's reference clips as the training process did. The model is one commit; the same call again makes none, and
    goes on with a push that was cut off. What came of it stands in the run's published.json.

    Args:
        run: its folder.
        repo_id: USER/NAME of the model, or NAME for whoever is signed in.
        private: of repositories that are made; those that exist stay as they are.
        report_repo: of the report, a data set with the page, the predictions and all figures.
        space: of a Gradio page to try the model on; True for the model's own name.
        benchmark, benchmark_task: a data set on the Hub whose leaderboard is to show the headline, and its task.
        token: of the Hub; by default that which is signed in.

    Raises:
        UserError: if the run is not finished, does not come through the round trip, or the Hub refuses it; in one
            line, with what to do.
    """
    run = Path(run)
    repo_id = whole_name(repo_id, token)
    report_repo = report_repo and whole_name(report_repo, token, "--report-repo")
    space = repo_id if space is True else whole_name(space, token, "--space") if space else None
    known = _reference(run)
    with _folder("model") as model:
        where = {"repo_id": repo_id, "report_repo": report_repo, "space": space}
        told = {"dataset_id": benchmark, "task_id": benchmark_task} if benchmark else None
        stage_model(run, model, **where, benchmark=told)
        before = _verify(str(model), known, token)
        if not before.good:
            raise UserError(f"{run}: not published, as {'; '.join(before.problems)} (ser-hf verify {run} tells all)")
        # The report first: the model's card links it.
        report = report_repo and _push_report(run, report_repo, repo_id, space, private, token)
        message = f"{run_report(run).name}: weights, card and figures"
        pushed = push(model, repo_id, private=private, message=message, owned=OWNED, token=token)
    after = _verify(repo_id, known, token, pushed.commit)
    if not after.good:
        raise UserError(
            f"{pushed.url}: pushed, but what a user gets there is not what was sent: {'; '.join(after.problems)}"
        )
    pushed_space = space and _push_space(run, space, repo_id, report_repo, after, pushed.commit, private, token)
    published = Published(pushed, report or None, pushed_space or None, after)
    _record(run, published)
    return published


def _reference(run: Path) -> tuple[Any, Any]:
    if not RunFolder(run).complete:
        raise UserError(
            f"{run}: no finished run; publish takes the folder of one (output_dir), with model/ and report/"
        )
    return read_reference(run)


def _verify(where: str, known: tuple[Any, Any], token: str | None, revision: str | None = None) -> Verdict:
    from .verify import verify

    # Our own code, just written or just pushed.
    return verify(where, revision=revision, clips=known[0], logits=known[1], token=token, trust_remote_code=True)


def _push_report(
    run: Path, repo_id: str, model_repo: str, space: str | None, private: bool, token: str | None
) -> Pushed:
    from .report_repository import OWNED as REPORT_OWNED
    from .report_repository import stage_report

    with _folder("report") as folder:
        stage_report(run, folder, repo_id=repo_id, model_repo=model_repo, space=space)
        message = f"{run_report(run).name}: evaluation report"
        return push(folder, repo_id, kind="dataset", private=private, message=message, owned=REPORT_OWNED, token=token)


def _push_space(
    run: Path,
    repo_id: str,
    model_repo: str,
    report_repo: str | None,
    verdict: Verdict,
    commit: str,
    private: bool,
    token: str | None,
) -> Pushed:
    from ..corpora import corpus_facts, corpus_options
    from ..report.card import hub_page
    from .space import write_space

    recipe = read_yaml(RunFolder(run).recipe)
    corpus = recipe["corpus"]
    options = {key: corpus[key] for key in corpus_options(corpus["name"]) if key in corpus}
    with _folder("space") as folder:
        write_space(
            folder,
            model_repo,
            report=run_report(run).to_dict(),
            corpus=corpus_facts(corpus["name"], options),
            revision=commit,
            trust_remote_code=verdict.remote_code,
            window=recipe["evaluation"]["window"],
            report_page=report_repo and hub_page(report_repo, "datasets/"),
        )
        require_no_paths(folder, machine_paths(run, recipe=recipe))
        message = f"A page to try {model_repo} on"
        return push(folder, repo_id, kind="space", private=private, message=message, token=token)


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    """A folder to stage in, not in the run's, which others may read meanwhile."""
    temporary = tempfile.mkdtemp(prefix="ser_hf-publish-")
    try:
        yield Path(temporary, name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _record(run: Path, published: Published) -> None:
    """published.json beside model/: where everything is. Neither token nor anything of who is signed in."""
    repositories = {name: getattr(published, name) for name in ("model", "report", "space")}
    told: dict[str, Any] = {
        name: pushed and {"repo_id": pushed.repo_id, "url": pushed.url, "commit": pushed.commit}
        for name, pushed in repositories.items()
    }
    told["largest_difference"] = published.verdict.largest_difference
    told["date"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    path = RunFolder(run).published
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
