// Finds the binary that this commit of the Action names: a path that was given, the tool cache, or the release.
// Fails closed: a platform without a checksum, or a file that does not have it, is never run.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const zlib = require('node:zlib');

const REPOSITORY = 'org/fargate-deploy';
const ATTEMPTS = 3;

/** `linux-x64`, `linux-arm64` or `darwin-arm64`: the names of the release's files. */
const platform = (env) => env.FARGATE_DEPLOY_PLATFORM || `${process.platform}-${process.arch}`;

/** The path of a binary that may be run. */
async function binary(env, manifestFile = path.join(__dirname, 'manifest.json')) {
  const given = env.FARGATE_DEPLOY_BINARY;
  if (given) {
    if (!fs.existsSync(given)) throw new Error(`FARGATE_DEPLOY_BINARY is \`${given}\`: there is no such file`);
    return path.resolve(given);
  }
  const manifest = JSON.parse(fs.readFileSync(manifestFile, 'utf8'));
  const name = platform(env);
  const expected = manifest.sha256[name];
  if (!expected) {
    const known = Object.keys(manifest.sha256).join(', ') || 'none';
    throw new Error(`version ${manifest.version} has no binary for ${name} (it has ${known}); set FARGATE_DEPLOY_BINARY to one that you built`);
  }
  const cache = env.RUNNER_TOOL_CACHE || path.join(os.tmpdir(), 'fargate-deploy-tools');
  const directory = path.join(cache, 'fargate-deploy', manifest.version, name);
  const archive = path.join(directory, 'fargate-deploy.gz');
  const program = path.join(directory, 'fargate-deploy');
  // The cache is shared by every job of a self-hosted runner: what lies there is checked again each time.
  if (!isIntact(archive, expected)) {
    await download(`${releases(env)}/v${manifest.version}/fargate-deploy-${name}.gz`, archive, expected);
  }
  unpack(archive, program);
  return program;
}

/** Where releases are; a mirror can be named. */
const releases = (env) => (env.FARGATE_DEPLOY_RELEASE_URL || `https://github.com/${REPOSITORY}/releases/download`).replace(/\/$/, '');

const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');

const isIntact = (file, expected) => fs.existsSync(file) && sha256(fs.readFileSync(file)) === expected;

async function download(url, file, expected) {
  let last;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(120_000) });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      const bytes = Buffer.from(await answer.arrayBuffer());
      const actual = sha256(bytes);
      if (actual !== expected) {
        throw Object.assign(new Error(`its SHA-256 is ${actual}, not ${expected}: it is not run`), { final: true });
      }
      fs.mkdirSync(path.dirname(file), { recursive: true });
      // Jobs of one runner can do this at the same moment: a rename is seen whole or not at all.
      const partial = `${file}.${process.pid}`;
      fs.writeFileSync(partial, bytes);
      fs.renameSync(partial, file);
      return;
    } catch (error) {
      last = error.cause?.message || error.message;
      if (error.final) break;
      if (attempt < ATTEMPTS) await new Promise((done) => setTimeout(done, 500 * attempt));
    }
  }
  throw new Error(`${url}: ${last}`);
}

function unpack(archive, program) {
  const bytes = zlib.gunzipSync(fs.readFileSync(archive));
  if (fs.existsSync(program) && fs.readFileSync(program).equals(bytes)) return;
  const partial = `${program}.${process.pid}`;
  fs.writeFileSync(partial, bytes, { mode: 0o755 });
  fs.renameSync(partial, program);
}

/** One workflow command, with what GitHub asks to be escaped. */
const command = (name, text) => `::${name}::${text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A')}`;

module.exports = { binary, command };
