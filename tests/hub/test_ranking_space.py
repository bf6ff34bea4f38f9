"""A ranking of runs as a static Space."""

import pytest

from ser_hf.hub import ranking_space
from ser_hf.hub.push import Pushed
from ser_hf.hub.ranking_space import OWNED, publish_ranking
from ser_hf.utils.errors import UserError


@pytest.fixture
def pushes(monkeypatch):
    """The arguments of each push, which is not made."""
    calls = []

    def push(folder, repo_id, **options):
        calls.append((folder, repo_id, options))
        return Pushed(repo_id, f"https://hub/{repo_id}", "c0ffee", True)

    monkeypatch.setattr(ranking_space, "push", push)
    monkeypatch.setattr(ranking_space, "resolve_repo_id", lambda repo_id, token: repo_id)
    return calls


@pytest.fixture
def ranking(tmp_path):
    for name in OWNED:
        (tmp_path / name).write_text("a ranking", encoding="utf-8")
    return tmp_path


def test_the_folder_is_pushed_as_a_static_space(ranking, pushes):
    pushed = publish_ranking(ranking, "tester/ranks", private=True)
    assert pushed.repo_id == "tester/ranks"
    ((folder, repo_id, options),) = pushes
    assert (folder, repo_id) == (ranking, "tester/ranks")
    assert options["kind"] == "space"
    assert options["space_sdk"] == "static"
    assert options["private"]


def test_another_folder_and_paths_of_this_machine_are_refused(ranking, pushes):
    (ranking / "ranking.csv").write_text(f"run\n{ranking.resolve()}/a\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"ranking\.csv: contains "):
        publish_ranking(ranking, "tester/ranks")
    (ranking / "ranking.csv").unlink()
    with pytest.raises(UserError, match="not the folder of a ranking"):
        publish_ranking(ranking, "tester/ranks")
    assert not pushes
