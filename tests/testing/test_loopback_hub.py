"""The loopback Hub as the unmodified client meets it: what is pushed comes back, and what goes wrong goes wrong as it
does on the real one."""

import hashlib
import random

import pytest
from hub_client import Failed, client_of
from support.hub import LoopbackHub

PART = 100_000


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """With small pages and parts, so that lists come in several and a file of some 100 kB is uploaded in some."""
    with LoopbackHub(tmp_path_factory.mktemp("hub"), organizations=["lab"], page_size=3, part_size=PART) as started:
        yield started
        assert started.mistakes == []


@pytest.fixture(scope="module")
def client(hub, tmp_path_factory):
    with client_of(hub, tmp_path_factory.mktemp("home")) as run:
        yield run


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


FILES = {
    "README.md": b"---\nlicense: mit\npipeline_tag: audio-classification\n---\n# A model\n",
    "config.json": b'{"model_type": "cnn"}',
    "empty.txt": b"",
    "model.safetensors": noise(2 * PART + 17),
    "adapter/adapter_model.safetensors": noise(5000, seed=1),
    "assets/confusion matrix é.png": b"\x89PNG\r\n\x1a\n\0" + noise(100, seed=2),
    ".eval_results/uar.yaml": b"- value: 0.5\n",
    "a/b/c/d.txt": "Gefühl".encode(),
}
LARGE = ["adapter/adapter_model.safetensors", "assets/confusion matrix é.png", "model.safetensors"]


