'use strict';

const assert = require('node:assert/strict');
const { spawn, spawnSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const zlib = require('node:zlib');

const ACTION = path.resolve(__dirname, '..');

/** A copy of the Action with a manifest of its own, in a folder whose name has spaces, and a release host. */
async function setting(t, script, change = {}) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'fargate deploy '));
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  const action = path.join(directory, 'action');
  fs.mkdirSync(action);
  for (const file of ['main.js', 'post.js', 'binary.js', 'download.js']) fs.copyFileSync(path.join(ACTION, file), path.join(action, file));
  const archive = zlib.gzipSync(`#!/bin/sh\n${script}\n`);
  const sum = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
  const manifest = { version: '1.2.3', sha256: { 'test-x64': { archive: sum(archive), program: sum(zlib.gunzipSync(archive)) } }, ...change.manifest };
  fs.writeFileSync(path.join(action, 'manifest.json'), JSON.stringify(manifest));
  const requests = [];
  const server = http.createServer((request, response) => {
    requests.push(request.url);
    if (change.silent) return;
    if (change.status) return response.writeHead(change.status).end();
    if (change.redirect && !request.url.startsWith('/elsewhere/')) {
      return response.writeHead(302, { location: `/elsewhere${request.url}` }).end();
    }
    if (requests.length <= (change.failures || 0)) return response.writeHead(503).end();
    response.end(change.served ?? archive);
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  t.after(() => (server.close(), server.closeAllConnections()));
  const env = {
    PATH: process.env.PATH,
    RUNNER_TOOL_CACHE: path.join(directory, 'tool cache'),
    FARGATE_DEPLOY_PLATFORM: 'test-x64',
    FARGATE_DEPLOY_RELEASE_URL: `http://127.0.0.1:${server.address().port}`,
    GITHUB_STATE: path.join(directory, 'state'),
    GITHUB_OUTPUT: path.join(directory, 'output'),
  };
  return { action, directory, env, requests, server };
}

function start(script, env, cwd = os.tmpdir()) {
  const child = spawn(process.execPath, [script], { env, cwd });
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (output += data));
  const ended = new Promise((done) => child.on('close', (code) => done({ code, output })));
  return { child, ended, output: () => output };
}

const run = (script, env, cwd) => start(script, env, cwd).ended;

/** The `failure-reason` of a step that says that it failed. */
function failed(s) {
  const said = fs.readFileSync(s.env.GITHUB_OUTPUT, 'utf8');
  assert.match(said, /^outcome=failed$/m);
  return said.match(/^failure-reason=(.*)$/m)[1];
}

test('the binary is fetched once, runs with the inputs, and its exit code is the step\'s', async (t) => {
  const s = await setting(t, 'echo "got $(env | grep ^INPUT_IMAGE)"; exit 6');
  const env = { ...s.env, INPUT_IMAGE: 'app=repo:1\nweb=repo:2' };
  const first = await run(path.join(s.action, 'main.js'), env);
  assert.equal(first.code, 6, first.output);
  assert.match(first.output, /INPUT_IMAGE=app=repo:1/);
  assert.deepEqual(s.requests, ['/v1.2.3/fargate-deploy-test-x64.gz']);
  s.server.close();
  const offline = await run(path.join(s.action, 'main.js'), env);
  assert.equal(offline.code, 6, offline.output);
});

test('a file with another checksum is never run, and not asked for again', async (t) => {
  const s = await setting(t, 'echo good', { served: zlib.gzipSync('#!/bin/sh\necho evil\n') });
  const ended = await run(path.join(s.action, 'main.js'), s.env);
  assert.equal(ended.code, 1);
  assert.match(ended.output, /^::error title=fargate-deploy%3A internal::.*SHA-256/m);
  assert.doesNotMatch(ended.output, /^evil/m);
  assert.equal(s.requests.length, 1);
});

test('a file that was changed in the tool cache is fetched again', async (t) => {
  const s = await setting(t, 'echo good');
  await run(path.join(s.action, 'main.js'), s.env);
  const cached = path.join(s.env.RUNNER_TOOL_CACHE, 'fargate-deploy', '1.2.3', 'test-x64');
  fs.writeFileSync(path.join(cached, 'fargate-deploy'), '#!/bin/sh\necho evil\n');
  const ended = await run(path.join(s.action, 'main.js'), s.env);
  assert.match(ended.output, /^good/m);
  assert.equal(s.requests.length, 2);
});

