// Takes one document after the other. At SIGTERM it finishes the one that it has, and ends.
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import '../lib/environment.mjs';

const release = (await readFile(new URL('../RELEASE', import.meta.url), 'utf8')).trim();
const client = new pg.Client({ connectionString: process.env.DATABASE_URL, connectionTimeoutMillis: 10_000 });
await client.connect();

const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    console.log(`${signal}: finishing the document`);
    stop.abort();
  });
}

/** Several workers never get the same row, and a worker that dies leaves it to the next one. */
async function ingestNext() {
  await client.query('BEGIN');
  const { rows } = await client.query(
    'SELECT id, source FROM document WHERE ingested_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED',
  );
  for (const { id, source } of rows) {
    console.log(`ingesting ${source}`);
    await client.query('UPDATE document SET ingested_at = now(), ingested_by = $2 WHERE id = $1', [id, release]);
  }
  await client.query('COMMIT');
  return rows.length > 0;
}

console.log(`waiting for documents: ${release}`);
while (!stop.signal.aborted) {
  if (!(await ingestNext())) await sleep(500, undefined, { signal: stop.signal }).catch(() => {});
}
await client.end();