def written(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def pushed(hub, repo_id="tester/model", repo_type="model"):
    """Without what the Hub itself put there."""
    return {path: content for path, content in hub.files(repo_id, repo_type).items() if path != ".gitattributes"}


@pytest.mark.parametrize("repo_type", ["model", "dataset", "space"])
def test_a_folder_comes_back_byte_for_byte_and_is_not_pushed_twice(repo_type, hub, client, tmp_path):
    written(tmp_path / "folder", FILES if repo_type == "model" else {**FILES, "README.md": b"---\nsdk: gradio\n---\n"})
    files = {path: (tmp_path / "folder" / path).read_bytes() for path in FILES}
    upload = f"""
        repo = dict(repo_id="tester/whole", repo_type="{repo_type}")
        api.create_repo(**repo, space_sdk="gradio" if "{repo_type}" == "space" else None)
        api.upload_folder(**repo, folder_path={str(tmp_path / "folder")!r}, commit_message="Push it").oid
    """
    oid = client(upload)
    assert pushed(hub, "tester/whole", repo_type) == files
    assert set(LARGE) <= set(hub.large_files("tester/whole", repo_type))
    commits = hub.commits("tester/whole", repo_type)
    assert [commit.title for commit in commits] == ["Push it", "initial commit"]
    assert (commits[0].oid, set(commits[0].files)) == (oid, set(files))

    again = client(f'api.upload_folder(**repo, folder_path={str(tmp_path / "folder")!r}, commit_message="Again").oid')
    assert again == oid
    assert hub.commits("tester/whole", repo_type) == commits
    parts = [asked for asked in hub.requests if asked.method == "PUT" and f"{repo_type}s/tester/whole" in asked.path]
    assert len(parts) == 3 + 1 + 1  # the weights in three parts, two small files; nothing the second time

    client(f"snapshot_download(**repo, local_dir={str(tmp_path / 'back')!r})")
    assert {path: (tmp_path / "back" / path).read_bytes() for path in files} == files
    listed = client("sorted(api.list_repo_files(**repo))")
    assert listed == sorted([*files, ".gitattributes"])


def test_what_gitignore_names_stays_at_home(hub, client, tmp_path):
    written(
        tmp_path, {".gitignore": b"*.log\n/cache/\n", "a.log": b"x", "cache/b": b"x", "c": b"x", "d/cache/e": b"x"}
    )
    client(f"""
        api.create_repo("tester/ignoring")
        api.upload_folder(repo_id="tester/ignoring", folder_path={str(tmp_path)!r})
    """)
    assert set(pushed(hub, "tester/ignoring")) == {".gitignore", "c", "d/cache/e"}


def test_what_it_says_of_a_model(hub, client, tmp_path):
    written(tmp_path, FILES)
    told = client(f"""
        api.create_repo("tester/told", private=True)
        api.upload_folder(repo_id="tester/told", folder_path={str(tmp_path)!r})
        told = api.model_info("tester/told", files_metadata=True)
        weights = next(file for file in told.siblings if file.rfilename == "model.safetensors")
        about = [told.pipeline_tag, told.library_name, told.private, told.card_data.license, told.tags]
        [*about, weights.size, weights.lfs.sha256]
    """)
    tags = ["audio-classification", "safetensors", "license:mit", "region:us"]
    assert told[:5] == ["audio-classification", "transformers", True, "mit", tags]
    size, sha256 = client("""
        [folder, file, *nothing] = api.get_paths_info("tester/told", ["a/b", "model.safetensors", "nowhere"])
        assert not nothing and folder.tree_id and file.blob_id
        [file.size, file.lfs.sha256]
    """)
    assert told[5:] == [size, sha256]
    assert (size, sha256) == (len(FILES["model.safetensors"]), hashlib.sha256(FILES["model.safetensors"]).hexdigest())
    assert client("""
        inside = api.list_repo_tree("tester/told", "a/b", recursive=True, expand=True)
        [[item.path, item.last_commit.title] for item in inside]
    """) == [["a/b/c", "Upload folder using huggingface_hub"], ["a/b/c/d.txt", "Upload folder using huggingface_hub"]]
    assert client('[found.id for found in api.list_models(author="tester", search="told", filter="license:mit")]') == [
        "tester/told"
    ]


def test_strangers_see_no_private_repository_and_readers_write_none(hub, client):
    client("""
        api.create_repo("tester/secret", private=True)
        api.upload_file(repo_id="tester/secret", path_or_fileobj=b"text", path_in_repo="a.txt")
    """)
    assert hub.private("tester/secret")
    for token in ("False", repr(hub.stranger_token)):
        for call in (
            'api.model_info("tester/secret", token=%s)',
            'hf_hub_download("tester/secret", "a.txt", token=%s)',
        ):
            with pytest.raises(Failed, match="RepositoryNotFoundError"):
                client(call % token)
    assert client(f'open(hf_hub_download("tester/secret", "a.txt", token={hub.read_token!r})).read()') == "text"
    with pytest.raises(Failed, match="Invalid user token"):
        client('whoami(token="hf_of_nobody")')
    client('api.update_repo_settings("tester/secret", private=False)')
    assert not hub.private("tester/secret")
    assert client('api.model_info("tester/secret", token=False).private') is False


def test_a_gated_repository_is_seen_by_all_and_given_to_few(hub, client):
    client("""
        api.create_repo("tester/gated", repo_type="dataset")
        api.upload_file(repo_id="tester/gated", repo_type="dataset", path_or_fileobj=b"text", path_in_repo="a.txt")
        api.update_repo_settings("tester/gated", repo_type="dataset", gated="auto")
    """)
    assert client(f'api.dataset_info("tester/gated", token={hub.stranger_token!r}).gated') == "auto"
    for token in ("False", repr(hub.stranger_token)):
        with pytest.raises(Failed, match="GatedRepoError"):
            client(f'hf_hub_download("tester/gated", "a.txt", repo_type="dataset", token={token})')
    assert client('open(hf_hub_download("tester/gated", "a.txt", repo_type="dataset")).read()') == "text"


def test_a_repository_is_made_once(hub, client):
    client('api.create_repo("tester/once"); api.create_repo("lab/once")')
    with pytest.raises(Failed, match="HfHubHTTPError.*409 Conflict(.|\n)*You already created this model repo"):
        client('api.create_repo("tester/once")')
    assert client('api.create_repo("tester/once", exist_ok=True).repo_id') == "tester/once"
    asked = '[api.repo_exists(name) for name in ("tester/once", "lab/once", "tester/never")]'
    assert client(asked) == [True, True, False]
    client('api.move_repo("tester/once", "tester/moved"); api.delete_repo("lab/once")')
    assert [name for name in hub.repositories() if "once" in name or "moved" in name] == ["tester/moved"]


def test_branches_tags_and_what_is_on_none(hub, client):
    before, now, elsewhere = client("""
        api.create_repo("tester/versions")
        api.upload_file(repo_id="tester/versions", path_or_fileobj=b"old", path_in_repo="a.txt")
        api.create_tag("tester/versions", tag="v1.0"); api.create_branch("tester/versions", branch="feature/x")
        api.upload_file(repo_id="tester/versions", path_or_fileobj=b"new", path_in_repo="a.txt")
        api.delete_file("a.txt", "tester/versions", revision="feature/x")
        [
            open(hf_hub_download("tester/versions", "a.txt", revision="v1.0")).read(),
            open(hf_hub_download("tester/versions", "a.txt")).read(),
            api.file_exists("tester/versions", "a.txt", revision="feature/x"),
        ]
    """)
    assert (before, now, elsewhere) == ("old", "new", False)
    assert hub.files("tester/versions", revision="v1.0")["a.txt"] == b"old"
    titles = client('[commit.title for commit in api.list_repo_commits("tester/versions")]')
    assert titles == [commit.title for commit in hub.commits("tester/versions")]
    for call, name in (
        ('hf_hub_download("tester/versions", "b.txt")', "EntryNotFoundError"),
        ('hf_hub_download("tester/versions", "a.txt", revision="v2")', "RevisionNotFoundError"),
        ('api.delete_file("b.txt", "tester/versions")', "EntryNotFoundError"),
        ('api.delete_tag("tester/versions", tag="v2")', "RevisionNotFoundError"),
        ('api.create_tag("tester/versions", tag="v1.0")', "HfHubHTTPError.*409"),
    ):
        with pytest.raises(Failed, match=name):
            client(call)


def test_a_commit_names_the_one_before_it(hub, client):
    client("""
        api.create_repo("tester/parents")
        first = api.model_info("tester/parents").sha
        change = lambda text, parent: api.upload_file(
            repo_id="tester/parents", path_or_fileobj=text, path_in_repo="a.txt", parent_commit=parent
        )
        change(b"one", first).oid
    """)
    with pytest.raises(Failed, match="412(.|\n)*A commit has happened since"):
        client('change(b"two", first)')
    client('change(b"two", api.model_info("tester/parents").sha[:10]).oid')
    assert hub.files("tester/parents")["a.txt"] == b"two"


def test_large_files_are_copied_and_folders_deleted_without_a_new_upload(hub, client):
    client(f"""
        api.create_repo("tester/copies")
        api.upload_file(repo_id="tester/copies", path_or_fileobj={noise(3000, seed=5)!r}, path_in_repo="x/w.bin")
        api.create_commit("tester/copies", commit_message="Move", operations=[
            CommitOperationCopy("x/w.bin", "y/w.bin"), CommitOperationDelete("x/")
        ]).oid
    """)
    assert pushed(hub, "tester/copies") == {"y/w.bin": noise(3000, seed=5)}
    assert hub.commits("tester/copies")[0].files == ("x/w.bin", "y/w.bin")
    assert sum(asked.method == "PUT" and "tester/copies" in asked.path for asked in hub.requests) == 1


def test_a_card_that_the_hub_does_not_take_is_refused_before_anything_is_sent(hub, client, tmp_path):
    written(tmp_path, {**FILES, "README.md": b"---\nlicense: licence-of-mine\nmodel-index: none\n---\n"})
    client('api.create_repo("tester/card").repo_id')
    with pytest.raises(Failed, match='ValueError(.|\n)*"license" must be one of(.|\n)*"model-index" must be an array'):
        client(f'api.upload_folder(repo_id="tester/card", folder_path={str(tmp_path)!r})')
    assert pushed(hub, "tester/card") == {}


def test_the_client_waits_and_asks_again(hub, client):
    client('api.create_repo("tester/patient").repo_id')
    hub.fail("POST", "tester/patient/preupload/", 429)
    hub.fail("PUT", "/tester/patient/", 503)
    client(f'api.upload_file(repo_id="tester/patient", path_or_fileobj={noise(99)!r}, path_in_repo="w.bin").oid')
    assert pushed(hub, "tester/patient") == {"w.bin": noise(99)}
    asked = [(asked.method, asked.status) for asked in hub.requests if "tester/patient" in asked.path]
    assert asked[:2] == [("POST", 429), ("POST", 200)]
    assert [status for method, status in asked if method == "PUT"] == [503, 200]
    assert hub.commits("tester/patient")[1].title == "initial commit"


def test_of_a_cut_upload_nothing_is_kept_and_the_next_one_completes(hub, client, tmp_path):
    content = noise(PART - 1, seed=7)
    written(tmp_path, {"w.bin": content})
    client('api.create_repo("tester/cut").repo_id')
    hub.cut("PUT", "/tester/cut/", after_bytes=40_000)
    hub.cut("POST", "/tester/cut/commit/", after_bytes=50)
    upload = f"""
        api.upload_file(repo_id="tester/cut", path_or_fileobj={str(tmp_path / "w.bin")!r}, path_in_repo="w.bin").oid
    """
    with pytest.raises(Failed):
        client(upload)
    assert len(hub.commits("tester/cut")) == 1
    client(upload)
    assert pushed(hub, "tester/cut") == {"w.bin": content}
    # The client sent what was cut again, and had no need to for the second commit.
    assert [asked.status for asked in hub.requests if asked.method == "PUT" and "/cut/" in asked.path] == [0, 200]
    assert [asked.status for asked in hub.requests if "/cut/commit/" in asked.path] == [0, 200]


def test_a_cut_download_is_asked_for_again(hub, client, tmp_path):
    content = noise(50_000, seed=8)
    written(tmp_path, {"w.bin": content})
    client(f"""
        api.create_repo("tester/down")
        api.upload_file(repo_id="tester/down", path_or_fileobj={str(tmp_path / "w.bin")!r}, path_in_repo="w.bin").oid
    """)
    hub.cut("GET", "/repos/models/tester/down/", after_bytes=20_000)
    assert client('open(hf_hub_download("tester/down", "w.bin"), "rb").read().hex()') == content.hex()
    assert sum(asked.path.startswith("/repos/models/tester/down/") for asked in hub.requests) == 1 + 2
    # As parquet is streamed: a part in the middle, of the storage that the Hub points to.
    ranged = """
        file = HfFileSystem().open("tester/down/w.bin", "rb", block_size=1000)
        [file.seek(30_000), file.read(10).hex(), file.close()][1]
    """
    assert client(ranged) == content[30_000:30_010].hex()
    assert hub.requests[-1].status == 206


def test_another_hub_on_the_same_folder_goes_on(client, tmp_path):
    for name in ("first", "second"):
        with LoopbackHub(tmp_path / "hub") as hub:
            client(f"""
                other = HfApi(endpoint={hub.url!r}, token={hub.token!r})
                other.create_repo("tester/kept", private=True, exist_ok=True)
                other.upload_file(repo_id="tester/kept", path_or_fileobj=b"{name}", path_in_repo="{name}.bin").oid
            """)
    assert pushed(hub, "tester/kept") == {"first.bin": b"first", "second.bin": b"second"}
    assert hub.private("tester/kept")
    assert len(hub.commits("tester/kept")) == 3
