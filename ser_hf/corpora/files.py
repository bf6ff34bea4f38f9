"""Search for the audio files of a corpus, and reading of clips from file names."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from ..utils.errors import UserError
from ..utils.files import folders_below
from ..utils.recordings import OTHER_SUFFIXES, is_lfs_pointer
from .content import official_entries, separate_copies
from .release import Entry
from .schema import Clip, Listing, SkipKind
from .settings import CorpusSettings

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au"}
UNFINISHED = ".download"  # this folder is in the corpus's folder during a download
# Why a file is skipped that is byte for byte equal to another file of the same clip.
COPY = "a copy of another file of the corpus"


def audio_files(root: str | Path | None, corpus: str, key: str = "corpus.root") -> list[Path]:
    """The paths of all audio files below `root`, sorted, so that the file system does not matter.

    Args:
        corpus: the title of the corpus, for messages.
        key: the key of the recipe that contains the root, for messages.

    Raises:
        UserError: if the folder is missing, or if it has no audio, an unfinished download, a Git
            LFS pointer or a broken link.
    """
    if root is None or not Path(root).is_dir():
        raise UserError(
            f"{key}: {root or 'missing'}; name the folder that holds the audio of {corpus}"
        )
    files = _audio_or_broken_links(Path(root), refuse_unfinished=True)
    for path in files:
        if not path.exists():
            raise UserError(
                f"{path}: a broken link to {os.readlink(path)}; "
                "restore its target or remove the link"
            )
        if is_lfs_pointer(path):
            raise UserError(
                f"{path}: a Git LFS pointer, not audio; run `git lfs pull` in that clone"
            )
    if not files:
        raise UserError(f"{key}: {root} holds no audio file ({', '.join(sorted(AUDIO_SUFFIXES))})")
    return files


def audio_paths(root: Path) -> list[Path]:
    """The paths of all existing files below `root` that have a suffix of audio, sorted.

    Git LFS pointers are included.
    """
    return [path for path in _audio_or_broken_links(root) if path.exists()]


def _audio_or_broken_links(root: Path, refuse_unfinished: bool = False) -> list[Path]:
    """The paths of files with a suffix of audio, and of broken links without a suffix, sorted.

    Such a link may be a link to a folder of audio.

    Args:
        refuse_unfinished: raise a UserError for an unfinished download.
    """

    def refuse(error: OSError) -> None:
        raise UserError(
            f"{error.filename}: cannot be read ({error.strerror}); make corpus.root readable"
        )

    files = []  # tuples of the parts of a path, which are sorted faster than paths
    for folder, names in folders_below(root, refuse):
        if refuse_unfinished and unfinished(folder):
            raise UserError(
                f"{os.path.join(folder, UNFINISHED)}: unfinished; "
                "rerun `ser-hf download`, or remove it"
            )
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            broken_link = not suffix and not os.path.exists(os.path.join(folder, name))
            if suffix in AUDIO_SUFFIXES or broken_link:
                files.append((*Path(folder).parts, name))
    return [Path(*parts) for parts in sorted(files)]


def unfinished(folder: str | Path) -> bool:
    """Whether the folder contains files of an unfinished download."""
    staging = Path(folder, UNFINISHED)
    return staging.is_dir() and any(staging.iterdir())


def parse_files(
    settings: CorpusSettings,
    title: str,
    example: str,
    read_name: Callable[[PurePath], Clip | None],
    reason_to_skip: Callable[[Clip], str | None] | None = None,
) -> Listing:
    """Read the clips below the root of a corpus from the names of the audio files.

    The folders do not matter. Official files under other names are recognized by their content, if
    there is a list of them. Of equal files of a clip the first is read; the others are skipped.

    Args:
        settings: the settings of the corpus; `on_unknown` is for files that are not its clips.
        title: the title of the corpus, for messages.
        example: a correct file name, for messages.
        read_name: a function from a path to its clip, or to None for a name outside the grammar.
        reason_to_skip: a function from a clip to the reason to leave it out, or to None to keep it.

    Raises:
        UserError: if `on_unknown` is "error" and a file is not a clip of the corpus.
    """
    # This import is late because `verify` imports the modules of the corpora, which import this.
    from .verify import listed_files

    paths = audio_files(settings.root, title)
    files = _read_files(paths, listed_files(settings.name), read_name)
    not_a_name = f"not a file name of {title}"
    if files.unknown and settings.on_unknown == "error":
        raise UserError(_unknown_name(files.unknown[0], title, example))

    separated = separate_copies([*files.named, *files.renamed])
    clips = []
    skipped = [(str(path), not_a_name) for path in files.unknown]
    skipped += [(clip.path, COPY) for clip in separated.copies]
    kind_of_reason: dict[str, SkipKind] = {not_a_name: "unknown name", COPY: "copy"}
    for clip in separated.clips:
        reason = reason_to_skip(clip) if reason_to_skip else None
        if reason is None:
            clips.append(clip)
        else:
            skipped.append((clip.path, reason))
            kind_of_reason[reason] = "left out"
    return Listing(
        corpus=settings.name,
        clips=sorted(clips, key=lambda clip: Path(clip.path).parts),
        skipped=sorted(skipped, key=lambda file: Path(file[0]).parts),
        kind_of_reason=kind_of_reason,
        notes=_notes_of_renamed(files.renamed, title, Path(settings.root)),
    )


def _unknown_name(path: Path, title: str, example: str) -> str:
    """The message about a file that is not a clip of the corpus."""
    other_title = _title_of_name(path)
    if other_title is not None:
        return (
            f"{path}: not a file name of {title}, but of {other_title}; "
            f"set corpus.root to the folder of {title}, or set corpus.on_unknown: skip"
        )
    return (
        f"{path}: not a file name of {title} (such as {example}); "
        "remove it, or set corpus.on_unknown: skip"
    )


def _title_of_name(path: Path) -> str | None:
    """The title of the corpus whose file names look like a path; None if there is no such corpus.

    Mirrors sometimes have several corpora in one folder.
    """
    # These imports are late for the same reason as in `parse_files`.
    from .registry import OWN_CORPORA
    from .verify import release_of

    for name, module in OWN_CORPORA.items():
        if release_of(name).files is not None:
            # Without its folder, which SAVEE's names are compared with.
            clip = module.read_name(PurePath(path.name))
            if clip is not None:
                return module.TITLE
    return None


def _notes_of_renamed(clips: Sequence[Clip], title: str, root: Path) -> list[str]:
    """A note about files that were recognized by their content; no note if there are none.

    Reports are published, so the note has no path of this machine.
    """
    if not clips:
        return []
    first = Path(clips[0].path).relative_to(root).as_posix()
    return [
        f"{len(clips):,} audio files without a file name of {title} are recognized by their "
        f"content (SHA-256); the first, {first}, is {clips[0].id}."
    ]


@dataclasses.dataclass(frozen=True)
class _ReadFiles:
    """The audio files of a corpus.

    Attributes:
        named: clips with a file name of the corpus.
        renamed: clips with other file names, recognized by their content.
        unknown: the paths of the other files.
    """

    named: list[Clip]
    renamed: list[Clip]
    unknown: list[Path]


def _read_files(
    paths: Sequence[Path],
    entries: Sequence[Entry],
    read_name: Callable[[PurePath], Clip | None],
) -> _ReadFiles:
    """Read each file from its name, or else from its content.

    Args:
        paths: the audio files.
        entries: the files of the release; empty if there is no list of them.
        read_name: see `parse_files`.
    """
    named = []
    unnamed = []
    for path in paths:
        clip = read_name(path)
        if clip is None:
            unnamed.append(path)
        else:
            named.append(clip)
    entry_of_path = official_entries(unnamed, entries)
    renamed = []
    unknown = []
    for path in unnamed:
        if path in entry_of_path:
            clip = read_name(PurePath(entry_of_path[path].path))
            renamed.append(dataclasses.replace(clip, path=str(path)))
        else:
            unknown.append(path)
    return _ReadFiles(named, renamed, unknown)


def refuse_links(folder: Path, paths: Sequence[Path]) -> None:
    """Raise a UserError if writing to one of the paths would follow a symbolic link.

    The paths are below `folder`; links above it are allowed.
    """
    for path in paths:
        folders_between = list(path.parents)[: len(path.relative_to(folder).parts) - 1]
        for part in (path, *folders_between):
            if part.is_symlink():
                raise UserError(
                    f"{part}: a symbolic link; downloads are not written through links; remove it"
                )


def other_recordings(root: Path) -> list[Path]:
    """The paths of recordings below `root` in a format that is not supported, sorted.

    Unreadable folders are skipped.
    """
    files = []
    for folder, names in folders_below(root, lambda error: None):
        for name in names:
            if Path(name).suffix.lower() in OTHER_SUFFIXES:
                files.append(Path(folder, name))
    return sorted(files)
