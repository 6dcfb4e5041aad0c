/** Why there is no microphone, and what to do, in words for the person at the page. */

/** Why a microphone that was open is lost, as the name of an error. */
export const LOST = {
  /** The permission was taken back. */
  REVOKED: "revoked",
  UNPLUGGED: "unplugged",
  /** The audio thread has failed. */
  BROKEN: "broken",
};

/**
 * `error`: a DOMException of `getUserMedia`, or `{ name }` with one of `LOST`; null: there is no
 * `getUserMedia`.
 * `isSecure`: whether the browser trusts the address. `isFramed`: whether another page frames this.
 */
export function refusal(error, { isSecure, isFramed }) {
  if (!isSecure) {
    return {
      title: "The browser gives no microphone to this address",
      text: "It needs an address with https://, or the page on this machine itself (localhost).",
      inTab: false,
    };
  }
  const name = error?.name ?? "";
  if (isFramed && (error === null || name === "NotAllowedError" || name === "SecurityError")) {
    return {
      title: "The app around this page keeps the microphone to itself",
      text: "Open the page in a tab of its own. There the browser asks for permission.",
      inTab: true,
    };
  }
  if (error === null) {
    return {
      title: "This browser cannot record",
      text: "Use a current version of Chrome, Edge, Firefox or Safari.",
      inTab: false,
    };
  }
  if (name === LOST.REVOKED || name === "NotAllowedError" || name === "SecurityError") {
    return {
      title: "The microphone is not allowed",
      text: "Allow it in the settings of this page (the sign beside the address) and in those of the system. Then press the button again.",
      inTab: false,
    };
  }
  if (name === LOST.UNPLUGGED || name === "NotFoundError" || name === "OverconstrainedError") {
    return {
      title: "There is no microphone",
      text: "Plug one in. The page notices it by itself.",
      inTab: false,
    };
  }
  if (name === "NotReadableError") {
    return {
      title: "The microphone cannot be opened",
      text: "Perhaps another program uses it. The page tries again by itself.",
      inTab: false,
    };
  }
  if (name === LOST.BROKEN) {
    return {
      title: "The sound of the microphone broke off",
      text: "The page opens it again by itself. If that does not help, reload the page.",
      inTab: false,
    };
  }
  return { title: "The microphone does not work", text: String(error), inTab: false };
}

const HEALING = new Set([LOST.UNPLUGGED, LOST.BROKEN, "NotFoundError", "NotReadableError", "AbortError"]);
/** Whether it makes sense to try again without a person. */
export const mayHeal = (error) => HEALING.has(error?.name);
