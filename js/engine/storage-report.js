/** What the browser reports about an origin's storage, and what it can be asked for. */

import { UnsupportedError } from "../model/errors.js";

/**
 * @returns {Promise<{persistent?: boolean | undefined, usage?: number | undefined, quota?: number | undefined}>}
 * whether it is persistent, bytes in use, and the most bytes allowed; undefined if the browser does not say
 */
export async function estimateStorage() {
  // in a frame of another site the browser may refuse to say
  const [estimate, persistent] = await Promise.allSettled([
    ask((storage) => storage.estimate()),
    ask((storage) => storage.persisted()),
  ]);
  const { usage, quota } = (estimate.status === "fulfilled" ? estimate.value : undefined) ?? {};
  return { persistent: persistent.status === "fulfilled" ? persistent.value : undefined, usage, quota };
}

/** Asks the browser to keep this origin's data. @returns {Promise<boolean>} */
export async function requestPersistence() {
  const only =
    "Only a page in a secure context can ask for persistent storage; call navigator.storage.persist() there.";
  const storage = globalThis.navigator?.storage;
  if (storage?.persist === undefined) throw new UnsupportedError(only);
  try {
    return await storage.persist();
  } catch (error) {
    throw new UnsupportedError(`The browser does not accept requests for persistent storage here. ${only}`, {
      cause: error,
    });
  }
}

/**
 * @template T @param {(storage: StorageManager) => Promise<T>} question
 * @returns {Promise<T | undefined>} undefined if there is no storage manager
 */
async function ask(question) {
  const storage = globalThis.navigator?.storage;
  return storage && question(storage);
}
