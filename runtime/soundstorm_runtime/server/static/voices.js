// The voices: their descriptions, and those that are made of recordings.

import { $, ask, complain, show } from "./server.js";

export let hasTimes = false; // whether the server knows when words are spoken
let known = new Map();

export async function offerVoices(chosen = $("voice").value) {
  const list = await (await ask("/v1/voices")).json();
  hasTimes = list.times;
  known = new Map(list.voices.map((voice) => [voice.id, voice]));
  $("voice").replaceChildren(...list.voices.map((voice) => new Option(voice.name, voice.id)));
  $("voice").value = known.has(chosen) ? chosen : list.default;
  $("voice").dispatchEvent(new Event("voices"));
  $("upload-section").hidden = !list.uploads;
  describe();
}

function describe() {
  const voice = known.get($("voice").value);
  show("voice-about", voice?.description ?? "");
  $("upload-delete").hidden = !voice?.uploaded;
}

async function upload() {
  complain(null);
  const [file] = $("upload-file").files;
  if (!file) return complain(Object.assign(new Error("choose a recording"), { field: "upload-file" }));
  const body = new FormData();
  body.append("name", $("upload-name").value);
  body.append("audio_sample", file);
  show("upload-status", "Making the voice.");
  $("upload-send").disabled = true;
  try {
    const made = await (await ask("/v1/voices", { method: "POST", body })).json();
    await offerVoices(made.id);
    show("upload-status", [`The voice ${made.name} can be used.`, ...made.warnings].join(" But "));
  } catch (error) {
    show("upload-status", "");
    complain(error);
  } finally {
    $("upload-send").disabled = false;
  }
}

async function remove() {
  const name = $("voice").value;
  complain(null);
  try {
    await ask(`/v1/voices/${encodeURIComponent(name)}`, { method: "DELETE" });
    await offerVoices("");
    show("upload-status", `The voice ${name} is deleted.`);
  } catch (error) {
    complain(error);
  }
}

$("voice").addEventListener("change", describe);
$("upload").addEventListener("submit", (event) => { event.preventDefault(); upload(); });
$("upload-delete").addEventListener("click", remove);
