"""The section `augment`: its ranges, and what a wrong value is refused with."""

import pytest

from ser_hf.audio.augmentation import Augmentation, Gain, Mixup, Speed
from ser_hf.utils.errors import UserError
from ser_hf.utils.validation import validated


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"gain": {"probability": 1.5}}, r"gain\.probability:"),
        (
            {"gain": {"probability": 0.5, "decibels": [3.0, -3.0]}},
            r"gain\.decibels: expected the minimum before the maximum",
        ),
        ({"gain": {"probability": 0.5, "decibels": [3.0]}}, r"gain\.decibels:"),
        ({"speed": {"probability": 0.5, "factor": [0.1, 1.0]}}, r"speed\.factor\[0\]:"),
        ({"speed": {"probability": 0.5, "factor": [1.0, 2.5]}}, r"speed\.factor\[1\]:"),
        ({"speed": {"factor": [0.8, 1.0]}}, r"speed\.probability: missing; the other keys"),
        ({"telephone": {"probability": 0.5, "codecs": []}}, r"telephone\.codecs:"),
        ({"telephone": {"probability": 0.5, "codecs": ["mp3"]}}, r"telephone\.codecs\[0\]:"),
        ({"background_noise": {"probability": 0.5}}, r"background_noise\.folder: missing"),
        (
            {"background_noise": {"probability": 0.5, "folder": "a\nb"}},
            r"background_noise\.folder:",
        ),
        ({"music": {"probability": 0.5}}, r"music\.folder: missing"),
        ({"ambience": {"probability": 0.5}}, r"ambience\.folder: missing"),
        ({"babble": {"probability": 0.5, "voices": [0, 3]}}, r"babble\.voices\[0\]:"),
        ({"time_shift": {"probability": 0.5, "seconds": [0, 11]}}, r"time_shift\.seconds\[1\]:"),
        ({"clipping": {"probability": 0.5, "share": [0.2, 0.95]}}, r"clipping\.share\[1\]:"),
        (
            {"band_limit": {"probability": 0.5, "high": [200.0, 5000.0]}},
            r"band_limit\.low: goes up to 300 Hz, but high begins at 200 Hz",
        ),
        ({"mixup": {"probability": 0.5, "alpha": 0.0}}, r"mixup\.alpha:"),
        ({"sped": {}}, r"sped: unknown key; the nearest known key is augment\.speed"),
        ({"gain": {"decibel": [1, 2]}}, r"gain\.decibel: unknown key; the nearest known key is"),
    ],
)
def test_invalid_values_are_refused(section, complaint):
    with pytest.raises(UserError, match=rf"^augment\.{complaint}"):
        validated(Augmentation, section, "augment")


def test_the_default_is_no_step():
    assert Augmentation().active_steps == {}
    assert Augmentation(speed=Speed(probability=0.0)).active_steps == {}


def test_active_steps_are_in_their_order_and_mixup_changes_no_single_waveform():
    augmentation = Augmentation(
        gain=Gain(probability=0.1), speed=Speed(probability=1.0), mixup=Mixup(probability=0.5)
    )
    assert list(augmentation.active_steps) == ["speed", "gain", "mixup"]
    assert list(augmentation.waveform_steps) == ["speed", "gain"]


def test_a_section_with_all_defaults_written_out_reads_back_equal():
    augmentation = Augmentation(speed=Speed(probability=0.5, factor=[0.9, 1]))
    assert validated(Augmentation, augmentation.model_dump(), "augment") == augmentation


def test_each_key_has_a_description():
    for name, field in Augmentation.model_fields.items():
        assert field.description, name
        for key, step_field in field.annotation.model_fields.items():
            assert step_field.description, f"{name}.{key}"
