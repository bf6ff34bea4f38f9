"""The loopback Hub with unmodified clients: pushed files come back, and errors are those of the real Hub."""

import json

import pytest
from huggingface_hub import CommitOperationDelete, HfApi, close_session, constants, errors
from support.hub import LoopbackHub
from support.hub.cards import check_card

BINARY = bytes(range(256)) * 400
FILES = {
    "README.md": b"---\nlicense: mit\npipeline_tag: audio-classification\n---\n# A model\n",
    "config.json": b'{"model_type": "cnn"}',
    "empty.txt": b"",
    "model.safetensors": BINARY,
    "assets/confusion matrix \u00e9.png": b"\x89PNG\r\n\x1a\n\0",
    "a/b/c.txt": "Gef\u00fchl".encode(),
}
LARGE = ["assets/confusion matrix \u00e9.png", "model.safetensors"]


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    close_session()
    with LoopbackHub(organizations=["lab"]) as started:
        yield started


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.url, token=hub.token)


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    return tmp_path / "folder"


@pytest.mark.parametrize("repo_type", ["model", "dataset", "space"])
def test_a_folder_comes_back_and_is_not_pushed_twice(repo_type, hub, api, folder, tmp_path):
    files = FILES | ({"README.md": b"---\nsdk: gradio\n---\n"} if repo_type == "space" else {})
    (folder / "README.md").write_bytes(files["README.md"])
    repository = {"repo_id": "lab/whole", "repo_type": repo_type}
    api.create_repo(**repository, space_sdk="gradio" if repo_type == "space" else None)
    oids = [api.upload_folder(**repository, folder_path=folder, commit_message="Push").oid for _ in range(2)]
    assert oids[0] == oids[1] == hub.commits("lab/whole", repo_type)[0].oid
    assert [commit.title for commit in hub.commits("lab/whole", repo_type)] == ["Push", "initial commit"]
    assert {path: hub.files("lab/whole", repo_type)[path] for path in files} == files
    assert hub.large_files("lab/whole", repo_type) == LARGE
    assert sum(request.method == "PUT" for request in hub.requests) == len(LARGE)
    api.snapshot_download(**repository, local_dir=tmp_path / "back")
    assert {path: (tmp_path / "back" / path).read_bytes() for path in files} == files
    assert not hub.mistakes


def test_private_and_gated_repositories(hub, api, tmp_path):
    def read(token):
        return api.hf_hub_download("tester/m", "a.txt", token=token, local_dir=tmp_path / "home")

    api.create_repo("tester/m", private=True)
    api.upload_file(repo_id="tester/m", path_or_fileobj=b"text", path_in_repo="a.txt")
    assert hub.private("tester/m")
    with pytest.raises(errors.RepositoryNotFoundError):
        read(False)
    assert read(hub.read_token)
    with pytest.raises(errors.HfHubHTTPError, match="403"):
        api.delete_file("a.txt", "tester/m", token=hub.read_token)
    api.update_repo_settings("tester/m", private=False, gated="auto")
    assert api.model_info("tester/m", token=False).gated == "auto"
    with pytest.raises(errors.GatedRepoError):
        HfApi(endpoint=hub.url, token=False).hf_hub_download("tester/m", "a.txt", local_dir=tmp_path / "other")
    with pytest.raises(errors.HfHubHTTPError, match="Invalid user token"):
        HfApi(endpoint=hub.url, token="hf_of_nobody").whoami()


def test_errors_of_repositories_revisions_and_commits(hub, api, tmp_path):
    api.create_repo("tester/m")
    first = api.model_info("tester/m").sha
    with pytest.raises(errors.HfHubHTTPError, match="409 Conflict"):
        api.create_repo("tester/m")
    with pytest.raises(errors.HfHubHTTPError, match="403"):
        api.create_repo("somebody/m")
    assert [api.repo_exists(name) for name in ("tester/m", "tester/n")] == [True, False]
    api.upload_file(repo_id="tester/m", path_or_fileobj=b"1", path_in_repo="x/a.txt", parent_commit=first)
    with pytest.raises(errors.HfHubHTTPError, match="412"):
        api.upload_file(repo_id="tester/m", path_or_fileobj=b"2", path_in_repo="b.txt", parent_commit=first)
    with pytest.raises(errors.RemoteEntryNotFoundError):
        api.hf_hub_download("tester/m", "b.txt", local_dir=tmp_path)
    with pytest.raises(errors.RevisionNotFoundError):
        api.hf_hub_download("tester/m", "x/a.txt", revision="v2", local_dir=tmp_path)
    api.create_commit("tester/m", [CommitOperationDelete("x/")], commit_message="Delete")
    assert {*hub.files("tester/m")} == {".gitattributes"}
    assert hub.commits("tester/m")[0].files == ("x/a.txt",)
    assert not api.file_exists("tester/m", "x/a.txt")
    assert api.file_exists("tester/m", "x/a.txt", revision=hub.commits("tester/m")[1].oid)


RESULT = {
    "task": {"type": "audio-classification"},
    "dataset": {"name": "RAVDESS", "type": "tester/ravdess"},
    "metrics": [{"type": "recall", "value": 0.61}],
}
BAD_CARDS = [
    ("model", {"license": "Apache 2.0"}, '"license" must be one of [apache-2.0, mit,'),
    ("model", {"language": ["en", "English"]}, '"language[1]" is not valid'),
    ("model", {"base_model": "runs/wav2vec2/model"}, '"base_model" is not valid'),
    ("model", {"pipeline_tag": "emotion-recognition"}, '"pipeline_tag" must be one of'),
    ("model", {"model-index": [{"name": "m", "results": [RESULT | {"metrics": []}]}]}, "metrics"),
    ("model", {"model-index": [{"name": "m", "results": [RESULT | {"dataset": {"name": "x"}}]}]}, "'type' is a req"),
    ("dataset", {"configs": [{"data_files": []}]}, "'config_name' is a required"),
    ("space", {"sdk": "static", "colorTo": "orange"}, '"colorTo" must be one of [red,'),
]


@pytest.mark.parametrize(("repo_type", "metadata", "message"), BAD_CARDS)
def test_a_card_that_the_hub_refuses(repo_type, metadata, message):
    (error,) = check_card(f"---\n{json.dumps(metadata)}\n---\n", repo_type)
    assert message in error
