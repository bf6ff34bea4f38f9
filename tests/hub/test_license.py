"""The licence of a model: that of its corpus, the strictest of several, or one in words where the Hub has none."""

import pytest
from support.hub.cards import check_card

from ser_hf.corpora import SINGLE_CORPORA, corpora_facts
from ser_hf.report.citations import license_metadata, license_text

OTHER = "other"
PAGE = "https://huggingface.co/someone/model"


def corpus(license, non_commercial=None, title="My table", url=None):
    forbidden = "-nc" in (license or "") if non_commercial is None else non_commercial
    return {"name": "csv", "title": title, "license": license, "non_commercial": forbidden, "url": url}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ravdess", {"license": "cc-by-nc-sa-4.0"}),
        ("tess", {"license": "cc-by-nc-nd-4.0"}),
        ("cremad", {"license": "odbl"}),
        ("synthetic", {"license": "cc0-1.0"}),
        # A licence of code, whose name does not show that clips of a television series are not to be sold.
        (
            "meld",
            {
                "license": OTHER,
                "license_name": "meld-non-commercial",
                "license_link": "https://affective-meld.github.io",
            },
        ),
        (
            "emodb",
            {
                "license": OTHER,
                "license_name": "emo-db-non-commercial",
                "license_link": "http://emodb.bilderbar.info",
            },
        ),
        ("csv", {}),
    ],
)
def test_one_corpus_gives_the_model_its_licence(name, content):
    assert license_metadata(corpora_facts(name, {})) == content


@pytest.mark.parametrize(
    ("licences", "strictest"),
    [
        (["cc-by-4.0", "cc-by-nc-sa-4.0"], "cc-by-nc-sa-4.0"),
        (["odbl", "cc-by-nc-sa-4.0"], "cc-by-nc-sa-4.0"),
        (["cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"], "cc-by-nc-sa-4.0"),
        (["cc0-1.0", "mit"], "mit"),
        (["odbl", "cc-by-4.0"], "odbl"),
        # Each asks for something that the other does not.
        (["cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"], OTHER),
        (["cc-by-sa-4.0", "cc-by-nc-4.0"], OTHER),
        (["gpl-3.0", "cc-by-4.0"], OTHER),
        # Nobody knows what one of them asks for.
        (["cc-by-4.0", None], OTHER),
        (["cc-by-4.0", "my own"], OTHER),
        ([None, None], None),
    ],
)
def test_of_several_the_one_that_asks_for_all_that_the_others_ask(licences, strictest):
    content = license_metadata([corpus(own) for own in licences], PAGE)
    assert content.get("license") == strictest
    assert license_metadata([corpus(own) for own in reversed(licences)], PAGE) == content
    if strictest == OTHER:
        forbidden = any("-nc" in (own or "") for own in licences)
        assert content["license_name"] == "several-licenses" + "-non-commercial" * forbidden
        assert content["license_link"] == f"{PAGE}#training-data"


def test_what_a_user_calls_a_licence_becomes_a_name():
    assert license_metadata([corpus("Our Terms (2024)", url="https://x.org")]) == {
        "license": OTHER,
        "license_name": "our-terms-2024",
        "license_link": "https://x.org",
    }
    assert license_metadata([corpus(OTHER)]) == {"license": OTHER, "license_name": "my-table-terms"}
    assert license_metadata([corpus(OTHER, True)]) == {"license": OTHER, "license_name": "my-table-non-commercial"}
    assert license_metadata([corpus("unknown")]) == {"license": "unknown"}


def test_a_licence_that_forbids_commerce_shows_it_in_the_metadata_whatever_the_corpus():
    for name in SINGLE_CORPORA:
        facts = corpora_facts(name, {})
        content = license_metadata(facts)
        shown = "-nc" in content.get("license", "") or content.get("license_name", "").endswith("-non-commercial")
        assert shown is facts[0]["non_commercial"]
        lines = "\n".join(f"{key}: {value}" for key, value in content.items())
        assert not content or check_card(f"---\n{lines}\n---\n", "model") == []


def test_a_licence_in_a_sentence():
    assert license_text("cc-by-4.0") == "cc-by-4.0"
    assert license_text(["odbl", OTHER]) == "odbl, its makers' own terms"
    assert license_text(None) == "unknown"
