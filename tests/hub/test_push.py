"""A folder pushed to the loopback Hub: one commit, resumable after failures, none if nothing
changed.
"""

import json
import os
import subprocess
import sys

import pytest
from support.hub import LoopbackHub

pytestmark = pytest.mark.slow

PUSH = """
import json, sys, time, logging
from pathlib import Path
from ser_hf.utils.errors import UserError
from ser_hf.hub import push
from ser_hf.hub.push import resolve_repo_id
for arguments in json.loads(sys.argv[1]):
    folder, name, options = arguments
    try:
        name = resolve_repo_id(name, options.get("token"))
        done = push.push(Path(folder), name, message="A push", **options)
        print(json.dumps([done.repo_id, done.commit, done.changed]))
    except UserError as error:
        print(json.dumps(str(error)))
"""


@pytest.fixture
def hub(tmp_path):
    with LoopbackHub(organizations=["lab"]) as started:
        yield started


@pytest.fixture
def pushed(hub, tmp_path):
    """A function that pushes folders one after the other, in one process, and returns their
    results.
    """

    def run(*pushes, **environment):
        command = [sys.executable, "-c", PUSH, json.dumps(pushes)]
        environment = os.environ | hub.environment(tmp_path / "home") | environment
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert hub.token not in done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "folder"
    (made / "adapter").mkdir(parents=True)
    (made / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    (made / "model.safetensors").write_bytes(os.urandom(300_000))
    (made / "config.json").write_text("{}")
    (made / "adapter" / "adapter_config.json").write_text("{}")
    return made


def test_one_commit_and_none_if_nothing_changed(hub, pushed, folder):
    where = str(folder)
    first, second = pushed([where, "model", {"private": True}], [where, "tester/model", {}])
    assert first[0] == "tester/model"  # the user that is signed in
    assert first[2]
    assert second == ["tester/model", first[1], False]
    assert hub.private("tester/model")
    assert [commit.title for commit in hub.commits("tester/model")] == ["A push", "initial commit"]
    there = hub.files("tester/model")
    there.pop(".gitattributes")
    assert there == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")
    }
    assert not hub.mistakes


def test_files_that_the_folder_lost_are_deleted_and_other_files_stay(hub, pushed, folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("notes of the user")
    pushed([str(folder), "model", {}], [str(other), "model", {}])
    (folder / "adapter" / "adapter_config.json").unlink()
    (folder / "config.json").write_text('{"a": 1}')
    pushed([str(folder), "model", {"owned": ["adapter/*", "*.safetensors", "config.json"]}])
    there = set(hub.files("tester/model")) - {".gitattributes"}
    assert there == {"README.md", "config.json", "model.safetensors", "notes.txt"}
    assert set(hub.commits("tester/model")[0].files) == {
        "adapter/adapter_config.json",
        "config.json",
    }


def test_the_same_call_continues_after_a_failure(hub, pushed, folder):
    hub.fail("POST", "/commit/", 500)
    failed, done = pushed([str(folder), "model", {}], [str(folder), "model", {}])
    reason = "the Hub fails (HTTP 500); it keeps what has arrived, and the same command continues"
    assert failed == f"tester/model: {reason}"
    assert done[2]
    uploads = [request for request in hub.requests if request.method == "PUT"]
    assert len(uploads) == 1  # what had arrived was not sent again


def test_refusals_name_the_remedy(hub, pushed, folder):
    wrong, read_only, of_others, misspelt = pushed(
        [str(folder), "model", {"token": "hf_wrong"}],
        [str(folder), "model", {"token": hub.read_token}],
        [str(folder), "somebody/model", {"token": hub.token}],
        [str(folder), "a/b/c", {"token": hub.token}],
    )
    assert wrong.startswith("--repo: model: the Hub refuses the token; sign in with `hf auth login")
    assert read_only.startswith("--repo: model: ")
    assert "write access" in read_only
    assert of_others.startswith("somebody/model: ")
    assert misspelt.startswith("--repo: a/b/c: ")
    (signed_out,) = pushed([str(folder), "model", {}], HF_TOKEN="")
    assert signed_out.startswith("--repo: model: ")
    assert "`hf auth login`" in signed_out
    (offline,) = pushed([str(folder), "model", {}], HF_HUB_OFFLINE="1")
    assert offline.startswith("--repo: model: HF_HUB_OFFLINE ")


@pytest.mark.parametrize(("key", "value"), [("license", "nonsense"), ("language", "English")])
def test_no_repository_is_created_for_a_card_that_the_hub_refuses(hub, pushed, folder, key, value):
    (folder / "README.md").write_text(f"---\n{key}: {value}\n---\n")
    (reply,) = pushed([str(folder), "unborn", {}])
    assert reply.startswith(f'tester/unborn: the Hub refuses its README.md: "{key}"'), reply
    created = [request for request in hub.requests if request.path.endswith("/repos/create")]
    assert created == []


def test_a_card_that_the_hub_refuses_later_changes_nothing(hub, pushed, folder):
    pushed([str(folder), "model", {}])
    (folder / "README.md").write_text("---\nlicense: nonsense\n---\n")
    (reply,) = pushed([str(folder), "model", {}])
    assert reply.startswith('tester/model: the Hub refuses its README.md: "license"'), reply
    assert len(hub.commits("tester/model")) == 2
