// The self-check: one request, a list of what was found, and a report to copy.

import { byId, element, setText } from "./dom.js";

const SIGNS = { ok: "✓", warn: "!", fail: "✕" };
const WORDS = { ok: "ok", warn: "warning", fail: "failure" };

let report = "";

/** Make the buttons work. */
export function prepareSelfCheck() {
  byId("selfcheck").addEventListener("click", check);
  byId("selfcheck-copy").addEventListener("click", copy);
}

async function check() {
  const button = byId("selfcheck");
  button.disabled = true;
  byId("selfcheck-copy").hidden = true;
  byId("selfcheck-report").replaceChildren();
  setText(byId("selfcheck-summary"), "Checking …");
  try {
    const response = await fetch("selfcheck", { method: "POST", headers: { Accept: "application/json" } });
    if (!response.ok) {
      throw new Error(await problemOf(response));
    }
    show((await response.json()).checks);
  } catch (error) {
    setText(byId("selfcheck-summary"), `The check did not work: ${error.message}`);
  } finally {
    button.disabled = false;
  }
}

/** What an answer other than a report says: JSON with `error`, or a text. */
async function problemOf(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return text.slice(0, 300) || `status ${response.status}`;
  }
}

function show(checks) {
  const bad = checks.filter((found) => found.status !== "ok");
  const summary = bad.length === 0 ? `All ${checks.length} checks passed.` : `${bad.length} of ${checks.length} checks found something.`;
  setText(byId("selfcheck-summary"), summary);
  byId("selfcheck-report").replaceChildren(
    ...checks.map((found) =>
      element(
        "li",
        { "data-status": found.status },
        element("span", { class: "sign", "aria-hidden": "true" }, SIGNS[found.status] ?? "?"),
        element(
          "div",
          {},
          element("strong", {}, found.name),
          element("span", { class: "hidden" }, ` (${WORDS[found.status] ?? found.status})`),
          element("p", {}, found.detail),
          found.what_to_do ? element("p", { class: "todo" }, found.what_to_do) : null,
        ),
      ),
    ),
  );
  report = [`stt-mqtt self-check, ${new Date().toISOString()}: ${summary}`, ...checks.map(lineOf)].join("\n");
  byId("selfcheck-copy").hidden = false;
}

function lineOf(found) {
  const todo = found.what_to_do ? ` → ${found.what_to_do}` : "";
  return `${(WORDS[found.status] ?? found.status).padEnd(8)} ${found.name}: ${found.detail}${todo}`;
}

async function copy() {
  try {
    await navigator.clipboard.writeText(report);
  } catch {
    // Without HTTPS there is no clipboard interface.
    copySelection();
  }
  setText(byId("selfcheck-summary"), "The report is copied.");
}

function copySelection() {
  const area = element("textarea", { class: "hidden", readonly: true });
  area.value = report;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
