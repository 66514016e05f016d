// Applies every migrations/*.sql that is not yet in schema_migrations, one transaction each, in the order of their names.
import { readFile, readdir } from 'node:fs/promises';
import pg from 'pg';

const folder = new URL('../migrations/', import.meta.url);
const client = new pg.Client({ connectionString: process.env.DATABASE_URL, connectionTimeoutMillis: 10_000 });
await client.connect();

// A second runner waits here until the first has finished: only the database itself can promise that.
await client.query('SELECT pg_advisory_lock(4000)');
await client.query(
  'CREATE TABLE IF NOT EXISTS schema_migrations (version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())',
);
const { rows } = await client.query('SELECT version FROM schema_migrations');
const applied = new Set(rows.map((row) => row.version));

const versions = (await readdir(folder)).filter((name) => name.endsWith('.sql')).map((name) => name.slice(0, -4)).sort();
for (const version of versions.filter((version) => !applied.has(version))) {
  console.log(`migrate: ${version}`);
  try {
    await client.query('BEGIN');
    await client.query(await readFile(new URL(`${version}.sql`, folder), 'utf8'));
    await client.query('INSERT INTO schema_migrations (version) VALUES ($1)', [version]);
    await client.query('COMMIT');
  } catch (error) {
    console.error(`ERROR:  ${error.message}`);
    process.exit(1);
  }
}
console.log('migrate: up to date');
await client.end();
