"""Only a pull request of the converter, with the same pickle, is used for its safetensors."""

from types import SimpleNamespace

import pytest

from ser_hf.loading import converted
from ser_hf.loading.converted import converted_revision

PICKLE = "pytorch_model.bin"


def described(**hashes):
    """What the Hub says about a revision: its files, and the SHA-256 of those in Git LFS."""
    siblings = []
    for name, sha256 in hashes.items():
        lfs = SimpleNamespace(sha256=sha256) if sha256 else None
        siblings.append(SimpleNamespace(rfilename=name.replace("__", "."), lfs=lfs))
    return SimpleNamespace(siblings=siblings)


MAIN = described(config__json=None, pytorch_model__bin="aa")
CONVERTED = described(pytorch_model__bin="aa", model__safetensors="bb")


def pull_request(number, author="SFconvertbot"):
    return SimpleNamespace(
        author=author, is_pull_request=True, git_reference=f"refs/pr/{number}", num=number
    )


@pytest.fixture
def hub(monkeypatch):
    """A Hub with one repository: change its `revisions` and `pull_requests`."""
    state = SimpleNamespace(revisions={None: MAIN, "refs/pr/2": CONVERTED}, pull_requests=[])

    class Api:
        def __init__(self, token=None):
            pass

        def model_info(self, source, revision=None, files_metadata=False):
            assert files_metadata
            return state.revisions[revision]

        def get_repo_discussions(self, source, **filters):
            assert filters["discussion_status"] == "open"
            return state.pull_requests

    monkeypatch.setattr(converted, "HfApi", Api)
    monkeypatch.setattr(converted, "connection_problem", lambda: None)
    return state


def test_the_converter_s_pull_request_is_found(hub):
    hub.pull_requests = [pull_request(1, author="someone"), pull_request(2)]
    assert converted_revision("someone/voices") == "refs/pr/2"


def test_a_pull_request_of_another_author_is_not_used(hub):
    hub.pull_requests = [pull_request(2, author="someone")]
    assert converted_revision("someone/voices") is None


def test_a_pull_request_of_an_older_pickle_is_not_used(hub):
    hub.pull_requests = [pull_request(2)]
    hub.revisions[None] = described(pytorch_model__bin="cc")
    assert converted_revision("someone/voices") is None


def test_a_pull_request_without_safetensors_is_not_used(hub):
    hub.pull_requests = [pull_request(2)]
    hub.revisions["refs/pr/2"] = MAIN
    assert converted_revision("someone/voices") is None


def test_the_pickle_is_that_of_the_requested_revision(hub):
    hub.pull_requests = [pull_request(2)]
    hub.revisions["v1"] = described(pytorch_model__bin="cc")
    assert converted_revision("someone/voices", "v1") is None
    assert converted_revision("someone/voices") == "refs/pr/2"


def test_nothing_is_searched_for_folders_offline_and_without_a_pickle(hub, tmp_path, monkeypatch):
    hub.pull_requests = [pull_request(2)]
    assert converted_revision(str(tmp_path)) is None
    hub.revisions[None] = described(config__json=None)
    assert converted_revision("someone/voices") is None
    hub.revisions = {}  # the Hub refuses the request
    assert converted_revision("someone/voices") is None
    monkeypatch.setattr(converted, "connection_problem", lambda: "no network")
    assert converted_revision("someone/voices") is None
