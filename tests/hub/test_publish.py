"""A run published on the loopback Hub: its repositories, a second call, refusals, and a push that
was killed.
"""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from support.hub import LoopbackHub
from support.processes import warm_process
from support.recipes import TINY_CRNN
from support.testing import CHECKPOINTS, write_checkpoint

import ser_hf
from ser_hf.hub.publish import stage_model
from ser_hf.inference.reference import read_reference
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.slow
TINY = {
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
    "protocol": {"name": "speaker_independent", "validation": 0.2, "test": 0.4},
    "training": {"num_train_epochs": 1, "learning_rate": 0.01, "use_cpu": True},
    "evaluation": {"bootstrap": 20},
}
# FAKE are the problems that the verification finds, which takes ten seconds of imports; with
# VERIFIED the model on the Hub is verified: the staged folder contains the same files.
COMMAND = """
import json, os, sys
from ser_hf.hub import publish
from ser_hf.hub.verdict import Verdict
from ser_hf import cli

verify = publish.verify

def verified(where, **options):
    print("verified", where, options.get("revision"), len(options["clips"]), flush=True)
    if "VERIFIED" in os.environ and not os.path.isdir(where):
        return verify(where, **options)
    return Verdict(where, True, json.loads(os.environ["FAKE"]), largest_difference=0.0)

publish.verify = verified
for arguments in json.loads(sys.argv[1]):
    print("code", cli.main(["publish", *arguments]), flush=True)
"""
IMPORTS = """
import torch, transformers
import ser_hf.cli, ser_hf.cli.publish, ser_hf.hub.publish, ser_hf.hub.verify
import ser_hf.hub.space, ser_hf.train, ser_hf.models, ser_hf.training.lora
"""


