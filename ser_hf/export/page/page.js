// Predicts recordings with the model of this folder, on this device.
//
// facts.json describes the model. audio.js decodes recordings. onnxruntime-web runs the model in a
// worker, so that the page stays responsive.
"use strict";

const BIG_MODEL = 100e6; // bytes; a bigger model is loaded when the user wants it
const SHORTEST = 0.1; // seconds of the shortest recording
const LONGEST = 1800; // seconds of the longest one, so that the memory of a phone suffices
// A model without a window of its own predicts longer recordings in windows of so many seconds.
const WHOLE = 30;
const QUIET = 1e-3; // a peak below it (-60 dBFS) is silence
const MICROPHONE = "microphone";
const UNKNOWN = "unknown";

/** A problem with a recording or with the page, in words for the user. */
class PageError extends Error {}

const page = {};
for (const id of ["state", "problem", "load", "drop", "files", "record", "clock", "none", "save"]) {
  page[id] = document.getElementById(id);
}
page.results = document.getElementById("results");

let facts = null;
let session = null;
let microphone = null;
// Predictions run one after another.
let queue = Promise.resolve();
const rows = []; // of the table to save

// Loading

async function start() {
  if (location.protocol === "file:") {
    throw new PageError(
      "Browsers run this page from a server only. In its folder run: python3 -m http.server, " +
        "and open http://localhost:8000"
    );
  }
  facts = await (await fetched("facts.json")).json();
  if (facts.bytes <= BIG_MODEL) return load();
  page.load.hidden = false;
  page.load.addEventListener("click", () => {
    page.load.hidden = true;
    shielded(load);
  });
}

async function load() {
  say("Loading the runtime.");
  await loadRuntime();
  const model = await download(facts.model, facts.bytes);
  say("Preparing the model.");
  session = await ort.InferenceSession.create(model, {
    executionProviders: ["wasm"],
    logSeverityLevel: 3, // errors
  });
  page.files.disabled = false;
  page.record.disabled = false;
  say("Ready: choose recordings, or record.");
}

/** Load onnxruntime-web. The browser refuses a file of it that is not the published one. */
async function loadRuntime() {
  const { base, script, module, binary } = facts.runtime;
  try {
    await new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = base + script.name;
      element.integrity = script.integrity;
      element.crossOrigin = "anonymous";
      element.addEventListener("load", resolve);
      element.addEventListener("error", reject);
      document.head.append(element);
    });
    const files = await Promise.all(
      [module, binary].map(({ name, integrity }) => fetched(base + name, { integrity }))
    );
    const code = new Blob([await files[0].arrayBuffer()], { type: "text/javascript" });
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(code) };
    ort.env.wasm.wasmBinary = await files[1].arrayBuffer();
  } catch {
    const from = base.startsWith("http") ? `from ${new URL(base).host}` : "from this page's server";
    throw new PageError(`The runtime could not be loaded ${from}. Reload the page to try again.`);
  }
  ort.env.wasm.proxy = true;
  ort.env.logLevel = "error";
}

async function fetched(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new PageError(`${address} could not be loaded. Reload the page to try again.`);
  }
  if (!response.ok) {
    throw new PageError(`${address} could not be loaded: the server answers ${response.status}.`);
  }
  return response;
}

/** Download a file of so many bytes, and say how much has arrived. */
async function download(address, size) {
  const response = await fetched(address);
  const reader = response.body.getReader();
  const bytes = new Uint8Array(size);
  let received = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (received + value.length > size) break;
    bytes.set(value, received);
    received += value.length;
    say(`Loading the model: ${megabytes(received)} of ${megabytes(size)}.`);
  }
  if (received !== size) {
    throw new PageError(`${address} is not the file of this page. Copy the whole folder again.`);
  }
  return bytes;
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

// Messages

function say(text) {
  page.state.textContent = text;
}

function complain(text) {
  page.problem.textContent = text;
  page.problem.hidden = text === "";
}

/** Run a function, and show its problem, if there is one. */
async function shielded(run) {
  try {
    await run();
  } catch (error) {
    const text = error instanceof PageError ? error.message : `The page failed: ${error.message}`;
    complain(text);
    say("");
  }
}

// Predictions

/** Predict recordings; `of` is a list of {name, bytes} or {name, samples, rate}. */
function enqueue(of) {
  complain("");
  queue = queue.then(async () => {
    const problems = [];
    for (const recording of of) {
      say(`Predicting ${recording.name}.`);
      try {
        show(recording, await predict(recording));
      } catch (error) {
        problems.push(error instanceof PageError ? error.message : `${recording.name}: ${error}`);
      }
    }
    complain(problems.join(" "));
    const done = of.length - problems.length;
    say(done === 1 ? "1 recording predicted." : `${done} recordings predicted.`);
  });
  return queue;
}

