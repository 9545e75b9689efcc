"use strict";
// Shows openapi.json: operations, fields of requests and answers. All text becomes text nodes.

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

let definitions = {};

function resolved(schema) {
  return schema?.$ref ? definitions[schema.$ref.split("/").pop()] : (schema ?? {});
}

function kind(schema) {
  if (schema.$ref) return resolved(schema).title ?? schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "array") return schema.items ? `list of ${kind(schema.items)}` : "list";
  return schema.type ?? "any";
}

// The object that a field holds or lists, if it does.
function inner(field) {
  const several = field.anyOf ?? [field];
  const held = several.map((one) => resolved(one.type === "array" ? one.items : one));
  return held.find((one) => one.properties) ?? {};
}

function row(name, field, required) {
  const fallback = "default" in field ? `default ${JSON.stringify(field.default)}` : "";
  const remarks = [required.includes(name) ? "required" : fallback, field.description ?? ""];
  return make(
    "tr", {},
    make("td", {}, make("code", { textContent: name })),
    make("td", { textContent: kind(field) }),
    make("td", { textContent: remarks.filter(Boolean).join("; ") }),
  );
}

// The fields of an object, and folded below it those of the objects within it.
function table(schema) {
  const whole = resolved(schema);
  const fields = Object.entries(whole.properties ?? {});
  const rows = fields.map(([name, field]) => row(name, field, whole.required ?? []));
  const folded = fields
    .filter(([, field]) => inner(field).properties)
    .map(([name, field]) => {
      const title = make("summary", {}, "Fields of ", make("code", { textContent: name }));
      return make("details", {}, title, table(inner(field)));
    });
  return make("div", { className: "fields" },
    make("table", { className: "plain" }, make("tbody", {}, ...rows)), ...folded);
}

function operation(path, method, told) {
  const verb = make("span", { className: "method", textContent: `${method.toUpperCase()} ` });
  const section = make("section", {}, make("h2", {}, verb, path),
    make("p", { textContent: told.description ?? told.summary ?? "" }));
  for (const parameter of told.parameters ?? []) {
    section.append(make("p", {}, make("code", { textContent: `?${parameter.name}=` }),
      ` ${parameter.description ?? ""}`));
  }
  for (const [type, body] of Object.entries(told.requestBody?.content ?? {})) {
    section.append(make("h3", { textContent: `Request: ${type}` }), table(body.schema));
  }
  const schema = told.responses?.["200"]?.content?.["application/json"]?.schema;
  if (schema?.$ref) section.append(make("h3", { textContent: "Answer" }), table(schema));
  const faults = Object.entries(told.responses ?? {}).filter(([status]) => status !== "200");
  const listed = faults.map(([status, answer]) => `${status} ${answer.description}`).join(" ");
  if (listed) section.append(make("p", { className: "help", textContent: listed }));
  return section;
}

async function show() {
  const found = await (await fetch("openapi.json")).json();
  definitions = found.components?.schemas ?? {};
  document.getElementById("description").textContent = found.info.description;
  for (const [path, methods] of Object.entries(found.paths)) {
    for (const [method, told] of Object.entries(methods)) {
      document.getElementById("operations").append(operation(path, method, told));
    }
  }
}

show().catch((error) => {
  document.getElementById("fault").textContent = error.message;
  document.getElementById("fault").hidden = false;
});
