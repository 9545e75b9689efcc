"use strict";
// The page of s2s serve. Text from the server or the user becomes text nodes alone, never HTML.

const PAUSE = 250; // milliseconds without a key before the text is sent
const MOST_CELLS = 6000; // a larger table takes a browser too long
const SEARCHES = {
  own: {},
  greedy: { kind: "greedy" },
  beam5: { kind: "beam", width: 5 },
  beam10: { kind: "beam", width: 10 },
  sample: { kind: "sample", samples: 5 },
};

const at = (id) => document.getElementById(id);
const models = new Map();
// What the output of each line has to begin with, and the source it belongs to.
let kept = [];
let current = 0;
let timer = 0;
let pending = new AbortController();
let asking = new AbortController();

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

async function call(path, body, signal) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  const found = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function say(error) {
  if (error.name === "AbortError") return;
  at("fault").textContent = error.message;
  at("fault").hidden = false;
}

const lines = () => at("source").value.split("\n");
const begun = (line) => (kept[line] ? kept[line].prefix : "");

function usedSearch() {
  const own = models.get(at("model").value)?.search ?? {};
  return { ...own, ...SEARCHES[at("search").value] };
}

function asked() {
  return { model: at("model").value, search: SEARCHES[at("search").value] };
}

// ------------------------------------------------------------------------------------- translation

function later() {
  clearTimeout(timer);
  timer = setTimeout(translate, PAUSE);
}

function cursorLine() {
  const field = at("source");
  return field.value.slice(0, field.selectionStart).split("\n").length - 1;
}

function forget() {
  const now = lines();
  kept = now.map((line, place) => (kept[place]?.line === line ? kept[place] : undefined));
  current = Math.min(current, now.length - 1);
}

async function translate() {
  clearTimeout(timer);
  forget();
  pending.abort();
  pending = new AbortController();
  const { signal } = pending;
  const now = lines();
  const used = usedSearch();
  const model = models.get(at("model").value);
  const detail = {
    ...asked(),
    text: now[current],
    nbest: used.kind === "beam" ? Math.min(8, used.width) : 1,
    attention: Boolean(model?.has_attention) && used.kind !== "exhaustive",
    prefix: begun(current) || null,
  };
  at("output").setAttribute("aria-busy", "true");
  try {
    const requests = [call("v1/translate", detail, signal)];
    if (now.length > 1) {
      const prefix = now.map((_, place) => begun(place));
      const all = { ...asked(), text: now, prefix: prefix.some(Boolean) ? prefix : null };
      requests.push(call("v1/translate", all, signal));
    }
    const [one, all] = await Promise.all(requests);
    const texts = all ? all.lines.map((line) => line.text) : [one.lines[0].text];
    texts[current] = one.lines[0].text;
    at("fault").hidden = true;
    showOutput(texts);
    showSeveral(one.lines[0].outputs, used);
    showAttention(one.lines[0].attention);
    at("notes").replaceChildren(...one.notes.map((note) => make("li", { textContent: note })));
  } catch (error) {
    say(error);
  } finally {
    if (!signal.aborted) at("output").setAttribute("aria-busy", "false");
  }
}

// ------------------------------------------------------------------------------------------ output

// Where each word of a text ends. Text without spaces is cut where the language has words, or else
// at each letter.
function ends(text) {
  if (/\s/.test(text.trim()) || !("Segmenter" in Intl)) {
    return [...text.matchAll(/\S+/g)].map((word) => word.index + word[0].length);
  }
  for (const granularity of ["word", "grapheme"]) {
    const parts = [...new Intl.Segmenter(undefined, { granularity }).segment(text)];
    if (parts.length > 1 || granularity === "grapheme") {
      return parts.map((part) => part.index + part.segment.length);
    }
  }
  return [];
}

function showOutput(texts) {
  const focused = document.activeElement?.dataset?.word;
  at("output").replaceChildren(...texts.map(outputLine));
  if (focused) at("output").querySelector(`[data-word="${focused}"]`)?.focus();
  at("release").hidden = !begun(current);
}

