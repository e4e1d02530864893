import { bytesOf, corpusLines, VERSIONS } from '../../test/corpus.js';
import { sysValue } from './sys-value.js';

/** For a moment more sockets than clients: 2.1 prints the difference as 2^32 - 1. */
const WRAPPED = 4294967295;

describe.each(VERSIONS)('$SYS of Mosquitto %s', (version) => {
  it('is read as labelled', () => {
    const lines = corpusLines(version).filter((line) => line.metric !== undefined);
    for (const line of lines) {
      const value = sysValue(line.topic, bytesOf(line));
      const metric = line.topic.slice('$SYS/broker/'.length);
      if (line.metric === WRAPPED && metric.startsWith('clients/')) expect(value).toEqual({ kind: 'invalid', metric });
      else if (line.metric === null) expect(value).toMatchObject({ kind: 'text' });
      else expect(value).toEqual({ kind: 'number', metric, value: line.metric });
    }
    console.info(`Mosquitto ${version}: ${lines.length} values`);
  });
});
