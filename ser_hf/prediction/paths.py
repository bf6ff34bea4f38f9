"""The recordings that a user's files, folders and tables lead to, each once."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..audio.decode import SUFFIXES
from ..corpora import other_formats
from ..errors import UserError
from ..folders import folders_below
from . import lists
from .recordings import Recording

PIPED = "-"
# What libsndfile reads.
_RARER = {".8svx", ".aifc", ".avr", ".bwf", ".caf", ".ircam", ".mp2", ".nist", ".paf", ".pvf", ".rf64", ".sds"}
HEARD = set().union(*SUFFIXES.values()) | _RARER | {".snd", ".sph", ".svx", ".voc", ".w64"}
_NOT_READ = other_formats.SUFFIXES - HEARD
# By the first bytes: MP4's box `ftyp`, ADTS's twelve set bits with layer 0, Matroska's EBML, ASF's GUID, AMR's mark.
_PIPED_KINDS: dict[str, Callable[[bytes], bool]] = {
    "an MP4 file (m4a, AAC)": lambda head: head[4:8] == b"ftyp",
    "a stream of AAC": lambda head: head[:1] == b"\xff" and head[1:2] and head[1] & 0xF6 == 0xF0,
    "a Matroska file (WebM)": lambda head: head[:4] == b"\x1a\x45\xdf\xa3",
    "an ASF file (WMA)": lambda head: head[:4] == b"\x30\x26\xb2\x75",
    "AMR": lambda head: head[:5] == b"#!AMR",
}
_NO_AUDIO = {".json", ".lst", ".md", ".ndjson", ".ods", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml"}


def from_paths(inputs: Iterable[str | os.PathLike], skip: bool = False) -> list[Recording]:
    """The recordings that paths lead to, in the order of the paths, those of a folder by their names.

    A path is an audio file, a folder that holds some at any depth, a table (`ser_hf.prediction.lists.listed`), or
    ``"-"``, the bytes of one recording on standard input. The id of a recording is its path, unless a table says
    otherwise. A file that several inputs lead to, by whatever path or link, is heard once, with what a table says of
    it; rows of tables that give it several ids, or several times, are a recording each.

    Args:
        skip: keep what cannot be heard, with its `fault`: formats of a folder that are not read here, lost links, and
            audio files that are named and missing.

    Raises:
        UserError: naming the path or line that leads nowhere, the id that stands for two recordings, the row that says
            of a recording something else than another, or, unless they are skipped, the first file with a fault.
    """
    found = _Found()
    for given in inputs:
        path = Path(given)
        if str(given) == PIPED:
            found.add(Recording(PIPED, "standard input", data=sys.stdin.buffer.read()))
        elif path.is_dir():
            inside = list(_below(path))
            faults = [recording.fault for recording in inside if recording.fault]
            if not inside:
                raise UserError(f"{given}: holds no audio file ({', '.join(sorted(HEARD))})")
            if faults and not skip:
                more = f", and {len(faults) - 1} more files like it" if len(faults) > 1 else ""
                raise UserError(f"{faults[0]}{more} (--on-error skip leaves such files out)")
            for recording in inside:
                found.add(recording)
        elif not path.exists() and skip and path.suffix.lower() in HEARD | _NOT_READ:
            found.add(_of_file(path, f"{given}: no such file"))
        elif not path.exists():
            raise UserError(f"{given}: no such file or folder")
        elif not path.is_file():
            raise UserError(f"{given}: no regular file; save it as one first, or pipe one recording to {PIPED}")
        elif path.suffix.lower() in lists.SUFFIXES:
            for where, named, recording in lists.listed(path):
                found.add(recording, where, named)
        elif path.suffix.lower() in _NO_AUDIO:
            told = ", ".join(sorted(lists.SUFFIXES))
            raise UserError(f"{given}: no audio; lists of recordings are tables ({told}) with a column path")
        else:
            found.add(_of_file(path))
    return found.recordings


class _Found:
    """Recordings as they are met; of each the row that it stands in, and whether it has an id of its own."""

    def __init__(self):
        self.recordings: list[Recording] = []
        self.rows: list[tuple[str | None, bool]] = []
        self.by_id: dict[str, int] = {}
        self.by_place: dict[tuple, list[int]] = {}

    def add(self, recording: Recording, where: str | None = None, named: bool = False) -> None:
        here = self.by_place.setdefault(recording.place, [])
        if where is None and here:
            return
        if here and self.rows[here[0]][0] is None:
            # A file that was named by itself before: the table knows more of it.
            number = here[0]
            del self.by_id[self.recordings[number].id]
        else:
            same = [number for number in here if not (named and self.rows[number][1])]
            same += [number for number in here if self.recordings[number].id == recording.id]
            if same:
                self._agree(self.recordings[same[0]], self.rows[same[0]][0], recording, where)
                return
            number = len(self.recordings)
            here.append(number)
            self.recordings.append(recording)
            self.rows.append((where, named))
        before = self.by_id.setdefault(recording.id, number)
        if before != number:
            first = self.recordings[before]
            raise UserError(
                f"{where or recording.path}: the id {recording.id} of {recording.path} is that of {first.path} "
                f"({self.rows[before][0] or first.path}) too; give each one of its own"
            )
        self.recordings[number], self.rows[number] = recording, (where, named)

    def _agree(self, before: Recording, stands: str | None, recording: Recording, where: str | None) -> None:
        for known in ("label", "speaker"):
            first, second = getattr(before, known), getattr(recording, known)
            if first != second:
                raise UserError(
                    f"{where}: {recording.path} stands in {stands} too, where its {known} is {first or 'missing'}, "
                    f"not {second or 'missing'}; list it once, or give each row an id of its own"
                )


def _below(root: Path) -> Iterator[Recording]:
    """What is audio by its name, or may have lost it, by the parts of their paths; hidden files are left out."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None

    paths = (Path(folder, name) for folder, names in folders_below(root, refuse) for name in names)
    for path in sorted(paths, key=lambda path: path.parts):
        suffix = path.suffix.lower()
        lost = os.path.islink(path) and not os.path.exists(path)
        if lost and (suffix in HEARD | _NOT_READ or not suffix):  # without a suffix it may have led to a folder
            fault = f"a link to {os.readlink(path)}, which is not there; fetch that (`git annex get`), or remove it"
            yield _of_file(path, f"{path}: {fault}")
        elif suffix in HEARD and not _is_other(path):
            yield _of_file(path)
        elif suffix in _NOT_READ and not _is_other(path):
            yield _of_file(path, _suffix_not_read(path))


def _is_other(path: Path) -> bool:
    """Whether it is neither a file nor perhaps one, such as a pipe."""
    return os.path.exists(path) and not os.path.isfile(path)


def not_read(recording: Recording) -> str | None:
    """What to do about a recording whose format is none that is read here; None of others."""
    if recording.id == PIPED:
        head = (recording.data or b"")[:12]
        kind = next((name for name, is_it in _PIPED_KINDS.items() if is_it(head)), "no audio that is known here")
        return (
            f"{recording.path}: {kind}, and only what libsndfile reads is (WAV, FLAC, Ogg, MP3, AIFF and the like); "
            "convert it on the way: ffmpeg -i FILE -vn -f wav - | ser-hf predict MODEL -"
        )
    return _suffix_not_read(Path(recording.path))


def _suffix_not_read(path: Path) -> str | None:
    return f"{path}: {other_formats.converted(path)}" if path.suffix.lower() in _NOT_READ else None


def _of_file(path: Path, fault: str | None = None) -> Recording:
    return Recording(path.as_posix(), str(path), fault=fault)
