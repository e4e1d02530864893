import { randomUUID } from 'node:crypto';

/** Where the JsonTexts of the `stringify` under way go, in the order of their places. */
let taken: { mark: string; texts: string[] } | undefined;

/** JSON that goes into an answer as it is. jsonb holds numbers that a double does not: parsed here, 1e400 would become null. */
export class JsonText {
  constructor(readonly text: string) {}

  /** Called by JSON.stringify for these alone; a replacer would be called for every member of an answer, and cost as much as all the rest. */
  toJSON(): string {
    if (!taken) throw new Error('a JsonText is written by stringify() alone');
    taken.texts.push(this.text);
    return taken.mark;
  }
}

/** JSON.stringify, but every JsonText is inserted verbatim. */
export function stringify(value: unknown): string {
  // Random for each call: no stored text can contain it and be taken for one of the marks.
  const { mark, texts } = (taken = { mark: randomUUID(), texts: [] });
  try {
    const parts = JSON.stringify(value).split(`"${mark}"`);
    return parts.map((part, at) => part + (texts[at] ?? '')).join('');
  } finally {
    taken = undefined;
  }
}
