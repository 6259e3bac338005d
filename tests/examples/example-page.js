// The examples as their tests see them.

import { test as base, expect } from "@playwright/test";

export { expect };

/**
 * Tests of the examples; each fails if a page writes an error to the console, or requests anything that is not served.
 */
export const test = base.extend(
  /** @type {import("@playwright/test").Fixtures<{complaints: string[]}, {}, import("@playwright/test").PlaywrightTestArgs & import("@playwright/test").PlaywrightTestOptions, import("@playwright/test").PlaywrightWorkerArgs>} */ ({
    complaints: [
      async ({ context, baseURL }, use) => {
        /** @type {string[]} */
        const complaints = [];
        context.on("console", (message) => {
          if (message.type() === "error") complaints.push(message.text());
        });
        context.on("weberror", (error) => complaints.push(String(error.error())));
        context.on("request", (request) => {
          const url = new URL(request.url());
          if (url.protocol.startsWith("http") && url.origin !== baseURL) complaints.push(`asked for ${url}`);
        });
        await use(complaints);
        expect(complaints).toEqual([]);
      },
      { auto: true },
    ],
  }),
);
