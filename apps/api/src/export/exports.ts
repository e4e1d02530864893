import { createHash } from 'node:crypto';
import { type BeforeApplicationShutdown, Inject, Injectable, Logger } from '@nestjs/common';
import { DatabaseSettings } from '@tallystick/config';
import type { Response } from 'express';
import type { Principal } from '../auth/principal.js';
import { Database, type Reader } from '../database/database.js';
import { LastingAnswers } from '../http/lasting-answers.js';
import { PacedBody, STALL_LIMIT } from '../http/paced-body.js';
import { type ExportFormatName, FORMATS } from './export-format.js';

const RETRY_AFTER_S = 10;

export interface ExportRequest {
  /** What is exported, for the file's name. */
  name: string;
  format: ExportFormatName;
  columns: readonly string[];
  /** Each as JSON. */
  rows: (read: Reader) => AsyncGenerator<string[]>;
}

/** Sends rows as files, each from one read-only transaction: what was committed when it began, and nothing later. */
@Injectable()
export class Exports implements BeforeApplicationShutdown {
  private readonly logger = new Logger('Export');
  private readonly running: LastingAnswers;

  constructor(
    private readonly database: Database,
    @Inject(STALL_LIMIT) private readonly stallMs: number,
    { poolSize }: DatabaseSettings,
  ) {
    // Each holds a connection for as long as it takes: three quarters are left to other requests.
    const most = Math.max(1, Math.floor(poolSize / 4));
    this.running = new LastingAnswers({ most, mostOfOneKey: most, retryAfterS: RETRY_AFTER_S });
  }

  /** Breaks off what is under way, which a client can tell from an end: an export may take longer than a stop. */
  beforeApplicationShutdown(): void {
    this.running.stop((response) => void response.destroy());
  }

  /** Resolves when the file is sent, or the client gone. Throws a Problem only before the first byte. */
  async send(caller: Principal, response: Response, asked: ExportRequest): Promise<void> {
    await this.running.while(response, caller.keyId, async () => {
      const file = new ExportFile(response, asked, this.stallMs);
      if (response.req.method === 'HEAD') return file.showHead();
      // The transaction is over before the end is written: an end stands for rows that were all read.
      const isSent = await this.database.read(caller, (read) => file.write(asked.rows(read)));
      if (isSent) file.end();
      else if (file.isStalled) this.logger.warn('export cut off: the client has stopped to read', { stallMs: this.stallMs });
    });
  }
}

class ExportFile {
  private readonly format;
  private readonly body: PacedBody;
  private readonly hash = createHash('sha256');
  private count = 0;

  constructor(
    private readonly response: Response,
    private readonly asked: ExportRequest,
    stallMs: number,
  ) {
    this.format = FORMATS[asked.format];
    this.body = new PacedBody(response, stallMs);
  }

  get isStalled(): boolean {
    return this.body.isStalled;
  }

  /** Without reading rows that nobody would get. */
  showHead(): void {
    this.begin();
    this.response.end();
  }

  /** False: the client is gone. */
  async write(batches: AsyncGenerator<string[]>): Promise<boolean> {
    const { columns } = this.asked;
    // What fails up to here is told as a problem; from the first byte on only breaking off is left.
    let batch = await batches.next();
    this.begin();
    if (!(await this.put(this.format.head(columns)))) return false;
    for (; !batch.done; batch = await batches.next()) {
      this.count += batch.value.length;
      if (!(await this.put(batch.value.map((row) => this.format.line(row, columns)).join('')))) return false;
      batch.value.length = 0;
    }
    return true;
  }

  end(): void {
    this.response.end(this.format.end(this.count, this.hash.digest('hex')));
  }

  private begin(): void {
    const at = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
    this.response.attachment(`tallystick-${this.asked.name}-${at}.${this.asked.format}`).set('Content-Type', this.format.mediaType);
    this.response.flushHeaders();
  }

  private put(text: string): Promise<boolean> {
    this.hash.update(text);
    return this.body.write(text);
  }
}
