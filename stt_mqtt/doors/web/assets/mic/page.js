/** The elements of the page: shows the view of the satellite, and reports what a person does. */

const element = (id) => document.getElementById(id);

const TALK_TEXT = {
  idle: "Talk",
  opening: "Opening…",
  suspended: "Tap to resume",
  held: "Speak now",
  always: "Listening",
  speech: "Hearing you",
  muted: "Muted",
  refused: "Connect",
};
const LINK_TEXT = { up: "Connected", down: "Connecting", refused: "Not connected" };
/** The meter begins here, in dB of full scale. */
const LOWEST_DB = -60;
/** Keys that press the button; others are left to the browser. */
const KEYS = new Set([" ", "Enter"]);

/** When a person did it, in seconds. A busy page hears of it later. */
const timeOf = (event) => event.timeStamp / 1000;

/** `actions`: `press(at)`, `release(at)`, `cancelPress`, `tap`, `mute(muted)`. */
export class Page {
  #actions;
  /** What is shown, so that only what changed touches the page. */
  #shown = {};
  #level = 0;

  constructor(actions) {
    this.#actions = actions;
    this.#listenToButton(element("talk"));
    element("mute").onclick = () => actions.mute(!this.#shown.muted);
    element("problem-tab").href = location.href;
  }

  show(view) {
    this.#change("talk", view.talk, (talk) => {
      document.body.dataset.talk = talk;
      element("talk-text").textContent = TALK_TEXT[talk];
      if (talk === "idle" || talk === "muted") this.level(LOWEST_DB);
    });
    this.#change("always", view.always, (always) => {
      element("talk").setAttribute("aria-pressed", always);
      element("help").textContent = always
        ? "Always listening. Tap to stop"
        : "Hold to talk, or tap to keep listening";
    });
    this.#change("muted", view.muted, (muted) => {
      document.body.toggleAttribute("data-muted", muted);
      element("mute").setAttribute("aria-pressed", muted);
      element("mute").textContent = muted ? "Unmute" : "Mute";
    });
    this.#change("link", `${view.link.state} ${view.link.reason}`, () => this.#showLink(view.link));
    this.#change("partial", view.partial, (text) => this.#text("partial", text));
    this.#change("answer", view.answer, (text) => this.#text("answer", text));
    const note = view.disabled ? "This room is switched off in the house." : view.note;
    this.#change("note", note, (text) => this.#text("note", text));
    this.#change("problem", JSON.stringify(view.problem), () => this.#showProblem(view.problem));
    this.#change("earlier", JSON.stringify(view.earlier), () => this.#showEarlier(view.earlier));
  }

  /** The level of the voice, in dB of full scale. */
  level(db) {
    const part = Math.round(Math.min(Math.max(1 - db / LOWEST_DB, 0), 1) * 50) / 50;
    if (part === this.#level) return;
    this.#level = part;
    element("level").style.transform = `scaleX(${part})`;
    element("talk").style.setProperty("--size", 1 + part * 0.25);
    element("meter").setAttribute("aria-valuenow", Math.round(LOWEST_DB * (1 - part)));
  }

  room(name) {
    element("room-name").textContent = name;
    element("room-name").setAttribute("aria-label", `Room ${name}, change`);
    document.title = `${name}: Microphone`;
  }

  #listenToButton(button) {
    const { press, release, cancelPress, tap } = this.#actions;
    button.onpointerdown = (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      press(timeOf(event));
    };
    button.onpointerup = (event) => release(timeOf(event));
    button.onpointercancel = cancelPress;
    button.oncontextmenu = (event) => event.preventDefault();
    button.onkeydown = (event) => {
      if (!KEYS.has(event.key)) return;
      event.preventDefault();
      if (!event.repeat) press(timeOf(event));
    };
    button.onkeyup = (event) => {
      if (!KEYS.has(event.key)) return;
      event.preventDefault();
      release(timeOf(event));
    };
    button.onblur = cancelPress;
    // A screen reader clicks without a pointer.
    button.onclick = (event) => {
      if (event.detail === 0) tap();
    };
  }

  #change(name, value, show) {
    if (this.#shown[name] === value) return;
    this.#shown[name] = value;
    show(value);
  }

  #text(id, text) {
    element(id).textContent = text;
  }

  #showLink({ state, reason }) {
    document.body.dataset.link = state;
    this.#text("link-text", LINK_TEXT[state] + (reason === "" ? "" : `: ${reason}`));
  }

  #showProblem(problem) {
    element("problem").hidden = problem === null;
    if (problem === null) return;
    this.#text("problem-title", problem.title);
    this.#text("problem-text", problem.text);
    element("problem-tab").hidden = !problem.inTab;
  }

  #showEarlier(earlier) {
    element("before").hidden = earlier.length === 0;
    element("earlier").replaceChildren(
      ...earlier.map(({ text, time }) => {
        const item = document.createElement("li");
        const words = document.createElement("span");
        words.textContent = text;
        const when = document.createElement("time");
        when.textContent = time;
        item.append(words, when);
        return item;
      }),
    );
  }
}