function outputLine(text, line) {
  const row = make("p", { className: line === current ? "current" : "" });
  const first = make("button", { className: "begin", type: "button", textContent: "⇤" });
  first.setAttribute("aria-label", `Line ${line + 1}: alternatives for the first word`);
  first.dataset.word = `${line}.0`;
  first.addEventListener("click", () => choose(line, ""));
  if (text) row.append(first);
  let start = 0;
  ends(text).forEach((end, place) => {
    const word = make("button", { className: "word", type: "button" });
    word.textContent = text.slice(start, end);
    word.setAttribute("aria-pressed", String(end <= begun(line).length));
    word.dataset.word = `${line}.${place + 1}`;
    word.addEventListener("click", () => choose(line, text.slice(0, end)));
    row.append(word);
    start = end;
  });
  return row;
}

// Keep the beginning of a line's output, and ask how it may go on.
function choose(line, prefix) {
  current = line;
  kept[line] = { line: lines()[line], prefix };
  translate();
  alternatives(line, prefix);
}

async function alternatives(line, prefix) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const isWhole = /\s/.test(at("output").textContent.trim()) || !prefix;
  const body = { ...asked(), text: lines()[line], count: 12 };
  if (body.search.kind === "sample") body.search = {};
  try {
    const found = await call(
      "v1/alternatives", { ...body, prefix: isWhole && prefix ? `${prefix} ` : prefix }, signal,
    );
    at("begun").textContent = prefix || "the beginning";
    at("alternatives").replaceChildren(...found.alternatives.map((one) => alternative(line, one)));
    at("next").hidden = false;
  } catch (error) {
    say(error);
  }
}

function alternative(line, one) {
  const percent = make("small", { textContent: ` ${one.log_prob.toFixed(2)}` });
  percent.title = "log-probability of the best output with it";
  if (!one.next) return make("li", { textContent: "(end of the output)" }, percent);
  const button = make("button", { type: "button", title: one.text, textContent: one.next }, percent);
  button.addEventListener("click", () => choose(line, one.prefix));
  return make("li", {}, button);
}

function release() {
  kept = [];
  asking.abort();
  at("next").hidden = true;
  translate();
  at("source").focus();
}

// ----------------------------------------------------------------------------- outputs and weights

function showSeveral(outputs, used) {
  const isSample = used.kind === "sample";
  at("several").hidden = outputs.length < 2;
  at("several-title").textContent = isSample ? "Samples" : "The best outputs";
  at("nbest").replaceChildren(
    ...outputs.map((output) => {
      const told = `  log p ${output.log_prob.toFixed(2)}, score ${output.score.toFixed(2)}`;
      const score = make("small", { textContent: told });
      score.title = "logarithm of its probability, and what search ranks by";
      return make("li", { dir: "auto" }, output.text, score);
    }),
  );
}

function showAttention(found) {
  const size = found ? found.source.length * found.target.length : 0;
  at("map").hidden = size === 0 || size > MOST_CELLS;
  if (at("map").hidden) return;
  const corner = make("td");
  const heads = found.source.map((token) => make("th", { scope: "col", textContent: token }));
  const head = make("thead", {}, make("tr", {}, corner, ...heads));
  const rows = found.weights.map((weights, row) => {
    const title = make("th", { scope: "row", textContent: found.target[row] });
    const cells = weights.map((weight) => {
      const cell = make("td", { textContent: weight >= 0.01 ? Math.round(100 * weight) : "" });
      cell.style.setProperty("--weight", weight);
      return cell;
    });
    return make("tr", {}, title, ...cells);
  });
  at("weights").replaceChildren(head, make("tbody", {}, ...rows));
}

// ------------------------------------------------------------------------------------------- start

async function begin() {
  try {
    const found = await (await fetch("v1/models")).json();
    for (const model of found.models) {
      models.set(model.name, model);
      at("model").append(make("option", { value: model.name, textContent: model.name }));
    }
    translate();
  } catch (error) {
    say(error);
  }
}

at("source").addEventListener("input", () => {
  current = cursorLine();
  at("next").hidden = true;
  later();
});
for (const event of ["click", "keyup"]) {
  at("source").addEventListener(event, () => {
    if (cursorLine() === current) return;
    current = cursorLine();
    at("next").hidden = true;
    later();
  });
}
for (const id of ["model", "search"]) {
  at(id).addEventListener("change", () => {
    kept = [];
    at("next").hidden = true;
    translate();
  });
}
at("release").addEventListener("click", release);
begin();
