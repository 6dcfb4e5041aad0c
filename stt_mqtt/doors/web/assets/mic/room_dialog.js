/** The dialog with the name of the room, and what the service is sent. */

import { roomName, roomProblem } from "./room.js";

const element = (id) => document.getElementById(id);

/** `save({ room, sent })` is called with what the person chose. */
export class RoomDialog {
  #save;
  #isRequired = false;

  constructor(save) {
    this.#save = save;
    element("room-form").onsubmit = (event) => this.#submit(event);
    element("room-cancel").onclick = () => element("room-dialog").close();
    element("room-dialog").oncancel = (event) => {
      if (this.#isRequired) event.preventDefault();
    };
    // A browser closes it when Esc is pressed twice.
    element("room-dialog").onclose = () => {
      if (this.#isRequired) element("room-dialog").showModal();
    };
  }

  /** `room`: the name so far; empty: there is none, and one is needed. */
  open(room, sent) {
    this.#isRequired = room === "";
    element("room").value = room;
    element("room-problem").textContent = "";
    element("room-cancel").hidden = this.#isRequired;
    document.querySelector(`input[name=sent][value=${sent}]`).checked = true;
    element("room-dialog").showModal();
    element("room").focus();
  }

  #submit(event) {
    const room = roomName(element("room").value);
    const problem = roomProblem(room);
    if (problem !== null) {
      event.preventDefault();
      element("room-problem").textContent = problem;
      element("room").setAttribute("aria-invalid", "true");
      element("room").focus();
      return;
    }
    this.#isRequired = false;
    element("room").removeAttribute("aria-invalid");
    this.#save({ room, sent: document.querySelector("input[name=sent]:checked").value });
  }
}
