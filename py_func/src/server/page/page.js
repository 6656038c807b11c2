// The page is a client of the interface that /openapi.json describes. What functions answer is shown as text, never as markup.

const RESULT = "application/vnd.faasm.result+json";
const REFRESH = 2000;
const CHARTED = 200;
const LISTED = 50;

const element = (id) => document.getElementById(id);
let token = sessionStorage.getItem("token") ?? "";
let functions = null;
let calls = null;
let opened = null;

class Problem extends Error {}

/** Asks the server, and answers its response if that is no error. */
async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(path, { ...options, headers });
  if (response.ok || response.headers.get("content-type") === RESULT) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) askForToken(token ? problem.detail : null);
  const parts = [problem.detail ?? response.statusText, problem.stdout, problem.stderr, problem.traceback, problem.hint];
  throw new Problem(parts.filter(Boolean).join("\n"));
}

function askForToken(detail) {
  element("login").hidden = false;
  if (detail) show("problem", detail);
}

/** Shows a text, or hides what showed one. */
function show(id, text) {
  element(id).textContent = text;
  element(id).hidden = !text;
}

/** Makes an element with attributes and children. */
function make(name, attributes = {}, ...children) {
  const svg = element("chart").namespaceURI;
  const node = ["line", "text", "circle", "title"].includes(name)
    ? document.createElementNS(svg, name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function duration(seconds) {
  if (seconds === undefined) return "…";
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 2 : 1)} ms`;
  return `${seconds.toFixed(2)} s`;
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1048576).toFixed(1)} MiB`;
}

/** Bytes as the server writes them in JSON. */
function text(data) {
  return typeof data === "string" ? data : `(not text; as Base64)\n${data.base64}`;
}

function encoded(user, name) {
  return `${encodeURIComponent(user)}/${encodeURIComponent(name)}`;
}

// Functions

async function loadFunctions() {
  const before = JSON.stringify(functions);
  functions = await (await request("/p")).json();
  // What has not changed keeps its focus and its place.
  if (JSON.stringify(functions) === before) return;
  const names = functions.map((it) => `${it.user}/${it.function}`);
  for (const id of ["no-functions", "example"]) element(id).hidden = names.length > 0;
  element("run").disabled = names.length === 0;
  element("functions").replaceChildren(
    ...functions.map((it, index) =>
      make(
        "li",
        {},
        make("button", { type: "button", title: "Call it", onclick: () => choose(names[index]) }, names[index]),
        make("span", { title: `uploaded ${new Date(it.uploaded * 1000).toLocaleString()}` }, it.is_package ? `package, ${size(it.bytes)}` : size(it.bytes)),
      ),
    ),
  );
  fill(element("function"), names);
  fill(element("filter"), names, "all");
}

/** Gives a list these choices, and keeps the one that was made. */
function fill(select, names, all) {
  const chosen = select.value;
  const options = names.map((name) => make("option", { value: name }, name));
  if (all) options.unshift(make("option", { value: "" }, all));
  select.replaceChildren(...options);
  if (names.includes(chosen)) select.value = chosen;
}

function choose(name) {
  element("function").value = name;
  element("input").focus();
}

async function upload(files) {
  const report = element("uploaded");
  const user = element("user").value;
  for (const file of files) {
    const name = file.name.replace(/\.py$/, "");
    report.hidden = false;
    report.className = "";
    report.textContent = `Uploading ${file.name}…`;
    try {
      await request(`/p/${encoded(user, name)}`, { method: "PUT", body: file });
      report.className = "good";
      report.textContent = `Uploaded ${user}/${name}`;
      await loadFunctions();
      element("function").value = `${user}/${name}`;
    } catch (error) {
      report.className = "bad text";
      report.textContent = `${file.name}: ${error.message}`;
      return;
    }
  }
}

// Calls

