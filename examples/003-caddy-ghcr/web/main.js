// Pages, rendered from what the API answers. The containers of one task share localhost.
import { readFileSync } from 'node:fs';
import http from 'node:http';

const release = readFileSync(new URL('RELEASE', import.meta.url), 'utf8').trim();
const api = process.env.API_URL ?? 'http://127.0.0.1:4000';

const escape = (text) => text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);

async function page() {
  const answer = await fetch(`${api}/api/places`, { signal: AbortSignal.timeout(3000) }).catch(() => null);
  const places = answer?.ok ? (await answer.json()).places : [];
  const items = places.map(({ city, name }) => `<li>${escape(name)}, ${escape(city)}</li>`).join('');
  return `<!doctype html><title>City Guided</title><h1>${escape(release)}</h1><ul>${items}</ul>\n`;
}

const server = http.createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname !== '/' && pathname !== '/health') {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
  response.end(pathname === '/' ? await page() : 'ok\n');
});

server.listen(Number(process.env.PORT ?? 3000), '0.0.0.0', () => console.log(`listening on ${server.address().port}`));

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    console.log(`${signal}: draining`);
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}
