import 'reflect-metadata';

export interface SettingOptions {
  /** Name of the environment variable. */
  env: string;
  /** One sentence for the configuration table; the unit, if the name does not carry it. */
  describe: string;
  /** A secret may also come from the file that `<env>_FILE` names, and its value is never printed. */
  secret?: boolean;
}

export interface DeclaredSetting extends SettingOptions {
  property: string;
  type: 'text' | 'number' | 'boolean' | 'list';
}

export interface DeclaredGroup {
  property: string;
  type: new () => object;
  defaults: Record<string, unknown>;
}

const SETTINGS = Symbol('settings');
const GROUPS = Symbol('groups');

/** Declares that a property of a configuration class is read from the environment. Its initial value is the default. */
export function Setting(options: SettingOptions): PropertyDecorator {
  return (target, property) => {
    const declared = settingsOf(target.constructor);
    Reflect.defineMetadata(
      SETTINGS,
      [...declared, { ...options, property: String(property), type: textType(target, property) }],
      target.constructor,
    );
  };
}

/** Declares that a property holds another configuration class; `defaults` replace that class's own, by property. */
export function Group<T extends object>(type: new () => T, defaults: Partial<T> = {}): PropertyDecorator {
  return (target, property) => {
    Reflect.defineMetadata(GROUPS, [...groupsOf(target.constructor), { property: String(property), type, defaults }], target.constructor);
  };
}

export function settingsOf(type: object): DeclaredSetting[] {
  return (Reflect.getMetadata(SETTINGS, type) as DeclaredSetting[] | undefined) ?? [];
}

export function groupsOf(type: object): DeclaredGroup[] {
  return (Reflect.getMetadata(GROUPS, type) as DeclaredGroup[] | undefined) ?? [];
}

function textType(target: object, property: string | symbol): DeclaredSetting['type'] {
  const type: unknown = Reflect.getMetadata('design:type', target, property);
  if (type === Number) return 'number';
  if (type === Boolean) return 'boolean';
  return type === Array ? 'list' : 'text';
}
