// Speech that is played while it is still being made, and kept to be played again.

export const RATE = 24000; // of the pcm that the server sends, samples a second
const PEAK = 480; // samples behind one value of the waveform: 20 ms
const LEAD = 0.03; // seconds between the first samples and their start, for what comes late

const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Speech {
  constructor(request, on) { // on.start, on.samples, on.draw and on.word are called with the speech
    this.request = request;
    this.on = on;
    this.abort = new AbortController();
    this.chunks = []; // Int16Array
    this.samples = 0;
    this.peaks = [];
    this.rest = new Uint8Array(0); // half a sample that a chunk ended with
    this.words = []; // with their starts in seconds, and their spans in the text
    this.whole = false; // whether all of it is here
    this.open();
  }

  open() {
    this.audio = new AudioContext({ sampleRate: RATE });
    this.start = null; // when the first sample sounds, in seconds of the audio clock
    this.end = 0; // when the last one known does
    this.closed = false;
    this.timer = setInterval(() => this.on.word(this), 20);
  }

  async make(answer) { // plays a response of server-sent events
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let received = "";
    for (let got = await reader.read(); !got.done; got = await reader.read()) {
      const events = (received + got.value).split("\n\n");
      received = events.pop();
      for (const event of events) this.receive(JSON.parse(event.slice("data: ".length)));
    }
    this.whole = true;
  }

  receive(event) {
    if (event.type === "speech.audio.delta") this.take(Uint8Array.from(atob(event.audio), (c) => c.charCodeAt(0)));
    if (event.type === "speech.words.delta") this.words.push(...event.words);
    if (event.type === "error") throw new Error(event.error.message);
  }

  get word() { // the one that sounds now, or sounded last
    if (this.start === null || this.closed) return undefined;
    const now = this.audio.currentTime - this.start;
    return this.words.findLast((word) => word.start <= now);
  }

  take(bytes) {
    const joined = new Uint8Array(this.rest.length + bytes.length);
    joined.set(this.rest);
    joined.set(bytes, this.rest.length);
    const count = joined.length >> 1;
    this.rest = joined.slice(2 * count);
    if (!count) return;
    const view = new DataView(joined.buffer);
    const chunk = Int16Array.from({ length: count }, (_, i) => view.getInt16(2 * i, true));
    this.chunks.push(chunk);
    this.measure(chunk);
    this.schedule(chunk);
    this.on.samples(this);
    this.on.draw(this);
  }

  measure(chunk) {
    for (const value of chunk) {
      const place = Math.floor(this.samples++ / PEAK);
      this.peaks[place] = Math.max(this.peaks[place] ?? 0, Math.abs(value) / 32768);
    }
  }

  schedule(chunk) {
    const buffer = this.audio.createBuffer(1, chunk.length, RATE);
    buffer.copyToChannel(Float32Array.from(chunk, (value) => value / 32768), 0);
    const source = this.audio.createBufferSource();
    source.buffer = buffer;
    source.connect(this.audio.destination);
    const at = Math.max(this.end, this.audio.currentTime + LEAD); // a gap where the server was too slow
    source.start(at);
    if (this.start === null) {
      this.start = at;
      this.on.start(this, LEAD);
    }
    this.end = at + buffer.duration;
  }

  async replay() { // plays again what is here
    this.open();
    await this.audio.resume();
    for (const chunk of this.chunks) this.schedule(chunk);
    await this.heard();
  }

  get seconds() { return this.samples / RATE; }
  get length() { return this.peaks.length ? (this.peaks.length * PEAK) / RATE : 0; }

  get progress() { // 0 to 1: how much of what is known has been heard
    if (this.start === null) return 0;
    return Math.min(1, Math.max(0, (this.audio.currentTime - this.start) / (this.end - this.start)));
  }

  async heard() { // waits for the last sample to sound
    while (this.audio.state !== "closed" && this.audio.currentTime < this.end) {
      if (!calm.matches) this.on.draw(this);
      await new Promise((go) => setTimeout(go, 40));
    }
    this.on.draw(this);
    this.close();
  }

  stop() {
    this.abort.abort();
    this.close();
  }

  close() {
    clearInterval(this.timer);
    this.closed = true;
    this.on.word(this);
    if (this.audio.state !== "closed") this.audio.close();
  }

  wav() { // the bytes of a file
    const head = new DataView(new ArrayBuffer(44));
    const text = (place, letters) => [...letters].forEach((letter, i) => head.setUint8(place + i, letter.charCodeAt(0)));
    const size = 2 * this.samples;
    text(0, "RIFF"); head.setUint32(4, 36 + size, true); text(8, "WAVEfmt "); head.setUint32(16, 16, true);
    head.setUint16(20, 1, true); head.setUint16(22, 1, true); head.setUint32(24, RATE, true);
    head.setUint32(28, 2 * RATE, true); head.setUint16(32, 2, true); head.setUint16(34, 16, true);
    text(36, "data"); head.setUint32(40, size, true);
    return new Blob([head, ...this.chunks], { type: "audio/wav" });
  }
}

export function draw(canvas, { peaks, progress, length }) {
  const scale = devicePixelRatio;
  const width = (canvas.width = canvas.clientWidth * scale);
  const height = (canvas.height = canvas.clientHeight * scale);
  const style = getComputedStyle(document.documentElement);
  const bars = Math.floor(width / (5 * scale));
  const step = Math.max(1, peaks.length / bars); // values in one bar
  const context = canvas.getContext("2d");
  const shown = Math.min(bars, peaks.length);
  for (let bar = 0; bar < shown; bar++) {
    const values = peaks.slice(Math.floor(bar * step), Math.max(Math.floor((bar + 1) * step), Math.floor(bar * step) + 1));
    const tall = Math.max(3 * scale, Math.sqrt(Math.max(...values)) * height * 0.9);
    context.fillStyle = style.getPropertyValue(bar < progress * shown ? "--accent" : "--wave");
    context.beginPath();
    context.roundRect((bar + 0.2) * 5 * scale, (height - tall) / 2, 3 * scale, tall, 1.5 * scale);
    context.fill();
  }
  const told = length ? `${length.toFixed(1)} s of speech` : "nothing spoken yet";
  canvas.setAttribute("aria-label", `Waveform: ${told}`);
}
