import { stringify } from '../http/json-text.js';

/** One event of a stream (WHATWG HTML section 9.2). A payload's own JSON may have line breaks, each of which begins a `data` line. */
export function eventText(id: string, event: string, data: unknown): string {
  return `id: ${id}\nevent: ${event}\ndata: ${stringify(data).replace(/\r\n|\r|\n/g, '\ndata: ')}\n\n`;
}
