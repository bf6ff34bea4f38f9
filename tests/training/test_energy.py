"""Energy by codecarbon, replaced here by a module of the same name."""

import sys
import types

import pytest
from support.reports import typed, undescribed, whole_report

from ser_hf.experiment.outputs import total_energy
from ser_hf.report import views
from ser_hf.report.report import Energy
from ser_hf.training.callbacks import measured_energy


class Tracker:
    """The interface of codecarbon 3.3."""

    country, settings, steps = None, None, []

    def __init__(self, **settings):
        type(self).settings = settings

    def start(self):
        self.steps.append("start")

    def stop(self):
        self.steps.append("stop")
        self.final_emissions_data = types.SimpleNamespace(
            energy_consumed=0.003,
            cpu_energy=0.001,
            gpu_energy=0.0015,
            ram_energy=0.0005,
            duration=60.0,
            codecarbon_version="3.3.2",
            country_iso_code=self.country,
            emissions=0.002,
        )


@pytest.fixture
def codecarbon(monkeypatch):
    """A function that installs a tracker under the name of codecarbon's."""

    def install(tracker):
        monkeypatch.setitem(sys.modules, "codecarbon", types.SimpleNamespace(OfflineEmissionsTracker=tracker))
        Tracker.steps.clear()

    return install


def measured(**settings):
    with measured_energy(**settings) as found:
        assert found == {}, "nothing is known before the end"
        Tracker.steps.append("train")
    return found


def test_energy_is_measured_during_training_and_not_sent(codecarbon):
    codecarbon(Tracker)
    assert measured() == {
        "energy": {
            **{"kwh": 0.003, "processor_kwh": 0.001, "accelerator_kwh": 0.0015, "memory_kwh": 0.0005},
            **{"seconds": 60.0, "measured_by": "codecarbon 3.3.2", "country": None, "emissions_kg": None},
        }
    }
    assert Tracker.steps == ["start", "train", "stop"]
    sent = ("output_methods", "emissions_endpoint", "electricitymaps_api_token")
    assert not any(Tracker.settings[name] for name in sent)


def test_emissions_need_a_named_country(codecarbon, monkeypatch):
    codecarbon(Tracker)
    monkeypatch.setattr(Tracker, "country", "DEU")
    energy = measured()["energy"]
    assert (energy["country"], energy["emissions_kg"]) == ("DEU", 0.002)
    assert undescribed(whole_report(energy=energy)) == []
    text = "3 Wh in training, estimated by codecarbon 3.3.2; 2 g of CO2 equivalents on the grid of DEU"
    assert views.cost(typed(whole_report(energy=energy)))["Energy"] == text
    assert "Energy" not in views.cost(typed(whole_report()))
    both = total_energy([Energy(**energy), Energy(**energy | {"kwh": 1.0, "emissions_kg": None})])
    assert (both.kwh, both.seconds, both.emissions_kg) == (1.003, 120.0, None)
    assert views.energy(both) == "1 kWh in training, estimated by codecarbon 3.3.2"


def test_without_codecarbon_nothing_is_logged(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    assert measured() == {}
    assert not caplog.records


def test_a_tracker_that_fails_loses_no_training(codecarbon, caplog):
    def broken(**settings):
        raise TypeError("unexpected keyword")

    codecarbon(broken)
    assert measured() == {}
    assert "energy is not measured: codecarbon failed: unexpected keyword" in caplog.text
