/**
 * One transaction after the other, where two at once may be the end of a database.
 *
 * WebKit lets go of the connection of a worker that has ended once none of its transactions is under way. If it ended
 * amid two, or amid one that was asked to commit before its requests were done, that never comes, and all transactions
 * on that database wait until the browser ends (WebKitGTK 2.50.6, https://bugs.webkit.org/show_bug.cgi?id=324094). So
 * in its workers each begins when the one before is over, and commits by itself.
 */

/** JavaScriptCore, recognised by its errors. */
export const IS_WEBKIT = "line" in new Error();

const IS_FATAL = IS_WEBKIT && typeof document === "undefined";

/** Resolved when the last transaction is over; undefined if none is under way. @type {Promise<void> | undefined} */
let underWay;

/** Whether a transaction may begin in this turn. */
export const isFree = () => underWay === undefined;

/** Resolves when one may begin, unless somebody else who waits comes first: to be asked for as long as none may. */
export const nextFree = () => underWay;

/** To be called for each transaction that has begun. @param {IDBTransaction} transaction */
export function watch(transaction) {
  if (!IS_FATAL) return;
  const over = new Promise((resolve) => {
    for (const event of ["complete", "abort"]) transaction.addEventListener(event, resolve);
    transaction.db.addEventListener("close", resolve);
  });
  const last = over.then(() => {
    if (underWay === last) underWay = undefined;
  });
  underWay = last;
}

/** Has a transaction, to which nothing more is added, end without this context. @param {IDBTransaction} transaction */
export function commitEarly(transaction) {
  if (!IS_FATAL) transaction.commit();
}
