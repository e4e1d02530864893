import { type DeclaredSetting, groupsOf, settingsOf } from './setting.js';

export interface SettingDescription {
  env: string;
  describe: string;
  /** The default as the environment would spell it; empty when there is none. */
  defaultText: string;
  type: DeclaredSetting['type'];
  secret: boolean;
}

/** Every setting of a configuration class, groups included, in order of declaration: what the configuration tables are made of. */
export function describeSettings(type: new () => object, defaults: Record<string, unknown> = {}): SettingDescription[] {
  const values = Object.assign(new type(), defaults) as Record<string, unknown>;
  const own = settingsOf(type).map((setting) => ({
    env: setting.env,
    describe: setting.describe,
    defaultText: defaultText(values[setting.property]),
    type: setting.type,
    secret: setting.secret ?? false,
  }));
  return [...own, ...groupsOf(type).flatMap((group) => describeSettings(group.type, group.defaults))];
}

function defaultText(value: unknown): string {
  if (Array.isArray(value)) return value.join(',');
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}
