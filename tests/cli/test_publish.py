"""ser-hf publish: the repository is an option, or that of the run's recipe."""

from unittest.mock import Mock

import pytest
from support.commands import complaint

from ser_hf import cli
from ser_hf.experiment.reading import read_recipe
from ser_hf.utils.yaml import dump_yaml


@pytest.fixture
def publish(monkeypatch):
    """A stub for the publication."""
    published = Mock(return_value="published")
    monkeypatch.setattr("ser_hf.hub.publish.publish", published)
    return published


@pytest.fixture
def run_of(tmp_path):
    """A function from overrides to a folder with the recipe of a run."""

    def write(*overrides):
        recipe = read_recipe("quickstart", overrides)
        (tmp_path / "recipe.yaml").write_text(dump_yaml(recipe.to_dict()))
        return str(tmp_path)

    return write


def test_options_go_with_a_repository(publish, run_of, capsys):
    run = run_of("hub.repo=someone/recipes-model")
    assert cli.main(["publish", run, "--repo", "someone/model", "--space"]) == 0
    publish.assert_called_once_with(
        run,
        "someone/model",
        private=False,
        report_repo=None,
        space=True,
        space_page=None,
        benchmark=None,
    )
    assert capsys.readouterr().out == "published\n"


@pytest.fixture
def page_exports(monkeypatch):
    """A stub for the export of a page, and a Hub that accepts any name."""
    function = Mock(return_value=Mock(folder="the page"))
    monkeypatch.setattr("ser_hf.export.export_web", function)
    monkeypatch.setattr("ser_hf.hub.push.resolve_repo_id", lambda repo: f"someone/{repo}")
    return function


@pytest.mark.parametrize(
    ("words", "page"),
    [(["--space"], None), (["--space", "gradio"], None), (["--space", "static"], "the page")],
)
def test_a_space_is_an_app_or_a_static_page(publish, page_exports, run_of, words, page):
    run = run_of()
    assert cli.main(["publish", *words, run, "--repo", "model"]) == 0
    assert publish.call_args.kwargs["space"] is True
    assert publish.call_args.kwargs["space_page"] == page
    if page is None:
        page_exports.assert_not_called()
    else:
        assert page_exports.call_args.args[0] == run
        assert page_exports.call_args.kwargs == {"hub_model": "someone/model"}


def test_the_recipe_may_name_the_repository(publish, run_of):
    run = run_of("hub.repo=someone/model", "hub.private=true")
    assert cli.main(["publish", run]) == 0
    options = publish.call_args.kwargs
    assert options["repo_id"] == "someone/model"
    assert options["private"] is True


def test_a_missing_repository_is_named(publish, run_of, capsys):
    assert complaint(capsys, "publish", run_of()).startswith("error: --repo: ")
    run = run_of("hub.repo=someone/model")
    assert complaint(capsys, "publish", run, "--private").startswith("error: --repo: ")
    publish.assert_not_called()
