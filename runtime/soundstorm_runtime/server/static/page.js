// Speaks a text and plays it while it is still being made.

const RATE = 24000; // of the pcm that the server sends, samples a second
const PEAK = 480; // samples behind one value of the waveform: 20 ms
const LEAD = 0.03; // seconds between the first samples and their start, for what comes late

const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

let speech = null; // what is being made or played

class Speech {
  constructor() {
    this.abort = new AbortController();
    this.audio = new AudioContext({ sampleRate: RATE });
    this.asked = performance.now();
    this.start = null; // when the first sample sounds, in seconds of the audio clock
    this.end = 0; // when the last one known does
    this.samples = 0;
    this.peaks = [];
    this.rest = new Uint8Array(0); // half a sample that a chunk ended with
  }

  async make(request, token) {
    await this.audio.resume();
    const headers = { "Content-Type": "application/json" };
    if (token) headers.Authorization = `Bearer ${token}`;
    const body = JSON.stringify(request);
    const answer = await fetch("/v1/audio/speech", { method: "POST", headers, body, signal: this.abort.signal });
    if (!answer.ok) throw await problem(answer);
    const reader = answer.body.getReader();
    for (let got = await reader.read(); !got.done; got = await reader.read()) this.play(got.value);
  }

  play(bytes) {
    const joined = new Uint8Array(this.rest.length + bytes.length);
    joined.set(this.rest);
    joined.set(bytes, this.rest.length);
    const count = joined.length >> 1;
    this.rest = joined.slice(2 * count);
    if (!count) return;
    const view = new DataView(joined.buffer);
    const buffer = this.audio.createBuffer(1, count, RATE);
    const wave = buffer.getChannelData(0);
    for (let i = 0; i < count; i++) wave[i] = view.getInt16(2 * i, true) / 32768;
    this.schedule(buffer);
    this.measure(wave);
  }

  schedule(buffer) {
    const source = this.audio.createBufferSource();
    source.buffer = buffer;
    source.connect(this.audio.destination);
    const at = Math.max(this.end, this.audio.currentTime + LEAD); // a gap where the server was too slow
    source.start(at);
    if (this.start === null) {
      this.start = at;
      show("first", `${Math.round(performance.now() - this.asked + 1000 * LEAD)} ms`);
      say("Speaking.");
    }
    this.end = at + buffer.duration;
  }

  measure(wave) {
    for (const value of wave) {
      const place = Math.floor(this.samples++ / PEAK);
      this.peaks[place] = Math.max(this.peaks[place] ?? 0, Math.abs(value));
    }
    show("length", seconds(this.samples / RATE));
    show("made", seconds((performance.now() - this.asked) / 1000));
    draw(this);
  }

  get progress() { // 0 to 1: how much of what is known has been heard
    if (this.start === null) return 0;
    return Math.min(1, Math.max(0, (this.audio.currentTime - this.start) / (this.end - this.start)));
  }

  async heard() { // waits for the last sample to sound
    while (this.audio.state !== "closed" && this.audio.currentTime < this.end) {
      if (!calm.matches) draw(this);
      await new Promise((go) => setTimeout(go, 40));
    }
    draw(this);
  }

  stop() {
    this.abort.abort();
    if (this.audio.state !== "closed") this.audio.close();
  }
}

async function problem(answer) {
  const told = await answer.json().catch(() => null);
  const error = new Error(told?.error?.message ?? `the server answered ${answer.status}`);
  error.status = answer.status;
  return error;
}

async function speak() {
  stop();
  const mine = (speech = new Speech());
  working(true);
  complain(null);
  for (const id of ["first", "made", "length"]) show(id, "–");
  draw(mine);
  say("Waiting for the first audio.");
  const request = {
    input: $("text").value,
    voice: $("voice").value || "default",
    speed: Number($("speed").value),
    response_format: "pcm",
  };
  try {
    await mine.make(request, $("token").value);
    await mine.heard();
    if (speech === mine) say("Done.");
  } catch (error) {
    if (error.name !== "AbortError" && speech === mine) fail(error);
  } finally {
    mine.stop();
    if (speech === mine) {
      speech = null;
      working(false);
    }
  }
}

function stop() {
  if (!speech) return;
  speech.stop();
  speech = null;
  working(false);
  say("Stopped.");
}

function fail(error) {
  complain(error.message);
  say("");
  if (error.status === 401) askForToken();
}

function askForToken() {
  $("token-field").hidden = false;
  $("token").focus();
}

function draw({ peaks, progress }) {
  const canvas = $("wave");
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
  const length = peaks.length ? `${seconds((peaks.length * PEAK) / RATE)} of speech` : "nothing spoken yet";
  canvas.setAttribute("aria-label", `Waveform: ${length}`);
}

function working(is) {
  $("stop").disabled = !is;
  $("form").setAttribute("aria-busy", String(is));
}

function show(id, text) { $(id).textContent = text; }
function say(text) { show("status", text); }
function seconds(value) { return `${value.toFixed(1)} s`; }

function complain(text) {
  show("error", text ?? "");
  $("error").hidden = text === null;
}

function count() { show("count", `${$("text").value.length} of ${$("text").maxLength}`); }

async function offerVoices() {
  const token = $("token").value;
  const answer = await fetch("/voices", { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  if (!answer.ok) throw await problem(answer);
  const { voices, default: usual } = await answer.json();
  $("voice").replaceChildren(...voices.map((name) => new Option(name, name, name === usual)));
}

async function begin() {
  count();
  draw({ peaks: [], progress: 0 });
  const health = await (await fetch("/health")).json();
  show("model", health.model);
  await offerVoices();
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); speak(); });
$("stop").addEventListener("click", stop);
$("text").addEventListener("input", count);
$("token").addEventListener("change", () => offerVoices().then(() => complain(null), fail));
$("speed").addEventListener("input", () => show("speed-shown", `${Number($("speed").value).toFixed(2)} ×`));
addEventListener("resize", () => speech && draw(speech));
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
  if (event.key === "Escape") stop();
});
begin().catch(fail);
