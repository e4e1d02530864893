import type { Environment } from './load-config.js';
import { groupsOf, settingsOf } from './setting.js';

type Values = Record<string, string | number | boolean | string[] | undefined>;

/** What a configuration came to, as lines of `NAME=value`, each with where the value is from; no secret is shown. */
export function printSettings(config: object, environment: Environment): string {
  return linesOf(config.constructor, config as Values, environment).join('\n');
}

function linesOf(type: object, values: Values, environment: Environment): string[] {
  const own = settingsOf(type).map(({ env, property, secret }) => {
    const value = values[property];
    if (value === undefined) return `# ${env} is not set`;
    const text = secret ? '(hidden)' : Array.isArray(value) ? value.join(',') : String(value);
    const source = environment[env] ? 'environment' : secret && environment[`${env}_FILE`] ? `${env}_FILE` : 'default';
    return `${env}=${text}  # ${source}`;
  });
  return [...own, ...groupsOf(type).flatMap((group) => linesOf(group.type, values[group.property] as unknown as Values, environment))];
}
