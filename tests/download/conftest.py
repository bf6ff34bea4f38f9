"""Small releases in place of the packaged lists, a server for them, and sources that point to it."""

import pytest
from loopback import serving
from small_release import CREMAD, EMODB, PATIENT, RAVDESS, TESS, Release

from ser_hf.corpora import manifest
from ser_hf.download import Patience, sources
from ser_hf.download.standing import by_clip


@pytest.fixture
def release(monkeypatch):
    """A function from a corpus to a small release of it, which is what its packaged list then has."""

    def make(name: str = "ravdess") -> Release:
        made = Release(name, {"ravdess": RAVDESS, "cremad": CREMAD, "tess": TESS, "emodb": EMODB}[name])
        lists[name] = made.entries
        by_clip.cache_clear()
        return made

    lists = {}
    real = manifest._entries
    monkeypatch.setattr(manifest, "_entries", lambda name: lists.get(name) or real(name))
    yield make
    by_clip.cache_clear()


@pytest.fixture
def server():
    with serving() as started:
        yield started


@pytest.fixture
def sourced(monkeypatch):
    """A function that gives a corpus other sources, and no companions but those named."""

    def give(name: str, *given, companions=()):
        monkeypatch.setattr(sources, "SOURCES", {**sources.SOURCES, name: given})
        monkeypatch.setattr(sources, "COMPANIONS", {name: companions})

    return give


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A function that sets what the command waits for, which is enough for any server that is well."""

    def give(given: Patience) -> None:
        monkeypatch.setattr("ser_hf.download.release.Patience", lambda: given)

    give(PATIENT)
    return give
