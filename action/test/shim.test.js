'use strict';

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
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
  for (const file of ['main.js', 'post.js', 'binary.js']) fs.copyFileSync(path.join(ACTION, file), path.join(action, file));
  const archive = zlib.gzipSync(`#!/bin/sh\n${script}\n`);
  const sha256 = crypto.createHash('sha256').update(archive).digest('hex');
  const manifest = { version: '1.2.3', sha256: { 'test-x64': sha256 }, ...change.manifest };
  fs.writeFileSync(path.join(action, 'manifest.json'), JSON.stringify(manifest));
  const requests = [];
  const server = http.createServer((request, response) => {
    requests.push(request.url);
    if (change.silent) return;
    if (requests.length <= (change.failures || 0)) return response.writeHead(503).end();
    response.end(change.served || archive);
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  t.after(() => (server.close(), server.closeAllConnections()));
  const env = {
    PATH: process.env.PATH,
    RUNNER_TOOL_CACHE: path.join(directory, 'tool cache'),
    FARGATE_DEPLOY_PLATFORM: 'test-x64',
    FARGATE_DEPLOY_RELEASE_URL: `http://127.0.0.1:${server.address().port}`,
    GITHUB_STATE: path.join(directory, 'state'),
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
  assert.match(ended.output, /^::error title=fargate-deploy::.*SHA-256/m);
  assert.doesNotMatch(ended.output, /^evil/m);
  assert.equal(s.requests.length, 1);
});

test('a file that was changed in the tool cache is fetched again', async (t) => {
  const s = await setting(t, 'echo good');
  await run(path.join(s.action, 'main.js'), s.env);
  const cached = path.join(s.env.RUNNER_TOOL_CACHE, 'fargate-deploy', '1.2.3', 'test-x64');
  fs.writeFileSync(path.join(cached, 'fargate-deploy'), '#!/bin/sh\necho evil\n');
  fs.writeFileSync(path.join(cached, 'fargate-deploy.gz'), zlib.gzipSync('#!/bin/sh\necho evil\n'));
  const ended = await run(path.join(s.action, 'main.js'), s.env);
  assert.match(ended.output, /^good/m);
  assert.equal(s.requests.length, 2);
});

test('a platform without a checksum is refused by name', async (t) => {
  const s = await setting(t, 'echo good', { manifest: { sha256: {} } });
  const ended = await run(path.join(s.action, 'main.js'), s.env);
  assert.equal(ended.code, 1);
  assert.match(ended.output, /no binary for test-x64/);
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
