export interface Matcher {
  label: string;
  operator: string;
  value: string;
}

export interface Selector {
  metric: string;
  matchers: Matcher[];
}

const KEYWORDS = ['and', 'or', 'unless', 'offset', 'bool'];
/** Label names in brackets, and ranges: no selector stands in either. */
const GROUPING_OR_RANGE = /\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\[[^\]]*\]/g;
/** A name, not that of a function, with its matchers. */
const SELECTOR = /\b([a-zA-Z_:][\w:]*)\b(?!\s*\()(\{(?:[^{}"]|"[^"]*")*\})?/g;
const MATCHER = /(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g;

/** The metrics that an expression of PromQL selects. Enough for the expressions of this repository; promtool is the judge of their syntax. */
export function selectorsOf(expression: string): Selector[] {
  // Strings may hold what looks like grouping or a range: away while those are cut out.
  const strings: string[] = [];
  const bare = expression.replace(/"[^"]*"/g, (text) => `"${strings.push(text.slice(1, -1)) - 1}"`).replace(GROUPING_OR_RANGE, '');
  return [...bare.matchAll(SELECTOR)]
    .filter(([, name]) => !KEYWORDS.includes(name!))
    .map(([, metric, matchers = '']) => ({
      metric: metric!,
      matchers: [...matchers.matchAll(MATCHER)].map(([, label, operator, index]) => ({
        label: label!,
        operator: operator!,
        value: strings[Number(index)]!,
      })),
    }));
}

/** As Prometheus does: a pattern is anchored at both ends, and a label that is not there is empty. */
export function matches({ operator, value }: Matcher, actual: string): boolean {
  const isEqual = operator.endsWith('~') ? new RegExp(`^(?:${value})$`).test(actual) : value === actual;
  return operator.startsWith('!') ? !isEqual : isEqual;
}
