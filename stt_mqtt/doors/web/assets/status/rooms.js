// One card for each room: state, last words, when, how long it took, and the microphone.

import { byId, element, setText } from "./dom.js";
import { ago, count, duration } from "./words.js";

const MOST_SNR_DB = 60; // More means digital silence between the words.

const DOORS = { hermes: "Hermes", wyoming: "Wyoming" };
const STATES = { listening: "Listening", transcribing: "Transcribing", idle: "Idle" };
const SIGNS = { good: "✓", weak: "!", bad: "✕", unknown: "?" };
const MICROPHONES = {
  good: "Microphone good",
  weak: "Microphone weak",
  bad: "Microphone bad",
  unknown: "Microphone not known yet",
};

const cards = new Map();
let announced = new Map();

/** Show the rooms of a snapshot. */
export function showRooms(snapshot) {
  const list = byId("rooms");
  const rooms = [...snapshot.rooms].sort((a, b) => orderOf(a).localeCompare(orderOf(b)));
  const wanted = new Set(rooms.map(keyOf));
  for (const [key, card] of cards) {
    if (!wanted.has(key)) {
      card.root.remove();
      cards.delete(key);
    }
  }
  rooms.forEach((room, place) => {
    const key = keyOf(room);
    if (!cards.has(key)) {
      cards.set(key, newCard());
    }
    const card = cards.get(key);
    fill(card, room);
    if (list.children[place] !== card.root) {
      list.insertBefore(card.root, list.children[place] ?? null);
    }
  });
  setText(byId("rooms-note"), noteOf(snapshot));
  announce(rooms);
}

/** Bring the ages up to date. `now`: the time of the service, in seconds of the epoch. */
export function tickRooms(now) {
  for (const card of cards.values()) {
    setText(card.when, card.ts === null ? "" : ago(Math.max(now - card.ts, 0)));
  }
}

/** Rooms with a name come before clients that have only an address. */
function orderOf(room) {
  return `${room.door === "wyoming" ? 1 : 0} ${keyOf(room)}`;
}

function keyOf(room) {
  return `${room.name}\n${room.door}`;
}

function newCard() {
  const card = { ts: null, shownReasons: "" };
  card.name = element("h3");
  card.door = element("span", { class: "door" });
  card.state = element("p", { class: "state" });
  card.words = element("p", { class: "words" });
  card.when = element("span");
  card.took = element("span");
  card.hint = element("p", { class: "hint" });
  card.sign = element("span", { class: "sign", "aria-hidden": "true" });
  card.microphone = element("span");
  card.level = element("span", { class: "level" });
  card.badge = element("p", { class: "microphone" }, card.sign, card.microphone, card.level);
  card.reasons = element("ul", { class: "reasons" });
  card.root = element(
    "li",
    { class: "room" },
    element("div", { class: "heading" }, element("div", {}, card.name, card.door), card.state),
    card.words,
    element("p", { class: "facts" }, card.when, card.took),
    card.hint,
    card.badge,
    card.reasons,
  );
  return card;
}

function fill(card, room) {
  const { last, microphone } = room;
  card.root.dataset.state = room.enabled ? room.state : "off";
  card.root.dataset.word = microphone.word;
  setText(card.name, room.name);
  setText(card.door, DOORS[room.door] ?? "");
  setText(card.state, room.enabled ? (STATES[room.state] ?? room.state) : "Switched off");
  setText(card.words, saidIn(last));
  card.words.dataset.outcome = last === null ? "none" : last.outcome;
  card.words.classList.toggle("quoted", Boolean(last?.text));
  card.ts = last === null ? null : last.ts;
  setText(card.took, tookOf(last));
  setText(card.hint, microphone.reasons.length === 0 ? (last?.hint ?? "") : "");
  setText(card.sign, SIGNS[microphone.word] ?? "?");
  setText(card.microphone, MICROPHONES[microphone.word] ?? microphone.word);
  setText(card.level, levelOf(microphone));
  const reasons = JSON.stringify(microphone.reasons);
  if (reasons !== card.shownReasons) {
    card.shownReasons = reasons;
    card.reasons.replaceChildren(
      ...microphone.reasons.map((reason) => element("li", { "data-word": reason.word }, reason.sentence)),
    );
  }
}

/** What to show of an outcome: the words where they may be shown, else what became of it. */
function saidIn(last) {
  if (last === null) {
    return "Nothing heard yet";
  }
  if (last.outcome === "transcript") {
    const cut = last.incomplete ? " (cut off)" : "";
    return (last.text ? last.text : "Understood") + cut;
  }
  if (last.outcome === "error") {
    return last.error.detail;
  }
  return { no_speech: "Nobody spoke", aborted: "Cancelled" }[last.outcome] ?? last.outcome;
}

function tookOf(last) {
  const isAnswer = last?.outcome === "transcript" || last?.outcome === "no_speech";
  return isAnswer && last.latency_s !== null ? `answered in ${duration(last.latency_s)}` : "";
}

function levelOf(microphone) {
  if (microphone.snr_db === null) {
    return "";
  }
  const above = microphone.snr_db > MOST_SNR_DB ? `> ${MOST_SNR_DB}` : Math.round(microphone.snr_db);
  return `SNR ${above} dB`;
}

function noteOf(snapshot) {
  const notes = [];
  if (snapshot.rooms.length === 0) {
    notes.push("No room has spoken yet. A room appears here with its first utterance.");
  } else if (!snapshot.show_text) {
    notes.push("The words are not shown. web.show_text: true shows them.");
  }
  if (snapshot.hidden_rooms > 0) {
    notes.push(`${count(snapshot.hidden_rooms, "more room")}, heard longer ago.`);
  }
  return notes.join(" ");
}

/** Tell screen readers of the newest outcome, but not of what was there when the page opened. */
function announce(rooms) {
  const first = announced.size === 0;
  const seen = new Map();
  let newest = null;
  for (const room of rooms) {
    if (room.last === null) {
      continue;
    }
    // Not its time: that changes a little with the clock.
    const outcomes = `${room.utterances} ${room.errors}`;
    seen.set(keyOf(room), outcomes);
    const isNew = announced.get(keyOf(room)) !== outcomes;
    if (isNew && (newest === null || room.last.ts > newest.last.ts)) {
      newest = room;
    }
  }
  announced = seen;
  if (newest !== null && !first) {
    setText(byId("announcements"), `${newest.name}: ${saidIn(newest.last)}`);
  }
}
