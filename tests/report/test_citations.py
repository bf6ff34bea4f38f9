"""The license of a model: that of its corpora, or a name if the Hub has none for it."""

import pytest
from support.hub.cards import check_card

from ser_hf.corpora import SINGLE_CORPORA, corpora_facts
from ser_hf.report.citations import license_metadata, license_text

OTHER = "other"
PAGE = "https://huggingface.co/someone/model"


def corpus(license, non_commercial=None, url=None):
    forbidden = "-nc" in (license or "") if non_commercial is None else non_commercial
    return {
        "name": "csv",
        "title": "My table",
        "license": license,
        "non_commercial": forbidden,
        "url": url,
    }


def named(name, link=None):
    return {"license": OTHER, "license_name": name} | ({"license_link": link} if link else {})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ravdess", {"license": "cc-by-nc-sa-4.0"}),
        ("cremad", {"license": "odbl"}),
        ("emodb", named("emo-db-non-commercial", "http://emodb.bilderbar.info")),
        ("csv", {}),
    ],
)
def test_one_corpus_gives_the_model_its_license(name, content):
    assert license_metadata(corpora_facts(name, {})) == content


@pytest.mark.parametrize(
    ("licenses", "content"),
    [
        (["cc-by-4.0", "cc-by-4.0"], {"license": "cc-by-4.0"}),
        (["cc-by-4.0", "odbl"], named("several-licenses", f"{PAGE}#training-data")),
        (
            ["cc-by-4.0", "cc-by-nc-sa-4.0"],
            named("several-licenses-non-commercial", f"{PAGE}#training-data"),
        ),
        (["my own", "my own"], named("several-licenses", f"{PAGE}#training-data")),
        (["cc-by-4.0", None], named("several-licenses", f"{PAGE}#training-data")),
        ([None, None], {}),
    ],
)
def test_several_corpora(licenses, content):
    assert license_metadata([corpus(own) for own in licenses], PAGE) == content
    assert license_metadata([corpus(own) for own in reversed(licenses)], PAGE) == content


def test_a_license_of_the_user_becomes_a_name():
    ours = corpus("Our Terms (2024)", url="https://x.org")
    assert license_metadata([ours]) == named("our-terms-2024", "https://x.org")
    assert license_metadata([corpus(OTHER)]) == named("my-table-terms")
    assert license_metadata([corpus(OTHER, True)]) == named("my-table-non-commercial")
    assert license_metadata([corpus("unknown")]) == {"license": "unknown"}


def test_metadata_of_every_corpus_shows_whether_commercial_use_is_forbidden():
    for name in SINGLE_CORPORA:
        facts = corpora_facts(name, {})
        content = license_metadata(facts)
        shown = "-nc" in content.get("license", "") or content.get("license_name", "").endswith(
            "-non-commercial"
        )
        assert shown is facts[0]["non_commercial"]
        lines = "\n".join(f"{key}: {value}" for key, value in content.items())
        assert not content or check_card(f"---\n{lines}\n---\n", "model") == []


def test_a_license_in_a_sentence():
    assert license_text(["odbl", OTHER, None]) == "odbl, terms of its authors, unknown"
