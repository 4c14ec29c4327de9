// The turns of a dialogue: who says what.

import { $ } from "./server.js";

const FIRST = ["Did you see the lights last night?", "No, I was asleep."]; // turns to begin with

export const turns = () => [...$("turns").children].map((turn) => ({
  voice: turn.querySelector("select").value,
  input: turn.querySelector("textarea").value,
}));

export function showTurns(shown) {
  $("turns").replaceChildren();
  shown.forEach(add);
  $("dialogue-section").open = true;
}

function add({ voice, input }) {
  const turn = $("turn").content.firstElementChild.cloneNode(true);
  offer(turn.querySelector("select"), voice);
  turn.querySelector("textarea").value = input;
  turn.querySelector("button").addEventListener("click", () => remove(turn));
  $("turns").append(turn);
  number();
  return turn;
}

function remove(turn) {
  const beside = turn.nextElementSibling ?? turn.previousElementSibling;
  turn.remove();
  number();
  beside.querySelector("textarea").focus();
}

function number() { // names every control after the place of its turn
  [...$("turns").children].forEach((turn, place, all) => {
    turn.querySelector("select").setAttribute("aria-label", `Voice of turn ${place + 1}`);
    turn.querySelector("textarea").setAttribute("aria-label", `Text of turn ${place + 1}`);
    turn.querySelector("button").setAttribute("aria-label", `Remove turn ${place + 1}`);
    turn.querySelector("button").disabled = all.length === 1;
    turn.querySelector("legend").textContent = `Turn ${place + 1}`;
  });
}

function offer(select, chosen) { // the voices of the server
  select.replaceChildren(...[...$("voice").options].map((own) => new Option(own.text, own.value)));
  select.value = chosen;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

function next() { // continues with the voice of the turn before the last one
  const voice = turns().at(-2)?.voice ?? $("voice").options[1]?.value;
  add({ voice, input: "" }).querySelector("textarea").focus();
}

function begin() {
  if (!$("dialogue-section").open || $("turns").children.length) return;
  const voices = [...$("voice").options].map((own) => own.value).filter((own) => own !== "default");
  FIRST.forEach((input, place) => add({ voice: voices[place % voices.length], input }));
}

$("turn-add").addEventListener("click", next);
$("dialogue-section").addEventListener("toggle", begin);
$("voice").addEventListener("voices", () => {
  for (const select of document.querySelectorAll("#turns select")) offer(select, select.value);
});
