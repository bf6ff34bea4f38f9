"""From a folder to a corpus's clips: finding audio files, reading their names, telling what only looks like audio."""

from collections.abc import Callable
from pathlib import Path, PurePath

from ..errors import UserError
from .schema import Clip, Listing

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au"}
_LFS_HEADER = b"version https://git-lfs.github.com/spec/"
_LFS_POINTER_BYTES = 1024


def audio_files(root: str | Path | None, corpus: str) -> list[Path]:
    """Every audio file below `root`, sorted by name, so that no order depends on the file system.

    Raises:
        UserError: if the folder is missing, holds no audio, or holds Git LFS pointers in place of audio.
    """
    if root is None:
        raise UserError(f"corpus.root: missing; {corpus} needs the folder that holds its audio")
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"corpus.root: {root} is not a folder; it should hold the audio of {corpus}")
    files = audio_paths(root)
    if not files:
        raise UserError(f"corpus.root: {root} holds no audio file ({', '.join(sorted(AUDIO_SUFFIXES))})")
    pointers = [path for path in files if is_lfs_pointer(path)]
    if pointers:
        raise UserError(
            f"{pointers[0]}: a Git LFS pointer, not audio ({len(pointers)} of {len(files)} files); run `git lfs pull` "
            "in that clone, or download the corpus again from a source that serves the audio itself"
        )
    return files


def audio_paths(root: Path) -> list[Path]:
    """What has the name of an audio file below `root`, sorted by name; Git LFS pointers too, perhaps nothing."""
    # macOS leaves `._name.wav` beside each file that it copies to a foreign disk; hidden files are never recordings.
    named = (p for p in root.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith("."))
    return sorted(path for path in named if path.is_file())


def parse_files(
    root: str | Path | None,
    corpus: str,
    title: str,
    example: str,
    read_name: Callable[[PurePath], Clip | None],
    on_unknown: str = "error",
    leave_out: Callable[[Clip], str | None] = lambda clip: None,
) -> Listing:
    """The clips below `root` as a corpus's own grammar reads their names.

    Args:
        corpus, title: the key in `CORPORA`, and what people call it.
        example: a file name of the corpus, for the message about one that is not.
        read_name: the clip that a path describes, or None where it is outside the grammar.
        on_unknown: ``"error"`` or ``"skip"`` for the latter.
        leave_out: the reason to skip a clip that is in the grammar, or None to keep it.

    Raises:
        UserError: for a folder without audio (`audio_files`), and for a name outside the grammar.
    """
    clips, skipped = [], []
    for path in audio_files(root, title):
        clip = read_name(path)
        reason = f"not a file name of {title}" if clip is None else leave_out(clip)
        if clip is None and on_unknown == "error":
            raise UserError(f"{path}: {reason} (such as {example}); remove it, or set corpus.on_unknown: skip")
        if reason is None:
            clips.append(clip)
        else:
            skipped.append((str(path), reason))
    return Listing(corpus, clips, skipped)


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is the text stub that Git LFS leaves where the content was not fetched."""
    if path.stat().st_size > _LFS_POINTER_BYTES:
        return False
    with path.open("rb") as file:
        return file.read(len(_LFS_HEADER)) == _LFS_HEADER
