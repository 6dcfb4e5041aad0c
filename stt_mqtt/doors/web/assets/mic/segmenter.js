/**
 * Cuts frames of 30 ms into utterances, by the same rules as the satellite program.
 *
 * An utterance begins when enough of the last half second was speech. It includes a pre-roll. It
 * ends after a pause, the hangover. Most of that pause is held back: it is sent if speech goes on,
 * and otherwise becomes the pre-roll of the next utterance. The service may prolong one pause. While
 * a button is held, pauses are sent as they come.
 */

import { FRAME_S } from "./activity.js";

/** Whether an utterance may begin. */
export const LISTEN = {
  /** Muted: frames are discarded. */
  OFF: "off",
  /** The pre-roll is kept, but no utterance begins. */
  WAITING: "waiting",
  /** An utterance begins with speech and ends with a pause. */
  ACTIVE: "active",
  /** The button is pressed: as `ACTIVE`, but a pause does not end the utterance, and is sent. */
  HELD: "held",
};

/** Why an utterance ended here. */
export const CLOSED = {
  PAUSE: "pause",
  CAP: "cap",
  /** The button was released, or the microphone is gone. */
  RELEASED: "released",
  MUTED: "muted",
  /** The audio stood still: the machine slept, or the browser has paused the audio. */
  SLEPT: "slept",
  /** The service has ended it: the words are complete. */
  ENDED: "ended",
};

export const MIN_SPEECH_S = 0.15;
export const PRE_ROLL_S = 0.3;
export const HANGOVER_S = 0.6;
/** Shortest pause that ends it if the service hears the beginning of a phrase before it. */
export const OPEN_HANGOVER_S = 1.5;
export const MAX_UTTERANCE_S = 20;
/** Length of the window in which `MIN_SPEECH_S` of speech begin an utterance. */
const BEGIN_WINDOW_S = 0.5;
/** After so much silence each frame is sent at once: the service waits for the end of the turn. */
const PROMPT_S = 0.09;
/** Shortest silence in which the service may have ended an utterance. */
const SILENCE_S = 0.12;
/** The part of a pause that is always sent: the last sound fades away in it. */
const TAIL_S = 0.2;
/** Longest soft beginning of a word before its first voiced frame, and the longest gap in it. */
const ONSET_S = 0.4;
const ONSET_GAP_S = 0.09;
/** Longest unvoiced ending of a word after its last voiced frame, and the longest gap in it. */
const ENDING_S = 0.4;
const ENDING_GAP_S = 0.12;
/** Speech after a silence, 1 s, that the service may not have heard when it ends an utterance. */
const RESUMED_FRAMES = 33;
/** Frames of speech in a row that prolong an utterance. One alone may be a click. */
const MIN_RUN_FRAMES = 2;
const HALF = FRAME_S / 2;

const NOTHING = Object.freeze({ opened: false, frames: [], closed: null, flush: false });

const mayBegin = (state) => state === LISTEN.ACTIVE || state === LISTEN.HELD;

/**
 * A frame is `{ pcm, begins, goesOn, sounds }`. What follows from it is
 * `{ opened, frames, closed, flush }`, in this order: a start, audio, an end. `flush`: send now all
 * frames that are not sent yet, because it is silent.
 */
export class Segmenter {
  #minSpeech = Math.ceil(MIN_SPEECH_S / FRAME_S - 1e-6);
  #state = LISTEN.OFF;
  /** Seconds of audio since the start; small enough to be exact for years. */
  #at = 0;
  #frames = 0;
  /** The newest frames that were not sent. */
  #preRoll = [];
  /** Earlier frames do not begin an utterance. */
  #mayBeginFrom = 0;
  #openedAt = null;
  #speechEnd = 0;
  /** End of the last sound that belongs to the speech, voiced or not. */
  #wordEnd = 0;
  #run = 0;
  /** Whether the service heard the beginning of a phrase before this pause. */
  #isOpenPhrase = false;
  /** The pause so far, without the part that was sent. */
  #pause = [];
  /** The newest frames of the utterance since its last silence, without those of the pause. */
  #newest = [];
  /** Whether `#newest` goes back to a silence. */
  #hasResumed = false;

  /** Whether an utterance is open. */
  get speaking() {
    return this.#openedAt !== null;
  }

