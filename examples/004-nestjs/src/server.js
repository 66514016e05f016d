import http from 'node:http';
import { describe } from './account.repository.js';

export function createServer({ release, pool }) {
  const routes = {
    '/health': async () => ({ status: 'ok' }),
    '/': async () => ({ release, columns: await describe(pool) }),
  };

  return http.createServer(async (request, response) => {
    const route = routes[new URL(request.url, 'http://localhost').pathname];
    try {
      answer(response, route ? 200 : 404, route ? await route() : { error: 'not found' });
    } catch (error) {
      console.error(`${request.method} ${request.url}: ${error.message}`);
      answer(response, 500, { error: 'internal error' });
    }
  });
}

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}
