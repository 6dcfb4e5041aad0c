// The stream of snapshots. It is read with fetch, because an EventSource does not say why it was refused.

/** The service gives no stream. `message`: its sentence. */
export class Refused extends Error {}

/** The service wants to know who asks. */
export class LoginNeeded extends Error {}

/** The snapshots, until the stream ends. Throws `Refused`, `LoginNeeded`, or what `fetch` throws. */
export async function* snapshots(signal) {
  const response = await fetch("events", { cache: "no-store", signal });
  if (response.status === 401 || response.redirected) {
    throw new LoginNeeded();
  }
  // A proxy in front of a service that is away answers 503, too.
  if (response.status === 503 && response.headers.has("Retry-After")) {
    throw new Refused((await response.text()).trim().slice(0, 300));
  }
  if (!response.ok) {
    throw new Error(`status ${response.status}`);
  }
  for await (const data of eventsIn(response.body)) {
    yield JSON.parse(data);
  }
}

/** The data of each server-sent event in a stream of bytes. */
async function* eventsIn(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return;
    }
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (event.startsWith("data: ")) {
        yield event.slice("data: ".length);
      }
    }
  }
}
