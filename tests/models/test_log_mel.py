"""Mel spectrograms and cepstra: equal to librosa and torchaudio, blind to padding, whole after loading."""

import librosa
import numpy as np
import pytest
import torch
import torchaudio
from signals import noise, ragged

from ser_hf.models import CRNNConfig, CRNNForAudioClassification
from ser_hf.models.configuration import AcousticConfig
from ser_hf.models.front_end import LogMel, Mfcc, _spans

# Rate, n_fft, win_length, hop_length, n_mels: of the notebooks, and of speech recognition.
SETTINGS = [(22050, 2048, 2048, 512, 128), (16000, 400, 400, 160, 64), (16000, 400, 400, 160, 80)]
CENTER = pytest.mark.parametrize("center", [False, True])
EACH = pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"{s[0]}-{s[1]}-{s[3]}-{s[4]}")


def _config(settings, **more):
    more = {"normalization": "clip_bands"} | more
    names = ("sampling_rate", "n_fft", "win_length", "hop_length", "n_mels")
    return AcousticConfig(**dict(zip(names, settings, strict=True)), **{"f_min": 0.0} | more)


def _voiced(rate):
    """A second of a buzz whose pitch glides, under a little noise: levels from near silence to loud."""
    time = torch.arange(rate) / rate
    buzz = sum(torch.sin(2 * torch.pi * k * (120 * time + 40 * time**2)) / k for k in range(1, 20))
    return (0.2 * time * buzz + 1e-3 * torch.randn(rate))[None]


def _mel(waveform, settings, center, **more):
    """librosa's own mel power, bands x frames; centred as librosa does by default, with zeros."""
    rate, n_fft, win_length, hop_length, n_mels = settings
    return librosa.feature.melspectrogram(
        y=waveform[0].numpy(), sr=rate, n_fft=n_fft, win_length=win_length, hop_length=hop_length, n_mels=n_mels,
        fmin=0.0, center=center, **more,
    )  # fmt: skip


@EACH
@CENTER
def test_log_equals_librosa(settings, center):
    waveform = _voiced(settings[0])
    ours, mask = LogMel(_config(settings, center=center))(waveform, torch.tensor([settings[0]]))
    theirs = _mel(waveform, settings, center)
    assert mask.all()
    np.testing.assert_allclose(ours[0].T.numpy(), np.log(theirs + AcousticConfig().floor), rtol=0, atol=1e-3)


@EACH
@CENTER
@pytest.mark.parametrize("top_db", [80.0, 30.0, None])
def test_decibels_equal_librosa(settings, center, top_db):
    waveform = _voiced(settings[0])
    config = _config(settings, center=center, compression="db", top_db=top_db)
    ours, _ = LogMel(config)(waveform, torch.tensor([settings[0]]))
    theirs = librosa.power_to_db(_mel(waveform, settings, center), top_db=top_db)
    np.testing.assert_allclose(ours[0].T.numpy(), theirs, rtol=0, atol=5e-3)


@EACH
@CENTER
def test_pcen_equals_librosa(settings, center):
    waveform = _voiced(settings[0])
    ours, _ = LogMel(_config(settings, center=center, compression="pcen"))(waveform, torch.tensor([settings[0]]))
    magnitude = _mel(waveform, settings, center, power=1)
    theirs = librosa.pcen(magnitude * 2.0**31, sr=settings[0], hop_length=settings[3])
    np.testing.assert_allclose(ours[0].T.numpy(), theirs, rtol=1e-3, atol=1e-3)
    assert theirs.std() > 0.1


@EACH
@CENTER
def test_mfcc_equals_librosa(settings, center):
    rate, n_fft, win_length, hop_length, n_mels = settings
    waveform = _voiced(rate)
    ours, _ = Mfcc(_config(settings, center=center, compression="db"))(waveform, torch.tensor([rate]))
    theirs = librosa.feature.mfcc(S=librosa.power_to_db(_mel(waveform, settings, center)), n_mfcc=40)
    np.testing.assert_allclose(ours[0].T.numpy(), theirs, rtol=0, atol=2e-2)
    assert np.abs(theirs).max() > 100


