import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

export interface ComposeService {
  image: string;
  build?: { context: string; dockerfile: string; target: string };
  user?: string;
  tmpfs?: string[];
  entrypoint?: string[];
  command?: string[];
  /** null: passed on from whoever starts it, if set there */
  environment?: Record<string, string | null>;
  secrets?: string[];
  ports?: string[];
  volumes?: (string | { type: string; target: string })[];
  networks: string[];
  profiles?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
  restart: string;
  [key: string]: unknown;
}

export interface ComposeFile {
  services: Record<string, ComposeService>;
  networks: Record<string, { internal?: boolean }>;
  volumes: Record<string, unknown>;
  secrets: Record<string, { file: string }>;
}

const VARIABLE = /\$\{(\w+):-([^}]*)\}/g;

/** docker-compose.yml as compose reads it when no variable is set. */
export function composeFile(): ComposeFile {
  const text = readFileSync('docker-compose.yml', 'utf8').replaceAll(VARIABLE, '$2').replaceAll('$$', '$');
  return parse(text, { merge: true }) as ComposeFile;
}

/** Names of the variables that the file takes from `.env` or the environment, those that it passes on included. */
export function variablesOf(file: ComposeFile): Set<string> {
  const named = [...readFileSync('docker-compose.yml', 'utf8').matchAll(VARIABLE)].map(([, name]) => name!);
  const passedOn = Object.values(file.services).flatMap(({ environment = {} }) =>
    Object.keys(environment).filter((name) => environment[name] === null),
  );
  return new Set([...named, ...passedOn]);
}

/** What the service's process gets, with this folder in place of /run/secrets. */
export function environmentOf({ environment = {} }: ComposeService, secrets: string): Record<string, string> {
  const set = Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== null);
  return Object.fromEntries(set.map(([name, value]) => [name, value.replace('/run/secrets', secrets)]));
}

export interface DockerTarget {
  /** exec form */
  entrypoint: string[];
  lines: string[];
}

/** The stages of docker/Dockerfile by name, continued lines joined, comments left out. */
export function dockerTargets(): Map<string, DockerTarget> {
  const lines = readFileSync('docker/Dockerfile', 'utf8')
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  const targets = new Map<string, DockerTarget>();
  let stage: DockerTarget | undefined;
  for (const line of lines) {
    const name = /^FROM \S+ AS (\S+)$/.exec(line)?.[1];
    if (name) targets.set(name, (stage = { entrypoint: [], lines: [] }));
    stage!.lines.push(line);
    if (line.startsWith('ENTRYPOINT ')) stage!.entrypoint = JSON.parse(line.slice('ENTRYPOINT '.length)) as string[];
  }
  return targets;
}
