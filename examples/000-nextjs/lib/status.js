import { readFile } from 'node:fs/promises';
import { pool } from './database.js';

/** Which release answers, and how far its worker is. */
export async function status() {
  const release = (await readFile('RELEASE', 'utf8')).trim();
  const { rows } = await pool.query(
    'SELECT count(*)::int AS documents, count(ingested_at)::int AS ingested FROM document',
  );
  return { release, ...rows[0] };
}
