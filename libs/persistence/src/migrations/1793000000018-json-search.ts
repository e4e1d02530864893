import type { MigrationInterface, QueryRunner } from 'typeorm';
import { replaceMessagesContaining } from './parts/messages-containing.js';

/**
 * A search in payloads that takes as long as what it finds. How many rows contain a JSON is guessed by PostgreSQL, at 1 % of wide ones
 * whatever is asked for; by that guess it looked for a rare one through all messages of a day.
 */
export class JsonSearch1793000000018 implements MigrationInterface {
  name = 'JsonSearch1793000000018';

  async up(runner: QueryRunner): Promise<void> {
    await replaceMessagesContaining(runner, [1000]);
  }

  async down(runner: QueryRunner): Promise<void> {
    await replaceMessagesContaining(runner, []);
  }
}
