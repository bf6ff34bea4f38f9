"""The folder that a finished run is published as: its model, with the card and the pictures for where it goes."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from ..errors import UserError
from ..run_folder import RunFolder
from ..strict import read_yaml
from .card_check import check_card
from .eval_results import eval_result_files
from .machine_paths import machine_paths, require_no_paths
from .run_card import card_of_run, card_pictures, run_report

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
        for name, text in eval_result_files(run_report(run), **benchmark).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if wrong := check_card(card, names):
        raise UserError(f"{run}: its card is none that the Hub takes: {'; '.join(wrong)}")
    require_no_paths(folder, machine_paths(run, recipe=read_yaml(source.recipe)))
