// Requests to the server, and its errors beside the fields they belong to.

export const $ = (id) => document.getElementById(id);
export const show = (id, text) => { $(id).textContent = text; };

const FIELDS = {
  input: "text", turns: "turns", voice: "voice", speed: "speed", seed: "seed", response_format: "format",
  name: "upload-name", audio_sample: "upload-file",
};

export async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if ($("token").value) headers.Authorization = `Bearer ${$("token").value}`;
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  const error = new Error(told?.error?.message ?? `the server answered ${answer.status}`);
  error.status = answer.status;
  error.field = FIELDS[told?.error?.param];
  throw error;
}

export const askJson = (path, data, options = {}) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data), ...options });

export function complain(error) { // beside its field, or at the end; null takes all complaints away
  for (const place of document.querySelectorAll(".problem")) {
    place.hidden = true;
    place.textContent = "";
  }
  for (const field of document.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  if (error === null) return;
  const place = error.field ? `${error.field}-problem` : "error";
  show(place, error.message);
  $(place).hidden = false;
  if (error.field) {
    $(error.field).setAttribute("aria-invalid", "true");
    $(error.field).focus();
  }
  if (error.status === 401) {
    $("token-field").hidden = false;
    $("token").focus();
  }
}

export function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
