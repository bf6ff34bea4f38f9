"""Metadata of EmoBox: rows, folds, audio by name, and mistakes in its files."""

import itertools
import json
from pathlib import Path

import pytest
from support.blank import write_blank

from ser_hf.corpora import corpus_facts, corpus_settings, iemocap, load_corpus
from ser_hf.corpora import emobox as emobox_module
from ser_hf.utils.errors import UserError


def parse(root=None, **keys):
    return emobox_module.parse(corpus_settings("emobox", root, **keys))


def line(key, wav, emo, dataset, more):
    usual = {
        "type": "raw",
        "sample_rate": 16000,
        "num_frame": 16000.0,
        "task": "category",
        "length": 1.0,
    }
    return json.dumps(
        {"key": key, "dataset": dataset, "wav": wav, **usual, "emo": emo, "channel": 1} | more
    )


def spoken(key, speaker, emo):
    return f"{key} 1 {speaker} 0 1.5 <id={key},lang=en,spk={speaker},emotion={emo}> {emo}"


@pytest.fixture
def emobox(tmp_path):
    """A function that writes a corpus's metadata and empty audio, and gives both folders. `clips`
    are (name, speaker, word); `wavs` the audio that is there, by default all; further arguments are
    files of the metadata."""

    def write(
        clips, name="cafe", wavs=None, stm=True, label_map=None, whole=True, folds=(), more=None
    ):
        root = tmp_path / "data" / name
        audio = tmp_path / "audio"
        root.mkdir(parents=True)
        audio.mkdir()
        lines = {}
        for clip, _, word in clips:
            key = f"{name}-{Path(clip).stem}"
            lines[clip] = line(
                key, f"downloads/{name}/{clip}", word, name, (more or {}).get(clip, {})
            )
        write_blank(audio, *((clip for clip, *_ in clips) if wavs is None else wavs))
        if whole:
            (root / f"{name}.jsonl").write_text("\n".join(lines.values()) + "\n", encoding="utf-8")
        if stm:
            lines_of_stm = [
                spoken(f"{name}-{Path(clip).stem}", speaker, word) for clip, speaker, word in clips
            ]
            (root / "data.seg.wrd.stm").write_text(
                "\n".join(lines_of_stm) + "\n\n", encoding="utf-8"
            )
        if label_map is not None:
            (root / "label_map.json").write_text(label_map, encoding="utf-8")
        for number, parts in folds:
            (root / f"fold_{number}").mkdir()
            for part, own in parts.items():
                text = "\n".join(lines[clip] for clip in own)
                (root / f"fold_{number}" / f"{name}_{part}_fold_{number}.jsonl").write_text(
                    text, encoding="utf-8"
                )
        return {"root": root, "audio_root": str(audio)}

    return write


CLIPS = [("F/a.wav", "F", "Joie"), ("G/b.wav", "Göran B", "neu"), ("G/c.wav", "Göran B", "Joie")]
MAP = '{"Joie": "Happy", "neu": "Neutral"}'


def test_rows_of_a_corpus_without_a_module(emobox):
    folds = [
        (10, {"train": ["F/a.wav"], "valid": ["G/b.wav"], "test": ["G/c.wav"]}),
        (2, {"train": ["G/b.wav"]}),
    ]
    listing = parse(**emobox(CLIPS, label_map=MAP, folds=folds), language="fr")
    assert [clip.id for clip in listing.clips] == ["cafe/a", "cafe/b", "cafe/c"]
    assert [clip.emotion for clip in listing.clips] == ["happy", "neutral", "happy"]
    assert [clip.speaker for clip in listing.clips] == ["cafe:F", "cafe:Göran B", "cafe:Göran B"]
    assert {clip.language for clip in listing.clips} == {"fr"}
    assert [clip.extra for clip in listing.clips] == [
        {"fold_2": None, "fold_10": "train"},
        {"fold_2": "train", "fold_10": "validation"},
        {"fold_2": None, "fold_10": "test"},
    ]
    assert list(listing.clips[0].extra) == ["fold_2", "fold_10"]


def test_the_label_map_of_the_user_takes_precedence(emobox):
    options = emobox(
        [("a.wav", "x", "poker"), ("b.wav", "x", "sad")], "pavoque", label_map='{"poker": "Poker"}'
    )
    with pytest.raises(
        UserError, match="line 1: 'Poker' is not a known emotion; .* corpus.label_map"
    ):
        parse(**options)
    assert parse(**options, label_map={"Poker": "other"}).clips[0].emotion == "other"
    assert parse(**options, label_map={"poker": "neutral"}).clips[0].emotion == "neutral"
    assert [reason for _, reason in parse(**options, on_unknown="skip").skipped] == [
        "label 'Poker' is not an emotion"
    ]


