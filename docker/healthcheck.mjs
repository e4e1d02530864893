// HEALTHCHECK of the images: exit code 0 when the probe `/livez` (or the one of the argument, `readyz`) of this container answers 200.
const response = await fetch(`http://127.0.0.1:${process.env.PORT}/${process.argv[2] ?? 'livez'}`, { signal: AbortSignal.timeout(4_000) });
process.exitCode = response.ok ? 0 : 1;
