// HEALTHCHECK of the images: exit code 0 when the probe `/livez` (or the one of the argument, `readyz`) of this container answers 200.
// How long that may take is said where the check is declared.
const response = await fetch(`http://127.0.0.1:${process.env.PORT}/${process.argv[2] ?? 'livez'}`);
process.exitCode = response.ok ? 0 : 1;
