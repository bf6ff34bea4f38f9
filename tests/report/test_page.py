"""The page of a report, read without a browser; tests/test_report_in_browser.py opens it in one."""

import re

from support.html_page import Page
from support.reports import over_folds, typed, whole_report

from ser_hf.report import views
from ser_hf.report.page import SECTIONS, Links, Picture
from ser_hf.report.page import render as render_page

PICTURE = Picture("A picture", "data:image/png;base64,AAAA", 100, 50, ["a.png", "a.svg"])
VALIDATION = {"loss": 1.0, "uar": 0.5, "macro_f1": 0.5}
CORPUS = {
    "title": "Toy",
    "citation": "Toy (2026)",
    "url": "https://example.org",
    "license": "cc0-1.0",
}
EVERYTHING = {
    "pictures": {section: [PICTURE] for section in SECTIONS},
    "recipe": "name: toy\n",
    "corpus": CORPUS | {"non_commercial": False},
    "files": {"report.json": "numbers"},
}


def render(report, **settings):
    return render_page(typed(report), **settings)


def text_of(report, **settings):
    return " ".join(Page(render(report, **settings)).text.split())


def ids(page):
    return {attributes["id"] for _, attributes in page.tags if "id" in attributes}


def test_every_section_is_on_the_page_and_in_the_contents():
    source = render(whole_report(seeds={"1": {"metrics": whole_report()["metrics"]}}), **EVERYTHING)
    # of another task
    sections = {section: title for section, title in SECTIONS.items() if section != "dimensions"}
    assert set(sections) <= ids(Page(source))
    assert {f"#{section}" for section in sections} <= {
        link["href"] for link in Page(source).all("a")
    }
    headings = re.findall(r"<h2 [^>]*>(.*?)</h2>", source)
    assert headings == list(sections.values())
    assert headings[:3] == ["Summary", "Confusion matrix", "Per-class results"]


def test_sections_without_content_are_left_out():
    bare = {
        "name": "bare",
        "judged_on": "test",
        "labels": ["a", "b"],
        "confusion": [[1, 1], [1, 1]],
    }
    bare |= {
        "metrics": {"uar": 0.5, "wa": 0.5, "macro_f1": 0.5},
        "protocol": {"leak": None},
        "audit": {"shared": {}},
    }
    assert ids(Page(render(bare))) & set(SECTIONS) == {"results", "confusion", "cite"}


