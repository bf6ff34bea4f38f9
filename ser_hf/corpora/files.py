"""Finding a corpus's audio files, and recognising what only looks like audio."""

from pathlib import Path

from ..errors import UserError

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
    # macOS leaves `._name.wav` beside each file that it copies to a foreign disk; hidden files are never recordings.
    files = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not files:
        raise UserError(f"corpus.root: {root} holds no audio file ({', '.join(sorted(AUDIO_SUFFIXES))})")
    pointers = [path for path in files if is_lfs_pointer(path)]
    if pointers:
        raise UserError(
            f"{pointers[0]}: a Git LFS pointer, not audio ({len(pointers)} of {len(files)} files); run `git lfs pull` "
            "in that clone, or download the corpus again from a source that serves the audio itself"
        )
    return files


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is the text stub that Git LFS leaves where the content was not fetched."""
    if path.stat().st_size > _LFS_POINTER_BYTES:
        return False
    with path.open("rb") as file:
        return file.read(len(_LFS_HEADER)) == _LFS_HEADER
