"""The card of a finished run, made of its files; nothing is trained here, the runs are written as runs leave them."""

import functools
import json
import re

import pytest
from support.hub.cards import check_card
from support.reports import over_folds
from support.reports import whole_report as judged

from ser_hf.experiment.recipe_checks import read_recipe
from ser_hf.models import ARCHITECTURES
from ser_hf.report.card import card_of_run, card_pictures, run_report
from ser_hf.report.citations import network_words, works
from ser_hf.utils.errors import UserError
from ser_hf.utils.yaml import dump_yaml

CRNN = {"architecture": "crnn"}
BASE = "facebook/wav2vec2-base"
ENCODER = {"architecture": "encoder", "checkpoint": BASE, "weighted_layer_sum": True, "pooling": "mean"}
NEW = {"base_model": BASE, "encoder": "wav2vec2", "sampling_rate": 16000}


@functools.cache
def once():
    return json.dumps(judged())


def whole_report(**changes):
    return json.loads(once()) | changes


def told_model(asked, **more):
    own = {"architecture": asked["architecture"], "checkpoint": asked.get("checkpoint"), "model_type": "ser_encoder"}
    return whole_report()["model"] | own | more


@pytest.fixture
def write(tmp_path):
    """A function that writes a run: report.json, recipe.yaml and the pictures that it names."""

    def write(report, place="run", recipe=None, pictures=("confusion_matrix", "reliability")):
        folder = tmp_path / place
        (folder / "report").mkdir(parents=True)
        recipe = {"name": "toy", "corpus": {"name": "ravdess"}, "model": CRNN, **(recipe or {})}
        (folder / "recipe.yaml").write_text(dump_yaml(read_recipe(recipe).to_dict()), encoding="utf-8")
        report["environment"]["versions"]["transformers"] = "5.23.0"
        (folder / "report" / "report.json").write_text(json.dumps(report), encoding="utf-8")
        for name in pictures:
            (folder / "report" / f"{name}.png").write_bytes(place.encode())
        return folder

    return write


def check(run, location="someone/toy", **settings):
    text = str(card_of_run(run, location, **settings))
    assert check_card(text, "model") == []
    assert not re.search(r"\n{3,}|None(?!\))|{{ ", text)
    return text


def test_the_same_files_give_the_card_of_a_folder_and_of_a_repository(write):
    run = write(whole_report())
    text = check(run, report_repo="someone/toy-report", space="someone/toy-demo")
    assert 'model="someone/toy", trust_remote_code=True' in text
    assert "datasets/someone/toy-report" in text
    assert "spaces/someone/toy-demo" in text
    assert "(confusion_matrix.png)" in text
    assert "(reliability.png)" in text
    assert "(robustness.png)" not in text, "no such file"
    local = str(card_of_run(run, (run / "model").as_posix(), pictures=False))
    assert f'model="{run}/model"' in local
    assert "![" not in local
    assert "someone" not in local


def test_what_the_runs_say_becomes_metadata_and_text(write):
    text = check(write(whole_report()))
    head, _, body = text.partition("\n# toy")
    assert "license: cc-by-nc-sa-4.0" in head
    assert "bidirectional LSTM" in body.partition("## Use")[0]
    assert "The layout of Choi et al. 2017 ([arXiv:1609.04243]" in body
    assert "- the network: Choi et al. 2017, [arXiv:1609.04243](https://arxiv.org/abs/1609.04243)" in body
    assert "noise at 20 dB" in body
    assert "architecture: crnn" in body
    assert "output_dir" not in body


def test_the_weights_of_several_seeds_are_told_with_their_own_figures_and_pictures(write):
    whole = whole_report(metrics=whole_report()["metrics"] | {"uar": 0.25})
    runs = {str(seed): {"metrics": whole["metrics"]} for seed in (1, 2)}
    several = {"seeds": runs, "chosen_seed": 2, "deviations": dict.fromkeys(whole["metrics"], 0.05)}
    run = write(whole | several | {"temperatures": {"1": 1.5, "2": 0.5}, "temperature": None, "history": []})
    for seed in (1, 2):
        write(whole_report(), f"run/seed-{seed}")
    assert {path.read_text() for path in card_pictures(run)} == {"run/seed-2"}
    text = check(run)
    own = whole_report()["metrics"]["uar"]
    assert f"**UAR {own:.3f}** on the test speakers" in text
    assert "the mean over 2 seeds is 0.250, standard deviation 0.050" in text
    assert "These are the weights of seed 2, which has the best validation score of 2" in text
    assert " are 1.5 and 0.5." in text
    (run / "seed-2" / "report" / "report.json").unlink()
    with pytest.raises(UserError, match="run/seed-2: no finished run"):
        card_of_run(run, "someone/toy")


def test_the_weights_of_a_fold_s_seed_are_found(write):
    run = write(over_folds(whole_report()))
    several = {"seeds": {"7": {"metrics": whole_report()["metrics"]}}, "chosen_seed": 7}
    write(whole_report() | several, "run/fold-2")
    write(whole_report(name="deepest"), "run/fold-2/seed-7")
    report = run_report(run)
    assert report.name == "deepest"
    assert "These are the weights of fold 2, seed 7, which has the best validation score of 2" in check(run)


def test_no_run_no_card(tmp_path):
    with pytest.raises(UserError, match="no finished run; it has no report/report.json"):
        card_of_run(tmp_path, "someone/toy")


