import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onCleanUp } from './clean-up.js';

/** Paths of PEM files. */
export interface Certificate {
  cert: string;
  key: string;
}

/** A certificate authority of its own in a temporary folder, made with openssl 3; gone after the spec's file. */
export class TestAuthority {
  private constructor(
    private readonly dir: string,
    /** PEM file of the authority's own certificate. */
    readonly caFile: string,
  ) {}

  static make(): TestAuthority {
    const dir = mkdtempSync(join(tmpdir(), 'tallystick-certificates-'));
    onCleanUp(() => Promise.resolve(rmSync(dir, { recursive: true, force: true })));
    const authority = new TestAuthority(dir, join(dir, 'authority.crt'));
    authority.request('authority', 'test authority', []);
    return authority;
  }

  /** A key and a certificate for a server on 127.0.0.1, or for a client of that name. */
  issue(commonName: string): Certificate {
    const own = ['-CA', this.caFile, '-CAkey', join(this.dir, 'authority.key'), '-addext', 'subjectAltName=IP:127.0.0.1'];
    return this.request(commonName, commonName, [...own, '-addext', 'basicConstraints=critical,CA:FALSE']);
  }

  private request(file: string, commonName: string, further: string[]): Certificate {
    const [cert, key] = [join(this.dir, `${file}.crt`), join(this.dir, `${file}.key`)];
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc', '-keyout', key];
    const args = ['req', '-x509', ...newKey, '-out', cert, '-days', '2', '-subj', `/CN=${commonName}`, ...further];
    execFileSync('openssl', args, { stdio: 'pipe' });
    return { cert, key };
  }
}
