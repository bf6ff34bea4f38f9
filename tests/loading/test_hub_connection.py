"""One request decides whether the Hub can be reached; no test has a network."""

import httpx2
import huggingface_hub
import pytest

from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.saved_runs import find_saved_run
from ser_hf.hub.verify import verify
from ser_hf.inference.load import load_classifier
from ser_hf.loading import hub_connection
from ser_hf.loading.files import find_file, model_commit
from ser_hf.loading.hub_connection import connection_problem, unreachable_message
from ser_hf.utils.errors import UserError

COMMIT = 40 * "a"


class Network:
    """Answers the requests of the Hub's client with an error or a status code."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return httpx2.Response(self.answer)

    def client(self):
        return httpx2.Client(transport=httpx2.MockTransport(self))


@pytest.fixture
def network(monkeypatch, tmp_path):
    """Makes the network of a test, with an empty cache of downloads."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "downloads"))
    monkeypatch.setattr(hub_connection, "_last_request", None)

    def make(answer):
        simulated = Network(answer)
        huggingface_hub.set_client_factory(simulated.client)
        return simulated

    yield make
    huggingface_hub.set_client_factory(huggingface_hub.utils._http.default_client_factory)


@pytest.fixture
def offline(network):
    return network(httpx2.ConnectError("Name or service not known"))


@pytest.fixture
def downloaded(tmp_path):
    """The name of a model whose configuration is among the downloads."""
    folder = tmp_path / "downloads" / "models--user--model"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    (folder / "snapshots" / COMMIT / "config.json").write_text("{}")
    return "user/model"


@pytest.mark.parametrize("answer", [200, 301, 401, 404, 429, 503])
def test_any_response_is_a_connection(network, answer):
    network(answer)
    assert connection_problem() is None
    assert unreachable_message() is None


@pytest.mark.parametrize(
    "error",
    [
        httpx2.ConnectError("[Errno -2] Name or service not known"),
        httpx2.ProxyError("403 Forbidden"),
        httpx2.ConnectTimeout("timed out"),
    ],
)
def test_no_server_is_no_connection(network, error):
    network(error)
    assert connection_problem()
    assert "cannot be reached: " in unreachable_message()


def test_a_slow_server_is_left_to_the_client_of_the_hub(network):
    network(httpx2.ReadTimeout("timed out"))
    assert connection_problem() is None


def test_the_limit_of_time_is_that_of_the_client(network, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_ETAG_TIMEOUT", 77)
    simulated = network(200)
    connection_problem()
    assert simulated.requests[0].extensions["timeout"]["connect"] == 77


def test_one_request_is_enough(offline):
    for _ in range(3):
        assert connection_problem() == "Name or service not known"
    assert len(offline.requests) == 1


def test_a_failure_is_forgotten(offline, network, monkeypatch):
    assert connection_problem() is not None
    simulated = network(200)
    monkeypatch.setattr(hub_connection, "_VALID_SECONDS", 0.0)
    assert connection_problem() is None
    monkeypatch.setattr(hub_connection, "_VALID_SECONDS", 60.0)
    assert connection_problem() is None
    assert len(simulated.requests) == 1


def test_the_offline_mode_sends_nothing(network, monkeypatch):
    simulated = network(200)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert connection_problem() == "HF_HUB_OFFLINE is set"
    assert not simulated.requests


def test_a_missing_model_is_one_request_and_one_error(offline):
    with pytest.raises(UserError) as error:
        load_classifier("nobody/nothing")
    message = str(error.value)
    assert message.startswith("nobody/nothing: no such folder here")
    assert "cannot be reached: Name or service not known" in message
    assert "name the folder of a model" in message
    assert len(offline.requests) == 1


def test_a_missing_checkpoint_of_a_recipe_is_one_request(offline):
    with pytest.raises(UserError, match=r"^model\.checkpoint: nobody/x: .*cannot be reached"):
        read_recipe({"corpus": {"name": "synthetic"}, "model": {"checkpoint": "nobody/x"}})
    assert len(offline.requests) == 1


def test_a_missing_published_run_is_one_request(offline):
    with pytest.raises(UserError, match="^nobody/x: .*cannot be reached"):
        find_saved_run("nobody/x")
    with pytest.raises(UserError, match="^nobody/x: .*cannot be reached"):
        verify("nobody/x")
    assert len(offline.requests) == 1


def test_a_wrong_name_keeps_its_error(offline):
    with pytest.raises(UserError, match="^no/such/name: .*on the Hub: .*repo_name"):
        model_commit("no/such/name", "no/such/name", None)


def test_downloaded_files_are_found_without_a_connection(offline, downloaded, caplog):
    assert model_commit(downloaded, downloaded, None) == COMMIT
    assert "the downloaded version is used" in caplog.text
    assert find_file(downloaded, "config.json", None).endswith(f"{COMMIT}/config.json")
    assert find_file(downloaded, "recipe.yaml", None) is None
    assert len(offline.requests) == 1


def test_a_downloaded_commit_needs_no_request(offline, downloaded):
    assert model_commit(downloaded, downloaded, COMMIT) == COMMIT
    assert not offline.requests


def test_a_folder_needs_no_request(offline, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert model_commit(str(tmp_path), "here", None) is None
    assert not offline.requests
