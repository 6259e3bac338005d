/** What a page's first worker has compiled of Python is for all later ones: to compile it is most of a start's work. */

/**
 * Has the next WebAssembly that streams from `url` be what was compiled of it before, without loading it again, or tells
 * what it was compiled to.
 * @param {string} url
 * @param {WebAssembly.Module | undefined} compiled
 * @param {(module: WebAssembly.Module) => void} tell
 */
export function compileOnce(url, compiled, tell) {
  const { fetch } = globalThis;
  const { instantiateStreaming } = WebAssembly;
  if (compiled)
    globalThis.fetch = async (input, options) =>
      (input instanceof Request ? input.url : String(input)) === url ? new Response() : fetch(input, options);
  WebAssembly.instantiateStreaming = async (source, imports) => {
    WebAssembly.instantiateStreaming = instantiateStreaming;
    if (compiled) {
      globalThis.fetch = fetch;
      return { module: compiled, instance: await WebAssembly.instantiate(compiled, imports) };
    }
    const made = await instantiateStreaming(source, imports);
    tell(made.module);
    return made;
  };
}
