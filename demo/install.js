/** The line that installs pymailbox on CPython: from the wheel that this page's server has. */

import { element } from "./page.js";

const line = element("install", HTMLElement);
const copy = element("copy-install", HTMLButtonElement);

export async function showInstallLine() {
  copy.hidden = !navigator.clipboard;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(line.textContent ?? "");
    copy.textContent = "Copied";
  });
  try {
    const wheels = new URL("../wheels/", import.meta.url);
    const { file } = await (await fetch(new URL("wheel.json", wheels))).json();
    line.textContent = `pip install ${new URL(file, wheels)}`;
  } catch {
    // what the page says without it is true in a clone
  }
}