test('a platform without a checksum is refused by name', async (t) => {
  const s = await setting(t, 'echo good');
  const ended = await run(path.join(s.action, 'main.js'), { ...s.env, FARGATE_DEPLOY_PLATFORM: 'linux-riscv64' });
  assert.equal(ended.code, 2, 'no bug: the job has to run elsewhere');
  assert.match(ended.output, /there is none for linux-riscv64, only for test-x64.*`binary`/);
  assert.equal(failed(s), 'config');
  assert.deepEqual(s.requests, []);
});

test('a commit of the Action that is no release says so', async (t) => {
  const s = await setting(t, 'echo good', { manifest: { version: '0.0.0', sha256: {} } });
  const ended = await run(path.join(s.action, 'main.js'), s.env);
  assert.equal(ended.code, 2, ended.output);
  assert.match(ended.output, /this commit of the Action is no release: use a tag, such as `@v1`/);
  assert.equal(failed(s), 'config');
});

test('an archive that was cut short or is none is never run', async (t) => {
  const archive = zlib.gzipSync('#!/bin/sh\necho good\n');
  for (const served of [archive.subarray(0, archive.length - 4), '<html>sign in</html>', '']) {
    const s = await setting(t, 'echo good', { served });
    const ended = await run(path.join(s.action, 'main.js'), s.env);
    assert.equal(ended.code, 1, ended.output);
    assert.match(ended.output, /SHA-256/);
    assert.equal(failed(s), 'internal');
  }
});

test('without the internet the cache is enough, and without a cache it is said what helps', async (t) => {
  const s = await setting(t, 'echo good');
  const env = { ...s.env, RUNNER_TEMP: path.join(s.directory, 'temp') };
  assert.equal((await run(path.join(s.action, 'main.js'), env)).code, 0);
  s.server.close();
  const warm = await run(path.join(s.action, 'main.js'), env);
  assert.match(warm.output, /good/);
  const cold = await run(path.join(s.action, 'main.js'), { ...env, RUNNER_TOOL_CACHE: '/dev/null/none', TMPDIR: s.directory });
  assert.equal(cold.code, 10, cold.output);
  assert.match(cold.output, /::error.*ECONNREFUSED.*HTTPS_PROXY, FARGATE_DEPLOY_RELEASE_URL to a mirror, or the input `binary`/);
  assert.equal(failed(s), 'unavailable');
});

test('a tool cache that cannot be written is done without', async (t) => {
  const s = await setting(t, 'echo good');
  const env = { ...s.env, RUNNER_TOOL_CACHE: '/dev/null/none', RUNNER_TEMP: path.join(s.directory, 'temp') };
  const ended = await run(path.join(s.action, 'main.js'), env);
  assert.match(ended.output, /good/);
  assert.ok(fs.existsSync(path.join(env.RUNNER_TEMP, 'fargate-deploy', '1.2.3', 'test-x64', 'fargate-deploy')));
});

