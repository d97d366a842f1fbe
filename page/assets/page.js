// The page asks for "data" once a second, and puts what it gets into the document: always
// by textContent or as a number in an attribute, so that no text of the pool is markup.
"use strict";

const el = id => document.getElementById(id);
const ms = 1e6; // in nanoseconds, in which the pool gives durations

// A duration in words, like those of the sentence.
function span(ns) {
  if (ns === 0) return "0s";
  if (ns < 0) return "-" + span(-ns);
  const s = ns / 1e9, f = Math.floor;
  if (s < 1e-3) return f(ns / 1e3) + "µs";
  if (s < 1) return f(ns / ms) + "ms";
  if (s < 10) return f(s * 10) / 10 + "s";
  if (s < 60) return f(s) + "s";
  if (s < 3600) return f(s / 60) + "m " + f(s) % 60 + "s";
  if (s < 48 * 3600) return f(s / 3600) + "h " + f(s / 60) % 60 + "m";
  return f(s / 86400) + "d " + f(s / 3600) % 24 + "h";
}
// How long something has lasted, if the pool knows it exactly, or how long at least.
const age = (ns, atLeast) => !atLeast ? span(ns) : ns === 0 ? "unknown" : "at least " + span(ns);
const count = n => String(n).replace(/\B(?=(\d{3})+$)/g, " ");
const clock = t => new Date(t).toLocaleTimeString("en-GB");
const plural = (n, thing) => count(n) + " " + thing + (n === 1 ? "" : "s");

// setText changes a text only if it is another one: a selection or a screen reader stays.
function setText(node, text) { if (node.textContent !== text) node.textContent = text; }
function setClass(node, name) { if (node.className !== name) node.className = name; }
function set(node, name, value) { if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value); }

// fill makes the children of a node as many as there are items, and lets each be changed.
function fill(node, tag, items, change) {
  while (node.children.length > items.length) node.lastElementChild.remove();
  items.forEach((item, i) => {
    const child = node.children[i] || node.appendChild(document.createElement(tag));
    change(child, item, i);
  });
}

