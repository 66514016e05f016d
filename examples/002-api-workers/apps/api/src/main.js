import http from 'node:http';
import { pool, release } from '../../../packages/database/index.js';
import { enqueue, summary } from './jobs.js';

const database = pool();

const routes = {
  'GET /health': async () => ({ status: 'ok' }),
  'GET /jobs': async () => ({ release, ...(await summary(database)) }),
  'POST /jobs': async (url) => ({ id: await enqueue(database, url.searchParams.get('kind'), url.searchParams.get('seconds')) }),
};

const server = http.createServer(async (request, response) => {
  const url = new URL(request.url, 'http://localhost');
  const route = routes[`${request.method} ${url.pathname}`];
  try {
    answer(response, route ? 200 : 404, route ? await route(url) : { error: 'not found' });
  } catch (error) {
    console.error(`${request.method} ${url.pathname}: ${error.message}`);
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
      await database.end();
      process.exit(0);
    });
    server.closeIdleConnections();
  });
}