@pytest.mark.parametrize("speaker", ["a.wav", "a", "Unknown"])
def test_the_name_of_a_clip_is_not_a_speaker(emobox, speaker):
    options = emobox([("a.wav", speaker, "sad")], "resd")
    with pytest.raises(
        UserError, match=r"resd\.jsonl, line 1: .*speaker.* corpus\.no_speaker: skip"
    ):
        parse(**options)
    assert parse(**options, no_speaker="one").clips[0].speaker == "resd:unknown"
    assert parse(**options, speaker_pattern="resd/(.)").clips[0].speaker == "resd:a"


def test_without_the_file_of_speakers_they_are_unknown(emobox):
    with pytest.raises(UserError, match="no speaker is given"):
        parse(**emobox(CLIPS, label_map=MAP, stm=False))


def test_the_speaker_in_iemocap_is_read_from_the_file_name(emobox):
    wav = "Session5/sentences/wav/Ses05M_impro01/Ses05M_impro01_F023.wav"
    (clip,) = parse(
        **emobox([(wav, "Ses05M", "exc")], "iemocap", label_map='{"exc": "Happy"}')
    ).clips
    assert (clip.speaker, clip.id, clip.sex) == (
        "iemocap:Ses05F",
        "iemocap/Ses05M_impro01_F023",
        "female",
    )
    assert (clip.extra["session"], clip.emotion) == ("Session5", "happy")
    assert iemocap.GRAMMAR.fullmatch(Path(wav).stem)["sex"] == "F"


def test_audio_is_found_in_another_place_and_format_by_the_end_of_its_path(emobox):
    wavs = ["DC/a01.flac", "JE/a01.flac", "x.wav"]
    options = emobox([("AudioData/DC/a01.wav", "DC", "sad")], "turevdb", wavs=wavs)
    assert parse(**options).clips[0].path.endswith("DC/a01.flac")
    write_blank(Path(options["audio_root"]), "copy/DC/a01.wav")
    assert parse(**options).clips[0].path.endswith("DC/a01.flac")
    write_blank(Path(options["audio_root"]), "copy/DC/a01.wav", content=b"another recording")
    message = r"copy/DC/a01.wav: matches EmoBox's downloads/turevdb/.*a01.wav as .*DC/a01.flac"
    with pytest.raises(UserError, match=message):
        parse(**options)


CASIA = [
    (f"{speaker}/{emotion}/{number}.wav", speaker, emotion)
    for speaker, emotion, number in itertools.product(("liu", "wang"), ("angry", "sad"), (201, 202))
]


@pytest.fixture
def casia(emobox):
    """A function from the existing audio files to the options of a corpus with repeated names."""

    def write(wavs):
        # Unique keys, since the names of the files repeat.
        more = {clip: {"key": f"casia-{clip[:-4].replace('/', '-')}"} for clip, *_ in CASIA}
        options = emobox(CASIA, "casia", wavs=wavs, stm=False, more=more)
        lines_of_stm = [
            spoken(more[clip]["key"], speaker, emotion) for clip, speaker, emotion in CASIA
        ]
        (options["root"] / "data.seg.wrd.stm").write_text(
            "\n".join(lines_of_stm) + "\n", encoding="utf-8"
        )
        return options

    return write


def test_repeated_names_are_distinguished_by_their_folders(casia):
    options = casia([clip.replace(".wav", ".flac") for clip, *_ in CASIA])
    clips = parse(**options).clips
    assert len({clip.path for clip in clips}) == len(CASIA)
    assert all(
        f"/{clip.speaker[6:]}/{clip.original_label}/{clip.id[-3:]}.flac" in clip.path
        for clip in clips
    )
    below = parse(**options | {"audio_root": options["audio_root"] + "/liu"}, on_unknown="skip")
    assert {clip.speaker for clip in below.clips} == {"casia:liu"}


