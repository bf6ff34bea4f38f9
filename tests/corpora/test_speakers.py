"""One spelling for each speaker, and speakers of models in other corpora."""

import pytest

from ser_hf.corpora.speakers import KnownSpeakers, one_spelling_each, speaker_key


def test_speakers_with_one_spelling_have_no_note():
    assert one_spelling_each(["anna", "ben", "anna"]) == ({}, [])


def test_several_spellings_are_one_speaker_with_a_note():
    usual, notes = one_spelling_each(["anna", "ANNA", "anna", "1", "1.0", "ben"])
    assert usual == {"ANNA": "anna", "1.0": "1"}
    (note,) = notes
    assert note.startswith("2 speakers are spelled in several ways")
    assert "'anna' also as 'ANNA'" in note


def test_a_note_lists_the_first_speakers():
    names = [f"s{number}" for number in range(9)]
    _, (note,) = one_spelling_each([*names, *map(str.upper, names)])
    assert note.endswith("and 4 more.")


def test_the_choice_does_not_depend_on_the_order():
    names = ["b", "B", "a", "A", "A"]
    assert one_spelling_each(names)[0] == one_spelling_each(names[::-1])[0] == {"b": "B", "a": "A"}


@pytest.mark.parametrize("speaker", ["csv:anna", "csv:ANNA", "CSV: anna"])
def test_known_speakers_in_another_spelling(speaker):
    known = KnownSpeakers(["csv:Anna", "csv:01"])
    assert speaker in known
    assert "csv:1.0" in known
    assert "other:anna" not in known
    assert None not in known
    assert speaker_key("a:b:C") == "a:b:c"