async function invoke() {
  const [user, name] = element("function").value.split("/");
  if (!name) return;
  const entry = element("entry").value;
  const query = entry ? `?entry=${encodeURIComponent(entry)}` : "";
  const outcome = element("outcome");
  element("run").disabled = true;
  outcome.className = "";
  outcome.textContent = "running…";
  const started = performance.now();
  try {
    const response = await request(`/invoke/${encoded(user, name)}${query}`, {
      method: "POST",
      body: element("input").value,
      headers: { Accept: RESULT },
    });
    const result = await response.json();
    const there = duration((performance.now() - started) / 1000);
    const inside = duration(result.usage.wall_time_seconds);
    outcome.className = result.error ? "bad" : "good";
    const ended = result.error ? result.error.kind : `status ${result.status}`;
    outcome.textContent = `${ended} · ${inside} in the sandbox, ${there} in all`;
    element("result").replaceChildren(...parts(result, result.error));
  } catch (error) {
    outcome.className = "bad";
    outcome.textContent = "";
    element("result").replaceChildren(make("pre", { class: "bad" }, error.message));
  } finally {
    element("run").disabled = false;
  }
  await loadCalls();
}

/** What a call has left, as titles and texts. */
function parts(result, error) {
  const shown = [
    ["Error", error?.message],
    ["Output", text(result.output)],
    ["Standard output", text(result.stdout)],
    ["Standard error", text(result.stderr)],
  ].filter(([, content]) => content);
  if (shown.length === 0) return [make("p", { class: "note" }, "It left no output.")];
  return shown.flatMap(([title, content]) => [
    make("h3", {}, title),
    make("pre", { class: title === "Error" ? "bad" : "", tabindex: "0", "aria-label": title }, content),
  ]);
}

async function loadCalls() {
  const [user, name] = element("filter").value.split("/");
  const query = name ? `&user=${encodeURIComponent(user)}&function=${encodeURIComponent(name)}` : "";
  const before = JSON.stringify(calls);
  calls = await (await request(`/calls?limit=${CHARTED}${query}`)).json();
  // What has not changed keeps its focus and its place.
  if (JSON.stringify(calls) === before) return;
  drawCalls();
  drawChart();
}

function drawCalls() {
  const focused = document.activeElement?.dataset?.call;
  element("no-calls").hidden = calls.length > 0;
  element("table").hidden = calls.length === 0;
  const details = opened && element("calls").querySelector("tr.details");
  const rows = calls.slice(0, LISTED).flatMap((call) => {
    const time = new Date(call.started * 1000).toLocaleTimeString([], { hourCycle: "h23" });
    const isOpen = opened === call.id;
    const toggle = make(
      "button",
      { type: "button", "data-call": call.id, "aria-expanded": isOpen, onclick: () => toggleCall(call.id) },
      time,
    );
    const kind = call.state === "running" ? "note" : call.status === 0 ? "good" : "bad";
    const row = make(
      "tr",
      {},
      make("td", {}, toggle),
      make("td", { class: "name" }, `${call.user}/${call.function}${call.entry ? ` ${call.entry}` : ""}`),
      make("td", { class: kind }, outcome(call)),
      make("td", { class: "number" }, duration(call.seconds)),
    );
    return isOpen && details ? [row, details] : [row];
  });
  element("calls").replaceChildren(...rows);
  if (focused) element("calls").querySelector(`[data-call="${focused}"]`)?.focus();
}

/** How a call has ended, in a word or two. */
function outcome(call) {
  return call.error ?? (call.status === undefined ? call.state : `status ${call.status}`);
}

async function toggleCall(id) {
  element("calls").querySelector("tr.details")?.remove();
  opened = opened === id ? null : id;
  drawCalls();
  if (opened === null) return;
  const content = await describe(id);
  if (opened !== id) return;
  const button = element("calls").querySelector(`[data-call="${id}"]`);
  button?.closest("tr").after(make("tr", { class: "details" }, make("td", { colspan: "4" }, ...content)));
}

