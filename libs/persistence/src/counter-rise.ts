/** By how much a counter rose since the value before, in SQL; one that fell began anew at 0. Null when there is none before. */
export function counterRise(value: string, before: string): string {
  return `CASE WHEN ${value} < ${before} THEN ${value} ELSE ${value} - ${before} END`;
}
