import { csvRecord } from './csv.js';

export const EXPORT_FORMATS = ['ndjson', 'csv'] as const;
export type ExportFormatName = (typeof EXPORT_FORMATS)[number];

/** What PostgreSQL gives; 64-bit integers are strings already. */
export type ExportValue = string | number | boolean | Date | Buffer | null;
export type ExportRow = Record<string, ExportValue>;

/** How rows become a file. Bytes are base64 and times RFC 3339 in each. */
export interface ExportFormat {
  mediaType: string;
  /** Before the first row. */
  head: (columns: readonly string[]) => string;
  line: (row: ExportRow, columns: readonly string[]) => string;
  /** After the last row; `sha256` in hex, of all bytes before. */
  end: (count: number, sha256: string) => string;
}

export const FORMATS: Record<ExportFormatName, ExportFormat> = {
  ndjson: {
    mediaType: 'application/x-ndjson',
    head: () => '',
    line: (row, columns) => `${JSON.stringify(Object.fromEntries(columns.map((column) => [column, jsonValue(row[column]!)])))}\n`,
    end: (count, sha256) => `${JSON.stringify({ _end: { count, sha256 } })}\n`,
  },
  csv: {
    mediaType: 'text/csv; charset=utf-8; header=present',
    head: (columns) => csvRecord(columns),
    line: (row, columns) => csvRecord(columns.map((column) => csvText(row[column]!))),
    // A record of another shape would break whoever reads the file as a table.
    end: () => '',
  },
};

function jsonValue(value: ExportValue): ExportValue {
  return Buffer.isBuffer(value) ? value.toString('base64') : value;
}

function csvText(value: ExportValue): string {
  if (value === null) return '';
  if (value instanceof Date) return value.toISOString();
  return Buffer.isBuffer(value) ? value.toString('base64') : String(value);
}
