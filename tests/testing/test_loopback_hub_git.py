"""The loopback Hub's object ids and patterns beside those of git itself."""

import random
import shutil
import subprocess

import pytest
from support.hub import git
from support.hub.patterns import default_attributes, is_ignored, is_large

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git to compare with")

FILES = {
    "a.txt": b"hello\n",
    "a/b": b"",
    "a/b.txt": b"x" * 1000,
    "a-b/c": b"1",
    "a.b/c": b"2",
    "ab/c/d/e": "ü\n".encode(),
    "ab/c.d": b"\0\1",
}


def run(folder, *command, **more):
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin:/usr/local/bin", "GIT_CONFIG_NOSYSTEM": "1"}
    environment |= {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(["git", *command], cwd=folder, env=environment, capture_output=True, text=True, **more)
    assert done.returncode in (0, 1), done.stderr  # 1: check-ignore found nothing
    return done.stdout


@pytest.fixture
def repository(tmp_path):
    run(tmp_path, "init", "-q", "-b", "main")
    return tmp_path


def test_ids_that_are_known():
    assert git.regular(b"").oid == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert git.regular(b"hello\n").oid == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert git.tree_oids({}) == {"": "4b825dc642cb6eb9a060e54bf8d69288fbee4904"}


@needs_git
def test_files_folders_and_commits_are_called_as_git_calls_them(repository):
    for path, content in FILES.items():
        target = repository / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    run(repository, "add", "-A")
    root = run(repository, "write-tree").strip()
    listed = [line.split("\t") for line in run(repository, "ls-tree", "-r", "-t", root).splitlines()]
    expected = {path: about.split()[2] for about, path in listed}
    entries = {path: git.regular(content) for path, content in FILES.items()}
    folders = git.tree_oids(entries)
    assert folders.pop("") == root
    assert {path: entry.oid for path, entry in entries.items()} | folders == expected

    raw = run(repository, "cat-file", "-p", git_commit(repository, root, None))
    seconds = int(raw.split("\nauthor ")[1].splitlines()[0].split()[-2])
    person = "x@y <x@y>"
    first = git.commit_oid(root, None, "tester", seconds, "Title\n\nText")
    content = f"tree {root}\nauthor {person} {seconds} +0000\ncommitter {person} {seconds} +0000\n\nTitle\n\nText"
    hub = content.replace(person, "tester <tester@users.noreply.huggingface.co>")
    hashed = run(repository, "hash-object", "-t", "commit", "--stdin", "-w", input=hub).strip()
    assert first == hashed
    child = hub.replace("\nauthor", f"\nparent {first}\nauthor", 1)
    hashed = run(repository, "hash-object", "-t", "commit", "--stdin", input=child).strip()
    assert git.commit_oid(root, first, "tester", seconds, "Title\n\nText") == hashed


def git_commit(repository, tree, parent):
    parents = ["-p", parent] if parent else []
    return run(repository, "commit-tree", tree, *parents, "-m", "Title").strip()


def test_a_large_file_is_called_by_its_pointer():
    entry = git.large("4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393", 12345)
    pointer = (
        b"version https://git-lfs.github.com/spec/v1\n"
        b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
        b"size 12345\n"
    )
    assert (entry.oid, entry.pointer_size, entry.lfs) == (git.regular(pointer).oid, len(pointer), True)


IGNORE = """
# a comment
*.log
!keep.log
/build/
out/
docs/*.pdf
**/cache
data/**
!data/a
temp[0-9].txt
note?.md
a/**/z
\\#odd
trailing.txt
""".lstrip().replace("trailing.txt", "trailing.txt   ")


@needs_git
def test_patterns_mean_what_they_mean_to_git(repository):
    names = ["a", "z", "build", "out", "docs", "cache", "data", "b.log", "keep.log", "c.pdf", "temp1.txt", "tempx.txt"]
    names += ["note1.md", "note.md", "#odd", "trailing.txt", "x.bin"]
    draw = random.Random(0)
    paths = {"/".join(draw.choices(names, k=draw.randint(1, 4))) for _ in range(600)}
    (repository / ".gitignore").write_text(IGNORE)
    ignored = run(repository, "check-ignore", "--no-index", "--stdin", input="\n".join(paths)).splitlines()
    assert {path for path in paths if is_ignored(path, IGNORE)} == {path.strip('"') for path in ignored}
    assert 50 < len(ignored) < len(paths) - 50


@needs_git
@pytest.mark.parametrize("repo_type", ["model", "dataset"])
def test_attributes_mean_what_they_mean_to_git(repo_type, repository):
    own = "docs/*.txt filter=lfs\n*.onnx -filter\nsmall.bin !filter\n"
    attributes = default_attributes(repo_type).decode() + own
    paths = [f"x{folder}{name}" for folder in ("", "/y/") for name in ("a.safetensors", "a.tar.gz", "a.wav", "a.onnx")]
    paths += ["saved_model/a/b", "saved_model/a", "z/saved_model/a/b", "docs/a.txt", "docs/b/a.txt", "q/docs/a.txt"]
    paths += ["small.bin", "c/small.bin", "events.tfevents.1", "README.md", "safetensors"]
    (repository / ".gitattributes").write_text(attributes)
    answered = run(repository, "check-attr", "filter", "--stdin", input="\n".join(paths)).splitlines()
    expected = {line.split(": ")[0]: line.split(": ")[2] == "lfs" for line in answered}
    assert {path: is_large(path, attributes) for path in paths} == expected
    assert set(expected.values()) == {True, False}
