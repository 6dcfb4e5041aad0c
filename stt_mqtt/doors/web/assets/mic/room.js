/** The name of the room: what the service calls this page. */

const NAME = /^[A-Za-z0-9_.-]{1,64}$/;
/** The service keeps it for itself. */
const RESERVED = "bridge";

/** A name that the service takes, made of what a person wrote. */
export function roomName(written) {
  return written
    .trim()
    .normalize("NFKD")
    .replace(/\p{Mark}/gu, "")
    .replace(/ß/g, "ss")
    .replace(/\s+/g, "_");
}

/** What is wrong with a name, for a person; null: nothing. */
export function roomProblem(name) {
  if (name === "") return "Give the room a name.";
  if (name === RESERVED) return "This name is taken by the service itself.";
  if (!NAME.test(name)) return "Use letters without accents, digits, and the signs - _ . only.";
  return null;
}
