// A tiny protocol for a process that Python drives: one JSON object a line in, {method, params}, and one out,
// {result} or {error}, in the same order.

import { createInterface } from "node:readline";

/**
 * Answers requests from standard input until that ends.
 * @param {Record<string, (...params: any[]) => Promise<unknown>>} methods
 */
export async function serveRequests(methods) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { method, params } = JSON.parse(line);
    let answer;
    try {
      answer = { result: (await methods[method](...params)) ?? null };
    } catch (error) {
      answer = { error: error instanceof Error ? error.message : String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}
