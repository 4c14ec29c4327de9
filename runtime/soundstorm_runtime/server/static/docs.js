// Lays out the server's own OpenAPI description, with nothing fetched from elsewhere.

function element(name, content, properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...[content].flat());
  return made;
}

function resolve(schema, all) {
  return schema?.$ref ? all.components.schemas[schema.$ref.split("/").pop()] : schema;
}

function type(schema, all) {
  const found = resolve(schema, all) ?? {};
  if (found.enum) return found.enum.join(", ");
  if (found.const) return found.const;
  if (found.anyOf) return found.anyOf.map((one) => type(one, all)).filter((one) => one !== "null").join(" or ");
  return found.type ?? "anything";
}

function limits(schema) {
  const names = { minimum: "at least #", maximum: "at most #", maxLength: "at most # characters" };
  const told = Object.keys(names).filter((key) => key in schema).map((key) => names[key].replace("#", schema[key]));
  if (schema.default != null) told.push(`default ${schema.default}`);
  return told.join("; ");
}

function fields(schema, all) {
  const found = resolve(schema, all);
  const rows = Object.entries(found.properties).map(([name, of]) =>
    element("tr", [
      element("th", [element("code", name), found.required?.includes(name) ? " *" : ""], { scope: "row" }),
      element("td", [type(of, all), limits(of) && element("div", limits(of), { className: "quiet" })].filter(Boolean)),
      element("td", of.description ?? ""),
    ]),
  );
  return element("table", [element("caption", "Body, JSON (* must be there)"), element("tbody", rows)]);
}

function operation(path, method, facts, all) {
  const heading = [element("span", method.toUpperCase(), { className: "method" }), element("code", path)];
  const parts = [element("h2", heading), element("p", facts.description ?? facts.summary)];
  const body = facts.requestBody?.content["application/json"].schema;
  if (body) parts.push(fields(body, all));
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
