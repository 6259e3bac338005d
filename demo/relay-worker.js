/** The relay's worker: Python, and a network that the page can cut off. */

import { setOffline } from "./cut-off.js";
import { answer, ask, loadPython } from "./python.js";

answer({
  relay: async (outboxes, location) => {
    await loadPython({ main: "outboxes.py", modules: [], wheels: ["page", "nats"], packages: ["nats-py"] });
    await ask("open", outboxes, location);
  },
  relayState: () => ask("state"),
  setOffline: async (offline) => setOffline(offline),
});
