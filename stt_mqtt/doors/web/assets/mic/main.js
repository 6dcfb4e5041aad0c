/** Builds the parts of the microphone page and connects them with the browser. */

import { makeClock } from "./clock.js";
import { Connection, PROTOCOL } from "./connection.js";
import { Conversation } from "./conversation.js";
import { bestEncoder } from "./encoder.js";
import { Microphone } from "./microphone.js";
import { Page } from "./page.js";
import { RoomDialog } from "./room_dialog.js";
import { Satellite } from "./satellite.js";
import { keepSettings, loadSettings } from "./settings.js";
import { Uplink } from "./uplink.js";
import { WakeLock } from "./wake_lock.js";

const TICK_MS = 250;
const WASM = new URL("../vendor/rnnoise/rnnoise_simd.wasm", import.meta.url);

const clock = makeClock(() => performance.now(), () => Date.now());
const settings = loadSettings();

async function fetchWasm() {
  try {
    const response = await fetch(WASM);
    return response.ok ? await response.arrayBuffer() : null;
  } catch {
    return null;
  }
}

function makeSocket() {
  const url = new URL(`ws?room=${encodeURIComponent(settings.room)}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return new WebSocket(url, PROTOCOL);
}

/** A browser does not say why a WebSocket was refused. Without a valid cookie, log in again. */
async function checkLogin() {
  try {
    const response = await fetch("assets/mic/mic.css", { method: "HEAD", cache: "no-store" });
    if (response.status === 401) location.reload();
  } catch {
    // The service is not there.
  }
}

async function start() {
  const [wasm, Encoder] = await Promise.all([fetchWasm(), bestEncoder()]);
  const wakeLock = new WakeLock(() => navigator.wakeLock?.request("screen"));
  // What they call is only there when all parts are.
  const uplink = new Uplink({
    newId: () => crypto.randomUUID(),
    ended: (utterance) => satellite.ended(utterance),
    dropped: () => satellite.dropped(),
    unanswered: () => satellite.unanswered(),
  });
  const conversation = new Conversation({
    uplink,
    codec: Encoder.codec,
    makeEncoder: (data, failed) => new Encoder(data, failed),
    clock,
    changed: () => satellite.changed(),
    failed: () => satellite.notEncoded(),
  });
  const microphone = new Microphone({
    wasm,
    sent: settings.sent,
    clock,
    segment: (segment, heardAt) => satellite.segment(segment, heardAt),
    level: (db) => page.level(db),
    changed: () => satellite.changed(),
  });
  const connection = new Connection({
    makeSocket,
    random: Math.random,
    clock,
    up: (socket) => satellite.up(socket),
    down: (reason, isFinal) => {
      satellite.down(reason, isFinal);
      if (!isFinal) void checkLogin();
    },
    message: (fields) => satellite.message(fields),
  });
  const satellite = new Satellite({
    clock,
    microphone,
    conversation,
    uplink,
    connection: {
      tick: (now) => (settings.room === "" ? undefined : connection.tick(now)),
      insist: () => connection.insist(),
      restart: () => connection.restart(),
    },
    show: (view) => {
      page.show(view);
      wakeLock.want(satellite.isOnWatch);
    },
    keep: (changed) => keepSettings(Object.assign(settings, changed)),
    timeOfDay: () => new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }),
  });
  const page = new Page({
    press: (at) => satellite.press(at),
    release: (at) => satellite.release(at),
    cancelPress: () => satellite.cancelPress(),
    tap: () => satellite.tap(),
    mute: (muted) => satellite.mute(muted),
  });
  const dialog = new RoomDialog(({ room, sent }) => {
    const isNew = room !== settings.room;
    settings.room = room;
    settings.sent = sent;
    keepSettings(settings);
    page.room(room);
    microphone.send(sent);
    if (isNew) satellite.move();
  });

  document.getElementById("room-name").onclick = () => dialog.open(settings.room, settings.sent);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      // Nobody tells a hidden page that the button is released.
      satellite.cancelPress();
      return;
    }
    connection.hurry();
    wakeLock.renew();
    satellite.tick();
  });
  window.addEventListener("online", () => connection.hurry());
  setInterval(() => satellite.tick(), TICK_MS);

  satellite.resume(settings);
  if (settings.room === "") dialog.open("", settings.sent);
  else page.room(settings.room);
  satellite.tick();
}

void start();
