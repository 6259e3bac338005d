/** Types for what the benchmark uses of packages without types. */
declare module "@webreflection/idb-map/sync" {
  export default class IDBMapSync extends Map<string, unknown> {
    constructor(name: string);
    sync(): Promise<void>;
    close(): Promise<void>;
  }
}
