// Equal durability for libraries that do not let users choose it or that answer before the commit.
//
// Some ask for "relaxed", some for nothing, some have one durability for everything they do. To compare the same work,
// the transactions that such a library begins get the durability that the row asks for. What it does in them is
// unchanged.

/** @typedef {import("../types.js").Durability} Durability */

const begin = IDBDatabase.prototype.transaction;

/** @type {Durability | undefined} */
let forced;
let forcing = 0;

/** Transactions of forced durability that are still running. @type {Set<Promise<unknown>>} */
const running = new Set();

IDBDatabase.prototype.transaction = function (stores, mode, options) {
  if (forced === undefined || mode !== "readwrite") return begin.call(this, stores, mode, options);
  const transaction = begin.call(this, stores, mode, { ...options, durability: forced });
  const over = new Promise((resolve) => {
    transaction.addEventListener("complete", resolve);
    transaction.addEventListener("abort", resolve);
  });
  running.add(over);
  over.then(() => running.delete(over));
  return transaction;
};

/**
 * Does some of a library's work in transactions of this durability. Work of different durability must not overlap.
 * @template T @param {Durability} durability @param {() => PromiseLike<T>} work @returns {Promise<T>}
 */
export async function withDurability(durability, work) {
  start(durability);
  try {
    return await work();
  } finally {
    stop();
  }
}

/**
 * The same for a library that answers before its transaction has committed; this waits for that. One task at a time.
 * @template T @param {Durability} durability @param {() => PromiseLike<T>} work @returns {Promise<T>}
 */
export async function committedWith(durability, work) {
  const done = await withDurability(durability, work);
  await Promise.all(running);
  return done;
}

/** Begins to force a durability, for callers that cannot pass a function. @param {Durability} durability */
export function start(durability) {
  forced = durability;
  forcing += 1;
}

/** Ends what `start` began. */
export function stop() {
  forcing -= 1;
  if (forcing === 0) forced = undefined;
}

/** Resolves when everything begun has been committed. */
export const settled = () => Promise.all(running);
