"""A table of built-in entries and of entry points, which are imported when first used."""

from importlib.metadata import EntryPoint

import pytest

from ser_hf.utils import plugins
from ser_hf.utils.errors import UserError
from ser_hf.utils.plugins import WithPlugins


def accept(name, entry):
    pass


@pytest.fixture
def offer(monkeypatch):
    """A function that makes other packages offer entry points."""

    def set_points(**values):
        points = [EntryPoint(name, value, "ser_hf.test") for name, value in values.items()]
        monkeypatch.setattr(plugins, "entry_points", lambda group: points)

    return set_points


def test_built_in_entries_and_plugins_are_one_table(offer):
    offer(path="os.path:join")
    table = WithPlugins({"a": 1}, "ser_hf.test", accept)
    assert list(table) == ["a", "path"]
    assert len(table) == 2
    assert "path" in table
    assert "b" not in table
    assert table["a"] == 1
    with pytest.raises(KeyError):
        table["b"]


def test_a_plugin_is_imported_and_checked_once_when_it_is_used(offer):
    offer(path="os.path:join")
    checked = []
    table = WithPlugins({}, "ser_hf.test", lambda name, entry: checked.append(name))
    assert checked == []
    assert table["path"]("a", "b") == "a/b"
    assert table["path"] is table["path"]
    assert checked == ["path"]
    assert list(table) == ["path"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [("no_such_package", "ModuleNotFoundError: No module"), ("os.path:join", "it is no corpus")],
)
def test_a_plugin_that_cannot_be_used_names_its_package(offer, value, problem):
    def refuse(name, entry):
        raise ValueError("it is no corpus")

    offer(path=value)
    table = WithPlugins({}, "ser_hf.test", refuse)
    for _ in range(2):  # it is not remembered as usable
        with pytest.raises(UserError, match=f"plug-in path .ser_hf.test. .* {value}: {problem}"):
            table["path"]


def test_a_plugin_cannot_replace_a_built_in_entry(offer):
    offer(a="os.path:join")
    table = WithPlugins({"a": 1}, "ser_hf.test", accept)
    with pytest.raises(UserError, match="plug-in a .*: ser_hf has a a, so its entry point needs"):
        table["a"]
