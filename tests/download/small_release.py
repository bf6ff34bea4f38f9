"""A release small enough to serve, and patience short enough for a test."""

import dataclasses
import hashlib
import io
import zipfile

import numpy as np
from loopback import SILENT, Fault

from ser_hf.corpora.manifest import Entry
from ser_hf.download import Patience

# Tries and pauses are short enough for a test. A server that is well may be slow, as the machine under a test is:
# who does not test what falls silent waits as long as that takes.
PATIENT = Patience(stall=15, trickle=1000, tries=3, pause=0.01, longest=2)
HASTY = dataclasses.replace(PATIENT, stall=0.4)


def patience_for(*faults: Fault) -> Patience:
    """Short where one of the faults falls silent: that is waited for."""
    return HASTY if {fault.__qualname__.partition(".")[0] for fault in faults} & SILENT else PATIENT


class Release:
    """Some clips of a corpus under their official names, of random bytes; the last two are one content."""

    def __init__(self, name: str, paths: list[str], size: int = 3000):
        noise = np.random.default_rng(5)
        self.name = name
        self.files = {path: noise.bytes(size + 2 * place) for place, path in enumerate(paths)}
        self.files[paths[-1]] = self.files[paths[-2]]
        self.entries = tuple(
            Entry(path, len(content), hashlib.sha256(content).hexdigest())
            for path, content in sorted(self.files.items())
        )

    @property
    def objects(self) -> dict[str, bytes]:
        return {hashlib.sha256(content).hexdigest(): content for content in self.files.values()}

    def write(self, folder, only=lambda path: True, under=""):
        for path, content in self.files.items():
            if only(path):
                target = folder / under / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        return folder

    def is_in(self, folder) -> bool:
        """Whether the folder holds these files, each with its bytes, and nothing else but the lock."""
        files = (path for path in folder.rglob("*") if path.is_file() and path != folder / ".download.lock")
        found = {path.relative_to(folder).as_posix(): path for path in files}
        return {path: file.read_bytes() for path, file in found.items()} == self.files


def zipped(files: dict[str, bytes], under: str = "") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(under + path, content)
    return stream.getvalue()


RAVDESS = [f"Actor_{actor:02d}/03-01-0{word}-01-01-01-{actor:02d}.wav" for actor in range(1, 5) for word in (4, 5)]
CREMAD = [f"AudioWAV/{actor}_IEO_{emotion}_HI.wav" for actor in range(1001, 1004) for emotion in ("ANG", "SAD")]
TESS = [f"OAF_angry/OAF_{word}_angry.wav" for word in ("back", "bar", "base", "bath", "bean")]
EMODB = [f"{speaker}a01{emotion}a.wav" for speaker in ("03", "08") for emotion in "WLN"]

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
