import { type CursorKey, openCursor, type Place, sealCursor } from './cursor.js';
import type { ListQuery } from './list-query.dto.js';
import { invalidParameter } from './problem.js';

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

/** One list as one request asks for it: where it goes on and how its next cursor is made. */
export class ListRequest {
  readonly limit: number;
  /** The sort keys of the last row of the page before; undefined on the first page. */
  readonly after: string[] | undefined;
  readonly nowMs: number;
  private readonly filter: object;

  /** `name` tells this list's cursors from other lists'; for a list inside an object it carries the object's id. */
  constructor(
    private readonly name: string,
    kinds: readonly CursorKey[],
    { limit, cursor, ...filter }: ListQuery,
  ) {
    this.limit = limit;
    this.filter = filter;
    const place: Place | undefined = cursor === undefined ? undefined : openCursor(cursor, name, filter, kinds);
    if (cursor !== undefined && !place) throw invalidParameter('cursor', 'is not a cursor of this list with this filter');
    this.after = place?.keys;
    this.nowMs = place?.nowMs ?? Date.now();
  }

  /** Makes the page of the first `limit` of the rows; a further row, or `more`, means that there is a next page. */
  page<T>(rows: readonly T[], keysOf: (row: T) => string[], more = rows.length > this.limit): Page<T> {
    const items = rows.slice(0, this.limit);
    const last = items.at(-1);
    return { items, nextCursor: more && last ? sealCursor(this.name, this.filter, { keys: keysOf(last), nowMs: this.nowMs }) : null };
  }
}
