// The status page: follows the snapshots of the service, and says when it does not answer.

import { byId, setText } from "./dom.js";
import { showDoors, showErrors, showPhrases, showVersions } from "./details.js";
import { showFleet, waiting } from "./fleet.js";
import { showFigures } from "./plots.js";
import { showRooms, tickRooms } from "./rooms.js";
import { prepareSelfCheck } from "./selfcheck.js";
import { LoginNeeded, Refused, snapshots } from "./stream.js";
import { dateAndTime, timeOfDay } from "./words.js";

const SILENT_MS = 15_000; // The service sends every 5 s.
const RETRY_MS = 2_000;
const TICK_MS = 1_000;
const STATES = {
  loading: "The model is loading. What is said now waits.",
  hanging: "A transcription hangs. The log says more.",
};

let attempt = null; // Ends the request that is open; null: none is.
let version = null;
let skewMs = 0;
let heardAt = 0;
let silentSince = null;
let tries = 0;

/** Follow the snapshots for as long as the page is open. */
async function follow() {
  for (;;) {
    attempt = new AbortController();
    heardAt = performance.now();
    try {
      for await (const snapshot of snapshots(attempt.signal)) {
        show(snapshot);
      }
      lose();
    } catch (error) {
      if (error instanceof LoginNeeded) {
        // The login has expired; its page comes instead.
        location.reload();
        return;
      }
      lose(error instanceof Refused ? error.message : "");
    }
    attempt = null;
    tries += 1;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS * Math.min(tries, 5)));
  }
}

function show(snapshot) {
  try {
    take(snapshot);
  } catch (error) {
    // A defect of the page says nothing about the connection.
    reportError(error);
  }
}

function take(snapshot) {
  if (version !== null && snapshot.version !== version) {
    // These scripts belong to another version of the service.
    location.reload();
    return;
  }
  version = snapshot.version;
  heardAt = performance.now();
  silentSince = null;
  tries = 0;
  skewMs = snapshot.ts * 1000 - Date.now();
  showService(snapshot);
  showRooms(snapshot);
  showFigures(snapshot);
  showFleet(snapshot.fleet);
  showErrors(snapshot);
  showDoors(snapshot.doors);
  showPhrases(snapshot.phrases);
  showVersions({ started: dateAndTime(snapshot.started), versions: snapshot.versions });
  tick();
}

function showService(snapshot) {
  const broken = snapshot.doors.filter((door) => door.problem !== null).map((door) => door.name);
  const service = byId("service");
  document.body.dataset.connection = "live";
  if (snapshot.state === "alone") {
    service.dataset.state = "bad";
    setText(service, waiting(snapshot.fleet));
  } else if (snapshot.state !== "serving") {
    service.dataset.state = "waiting";
    setText(service, STATES[snapshot.state] ?? snapshot.state);
  } else if (broken.length > 0) {
    service.dataset.state = "bad";
    setText(service, `${broken.join(" and ")}: no connection, see Doors`);
  } else {
    service.dataset.state = "good";
    setText(service, "Listening");
  }
}

/** There is no stream. `refusal`: the sentence of a service that refuses it; empty: no answer came. */
function lose(refusal = "") {
  if (refusal !== "") {
    silentSince = null;
  } else if (silentSince === null) {
    silentSince = Date.now() + skewMs;
  }
  document.body.dataset.connection = "lost";
  const service = byId("service");
  service.dataset.state = "bad";
  setText(service, refusal || `The service does not answer since ${timeOfDay(silentSince / 1000)}`);
}

function tick() {
  if (silentSince === null) {
    tickRooms((Date.now() + skewMs) / 1000);
  }
}

setInterval(() => {
  tick();
  if (performance.now() - heardAt > SILENT_MS) {
    attempt?.abort();
  }
}, TICK_MS);

prepareSelfCheck();
follow();
