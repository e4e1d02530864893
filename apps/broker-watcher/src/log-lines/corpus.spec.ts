import { bytesOf, type CorpusLine, corpusLines, VERSIONS } from '../../test/corpus.js';
import { dialectOf } from './dialect.js';
import type { OpenClients } from './log-line.js';
import { LOG_TOPIC_PREFIX, parseLogLine } from './parse-log-line.js';

/** Who is connected, as the labels say: what this spec judges is the reading of lines alone. */
class LabelledClients implements OpenClients {
  private readonly open = new Map<string, string | undefined>();

  isOpen(client: string): boolean {
    return this.open.has(client);
  }

  isOpenAt(client: string): boolean {
    return this.open.has(client);
  }

  follow({ expect: label, effect }: CorpusLine): void {
    if (effect === 'close_all') this.open.clear();
    if (!label?.client) return;
    // the watcher of the corpus was connected before the first line
    if (effect === 'open' || label.action === 'subscribe') this.open.set(label.client, undefined);
    if (effect === 'close') this.open.delete(label.client);
  }
}

describe.each(VERSIONS)('the corpus of Mosquitto %s', (version) => {
  it('is read as labelled, every part of every line that has a label', () => {
    const dialect = dialectOf(`mosquitto version ${version}`)!;
    const clients = new LabelledClients();
    const wrong: unknown[] = [];
    const counts = { lines: 0, labelled: 0, equal: 0 };
    for (const line of corpusLines(version)) {
      if (!line.topic.startsWith(LOG_TOPIC_PREFIX)) continue;
      counts.lines += 1;
      const { action, client, topic, qos, username, ts } = parseLogLine(line.topic, bytesOf(line), dialect, clients);
      if (line.expect) {
        counts.labelled += 1;
        const read = { action, client, topic, qos, username, ts };
        if (JSON.stringify(read) === JSON.stringify(line.expect)) counts.equal += 1;
        else wrong.push({ seq: line.seq, payload: line.payload, read, expect: line.expect });
      }
      clients.follow(line);
    }
    console.info(`Mosquitto ${version}: ${counts.lines} log lines, ${counts.labelled} labelled, ${counts.equal} read as labelled`);
    expect(wrong).toEqual([]);
    expect(counts.labelled).toBeGreaterThan(400);
  });
});
