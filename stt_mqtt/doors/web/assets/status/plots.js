// Four figures with a plot of the last hour each. A plot is inline SVG without styles of its own.

import { byId, drawing, element, setText } from "./dom.js";
import { count, duration } from "./words.js";

const WIDTH = 260;
const HEIGHT = 100;
const LEFT = 4;
const RIGHT = 4;
const TOP = 18;
const BOTTOM = 20;
const INNER_WIDTH = WIDTH - LEFT - RIGHT;
const INNER_HEIGHT = HEIGHT - TOP - BOTTOM;

/** Least upper ends of the scales, so that a quiet hour looks quiet. */
const LEAST = { utterances: 4, latency_s: 0.5, cpu: 1 };

const figures = {};

/** Show the figures of a snapshot. */
export function showFigures(snapshot) {
  const { history, now } = snapshot;
  showUtterances(history);
  showLatency(history);
  showLoad(history, now);
  showModel(history, now);
}

function showUtterances(history) {
  const kinds = [["transcripts", "understood"], ["silent", "nothing said"], ["aborted", "cancelled"], ["errors", "error"]];
  const all = history.transcripts.map((_, minute) => sum(kinds.map(([kind]) => history[kind][minute])));
  const top = Math.max(LEAST.utterances, ...all);
  show("utterances", "Utterances", {
    value: String(history.hour.utterances),
    unit: "in the last hour",
    detail: [
      count(sum(history.transcripts), "transcript"),
      `${sum(history.silent)} without words`,
      `${sum(history.aborted)} cancelled`,
      count(sum(history.errors), "error"),
    ].join(", "),
    key: kinds,
    summary: `Utterances and refused messages in each minute of the last hour, at most ${Math.max(...all)} in one.`,
    scale: `${top}`,
    marks: all.flatMap((_, minute) => stack(minute, top, kinds.map(([kind]) => [kind, history[kind][minute]]))),
  });
}

function showLatency(history) {
  const slowest = Math.max(...history.p95_s.map((value) => value ?? 0));
  const top = niceTop(Math.max(LEAST.latency_s, slowest));
  const { p50_s: p50, p95_s: p95 } = history.hour;
  const marks = history.p50_s.flatMap((median, minute) => {
    if (median === null) {
      return [];
    }
    const at = middle(minute);
    const [low, high] = [y(median, top), y(history.p95_s[minute], top)];
    return [
      drawing("line", { class: "p95", x1: at, x2: at, y1: low, y2: Math.min(high, low - 0.01) }),
      drawing("circle", { class: "p50", cx: at, cy: low, r: 1.75 }),
    ];
  });
  show("latency", "Answer time", {
    value: duration(p50),
    unit: p50 === null ? "no answer in the last hour" : "half of the answers",
    detail: p95 === null ? "" : `95 of 100 within ${duration(p95)}`,
    key: [["p50", "median"], ["p95", "up to 95 %"]],
    summary: `Answer time in each minute of the last hour, the slowest ${duration(slowest)}.`,
    scale: duration(top),
    marks,
  });
}

function showLoad(history, now) {
  const known = history.cpu.filter((value) => value !== null);
  const top = Math.max(LEAST.cpu, now.cores, ...known);
  const waited = Math.max(...history.jobs);
  show("load", "Load", {
    value: now.cpu === null ? "–" : now.cpu.toFixed(1),
    unit: `of ${count(now.cores, "core")}`,
    detail: `${now.rss_mb} MB of memory`,
    key: [["cpu", "cores in use"]],
    summary: `Cores in use in each minute of the last hour, at most ${known.length ? Math.max(...known).toFixed(1) : "none"}.`,
    scale: `${top} cores`,
    marks: area(history.cpu, top),
    extra: waited > 0 ? `At most ${count(waited, "utterance")} waited at once.` : "Nothing had to wait.",
  });
}

function showModel(history, now) {
  const { queue, rung } = now;
  const waiting = queue.jobs === 0 ? "Nothing waits." : `${count(queue.jobs, "utterance")} (${queue.audio_s} s) ${queue.jobs === 1 ? "waits" : "wait"}, for ${queue.oldest_s} s.`;
  if (rung === null) {
    // Workers of the fleet transcribe.
    show("model", "Queue", {
      value: String(queue.jobs),
      unit: "waiting now",
      detail: waiting,
      key: [["cpu", "waiting"]],
      summary: `Utterances that waited in each minute of the last hour, at most ${Math.max(...history.jobs)}.`,
      scale: `${Math.max(LEAST.utterances, ...history.jobs)}`,
      marks: area(history.jobs, Math.max(LEAST.utterances, ...history.jobs)),
    });
    return;
  }
  const names = [...new Set(history.rung.filter((name) => name !== null))].sort();
  const bands = runsOf(history.rung).map(({ value, from, to }) =>
    drawing("rect", {
      class: `rung rung-${names.indexOf(value) % 4}`,
      x: left(from),
      y: TOP + 6,
      width: left(to) - left(from),
      height: INNER_HEIGHT - 6,
    }),
  );
  show("model", "Model and queue", {
    value: rung.model ?? rung.active,
    unit: "",
    detail: `rung ${rung.active}: ${rung.reason}`,
    key: names.map((name) => [`rung-${names.indexOf(name) % 4}`, name]),
    summary: `Rungs in the last hour: ${names.join(", ") || "none"}.`,
    scale: "",
    marks: bands,
    extra: waiting,
  });
}

