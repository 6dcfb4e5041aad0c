/** The page as a satellite: the button, the microphone, the conversation, and what is shown. */

import { answerOf } from "./answers.js";
import { MICROPHONE } from "./microphone_states.js";
import { Press, TALK } from "./press.js";
import { CLOSED, LISTEN } from "./segmenter.js";

/** A microphone that nobody uses is closed after this time. */
export const IDLE_S = 60;
/** Earlier texts that are shown. */
export const EARLIER = 3;

/** What the button shows while speech would be heard. */
const HEARS = new Set(["held", "always", "speech", "waiting"]);

/**
 * Has no clock of its own, and knows no page: `clock()` gives seconds, `microphone`, `conversation`,
 * `uplink` and `connection` are as in their modules, `show(view)` gets what is to be seen,
 * `keep({ always, muted })` gets what a reload must not change, and `timeOfDay()` gives the time for a
 * person.
 */
export class Satellite {
  #parts;
  #press = new Press();
  #muted = false;
  #disabled = false;
  #link = { state: "down", reason: "" };
  #partial = "";
  #answer = "";
  /** Answers so far: the same words may come again. */
  #answers = 0;
  /** Notes so far. */
  #notes = 0;
  /** Whether somebody has spoken since the answer. */
  #isOld = false;
  /** The time of the day, for a person. */
  #answeredAt = "";
  #note = "";
  #earlier = [];
  #usedAt = 0;
  /** What `keep` was last given. */
  #kept = { always: false, muted: false };

  constructor(parts) {
    this.#parts = parts;
  }

  /** Whether it is to hear by itself, so that nothing may put the page to sleep. */
  get isOnWatch() {
    return this.#press.always && !this.#muted && !this.#isRefused;
  }

  // The person ------------------------------------------------------------------------------

