/** The elements of the page: shows the view of the satellite, and reports what a person does. */

const element = (id) => document.getElementById(id);

const TALK_TEXT = {
  idle: "Talk",
  opening: "Opening…",
  suspended: "Tap to resume",
  held: "Speak now",
  always: "Listening",
  speech: "Hearing you",
  waiting: "One moment…",
  muted: "Muted",
  disabled: "Switched off",
  lost: "No microphone",
  refused: "Connect",
};
const LET_GO = "Let go when you have said it";
const MAY_BEGIN = "Hold to talk, or tap to keep listening";
const HELP = {
  idle: MAY_BEGIN,
  opening: "Allow the microphone if the browser asks",
  suspended: "The browser has paused the sound",
  held: LET_GO,
  speech: LET_GO,
  waiting: MAY_BEGIN,
  muted: "Hold or tap to be heard again",
  disabled: "This room is switched off in the house",
  lost: "It goes on when there is one",
  refused: "Tap to connect again",
};
/** The same while it always listens, where that is another thing. */
const HELP_ALWAYS = Object.fromEntries(
  ["always", "speech", "waiting"].map((talk) => [talk, "Always listening. Tap to stop"]),
);
/** What the button shows when the next tap switches always-on on, whatever it was before. */
const STOPPED = new Set(["muted", "refused"]);
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
  #shown = { answers: 0 };
  #level = 0;

  constructor(actions) {
    this.#actions = actions;
    this.#listenToButton(element("talk"));
    element("mute").onclick = () => actions.mute(!this.#shown.muted);
    element("problem-tab").href = location.href;
  }

  show(view) {
    this.#change("talk", `${view.talk} ${view.always}`, () => this.#showTalk(view));
    this.#change("hears", view.hears, () => this.#showLevel(LOWEST_DB));
    this.#change("muted", view.muted, (muted) => {
      document.body.toggleAttribute("data-muted", muted);
      element("mute").setAttribute("aria-pressed", muted);
      element("mute").textContent = muted ? "Unmute" : "Mute";
    });
    this.#change("link", `${view.link.state} ${view.link.reason}`, () => this.#showLink(view.link));
    this.#change("partial", view.partial, (text) => this.#text("partial", text));
    this.#change("answers", view.answers, () => this.#showAnswer(view));
    this.#change("isOld", view.isOld, (isOld) => element("answer").classList.toggle("old", isOld));
    this.#change("note", `${view.notes} ${view.note}`, () => this.#text("note", view.note));
    this.#change("problem", JSON.stringify(view.problem), () => this.#showProblem(view.problem));
    this.#change("earlier", JSON.stringify(view.earlier), () => this.#showEarlier(view.earlier));
  }

  /** The level of the voice, in dB of full scale. */
  level(db) {
    if (this.#shown.hears) this.#showLevel(db);
  }

  room(name) {
    element("room-name").textContent = name;
    element("room-name").setAttribute("aria-label", `Room ${name}, change`);
    document.title = `${name}: Microphone`;
  }

  #showTalk({ talk, always }) {
    document.body.dataset.talk = talk;
    document.body.toggleAttribute("data-always", always);
    this.#text("talk-text", TALK_TEXT[talk]);
    this.#text("help", (always && HELP_ALWAYS[talk]) || HELP[talk]);
    element("talk").setAttribute("aria-pressed", always && !STOPPED.has(talk));
  }

  /** A new element is announced and flashes, also if the words are the same as before. */
  #showAnswer({ answer, answeredAt }) {
    const words = document.createElement("span");
    words.textContent = answer;
    element("answer").replaceChildren(words);
    this.#text("answered-at", answeredAt);
    element("words").scrollIntoView({ block: "nearest" });
  }

  #showLevel(db) {
    const part = Math.round(Math.min(Math.max(1 - db / LOWEST_DB, 0), 1) * 50) / 50;
    if (part === this.#level) return;
    this.#level = part;
    element("level").style.transform = `scaleX(${part})`;
    element("talk").style.setProperty("--size", 1 + part * 0.25);
    element("meter").setAttribute("aria-valuenow", Math.round(LOWEST_DB * (1 - part)));
  }

  #listenToButton(button) {
    const { press, release, cancelPress, tap } = this.#actions;
    button.onpointerdown = (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      press(timeOf(event));
    };
    button.onpointerup = (event) => release(timeOf(event));
    button.onpointercancel = button.onlostpointercapture = cancelPress;
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
    // Why it was refused is in the note.
    const why = state === "down" && reason !== "" ? `: ${reason}` : "";
    this.#text("link-text", LINK_TEXT[state] + why);
  }

  #showProblem(problem) {
    element("problem").hidden = problem === null;
    if (problem === null) return;
    this.#text("problem-title", problem.title);
    this.#text("problem-text", problem.text);
    element("problem-tab").hidden = !problem.inTab;
    element("told").scrollTop = 0;
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
