"""Shared by all tests: nothing reaches a hub, nothing writes into the user's cache, deprecations
are failures.
"""

import contextlib
import gc
import os
import sys
import tempfile
from collections import Counter
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Each of pytest's processes computes on one core, before torch is imported: more threads than cores
# are slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Tests are about the CPU, also beside a GPU; SER_HF_TEST_GPU=1 runs those that need one.
if os.environ.get("SER_HF_TEST_GPU") != "1":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# The same examples on every machine, however slow it is.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")


def import_with(name, path, execute):
    """The spec of a module imported by `execute(module, load)`, where `load` executes its code."""
    spec = PathFinder.find_spec(name, path)
    if spec is not None and spec.loader is not None:
        load = spec.loader.exec_module
        spec.loader.exec_module = lambda module: execute(module, load)
    return spec


class Unrendered:
    """Replaces drawing and rendering in the module that writes reports, when it is first imported:
    pictures take several times as long as a tiny training. Tests that look at pictures use
    `rendered`."""

    looked_at = False

    @classmethod
    def find_spec(cls, name, path, target=None):
        if name == "ser_hf.report.write":
            return import_with(name, path, cls.execute)
        return None

    @classmethod
    def execute(cls, module, load):
        from matplotlib.figure import Figure

        load(module)
        module.save_figure = lambda _, path: path.write_bytes(b"a picture")
        drawn = [
            name for name in vars(module) if name.endswith("_figure") and name != "save_figure"
        ]
        for name in drawn:
            setattr(module, name, cls.instead(Figure, getattr(module, name)))

    @staticmethod
    def instead(blank, draw):
        return lambda *data, **look: draw(*data, **look) if Unrendered.looked_at else blank()


class WithoutHardestClips:
    """Leaves out the pictures and recordings of the hardest clips where their number is the default
    one: they take almost half of a tiny run. A test that looks at them sets another number, or
    uses `default_hardest_clips`.
    """

    default = 6

    @classmethod
    def find_spec(cls, name, path, target=None):
        if name == "ser_hf.experiment.hardest_clips":
            return import_with(name, path, cls.execute)
        return None

    @classmethod
    def execute(cls, module, load):
        load(module)
        show = module.show_hardest

        def show_if_asked(report, *arguments, most, **settings):
            if most == cls.default:
                return module.HardestClips(report)
            return show(report, *arguments, most=most, **settings)

        module.show_hardest = show_if_asked


class CompiledOnce:
    """Lets one process at a time import the parts of librosa: numba compiles most of them on a
    machine's first import, for half a minute, and keeps the result."""

    lock = FileLock(Path(tempfile.gettempdir()) / f"ser_hf-tests-librosa-{os.getuid()}.lock")

    @classmethod
    def find_spec(cls, name, path, target=None):
        if name.startswith("librosa."):
            return import_with(name, path, cls.execute)
        return None

    @classmethod
    def execute(cls, module, load):
        with cls.lock:  # reentrant: parts import one another
            load(module)


sys.meta_path[:0] = [Unrendered, WithoutHardestClips, CompiledOnce]


def pytest_addoption(parser):
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="also run the tests that repeat others for every network, page or stage",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item):
    if item.get_closest_marker("exhaustive"):
        item.add_marker("slow")


def leave_out_exhaustive(config, items):
    if config.getoption("exhaustive"):
        return
    left_out = [item for item in items if item.get_closest_marker("exhaustive")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Leave out exhaustive tests, and sort the others.

    Of several processes, files with many slow tests come first and short files last: otherwise
    one process would run a long file at the end while the other one has nothing left to do.
    """
    leave_out_exhaustive(config, items)
    if not hasattr(config, "workerinput"):
        return
    tests = Counter(item.path for item in items)
    slow_tests = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow_tests[item.path], -tests[item.path], str(item.path)))


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory):
    """One cache for the session: a corpus is generated and decoded once, and the cache of the user
    is not used.
    """
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SER_HF_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def complete_messages(request, monkeypatch):
    """Messages keep their middle, however long the paths of temporary folders are, except where
    that is tested.
    """
    if not getattr(request.module, "BOUNDED_MESSAGES", False):
        monkeypatch.setattr("ser_hf.utils.errors.MOST", 5000)


@pytest.fixture(scope="session", autouse=True)
def collected_once():
    """Keeps imported modules out of garbage collection. The Trainer collects after every training,
    and searching them takes longer than a tiny training."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def without_waiting_for_the_disk():
    """Files of tests need not outlive a power cut, and each training waits for the disk often."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def rendered():
    """A context in which the pictures of a report are drawn."""
    from ser_hf.report import plots

    @contextlib.contextmanager
    def real():
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("ser_hf.report.write.save_figure", plots.save_figure)
            patched.setattr(Unrendered, "looked_at", True)
            yield

    return real


@pytest.fixture
def default_hardest_clips(monkeypatch):
    """The default number of hardest clips is shown, as outside of tests."""
    monkeypatch.setattr(WithoutHardestClips, "default", None)


@pytest.fixture(scope="session")
def ravdess_root(tmp_path_factory):
    """A small synthetic RAVDESS in the official layout: 6 actors, 8 emotions, 2 clips each."""
    from support.testing import write_corpus

    root = tmp_path_factory.mktemp("RAVDESS")
    write_corpus("ravdess", root, speakers=6, takes=2)
    return root


@pytest.fixture(scope="session")
def real_corpora():
    """A function from a name in shared/corpora, in the parent folder, to its path; skips if it is
    missing.
    """

    def find(name):
        path = Path(__file__).resolve().parents[2] / "shared" / "corpora" / name
        if not path.exists():
            pytest.skip(f"needs shared/corpora/{name} beside the repository")
        return path

    return find


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory):
    """A function from a key of `support.testing.CHECKPOINTS` to that tiny checkpoint's folder, each
    written once.
    """
    from support.testing import CHECKPOINTS, write_checkpoint

    written = {}

    def folder(kind):
        if kind not in written:
            written[kind] = write_checkpoint(tmp_path_factory.mktemp(kind), **CHECKPOINTS[kind])
        return written[kind]

    return folder


@pytest.fixture(autouse=True)
def no_deprecated_calls(caplog):
    """transformers announces removals in its log: the cheapest early warning there is."""
    yield
    for record in caplog.records:
        if record.name.startswith("transformers") and "deprecated" in record.getMessage().lower():
            pytest.fail(f"deprecated call into transformers: {record.getMessage()}")
