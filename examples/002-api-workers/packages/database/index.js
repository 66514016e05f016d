import { readFileSync } from 'node:fs';
import pg from 'pg';

const read = (name) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8').trim();

/** What this image is called in logs and in the database. */
export const release = read('RELEASE');

// A variable that is missing shall stop the release now, and not the first job that needs it.
for (const name of read('required-env').split('\n')) {
  if (!process.env[name]) {
    console.error(`KeyError: ${name}`);
    process.exit(1);
  }
}

export function pool() {
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 5, connectionTimeoutMillis: 5000 });
  pool.on('error', (error) => console.error(`database: ${error.message}`));
  return pool;
}