@EACH
@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize("window", ["hann", "hamming"])
def test_equals_torchaudio(settings, mel_scale, window):
    rate, n_fft, win_length, hop_length, n_mels = settings
    waveform = _voiced(rate)
    ours, _ = LogMel(_config(settings, center=True, mel_scale=mel_scale, window=window))(
        waveform, torch.tensor([rate])
    )
    theirs = torchaudio.transforms.MelSpectrogram(
        rate, n_fft, win_length, hop_length, n_mels=n_mels, center=True, pad_mode="constant",
        window_fn={"hann": torch.hann_window, "hamming": torch.hamming_window}[window],
        norm="slaney" if mel_scale == "slaney" else None, mel_scale=mel_scale,
    )(waveform)  # fmt: skip
    # Where the bands are narrower than the spectrum's bins, both have bands of nothing but rounding.
    heard = theirs.mT > 1e-7
    assert heard.float().mean() > 0.9
    torch.testing.assert_close(ours[heard], torch.log(theirs.mT + AcousticConfig().floor)[heard], rtol=0, atol=2e-3)


@EACH
def test_mfcc_equals_torchaudio(settings):
    rate, n_fft, win_length, hop_length, n_mels = settings
    waveform = _voiced(rate)
    ours, _ = Mfcc(_config(settings, center=True, mel_scale="htk", compression="db"))(waveform, torch.tensor([rate]))
    theirs = torchaudio.transforms.MFCC(
        rate, 40, melkwargs={
            "n_fft": n_fft, "win_length": win_length, "hop_length": hop_length, "n_mels": n_mels,
            "pad_mode": "constant",
        },
    )(waveform)  # fmt: skip
    torch.testing.assert_close(ours, theirs.mT, rtol=0, atol=2e-2)


@pytest.mark.parametrize("compression", ["log", "db", "pcen"])
@pytest.mark.parametrize("features", [LogMel, Mfcc])
@CENTER
def test_real_frames_do_not_see_the_padding(features, compression, center):
    front_end = features(_config(SETTINGS[1], compression=compression, center=center))
    # The second clip is louder: a peak or a level taken over the batch would show.
    clips = noise(2000, level=0.01), noise(7000, seed=1)
    batched, mask = front_end(*ragged(*clips))
    for clip, padded, real in zip(clips, batched, mask, strict=True):
        alone, own = front_end(clip, torch.tensor([clip.shape[1]]))
        assert own.all()
        assert real.sum() == alone.shape[1]
        torch.testing.assert_close(padded[real], alone[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("center", "expected"), [(False, [1, 1, 1, 2, 97]), (True, [1, 4, 5, 5, 101])])
def test_frame_counts(center, expected):
    front_end = LogMel(_config((16000, 512, 400, 160, 64), center=center))
    counts = front_end.short_time.frame_counts(torch.tensor([1, 512, 671, 672, 16000]))
    assert counts.tolist() == expected


@pytest.mark.parametrize("samples", [1, 160, 511, 512, 513])
@CENTER
def test_shortest_clips_are_padded_to_the_least_frames(samples, center):
    front_end = LogMel(_config((16000, 512, 400, 160, 64), center=center), min_frames=8)
    features, mask = front_end(noise(samples), torch.tensor([samples]))
    assert mask.sum() == 8
    assert features.shape[1] >= 8
    assert features.isfinite().all()


@pytest.mark.parametrize("at_once", [7, 40, 1000])
@pytest.mark.parametrize("compression", ["log", "pcen"])
def test_parts_of_a_batch_are_those_of_the_whole_and_pass_gradients(at_once, compression, monkeypatch):
    """Parts of a clip, one clip at a time, all at once: what the products with all of the filters are."""
    monkeypatch.setattr("ser_hf.models.front_end.FRAMES_AT_ONCE", at_once)
    front_end = LogMel(_config((16000, 512, 400, 160, 80), compression=compression))
    own, other = (torch.cat([noise(5000, seed=seed) for seed in range(3)]).requires_grad_() for _ in range(2))
    ours = front_end._mel(front_end.short_time.cut(own))
    spectrum = torch.fft.rfft(front_end.short_time.cut(other) * front_end.short_time.window)
    power = spectrum.real.square() + spectrum.imag.square()
    theirs = (power.sqrt() if compression == "pcen" else power) @ front_end.filters
    torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=1e-9)
    ours.sum().backward()
    theirs.sum().backward()
    torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_spans_hold_all_that_filters_hear():
    filters = np.zeros((20, 40))
    filters[3, 1] = filters[7, 30] = 1
    assert list(_spans(filters)) == [(slice(3, 8), slice(0, 32)), (slice(0, 1), slice(32, 64))]


@pytest.mark.parametrize("compression", ["log", "db", "pcen"])
def test_silence_is_finite(compression):
    front_end = LogMel(_config(SETTINGS[1], compression=compression))
    features, _ = front_end(torch.zeros(1, 4000), torch.tensor([4000]))
    assert features.isfinite().all()