def test_a_fine_tuned_encoder_names_its_base_and_cites_it(write):
    report = whole_report(model=told_model(ENCODER, **NEW, remote_code=False))
    text = check(write(report, recipe={"model": ENCODER}))
    assert f"\nbase_model: {BASE}\n" in text
    assert "\nbase_model_relation: finetune\n" in text
    assert f"Its encoder is wav2vec2 from [{BASE}](https://huggingface.co/{BASE}). The input of the classifier" in text
    assert "is a weighted sum of all its layers, pooled by mean." in text
    assert "trust_remote_code" not in text
    assert "- the encoder: Baevski et al. 2020" in text
    assert "The license of the checkpoint is on [its page]" in text
    assert "## The network" not in text


def test_an_adapter_is_shown_by_itself_where_others_can_have_its_checkpoint(write):
    adapted = {"adapter": True, "remote_code": False}
    asked = {"model": {"architecture": "encoder", "checkpoint": BASE}, "lora": {"rank": 4}}
    text = check(write(whole_report(model=told_model(ENCODER, **NEW, **adapted)), recipe=asked))
    assert f'AutoModelForAudioClassification.from_pretrained("{BASE}", config=config)' in text
    assert 'PeftModel.from_pretrained(base, "someone/toy", subfolder="adapter")' in text
    assert "- LoRA: Hu et al. 2021" in text


def test_a_checkpoint_of_this_machine_is_nobody_else_s_base(write, tmp_path):
    (tmp_path / "mine").mkdir()
    asked = {"architecture": "encoder", "checkpoint": str(tmp_path / "mine")}
    report = whole_report(model=told_model(asked, **NEW | {"base_model": None}))
    text = check(write(report, recipe={"model": asked}))
    assert "base_model" not in text
    assert str(tmp_path) not in text
    assert "from `mine`." in text


def test_published_weights_are_named_with_their_licence(write):
    origin = {"file": "weights.pth", "source": "https://example.org", "licence": "MIT"}
    asked = {"architecture": "byols", "checkpoint": "/data/weights.pth"}
    text = check(write(whole_report(model=told_model(asked, origin=origin)), recipe={"model": asked}))
    assert "Its encoder starts from weights.pth (https://example.org, license: MIT)." in text
    assert "/data/" not in text


def test_a_mixture_is_told_by_what_it_learnt_from_and_what_judged(write):
    speakers = {"train": ["cremad:1", "savee:DC"], "validation": ["savee:JK"], "test": ["emodb:03"]}
    parts = {part: {"clips": 2, "speakers": own} for part, own in speakers.items()}
    report = whole_report(protocol=whole_report()["protocol"] | {"parts": parts, "name": "leave_one_corpus_out"})
    items = [{"name": name, "root": f"data/{name}"} for name in ("cremad", "savee", "emodb")]
    text = check(write(report, recipe={"corpus": {"name": "mixture", "corpora": items}}))
    head, _, body = text.partition("\n# toy")
    assert "license_name: several-licenses-non-commercial" in head
    assert "license_link: https://huggingface.co/someone/toy#training-data" in head
    assert "name: EMO-DB, leave_one_corpus_out\n      type: emodb" in head
    learnt = body.partition("## Training data")[2].partition("| split")[0]
    assert "CREMA-D and SAVEE." in learnt
    assert "EMO-DB" not in learnt
    local = str(card_of_run(write(report, "again", recipe={"corpus": {"name": "mixture", "corpora": items}}), "a/b/c"))
    assert "license_link" not in local


def test_a_data_set_of_the_hub_is_linked(write):
    asked = {"name": "hub", "dataset": "someone/voices", "revision": "0" * 40, "license": "cc-by-4.0"}
    speakers = {part: {"clips": 2, "speakers": [f"hub:{part}"]} for part in ("train", "validation", "test")}
    report = whole_report(protocol=whole_report()["protocol"] | {"parts": speakers})
    head = check(write(report, recipe={"corpus": asked})).partition("\n# toy")[0]
    assert "datasets:\n- someone/voices" in head
    assert "type: someone/voices" in head
    assert "license: cc-by-4.0" in head


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_network_says_what_it_is(architecture):
    sentence, about = network_words(architecture)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert about == "" or about.endswith(".")
    named = works(read_recipe({"corpus": {"name": "synthetic"}, "model": model_of(architecture)}).to_dict(), "ser_x")
    assert len([work for work in named if "arXiv" in work]) == about.count("arXiv:")
    assert all(re.match(r"the network: [A-Z][\w', .-]+ (19|20)\d\d(, |$)", work) for work in named), named


def model_of(architecture):
    needs_weights = architecture in ("byols", "cnn14", "vgg16", "vggish")
    return {"architecture": architecture, "random_init": needs_weights}


def test_works_are_cited_once_each_with_their_titles():
    recipe = read_recipe({"corpus": {"name": "synthetic"}, "model": {"architecture": "vggish", "random_init": True}})
    named = works(recipe.to_dict(), "ser_vggish")
    assert named == [
        'the network: Hershey et al. 2017, "CNN architectures for large-scale audio classification", arXiv:1609.09430',
        'the network: Gemmeke et al. 2017, "Audio Set: an ontology and human-labeled dataset for audio events"',
    ]
    assert network_words("encoder") == ("", "")
