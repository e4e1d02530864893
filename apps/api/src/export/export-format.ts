import { csvRecord } from './csv.js';

export const EXPORT_FORMATS = ['ndjson', 'csv'] as const;
export type ExportFormatName = (typeof EXPORT_FORMATS)[number];

/** How rows become a file. */
export interface ExportFormat {
  mediaType: string;
  /** Before the first row. */
  head: (columns: readonly string[]) => string;
  /** Of a row as JSON with these members, none of which is an object. */
  line: (json: string, columns: readonly string[]) => string;
  /** After the last row; `sha256` in hex, of all bytes before. */
  end: (count: number, sha256: string) => string;
}

export const FORMATS: Record<ExportFormatName, ExportFormat> = {
  ndjson: {
    mediaType: 'application/x-ndjson',
    head: () => '',
    line: (json) => `${json}\n`,
    end: (count, sha256) => `${JSON.stringify({ _end: { count, sha256 } })}\n`,
  },
  csv: {
    mediaType: 'text/csv; charset=utf-8; header=present',
    head: (columns) => csvRecord(columns),
    line: (json, columns) => {
      const row = JSON.parse(json) as Record<string, string | number | boolean | null>;
      return csvRecord(columns.map((column) => String(row[column] ?? '')));
    },
    // A record of another shape would break whoever reads the file as a table.
    end: () => '',
  },
};