@pytest.fixture(scope="module")
def crnn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    ser_hf.run_recipe({"name": "tiny", **TINY, "model": TINY_CRNN}, [f"output_dir={folder}"])
    return folder


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A wav2vec2 with adapters, which starts from a folder of this machine."""
    folder = tmp_path_factory.mktemp("runs") / "adapted"
    checkpoint = write_checkpoint(
        tmp_path_factory.mktemp("checkpoint"), **CHECKPOINTS["wav2vec2-layer"]
    )
    recipe = {
        "name": "adapted",
        **TINY,
        "model": {"architecture": "encoder", "checkpoint": str(checkpoint)},
    }
    ser_hf.run_recipe(recipe | {"lora": {"rank": 2}}, [f"output_dir={folder}"])
    return folder


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with LoopbackHub() as started:
        yield started


@pytest.fixture(scope="module")
def command(hub, tmp_path_factory):
    """A function that starts ``ser-hf publish``, once for each list of words, in one process."""
    folder = tmp_path_factory.mktemp("processes")
    with warm_process(IMPORTS, hub.environment(folder / "home"), folder / "written") as start:

        def started(*calls, **environment):
            words = [[str(word) for word in words] for words in calls]
            return start(COMMAND, json.dumps(words), **{"FAKE": "[]"} | environment)

        yield started


def ended(process):
    _, out, err = process.ended()
    return [int(line.split()[1]) for line in out.splitlines() if line.startswith("code ")], out, err


def test_a_killed_push_continues_and_publishes_everything_once(crnn, hub, command):
    words = [crnn, "--repo", "tiny", "--report-repo", "tiny-report", "--space", "--private"]
    hub.stall("PUT", "", 60)
    killed = command(words)
    while not any(request.method == "PUT" for request in hub.requests):
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.ended()[0] == -signal.SIGKILL
    assert [commit.title for commit in hub.commits("tester/tiny-report", "dataset")] == [
        "initial commit"
    ]

    codes, out, err = ended(command(words, VERIFIED="1"))
    assert codes == [0], err
    assert hub.token not in out + err
    before, after = [line.split()[1:] for line in out.splitlines() if line.startswith("verified ")]
    assert before[1:] == ["None", "4"]
    assert after == ["tester/tiny", hub.commits("tester/tiny")[0].oid, "4"]
    for name, kind in (("tiny", "model"), ("tiny-report", "dataset"), ("tiny", "space")):
        assert len(hub.commits(f"tester/{name}", kind)) == 2
        assert hub.private(f"tester/{name}", kind)
    files = hub.files("tester/tiny")
    needed = ["model.safetensors", "config.json", "modeling_crnn.py", "preprocessor_config.json"]
    assert set(needed) <= files.keys()
    card = files["README.md"].decode()
    assert 'pipeline("audio-classification", model="tester/tiny", trust_remote_code=True)' in card
    assert "datasets/tester/tiny-report" in card
    assert "spaces/tester/tiny" in card
    assert all(name in files for name in ("confusion_matrix.png", "report.json", "recipe.yaml"))
    assert "reference.npz" not in files
    for kind in ("model", "dataset", "space"):
        for content in contents(hub, kind):
            assert str(crnn).encode() not in content

    again, _, err = ended(command(words, words[:3]))
    assert again == [0, 0], err
    assert len(hub.commits("tester/tiny-report", "dataset")) == 2
    # Without report and Space the card has fewer links, which is another commit.
    assert len(hub.commits("tester/tiny")) == 3
    assert not hub.mistakes


def contents(hub, kind):
    for name in hub.repositories(kind):
        yield from hub.files(name, kind).values()


def test_adapters_are_published_with_the_merged_weights(adapted, hub, command):
    codes, _, err = ended(command([adapted, "--repo", "adapted"]))
    assert codes == [0], err
    files = hub.files("tester/adapted")
    adapter = ["adapter/adapter_config.json", "adapter/adapter_model.safetensors"]
    assert {"model.safetensors", *adapter} <= files.keys()
    assert not any(name.endswith(".py") for name in files)  # stock code


def test_a_model_that_fails_the_round_trip_is_not_pushed(crnn, hub, command):
    codes, _, err = ended(command([crnn, "--repo", "random"], FAKE='["Its classifier is random."]'))
    assert codes == [2]
    message = f"{crnn}: not published: Its classifier is random. (ser-hf verify {crnn} shows"
    assert message in err
    assert "tester/random" not in hub.repositories("model")


def test_a_recipe_with_a_repository_publishes_at_its_end(crnn, tmp_path, monkeypatch):
    from ser_hf.hub import publish, push

    calls = []

    def resolve(name, key):
        calls.append((key, name))

    def publish_run(run, repo_id, **options):
        calls.append((run, repo_id, options))

    monkeypatch.setattr(push, "resolve_repo_id", resolve)
    monkeypatch.setattr(publish, "publish", publish_run)
    words = [f"output_dir={crnn}", "hub={repo: tester/tiny, space: true}"]
    # Nothing of it is trained again.
    ser_hf.run_recipe({"name": "tiny", **TINY, "model": TINY_CRNN}, words, resume=True)
    options = {"private": True, "report_repo": None, "space": True, "benchmark": None}
    assert calls == [("hub.repo", "tester/tiny"), (str(crnn), "tester/tiny", options)]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{space: true}", r"^hub\.space: nothing is published while hub\.repo is null"),
        ("{repo: a/b/c}", r"^hub\.repo: .*'a/b/c'"),
        ("{repo: a/b, benchmark: c}", r"^hub\.benchmark: .*'c'"),
    ],
)
def test_the_repository_is_checked_before_training(section, message):
    with pytest.raises(UserError, match=message):
        ser_hf.run_recipe({"name": "tiny", **TINY, "model": TINY_CRNN}, [f"hub={section}"])


def test_an_unfinished_run_is_refused(tmp_path, crnn):
    with pytest.raises(UserError, match="no finished run"):
        stage_model(tmp_path, tmp_path / "staged", repo_id="tester/tiny")
    with pytest.raises(UserError, match=r"reference\.npz: missing"):
        read_reference(tmp_path)


def test_a_path_of_this_machine_is_refused(tmp_path, crnn):
    copied = shutil.copytree(crnn, tmp_path / "run")
    (copied / "model" / "recipe.yaml").write_text(f"root: {copied.resolve()}/data\n")
    with pytest.raises(UserError, match=r"recipe\.yaml: contains .*, a path of this machine"):
        stage_model(copied, tmp_path / "staged", repo_id="tester/tiny")


def change_code(model):
    (model / "modeling_crnn.py").write_text("import os")
    return "modeling_crnn.py"


def rename_weights(model):
    (model / "model.safetensors").rename(model / "model.bin")
    return "model.safetensors"


def link_from_the_model(model):
    (model / "notes.json").symlink_to("/etc/hostname")
    return "notes.json"


def link_from_the_report(model):
    picture = model.parent / "report" / "confusion.png"
    picture.unlink(missing_ok=True)
    picture.symlink_to("/etc/hostname")
    return "confusion.png"


@pytest.mark.parametrize(
    "harm", [change_code, rename_weights, link_from_the_model, link_from_the_report]
)
def test_a_run_that_somebody_else_made_is_refused(tmp_path, crnn, harm):
    copied = Path(shutil.copytree(crnn, tmp_path / "run"))
    file = harm(copied / "model")
    with pytest.raises(UserError, match=file):
        stage_model(copied, tmp_path / "staged", repo_id="tester/tiny")


def files_in(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_only_known_files_of_a_run_are_published(tmp_path, crnn):
    copied = Path(shutil.copytree(crnn, tmp_path / "run"))
    for name in ("evil.py", "training_args.bin", "evil.so", "adapter/adapter_model.bin", ".env"):
        (copied / "model" / name).parent.mkdir(exist_ok=True)
        (copied / "model" / name).write_text("harm")
    stage_model(crnn, tmp_path / "expected", repo_id="tester/tiny")
    stage_model(copied, tmp_path / "staged", repo_id="tester/tiny")
    assert files_in(tmp_path / "staged") == files_in(tmp_path / "expected")
