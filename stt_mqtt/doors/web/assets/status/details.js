// The tables below the rooms: errors, doors, phrase book, versions.

import { byId, element, table, whenChanged } from "./dom.js";
import { ago, count } from "./words.js";

/** Show the errors of a snapshot, with their age in minutes. */
export function showErrors(snapshot) {
  renderErrors(
    snapshot.errors.map(({ ts, ...error }) => ({ ...error, when: ts > snapshot.ts - 60 ? "just now" : ago(snapshot.ts - ts) })),
  );
}

const renderErrors = whenChanged((errors) => {
  const rows = errors.map((error) => [
    element("span", {}, error.kind.replaceAll("_", " "), element("span", { class: "times" }, ` ×${error.count}`)),
    error.when,
    error.device ?? "–",
    element("span", {}, error.detail),
    element("span", {}, error.what_to_do),
  ]);
  const headings = ["Error", "Last", "Room", "What happened", "What to do"];
  byId("errors").replaceChildren(
    rows.length === 0
      ? element("p", { class: "note" }, "No error since the service started.")
      : table("Last errors by kind", headings, rows),
  );
});

/** Show the doors. */
export const showDoors = whenChanged((doors) => {
  const rows = doors.map((door) => [door.name, stateOf(door), connectedOf(door)]);
  byId("doors").replaceChildren(table("Doors and who is connected", ["Door", "State", "Connected"], rows));
});

function stateOf(door) {
  if (!door.on) {
    return element("span", { class: "status", "data-status": "off" }, "Off");
  }
  return element(
    "span",
    {},
    element("span", { class: "status", "data-status": door.problem === null ? "ok" : "fail" }, door.problem === null ? "Works" : "Does not work"),
    element("span", { class: "where" }, door.problem ?? door.where),
  );
}

function connectedOf(door) {
  if (door.connected === null) {
    return "–";
  }
  if (door.connected === 0) {
    return "nobody";
  }
  const counts = new Map();
  for (const client of door.clients) {
    counts.set(client, (counts.get(client) ?? 0) + 1);
  }
  const names = [...counts].map(([name, times]) => (times === 1 ? name : `${name} ×${times}`));
  const hidden = door.connected - door.clients.length;
  return element(
    "span",
    {},
    element("span", { class: "status" }, String(door.connected)),
    element("span", { class: "where" }, names.join(", ") + (hidden > 0 ? " …" : "")),
  );
}

/** Show the state of the phrase book. */
export const showPhrases = whenChanged((phrases) => {
  byId("phrases").replaceChildren(
    ...(phrases === null || phrases === undefined
      ? [element("p", { class: "note" }, "There is none. Whatever is said is transcribed freely.")]
      : [phraseTable(phrases)]),
  );
});

function phraseTable(phrases) {
  const { names } = phrases;
  const mistakes =
    phrases.mistakes === 0
      ? element("span", { class: "status", "data-status": "ok" }, "None")
      : element("span", { class: "status", "data-status": "fail" }, `${count(phrases.mistakes, "mistake")} in the files, so the book is old. The log names them.`);
  const rows = [
    ["Sentences", String(phrases.sentences)],
    ["Languages", phrases.languages.join(", ")],
    ["Mistakes", mistakes],
    ["Names", namesIn(names)],
    ["Home Assistant", names.home_assistant ?? "not asked for names"],
  ];
  return table("Phrase book", ["What", "State"], rows);
}

function namesIn(names) {
  const kinds = [["entities", "device"], ["areas", "area"], ["floors", "floor"], ["lists", "list"]];
  const known = kinds.filter(([key]) => names[key] > 0);
  return known.map(([key, noun]) => count(names[key], noun)).join(", ") || "none";
}

/** Show the versions, and since when the service runs: a text. */
export const showVersions = whenChanged(({ started, versions }) => {
  const facts = [{ name: "Running since", version: started }, ...versions];
  byId("versions").replaceChildren(
    ...facts.map(({ name, version }) => element("div", {}, element("dt", {}, name), element("dd", {}, version))),
  );
});
