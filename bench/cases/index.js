// The cases, by the names that the plan uses.

export { measure as ack } from "./ack.js";
export { measure as ack_and_claim } from "./ack_and_claim.js";
export { measure as claim } from "./claim.js";
export { measure as claim_latency } from "./claim_latency.js";
export { measure as enqueue } from "./enqueue.js";
export { measure as enqueue_many } from "./enqueue_many.js";
export { measure as memory } from "./memory.js";
export { measure as opening } from "./opening.js";
export { measure as producers } from "./producers.js";
export { measure as recovery } from "./recovery.js";
export { measure as status } from "./status.js";
export { measure as whole_life } from "./whole_life.js";
