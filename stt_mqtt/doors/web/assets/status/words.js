// Numbers and times in words.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

/** How long ago: "now", "12 s ago", "5 min ago". */
export function ago(seconds) {
  for (const [size, unit] of UNITS) {
    if (seconds >= size) {
      return `${Math.floor(seconds / size)} ${unit} ago`;
    }
  }
  return seconds < 2 ? "now" : `${Math.floor(seconds)} s ago`;
}

/** A duration of a moment: "85 ms", "1.2 s". Null is a dash. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) {
    return "–";
  }
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}

/** A count with its noun: "1 utterance", "3 utterances". */
export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** The time of day of an epoch in seconds. */
export function timeOfDay(epoch) {
  return new Date(epoch * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** Date and time of an epoch in seconds. */
export function dateAndTime(epoch) {
  return new Date(epoch * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
