import { randomUUID } from 'node:crypto';

/** JSON that goes into an answer as it is. jsonb holds numbers that a double does not: parsed here, 1e400 would become null. */
export class JsonText {
  constructor(readonly text: string) {}
}

/** JSON.stringify, but every JsonText is inserted verbatim. */
export function stringify(value: unknown): string {
  const texts: string[] = [];
  // Random for each call: no stored text can contain it and be taken for one of the marks.
  const mark = randomUUID();
  const marked = JSON.stringify(value, (_, inner: unknown) => {
    if (!(inner instanceof JsonText)) return inner;
    texts.push(inner.text);
    return `${mark}:${texts.length - 1}`;
  });
  if (texts.length === 0) return marked;
  return marked.replace(new RegExp(`"${mark}:(\\d+)"`, 'g'), (_, at: string) => texts[Number(at)]!);
}