def test_window_and_filters_are_right_again_after_loading(tmp_path):
    config = {
        "channels": [4],
        "time_pooling": [2],
        "band_pooling": [2],
        "lstm_hidden": 4,
        "features": "mfcc",
        "normalization": "corpus",
    }
    model = CRNNForAudioClassification(CRNNConfig(**config))
    model.save_pretrained(tmp_path)
    loaded = CRNNForAudioClassification.from_pretrained(tmp_path)
    fresh = Mfcc(model.config)
    for name, buffer in fresh.named_buffers():
        assert torch.equal(loaded.front_end.features.get_buffer(name), buffer), name
    assert {name for name, _ in fresh.named_buffers()} == {
        "basis",
        "mel.filters",
        "mel.centres",
        "mel.short_time.window",
    }
    assert fresh.mel.filters.sum(dim=0).min() > 0
    saved = {key for key in model.state_dict() if key.startswith("front_end")}
    assert saved == {"front_end.normalize.mean", "front_end.normalize.deviation"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_windows_and_filters_stay_whole_in_half_precision(dtype, tmp_path):
    config = CRNNConfig(channels=[4], time_pooling=[2], band_pooling=[2], lstm_hidden=4, normalization="fixed")
    model = CRNNForAudioClassification(config).eval()
    model.save_pretrained(tmp_path)
    waveform, lengths = _voiced(16000), torch.tensor([16000])
    exact, _ = model.front_end(waveform, lengths)
    for rounded in (CRNNForAudioClassification.from_pretrained(tmp_path, dtype=dtype), model.to(dtype)):
        assert rounded.classifier.weight.dtype == dtype
        assert torch.equal(rounded.front_end(waveform, lengths)[0], exact)
        assert rounded(waveform).logits.isfinite().all()


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
def test_band_centres_are_where_the_filters_peak(mel_scale):
    front_end = LogMel(_config((16000, 2048, 2048, 512, 64), mel_scale=mel_scale))
    peaks = front_end.filters.argmax(dim=0) * 16000 / 2048
    assert (front_end.centres - peaks).abs().max() < 16000 / 2048


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"win_length": 600}, "win_length 600 does not fit into n_fft 512"),
        ({"win_length": 0}, "win_length 0: expected 1 or more"),
        ({"hop_length": 0}, "hop_length 0: expected 1 or more"),
        ({"n_fft": 401, "center": True}, "n_fft 401: expected 2 or more, and an even number to centre frames"),
        ({"n_fft": 1, "win_length": 1}, "n_fft 1: expected 2 or more"),
        ({"n_mels": 0}, "n_mels 0: expected 1 or more"),
        ({"time_masks": -1}, "time_masks -1: expected 0 or more"),
        ({"frames": 0}, "frames 0: expected 1 or more"),
        ({"f_max": 8001.0}, "f_min 50 and f_max 8001: expected to rise, from 0 Hz or more to 8000 Hz"),
        ({"f_max": 40.0}, "f_min 50 and f_max 40: expected to rise"),
        ({"f_min": 9000.0}, "f_min 9000 and f_max 8000: expected to rise"),
        ({"f_min": -1.0}, "f_min -1 and f_max 8000: expected to rise"),
        ({"sampling_rate": 90}, "f_min 50 and f_max 45: expected to rise"),
        ({"top_db": -3.0}, "top_db -3.0: expected more than zero"),
        ({"features": "mfcc", "n_mfcc": 65}, "n_mfcc 65 is more than n_mels 64"),
        ({"features": "mfcc"}, "normalization clip would let the first coefficient drown the others of mfcc"),
        ({"features": "mfcc", "normalization": "fixed"}, "normalization fixed knows typical log_mels with"),
        ({"compression": "db", "normalization": "fixed"}, "normalization fixed knows typical log_mels with"),
        ({"deltas": 1, "normalization": "fixed"}, "normalization fixed knows typical log_mels with"),
        ({"normalization": "none"}, "normalization none leaves features off zero, where SpecAugment's stripes would"),
        ({"band_warp": 1.5}, "band_warp 1.5: expected 0 or more and less than 1"),
        ({"band_warp": 0.1, "n_mels": 1}, "band_warp 0.1: .*two bands or more"),
        ({"time_stretch": 1.0}, "time_stretch 1.0 lies outside 0 to 1"),
        ({"mix_style": -0.1}, "mix_style -0.1 lies outside 0 to 1"),
        ({"compression": "cube"}, "compression 'cube' is none of log, db, pcen"),
        ({"deltas": 3}, "deltas 3 is none of 0, 1, 2"),
    ],
)
def test_mistakes_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        AcousticConfig(**settings)
