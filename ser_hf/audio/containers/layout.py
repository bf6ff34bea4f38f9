"""The bytes of an audio file, and how its streams are to be read."""

import dataclasses
import io
import os
from collections.abc import Sequence
from typing import BinaryIO, Self

from ..remarks import Remark

_HEAD_BYTES = 1 << 12  # enough for most headers
_SMALLEST_WINDOW = 1 << 16
_LARGEST_WINDOW = 1 << 20


class Content:
    """The bytes of a file or of a byte string.

    Of a file, the head and a window that moves are held in memory.
    """

    def __init__(self, path: str, data: bytes | None = None):
        self.path = path
        self.data = data
        self._file: BinaryIO | None = None
        if data is None:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115, closed by `close`
            self.size = os.fstat(self._file.fileno()).st_size
            self._head = self._file.read(_HEAD_BYTES)
        else:
            self.size = len(data)
            self._head = data
        self._window = b""
        self._window_start = 0
        self._window_bytes = _SMALLEST_WINDOW

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def rewound(self) -> int:
        """The descriptor of the file at its beginning, for libsndfile. Needs a file."""
        self._file.seek(0)
        return self._file.fileno()

    @property
    def unread(self) -> bool:
        """Whether libsndfile, which got the file from `rewound`, stopped before the end of it."""
        return self._file.tell() < self.size

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes from position `start`."""
        stop = min(start + length, self.size)
        if stop <= len(self._head):
            return self._head[start:stop]
        offset = start - self._window_start
        if offset < 0 or stop - self._window_start > len(self._window):
            self._file.seek(start)
            self._window = self._file.read(max(length, self._window_bytes))
            self._window_start = start
            self._window_bytes = min(4 * self._window_bytes, _LARGEST_WINDOW)
            offset = 0
        return self._window[offset : offset + length]

    def find(self, pattern: bytes, start: int, stop: int) -> int:
        """The first position of `pattern` from `start` on that begins before `stop`, or -1."""
        while start < stop:
            length = min(_LARGEST_WINDOW, stop - start + len(pattern) - 1)
            position = self.read(start, length).find(pattern)
            if position >= 0:
                return start + position
            start += _LARGEST_WINDOW - len(pattern) + 1
        return -1

    def only_zeros(self, start: int) -> bool:
        """Whether all bytes from `start` on are zero."""
        while start < self.size:
            block = self.read(start, _LARGEST_WINDOW)
            if block.count(0) != len(block):
                return False
            start += len(block)
        return True


@dataclasses.dataclass(frozen=True)
class Section:
    """The bytes of a file from `start` up to `stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclasses.dataclass(frozen=True)
class Part:
    """One stream of a file, as libsndfile can read it: sections of the file and new headers.

    Args:
        pieces: what libsndfile receives in place of the file.
        frames: the number of frames to read, if libsndfile may read more; otherwise None.
    """

    pieces: tuple[Section | bytes, ...]
    frames: int | None = None


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a file is to be read, and how its bytes differ from what its header states.

    Args:
        parts: the streams of the file in their order; empty if libsndfile reads the file itself.
        remarks: the differences.
        shortfall: the reason why samples are certainly missing, such as "its header announces more
            than the file holds"; None if there is none.
        is_estimate: whether libsndfile's number of frames is an estimate.
        may_go_on: whether another stream may follow the one that libsndfile reads; it does not if
            libsndfile has read the file to its end. To search for it takes longer.
    """

    parts: tuple[Part, ...] = ()
    remarks: tuple[Remark, ...] = ()
    shortfall: str | None = None
    is_estimate: bool = False
    may_go_on: bool = False


class SplicedFile(io.RawIOBase):
    """A read-only file object over the pieces of a part, for libsndfile."""

    def __init__(self, content: Content, pieces: Sequence[Section | bytes]):
        super().__init__()
        self._bytes = content.data
        # Another handle than that of `content`, whose position the caller moves.
        self._file = None if content.data is not None else open(content.path, "rb")  # noqa: SIM115
        self._pieces = list(pieces)
        self._starts = []
        length = 0
        for piece in self._pieces:
            self._starts.append(length)
            length += len(piece)
        self._length = length
        self._position = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(origin + offset, 0)
        return self._position

    def readinto(self, buffer) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        for start, piece in zip(self._starts, self._pieces, strict=True):
            offset = self._position - start
            if done < len(view) and 0 <= offset < len(piece):
                block = self._bytes_of(piece, offset, len(view) - done)
                view[done : done + len(block)] = block
                done += len(block)
                self._position += len(block)
        return done

    def _bytes_of(self, piece: Section | bytes, offset: int, length: int) -> bytes:
        """Up to `length` bytes of a piece."""
        length = min(length, len(piece) - offset)
        if isinstance(piece, bytes):
            return piece[offset : offset + length]
        start = piece.start + offset
        if self._file is None:
            return self._bytes[start : start + length]
        self._file.seek(start)
        return self._file.read(length)
