"""The loopback Hub and the unmodified clients: what is pushed comes back, and errors are those of the real Hub."""

import base64
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from huggingface_hub import CommitOperationDelete, HfApi, close_session, constants, errors
from support.hub import LoopbackHub
from support.hub.cards import check_card, front_matter

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


def test_descriptions_and_trees(hub, api, folder):
    api.create_repo("tester/m")
    api.upload_folder(repo_id="tester/m", folder_path=folder)
    info = api.model_info("tester/m", files_metadata=True)
    known = [info.pipeline_tag, info.library_name, info.card_data.license]
    assert known == ["audio-classification", "transformers", "mit"]
    weights = next(file for file in info.siblings if file.rfilename == "model.safetensors")
    (path,) = api.get_paths_info("tester/m", ["model.safetensors", "nowhere"])
    assert (path.size, path.lfs.sha256) == (weights.size, weights.lfs.sha256)
    assert path.size == len(BINARY)
    assert {item.path for item in api.list_repo_tree("tester/m", "a", recursive=True)} == {"a/b", "a/b/c.txt"}
    assert len(list(api.list_repo_tree("tester/m"))) == 7
    assert {*api.list_repo_files("tester/m")} == {".gitattributes", *FILES}


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


def test_faults(hub, api, tmp_path):
    api.create_repo("tester/m")
    hub.fail("POST", "tester/m/preupload/", 429, headers={"Retry-After": "0"})
    hub.fail("PUT", "/tester/m/", 503)
    api.upload_file(repo_id="tester/m", path_or_fileobj=BINARY, path_in_repo="w.bin")
    sent = [(request.method, request.status) for request in hub.requests if "tester/m" in request.path]
    assert {("POST", 429), ("PUT", 503), ("PUT", 200)} <= {*sent}
    hub.cut("POST", "/commit/", 50)
    with pytest.raises(Exception, match="disconnected|reset|closed"):
        api.upload_file(repo_id="tester/m", path_or_fileobj=b"x", path_in_repo="x.txt")
    assert hub.requests[-1].status == 0
    assert len(hub.commits("tester/m")) == 2


def request(hub, method, path, body=b"", **headers):
    """Status and body of a request without any client."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {hub.token}", **headers}
    sent = urllib.request.Request(hub.url + path, content if method != "GET" else None, headers, method=method)
    try:
        with urllib.request.urlopen(sent, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def line(kind, path, content=b"", **value):
    return {"key": kind, "value": {"path": path, "content": base64.b64encode(content).decode(), **value}}


@pytest.mark.parametrize(
    "wrong",
    [
        line("file", "b.dat", BINARY),
        line("file", "b.txt", b"x" * (10 * 2**20 + 1)),
        line("file", "../../etc/passwd", b"x"),
        line("file", "README.md", b"---\nlicense: none of them\n---\n"),
        line("lfsFile", "b.bin", oid="0" * 64, algo="sha256"),
        line("rename", "b.txt"),
    ],
    ids=["binary", "large", "path", "card", "absent object", "operation"],
)
def test_a_commit_that_no_client_makes(wrong, hub, api):
    api.create_repo("tester/m")
    lines = [{"key": "header", "value": {"summary": "x"}}, line("file", "good.txt", b"x"), wrong]
    body = b"\n".join(json.dumps(one).encode() for one in lines)
    assert request(hub, "POST", "/api/models/tester/m/commit/main", body)[0] == 400
    assert {*hub.files("tester/m")} == {".gitattributes"}
    assert len(hub.mistakes) == 1


def test_the_storage_takes_what_was_announced_and_gives_ranges(hub, api):
    api.create_repo("tester/m")
    place = f"/storage/models/tester/m/{'0' * 64}"
    assert request(hub, "PUT", f"{place}?size=3", b"abc")[0] == 400
    assert request(hub, "GET", place)[0] == 403
    api.upload_file(repo_id="tester/m", path_or_fileobj=BINARY, path_in_repo="w.bin")
    assert request(hub, "GET", "/tester/m/resolve/main/w.bin", Range="bytes=5-9") == (206, BINARY[5:10])


def test_an_unknown_address_and_a_failure_of_the_hub_are_noticed():
    with (
        pytest.raises(AssertionError, match="does not know GET /api/models/tester/m/runs"),
        LoopbackHub() as hub,
    ):
        assert request(hub, "GET", "/api/models/tester/m/runs")[0] == 404
    with pytest.raises(AssertionError, match="JSONDecodeError"), LoopbackHub() as hub:
        assert request(hub, "POST", "/api/repos/create", b"{")[0] == 500


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


def test_a_card_that_the_hub_accepts():
    index = {"license": ["mit", "cc-by-4.0"], "language": "en", "model-index": [{"name": "m", "results": [RESULT]}]}
    assert check_card(f"---\n{json.dumps(index)}\n---\n", "model") == []
    assert check_card("# No metadata\n", "dataset") == []
    assert front_matter("---\nlanguage: no\ndate: 2026-01-02\n---\n")[0] == {"language": "no", "date": "2026-01-02"}
    for text, message in (("license: [mit", "Invalid YAML"), ("- mit", '"YAML" must be of type object')):
        assert message in check_card(f"---\n{text}\n---\n", "model")[0]


CLIPS = """
import io, numpy as np, soundfile
from datasets import Audio, ClassLabel, Dataset, load_dataset

def clip(number):
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(4000) * 0.01 * number), 16000, format="FLAC")
    return {"bytes": file.getvalue(), "path": f"{number}.flac"}

rows = {"audio": [clip(number) for number in range(8)], "label": ["angry", "sad"] * 4}
clips = Dataset.from_dict(rows).cast_column("label", ClassLabel(names=["angry", "sad"]))
clips = clips.cast_column("audio", Audio(sampling_rate=16000))
clips.push_to_hub("tester/clips", private=True, num_shards=2)
clips.select(range(3)).push_to_hub("tester/clips", "few", split="test")
loaded = load_dataset("tester/clips", "default", split="train").cast_column("audio", Audio(decode=False))
assert [row["audio"]["bytes"] for row in loaded] == [row["bytes"] for row in rows["audio"]]
assert (loaded["label"][:], loaded.features["label"].names) == ([0, 1] * 4, ["angry", "sad"])
assert len(load_dataset("tester/clips", "few", split="test")) == 3
"""


@pytest.mark.slow
def test_datasets_pushes_clips_and_loads_them(tmp_path):
    with LoopbackHub() as hub:
        environment = {**os.environ, **hub.environment(tmp_path / "home")}
        subprocess.run([sys.executable, "-c", CLIPS], cwd=tmp_path, env=environment, check=True, timeout=300)
        shards = [f"data/train-0000{number}-of-00002.parquet" for number in range(2)]
        assert hub.large_files("tester/clips", "dataset") == [*shards, "few/test-00000-of-00001.parquet"]
        assert hub.private("tester/clips", "dataset")
        assert not hub.mistakes
