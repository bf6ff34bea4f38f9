"""What a folder holds of a release: every state that a file may be in, told."""

import pytest
from small_release import POINTER

from ser_hf.corpora.manifest import OFFICIAL
from ser_hf.download import look
from ser_hf.download.sources import COMPANIONS, REGISTRATION, SOURCES, Archive, Kaggle, LfsStore
from ser_hf.errors import UserError


def test_a_whole_folder_is_whole_wherever_its_files_lie(release, tmp_path):
    ours = release()
    standing = look("ravdess", ours.write(tmp_path, under="audio"))
    assert standing.whole
    assert standing.told() == f"{tmp_path}: RAVDESS is whole, 8 files, every byte as released"
    quick = look("ravdess", tmp_path, hashed=False)
    assert quick.whole
    assert "names and sizes" in quick.told()


def test_a_folder_that_is_not_there_holds_nothing(release, tmp_path):
    standing = look("ravdess", tmp_path / "nowhere")
    assert len(standing.missing) == OFFICIAL["ravdess"] == standing.clips
    assert not standing.whole


def test_each_fault_is_told_with_an_example(release, tmp_path):
    ours = release()
    ours.write(tmp_path)
    paths = sorted(tmp_path.rglob("*.wav"))
    content = paths[0].read_bytes()
    paths[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    paths[1].unlink()
    paths[2].write_bytes(POINTER)
    paths[3].write_bytes(b"")
    paths[4].rename(paths[4].with_suffix(".flac"))
    copy = tmp_path / "again" / paths[5].name
    copy.parent.mkdir()
    copy.write_bytes(b"other content")
    (tmp_path / "03-02-05-01-01-01-01.wav").write_bytes(b"sung")
    (tmp_path / "noise.wav").write_bytes(b"noise")
    standing = look("ravdess", tmp_path)
    assert not standing.whole
    assert [entry.path for entry in standing.missing] == [path.relative_to(tmp_path).as_posix() for path in paths[1:4]]
    assert set(standing.stubs.values()) == set(paths[2:4])
    assert standing.altered == paths[:1]
    assert standing.reencoded == [paths[4].with_suffix(".flac")]
    assert standing.copies == [copy]  # the release's own file is the one that counts
    assert standing.unlisted == 2
    assert standing.told() == (
        f"{tmp_path}: not RAVDESS as released; of 8 files: "
        "3 missing, 2 of them Git LFS pointers or empty (first Actor_01/03-01-05-01-01-01-01.wav); "
        "1 altered or damaged, which --replace downloads anew (first Actor_01/03-01-04-01-01-01-01.wav); "
        "1 converted to another format, which cannot be checked (first Actor_03/03-01-04-01-01-01-03.flac); "
        "1 a second copy (mirrors often hold the whole folder twice), to be deleted "
        "(first again/03-01-05-01-01-01-03.wav)"
    )
    # A flipped bit is nothing that names and sizes tell.
    assert look("ravdess", tmp_path, hashed=False).altered == []


def test_hashing_is_shown_file_by_file(release, tmp_path):
    shown = []
    look("ravdess", release().write(tmp_path), progress=lambda files: [shown.append(file) or file for file in files])
    assert len(shown) == 8


@pytest.mark.parametrize(
    ("name", "sample", "count"), [("cremad", "CREMA-D-sample", 84), ("ravdess", "RAVDESS-original-sample", 15)]
)
def test_files_of_the_real_release_are_recognised(name, sample, count, real_corpora):
    standing = look(name, real_corpora(sample))
    assert len(standing.missing) == OFFICIAL[name] - count
    assert [standing.altered, standing.reencoded, standing.copies, standing.stubs] == [[], [], [], {}]


def test_converted_files_are_told_as_such(real_corpora):
    standing = look("emodb", real_corpora("EMO-DB"))
    assert len(standing.reencoded) == OFFICIAL["emodb"]
    assert not standing.missing


@pytest.mark.parametrize(
    ("name", "path"),
    [("cremad", "CREMA-D-metadata/processedResults/tabulatedVotes.csv"), ("emodb", "EMO-DB/erkennung.txt")],
)
def test_the_files_beside_the_audio_are_the_releases_own(name, path, real_corpora):
    from ser_hf.download.standing import sha256_of

    (companion,) = COMPANIONS[name]
    file = real_corpora(path)
    assert file.as_posix().endswith(companion.path)
    assert (file.stat().st_size, sha256_of(file)) == (companion.bytes, companion.sha256)


def test_every_corpus_with_a_list_has_sources_or_says_where_to_register():
    assert set(SOURCES) | set(REGISTRATION) >= set(OFFICIAL)
    assert not set(SOURCES) & set(REGISTRATION)
    for sources in SOURCES.values():
        names = [source.name for source in sources]
        assert len(names) == len(set(names))
        assert [isinstance(source, Kaggle) for source in sources] == [False] * (len(sources) - 1) + [True]
        for source in sources:
            if isinstance(source, Archive):
                assert source.url.startswith("http")
                assert source.md5 is None or len(source.md5) == 32
            if isinstance(source, LfsStore):
                assert source.url.endswith(".git/info/lfs")


def test_a_corpus_without_a_list_cannot_be_compared(tmp_path):
    with pytest.raises(UserError, match="no list of its official files"):
        look("iemocap", tmp_path)
