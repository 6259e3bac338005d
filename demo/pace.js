/** How long the work on a message takes. So that a kill hits something in hand, and that one sees what is going on. */

import { element } from "./page.js";
import { chosenPace, rememberPace } from "./web-storage.js";
import { paceText } from "./format.js";

const slider = element("pace", HTMLInputElement);
const output = element("pace-text", HTMLOutputElement);

export class Pace {
  /** The visitor has chosen another one. */
  onChange = () => {};

  constructor() {
    slider.value = String(chosenPace() ?? slider.defaultValue);
    slider.addEventListener("input", () => this.#show());
    slider.addEventListener("change", () => {
      rememberPace(this.milliseconds);
      this.onChange();
    });
    this.#show();
  }

  get milliseconds() {
    return Number(slider.value);
  }

  #show() {
    output.textContent = paceText(this.milliseconds);
    slider.setAttribute("aria-valuetext", paceText(this.milliseconds));
  }
}
