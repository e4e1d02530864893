const LEVELS = ['tenant', 'site', 'device'] as const;
type Level = (typeof LEVELS)[number];

/** Where tenant, site and device stand in a topic. */
export interface TopicPattern {
  /** The MQTT topic filter to subscribe to. */
  filter: string;
  levels: readonly ({ kind: 'literal'; text: string } | { kind: 'any' } | { kind: 'named'; name: Level })[];
}

export interface TopicIdentity {
  tenantId: string;
  siteId: string;
  deviceId: string;
}

/**
 * Reads a pattern: a topic filter without `#` in which three levels say who sent it, either three `+` (tenant, site, device in
 * this order) or `{tenant}`, `{site}` and `{device}` in any order, then with `+` for levels that do not matter.
 */
export function parseTopicPattern(text: string): { kind: 'pattern'; pattern: TopicPattern } | { kind: 'invalid'; reason: string } {
  const texts = text.split('/');
  const named = texts.some((level) => level.startsWith('{'));
  const names = [...LEVELS];
  const levels = texts.map((level): TopicPattern['levels'][number] => {
    if (level === '+') return named ? { kind: 'any' } : { kind: 'named', name: names.shift() ?? 'device' };
    const name = LEVELS.find((candidate) => level === `{${candidate}}`);
    return name ? { kind: 'named', name } : { kind: 'literal', text: level };
  });
  const found = levels.flatMap((level) => (level.kind === 'named' ? [level.name] : []));
  const literals = levels.flatMap((level) => (level.kind === 'literal' ? [level.text] : []));
  if (literals.some((literal) => /[+#{}\0]/.test(literal)))
    return { kind: 'invalid', reason: 'a level is a text, +, {tenant}, {site} or {device}' };
  if (LEVELS.some((name) => found.filter((candidate) => candidate === name).length !== 1)) {
    return { kind: 'invalid', reason: 'tenant, site and device must each have one level: three +, or {tenant}, {site} and {device}' };
  }
  const filter = levels.map((level) => (level.kind === 'literal' ? level.text : '+')).join('/');
  return { kind: 'pattern', pattern: { filter, levels } };
}

/** Tenant, site and device of a topic, exactly as written, or undefined when the topic does not fit or a named level is empty. */
export function matchTopicPattern(pattern: TopicPattern, topic: string): TopicIdentity | undefined {
  const texts = topic.split('/');
  if (texts.length !== pattern.levels.length) return undefined;
  const identity: Record<Level, string> = { tenant: '', site: '', device: '' };
  for (const [index, level] of pattern.levels.entries()) {
    const text = texts[index]!;
    if (level.kind === 'literal' && text !== level.text) return undefined;
    if (level.kind === 'named') {
      if (text === '') return undefined;
      identity[level.name] = text;
    }
  }
  return { tenantId: identity.tenant, siteId: identity.site, deviceId: identity.device };
}