@pytest.mark.parametrize("there", [4, 2, 1])
def test_a_missing_clip_is_not_replaced_by_another_speaker_s(casia, there):
    options = casia([clip for clip, *_ in CASIA[:there]])
    with pytest.raises(
        UserError, match=r"casia.jsonl, line \d: no audio .*\w+/\w+/20[12] below .*; complete it"
    ):
        parse(**options)
    listing = parse(**options, on_unknown="skip")
    below = [
        Path(clip.path).relative_to(options["audio_root"]).as_posix() for clip in listing.clips
    ]
    assert below == [clip for clip, *_ in CASIA[:there]]
    assert len(listing.skipped) == len(CASIA) - there


def test_two_rows_of_one_file_are_refused(emobox):
    clips = [("x/a.wav", "x", "sad"), ("x/b.wav", "x", "sad")]
    options = emobox(clips, more={"x/b.wav": {"wav": "downloads/cafe/x/a.wav"}})
    with pytest.raises(UserError, match=r"cafe.jsonl, line 2: .*a.wav is .*line 1; add the"):
        parse(**options)


SAVEE = [("ALL/DC_a01.wav", "DC", "a"), ("ALL/JE_h01.wav", "JE", "h")]
SAVEE_MAP = '{"a": "Angry", "h": "Happy"}'


def test_segments_of_recordings_are_refused(emobox):
    options = emobox(
        [("a.wav", "x", "sad")], "pavoque", more={"a.wav": {"start_time": 0.5, "end_time": 1.0}}
    )
    with pytest.raises(UserError, match="pavoque.jsonl, line 1: segments are not supported"):
        parse(**options)


def test_corpora_with_a_module_have_its_rows(emobox):
    options = emobox(SAVEE, "savee", label_map=SAVEE_MAP)
    clips = load_corpus("emobox", **options)
    rows = load_corpus("savee", options["audio_root"])
    assert all(clips[name][:] == rows[name][:] for name in rows.column_names)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (
            ("ALL/DC_a02.wav", "DC", "h"),
            r"savee.jsonl, line 1: Happy in EmoBox, angry by its name \(.*DC_a02.wav\)",
        ),
        (("ALL/a02.wav", "DC", "a"), "savee.jsonl, line 1: not a file name of SAVEE"),
    ],
)
def test_a_label_that_differs_from_the_module_is_refused(emobox, clip, message):
    options = emobox([clip, SAVEE[0]], "savee", label_map=SAVEE_MAP)
    with pytest.raises(UserError, match=message):
        parse(**options)
    listing = parse(**options, on_unknown="skip")
    assert (len(listing.clips), len(listing.skipped)) == (1, 1)


def test_known_bad_clips_are_left_out_here_too(emobox):
    names = ("03-01-03-01-02-01-07", "03-01-03-01-02-02-07")
    options = emobox([(f"{name}.wav", "07", "Happy") for name in names], "ravdess")
    listing = parse(**options)
    assert (len(listing.clips), listing.skipped[0][1]) == (1, f"the same audio as {names[0]}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_map": "{"}, "label_map.json: not valid JSON"),
        (
            {"folds": [(1, {"train": ["F/a.wav"]})], "more": {"F/a.wav": {"key": None}}},
            "fold_1.jsonl, line 1: no key",
        ),
        ({"whole": False}, "corpus.root: .* has neither cafe.jsonl nor fold_1 with lists"),
        (
            {"folds": [(1, {"train": ["F/a.wav"], "test": ["F/a.wav"]})]},
            "cafe_test_fold_1.jsonl, line 1: cafe-a is listed in another split too",
        ),
    ],
)
def test_a_mistake_in_the_metadata_is_named(emobox, options, message):
    with pytest.raises(UserError, match=message):
        parse(**emobox(CLIPS, **{"label_map": MAP, **options}))


def test_both_folders_are_needed(emobox, tmp_path):
    with pytest.raises(UserError, match="^corpus.root: missing; emobox needs"):
        parse(None)
    with pytest.raises(
        UserError, match="^corpus.audio_root: missing; name the folder that holds the audio"
    ):
        parse(tmp_path)
    with pytest.raises(UserError, match="^corpus.audio_root: .* holds no audio file"):
        parse(**emobox(CLIPS, wavs=[]))


def test_facts_cite_emobox_and_the_corpus():
    facts = corpus_facts(
        "emobox", {"title": "CaFE", "citation": "Gournay P (2018).", "license": "cc-by-nc-sa-4.0"}
    )
    assert facts["title"] == "CaFE"
    assert facts["citation"].startswith("Gournay P (2018). Ma Z, ")
    assert facts["non_commercial"] is True
