// Finds the program that this commit of the Action names: one that was given, the tool cache's, or the release's.
// Fails closed: what has no checksum here, or another one, is never run.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const zlib = require('node:zlib');
const { download } = require('./download.js');

const ATTEMPTS = 3;
const GIVEN = 'set the input `binary` to one that you built, such as with `cargo build --release`';

/** A failure of the step itself, by the word and the exit code of the README's table. */
const failure = (reason, code, message) => Object.assign(new Error(message), { reason, code });

/** The path of a program that may be run. */
async function binary(env) {
  const given = env.INPUT_BINARY || env.FARGATE_DEPLOY_BINARY;
  if (given) {
    const file = path.resolve(given);
    if (!fs.existsSync(file)) throw failure('config', 2, `input \`binary\`: there is no file \`${file}\``);
    return file;
  }
  const manifest = JSON.parse(fs.readFileSync(path.join(__dirname, 'manifest.json'), 'utf8'));
  const name = env.FARGATE_DEPLOY_PLATFORM || `${process.platform}-${process.arch}`;
  const expected = manifest.sha256[name];
  if (!expected) throw failure('config', 2, unsupported(name, Object.keys(manifest.sha256), manifest.version));
  // The cache is shared by every job of a self-hosted runner: what lies there is checked again each time.
  const folders = [env.RUNNER_TOOL_CACHE, env.RUNNER_TEMP, os.tmpdir()].filter(Boolean);
  const directories = folders.map((folder) => path.join(folder, 'fargate-deploy', manifest.version, name));
  const programs = directories.map((directory) => path.join(directory, 'fargate-deploy'));
  const cached = programs.find((file) => fs.existsSync(file) && sha256(fs.readFileSync(file)) === expected.program);
  if (cached) return cached;
  const archive = await fetched(`${releases(env)}/v${manifest.version}/fargate-deploy-${name}.gz`, expected.archive, env);
  const program = programs[directories.findIndex(isWritable)];
  put(program, zlib.gunzipSync(archive), 0o755);
  return program;
}

function unsupported(name, known, version) {
  if (known.length === 0) return `this commit of the Action is no release: use a tag, such as \`@v1\`, or ${GIVEN}`;
  const others = `there is none for ${name}, only for ${known.join(', ')}`;
  if (name.startsWith('win32-')) return `Windows is not supported: ${others}; run the job on Linux, such as \`runs-on: ubuntu-24.04\``;
  return `version ${version} has a program for some platforms: ${others}; run the job on one of these, or ${GIVEN}`;
}

/** Where releases are: those of the repository that the Action is used from. A mirror can be named. */
function releases(env) {
  const repository = env.GITHUB_ACTION_REPOSITORY || 'org/fargate-deploy';
  return (env.FARGATE_DEPLOY_RELEASE_URL || `https://github.com/${repository}/releases/download`).replace(/\/$/, '');
}

const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');

function isWritable(directory) {
  try {
    fs.mkdirSync(directory, { recursive: true });
    return fs.accessSync(directory, fs.constants.W_OK) === undefined;
  } catch {
    return false;
  }
}

/** Jobs of one runner can write at the same moment: a rename is seen whole or not at all. */
function put(file, bytes, mode) {
  const partial = `${file}.${process.pid}`;
  fs.writeFileSync(partial, bytes, { mode });
  fs.renameSync(partial, file);
}

async function fetched(url, expected, env) {
  for (let attempt = 1; ; attempt++) {
    try {
      const bytes = await download(url, env);
      if (sha256(bytes) === expected) return bytes;
      throw failure('internal', 1, `${url}: its SHA-256 is ${sha256(bytes)}, not ${expected}: it is not run`);
    } catch (error) {
      if (error.reason) throw error;
      // Another attempt changes no answer but that of an outage or of a limit.
      const isFinal = error.status < 500 && ![408, 429].includes(error.status);
      if (isFinal || attempt === ATTEMPTS) throw unavailable(url, error);
      await new Promise((done) => setTimeout(done, 500 * attempt));
    }
  }
}

function unavailable(url, error) {
  const missing = error.status === 404 ? ': the release has no such file, or the repository cannot be read from here' : '';
  const offline = 'without the internet set HTTPS_PROXY, FARGATE_DEPLOY_RELEASE_URL to a mirror, or the input `binary` to a file';
  return failure('unavailable', 10, `${url}: ${error.message || error.code}${missing}; ${offline}`);
}

module.exports = { binary, failure };
