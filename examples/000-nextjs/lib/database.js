import pg from 'pg';

// One pool for each process, also when `next dev` loads this module again.
globalThis.pool ??= new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  max: 5,
  connectionTimeoutMillis: 5000,
});

export const pool = globalThis.pool;
