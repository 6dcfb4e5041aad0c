/** What the microphone does. */
export const MICROPHONE = {
  CLOSED: "closed",
  OPENING: "opening",
  OPEN: "open",
  /** The browser has paused the audio. A press resumes it. */
  SUSPENDED: "suspended",
  LOST: "lost",
};