const svgNS = "http://www.w3.org/2000/svg";
function shape(parent, tag, attributes, text) {
  const node = document.createElementNS(svgNS, tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

// picture starts a new drawing in a figure, with a caption and a description.
const width = 420, height = 132, left = 34, right = 8, top_ = 10, bottom = 20;
function picture(figure, caption, description) {
  const svg = document.createElementNS(svgNS, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", description);
  let words = figure.querySelector("figcaption");
  if (!words) figure.append(words = document.createElement("figcaption"));
  setText(words, caption);
  const old = figure.querySelector("svg");
  if (old) old.replaceWith(svg); else figure.append(svg);
  return svg;
}

// A round number that is at least n, for the top of a scale.
function ceiling(n) {
  const power = Math.pow(10, Math.floor(Math.log10(Math.max(n, 1))));
  for (const step of [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10]) if (step * power >= n) return step * power;
  return n;
}

// The charts begin with a minute, and show more as more is known.
const windowOf = ago => ago.length && ago[0] > 120 ? 300 : ago.length && ago[0] > 60 ? 120 : 60;

function axes(svg, max, seconds) {
  const y = v => height - bottom - (height - top_ - bottom) * v / max;
  for (const v of [0, max / 2, max]) {
    shape(svg, "line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) });
    shape(svg, "text", { x: left - 5, y: y(v) + 4, "text-anchor": "end" }, String(+v.toPrecision(3)));
  }
  shape(svg, "text", { x: left, y: height - 5 }, seconds === 60 ? "1 minute ago" : `${seconds / 60} minutes ago`);
  shape(svg, "text", { x: width - right, y: height - 5, "text-anchor": "end" }, "now");
  return y;
}

// layers are areas on top of each other; line is drawn over them.
function chart(figure, ago, layers, line, lineClass, max, caption, description) {
  const svg = picture(figure, caption, description), seconds = windowOf(ago), y = axes(svg, max, seconds);
  const x = i => (width - right - (width - left - right) * Math.min(ago[i], seconds) / seconds).toFixed(1);
  const n = ago.length, base = new Array(n).fill(0);
  if (n === 0) return;
  for (const layer of layers) {
    let forth = "", back = "";
    for (let i = 0; i < n; i++) {
      back = `L${x(i)} ${y(base[i]).toFixed(1)}` + back;
      base[i] += layer.values[i];
      forth += `${i ? "L" : "M"}${x(i)} ${y(base[i]).toFixed(1)}`;
    }
    shape(svg, "path", { class: "f-" + layer.name, d: forth + back + "Z" });
  }
  if (line) shape(svg, "path", { class: lineClass, d: line.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v).toFixed(1)}`).join("") });
}

function charts(c, s) {
  const ago = c.ago || [], most = list => Math.max(0, ...(list || []));
  const peak = ago.map((_, i) => c.borrowed[i] + c.transition[i] + c.connecting[i] + c.closing[i] + c.idle[i]);
  chart(el("chart-connections"), ago, [
    { name: "borrowed", values: c.borrowed }, { name: "work", values: c.transition }, { name: "connecting", values: c.connecting },
    { name: "closing", values: c.closing }, { name: "idle", values: c.idle },
  ], c.capacity, "limit", ceiling(Math.max(most(c.capacity), most(peak)) * 1.05),
  `${s.borrowed} out, ${s.idle} idle; dashed: the capacity, ${s.capacity}`,
  `Connections in the last five minutes. Now ${s.borrowed} are out and ${s.idle} idle; the capacity is ${s.capacity}.`);
  chart(el("chart-waiting"), ago, [{ name: "waiting", values: c.waiting }], null, "", ceiling(Math.max(4, most(c.waiting))),
    `${plural(s.waiting, "caller")} now, at most ${count(most(c.waiting))}`,
    `Callers that waited in the last five minutes: ${s.waiting} now, at most ${most(c.waiting)}.`);
  const rate = ago.length ? c.gets[ago.length - 1] : 0;
  chart(el("chart-gets"), ago, [], c.gets, "l-gets", ceiling(Math.max(4, most(c.gets))),
    `${count(Math.round(rate))} now, at most ${count(Math.round(most(c.gets)))}`,
    `Gets per second in the last five minutes: ${Math.round(rate)} now, at most ${Math.round(most(c.gets))}.`);
}

// A histogram on a logarithmic scale from a microsecond to a hundred seconds, or wider.
function histogram(figure, h, name, atOnce) {
  const buckets = h.buckets || [], measured = h.count - h.zeros;
  const caption = h.count === 0 ? "none yet"
    : `median ${span(h.p50)}, 99 % within ${span(h.p99)}, of ${count(h.count)}`;
  const svg = picture(figure, caption, `${name}: ${caption}.`);
  const perSecond = Math.pow(2, h.scale || 0);
  const low = Math.min(-6, buckets.length ? Math.log10(Math.pow(2, h.offset / perSecond)) : -6);
  const high = Math.max(2, buckets.length ? Math.log10(Math.pow(2, (h.offset + buckets.length) / perSecond)) : 2);
  const x = e => left + (width - left - right) * (e - low) / (high - low);
  const floor = height - bottom, max = Math.max(1, ...buckets);
  shape(svg, "line", { class: "grid", x1: left, x2: width - right, y1: floor, y2: floor });
  const words = ["1µs", "10µs", "100µs", "1ms", "10ms", "100ms", "1s", "10s", "100s"];
  for (let e = -6; e <= 2; e++) {
    shape(svg, "line", { class: "grid", x1: x(e), x2: x(e), y1: floor, y2: floor + 4 });
    shape(svg, "text", { x: x(e), y: height - 5, "text-anchor": e === 2 ? "end" : "middle" }, words[e + 6]);
  }
  buckets.forEach((n, i) => {
    if (!n) return;
    const from = x(Math.log10(Math.pow(2, (h.offset + i) / perSecond))), to = x(Math.log10(Math.pow(2, (h.offset + i + 1) / perSecond)));
    const tall = Math.max(2, (floor - top_ - 14) * n / max);
    shape(svg, "rect", { class: figure.dataset.fill, x: from.toFixed(1), width: Math.max(1, to - from - 1).toFixed(1), y: (floor - tall).toFixed(1), height: tall.toFixed(1) });
  });
  if (atOnce && h.count > 0) {
    shape(svg, "text", { x: left, y: top_ + 4 }, `${(100 * h.zeros / h.count).toFixed(h.zeros === h.count ? 0 : 1)} % were served at once`);
  }
  return measured;
}

// table shows rows: of each a key, a class, and cells. A cell is a text, or a node that
// make gives when the row is new.
function table(id, heads, rows, empty) {
  const t = el(id);
  if (!t.tHead) {
    const row = t.createTHead().insertRow();
    for (const head of heads) {
      const th = document.createElement("th");
      th.scope = "col";
      th.textContent = head.text;
      th.className = head.class || "";
      row.append(th);
    }
    t.createTBody();
  }
  const body = t.tBodies[0], there = new Map();
  for (const row of body.rows) there.set(row.dataset.key, row);
  if (rows.length === 0) rows = [{ key: "none", class: "none", cells: [empty] }];
  let at = body.firstElementChild;
  for (const wanted of rows) {
    let row = there.get(wanted.key);
    if (row) there.delete(wanted.key);
    else {
      row = document.createElement("tr");
      row.dataset.key = wanted.key;
      wanted.cells.forEach((_, i) => { row.insertCell().className = heads[i].class || ""; });
    }
    if (row === at) at = at.nextElementSibling; else body.insertBefore(row, at);
    setClass(row, wanted.class || "");
    wanted.cells.forEach((cell, i) => {
      if (typeof cell === "function") cell(row.cells[i]); else setText(row.cells[i], cell);
    });
    if (wanted.key === "none") row.cells[0].colSpan = heads.length;
  }
  for (const row of there.values()) row.remove();
}

const text = t => ({ text: t }), number = t => ({ text: t, class: "number" }), short = t => ({ text: t, class: "short" });

// stack gives a cell with the place in the program, and the stack on demand.
function stack(lines) {
  return cell => {
    let details = cell.firstElementChild;
    if (!details) {
      details = document.createElement("details");
      cell.textContent = "";
      details.append(document.createElement("summary"), document.createElement("pre"));
      cell.append(details);
    }
    setText(details.children[0], place(lines));
    setText(details.children[1], lines);
  };
}
// The first function of a stack, without the path of its package.
const place = lines => lines.split("\n", 1)[0].replace(/\([^()*]*\)$/, "").replace(/^.*\//, "");

const workStates = ["checking", "resetting", "applying", "unapplying"];
const kindOf = state => workStates.includes(state) ? "work" : state;
const stateWords = { borrowed: "out", idle: "idle", work: "checked, reset or prepared", connecting: "connecting", closing: "closing" };

// squares draws a square for each connection and place, and one for each waiter.
function squares(p) {
  const s = p.explain.stats, conns = p.explain.conns || [], waiters = p.explain.waiters || [], leaked = new Set(p.leaked);
  setText(el("squares-title"), `${count(s.open + s.connecting + s.closing)} of ${plural(s.capacity, "connection")}`);
  const list = conns.map(c => ({ name: kindOf(c.state), text: (leaked.has(c.id) ? "!" : "") + c.id,
    title: `connection ${c.id}: ${c.state === "borrowed" ? "out" : c.state}, time ${age(c.in, c.atLeast)}` + (c.label ? `, ${c.label}` : "") + (leaked.has(c.id) ? ", a leak" : ""),
    leaked: leaked.has(c.id) }));
  if (!conns.length) { // nobody has explained: the numbers are enough for squares without names
    const add = (n, name) => { for (let i = 0; i < n && list.length < 200; i++) list.push({ name, text: "", title: stateWords[name] }); };
    add(s.borrowed, "borrowed"); add(s.inTransition, "work"); add(s.connecting, "connecting"); add(s.closing, "closing"); add(s.idle, "idle");
  }
  const known = s.open + s.connecting + s.closing - list.length;
  for (let i = list.length + Math.max(0, known); i < s.capacity && list.length < 200; i++) list.push({ name: "free", text: "", title: "not opened" });
  draw(el("squares"), list, known);
  set(el("squares"), "aria-label", `${s.borrowed} out, ${s.idle} idle, ${s.inTransition} checked, reset or prepared, ${s.connecting} connecting, ` +
    `${s.closing} closing, ${Math.max(0, s.capacity - s.open - s.connecting - s.closing)} not opened.`);
  setText(el("queue-title"), s.waiting ? `${plural(s.waiting, "caller")} waiting, the first in line at the left` : "Nobody waits");
  el("queue").hidden = s.waiting === 0;
  let callers = waiters.map((w, i) => ({ name: "waiter", text: String(i + 1), title: `${w.label || "unlabelled"}, has waited ${span(w.waited)}` }));
  if (!callers.length) callers = Array.from({ length: Math.min(s.waiting, 100) }, (_, i) => ({ name: "waiter", text: String(i + 1), title: "" }));
  draw(el("queue"), callers, s.waiting - callers.length);
  set(el("queue"), "aria-label", plural(s.waiting, "caller") + " waiting");
}

function draw(node, list, more) {
  const items = list.slice();
  if (more > 0) items.push({ rest: `and ${count(more)} more` });
  fill(node, "span", items, (square, item) => {
    setClass(square, item.rest ? "rest" : "square " + item.name + (item.leaked ? " leaked" : ""));
    setText(square, item.rest || item.text);
    if (square.title !== (item.title || "")) square.title = item.title || "";
  });
}

function holders(p) {
  const list = p.explain.holders || [], s = p.explain.stats, leaked = new Set(p.leaked), stacks = list.some(h => h.stack);
  setText(el("holders-title"), `Who holds what: ${plural(s.borrowed, "connection")} out, longest first`);
  table("holders", [number("connection"), text("label"), number("for"), text("where")], list.map(h => ({
    key: `${h.connID}`, class: leaked.has(h.connID) ? "marked" : "",
    cells: [String(h.connID), (h.label || "–") + (leaked.has(h.connID) ? " (leak)" : ""), age(h.age, h.atLeast),
      h.stack ? stack(h.stack) : plain([h.borrower ? "actor " + h.borrower : "", h.goroutine ? "goroutine " + h.goroutine : "",
        h.waits ? "waits for another connection" : ""].filter(Boolean).join(", ") || "–")],
  })), "No connection is out.");
  rest("holders", s.borrowed - list.length, list.length);
  return stacks;
}

// plain gives a cell with a text that may have been something else before.
function plain(t) { return cell => setText(cell, t); }

// rest says below a table how many rows are missing.
function rest(id, more, shown) {
  const box = el(id).parentElement;
  let p = box.querySelector("p");
  if (!p) box.append(p = document.createElement("p"));
  p.className = "none";
  p.hidden = more <= 0 || shown === 0;
  setText(p, p.hidden ? "" : `and ${count(more)} more`);
}

function waiters(p) {
  const list = p.explain.waiters || [], s = p.explain.stats;
  setText(el("waiters-title"), `Who waits: ${plural(s.waiting, "caller")}, first in line first`);
  table("waiters", [number("place"), text("label"), number("for"), number("at most"), text("meanwhile")], list.map((w, i) => ({
    key: `${i}`, cells: [String(i + 1), w.label || "–", span(w.waited), w.left ? "still " + span(w.left) : "–",
      plain([w.doing ? w.doing + " a connection" : "", w.setting ? "wants " + w.setting : "", (w.holds || []).length ? "holds " + w.holds.join(", ") : "",
        w.borrower ? "actor " + w.borrower : ""].filter(Boolean).join("; ") || "–")],
  })), "Nobody waits.");
  rest("waiters", s.waiting - list.length, list.length);
}

function conns(p) {
  const list = p.explain.conns || [], s = p.explain.stats, leaked = new Set(p.leaked);
  setText(el("conns-title"), `Connections: ${count(s.open + s.connecting + s.closing)} of ${count(s.capacity)}, generation ${s.generation}`);
  table("conns", [number("id"), short("state"), number("for"), number("age"), number("uses"), text("setting"), number("gen."), number("life left")], list.map(c => ({
    key: `${c.id}`, class: leaked.has(c.id) ? "marked" : "",
    cells: [String(c.id), c.state === "borrowed" ? "out" : c.state, age(c.in, c.atLeast), c.age ? span(c.age) : "–", count(c.uses),
      c.setting || "–", String(c.generation), c.left ? (c.left < 0 ? "due" : span(c.left)) : "–"],
  })), "There is no connection.");
  rest("conns", s.open + s.connecting + s.closing - list.length, list.length);
}

function events(p) {
  table("events", [short("at"), text("event"), text("detail")], p.events.map(e => ({
    key: `${e.what} ${e.first}`,
    cells: [clock(e.at), e.what + (e.count > 1 ? ` ×${e.count}` : ""), (e.count > 1 ? "last: " : "") + e.detail],
  })), "Nothing yet.");
}

function members(p) {
  el("members-section").hidden = !p.isGroup;
  if (!p.isGroup) return;
  const list = data.pools.filter(m => m.group === p.key);
  setText(el("members-title"), `Its pools: ${count(list.length + p.more)}`);
  table("members", [text("pool"), number("out"), number("capacity"), number("waiting"), text("verdict")], list.map(m => ({
    key: m.key, cells: [cell => link(cell, m), count(m.borrowed), count(m.capacity), count(m.waiting), `${words[m.verdict.level][0]} ${m.verdict.sentence}`],
  })), "It has no pools.");
  rest("members", p.more, list.length);
}

// fleet shows the members that share a budget, and what this one knows of itself.
function fleet(f) {
  el("fleet-section").hidden = !f;
  if (!f) return;
  setText(el("fleet-title"), `Fleet ${f.key}: ${plural(f.alive, "member")} share ${plural(f.budget, "connection")}, ` +
    (f.free < 0 ? `${count(-f.free)} too many are charged` : `${count(f.free)} free`));
  facts("fleet-facts", [["budget", f.budget], ["charged, all members", f.charged], ["phase", f.phase], ["charged, this member", f.charge], ["target", f.target],
    ["held", f.held], ["wanted", f.want], ["last proof", span(f.proof) + " ago"], ["time to live", span(f.ttl)], ["errors", f.errors]]);
  table("fleet", [text("member"), number("charge"), number("target"), number("wants"), text("state")], f.members.map((m, i) => ({
    key: `${i}`, class: m.own ? "own" : !m.alive && m.charge ? "marked" : "",
    cells: [m.incarnation, count(m.charge), count(m.target), count(m.want), memberState(m)],
  })), "The ledger has not been read yet.");
  rest("fleet", f.more, f.members.length);
}
function memberState(m) {
  const words = [];
  if (m.own) words.push("this member");
  if (!m.alive) words.push(m.charge ? "dead, and still charged" : "dead");
  if (m.alive && m.target < m.charge) words.push(`gives back ${count(m.charge - m.target)}`);
  if (m.alive && m.want > m.charge) words.push(`lacks ${count(m.want - m.charge)}`);
  return words.join(", ") || "–";
}

function totals(s) {
  const list = [["Gets", s.gets], ["had to wait", s.waits], ["mean wait", s.grantedWaits ? span(s.waitTime / s.grantedWaits) : "–"], ["timed out", s.timeouts],
    ["cancelled", s.cancels], ["shed", s.sheds], ["deadlocks", s.deadlocks], ["connects", s.connects], ["of them failed", s.connectErrors],
    ["backoff periods", s.backoffs], ["tainted", s.taints], ["leaks", s.leaks], ["revoked", s.revoked], ["given up", s.givenUp], ["closed idle", s.closedIdle],
    ["closed by age", s.closedLifetime], ["closed by uses", s.closedUses], ["closed broken", s.closedBroken], ["closed stale", s.closedStale],
    ["closed for capacity", s.closedCapacity]];
  facts("totals", list);
}

// facts fills a list of names and values.
function facts(id, list) {
  fill(el(id), "div", list, (div, [name, value]) => {
    if (!div.firstElementChild) div.append(document.createElement("dt"), document.createElement("dd"));
    setText(div.children[0], name);
    setText(div.children[1], typeof value === "number" ? count(value) : value);
  });
}

const words = { ok: ["✓", "OK"], busy: ["●", "Busy"], warning: ["▲", "Warning"], problem: ["✖", "Problem"], off: ["■", "Closed"] };

// link puts a link to a pool into a node.
function link(node, pool) {
  let a = node.firstElementChild;
  if (!a) {
    a = document.createElement("a");
    a.append(document.createElement("span"), " ", document.createElement("span"));
    a.addEventListener("click", event => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      history.pushState(null, "", a.getAttribute("href"));
      choose();
    });
    node.append(a);
  }
  const [icon, word] = words[pool.verdict.level];
  set(a, "href", "?pool=" + encodeURIComponent(pool.key));
  setClass(a.children[0], pool.verdict.level);
  setText(a.children[0], icon);
  set(a.children[0], "role", "img");
  set(a.children[0], "aria-label", word);
  setText(a.children[1], pool.key);
  return a;
}

let data = null, wanted = "", asked = 0, timer = 0, lastKind = "";

function list() {
  const current = data.pool ? data.pool.key : "", group = (data.pools.find(p => p.key === current) || {}).group;
  const shown = data.pools.filter(p => !p.group || p.key === current);
  fill(el("pools"), "li", shown, (li, pool) => {
    const a = link(li, pool);
    if (pool.key === current) set(a, "aria-current", "page"); else a.removeAttribute("aria-current");
  });
  return group;
}

function render() {
  list();
  setText(el("clock"), clock(data.now));
  const p = data.pool;
  if (!p) {
    setText(el("sentence"), data.pools.length ? `There is no pool named ${wanted}.` : "There is no pool here: none was added, or all are closed.");
    say({ level: "off", kind: "none", notes: [] }, "Nothing");
    el("main").hidden = false;
    for (const id of ["squares-section", "members-section", "fleet-section", "charts", "histograms", "tables"]) el(id).hidden = true;
    el("totals").parentElement.hidden = true;
    document.title = "Connection pools";
    return;
  }
  for (const id of ["squares-section", "charts"]) el(id).hidden = false;
  const explained = !p.failed && !p.isGroup && p.verdict.level !== "off";
  el("tables").hidden = el("histograms").hidden = !explained;
  el("totals").parentElement.hidden = false;
  const s = p.explain.stats;
  setText(el("sentence"), p.verdict.sentence);
  say(p.verdict, words[p.verdict.level][1]);
  document.title = `${words[p.verdict.level][0]} ${p.key}: ${p.verdict.kind}`;
  squares(p);
  members(p);
  fleet(p.fleet);
  charts(p.chart, s);
  if (explained) {
    histogram(el("histogram-wait"), p.wait, "Waits", true);
    setText(el("use-title"), p.useEvery > 1 ? `Use of a connection, one in ${p.useEvery}` : "Use of a connection");
    histogram(el("histogram-use"), p.use, "Uses");
    histogram(el("histogram-connect"), p.connect, "Connects");
    holders(p);
    waiters(p);
    conns(p);
    events(p);
  }
  totals(s);
  const query = "?pool=" + encodeURIComponent(p.key);
  set(el("as-text"), "href", "text" + query);
  set(el("as-json"), "href", "json" + query);
  el("main").hidden = false;
}

// say shows the level of a verdict. Screen readers hear of it when it has become another
// kind, not each time that a number in the sentence has changed.
function say(verdict, word) {
  setClass(el("verdict"), verdict.level);
  setText(el("icon"), words[verdict.level][0]);
  setText(el("word"), word);
  fill(el("notes"), "li", verdict.notes, setText);
  const kind = wanted + verdict.kind;
  if (kind !== lastKind) setText(el("announce"), `${word}: ${el("sentence").textContent}`);
  lastKind = kind;
}

function live(word, lost) {
  setText(el("live"), word);
  setClass(el("live"), lost ? "lost" : "");
}

// poll asks for data. Only the answer to the last question counts.
async function poll() {
  clearTimeout(timer);
  const mine = ++asked;
  try {
    const response = await fetch("data" + (wanted ? "?pool=" + encodeURIComponent(wanted) : ""), { cache: "no-store" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const answer = await response.json();
    if (mine !== asked) return;
    data = answer;
    render();
    live("live", false);
  } catch (error) {
    if (mine !== asked) return;
    live(`no answer since ${data ? clock(data.now) : "the page was loaded"}`, true);
  }
  timer = setTimeout(poll, document.hidden ? 10000 : 1000);
}

// choose shows the pool that the address names.
function choose() {
  wanted = new URLSearchParams(location.search).get("pool") || "";
  poll();
}

function key() {
  const list = [["borrowed", "out"], ["borrowed leaked", "a leak"], ["idle", "idle"], ["work", "checked, reset or prepared"], ["connecting", "connecting"],
    ["closing", "closing"], ["free", "not opened"], ["waiter", "a caller that waits"]];
  for (const [name, word] of list) {
    const li = document.createElement("li"), square = document.createElement("span");
    square.className = "square " + name;
    li.append(square, word);
    el("key").append(li);
  }
}

el("histogram-wait").dataset.fill = "f-waiting";
el("histogram-use").dataset.fill = "f-borrowed";
el("histogram-connect").dataset.fill = "f-connecting";
key();
addEventListener("popstate", choose);
document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
choose();
