/** Whether an error says that the same call may work a moment later. */

import assert from "node:assert/strict";
import { test } from "node:test";

import * as errors from "../../js/model/errors.js";

const KINDS = /** @type {(typeof errors.MailboxError)[]} */ (
  Object.values(errors).filter((value) => value.prototype instanceof Error)
);

test("the class decides unless the error says", () => {
  assert.ok(KINDS.length >= 7);
  for (const Kind of KINDS) {
    const wanted = Kind === errors.StorageFullError || Kind === errors.ConnectionLostError;
    assert.equal(new Kind("on purpose").passing, wanted, Kind.name);
    for (const passing of [true, false]) {
      const error = new Kind("on purpose", { passing, cause: "a cause" });
      assert.deepEqual([error.passing, error.message, error.cause], [passing, "on purpose", "a cause"]);
    }
  }
});

test("the platform's errors are told apart", () => {
  /** @param {string} name */
  const passing = (name) => errors.translate(new DOMException("on purpose", name)).passing;
  for (const name of ["QuotaExceededError", "InvalidStateError", "NotReadableError", "AbortError", "UnknownError"])
    assert.ok(passing(name), name);
  for (const name of ["NotFoundError", "DataError", "SecurityError", "SomethingElse"]) assert.ok(!passing(name), name);
});

test("the error for too large values is also true of a nack", () => {
  const error = errors.translate(
    new DOMException("The serialized value is too large (size=1, max=0).", "UnknownError"),
  );
  assert.equal(error.name, "UnsupportedError");
  assert.match(error.message, /nothing was changed.* still held/);
  assert.doesNotMatch(error.message, /nothing was stored/);
});