/** All that is known of a call, or why nothing is. */
async function describe(id) {
  try {
    const call = await (await request(`/calls/${id}`)).json();
    const content = parts(call, call.failure);
    if (call.truncated) content.push(make("p", { class: "note" }, "Only the beginning is kept."));
    content.push(make("p", { class: "note" }, `call ${id}, version ${call.version}, trace ${call.trace}`));
    return content;
  } catch (error) {
    return [make("p", { class: "bad" }, error.message)];
  }
}

/** A power of ten of seconds, as a label has it. */
function round(power) {
  if (power >= 0) return `${10 ** power} s`;
  return power >= -3 ? `${10 ** (power + 3)} ms` : `${10 ** (power + 6)} µs`;
}

/** Latencies over the order of calls, on a logarithmic scale. */
function drawChart() {
  const chart = element("chart");
  const ended = calls.filter((call) => call.seconds !== undefined).reverse();
  chart.toggleAttribute("hidden", ended.length === 0);
  element("figures").hidden = ended.length === 0;
  if (ended.length === 0) {
    element("summary").textContent = "There are no calls yet.";
    return;
  }
  const values = ended.map((call) => Math.max(call.seconds, 1e-6));
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(Math.ceil(Math.log10(Math.max(...values))), low + 1);
  const [left, right, top, bottom] = [58, 396, 10, 220];
  const y = (seconds) => bottom - ((Math.log10(seconds) - low) / (high - low)) * (bottom - top);
  const x = (index) => (ended.length === 1 ? (left + right) / 2 : left + 8 + (index / (ended.length - 1)) * (right - left - 16));
  const grid = [];
  for (let power = low; power <= high; power++) {
    const at = y(10 ** power);
    grid.push(make("line", { x1: left, x2: right, y1: at, y2: at }));
    grid.push(make("text", { x: left - 8, y: at + 4, "text-anchor": "end" }, round(power)));
  }
  const dots = ended.map((call, index) =>
    make(
      "circle",
      { cx: x(index), cy: y(values[index]), r: 3.5, class: call.status === 0 ? "" : "bad" },
      make("title", {}, `${call.user}/${call.function}: ${outcome(call)} in ${duration(call.seconds)}`),
    ),
  );
  chart.replaceChildren(...grid, ...dots);
  const sorted = [...values].sort((a, b) => a - b);
  const quantile = (share) => duration(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
  const failed = ended.filter((call) => call.status !== 0).length;
  element("median").textContent = quantile(0.5);
  element("slow").textContent = quantile(0.99);
  element("failed").textContent = failed;
  element("failed").className = failed > 0 ? "bad" : "";
  const which = ended.length === 1 ? "The last call" : `The last ${ended.length} calls, the newest on the right`;
  element("summary").textContent = `${which}; red: did not end with status 0.`;
}

// The page

async function refresh() {
  try {
    await loadCalls();
    await loadFunctions();
    show("problem", "");
    element("health").className = "good";
    element("health").textContent = "connected";
  } catch (error) {
    element("health").className = "bad";
    element("health").textContent = error instanceof Problem ? "refused" : "no connection";
    if (error instanceof Problem && element("login").hidden) show("problem", error.message);
  }
}

async function start() {
  await refresh();
  try {
    const runtime = await (await request("/f")).json();
    element("runtime").textContent = `Python ${runtime.python}`;
  } catch {
    // `refresh` has shown why.
  }
}

element("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = element("token").value;
  sessionStorage.setItem("token", token);
  element("login").hidden = true;
  show("problem", "");
  start();
});
element("invoke").addEventListener("submit", (event) => {
  event.preventDefault();
  invoke();
});
element("invoke").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("invoke").requestSubmit();
});
element("upload").addEventListener("submit", (event) => event.preventDefault());
element("file").addEventListener("change", (event) => {
  upload([...event.target.files]).finally(() => (event.target.value = ""));
});
element("filter").addEventListener("change", () => refresh());

const drop = element("drop");
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  upload([...event.dataTransfer.files]);
});

start();
setInterval(() => {
  if (!document.hidden && element("login").hidden) refresh();
}, REFRESH);
