"""Publishes a ranking of runs as a static Space on the Hub."""

from fnmatch import fnmatch
from pathlib import Path

from ..utils.errors import UserError
from .push import Pushed, machine_paths, push, require_no_paths, resolve_repo_id

# The files that a push of a ranking writes, and deletes if a later one does not contain them.
OWNED = ("README.md", "index.html", "ranking.json", "ranking.csv")
# Pictures that a ranking may have, too.
OWNED_PICTURES = "ranking_*.pdf"


def publish_ranking(
    folder: str | Path, repo_id: str, *, private: bool = False, token: str | None = None
) -> Pushed:
    """Push the folder of a ranking to a static Space, which shows the page as it is.

    The Space is created if it does not exist. The same ranking again makes no commit.

    Args:
        folder: the output of `ser_hf.rank_runs`.
        repo_id: USER/NAME of the Space, or NAME for the user that is signed in.
        private: whether a new Space is private.

    Raises:
        UserError: if the folder is not of a ranking, if a file of it contains a path of this
            machine, or if the Hub refuses the upload.
    """
    folder = Path(folder)
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    files = {name for name in names if not fnmatch(name, OWNED_PICTURES)}
    if files != set(OWNED):
        raise UserError(f"{folder}: not the folder of a ranking; ser-hf rank writes one")
    repo_id = resolve_repo_id(repo_id, token)
    require_no_paths(folder, machine_paths(folder))
    return push(
        folder,
        repo_id,
        kind="space",
        space_sdk="static",
        message="A ranking of runs",
        owned=(*OWNED, OWNED_PICTURES),
        private=private,
        token=token,
    )
