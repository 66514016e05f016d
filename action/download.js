// One file over HTTP, by the proxies and with the certificate authorities of the environment: node's own `fetch` takes neither.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const tls = require('node:tls');

const MOST_REDIRECTS = 5;
const SILENCE = 30_000; // milliseconds without a byte, after which a host is taken to be gone
const client = (url) => (url.protocol === 'https:' ? https : http);
const port = (url) => url.port || (url.protocol === 'https:' ? '443' : '80');
const host = (url) => url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
const variable = (env, name) => env[name.toLowerCase()] || env[name] || ''; // the lower case wins, as everywhere

/** The proxy for an address, or null: `HTTPS_PROXY`, `HTTP_PROXY`, else `ALL_PROXY`, unless `NO_PROXY` names the host. */
function proxyFor(url, env) {
  const named = variable(env, url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY') || variable(env, 'ALL_PROXY');
  if (!named || isDirect(url, variable(env, 'NO_PROXY'))) return null;
  return new URL(named.includes('://') ? named : `http://${named}`);
}

function isDirect(url, list) {
  return list.toLowerCase().split(/[\s,]+/).filter(Boolean).some((entry) => {
    if (entry === '*') return true;
    const [, name, onlyPort] = entry.match(/^\*?\.?(.*?)(?::(\d+))?$/);
    return (!onlyPort || onlyPort === port(url)) && (host(url) === name || host(url).endsWith(`.${name}`));
  });
}

/** Node's authorities, and those of the files that the program and other clients read. */
function authorities(env) {
  const files = ['AWS_CA_BUNDLE', 'SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS'].map((name) => env[name]).filter((file) => file && fs.existsSync(file));
  return files.length ? [...tls.rootCertificates, ...files.map((file) => fs.readFileSync(file, 'utf8'))] : undefined;
}

/** What a request brings with the event, or its failure. */
const answered = (request, event) =>
  new Promise((done, fail) => {
    request.setTimeout(SILENCE, () => request.destroy(new Error(`nothing came for ${SILENCE / 1000} s`)));
    request.on(event, (...given) => done(given)).on('error', fail).end();
  });

/** A connection to an address, as a proxy makes it. */
async function tunnel(url, proxy, headers, ca) {
  const target = `${url.hostname}:${port(url)}`;
  const options = { host: host(proxy), port: port(proxy), method: 'CONNECT', path: target, headers: { ...headers, host: target }, ca, agent: false };
  const [answer, socket] = await answered(client(proxy).request(options), 'connect');
  if (answer.statusCode !== 200) throw new Error(`the proxy ${proxy.host} answered HTTP ${answer.statusCode}`);
  return () => tls.connect({ socket, host: host(url), servername: net.isIP(host(url)) ? '' : host(url), ca });
}

async function ask(url, env) {
  const [proxy, ca] = [proxyFor(url, env), authorities(env)];
  const login = proxy?.username && Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`);
  const forProxy = login ? { 'proxy-authorization': `Basic ${login.toString('base64')}` } : {};
  const headers = { host: url.host, 'user-agent': 'fargate-deploy-action' };
  const options = { host: host(url), port: port(url), path: url.pathname + url.search, headers, ca, agent: false };
  if (proxy && url.protocol === 'https:') {
    Object.assign(options, { agent: undefined, createConnection: await tunnel(url, proxy, forProxy, ca) });
  } else if (proxy) {
    Object.assign(options, { host: host(proxy), port: port(proxy), path: url.href, headers: { ...headers, ...forProxy } });
  }
  const over = proxy && url.protocol === 'http:' ? client(proxy) : client(url);
  const [answer] = await answered(over.request(options), 'response');
  const parts = [];
  for await (const part of answer) parts.push(part);
  return { status: answer.statusCode, location: answer.headers.location, bytes: Buffer.concat(parts) };
}

/** The bytes behind an address. An error has `status` where there was an answer. */
async function download(address, env) {
  let url = new URL(address);
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
    const answer = await ask(url, env);
    if (answer.status === 200) return answer.bytes;
    if (!answer.location) throw Object.assign(new Error(`HTTP ${answer.status}`), { status: answer.status });
    url = new URL(answer.location, url);
  }
  throw new Error(`more than ${MOST_REDIRECTS} redirects`);
}

module.exports = { download };
