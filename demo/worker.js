/** The actor's worker: Python, which works as `rpc.py` is told by the page. */

import { answer, ask, loadPython, post } from "./python.js";

answer({
  load: async (mailbox) => {
    await loadPython({ main: "rpc.py", modules: ["actor.py", "handler.py"], wheels: ["page"], packages: [] });
    await ask("open", mailbox, (/** @type {string} */ news) => post({ kind: "news", news: JSON.parse(news) }));
  },
  setWorking: (working) => ask("set_working", working),
  setMended: (mended) => ask("set_mended", mended),
  setPace: (milliseconds) => ask("set_pace", milliseconds),
  setHandler: (source) => ask("set_handler", source),
});
