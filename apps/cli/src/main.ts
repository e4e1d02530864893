#!/usr/bin/env node
import { existsSync } from 'node:fs';
import { loadEnvFile } from 'node:process';
import { Command } from 'commander';
import { migrateCommand } from './migrate/migrate.command.js';
import { exitCodeFor, problemText } from './problem.js';
import { upCommand } from './up/up.command.js';
import { VERSION } from './version.js';

// As docker compose does: what the environment has already wins over the file.
if (existsSync('.env')) loadEnvFile('.env');

const program = new Command('tallystick')
  .description('The system of record for MQTT: every message stored once, hashed, sealed and provable.')
  .version(VERSION)
  .showHelpAfterError('(see --help)')
  .addCommand(upCommand())
  .addCommand(migrateCommand());

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`${problemText(error)}\n`);
  process.exitCode = exitCodeFor(error);
}
