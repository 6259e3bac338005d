/** A page that is left or frozen: what its handles hold goes back at once, since nothing may run any more later. */

import { handles } from "./context.js";

/** All handles of this context give back what they hold; for a page that is left, or a worker whose page tells it so. */
function departAll() {
  for (const handle of handles) handle.depart();
}

for (const event of ["pagehide", "freeze"]) globalThis.addEventListener?.(event, departAll, true);
if (typeof document === "undefined") {
  globalThis.addEventListener?.("message", ({ data }) => {
    if (data?.pymailbox === "release") departAll();
  });
}
