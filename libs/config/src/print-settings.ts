import type { Environment } from './load-config.js';
import { groupsOf, settingsOf } from './setting.js';

/** What a configuration came to, as lines of `NAME=value`, each with where the value is from; no secret is shown. */
export function printSettings(config: object, environment: Environment): string {
  return linesOf(config.constructor, config as Record<string, unknown>, environment).join('\n');
}

function linesOf(type: object, values: Record<string, unknown>, environment: Environment): string[] {
  const own = settingsOf(type).map(({ env, property, secret }) => {
    const value = values[property];
    if (value === undefined) return `# ${env} is not set`;
    const text = secret ? '(hidden)' : Array.isArray(value) ? value.join(',') : String(value);
    const source = environment[env] ? 'environment' : secret && environment[`${env}_FILE`] ? `${env}_FILE` : 'default';
    return `${env}=${text}  # ${source}`;
  });
  return [
    ...own,
    ...groupsOf(type).flatMap((group) => linesOf(group.type, values[group.property] as Record<string, unknown>, environment)),
  ];
}
