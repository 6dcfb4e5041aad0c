/** What the page keeps in this browser. Without storage it forgets it with the page. */

import { SENT } from "./chain.js";
import { roomProblem } from "./room.js";

const KEY = "stt-mqtt.microphone";
/** Normalised audio has the fewest wrong words in noise; see `benchmarks/results/browser.md`. */
const DEFAULTS = { room: "", sent: SENT.NORMALISED, always: false, muted: false };

export function loadSettings(storage = () => localStorage) {
  let kept = {};
  try {
    kept = JSON.parse(storage().getItem(KEY)) ?? {};
  } catch {
    // There is no storage, or something else is in it.
  }
  const settings = { ...DEFAULTS, ...kept };
  if (typeof settings.room !== "string" || roomProblem(settings.room) !== null) settings.room = "";
  if (!Object.values(SENT).includes(settings.sent)) settings.sent = DEFAULTS.sent;
  return settings;
}

export function keepSettings(settings, storage = () => localStorage) {
  try {
    storage().setItem(KEY, JSON.stringify(settings));
  } catch {
    // It lasts as long as the page, then.
  }
}
