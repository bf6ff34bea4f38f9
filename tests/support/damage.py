"""Ways to damage a file, or to change what it says."""

import json
from pathlib import Path


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """Bits of the middle quarter: a single one may lie where no reader of a zip file looks."""
    content = path.read_bytes()
    begin = 3 * len(content) // 8
    end = 5 * len(content) // 8
    path.write_bytes(
        content[:begin] + bytes(byte ^ 1 for byte in content[begin:end]) + content[end:]
    )


def empty(path):
    path.write_bytes(b"")


def change(path, **values):
    """Other values of some keys of a JSON file."""
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8"
    )


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def fill(path):
    path.write_bytes(b"garbage " * 20)
