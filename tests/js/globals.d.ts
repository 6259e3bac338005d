/** What the tests' pages put there. */

import "../../js/inspector/tags.js";

declare global {
  var pymailbox: typeof import("../../js/index.js");
}

export {};