/** Fill the card of a figure, made at its first use. */
function show(id, title, { value, unit, detail, key, summary, scale, marks, extra = "" }) {
  figures[id] ??= newFigure(id, title);
  const figure = figures[id];
  setText(figure.value, value);
  figure.value.classList.toggle("long", value.length > 7);
  setText(figure.unit, unit);
  setText(figure.detail, detail);
  setText(figure.extra, extra);
  const drawn = JSON.stringify([summary, scale, key, marks.map((mark) => mark.outerHTML)]);
  if (drawn === figure.drawn) {
    return;
  }
  figure.drawn = drawn;
  setText(figure.title, summary);
  figure.marks.replaceChildren(...marks);
  setText(figure.scale, scale);
  figure.key.replaceChildren(
    ...key.map(([mark, name]) => element("li", {}, element("span", { class: `swatch ${mark}`, "aria-hidden": "true" }), name)),
  );
}

function newFigure(id, title) {
  const figure = { drawn: "" };
  figure.value = element("span", { class: "value" });
  figure.unit = element("span", { class: "unit" });
  figure.detail = element("p", { class: "detail" });
  figure.extra = element("p", { class: "detail" });
  figure.key = element("ul", { class: "key" });
  figure.title = drawing("title", { id: `${id}-title` });
  figure.marks = drawing("g");
  figure.scale = drawing("text", { x: LEFT, y: TOP - 5 });
  const baseline = TOP + INNER_HEIGHT + 0.5;
  figure.plot = drawing(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-labelledby": `${id}-title`, class: "plot" },
    figure.title,
    drawing("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: TOP, y2: TOP }),
    figure.marks,
    drawing("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: baseline, y2: baseline }),
    figure.scale,
    drawing("text", { x: LEFT, y: HEIGHT - 5 }, "1 h ago"),
    drawing("text", { x: LEFT + INNER_WIDTH / 2, y: HEIGHT - 5, "text-anchor": "middle" }, "30 min"),
    drawing("text", { x: WIDTH - RIGHT, y: HEIGHT - 5, "text-anchor": "end" }, "now"),
  );
  byId("figures").append(
    element(
      "article",
      { class: "figure", id: `figure-${id}` },
      element("h3", {}, title),
      element("p", { class: "number" }, figure.value, " ", figure.unit),
      figure.detail,
      figure.plot,
      figure.key,
      figure.extra,
    ),
  );
  return figure;
}

/** Bars on top of each other in one minute. */
function stack(minute, top, parts) {
  const bars = [];
  let below = 0;
  for (const [mark, value] of parts) {
    if (value > 0) {
      const [low, high] = [y(below, top), y(below + value, top)];
      bars.push(drawing("rect", { class: mark, x: left(minute) + 0.5, y: high, width: step() - 1, height: low - high }));
      below += value;
    }
  }
  return bars;
}

/** The area under a line, with gaps where nothing is known. */
function area(values, top) {
  const runs = [];
  let run = [];
  values.forEach((value, minute) => {
    if (value !== null) {
      run.push([minute, value]);
    }
    if ((value === null || minute === values.length - 1) && run.length > 0) {
      runs.push(run);
      run = [];
    }
  });
  return runs.flatMap((known) => {
    // One minute alone is a step, so that it can be seen.
    const points = [
      [left(known[0][0]), known[0][1]],
      ...known.map(([minute, value]) => [middle(minute), value]),
      [left(known.at(-1)[0] + 1), known.at(-1)[1]],
    ].map(([x, value]) => `${round(x)},${round(y(value, top))}`);
    const base = TOP + INNER_HEIGHT;
    const edges = [`${round(left(known.at(-1)[0] + 1))},${base}`, `${round(left(known[0][0]))},${base}`];
    return [
      drawing("polygon", { class: "cpu-area", points: [...points, ...edges].join(" ") }),
      drawing("polyline", { class: "cpu", points: points.join(" ") }),
    ];
  });
}

/** Minutes with the same value that follow each other, from one to another (exclusive). */
function runsOf(values) {
  const runs = [];
  values.forEach((value, minute) => {
    const last = runs.at(-1);
    if (value !== null && last?.value === value && last.to === minute) {
      last.to = minute + 1;
    } else if (value !== null) {
      runs.push({ value, from: minute, to: minute + 1 });
    }
  });
  return runs;
}

function step() {
  return INNER_WIDTH / 60;
}

function left(minute) {
  return round(LEFT + minute * step());
}

function middle(minute) {
  return round(LEFT + (minute + 0.5) * step());
}

function y(value, top) {
  return round(TOP + INNER_HEIGHT * (1 - Math.min(value / top, 1)));
}

function round(value) {
  return Math.round(value * 100) / 100;
}

/** The next of 1, 2 and 5 times a power of ten. */
function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((times) => times * power).find((top) => top >= value - 1e-9);
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
