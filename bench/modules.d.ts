/** Of what has no types of its own, what the benchmark uses. */
declare module "@webreflection/idb-map/sync" {
  export default class IDBMapSync extends Map<string, unknown> {
    constructor(name: string);
    sync(): Promise<void>;
    close(): Promise<void>;
  }
}