  /** Process the next frame, whose listen state is `state`. */
  push(frame, state) {
    this.#at = this.#frames * FRAME_S;
    this.#frames += 1;
    const timed = { ...frame, at: this.#at };
    if (this.#state !== state) {
      if (mayBegin(state) && !mayBegin(this.#state)) this.#mayBeginFrom = this.#at;
      this.#state = state;
    }
    if (this.#openedAt !== null) return this.#goOn(timed);
    if (state === LISTEN.OFF) {
      this.#preRoll.length = 0;
      return NOTHING;
    }
    this.#preRoll.push(timed);
    this.#forgetOld();
    if (state === LISTEN.WAITING || !this.#hasBegun()) return NOTHING;
    return this.#open(timed);
  }

  /** End the open utterance, if there is one. */
  cut(reason) {
    return this.#openedAt === null ? NOTHING : this.#close([], reason);
  }

  /**
   * End the open utterance, if there is one, because the service has ended it in a silence. What
   * follows that silence becomes pre-roll: it may be the first word of another utterance. Without
   * a silence in the last second only the newest frames do that were not sent, `unsent` of them.
   */
  endByService(unsent) {
    if (this.#openedAt === null) return NOTHING;
    const count = this.#hasResumed ? this.#newest.length : Math.min(unsent, this.#newest.length);
    this.#preRoll.push(...this.#newest.slice(this.#newest.length - count));
    return this.#close([], CLOSED.ENDED);
  }

  /**
   * The service heard the beginning of a phrase: this pause may last for `OPEN_HANGOVER_S`. Does
   * nothing if no utterance is open, or if somebody speaks: it is about an earlier pause.
   */
  expectMore() {
    this.#isOpenPhrase = this.#run < MIN_RUN_FRAMES;
  }

  /** Discard the pre-roll: the next frame does not follow the last one. */
  forget() {
    this.#preRoll.length = 0;
  }

  /** Discard frames that no utterance would begin with. */
  #forgetOld() {
    const more = this.#state === LISTEN.WAITING ? 0 : BEGIN_WINDOW_S + ONSET_S;
    while (this.#at - this.#preRoll[0].at > PRE_ROLL_S + more + HALF) this.#preRoll.shift();
  }

  /** Frames of the last half second that count for a beginning. */
  #beginFrames() {
    return this.#preRoll.filter(
      (frame) =>
        frame.begins &&
        this.#at - frame.at < BEGIN_WINDOW_S - HALF &&
        frame.at >= this.#mayBeginFrom - HALF,
    );
  }

  #hasBegun() {
    return this.#preRoll.at(-1).begins && this.#beginFrames().length >= this.#minSpeech;
  }

  #open(frame) {
    const onset = this.#onset(this.#beginFrames()[0].at);
    while (onset - this.#preRoll[0].at > PRE_ROLL_S + HALF) this.#preRoll.shift();
    const frames = this.#preRoll.splice(0);
    this.#remember(frames);
    this.#hasResumed = false;
    this.#openedAt = frames[0].at;
    this.#speechEnd = this.#wordEnd = frame.at + FRAME_S;
    this.#run = 0;
    this.#isOpenPhrase = false;
    return { opened: true, frames: frames.map(({ pcm }) => pcm), closed: null, flush: false };
  }

  /** When the word began whose first voiced frame was at `clearAt`. */
  #onset(clearAt) {
    let onset = clearAt;
    for (const frame of [...this.#preRoll].reverse()) {
      if (frame.at >= onset) continue;
      if (onset - frame.at > ONSET_GAP_S + HALF || clearAt - frame.at > ONSET_S + HALF) break;
      if (frame.sounds) onset = frame.at;
    }
    return onset;
  }

  #goOn(frame) {
    const end = frame.at + FRAME_S;
    this.#run = frame.goesOn ? this.#run + 1 : 0;
    const spoken = this.#run >= MIN_RUN_FRAMES;
    if (spoken) {
      this.#speechEnd = end;
      this.#isOpenPhrase = false;
    }
    if (spoken || this.#endsAWord(frame)) this.#wordEnd = end;
    this.#pause.push(frame);
    const pauseS = end - this.#speechEnd;
    if (pauseS > SILENCE_S - HALF) {
      this.#newest.length = 0;
      this.#hasResumed = true;
    } else if (this.#newest.length === RESUMED_FRAMES) {
      this.#hasResumed = false;
    }
    let ready = [];
    const isTail = pauseS < TAIL_S + HALF;
    // Of a button that is held in silence, the service has to hear, or it ends the utterance.
    if (this.#wordEnd === end || isTail || this.#state === LISTEN.HELD) {
      const sent = this.#pause.splice(0);
      ready = sent.map(({ pcm }) => pcm);
      this.#remember(sent);
    }
    if (end + FRAME_S - this.#openedAt > MAX_UTTERANCE_S + HALF / 2) {
      return this.#close(ready, CLOSED.CAP);
    }
    const patienceS = this.#isOpenPhrase ? OPEN_HANGOVER_S : HANGOVER_S;
    if (this.#state !== LISTEN.HELD && !this.#run && pauseS > patienceS - HALF) {
      return this.#close(ready, CLOSED.PAUSE);
    }
    const isSilent = end - this.#wordEnd > PROMPT_S - HALF;
    return { opened: false, frames: ready, closed: null, flush: (isSilent && isTail) || !ready.length };
  }

  /** Whether this is an unvoiced sound at the end of a word. */
  #endsAWord(frame) {
    return (
      frame.sounds &&
      frame.at - this.#wordEnd < ENDING_GAP_S + HALF &&
      frame.at - this.#speechEnd < ENDING_S - HALF
    );
  }

  #remember(frames) {
    this.#newest.push(...frames);
    this.#newest.splice(0, this.#newest.length - RESUMED_FRAMES);
  }

  #close(frames, closed) {
    this.#openedAt = null;
    this.#preRoll.push(...this.#pause.splice(0));
    return { opened: false, frames, closed, flush: false };
  }
}
