"""What a training takes from the socket, by codecarbon's offline tracker where that package is installed."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def measured_energy(here: bool = True) -> Iterator[dict[str, Any]]:
    """Gives a mapping that holds `energy` once the block has ended, as a report takes it: kilowatt hours of the whole
    machine, also by processor, accelerators and memory, and the seconds they were counted over. It stays empty where
    codecarbon is not installed, or fails.

    Nothing is sent or looked up: no place, no price, no carbon intensity of today. Emissions are told only where the
    user names a country (CODECARBON_COUNTRY_ISO_CODE, or ~/.codecarbon.config), by the mean of its grid. Processors
    that tell nobody their power are estimated from their load.

    Args:
        here: whether this process measures; one is enough for a machine, and of several machines one is measured.
    """
    found: dict[str, Any] = {}
    tracker = _tracker() if here else None
    if tracker is None:
        yield found
        return
    try:
        yield found
    finally:
        tracker.stop()
        found |= _told(tracker)


def _tracker() -> Any:
    """A tracker that runs; None where codecarbon cannot be had."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of its own dependencies
            from codecarbon import OfflineEmissionsTracker
    except ImportError:
        return None
    # It speaks of itself before it has read its own level.
    logging.getLogger("codecarbon").setLevel(logging.ERROR)
    try:
        # Whatever a configuration file of the user's asks for: no file, no service, no network.
        tracker = OfflineEmissionsTracker(
            output_methods=[],
            emissions_endpoint=False,
            electricitymaps_api_token="",
            tracking_mode="machine",
            allow_multiple_runs=True,
            log_level="error",
        )
        tracker.start()
    except Exception as error:  # an older or newer one, a machine that it does not know: no reason to lose a training
        logger.warning("energy is not measured: codecarbon fails: %s", error)
        return None
    return tracker


def _told(tracker: Any) -> dict[str, Any]:
    data = getattr(tracker, "final_emissions_data", None)
    if data is None or not data.energy_consumed:
        logger.warning("energy was not measured: codecarbon tells nothing")
        return {}
    energy = {
        "kwh": data.energy_consumed,
        "processor_kwh": data.cpu_energy,
        "accelerator_kwh": data.gpu_energy,
        "memory_kwh": data.ram_energy,
        "seconds": data.duration,
        "measured_by": f"codecarbon {data.codecarbon_version}",
        "country": data.country_iso_code or None,
        "emissions_kg": data.emissions if data.country_iso_code else None,
    }
    return {"energy": energy}
