"""Object ids as git reckons them, of files, folders and commits; the pointers of Git LFS."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A file of a commit: sha256 and size of its content, git's oid; with `lfs`, git holds a pointer to it."""

    sha256: str
    size: int
    oid: str
    lfs: bool

    @property
    def pointer_size(self) -> int:
        return len(pointer(self.sha256, self.size))


def regular(content: bytes) -> Entry:
    return Entry(hashlib.sha256(content).hexdigest(), len(content), _oid("blob", content), lfs=False)


def large(sha256: str, size: int) -> Entry:
    return Entry(sha256, size, _oid("blob", pointer(sha256, size)), lfs=True)


def pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def tree_oids(files: Mapping[str, Entry]) -> dict[str, str]:
    """The oid of every folder of `files`; of the root under ``""``."""
    folders: dict[str, dict[str, tuple[str, str]]] = {"": {}}
    for path, entry in files.items():
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, {})[name] = ("100644", entry.oid)
        while folder:
            folder = folder.rpartition("/")[0]
            folders.setdefault(folder, {})
    oids: dict[str, str] = {}
    # Deepest first, so that a folder's own oid is known when its parent needs it.
    for folder in sorted(folders, key=lambda path: path.count("/") + bool(path), reverse=True):
        members = folders[folder]
        # git orders folders as if their names ended with a slash.
        ordered = sorted(members.items(), key=lambda item: item[0].encode() + b"/" * (item[1][0] == "40000"))
        content = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(oid) for name, (mode, oid) in ordered)
        oids[folder] = _oid("tree", content)
        if folder:
            parent, _, name = folder.rpartition("/")
            folders[parent][name] = ("40000", oids[folder])
    return oids


def commit_oid(tree: str, parent: str | None, author: str, seconds: int, message: str) -> str:
    person = f"{author} <{author}@users.noreply.huggingface.co> {seconds} +0000"
    lines = [f"tree {tree}", *([f"parent {parent}"] if parent else []), f"author {person}", f"committer {person}"]
    return _oid("commit", "\n".join([*lines, "", message]).encode())


def _oid(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()
