// Finds the binary that this commit of the Action names: a path that was given, the tool cache, or the release.
// Fails closed: a platform without a checksum, or a file that does not have it, is never run.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const zlib = require('node:zlib');
const { download: fetchFile } = require('./download.js');

const REPOSITORY = 'org/fargate-deploy';
const ATTEMPTS = 3;

/** `linux-x64`, `linux-arm64` or `darwin-arm64`: the names of the release's files. */
const platform = (env) => env.FARGATE_DEPLOY_PLATFORM || `${process.platform}-${process.arch}`;

/** A failure of the step itself, by the word and the exit code of the README's table. */
const failure = (reason, code, message) => Object.assign(new Error(message), { reason, code });

/** The path of a binary that may be run. */
async function binary(env, manifestFile = path.join(__dirname, 'manifest.json')) {
  const given = env.FARGATE_DEPLOY_BINARY;
  if (given) {
    if (!fs.existsSync(given)) throw failure('config', 2, `FARGATE_DEPLOY_BINARY is \`${given}\`: there is no such file`);
    return path.resolve(given);
  }
  const manifest = JSON.parse(fs.readFileSync(manifestFile, 'utf8'));
  const name = platform(env);
  const expected = manifest.sha256[name];
  if (!expected) {
    const known = Object.keys(manifest.sha256).join(', ') || 'none';
    if (name.startsWith('win32-')) {
      throw failure('config', 2, `Windows is not supported: there is no binary for ${name} (there is ${known}); run the job on Linux, such as \`runs-on: ubuntu-24.04\``);
    }
    throw failure('config', 2, `version ${manifest.version} has no binary for ${name} (it has ${known}); run the job on one of these, or set FARGATE_DEPLOY_BINARY to one that you built`);
  }
  const cache = env.RUNNER_TOOL_CACHE || path.join(os.tmpdir(), 'fargate-deploy-tools');
  const directory = path.join(cache, 'fargate-deploy', manifest.version, name);
  const archive = path.join(directory, 'fargate-deploy.gz');
  const program = path.join(directory, 'fargate-deploy');
  // The cache is shared by every job of a self-hosted runner: what lies there is checked again each time.
  if (!isIntact(archive, expected)) {
    await download(`${releases(env)}/v${manifest.version}/fargate-deploy-${name}.gz`, archive, expected, env);
  }
  unpack(archive, program);
  return program;
}

/** Where releases are: those of the repository that the Action is used from. A mirror can be named. */
const releases = (env) =>
  (env.FARGATE_DEPLOY_RELEASE_URL || `https://github.com/${env.GITHUB_ACTION_REPOSITORY || REPOSITORY}/releases/download`).replace(/\/$/, '');

const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');

const isIntact = (file, expected) => fs.existsSync(file) && sha256(fs.readFileSync(file)) === expected;

/** What another attempt cannot change: an answer that is neither an outage nor a limit. */
const isFinal = (error) => error.code === 1 || (error.status >= 400 && error.status < 500 && ![408, 429].includes(error.status));

async function download(url, file, expected, env) {
  let last;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    try {
      const bytes = await fetchFile(url, env);
      const actual = sha256(bytes);
      if (actual !== expected) {
        throw failure('internal', 1, `its SHA-256 is ${actual}, not ${expected}: it is not run`);
      }
      fs.mkdirSync(path.dirname(file), { recursive: true });
      // Jobs of one runner can do this at the same moment: a rename is seen whole or not at all.
      const partial = `${file}.${process.pid}`;
      fs.writeFileSync(partial, bytes);
      fs.renameSync(partial, file);
      return;
    } catch (error) {
      last = error;
      if (isFinal(error)) break;
      if (attempt < ATTEMPTS) await new Promise((done) => setTimeout(done, 500 * attempt));
    }
  }
  const why = last.cause?.message || last.message || last.code;
  const where = last.status === 404 ? `${why}: the release has no such file, or the repository cannot be read from here` : why;
  throw failure(last.reason || 'unavailable', last.reason ? last.code : 10, `${url}: ${where}`);
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

/** What a step that failed before the program could say so leaves for the next ones. */
function outputs(env, reason) {
  if (!env.GITHUB_OUTPUT) return;
  fs.appendFileSync(env.GITHUB_OUTPUT, `outcome=failed\nfailure-reason=${reason}\nrolled-back=false\n`);
}

module.exports = { binary, command, failure, outputs };
