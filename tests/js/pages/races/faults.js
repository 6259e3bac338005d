/**
 * What goes wrong in a context of the races: at one of its steps, counted from when the fault is planned, it is
 * blocked, left, loses its locks, or its storage fails. Must be imported before the engine.
 *
 * A step is the beginning of a transaction or of a request, and the moment in which the context would learn the outcome
 * of one. While a context is blocked nothing of it runs, and what it has begun stays as it is.
 */

/** @typedef {"block" | "die" | "leave" | "rob" | "abort" | "lose" | "fill"} Fault */
/** @typedef {"transaction" | "request" | "success" | "complete"} Step */

/** The most milliseconds that a context is blocked if nobody releases it. */
const LONGEST_BLOCK = 10_000;

/** The most milliseconds by which an answer of `locks.query` is late. */
const LATEST = 100;

/** The steps at which each fault can happen; at others it waits for the next. @type {Record<Fault, Step[]>} */
const STEPS_OF = {
  block: ["transaction", "request", "success", "complete"],
  die: ["transaction", "request", "success", "complete"],
  leave: ["transaction", "request", "success", "complete"],
  rob: ["transaction", "request", "success", "complete"],
  // a connection lost before the commit, and one lost after it, before this context has learned of it
  abort: ["request"],
  lose: ["complete"],
  fill: ["request"],
};

/** @type {{fault: Fault, after: number} | undefined} */
let planned;
/** 1 as soon as a blocked context may continue. @type {Int32Array | undefined} */
let gate;
let latest = 0;

/** Transactions whose end is reported in another way. @type {WeakMap<IDBTransaction, DOMException | null>} */
const endings = new WeakMap();

/** @param {SharedArrayBuffer} shared */
export function beginFaults(shared) {
  gate = new Int32Array(shared);
}

/** @param {Fault} fault @param {number} after how many steps are skipped */
export function planFault(fault, after) {
  planned = { fault, after };
}

/** @param {boolean} late whether answers of `locks.query` are late */
export function setLate(late) {
  latest = late ? LATEST : 0;
}

/** Whether it went wrong. @param {Step} step @param {IDBTransaction} [transaction] */
function pass(step, transaction) {
  if (planned === undefined || !STEPS_OF[planned.fault].includes(step)) return false;
  if (planned.after-- > 0) return false;
  const { fault } = planned;
  planned = undefined;
  if (fault === "leave") {
    // an event of the page comes between two tasks
    setTimeout(() => globalThis.dispatchEvent(new MessageEvent("message", { data: { pymailbox: "release" } })));
    postMessage({ at: step, fault });
    return false;
  }
  if (fault === "abort" || fault === "fill") {
    if (transaction === undefined) return false;
    endings.set(transaction, fault === "fill" ? new DOMException("full", "QuotaExceededError") : null);
    postMessage({ at: step, fault });
    return true;
  }
  if (fault === "lose") {
    postMessage({ at: step, fault });
    return true;
  }
  if (gate === undefined) return false;
  gate[0] = 0;
  postMessage({ at: step, fault });
  Atomics.wait(gate, 0, 0, LONGEST_BLOCK);
  return false;
}

/** @param {IDBDatabase} database */
function disconnect(database) {
  database.close();
  database.dispatchEvent(new Event("close"));
}

const { transaction: begin } = IDBDatabase.prototype;
IDBDatabase.prototype.transaction = function (...args) {
  pass("transaction");
  return begin.apply(this, args);
};

for (const [prototype, methods] of /** @type {[any, string[]][]} */ ([
  [
    IDBObjectStore.prototype,
    ["add", "put", "delete", "get", "getKey", "getAll", "getAllKeys", "count", "openCursor", "openKeyCursor"],
  ],
  [IDBIndex.prototype, ["get", "getKey", "getAll", "getAllKeys", "count", "openCursor", "openKeyCursor"]],
])) {
  for (const method of methods) {
    const original = prototype[method];
    prototype[method] = function (/** @type {any[]} */ ...args) {
      /** @type {IDBTransaction} */
      const transaction = (this.objectStore ?? this).transaction;
      const request = original.apply(this, args);
      if (transaction.mode === "readwrite" && pass("request", transaction)) {
        const lost = endings.get(transaction) === null;
        queueMicrotask(() => {
          try {
            transaction.abort();
          } catch {
            // it has already been asked to commit: too late to fail
            endings.delete(transaction);
          }
          if (lost) disconnect(transaction.db);
        });
      }
      return request;
    };
  }
}

// the engine listens through these
for (const [prototype, name, step] of /** @type {[any, string, Step][]} */ ([
  [IDBRequest.prototype, "onsuccess", "success"],
  [IDBTransaction.prototype, "oncomplete", "complete"],
])) {
  const property = /** @type {PropertyDescriptor} */ (Object.getOwnPropertyDescriptor(prototype, name));
  Object.defineProperty(prototype, name, {
    ...property,
    set(handler) {
      property.set?.call(
        this,
        handler &&
          ((/** @type {any} */ event) => {
            const transaction = event.target instanceof IDBTransaction ? event.target : undefined;
            if (pass(step, transaction) && transaction !== undefined) {
              endings.set(transaction, null);
              disconnect(transaction.db);
              return transaction.onabort?.(event);
            }
            return handler.call(event.currentTarget, event);
          }),
      );
    },
  });
}

const { get: errorOf } = /** @type {PropertyDescriptor} */ (
  Object.getOwnPropertyDescriptor(IDBTransaction.prototype, "error")
);
Object.defineProperty(IDBTransaction.prototype, "error", {
  get() {
    return endings.has(this) ? endings.get(this) : errorOf?.call(this);
  },
});

const { query } = LockManager.prototype;
LockManager.prototype.query = async function () {
  const answer = await query.call(this);
  if (latest > 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * latest));
  return answer;
};

/** The locks that this context has requested, some of which it holds. @type {Set<string>} */
const asked = new Set();
/** @type {(...args: any[]) => Promise<any>} */
const request = LockManager.prototype.request;
LockManager.prototype.request = function (/** @type {any[]} */ ...args) {
  const [name, options] = args;
  if (typeof options === "function" || options.mode !== "shared") asked.add(name);
  return request.apply(this, args);
};

/** @returns {string[]} */
export const locksOf = () => [...asked];
