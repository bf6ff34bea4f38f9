// Sends the samples of the microphone to the page, which keeps them.
"use strict";

class Recorder extends AudioWorkletProcessor {
  process(inputs) {
    const channels = inputs[0];
    if (channels.length > 0) {
      // The browser uses its buffers again, so they are copied.
      this.port.postMessage(channels.map((channel) => channel.slice()));
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
