import { readFileSync } from 'node:fs';
import http from 'node:http';
import pg from 'pg';

const read = (name) => readFileSync(new URL(name, import.meta.url), 'utf8').trim();

for (const name of read('required-env').split('\n')) {
  if (!process.env[name]) {
    console.error(`KeyError: ${name}`);
    process.exit(1);
  }
}

const release = read('RELEASE');
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 5, connectionTimeoutMillis: 5000 });
pool.on('error', (error) => console.error(`database: ${error.message}`));

const routes = {
  '/api/health': async () => ({ status: 'ok' }),
  '/api/places': async () => ({ release, places: (await pool.query('SELECT city, name FROM place ORDER BY id')).rows }),
};

const server = http.createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  const route = routes[pathname];
  try {
    answer(response, route ? 200 : 404, route ? await route() : { error: 'not found' });
  } catch (error) {
    console.error(`${request.method} ${pathname}: ${error.message}`);
    answer(response, 500, { error: 'internal error' });
  }
});

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

server.listen(Number(process.env.PORT ?? 4000), '0.0.0.0', () => console.log(`listening on ${server.address().port}`));

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
