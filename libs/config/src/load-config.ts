import { readFileSync } from 'node:fs';
import { validateSync } from 'class-validator';
import { ConfigurationError } from './configuration-error.js';
import { type DeclaredSetting, groupsOf, settingsOf } from './setting.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads a configuration class from environment variables, checks it with class-validator and freezes it.
 * An empty variable counts as unset. Throws one ConfigurationError that lists every problem.
 */
export function loadConfig<T extends object>(type: new () => T, environment: Environment): Readonly<T> {
  const problems: string[] = [];
  const config = read(type, {}, environment, problems);
  if (problems.length > 0) throw new ConfigurationError(problems);
  return config;
}

function read<T extends object>(type: new () => T, defaults: Partial<T>, environment: Environment, problems: string[]): T {
  const config = Object.assign(new type(), defaults) as T & Record<string, unknown>;
  const unreadable = new Set<string>();
  for (const setting of settingsOf(type)) {
    const value = valueOf(setting, environment, problems);
    if (value.kind === 'unreadable') unreadable.add(setting.property);
    if (value.kind === 'text') Object.assign(config, { [setting.property]: typed(setting, value.text) });
  }
  // Groups first, so that a rule may look into them; their problems are listed last.
  const problemsOfGroups: string[] = [];
  for (const group of groupsOf(type)) {
    Object.assign(config, { [group.property]: read(group.type, group.defaults, environment, problemsOfGroups) });
  }
  for (const error of validateSync(config, { stopAtFirstError: true })) {
    const setting = settingsOf(type).find((candidate) => candidate.property === error.property);
    if (!setting || unreadable.has(setting.property)) continue;
    const messages = Number.isNaN(error.value) ? ['must be a number'] : Object.values(error.constraints ?? {});
    for (const message of messages) problems.push(problemLine(setting, message, environment));
  }
  problems.push(...problemsOfGroups);
  return Object.freeze(config);
}

type SettingText = { kind: 'unset' } | { kind: 'unreadable' } | { kind: 'text'; text: string };

function valueOf(setting: DeclaredSetting, environment: Environment, problems: string[]): SettingText {
  const text = environment[setting.env];
  const file = setting.secret ? environment[`${setting.env}_FILE`] : undefined;
  if (text && file) problems.push(`${setting.env} and ${setting.env}_FILE are both set; set one of them`);
  if (text) return { kind: 'text', text };
  if (!file) return { kind: 'unset' };
  try {
    return { kind: 'text', text: readFileSync(file, 'utf8').replace(/\r?\n$/, '') };
  } catch (error) {
    problems.push(`${setting.env}_FILE: cannot be read (${(error as Error).message})`);
    return { kind: 'unreadable' };
  }
}

/** Text that does not fit the type is passed on as it is (a number as NaN), so that the validator names it. */
function typed(setting: DeclaredSetting, text: string): unknown {
  switch (setting.type) {
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
    case 'boolean':
      return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : text;
    case 'list':
      return text
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== '');
    case 'text':
      return text;
  }
}

function problemLine(setting: DeclaredSetting, message: string, environment: Environment): string {
  const text = environment[setting.env];
  const got = text && !setting.secret ? ` (got ${JSON.stringify(text)})` : '';
  const rest = message.startsWith(`${setting.property} `) ? message.slice(setting.property.length + 1) : message;
  return `${setting.env}: ${rest}${got}`;
}
