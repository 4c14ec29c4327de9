// Lays out the server's own OpenAPI description, with nothing fetched from elsewhere.

function element(name, content, properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...[content].flat());
  return made;
}

// A description, in which names of code stand between backticks.
function prose(text) {
  return text.split("`").map((part, place) => (place % 2 ? element("code", part) : part));
}

function resolve(schema, all) {
  return schema?.$ref ? all.components.schemas[schema.$ref.split("/").pop()] : schema;
}

function type(schema, all) {
  const found = resolve(schema, all) ?? {};
  if (found.enum) return found.enum.filter((one) => one !== null).join(", ");
  if (found.const) return found.const;
  if (found.anyOf) return found.anyOf.map((one) => type(one, all)).filter(Boolean).join(" or ");
  return [found.type ?? "anything"].flat().filter((one) => one !== "null").join(" or ");
}

function limits(schema) {
  const names = { minimum: "at least #", maximum: "at most #", maxLength: "at most # characters" };
  const told = Object.keys(names).filter((key) => key in schema).map((key) => names[key].replace("#", schema[key]));
  if (schema.default != null) told.push(`default ${schema.default}`);
  return told.join("; ");
}

function fields(schema, all, kind) {
  const found = resolve(schema, all);
  const isNeeded = ([name]) => Boolean(found.required?.includes(name));
  const named = Object.entries(found.properties).sort((one, other) => isNeeded(other) - isNeeded(one));
  const rows = named.flatMap(([name, of]) => {
    const told = [type(of, all), limits(of)].filter(Boolean).join("; ");
    return [
      element("dt", [element("code", name), isNeeded([name]) ? " *" : ""]),
      element("dd", [element("div", prose(of.description ?? "")), element("div", told, { className: "quiet" })]),
    ];
  });
  return [element("h3", `Body, ${kind} (* must be there)`), element("dl", rows, { className: "fields" })];
}

function operation(path, method, facts, all) {
  const heading = [element("span", method.toUpperCase(), { className: "method" }), element("code", path)];
  const parts = [element("h2", heading), element("p", prose(facts.description ?? facts.summary))];
  for (const [kind, { schema }] of Object.entries(facts.requestBody?.content ?? {})) {
    parts.push(...fields(schema, all, kind));
  }
  const answers = Object.entries(facts.responses).map(([status, { description, content }]) => {
    const kinds = Object.keys(content ?? {}).join(", ");
    return element("li", [element("strong", status), ` ${description} `, element("span", kinds, { className: "quiet" })]);
  });
  parts.push(element("ul", answers));
  return element("article", parts, { className: "operation" });
}

const all = await (await fetch("/openapi.json")).json();
const operations = Object.entries(all.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, facts]) => operation(path, method, facts, all)),
);
document.getElementById("operations").replaceChildren(...operations);