async function predict(recording) {
  const samples = await samplesOf(recording);
  const windows = windowsOf(samples.length);
  const outputs = [];
  for (const [number, [start, length]] of windows.entries()) {
    if (windows.length > 1) {
      say(`Predicting ${recording.name}: window ${number + 1} of ${windows.length}.`);
    }
    outputs.push(await run(samples.subarray(start, start + length)));
  }
  const seconds = samples.length / facts.sampling_rate;
  const shares = windows.map(([, length]) => length / samples.length);
  return {
    seconds,
    windows: windows.length,
    scores: mean(outputs.map((output) => output.scores), shares),
    ratings: facts.dimensions && mean(outputs.map((output) => output.ratings), shares),
  };
}

async function samplesOf(recording) {
  const name = recording.name;
  let samples;
  if (recording.samples) {
    samples = await resample(recording.samples, recording.rate, facts.sampling_rate);
  } else {
    try {
      samples = await decodeAudio(await recording.bytes.arrayBuffer(), facts.sampling_rate);
    } catch {
      throw new PageError(
        `${name} cannot be decoded: this browser does not know its format, or it is damaged. ` +
          "Use WAV, FLAC or MP3."
      );
    }
  }
  const seconds = samples.length / facts.sampling_rate;
  if (seconds < SHORTEST) throw new PageError(`${name} is shorter than ${SHORTEST} s.`);
  if (seconds > LONGEST) {
    throw new PageError(`${name} is longer than ${LONGEST / 60} minutes; cut it.`);
  }
  if (samples.every((sample) => Math.abs(sample) < QUIET)) {
    throw new PageError(`${name} is silent.`);
  }
  return samples;
}

/** The fewest windows that are not too long, as [start, length]; lengths differ by one sample. */
function windowsOf(samples) {
  const longest = facts.window || WHOLE * facts.sampling_rate;
  const count = Math.max(1, Math.ceil(samples / longest));
  const windows = [];
  for (let i = 0; i < count; i++) {
    const start = Math.floor((i * samples) / count);
    windows.push([start, Math.floor(((i + 1) * samples) / count) - start]);
  }
  return windows;
}

/** The scores of one window: probabilities, or for dimensions values from 0 to 1. */
async function run(samples) {
  const shape = [1, samples.length];
  const outputs = await session.run({
    input_values: new ort.Tensor("float32", samples.slice(), shape),
    attention_mask: new ort.Tensor("int64", new BigInt64Array(samples.length).fill(1n), shape),
  });
  const scores = Array.from((outputs.probabilities || outputs.logits).data);
  if (!scores.every(Number.isFinite)) {
    throw new PageError("The predictions of the model are not numbers.");
  }
  const ratings = facts.dimensions && Array.from(outputs.values.data);
  return { scores, ratings };
}

/** The mean of arrays of equal length, with these shares. */
function mean(arrays, shares) {
  return arrays[0].map((_, i) => arrays.reduce((sum, array, n) => sum + shares[n] * array[i], 0));
}

/** The predicted label, or labels; none for dimensions. */
function decided(scores) {
  if (facts.task === "dimensions") return "";
  if (facts.task === "multi_label") {
    const labels = facts.labels.filter((_, i) => scores[i] > facts.label_threshold);
    return labels.length > 0 ? labels.join(", ") : "none";
  }
  const highest = Math.max(...scores);
  if (facts.unknown_threshold && highest < facts.unknown_threshold) return UNKNOWN;
  return facts.labels[scores.indexOf(highest)];
}

/** A value from 0 to 1 on the scale of the ratings, whose ends it does not pass. */
function onScale(value, { low, high, bounded }) {
  const share = bounded ? Math.min(Math.max(value, 0), 1) : value;
  return low + share * (high - low);
}

// Results

function show(recording, prediction) {
  const label = decided(prediction.scores);
  const article = document.createElement("article");
  article.append(element("h3", recording.name), summary(label, prediction));
  article.append(bars(prediction.scores));
  if (facts.dimensions) article.append(ratingBars(prediction.ratings));
  if (recording.bytes) article.append(player(recording));
  page.results.prepend(article);
  page.none.hidden = true;
  page.save.hidden = false;
  rows.push([recording.name, label, ...values(prediction)]);
}

function element(name, text, className) {
  const created = document.createElement(name);
  created.textContent = text;
  if (className) created.className = className;
  return created;
}

function summary(label, { seconds, windows, scores }) {
  const paragraph = document.createElement("p");
  let text = `all of ${seconds.toFixed(1)} s`;
  if (windows > 1) text = `${seconds.toFixed(0)} s, mean of ${windows} windows`;
  if (label === UNKNOWN) {
    const highest = facts.labels[scores.indexOf(Math.max(...scores))];
    const threshold = facts.unknown_threshold.toFixed(2);
    text = `no probability reaches ${threshold}, highest: ${highest}; ${text}`;
  }
  if (label) paragraph.append(element("strong", label), ` (${text})`);
  else paragraph.append(text);
  return paragraph;
}

