/** What keeps an embedded server from starting. The message tells the operator what to do; `code` is for programs. */
export class EmbeddedError extends Error {
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** Another program holds the port; `setting` is what the operator changes to use another one. */
export class PortInUseError extends EmbeddedError {
  constructor(
    readonly port: number,
    server: string,
    setting: string,
    options?: ErrorOptions,
  ) {
    super(
      'PORT_IN_USE',
      `${server} cannot start: port ${port} on 127.0.0.1 is in use. End the program that holds it, or choose another port with ${setting}.`,
      options,
    );
  }
}

/** The folder, or the one it would be made in, cannot be used by this user. */
export class FolderNotWritableError extends EmbeddedError {
  constructor(folder: string, reason: string, options?: ErrorOptions) {
    super(
      'FOLDER_NOT_WRITABLE',
      `Cannot keep data in ${folder}: ${reason}. Give this user the right to write there, or choose another folder.`,
      options,
    );
  }
}

/** A folder that holds something, but not a PostgreSQL data folder: nothing in it is touched. */
export class NotADataFolderError extends EmbeddedError {
  constructor(folder: string) {
    super(
      'NOT_A_DATA_FOLDER',
      `${folder} is not empty and holds no PostgreSQL data (no PG_VERSION file). Move it away, or choose another folder.`,
    );
  }
}

/** The data folder was written by another major version; `message` holds the commands that carry the data over. */
export class WrongMajorVersionError extends EmbeddedError {
  constructor(
    readonly found: number,
    readonly running: number,
    message: string,
  ) {
    super('WRONG_MAJOR_VERSION', message);
  }
}

/** A server whose starter is still alive uses this folder: it is not ours to stop. */
export class AlreadyRunningError extends EmbeddedError {
  constructor(server: string, folder: string, pid: number, starterPid: number | undefined, options?: ErrorOptions) {
    const stop = starterPid === undefined ? `it with \`kill -INT ${pid}\`` : `the program that started it with \`kill ${starterPid}\``;
    super('ALREADY_RUNNING', `${server} already runs on ${folder} (process ${pid}). Stop ${stop}, or choose another folder.`, options);
  }
}

/** A program that the embedded server needs is not on this machine, or does not run here. */
export class MissingProgramError extends EmbeddedError {
  constructor(message: string, options?: ErrorOptions) {
    super('MISSING_PROGRAM', message, options);
  }
}

/** The server refused the password in our file: the file belongs to another data folder or the password was changed. */
export class PasswordRefusedError extends EmbeddedError {
  constructor(passwordFile: string, options?: ErrorOptions) {
    super(
      'PASSWORD_REFUSED',
      `PostgreSQL refuses the password in ${passwordFile}. Delete that file and start again: a new password is then set.`,
      options,
    );
  }
}

/** The server ended before it was ready. */
export class ServerExitedError extends EmbeddedError {
  constructor(
    server: string,
    how: string,
    logFile: string,
    readonly lastLogLines: string[],
    options?: ErrorOptions,
  ) {
    super(
      'SERVER_EXITED',
      `${server} ended while it was starting (${how}). The end of ${logFile}:\n${lastLogLines.map((line) => `  ${line}`).join('\n')}`,
      options,
    );
  }
}
