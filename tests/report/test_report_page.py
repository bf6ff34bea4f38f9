"""The page of a report, read without a browser; tests/test_report_in_browser.py opens it in one."""

import re

import pytest
from support.html_page import Page
from support.reports import over_folds, typed, whole_report

from ser_hf.report import views
from ser_hf.report.page import SECTIONS, Picture
from ser_hf.report.page import render as render_page

PICTURE = Picture("A picture", "data:image/png;base64,AAAA", 100, 50, ["a.png", "a.svg"])
EVERYTHING = {
    "pictures": {section: [PICTURE] for section in SECTIONS},
    "recipe": "name: toy\n",
    "corpus": {"title": "Toy", "citation": "Toy (2026)", "url": "https://example.org", "license": "cc0-1.0"},
    "files": {"report.json": "numbers"},
}
EVERYTHING["corpus"] |= {"non_commercial": False}


def render(report, **settings):
    return render_page(typed(report), **settings)


def text_of(report, **told):
    return " ".join(Page(render(report, **told)).text.split())


def ids(page):
    return {attributes["id"] for _, attributes in page.tags if "id" in attributes}


def test_every_section_stands_there_and_in_the_contents():
    page = Page(render(whole_report(seeds={"1": {"metrics": whole_report()["metrics"]}}), **EVERYTHING))
    assert set(SECTIONS) <= ids(page)
    links = {link["href"] for link in page.all("a")}
    assert {f"#{section}" for section in SECTIONS} <= links


def test_what_a_report_does_not_have_is_left_out():
    bare = {"name": "bare", "judged_on": "test", "labels": ["a", "b"], "metrics": {"uar": 0.5, "wa": 0.5}}
    bare |= {"confusion": [[1, 1], [1, 1]], "protocol": {"leak": None}, "audit": {"shared": {}}}
    bare["metrics"]["macro_f1"] = 0.5
    page = Page(render(bare))
    assert ids(page) & set(SECTIONS) == {"results", "confusion", "cite"}


