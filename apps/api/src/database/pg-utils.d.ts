/** Part of pg, whose types leave it out: how a value of ours is written for PostgreSQL. */
declare module 'pg/lib/utils.js' {
  export function prepareValue(value: unknown): string | Buffer | null;
}
