// Audio for a model: decoded by the browser at the rate of the file, mixed to mono, and resampled
// as ser_hf does it, so that the predictions are those of `ser-hf predict`.
"use strict";

// The rate at which a file is decoded whose own rate is not found below.
const USUAL_RATE = 48000;
// Channels cancel each other if the power of their mean is below this share (-20 dB) of the power
// that the mean of independent channels has. Then the loudest channel is used.
const CANCELLED_SHARE = 0.01;
// The filter of soxr's high quality, which ser_hf uses: the end of its pass band as a share of the
// lower Nyquist frequency, and the attenuation of its stop band in dB.
const PASS_BAND = 0.9136;
const ATTENUATION = 126;
// Samples that are resampled before the page may draw again.
const SAMPLES_AT_ONCE = 1 << 17;

/**
 * Decode a file, mix it to mono, and resample it.
 *
 * @param {ArrayBuffer} bytes the content of the file.
 * @param {number} rate the sampling rate of the result, in Hz.
 * @returns {Promise<Float32Array>} the samples.
 * @throws {DOMException} if the browser cannot decode the file.
 */
async function decodeAudio(bytes, rate) {
  // A context of the file's rate leaves its samples as they are: browsers resample in other ways.
  const context = contextOf(fileRate(new DataView(bytes)) || USUAL_RATE);
  const decoded = await context.decodeAudioData(bytes);
  const channels = [];
  for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
    channels.push(decoded.getChannelData(channel));
  }
  return resample(mono(channels), decoded.sampleRate, rate);
}

/** A context that decodes at this rate, or at the usual one if the browser refuses the rate. */
function contextOf(rate) {
  try {
    return new OfflineAudioContext(1, 1, rate);
  } catch {
    return new OfflineAudioContext(1, 1, USUAL_RATE);
  }
}

/** The sampling rate in the header of a WAV, FLAC, Ogg or MP3 file in Hz; 0 if it is not found. */
function fileRate(view) {
  const start = textAt(view, 0, 4);
  if (start === "RIFF" || start === "RF64") return wavRate(view);
  if (start === "fLaC") return view.byteLength > 21 ? view.getUint32(18) >>> 12 : 0;
  if (start === "OggS") return oggRate(view);
  return mp3Rate(view);
}

function textAt(view, offset, length) {
  let text = "";
  for (let i = offset; i < Math.min(offset + length, view.byteLength); i++) {
    text += String.fromCharCode(view.getUint8(i));
  }
  return text;
}

function wavRate(view) {
  let offset = 12;
  while (offset + 16 <= view.byteLength) {
    if (textAt(view, offset, 4) === "fmt ") return view.getUint32(offset + 12, true);
    const size = view.getUint32(offset + 4, true);
    offset += 8 + size + (size % 2);
  }
  return 0;
}

function oggRate(view) {
  const page = textAt(view, 0, 128);
  if (page.includes("OpusHead")) return 48000; // Opus is always decoded at this rate
  const vorbis = page.indexOf("\x01vorbis");
  return vorbis < 0 ? 0 : view.getUint32(vorbis + 12, true);
}

function mp3Rate(view) {
  let offset = 0;
  if (textAt(view, 0, 3) === "ID3" && view.byteLength > 10) {
    // The size of the tag has seven bits in each byte.
    for (let i = 6; i < 10; i++) offset = (offset << 7) | (view.getUint8(i) & 0x7f);
    offset += 10;
  }
  if (offset + 4 > view.byteLength) return 0;
  const header = view.getUint32(offset);
  const isFrame = header >>> 21 === 0x7ff;
  const rateOfMpeg1 = [44100, 48000, 32000][(header >>> 10) & 3];
  const shift = { 3: 0, 2: 1, 0: 2 }[(header >>> 19) & 3]; // MPEG 1, 2 and 2.5
  return isFrame && rateOfMpeg1 && shift !== undefined ? rateOfMpeg1 >> shift : 0;
}

/** The mean of the channels, or the loudest one if they cancel each other. */
function mono(channels) {
  if (channels.length === 1) return channels[0];
  const mean = new Float32Array(channels[0].length);
  for (const channel of channels) {
    for (let i = 0; i < mean.length; i++) mean[i] += channel[i] / channels.length;
  }
  const powers = channels.map(power);
  const total = powers.reduce((sum, value) => sum + value, 0);
  if (power(mean) >= (CANCELLED_SHARE * total) / channels.length ** 2) return mean;
  return channels[powers.indexOf(Math.max(...powers))];
}

function power(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return sum;
}

/**
 * Resample by a windowed sinc with a Kaiser window, whose pass band and attenuation are soxr's.
 *
 * @param {Float32Array} samples
 * @param {number} from the rate of the samples, in Hz.
 * @param {number} to the rate of the result, in Hz.
 * @returns {Promise<Float32Array>}
 */
async function resample(samples, from, to) {
  if (from === to) return samples;
  const divisor = greatestCommonDivisor(from, to);
  const up = to / divisor;
  const down = from / divisor;
  const filter = sincFilter(Math.min(from, to) / from, up);
  const result = new Float32Array(Math.round((samples.length * to) / from));
  for (let begin = 0; begin < result.length; begin += SAMPLES_AT_ONCE) {
    const end = Math.min(begin + SAMPLES_AT_ONCE, result.length);
    for (let i = begin; i < end; i++) {
      const phase = (i * down) % up;
      const center = (i * down - phase) / up;
      result[i] = weightedSum(samples, center, filter.weights(phase), filter.reach);
    }
    if (end < result.length) await new Promise((resume) => setTimeout(resume));
  }
  return result;
}

function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** The sum of the samples around `center`, at most `reach` away, times their weights. */
function weightedSum(samples, center, weights, reach) {
  const first = Math.max(center - reach, 0);
  const last = Math.min(center + reach, samples.length - 1);
  const offset = reach - center;
  let sum = 0;
  for (let k = first; k <= last; k++) sum += samples[k] * weights[k + offset];
  return sum;
}

/**
 * A low-pass filter.
 *
 * @param {number} stop the start of the stop band, as a share of the input's Nyquist frequency.
 * @param {number} phases the number of positions between two samples.
 * @returns its reach in samples, and a function that computes the weights of a phase.
 */
function sincFilter(stop, phases) {
  const cutoff = (stop * (1 + PASS_BAND)) / 2;
  const width = (stop * (1 - PASS_BAND)) / 2;
  const half = (ATTENUATION - 7.95) / (14.36 * width) / 2;
  const beta = 0.1102 * (ATTENUATION - 8.7);
  const reach = Math.floor(half);
  const scale = cutoff / besselI0(beta);
  const computed = new Map();

  function weights(phase) {
    if (!computed.has(phase)) {
      const values = new Float64Array(2 * reach + 1);
      for (let k = -reach; k <= reach; k++) {
        const time = k - phase / phases;
        const inside = Math.max(1 - (time / half) ** 2, 0);
        values[k + reach] = scale * sinc(cutoff * time) * besselI0(beta * Math.sqrt(inside));
      }
      computed.set(phase, values);
    }
    return computed.get(phase);
  }

  return { reach, weights };
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** The modified Bessel function of the first kind and order zero, by its series. */
function besselI0(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