def test_it_loads_nothing_from_anywhere():
    page = Page(render(whole_report(), **EVERYTHING))
    assert not page.all("link")
    assert all(image["src"].startswith("data:") for image in page.all("img"))
    assert all("src" not in script for script in page.all("script"))
    (policy,) = (meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_words_of_files_and_recipes_are_no_markup():
    hostile = "<script>alert(1)</script>"
    report = whole_report(name=hostile, warnings=[hostile], label_words=[{"word": hostile, "emotion": None}])
    report["protocol"]["parts"]["test"]["speakers"] = [hostile]
    report["hardest"][0] |= {"id": hostile, "speaker": hostile}
    report["slices"]["speaker"][hostile] = report["slices"]["speaker"].pop("a:0")
    report["gaps"] = {}
    players = {hostile: 'x" onerror="alert(1)'}
    source = render(report, recipe=f"name: {hostile}</pre>", players=players, corpus=EVERYTHING["corpus"])
    page = Page(source)
    assert len(page.all("script")) == 1
    assert source.count("<script>") == 1
    assert not any("onerror" in audio for audio in page.all("audio"))


def test_the_headline_has_its_interval_and_what_guessing_gives():
    report = whole_report()
    low, high = report["intervals"]["uar"]
    assert views.headline(typed(report)) == [f"95 % interval {low:.3f} to {high:.3f}", "chance 0.333"]
    assert views.headline(typed(over_folds(report)))[1] == "mean of 2 folds, standard deviation 0.050"


def test_a_leaky_protocol_wears_the_red_banner_first():
    report = whole_report(judged_on="validation")
    report["protocol"] |= {"leak": "24 of the 24 test speakers are training speakers.", "name": "random"}
    levels = [level for level, *_ in views.banners(typed(report))]
    assert levels == ["error", "warning", "warning"]
    text = text_of(report)
    assert "Leaky protocol (random). 24 of the 24 test speakers are training speakers." in text
    assert "Evaluated on the validation split. These clips selected the checkpoint" in text
    assert "Note: Evaluated on 8 speakers" in text


def test_random_answers_wear_a_red_banner_too():
    report = whole_report(warnings=["The classifier of x was never trained: 2 tensors are not in its files."])
    assert [level for level, *_ in views.banners(typed(report))] == ["warning"]
    report["model"]["untrained"] = ["classifier.weight"]
    assert [level for level, *_ in views.banners(typed(report))] == ["error"]


def test_an_honest_run_wears_none():
    assert views.banners(typed(whole_report(warnings=[]))) == []


def test_the_splits_are_described():
    report = whole_report()
    assert views.splits(typed(report)) == [
        "16 speakers (96 clips) for training.",
        "4 other speakers (24 clips) to select the checkpoint, by UAR.",
        "8 other speakers (48 clips) for the final test, once.",
    ]
    # TESS: validation by held-out sentences of the speakers that were learnt from.
    report["audit"]["shared"]["train/validation"]["speakers"] = 4
    assert views.splits(typed(report))[1] == "The same 4 speakers (24 clips) to select the checkpoint, by UAR."
    report["audit"]["shared"]["train/test"]["speakers"] = 3
    assert (
        views.splits(typed(report))[2]
        == "8 speakers, 3 of them in earlier splits too, (48 clips) for the final test, once."
    )
    assert views.splits(typed(report | {"judged_on": "validation"}))[2].endswith("not used.")
    assert views.splits(typed(over_folds(report)))[1] == "All folds together are evaluated on 8 speakers (48 clips)."


def test_the_overlap_of_the_splits_is_described():
    report = whole_report()
    assert views.overlap(typed(report)) == [
        ("ok", "No speaker is in two splits."),
        (
            "note",
            "Sentences in two splits: 2 in each pair of them: the words are known, which a fixed list of sentences "
            "cannot avoid.",
        ),
        ("ok", "No recording is in two splits."),
        ("unknown", "Near duplicates were not searched."),
        ("note", "1 clip repeats another clip within a split."),
    ]
    report["audit"]["shared"]["train/test"] |= {"speakers": 24, "near_duplicates": 0}
    level, told = views.overlap(typed(report))[0]
    assert (level, told) == (
        "error",
        "Speakers in two splits: 24 in train and test: voices of the training data are evaluated again.",
    )
    assert views.overlap(typed(report))[3][0] == "unknown"


def test_the_confusion_tells_each_cell():
    first, second = views.confusion([[28, 12], [0, 0]], ["angry", "fear"])
    assert [cell["told"] for cell in first["cells"]] == [
        "angry predicted as angry: 28 of 40",
        "angry predicted as fear: 12 of 40",
    ]
    assert [cell["depth"] for cell in first["cells"]] == ["middle", ""]
    assert second["total"] == 0
    page = Page(render(whole_report()))
    assert sum("data-told" in cell for cell in page.all("td")) >= 9


def test_slices_go_from_the_worst_speaker_and_name_the_gap():
    report = whole_report()
    tables = {table["title"]: table for table in views.slices(typed(report))}
    scores = [row["uar"] for row in tables["speaker"]["rows"]]
    assert scores == sorted(scores)
    gap = report["gaps"]["speaker"]
    assert tables["speaker"]["gap"].startswith(f"Lowest: {gap['worst']} with UAR {scores[0]:.3f}; highest: ")
    old = views.slices(
        typed(
            report | {"slices": {"sex": {"m": {"clips": 9, "uar": 0.25}, "f": {"clips": 9, "uar": 0.5}}}, "gaps": {}}
        )
    )
    assert old[0]["gap"] == "Too few clips or speakers to compare groups."


def test_reports_lead_to_those_below_and_above():
    links = {"above": "../../report/index.html", "foil": "../foil/report/index.html"}
    links["runs"] = {number: f"../fold-{number}/report/index.html" for number in "12"}
    hrefs = {link["href"] for link in Page(render(over_folds(whole_report()), links=links)).all("a")}
    assert {links["above"], links["foil"], *links["runs"].values()} <= hrefs
    alone = {link["href"] for link in Page(render(over_folds(whole_report()))).all("a")}
    assert not any(href.startswith("..") for href in alone)


def test_players_start_by_themselves_never():
    report = whole_report()
    clip = report["hardest"][0]["id"]
    (audio,) = Page(render(report, players={clip: "../a.wav"})).all("audio")
    assert audio["preload"] == "none"
    assert "autoplay" not in audio
    assert audio["aria-label"].startswith(clip)


def test_a_stored_temperature_is_told_as_done():
    report = whole_report()
    assert "but the published model does not apply it" in views.temperature(typed(report))
    report["temperature"] |= {"stored": True}
    assert "and the published model applies it" in views.temperature(typed(report))
    assert views.temperature(typed(report | {"temperature": None})) is None


def test_the_citation_names_result_split_and_data():
    report = whole_report()
    text = text_of(report, corpus=EVERYTHING["corpus"])
    assert f"toy: UAR {report['metrics']['uar']:.3f} (95 % interval" in text
    assert "hierarchical bootstrap over 8 speakers and their clips)" in text
    assert "protocol speaker_independent, split abababababababab." in text
    assert "@software{ser_hf, title = {{ser_hf}: fine-tune" in text
    assert "The data: Toy. Toy (2026) https://example.org" in text
    assert "leaky" in views.cite(typed(report | {"protocol": report["protocol"] | {"leak": "x"}}), None)["sentence"]


def test_undefined_figures_are_dashes():
    report = whole_report()
    report["metrics"] |= {"auroc": None}
    report["intervals"] |= {"auroc": None}
    row = next(row for row in views.results(typed(report)) if row["name"] == "AUROC")
    assert row["value"] is None
    assert re.search(r"0\.5 is chance\s*–", Page(render(report)).text)


def luminance(colour):
    """Relative, of WCAG 2."""
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in colour]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(("scheme", "dark_ink"), [(0, {"", "middle"}), (1, {"middle", "deep"})], ids=["light", "dark"])
def test_every_share_has_ink_that_stands_out(scheme, dark_ink):
    source = render(whole_report())
    ends = []
    for name in ("raised", "heat"):
        code = re.findall(rf"--{name}: #(\w{{6}})", source)[scheme]
        ends.append([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    for percent in range(1001):
        share = percent / 1000
        ground = luminance([low + share * (high - low) for low, high in zip(*ends, strict=True)])
        black = views.confusion([[percent, 1000 - percent], [0, 0]], "ab")[0]["cells"][0]["depth"] in dark_ink
        contrast = (ground + 0.05) / 0.05 if black else 1.05 / (ground + 0.05)
        assert contrast >= 4.5, f"{share} in {'black' if black else 'white'}: {contrast:.2f}"
