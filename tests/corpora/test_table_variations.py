"""Tables in the dialects of strangers: read completely, or refused by one line that says why."""

import random
import re

import pytest
from support.blank import write_blank
from support.table_variations import FILES, ROWS, VARIATIONS, one_known_table

from ser_hf.corpora import corpus_settings, load_corpus, tables
from ser_hf.corpora.read import refusal
from ser_hf.inference.recordings import from_paths
from ser_hf.utils.errors import UserError
from ser_hf.utils.tables import read_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_blank(tmp_path_factory.mktemp("variations"), *FILES)


def test_there_are_enough_variations():
    assert len(VARIATIONS) >= 60


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_table_is_read_completely_or_refused(folder, name, caplog):
    variation = VARIATIONS[name]
    table = folder / "clips.csv"
    table.write_bytes(variation.content)
    settings = corpus_settings("csv", table, **variation.options)
    if variation.clips is None:
        with pytest.raises(UserError, match=variation.message) as error:
            load_corpus("csv", table, **variation.options)
        assert refusal(settings) == str(error.value)
        return
    assert refusal(settings) is None
    listing = tables.parse(settings)
    assert len(listing.clips) == variation.clips
    assert len({clip.speaker for clip in listing.clips}) == variation.speakers
    # Every line is the header, a row that is a clip or left out, or blank.
    content = read_table(table)
    assert len(listing.clips) + len(listing.skipped) == len(content.rows)
    further = sum(last - first for first, last in content.spans)
    assert content.heading + len(content.rows) + further + len(content.blank) == content.lines
    notes = " ".join(listing.notes)
    if variation.message is None:
        assert notes == ""
    else:
        assert re.search(variation.message, notes)
    if "path" not in variation.options:
        assert len(from_paths([table])) == len(ROWS)


def test_no_person_is_two_speakers_in_any_dialect(tmp_path):
    outcomes = [one_known_table(random.Random(seed), tmp_path) for seed in range(100)]
    assert outcomes.count(None) > 30
    assert len(set(outcomes)) > 2
