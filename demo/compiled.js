/** A page's first worker compiles Python's WebAssembly, and later ones reuse it: to compile is most of a start's work. */

/**
 * Makes the next WebAssembly that is streamed be `compiled`, without loading `url`, where that comes from; if there is
 * none, passes what it is compiled to to `tell`. Before anything is loaded.
 * @param {string} url
 * @param {WebAssembly.Module | undefined} compiled
 * @param {(module: WebAssembly.Module) => void} tell
 */
export function compileOnce(url, compiled, tell) {
  const { fetch } = globalThis;
  const { instantiateStreaming } = WebAssembly;
  let isNeeded = compiled === undefined;
  globalThis.fetch = async (input, options) =>
    !isNeeded && (input instanceof Request ? input.url : String(input)) === url
      ? new Response()
      : fetch(input, options);
  WebAssembly.instantiateStreaming = async (source, imports) => {
    WebAssembly.instantiateStreaming = instantiateStreaming;
    isNeeded = true;
    if (compiled)
      try {
        return { module: compiled, instance: await WebAssembly.instantiate(compiled, imports) };
      } catch {
        // of another version of Python
        return instantiateStreaming(fetch(url), imports);
      }
    const made = await instantiateStreaming(source, imports);
    tell(made.module);
    return made;
  };
}
