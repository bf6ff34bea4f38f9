"""The facts of the model card and report page of fixed reports, whatever their wording."""

import pytest
from entry_points import model_card, report_page
from golden import Page, card_facts, read, unpacked

PAGES = read("pages.json")


@pytest.mark.parametrize("name", PAGES)
def test_a_model_card_has_the_same_facts(name):
    run = unpacked() / "runs" / name
    frozen = PAGES[name]
    card = card_facts(model_card(run, f"runs/{name}/model"))
    assert card["metadata"] == frozen["card"]["metadata"]
    assert card["code"] == frozen["card"]["code"]
    assert missing(frozen["card"]["numbers"], card["numbers"]) == set()
    published = card_facts(model_card(run, "someone/tiny", report_repo="someone/tiny-report"))
    assert published["metadata"] == frozen["published"]["metadata"]
    assert published["code"] == frozen["published"]["code"]


@pytest.mark.parametrize("name", PAGES)
def test_a_report_page_shows_the_same(name, tmp_path):
    """One file that loads nothing, with every section, picture and number."""
    page = Page(report_page(unpacked() / "runs" / name, tmp_path))
    frozen = PAGES[name]["page"]
    assert page.loaded == []
    assert not any(page.open[tag] for tag in ("table", "section", "main", "figure", "details"))
    assert len(page.ids) == len(set(page.ids))
    assert set(frozen["ids"]) <= set(page.ids)
    assert set(frozen["pictures"]) <= page.pictures
    assert missing(frozen["numbers"], page.facts()["numbers"]) == set()


def missing(frozen, now):
    return set(frozen.split()) - set(now.split())