test('a file that the system does not run is named', async (t) => {
  const s = await setting(t, 'echo good');
  const given = path.join(s.directory, 'notes.txt');
  fs.writeFileSync(given, 'no program');
  const ended = await run(path.join(s.action, 'main.js'), { ...s.env, INPUT_BINARY: given });
  assert.equal(ended.code, 1, ended.output);
  assert.match(ended.output, /::error.*notes\.txt` does not start: .*EACCES/);
  assert.equal(failed(s), 'internal');
});

test('the input `binary` needs no release', async (t) => {
  const s = await setting(t, 'echo good', { manifest: { version: '0.0.0', sha256: {} } });
  const given = path.join(s.directory, 'my program');
  fs.writeFileSync(given, '#!/bin/sh\necho mine\n', { mode: 0o755 });
  const ended = await run(path.join(s.action, 'main.js'), { ...s.env, INPUT_BINARY: 'my program' }, s.directory);
  assert.match(ended.output, /^mine/m);
  assert.deepEqual(s.requests, []);
  const missing = await run(path.join(s.action, 'main.js'), { ...s.env, INPUT_BINARY: 'none' });
  assert.equal(missing.code, 2, missing.output);
  assert.match(missing.output, /input `binary`: there is no file/);
});

test('Windows is named as what is not supported', async (t) => {
  const s = await setting(t, 'echo good');
  const ended = await run(path.join(s.action, 'main.js'), { ...s.env, FARGATE_DEPLOY_PLATFORM: 'win32-x64' });
  assert.match(ended.output, /::error.*Windows is not supported.*test-x64.*ubuntu/);
  assert.equal(ended.code, 2);
});

test('a file that is not there is asked for once, and an outage three times', async (t) => {
  for (const [status, requests] of [[404, 1], [403, 1], [410, 1], [429, 3], [503, 3]]) {
    const s = await setting(t, 'echo good', { status });
    const ended = await run(path.join(s.action, 'main.js'), s.env);
    assert.equal(ended.code, 10, ended.output);
    assert.match(ended.output, new RegExp(`HTTP ${status}`));
    assert.equal(s.requests.length, requests, `${status}`);
    assert.equal(failed(s), 'unavailable');
  }
});

test('the release is looked for where the Action is used from', async (t) => {
  const s = await setting(t, 'echo good');
  const seen = [];
  const proxy = http.createServer().on('connect', (request, socket) => {
    seen.push(request.url);
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
  });
  await new Promise((ready) => proxy.listen(0, '127.0.0.1', ready));
  t.after(() => proxy.close());
  const { FARGATE_DEPLOY_RELEASE_URL: _, ...env } = s.env;
  env.HTTPS_PROXY = `http://127.0.0.1:${proxy.address().port}`;
  env.GITHUB_ACTION_REPOSITORY = 'acme/deploys';
  const ended = await run(path.join(s.action, 'main.js'), env);
  assert.match(ended.output, /github\.com\/acme\/deploys\/releases/);
  assert.match(ended.output, /the proxy 127\.0\.0\.1:\d+ answered HTTP 403/);
  assert.deepEqual([...new Set(seen)], ['github.com:443']);
  assert.equal(ended.code, 10);
});

test('a proxy of the environment carries the download, unless NO_PROXY names the host', async (t) => {
  for (const [name, excluded, carried] of [
    ['HTTP_PROXY', '', 1],
    ['http_proxy', 'other.test', 1],
    ['ALL_PROXY', '', 1],
    ['HTTP_PROXY', 'other.test, 127.0.0.1', 0],
    ['HTTP_PROXY', '*', 0],
    ['HTTPS_PROXY', '', 0],
  ]) {
    const s = await setting(t, 'echo good');
    const seen = [];
    const proxy = http.createServer((request, response) => {
      seen.push([request.url, request.headers['proxy-authorization']]);
      http.get(request.url, (answer) => answer.pipe(response));
    });
    await new Promise((ready) => proxy.listen(0, '127.0.0.1', ready));
    t.after(() => (proxy.close(), proxy.closeAllConnections()));
    const env = { ...s.env, [name]: `http://ann:s%40cret@127.0.0.1:${proxy.address().port}`, NO_PROXY: excluded };
    const ended = await run(path.join(s.action, 'main.js'), env);
    assert.match(ended.output, /good/, `${name} ${excluded}`);
    assert.equal(seen.length, carried, `${name} ${excluded}`);
    if (carried) assert.equal(seen[0][1], `Basic ${Buffer.from('ann:s@cret').toString('base64')}`);
  }
});

test('a tunnel through a proxy leads to a host whose authority the job names', async (t) => {
  const s = await setting(t, 'echo good');
  const [key, certificate] = ['key.pem', 'certificate.pem'].map((file) => path.join(s.directory, file));
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=releases.test', '-addext', 'subjectAltName=DNS:releases.test', '-keyout', key, '-out', certificate]);
  assert.equal(made.status, 0, `${made.stderr}`);
  const archive = zlib.gzipSync('#!/bin/sh\necho good\n');
  const host = https.createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(certificate) }, (_, response) => response.end(archive));
  await new Promise((ready) => host.listen(0, '127.0.0.1', ready));
  const proxy = http.createServer().on('connect', (request, socket) => {
    assert.equal(request.url, 'releases.test:443');
    const onward = net.connect(host.address().port, '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    onward.pipe(socket).pipe(onward);
    socket.on('error', () => onward.destroy());
  });
  await new Promise((ready) => proxy.listen(0, '127.0.0.1', ready));
  t.after(() => [host, proxy].forEach((server) => (server.close(), server.closeAllConnections())));
  const env = { ...s.env, HTTPS_PROXY: `http://127.0.0.1:${proxy.address().port}`, FARGATE_DEPLOY_RELEASE_URL: 'https://releases.test' };
  const stranger = await run(path.join(s.action, 'main.js'), env);
  assert.equal(stranger.code, 10, stranger.output);
  assert.match(stranger.output, /self-signed certificate/);
  const known = await run(path.join(s.action, 'main.js'), { ...env, AWS_CA_BUNDLE: certificate });
  assert.match(known.output, /^good/m);
});