  /** The button is pressed. `at` is when that happened, in seconds of any clock. */
  press(at) {
    const { microphone, connection } = this.#parts;
    const isHalted = this.#isRefused || microphone.state === MICROPHONE.SUSPENDED;
    if (this.#isRefused) this.#link = { state: "down", reason: "" };
    connection.insist();
    if (this.#press.always && !this.#muted && isHalted) {
      // This press says that the page may go on, and nothing else.
      microphone.open();
      this.#update();
      return;
    }
    if (this.#muted) {
      // Who presses wants to be heard, and a tap must not switch it off.
      this.#press.setAlways(false);
      this.mute(false);
    }
    this.#press.press(at);
    microphone.open();
    this.#update();
  }

  /** The button is released; `at` is of the same clock. */
  release(at) {
    this.#usedAt = this.#parts.clock();
    this.#press.release(at);
    this.#update();
  }

  /** The press does not count: the finger slid away. */
  cancelPress() {
    this.#press.cancel();
    this.#update();
  }

  /** Switch always-on, as a tap does. */
  tap() {
    this.press(0);
    this.release(0);
  }

  /** The page has another name: what was said before is not for that room. */
  move() {
    this.#forget();
    this.#disabled = false;
    this.#note = "";
    this.#parts.connection.restart();
    this.#link = { state: "down", reason: "" };
    if (this.#press.always && !this.#muted) this.#parts.microphone.open();
    this.#update();
  }

  /** Go on as before a reload. */
  resume({ always, muted }) {
    this.#kept = { always, muted };
    this.#press.setAlways(always);
    this.#muted = muted;
    if (always && !muted) this.#parts.microphone.open();
    this.#update();
  }

  mute(muted) {
    const { microphone, conversation, uplink } = this.#parts;
    this.#muted = muted;
    this.#press.cancel();
    this.#update();
    if (muted) {
      conversation.cancel();
      uplink.clear();
      microphone.close();
    } else if (this.#press.always && !this.#isRefused) {
      microphone.open();
    }
    this.#update();
  }

  // The microphone --------------------------------------------------------------------------

  /** A segment of the chain, and when it was heard; null: the microphone is gone. */
  segment(segment, heardAt = this.#parts.clock()) {
    const { conversation } = this.#parts;
    if (segment === null) {
      conversation.lost();
      return;
    }
    if (segment.opened) {
      this.#partial = this.#note = "";
      this.#isOld = true;
    }
    if (segment.closed === CLOSED.SLEPT && conversation.utterance !== null) {
      this.#note = "The sound was interrupted: what you said is lost.";
    }
    conversation.take(segment, heardAt);
    // The rest of a press does not follow.
    if (segment.closed === CLOSED.CAP) this.#press.cancel();
    this.#update();
  }

  /** Something about the microphone or the utterance has changed. */
  changed() {
    this.#update();
  }

  tick() {
    const { clock, microphone, uplink, connection } = this.#parts;
    const now = clock();
    if (this.#press.talk !== TALK.IDLE) this.#usedAt = now;
    else if (microphone.state !== MICROPHONE.CLOSED && now - this.#usedAt > IDLE_S) microphone.close();
    microphone.tick();
    connection.tick(now);
    uplink.tick(now);
    this.#update();
  }

  // The service -----------------------------------------------------------------------------

  up(socket) {
    this.#link = { state: "up", reason: "" };
    this.#parts.uplink.connected(socket, this.#parts.clock());
    this.#update();
  }

  down(reason, isFinal) {
    this.#link = { state: isFinal ? "refused" : "down", reason };
    this.#partial = "";
    this.#parts.uplink.disconnected();
    if (isFinal) {
      this.#forget();
      this.#parts.microphone.close();
    }
    this.#update();
  }

  message(fields) {
    const { clock, uplink } = this.#parts;
    if (fields.type === "result") this.#result(fields);
    else if (fields.type === "ended") uplink.endedByService(fields.id, clock());
    else if (fields.type === "open") this.#expectMore(fields.id);
    else if (fields.type === "partial") this.#hearPartial(fields);
    else if (fields.type === "settings") this.#disabled = fields.enabled === false;
    this.#update();
  }

  /** The service has ended an utterance that was open. */
  ended(utterance) {
    const { conversation, microphone } = this.#parts;
    if (conversation.utterance !== utterance) return;
    microphone.ended(conversation.unsent);
    conversation.ended(utterance);
    this.#press.cancel();
  }

  /** An utterance was dropped: too old, or no room. */
  dropped() {
    this.#partial = "";
    this.#note = "It could not be sent in time: what you said is lost.";
  }

  /** An utterance is lost, because the browser could not encode it. */
  notEncoded() {
    this.#note = "The browser could not encode what you said. Please say it again.";
  }

  /** The service heard the beginning of a phrase: a pause may last longer, if it is the open one. */
  #expectMore(id) {
    const { conversation, microphone } = this.#parts;
    if (conversation.utterance !== null && conversation.utterance.id === id) microphone.expectMore();
  }

  /** The answer of an utterance did not come. */
  unanswered() {
    this.#partial = "";
    this.#note = "No answer came. Please say it again.";
  }

  /** What was said is not for the service that comes next. */
  #forget() {
    this.#press.cancel();
    this.#parts.conversation.cancel();
    this.#parts.uplink.forget();
    this.#partial = "";
  }

  #hearPartial({ id, text }) {
    if (this.#parts.uplink.knows(id)) this.#partial = text;
  }

  #result(result) {
    const utterance = this.#parts.uplink.answered(result, this.#parts.clock());
    if (utterance === null) return;
    if (this.#parts.conversation.utterance === null) this.#partial = "";
    const answer = answerOf(result);
    if (answer === null) return;
    this.#note = answer.note;
    this.#notes += 1;
    if (answer.text === "") return;
    if (this.#answer !== "") {
      const before = { text: this.#answer, time: this.#answeredAt };
      this.#earlier = [before, ...this.#earlier].slice(0, EARLIER);
    }
    this.#isOld = false;
    this.#answers += 1;
    this.#answer = answer.text;
    this.#answeredAt = this.#parts.timeOfDay();
  }

  // What follows ----------------------------------------------------------------------------

  #listen() {
    if (this.#muted || this.#disabled || this.#isRefused) return LISTEN.OFF;
    return { [TALK.HELD]: LISTEN.HELD, [TALK.ALWAYS]: LISTEN.ACTIVE }[this.#press.talk] ?? LISTEN.WAITING;
  }

  /** Whether the connection waits for a person. */
  get #isRefused() {
    return this.#link.state === "refused";
  }

  #update() {
    const { microphone, conversation, show } = this.#parts;
    // It was refused: nobody is heard until the next press.
    const isDenied = microphone.problem !== null && microphone.state === MICROPHONE.CLOSED;
    if (isDenied) this.#press.setAlways(false);
    this.#keep();
    const listen = this.#listen();
    if (listen === LISTEN.OFF) {
      conversation.cancel();
      this.#partial = "";
    }
    microphone.listen(listen);
    const talk = this.#talk();
    show({
      talk,
      always: this.#press.always,
      hears: HEARS.has(talk) && this.#press.talk !== TALK.IDLE,
      muted: this.#muted,
      link: this.#link,
      problem: microphone.problem,
      partial: this.#partial,
      answers: this.#answers,
      answer: this.#answer,
      answeredAt: this.#answeredAt,
      isOld: this.#isOld,
      notes: this.#notes,
      note: this.#noteNow(),
      earlier: this.#earlier,
    });
  }

  #keep() {
    const { always } = this.#press;
    if (always === this.#kept.always && this.#muted === this.#kept.muted) return;
    this.#kept = { always, muted: this.#muted };
    this.#parts.keep(this.#kept);
  }

  /** What the person is told beside the words. */
  #noteNow() {
    if (this.#isRefused) return sentence(this.#link.reason);
    // The button says it.
    if (this.#disabled) return "";
    const waits = this.#link.state === "down" && this.#parts.uplink.waiting > 0;
    return this.#note === "" && waits ? "What you said is sent when the service is back." : this.#note;
  }

  /** What the button shows. */
  #talk() {
    const { microphone, conversation, uplink } = this.#parts;
    const isAwaited = this.#link.state === "up" && uplink.waiting > 0;
    if (this.#isRefused) return "refused";
    if (this.#muted) return "muted";
    if (this.#disabled) return "disabled";
    if (this.#press.talk === TALK.IDLE && conversation.utterance === null) {
      return isAwaited ? "waiting" : "idle";
    }
    if (microphone.state === MICROPHONE.OPENING) return "opening";
    if (microphone.state === MICROPHONE.SUSPENDED) return "suspended";
    if (microphone.state === MICROPHONE.LOST) return "lost";
    if (microphone.state === MICROPHONE.CLOSED) return "idle";
    if (conversation.utterance !== null) return "speech";
    if (this.#press.talk === TALK.HELD) return "held";
    return isAwaited ? "waiting" : "always";
  }
}

function sentence(words) {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
}
