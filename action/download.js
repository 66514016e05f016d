// One file over HTTP, by the proxies of the environment and with its certificate authorities: node's own `fetch` knows neither.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const tls = require('node:tls');

const MOST_REDIRECTS = 5;
const TIMEOUT = 120_000;

/** A variable in either case; the lower one wins, as everywhere. */
const variable = (env, name) => env[name.toLowerCase()] || env[name] || '';

/** The proxy for an address, or null: `HTTPS_PROXY`, `HTTP_PROXY`, else `ALL_PROXY`, unless `NO_PROXY` names the host. */
function proxyFor(url, env) {
  const named = variable(env, url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY') || variable(env, 'ALL_PROXY');
  if (!named || isDirect(url, variable(env, 'NO_PROXY'))) return null;
  return new URL(named.includes('://') ? named : `http://${named}`);
}

function isDirect(url, list) {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  return list.split(/[\s,]+/).filter(Boolean).some((entry) => {
    if (entry === '*') return true;
    const [, name, port] = entry.toLowerCase().match(/^(.*?)(?::(\d+))?$/);
    const domain = name.replace(/^\*?\./, '');
    const isPort = !port || port === (url.port || (url.protocol === 'https:' ? '443' : '80'));
    return isPort && (host === domain || host.endsWith(`.${domain}`));
  });
}

/** The system's authorities, and those of `AWS_CA_BUNDLE`, as the program itself has them. */
function authorities(env) {
  if (!env.AWS_CA_BUNDLE || !fs.existsSync(env.AWS_CA_BUNDLE)) return undefined;
  const extra = env.NODE_EXTRA_CA_CERTS && fs.existsSync(env.NODE_EXTRA_CA_CERTS) ? [env.NODE_EXTRA_CA_CERTS] : [];
  return [...tls.rootCertificates, ...[env.AWS_CA_BUNDLE, ...extra].map((file) => fs.readFileSync(file, 'utf8'))];
}

const authorization = (proxy) =>
  proxy.username
    ? { 'proxy-authorization': `Basic ${Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`).toString('base64')}` }
    : {};

const speak = (url) => (url.protocol === 'https:' ? https : http);
const port = (url) => url.port || (url.protocol === 'https:' ? 443 : 80);
const host = (url) => url.hostname.replace(/^\[|\]$/g, '');

/** A connection through the proxy to an address that TLS is spoken with. */
function tunnel(url, proxy, ca, signal) {
  return new Promise((done, fail) => {
    const target = `${url.hostname}:${port(url)}`;
    const request = speak(proxy).request({
      host: host(proxy), port: port(proxy), method: 'CONNECT', path: target, ca, signal,
      headers: { host: target, ...authorization(proxy) },
    });
    request.on('connect', (answer, socket) => {
      if (answer.statusCode === 200) return done(socket);
      socket.destroy();
      fail(new Error(`the proxy ${proxy.host} answered HTTP ${answer.statusCode}`));
    });
    request.on('error', fail);
    request.end();
  });
}

async function ask(url, env, signal) {
  const proxy = proxyFor(url, env);
  const ca = authorities(env);
  const options = { method: 'GET', host: host(url), port: port(url), path: url.pathname + url.search, ca, signal, agent: false, headers: { host: url.host, 'user-agent': 'fargate-deploy-action' } };
  if (proxy && url.protocol === 'http:') {
    Object.assign(options, { host: host(proxy), port: port(proxy), path: url.href });
    Object.assign(options.headers, authorization(proxy));
  } else if (proxy) {
    const socket = await tunnel(url, proxy, ca, signal);
    // An agent would make its own connection.
    delete options.agent;
    options.createConnection = () => tls.connect({ socket, servername: host(url), ca });
  }
  const over = proxy && url.protocol === 'http:' ? speak(proxy) : speak(url);
  return new Promise((done, fail) => {
    const request = over.request(options, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => done({ status: answer.statusCode, location: answer.headers.location, bytes: Buffer.concat(parts) }));
      answer.on('aborted', () => fail(new Error('the connection ended before the file did')));
      answer.on('error', fail);
    });
    request.on('error', fail);
    request.end();
  });
}

/** The bytes behind an address. An error has `status` where there was an answer. */
async function download(address, env) {
  const signal = AbortSignal.timeout(TIMEOUT);
  let url = new URL(address);
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
    const answer = await ask(url, env, signal);
    if ([301, 302, 303, 307, 308].includes(answer.status) && answer.location) {
      url = new URL(answer.location, url);
      continue;
    }
    if (answer.status !== 200) throw Object.assign(new Error(`HTTP ${answer.status}`), { status: answer.status });
    return answer.bytes;
  }
  throw new Error(`more than ${MOST_REDIRECTS} redirects`);
}

module.exports = { download, proxyFor };
