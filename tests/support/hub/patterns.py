"""Patterns of .gitignore and .gitattributes, which decide what a commit leaves out and what goes to Git LFS."""

import re
from collections.abc import Iterable

_LARGE = (
    "7z arrow bin bz2 ckpt ftz gz h5 joblib lfs.* mlmodel model msgpack npy npz onnx ot parquet pb pickle pkl pt pth "
    "rar safetensors tar.* tar tflite tgz wasm xz zip zst"
)
_MEDIA = "lz4 mds pcm sam raw aac flac mp3 ogg wav bmp gif png tiff jpg jpeg webp mp4 webm"


def default_attributes(repo_type: str) -> bytes:
    """The .gitattributes that the Hub puts into a new repository."""
    endings = f"{_LARGE} {_MEDIA}" if repo_type == "dataset" else _LARGE
    patterns = [f"*.{ending}" for ending in endings.split()]
    patterns += ["saved_model/**/*", "*tfevents*"]
    return "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in patterns).encode()


def is_large(path: str, attributes: str) -> bool:
    """Whether .gitattributes hands a path to Git LFS; of the patterns that match, the last one rules."""
    large = False
    for line in attributes.splitlines():
        pattern, *words = line.split() or [""]
        filters = [word for word in words if word.lstrip("-!").partition("=")[0] == "filter"]
        if filters and not pattern.startswith("#") and _matches(pattern, path):
            large = filters[-1] == "filter=lfs"
    return large


def is_ignored(path: str, ignore: str) -> bool:
    """Whether .gitignore leaves a path out. What stands below an ignored folder cannot be taken back, as in git."""
    parts = path.split("/")
    folders = ("/".join(parts[:count]) for count in range(1, len(parts)))
    lines = [line.rstrip() for line in ignore.splitlines() if line.strip() and not line.startswith("#")]
    return any(_verdict(folder, lines, folder=True) for folder in folders) or _verdict(path, lines, folder=False)


def _verdict(path: str, lines: Iterable[str], folder: bool) -> bool:
    ignored = False
    for line in lines:
        pattern = line.removeprefix("!").removeprefix("\\")
        if (folder or not pattern.endswith("/")) and _matches(pattern.rstrip("/"), path):
            ignored = not line.startswith("!")
    return ignored


def _matches(pattern: str, path: str) -> bool:
    """A pattern with a slash, but at its end, is of the whole path; any other is of the last part of it."""
    if "/" not in pattern:
        path = path.rpartition("/")[2]
    return re.fullmatch(_expression(pattern.removeprefix("/")), path) is not None


def _expression(pattern: str) -> str:
    expression = ""
    for piece in re.findall(r"\*\*/|/\*\*$|\*+|\?|\[!?[^]]+\]|.", pattern):
        if piece == "**/":
            expression += "(?:.*/)?"
        elif piece == "/**":
            expression += "/.*"
        elif piece.startswith("*"):
            expression += "[^/]*"
        elif piece == "?":
            expression += "[^/]"
        elif piece.startswith("[") and len(piece) > 1:
            expression += piece.replace("[!", "[^")
        else:
            expression += re.escape(piece)
    return expression