def test_the_page_loads_nothing():
    page = Page(render(whole_report(), **EVERYTHING))
    assert not page.all("link")
    assert all(image["src"].startswith("data:") for image in page.all("img"))
    assert all("src" not in script for script in page.all("script"))
    (policy,) = (meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_text_of_files_and_recipes_is_escaped():
    hostile = "<script>alert(1)</script>"
    report = whole_report(
        name=hostile, warnings=[hostile], label_words=[{"word": hostile, "emotion": None}]
    )
    report["labels"][0] = hostile
    report["protocol"]["parts"]["test"]["speakers"] = [hostile]
    report["hardest"][0] |= {"id": hostile, "speaker": hostile}
    report["slices"]["speaker"][hostile] = report["slices"]["speaker"].pop("a:0")
    report |= {"gaps": {}, "class_distribution": None}
    players = {hostile: 'x" onerror="alert(1)'}
    source = render(
        report, recipe=f"name: {hostile}</pre>", players=players, corpus=EVERYTHING["corpus"]
    )
    page = Page(source)
    assert len(page.all("script")) == 1
    assert source.count("<script>") == 1
    assert not any("onerror" in audio for audio in page.all("audio"))


def test_the_headline_has_its_interval_and_chance():
    report = whole_report()
    low, high = report["intervals"]["uar"]
    assert views.headline(typed(report)) == [
        f"95 % interval {low:.3f} to {high:.3f}",
        "chance 0.333",
    ]
    assert (
        views.headline(typed(over_folds(report)))[1] == "mean of 2 folds, standard deviation 0.050"
    )


def test_a_leaky_protocol_has_the_first_banner():
    report = whole_report(judged_on="validation")
    report["protocol"] |= {
        "leak": "24 of the 24 test speakers are training speakers.",
        "name": "random",
    }
    assert [level for level, *_ in views.banners(typed(report))] == ["error", "warning", "warning"]
    text = text_of(report)
    assert "Leaky protocol (random). 24 of the 24 test speakers are training speakers." in text
    assert "Evaluated on the validation split. These clips selected the checkpoint" in text
    assert "Note: Evaluated on 8 speakers" in text
    assert views.banners(typed(whole_report(warnings=[]))) == []


def test_silhouettes_of_emotions_and_speakers_are_compared():
    def sentences(emotions, speakers):
        report = whole_report()
        report["embeddings"] |= {"emotions": emotions, "speakers": speakers}
        return views.separation(typed(report))

    assert "by speaker more than by emotion" in sentences(0.1, 0.2)
    assert "by emotion more than by speaker" in sentences(0.2, 0.1)
    assert "overlap, those of each emotion more" in sentences(-0.2, -0.1)
    assert sentences(0.2, None) == "Mean silhouette coefficients: emotions 0.200, speakers –."
    assert "undefined" in sentences(None, None)


def test_a_model_without_a_map_has_the_reason():
    report = whole_report()
    report["embeddings"] = {
        "method": "umap",
        "clips": 0,
        "of_clips": 48,
        "missing": "all clips have the same embedding",
    }
    assert "There is no map: all clips have the same embedding." in text_of(report)
    assert views.embeddings(typed(report)) == []


def test_the_splits_are_described():
    report = whole_report()
    assert views.splits(typed(report)) == [
        "16 speakers (96 clips) for training.",
        "4 other speakers (24 clips) for validation.",
        "8 other speakers (48 clips) for the final test, once.",
        "The checkpoint was selected by UAR on the validation split.",
    ]
    # TESS: validation by held-out sentences of the training speakers.
    report["audit"]["shared"]["train/validation"]["speakers"] = 4
    assert views.splits(typed(report))[1] == "The same 4 speakers (24 clips) for validation."
    report["audit"]["shared"]["train/test"]["speakers"] = 3
    assert views.splits(typed(report))[2].startswith(
        "8 speakers, 3 of them in earlier splits too, (48 clips)"
    )
    assert views.splits(typed(report | {"judged_on": "validation"}))[2].endswith("not used.")
    assert views.splits(typed(over_folds(report)))[1:] == [
        "All folds together are evaluated on 8 speakers (48 clips).",
        "The checkpoint was selected by UAR on the validation split.",
    ]


SKLEARN = whole_report()["model"] | {"solver": "sklearn"}
REFIT = {"selection": "cross-validation over speakers", "folds": 5, "speakers": 20, "clips": 120}
FITTED = (
    "The settings were selected by UAR in cross-validation over speakers of train and validation "
    "({}); the model "
)
FITTED += "was then fitted to both splits"


def test_cross_validation_and_the_refit_are_described():
    report = whole_report(model=SKLEARN, training={"refit": REFIT})
    sentence = FITTED.format("5 folds, 20 speakers")
    assert views.splits(typed(report))[3] == f"{sentence}."
    assert views.splits(typed(over_folds(report)))[2] == FITTED.format("5 folds") + "."


def test_the_overlap_of_the_splits_is_described():
    report = whole_report()
    speakers, sentences, *_, copies = views.overlap(typed(report))
    assert speakers == ("ok", "No speaker is in two splits.")
    pairs = "2 in train and validation, 2 in train and test and 2 in validation and test"
    assert (sentences[0], pairs in sentences[1]) == ("note", True)
    assert copies == ("note", "Copies of another clip within a split: 1 clip.")
    report["audit"]["shared"]["train/test"] |= {"speakers": 24, "near_duplicates": 0}
    level, sentence = views.overlap(typed(report))[0]
    assert (level, sentence.split(":")[1]) == ("error", " 24 in train and test")
    assert views.overlap(typed(report))[3][0] == "unknown"


def test_the_confusion_matrix_describes_each_cell():
    report = whole_report(labels=["angry", "fear"], confusion=[[28, 12], [0, 0]])
    for key in ("per_class", "slices", "corpora", "class_distribution", "perceived"):
        report.pop(key)
    cells = [
        cell["data-readout"] for cell in Page(render(report)).all("td") if "data-readout" in cell
    ]
    assert cells[:2] == [
        "angry predicted as angry: 28 of 40 (70 %)",
        "angry predicted as fear: 12 of 40 (30 %)",
    ]
    assert len(cells) == 4


def test_slices_begin_with_the_worst_speaker_and_name_the_gap():
    report = whole_report()
    tables = {table.title: table for table in views.slices(typed(report))}
    scores = [row.uar for _, row in tables["speaker"].rows]
    assert scores == sorted(scores)
    gap = report["gaps"]["speaker"]
    assert tables["speaker"].gap.startswith(
        f"Lowest: {gap['worst']} with UAR {scores[0]:.3f}; highest: "
    )
    assert (
        views.slices(typed(report | {"gaps": {}}))[0].gap
        == "Too few clips or speakers to compare groups."
    )


def test_reports_link_those_below_and_above():
    links = Links(
        above="../../report/index.html",
        runs={number: f"../fold-{number}/report/index.html" for number in "12"},
        foil="../foil/report/index.html",
    )
    hrefs = {
        link["href"] for link in Page(render(over_folds(whole_report()), links=links)).all("a")
    }
    assert {links.above, links.foil, *links.runs.values()} <= hrefs
    alone = {link["href"] for link in Page(render(over_folds(whole_report()))).all("a")}
    assert not any(href.startswith("..") for href in alone)


def test_players_do_not_start_by_themselves():
    report = whole_report()
    clip = report["hardest"][0]["id"]
    (audio,) = Page(render(report, players={clip: "../a.wav"})).all("audio")
    assert (audio["preload"], "autoplay" in audio) == ("none", False)
    assert audio["aria-label"].startswith(clip)


def test_the_citation_names_result_split_and_data():
    report = whole_report()
    text = text_of(report, corpus=EVERYTHING["corpus"])
    assert f"toy: UAR {report['metrics']['uar']:.3f} (95 % interval" in text
    assert "protocol speaker_independent, split abababababababab, test clips." in text
    assert "@software{ser_hf, title = {{ser_hf}: fine-tune" in text
    assert "The data: Toy. Toy (2026) https://example.org" in text
    assert ", leaky" in views.result_sentence(
        typed(report | {"protocol": report["protocol"] | {"leak": "x"}})
    )
