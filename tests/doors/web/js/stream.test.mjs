import assert from "node:assert/strict";
import { test } from "node:test";

const { LoginNeeded, Refused, snapshots } = await import("../../../../stt_mqtt/doors/web/assets/status/stream.js");

/** The snapshots of a service that gives this answer. */
async function read(body, init) {
  globalThis.fetch = async () => new Response(body, init);
  const found = [];
  for await (const snapshot of snapshots(new AbortController().signal)) {
    found.push(snapshot);
  }
  return found;
}

/** A body that comes in these pieces. */
function inPieces(pieces) {
  return new ReadableStream({
    start(controller) {
      pieces.forEach((piece) => controller.enqueue(piece));
      controller.close();
    },
  });
}

test("snapshots are found however the bytes are cut", async () => {
  const bytes = new TextEncoder().encode('retry: 2000\n\ndata: {"name":"Küche"}\n\ndata: {"v":2}\n\ndata: {"half');
  for (let size = 1; size <= bytes.length; size += 1) {
    const pieces = [];
    for (let at = 0; at < bytes.length; at += size) {
      pieces.push(bytes.slice(at, at + size));
    }
    assert.deepEqual(await read(inPieces(pieces)), [{ name: "Küche" }, { v: 2 }]);
  }
});

test("a refusal of the service is told from a proxy that does not reach it", async () => {
  const refused = { status: 503, headers: { "Retry-After": "10" } };
  await assert.rejects(read("Close one.\n", refused), (error) => error instanceof Refused && error.message === "Close one.");
  await assert.rejects(read("<h1>503</h1>", { status: 503 }), (error) => !(error instanceof Refused));
});

test("without a session the login is asked for", async () => {
  await assert.rejects(read("", { status: 401 }), LoginNeeded);
});
