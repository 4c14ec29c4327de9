// Speaks a text, plays it while it is still being made, and keeps what was spoken.

import { showTurns, turns } from "./dialogue.js";
import { Speech, draw } from "./player.js";
import { $, askJson, complain, save, show } from "./server.js";
import { hasTimes, offerVoices } from "./voices.js";

const MOST_KEPT = 20; // texts in the history
const QUEUE_MS = 5000; // between two looks at the server's queue

let speech = null; // what is being made or played
let last = null; // what can be played again
let kept = []; // the newest first

const say = (text) => show("status", text);
const seconds = (value) => `${value.toFixed(1)} s`;
const redraw = (shown) => draw($("wave"), shown);

const on = {
  start(mine, lead) {
    if (mine.asked) show("first", `${Math.round(performance.now() - mine.asked + 1000 * lead)} ms`);
    mine.asked = null;
    say("Speaking.");
  },
  samples(mine) {
    show("length", seconds(mine.seconds));
    show("made", seconds((performance.now() - mine.begun) / 1000));
  },
  draw: redraw,
  word: mark,
};

function mark({ request, word }) { // shows the text with the word that sounds
  if (!word) return $("spoken").replaceChildren();
  const shown = $("spoken").querySelector("mark");
  const [start, end] = word.span;
  if (shown?.dataset.start === String(start)) return;
  const characters = Array.from(request.input); // a span counts characters; of an emoji, JavaScript counts two
  const made = element("mark", { textContent: characters.slice(start, end).join("") });
  made.dataset.start = start;
  $("spoken").replaceChildren(characters.slice(0, start).join(""), made, characters.slice(end).join(""));
  const top = made.offsetTop - $("spoken").offsetTop; // the text scrolls to it, and the page stays
  const below = top + made.offsetHeight - $("spoken").clientHeight;
  $("spoken").scrollTop = Math.max(below, Math.min(top, $("spoken").scrollTop));
}

async function speak(request) {
  stop();
  complain(null);
  const mine = (speech = new Speech(request, on));
  mine.asked = mine.begun = performance.now();
  working(true);
  for (const id of ["first", "made", "length"]) show(id, "–");
  redraw(mine);
  say("Waiting for the first audio.");
  try {
    await mine.audio.resume();
    const times = hasTimes && !mine.request.turns ? ["word"] : [];
    const body = { ...mine.request, stream_format: "sse", timestamp_granularities: times, response_format: "pcm" };
    await mine.make(await askJson(path(body), body, { signal: mine.abort.signal }));
    keep(mine);
    await mine.heard();
    if (speech === mine) say("Done.");
  } catch (error) {
    if (error.name !== "AbortError" && speech === mine) fail(error);
  } finally {
    mine.stop();
    finish(mine);
  }
}

const path = (request) => (request.turns ? "/v1/audio/dialogue" : "/v1/audio/speech");
const pace = () => ({ speed: Number($("speed").value), seed: Number($("seed").value) });
const speakText = () => speak({ input: $("text").value, voice: $("voice").value || "default", ...pace() });
const speakTurns = () => speak({ turns: turns(), ...pace() });

async function replay(mine) {
  stop();
  complain(null);
  speech = last = mine;
  working(true);
  show("length", seconds(mine.seconds));
  await mine.replay();
  if (speech === mine) say("Done.");
  finish(mine);
}

function finish(mine) {
  if (speech !== mine) return;
  speech = null;
  working(false);
}

function stop() {
  if (!speech) return;
  speech.stop();
  speech = null;
  working(false);
  say("Stopped.");
}

async function download(mine) {
  complain(null);
  const format = $("format").value;
  try {
    const blob = format === "wav" ? mine.wav() : await encoded(mine, format);
    save(blob, `speech.${format}`);
    say(`Downloaded as ${format}.`);
  } catch (error) {
    fail(error);
  }
}

async function encoded(mine, format) { // the server speaks it again, the same by its seed
  say(`Making ${format}.`);
  const answer = await askJson(path(mine.request), { ...mine.request, response_format: format, stream: false });
  return answer.blob();
}

function fail(error) {
  say("");
  complain(error);
}

function keep(mine) {
  last = mine;
  kept = [mine, ...kept].slice(0, MOST_KEPT);
  $("history-section").hidden = false;
  $("history").replaceChildren(...kept.map(entry));
  working(speech !== null);
}

function entry(mine) {
  const { turns, voice, speed, seed } = mine.request;
  const input = turns?.map((turn) => `${turn.voice}: ${turn.input}`).join("\n") ?? mine.request.input;
  const about = `${voice ?? "dialogue"}, ${speed} ×, seed ${seed}, ${seconds(mine.seconds)}`;
  return element("li", {}, [
    element("p", { className: "spoken", textContent: input }),
    element("p", { className: "quiet", textContent: about }),
    element("div", { className: "buttons" }, [
      button("Replay", input, () => replay(mine)),
      button("Download", input, () => download(mine)),
      button("Use again", input, () => restore(mine.request)),
    ]),
  ]);
}

function button(label, input, act) {
  const made = element("button", { type: "button", textContent: label });
  made.setAttribute("aria-label", `${label}: ${input.slice(0, 60)}`);
  made.addEventListener("click", act);
  return made;
}

function element(name, properties, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function restore({ turns, input, voice, speed, seed }) {
  const fields = turns ? { speed, seed } : { text: input, voice, speed, seed };
  Object.entries(fields).forEach(([id, value]) => { $(id).value = value; });
  for (const [id, kind] of [["text", "input"], ["speed", "input"], ["voice", "change"]]) $(id).dispatchEvent(new Event(kind));
  if (turns) showTurns(turns);
  $(turns ? "turns" : "text").focus();
}

function working(is) {
  $("stop").disabled = !is;
  $("replay").disabled = $("download").disabled = is || last === null;
  $("form").setAttribute("aria-busy", String(is));
}

function count() { show("count", `${$("text").value.length} of ${$("text").maxLength}`); }

async function look() { // at the queue of the server
  if (document.hidden) return;
  const { model, working, waiting } = await (await fetch("/health")).json();
  show("model", model);
  show("queue", working + waiting ? `${working} spoken, ${waiting} waiting` : "idle");
}

async function begin() {
  count();
  redraw({ peaks: [], progress: 0, length: 0 });
  await look();
  setInterval(() => look().catch(() => show("queue", "no answer")), QUEUE_MS);
  await offerVoices();
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); speakText(); });
$("dialogue").addEventListener("submit", (event) => { event.preventDefault(); speakTurns(); });
$("stop").addEventListener("click", stop);
$("replay").addEventListener("click", () => replay(last));
$("download").addEventListener("click", () => download(last));
$("text").addEventListener("input", count);
$("token").addEventListener("change", () => offerVoices().then(() => complain(null), fail));
$("speed").addEventListener("input", () => show("speed-shown", `${Number($("speed").value).toFixed(2)} ×`));
addEventListener("resize", () => last && redraw(speech ?? last));
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) (event.target.form === $("dialogue") ? $("dialogue") : $("form")).requestSubmit();
  if (event.key === "Escape") stop();
});
begin().catch(fail);
