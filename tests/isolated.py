"""A process in which ser_hf does not exist, installed or not, nor what models must not need to be loaded."""

import subprocess
import sys
from pathlib import Path

WITHOUT_SER_HF = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in ("ser_hf", "torchaudio", "sklearn")
        return None if hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


def run_without_ser_hf(code: str, folder: Path, path: str = "") -> str:
    """Runs code in a clean process in `folder`; returns what it printed."""
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "HOME": str(folder), "PATH": path}
    environment["OMP_NUM_THREADS"] = "1"  # more threads than cores wait for one another
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SER_HF + code],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
