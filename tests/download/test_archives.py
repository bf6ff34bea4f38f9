"""Archives of good and of bad will: what is taken, what is refused, and that nothing is ever written elsewhere."""

import io
import re
import stat
import struct
import tarfile
import zipfile

import pytest
from small_release import Release, zipped

from ser_hf.download.archives import unpack
from ser_hf.download.line import SourceFailed
from ser_hf.download.shelf import Shelf

RELEASE = Release("x", ["a/one.wav", "a/two.wav", "b/three.wav"])
MOST = 100_000


def tarred(files: dict[str, bytes], mode: str = "w", infos=(), format=tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=format) as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in infos:
            archive.addfile(info)
    return stream.getvalue()


def special(kind: bytes, name: str = "x.wav", target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(name: str = "x.wav") -> bytes:
    stream = io.BytesIO(zipped(RELEASE.files))
    with zipfile.ZipFile(stream, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


def zip_twice() -> bytes:
    stream = io.BytesIO(zipped(RELEASE.files))
    with zipfile.ZipFile(stream, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a/one.wav", b"another")
    return stream.getvalue()


def zip_announcing(size: int) -> bytes:
    """A zip whose directory announces another size for its first member than it has."""
    content = bytearray(zipped(RELEASE.files))
    place = content.index(b"PK\1\2")
    struct.pack_into("<L", content, place + 24, size)
    return bytes(content)


@pytest.fixture
def take(tmp_path):
    """Unpacks bytes; the shelf, and everything below the test's folder, by path."""
    root = tmp_path / "deep" / "down" / "corpus"

    def run(content: bytes, most=MOST):
        shelf = Shelf(root, RELEASE.entries)
        archive = tmp_path / "archive"
        archive.write_bytes(content)
        try:
            unpack(archive, shelf, most)
        finally:
            archive.unlink()
            outside = [path for path in tmp_path.rglob("*") if path.is_file() and shelf.folder not in path.parents]
            assert not outside
            assert all("." not in path.name for path in shelf.folder.iterdir())
        return shelf

    return run


@pytest.mark.parametrize(
    "content",
    [
        zipped(RELEASE.files),
        zipped({path.upper(): content for path, content in RELEASE.files.items()}, under="some/folder/"),
        zipped(RELEASE.files | {f"again/{path}": content for path, content in RELEASE.files.items()}),
        zipped({"README": b"x" * 3000, "__MACOSX/._one.wav": b"y"} | RELEASE.files),
        tarred(RELEASE.files),
        tarred(RELEASE.files, "w:gz"),
        tarred(RELEASE.files, "w:xz", [special(tarfile.DIRTYPE, "folder")]),
    ],
    ids=["zip", "other names", "doubled", "more", "tar", "tar.gz", "tar.xz"],
)
def test_what_is_wanted_is_known_by_its_content(content, take):
    shelf = take(content)
    assert not shelf.open_wants()
    assert {path.name for path in shelf.folder.iterdir()} == set(RELEASE.objects)
    assert all(shelf.path(sha256).read_bytes() == content for sha256, content in RELEASE.objects.items())


def test_what_is_altered_is_not_taken(take):
    path, content = next(iter(RELEASE.files.items()))
    shelf = take(zipped(RELEASE.files | {path: bytes([content[0] ^ 1]) + content[1:]}))
    assert [item.path for item in shelf.open_wants()] == [path]


def test_a_size_that_is_announced_too_large_changes_no_content(take, monkeypatch):
    monkeypatch.setattr(Shelf, "may_want", lambda self, size: True)
    assert not take(zip_announcing(3001)).open_wants()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (zipped({"/etc/cron.d/x": b""} | RELEASE.files), "'/etc/cron.d/x' has an absolute path"),
        (zipped({"C:\\x.wav": b""} | RELEASE.files), "has an absolute path"),
        (zipped({"\\\\host\\share\\x.wav": b""} | RELEASE.files), "has an absolute path"),
        (zipped({"C:x.wav": b""} | RELEASE.files), "has an absolute path"),
        (zipped(RELEASE.files | {"a/../../x.wav": b""}), r"leaves its folder \(\.\.\)"),
        (zipped(RELEASE.files | {"..\\x.wav": b""}), r"leaves its folder \(\.\.\)"),
        (zipped(RELEASE.files | {"x.wavQ.exe": b""}).replace(b"x.wavQ", b"x.wav\0"), "has a zero byte in its name"),
        (zip_link(), "'x.wav' is a link or a device"),
        (zip_twice(), "'a/one.wav' stands in it twice"),
        (zip_announcing(1 << 31), "would unpack to more than 100,000 bytes"),
        (zipped(RELEASE.files | {"zeros": bytes(100_000)}), "would unpack to more than 100,000 bytes"),
        (tarred({"/x.wav": b""} | RELEASE.files), "has an absolute path"),
        (tarred(RELEASE.files | {"../x.wav": b""}), "leaves its folder"),
        (tarred(RELEASE.files, infos=[special(tarfile.SYMTYPE)]), "is a link or a device"),
        (tarred(RELEASE.files, infos=[special(tarfile.LNKTYPE)]), "is a link or a device"),
        (tarred(RELEASE.files, infos=[special(tarfile.CHRTYPE)]), "is a link or a device"),
        (tarred(RELEASE.files, infos=[special(tarfile.FIFOTYPE)]), "is a link or a device"),
        (tarred(RELEASE.files, infos=[special(tarfile.REGTYPE, "a/one.wav")]), "stands in it twice"),
        (tarred(RELEASE.files | {"zeros": bytes(100_000)}, "w:gz"), "would unpack to more than 100,000 bytes"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_an_archive_of_bad_will_is_refused_before_anything_is_taken(content, reason, take, tmp_path):
    with pytest.raises(SourceFailed, match=f"^/.*/archive: refused, .*{reason}"):
        take(content)
    assert not list(tmp_path.rglob("*.wav"))
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_so_many_members_are_no_release(take, monkeypatch):
    monkeypatch.setattr("ser_hf.download.archives._MEMBERS", 2)
    with pytest.raises(SourceFailed, match="has more than 2 members"):
        take(zipped(RELEASE.files))


def packed(content: bytes, method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("a/one.wav", content)
    return stream.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packing_that_fills_the_memory_is_refused(method, take):
    with pytest.raises(SourceFailed, match=rf"'a/one.wav' is packed as no release is \(method {method}\)"):
        take(packed(bytes(3000), method))


def test_folders_count_as_members(take, monkeypatch):
    monkeypatch.setattr("ser_hf.download.archives._MEMBERS", 20)
    folders = [special(tarfile.DIRTYPE, "folder")] * 18
    assert not take(tarred(RELEASE.files, infos=folders[1:])).open_wants()
    with pytest.raises(SourceFailed, match="has more than 20 members"):
        take(tarred(RELEASE.files, infos=folders))


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g", b"X"])
def test_headers_before_a_member_are_bounded(kind, take):
    info = special(kind, "././@LongLink", "")
    info.size = 200 << 20
    with pytest.raises(SourceFailed, match="refused, its headers have 209,715,200 bytes"):
        take(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))


def test_headers_are_bounded_together(take, monkeypatch):
    monkeypatch.setattr("ser_hf.download.members._HEADERS_BYTES", 700)
    names = {f"{'x' * 200}/{place}": b"" for place in range(4)}
    with pytest.raises(SourceFailed, match="refused, its headers have 812 bytes"):
        take(tarred(RELEASE.files | names, "w:gz"))


def test_long_names_are_no_harm(take):
    names = {f"{'ü' * 120}/{path}": content for path, content in RELEASE.files.items()}
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert not take(tarred(names, format=form)).open_wants()


def test_sparse_members_are_refused(take):
    info = special(tarfile.GNUTYPE_SPARSE)
    with pytest.raises(SourceFailed, match="'x.wav' is a link or a device"):
        take(tarred(RELEASE.files, infos=[info]))
    info = tarfile.TarInfo("x.wav")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x.wav"}
    with pytest.raises(SourceFailed, match="refused, its member '.*' is a link or a device"):
        take(tarred(RELEASE.files, infos=[info], format=tarfile.PAX_FORMAT))


def test_the_list_of_a_zips_members_is_bounded(take, monkeypatch):
    monkeypatch.setattr("ser_hf.download.members._DIRECTORY_BYTES", 100_000)
    # Of members without content, which no other bound stops.
    with pytest.raises(SourceFailed, match=r"refused, its list of members has 1[0-9]{2},[0-9]{3} bytes"):
        take(zipped({f"{place}{'x' * 200}": b"" for place in range(500)}))


TONE = {path: (bytes(range(256)) * 12 + bytes([place]))[: 3000 + 2 * place] for place, path in enumerate("abc")}


@pytest.mark.parametrize(
    "content",
    [
        zipped(TONE),
        tarred(TONE, "w:gz"),
        tarred(TONE, "w:bz2"),
        tarred(TONE, "w:xz"),
        tarred(TONE, format=tarfile.PAX_FORMAT),
        tarred({"ü" * 120 + path: content for path, content in TONE.items()}, format=tarfile.PAX_FORMAT),
        tarred({"x" * 120 + path: content for path, content in TONE.items()}, format=tarfile.GNU_FORMAT),
    ],
    ids=["zip", "gz", "bz2", "xz", "tar", "pax", "gnu"],
)
def test_whatever_byte_is_altered_is_told_of_the_archive(content, tmp_path, monkeypatch):
    """Content that can be compressed, so that the packing itself is met and not only the sums behind it."""
    monkeypatch.setattr(Shelf, "may_want", lambda self, size: True)
    shelf, archive, failed = Shelf(tmp_path / "corpus", RELEASE.entries), tmp_path / "archive", 0
    end = len(content) - 40
    for place in [*range(0, end, max(1, end // 60)), *range(end, len(content))]:
        archive.write_bytes(content[:place] + bytes([content[place] ^ 129]) + content[place + 1 :])
        try:
            unpack(archive, shelf, MOST)
        except SourceFailed:
            failed += 1
    assert failed
    assert not any(shelf.folder.iterdir())


def test_a_place_before_the_start_is_damage_of_the_archive(take, monkeypatch):
    content = bytearray(zipped(RELEASE.files))
    content[content.index(b"PK\5\6") + 16] ^= 128  # where the list of members begins
    with pytest.raises(SourceFailed, match=r"damaged \("):
        take(bytes(content))


def test_an_archive_without_memory_for_it_is_damaged(take, monkeypatch):
    def greedy(*_):
        raise MemoryError

    monkeypatch.setattr(zipfile.ZipFile, "infolist", greedy)
    with pytest.raises(SourceFailed, match=r"damaged \(MemoryError\)"):
        take(zipped(RELEASE.files))


def test_an_archive_that_may_not_be_read(tmp_path, monkeypatch):
    def closed(self, *_):
        raise PermissionError(13, "Permission denied", str(self))

    shelf = Shelf(tmp_path, RELEASE.entries)
    monkeypatch.setattr(type(tmp_path), "open", closed)
    with pytest.raises(SourceFailed, match=r"/mine.zip: cannot be read \(Permission denied\)"):
        unpack(tmp_path / "mine.zip", shelf, MOST)


@pytest.mark.parametrize(
    "content",
    [
        zipped(RELEASE.files)[:-40],
        zip_announcing(2999),
        tarred(RELEASE.files, "w:gz")[:-3000],
        tarred(RELEASE.files)[:5500],
    ],
    ids=["zip cut", "zip that lies", "tar.gz cut", "tar cut"],
)
def test_what_is_damaged_is_told(content, take, monkeypatch):
    monkeypatch.setattr(Shelf, "may_want", lambda self, size: True)  # so that what a zip lies about is read
    with pytest.raises(SourceFailed, match=r"^/.*/archive: damaged \("):
        take(content)


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>\xff<title>Sign in"])
def test_what_is_no_archive_is_shown(content, take):
    begins = re.escape(repr(content[:24].decode("ascii", "backslashreplace")))
    with pytest.raises(SourceFailed, match=f"/archive: no zip or tar archive; it begins with {begins}$"):
        take(content)


def test_a_flipped_byte_is_damage(take):
    content = bytearray(zipped(RELEASE.files))
    content[500] ^= 1
    with pytest.raises(SourceFailed, match="damaged"):
        take(bytes(content))


def test_a_full_disk_is_no_damage_of_the_archive(take, monkeypatch):
    def full(self, stream, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Shelf, "take", full)
    with pytest.raises(OSError, match="No space left"):
        take(zipped(RELEASE.files))
