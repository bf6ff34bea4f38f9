"""The package uses nothing that only Linux has, but where it asks for it first."""

import ast
from pathlib import Path

import pytest

import ser_hf
from ser_hf.utils import files

PACKAGE = Path(ser_hf.__file__).parent
# Modules that Windows does not have.
ABSENT_MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "termios"}
# Attributes of os, signal, select and Path that Windows, macOS or both do not have, or refuse.
ABSENT_NAMES = {
    "SIGALRM",
    "SIGHUP",
    "SIGKILL",
    "SIGPIPE",
    "SIGUSR1",
    "SIGUSR2",
    "alarm",
    "epoll",
    "fork",
    "geteuid",
    "getuid",
    "killpg",
    "mkfifo",
    "posix_fadvise",
    "sched_getaffinity",
    "setitimer",
    "setsid",
    "statvfs",
    "symlink",
    "symlink_to",
    "sysconf",
}
# Module -> names that it uses after asking for them, or with something in their place.
GUARDED = {
    "utils/environment.py": {"sched_getaffinity", "sysconf"},
    "utils/files.py": {"symlink_to"},
}
# Files of Linux, which are read where they exist.
SYSTEM_FILES = {"utils/environment.py"}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


@pytest.fixture(scope="module")
def nodes():
    """{module: the nodes of its syntax tree}."""
    return {
        name_of(path): list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        for path in modules()
    }


def test_modules_and_names_that_other_systems_lack_are_guarded(nodes):
    unguarded = []
    for module, tree in nodes.items():
        for node in tree:
            if isinstance(node, ast.Import):
                names = {item.name for item in node.names} & ABSENT_MODULES
            elif isinstance(node, ast.ImportFrom):
                names = {node.module} & ABSENT_MODULES
            elif isinstance(node, ast.Attribute):
                names = ({node.attr} & ABSENT_NAMES) - GUARDED.get(module, set())
            else:
                continue
            unguarded += [f"{module}:{node.lineno} {name}" for name in names]
    assert not unguarded


def test_paths_of_linux_are_read_where_they_exist(nodes):
    absolute = []
    for module, tree in nodes.items():
        for node in tree:
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and node.value.startswith(("/proc/", "/sys/", "/dev/", "/tmp")):
                absolute.append(module)
    assert set(absolute) <= SYSTEM_FILES


def test_text_files_state_their_encoding(nodes):
    """Without it, Windows reads and writes the encoding of its region."""
    without = []
    for module, tree in nodes.items():
        for node in tree:
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if not is_call or node.func.attr not in ("read_text", "write_text"):
                continue
            keywords = {keyword.arg for keyword in node.keywords}
            positional = 0 if node.func.attr == "read_text" else 1
            if "encoding" not in keywords and len(node.args) <= positional:
                without.append(f"{module}:{node.lineno}")
    assert not without


def test_a_file_is_copied_where_links_are_not_allowed(tmp_path, monkeypatch):
    source = tmp_path / "weights"
    source.write_bytes(b"numbers")

    def refuse(self, target):
        raise OSError("A required privilege is not held by the client")

    files.link_or_copy(source, tmp_path / "link")
    monkeypatch.setattr(Path, "symlink_to", refuse)
    files.link_or_copy(source, tmp_path / "copy")
    for name in ("link", "copy"):
        assert (tmp_path / name).read_bytes() == b"numbers"
    assert (tmp_path / "link").is_symlink()
    assert not (tmp_path / "copy").is_symlink()
