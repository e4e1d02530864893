#!/usr/bin/env node
import { existsSync } from 'node:fs';
import { loadEnvFile } from 'node:process';
import { Command } from 'commander';
import { keysCommand } from './keys/keys.command.js';
import { migrateCommand } from './migrate/migrate.command.js';
import { exitCodeFor, problemText } from './problem.js';
import { simulateCommand } from './simulate/simulate.command.js';
import { upCommand } from './up/up.command.js';
import { VERSION } from './version.js';

// As docker compose does: what the environment has already wins over the file.
if (existsSync('.env')) loadEnvFile('.env');

const EXIT_USAGE = 64;

const program = new Command('tallystick')
  .description('The system of record for MQTT: every message stored once, hashed, sealed and provable.')
  .version(VERSION)
  .showHelpAfterError('(see --help)')
  .addCommand(upCommand())
  .addCommand(migrateCommand())
  .addCommand(simulateCommand())
  .addCommand(keysCommand());

// sysexits.h EX_USAGE for what was typed wrongly; commander's own is 1.
for (const command of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)])
  command.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : EXIT_USAGE));

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`${problemText(error)}\n`);
  process.exitCode = exitCodeFor(error);
}
