/** What a result of the service means, in words for the person at the page. */

const SENTENCES = {
  disabled: "This room is switched off in the house.",
  overloaded: "The service is busy. Please say it again.",
  expired: "That took too long. Please say it again.",
  too_short: "That was too short.",
  too_long: "That was too long.",
  model_unavailable: "The service is not ready yet. Please say it again.",
  inference_timeout: "That took too long. Please say it again.",
};

const PART = "The connection stood still: perhaps only a part was heard.";

/** `{ text, note }` of a result; null: there is nothing to show. */
export function answerOf({ outcome, text, end, error, hint }) {
  if (outcome === "transcript") return { text, note: hint ?? (end === "gap" ? PART : "") };
  if (outcome === "no_speech") return { text: "", note: hint ?? "Nothing was understood." };
  if (end === "restart") return { text: "", note: "Another page spoke as this room." };
  if (outcome === "error") {
    return { text: "", note: SENTENCES[error?.code] ?? `It failed: ${error?.detail ?? "unknown"}` };
  }
  return null;
}
