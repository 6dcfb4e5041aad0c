// The fleet: what it does, its gateways, and a table of its workers.

import { byId, drawing, element, table, whenChanged } from "./dom.js";
import { count } from "./words.js";

const HEADINGS = ["Worker", "State", "Threads", "Model", "Speed", "Jobs"];

/** What follows from a problem of the fleet, for each role of this process. */
const CONSEQUENCES = {
  gateway: "What is said now waits.",
  both: "The threads of this machine do all the work.",
};

/** Show the fleet of a snapshot. Without a fleet the section is hidden. */
export const showFleet = whenChanged((fleet) => {
  byId("fleet-section").hidden = !fleet;
  if (!fleet) {
    return;
  }
  byId("fleet").replaceChildren(
    problemOf(fleet),
    element("p", { class: "note" }, sentencesOf(fleet).join(" ")),
    ...(fleet.workers.length === 0 ? [] : [table("Workers of the fleet", HEADINGS, fleet.workers.map(rowOf))]),
    element("p", { class: "note" }, fleet.hidden_workers > 0 ? `and ${count(fleet.hidden_workers, "more worker")}` : ""),
  );
});

/** What a gateway without a working worker does, as a sentence. */
export function waiting(fleet) {
  return `${fleet.problem} ${CONSEQUENCES[fleet.role]}`;
}

function problemOf(fleet) {
  const status = fleet.role === "gateway" ? "fail" : "off";
  return element("p", {}, fleet.problem === null ? "" : element("span", { class: "status", "data-status": status }, waiting(fleet)));
}

function sentencesOf(fleet) {
  const workers = fleet.workers.length + fleet.hidden_workers;
  const here = fleet.leads && fleet.gateways.length > 1 ? "this one, which speaks for all" : "this one";
  const gateways = fleet.gateways.map((name) => (name === fleet.node ? `${name} (${here})` : name));
  return [
    `Fleet ${fleet.name}: ${count(workers, "worker")}, ${fleet.busy} of ${count(fleet.threads, "thread")} busy.`,
    `Gateways: ${gateways.join(", ")}.`,
    `${count(fleet.in_flight, "job")} of this gateway ${fleet.in_flight === 1 ? "has" : "have"} no result yet.`,
    ...(fleet.again > 0 ? [`${count(fleet.again, "job")} had to be published again.`] : []),
    ...(fleet.late > 0 ? [`${count(fleet.late, "result")} came too late or twice.`] : []),
  ];
}

function rowOf(worker) {
  const [status, word] = stateOf(worker);
  const speed = worker.cost > 0 ? `${speedOf(1 / worker.cost)}× real time` : "";
  const jobs = `${worker.done} done${worker.failed > 0 ? `, ${worker.failed} failed` : ""}`;
  return [
    worker.name,
    element("span", { class: "status", "data-status": status }, word),
    worker.threads === 0 ? "" : element("span", {}, barOf(worker), `${worker.busy} of ${worker.threads} busy`),
    worker.rung === "default" ? worker.model : `${worker.model} (${worker.rung})`,
    speed,
    jobs,
  ];
}

function stateOf(worker) {
  if (worker.leaving) {
    return ["off", "Is leaving"];
  }
  return worker.threads === 0 ? ["off", "Loads its model"] : ["ok", "Works"];
}

function speedOf(times) {
  return times < 10 ? times.toFixed(1) : String(Math.round(times));
}

/** The share of the threads that are busy. */
function barOf(worker) {
  const share = Math.min(worker.busy / worker.threads, 1);
  return drawing(
    "svg",
    { class: "bar", viewBox: "0 0 60 8", "aria-hidden": "true" },
    drawing("rect", { class: "bar-ground", width: 60, height: 8, rx: 4 }),
    share > 0 ? drawing("rect", { class: "bar-share", width: Math.max(60 * share, 8), height: 8, rx: 4 }) : null,
  );
}
