"""Metadata of corpora and of mixtures."""

import dataclasses

import pytest

from ser_hf.corpora.metadata import Metadata, combined, excludes_commercial_use

CALLS = Metadata(
    name="csv",
    title="Calls",
    license="cc-by-4.0",
    language="en",
    url="https://example.org",
    citation="A (2020).",
    acted=False,
    non_commercial=False,
)


@pytest.mark.parametrize(
    ("license", "excluded"),
    [
        ("cc-by-nc-sa-4.0", True),
        ("CC-BY-NC-4.0", True),
        ("cc-by-4.0", False),
        ("odbl", False),
        (None, False),
    ],
)
def test_the_name_of_a_license_says_whether_commercial_use_is_excluded(license, excluded):
    assert excludes_commercial_use(license) is excluded


def test_equal_corpora_keep_their_values():
    both = combined([CALLS, dataclasses.replace(CALLS, title="Talks", citation=None)])
    assert both.title == "Calls and Talks"
    assert both.license == "cc-by-4.0"
    assert both.language == "en"
    assert both.citation == "A (2020)."
    assert both.url is None
    assert not both.acted
    assert not both.non_commercial


def test_values_that_differ_are_a_list_in_the_order_of_the_corpora():
    german = dataclasses.replace(
        CALLS, language="de", license=None, acted=True, non_commercial=True
    )
    several = dataclasses.replace(CALLS, language=["fr", "de"])
    mixed = combined([CALLS, german, several])
    assert mixed.title == "Calls, Calls and Calls"
    assert mixed.language == ["en", "de", "fr"]
    assert mixed.license == "cc-by-4.0"
    assert not mixed.acted
    assert mixed.non_commercial


def test_a_mixture_of_nothing_has_a_title():
    nothing = combined([])
    assert nothing.title == "Mixture"
    assert nothing.license is None
    assert not nothing.acted
