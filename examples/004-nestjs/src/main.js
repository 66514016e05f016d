import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { createServer } from './server.js';

const read = async (name) => (await readFile(new URL(`../${name}`, import.meta.url), 'utf8')).trim();

for (const name of (await read('required-env')).split('\n')) {
  if (!process.env[name]) {
    console.error(`KeyError: ${name}`);
    process.exit(1);
  }
}

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 5, connectionTimeoutMillis: 5000 });
pool.on('error', (error) => console.error(`database: ${error.message}`));

const server = createServer({ release: await read('RELEASE'), pool });
server.listen(Number(process.env.PORT ?? 3000), '0.0.0.0', () => console.log(`listening on ${server.address().port}`));

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    console.log(`${signal}: draining`);
    server.close(async () => {
      await pool.end();
      process.exit(0);
    });
    server.closeIdleConnections();
  });
}