test('a release host that redirects to its storage is followed', async (t) => {
  const s = await setting(t, 'echo good', { redirect: true });
  const ended = await run(path.join(s.action, 'main.js'), s.env);
  assert.match(ended.output, /good/);
  assert.equal(s.requests.length, 2);
});

test('a program that dies by a signal of its own is no cancelled run', async (t) => {
  for (const [signal, code] of [['KILL', 137], ['SEGV', 139], ['ABRT', 134], ['TERM', 143], ['INT', 130]]) {
    const s = await setting(t, `kill -${signal} $$; sleep 5`);
    const ended = await run(path.join(s.action, 'main.js'), s.env);
    assert.equal(ended.code, code, ended.output);
    assert.match(ended.output, new RegExp(`::error title=fargate-deploy%3A internal::.*SIG${signal}`));
    assert.equal(failed(s), 'internal');
  }
});

test('a program that a cancelled run ended is cancelled', async (t) => {
  for (const signal of ['SIGINT', 'SIGTERM']) {
    const s = await setting(t, 'echo ready; exec sleep 30');
    const started = start(path.join(s.action, 'main.js'), s.env);
    while (!started.output().includes('ready')) await new Promise((done) => setTimeout(done, 20));
    started.child.kill(signal);
    const ended = await started.ended;
    assert.equal(ended.code, 130, ended.output);
    assert.doesNotMatch(ended.output, /::error/);
    assert.equal(failed(s), 'cancelled');
  }
});

test('a folder that is not there is an input that is wrong', async (t) => {
  const s = await setting(t, 'echo good');
  const file = path.join(s.directory, 'file');
  fs.writeFileSync(file, '');
  for (const directory of ['/nonexistent', file]) {
    fs.rmSync(s.env.GITHUB_OUTPUT, { force: true });
    const ended = await run(path.join(s.action, 'main.js'), { ...s.env, 'INPUT_WORKING-DIRECTORY': directory });
    assert.equal(ended.code, 2, ended.output);
    assert.match(ended.output, /::error.*working-directory/);
    assert.equal(failed(s), 'config');
  }
});

test('a release host that stumbles is asked again', async (t) => {
  const s = await setting(t, 'echo good', { failures: 2 });
  const ended = await run(path.join(s.action, 'main.js'), s.env);
  assert.equal(ended.code, 0, ended.output);
  assert.equal(s.requests.length, 3);
});

test('signals reach the binary, and its own ending counts', async (t) => {
  for (const signal of ['SIGINT', 'SIGTERM']) {
    const s = await setting(t, 'trap "echo told; exit 130" INT TERM; echo ready; while :; do sleep 0.1; done');
    const started = start(path.join(s.action, 'main.js'), s.env);
    while (!started.output().includes('ready')) await new Promise((done) => setTimeout(done, 20));
    started.child.kill(signal);
    const ended = await started.ended;
    assert.equal(ended.code, 130, ended.output);
    assert.match(ended.output, /told/);
  }
});

test('a signal while the binary is still being fetched ends the step as cancelled', async (t) => {
  const s = await setting(t, 'echo good', { silent: true });
  const started = start(path.join(s.action, 'main.js'), s.env);
  while (s.requests.length === 0) await new Promise((done) => setTimeout(done, 20));
  started.child.kill('SIGINT');
  const ended = await started.ended;
  assert.equal(ended.code, 130, ended.output);
  assert.doesNotMatch(ended.output, /good/);
});

test('a given binary is run from a folder with spaces, and post finds it again', async (t) => {
  const s = await setting(t, 'exit 9');
  const given = path.join(s.directory, 'my binary');
  fs.writeFileSync(given, '#!/bin/sh\necho "in $(pwd) with $*"\n', { mode: 0o755 });
  const env = { ...s.env, FARGATE_DEPLOY_BINARY: given, 'INPUT_WORKING-DIRECTORY': s.directory };
  const ended = await run(path.join(s.action, 'main.js'), env);
  assert.equal(ended.code, 0, ended.output);
  assert.match(ended.output, new RegExp(`in .*${path.basename(s.directory)} with`));
  assert.equal(fs.readFileSync(env.GITHUB_STATE, 'utf8'), `binary=${given}\n`);
  const post = await run(path.join(s.action, 'post.js'), { ...env, STATE_binary: given });
  assert.match(post.output, /with post/);
});

test('post never fails the job', async (t) => {
  const s = await setting(t, 'exit 1');
  const post = await run(path.join(s.action, 'post.js'), { ...s.env, STATE_binary: '/nonexistent' });
  assert.equal(post.code, 0);
  assert.match(post.output, /::warning::/);
});