/** Bars of probabilities, the highest first, or of dimensions in their order. */
function bars(scores) {
  const list = document.createElement("ol");
  const order = facts.labels.map((_, i) => i);
  if (facts.task !== "dimensions") order.sort((a, b) => scores[b] - scores[a]);
  for (const i of order) {
    list.append(bar(facts.labels[i], scores[i], scoreText(scores[i], i), facts.colors[i]));
  }
  return list;
}

function scoreText(score, i) {
  if (facts.task !== "dimensions") return score.toFixed(3);
  return onScale(score, facts.ranges[i]).toFixed(2);
}

/** Bars of the dimensions that a model predicts beside its labels. */
function ratingBars(ratings) {
  const list = document.createElement("ol");
  for (const [i, { name, low, high }] of facts.dimensions.entries()) {
    list.append(bar(name, (ratings[i] - low) / (high - low), ratings[i].toFixed(2), facts.neutral));
  }
  return list;
}

function bar(name, share, value, color) {
  const row = document.createElement("li");
  const track = element("span", "", "bar");
  const fill = document.createElement("i");
  fill.style.width = `${(100 * Math.min(Math.max(share, 0), 1)).toFixed(1)}%`;
  fill.style.background = color;
  track.append(fill);
  row.append(element("span", name, "label"), track, element("span", value, "value"));
  row.dataset.value = value;
  return row;
}

function player(recording) {
  const audio = document.createElement("audio");
  audio.controls = true;
  audio.src = URL.createObjectURL(recording.bytes);
  audio.setAttribute("aria-label", recording.name);
  return audio;
}

/** The values of a row of the table, with all digits of float32. */
function values({ scores, ratings }) {
  const ofLabels = scores.map((score, i) =>
    facts.task === "dimensions" ? onScale(score, facts.ranges[i]) : score
  );
  return [...ofLabels, ...(ratings || [])].map((value) => value.toPrecision(7));
}

function saveTable() {
  const names = (facts.dimensions || []).map(({ name }) => name);
  const table = [["path", "predicted", ...facts.labels, ...names], ...rows];
  const lines = table.map((cells) => cells.map(cell).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
  link.download = "predictions.csv";
  link.click();
  URL.revokeObjectURL(link.href);
}

function cell(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// Microphone

async function toggleRecording() {
  if (microphone) return stopRecording();
  complain("");
  page.record.disabled = true;
  try {
    microphone = await openMicrophone();
  } catch (error) {
    throw new PageError(microphoneProblem(error));
  } finally {
    page.record.disabled = false;
  }
  page.record.textContent = "Stop";
  page.record.setAttribute("aria-pressed", "true");
  say("Recording.");
}

/** Start a recording whose samples are those of the microphone: without compression and gain. */
async function openMicrophone() {
  if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  await context.audioWorklet.addModule("recorder.js");
  const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  const blocks = [];
  let count = 0;
  node.port.onmessage = ({ data }) => {
    blocks.push(mono(data));
    count += data[0].length;
    const seconds = count / context.sampleRate;
    page.clock.textContent = `${seconds.toFixed(1)} s`;
    if (seconds > LONGEST && microphone) stopRecording();
  };
  context.createMediaStreamSource(stream).connect(node);
  return { stream, context, blocks };
}

function stopRecording() {
  const { stream, context, blocks } = microphone;
  microphone = null;
  stream.getTracks().forEach((track) => track.stop());
  context.close();
  page.record.textContent = "Record";
  page.record.removeAttribute("aria-pressed");
  page.clock.textContent = "";
  const samples = new Float32Array(blocks.reduce((sum, block) => sum + block.length, 0));
  let end = 0;
  for (const block of blocks) {
    samples.set(block, end);
    end += block.length;
  }
  return enqueue([{ name: MICROPHONE, samples, rate: context.sampleRate }]);
}

function microphoneProblem(error) {
  if (error.name === "NotAllowedError") {
    return "The microphone was refused. Allow it for this page in your browser, or choose a file.";
  }
  if (error.name === "NotFoundError") {
    return "There is no microphone. Connect one, or choose a file.";
  }
  if (error.name === "SecurityError") {
    return "Browsers give the microphone to pages at https:// or localhost only. Choose a file.";
  }
  return `The microphone cannot be used (${error.name}). Choose a file.`;
}

// Events

function take(files) {
  if (session && files.length > 0) {
    enqueue(Array.from(files, (file) => ({ name: file.name, bytes: file })));
  }
}

page.files.addEventListener("change", () => {
  take(page.files.files);
  page.files.value = ""; // so that the same file may be chosen again
});
page.record.addEventListener("click", () => shielded(toggleRecording));
page.save.addEventListener("click", saveTable);
page.drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  page.drop.classList.add("over");
});
page.drop.addEventListener("dragleave", () => page.drop.classList.remove("over"));
page.drop.addEventListener("drop", (event) => {
  event.preventDefault();
  page.drop.classList.remove("over");
  take(event.dataTransfer.files);
});
shielded(start);
