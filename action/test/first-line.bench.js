// From the start of the Action's step to the program's first line, with a warm tool cache: five runs of an offline plan.
// The program is the one of scripts/release where that was made, else of `cargo build`.
'use strict';

const { spawn } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const zlib = require('node:zlib');

const root = path.resolve(__dirname, '../..');
const released = path.join(root, 'target/dist', `fargate-deploy-${process.platform}-${process.arch}.gz`);
const built = path.join(root, 'target/debug/fargate-deploy');
const program = fs.existsSync(released) ? zlib.gunzipSync(fs.readFileSync(released)) : fs.readFileSync(built);

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'fargate-deploy-first-line-'));
const platform = `${process.platform}-${process.arch}`;
const cache = path.join(directory, 'tools/fargate-deploy/0.0.0', platform);
fs.cpSync(path.join(root, 'action'), path.join(directory, 'action'), { recursive: true });
fs.mkdirSync(cache, { recursive: true });
fs.writeFileSync(path.join(cache, 'fargate-deploy'), program, { mode: 0o755 });
const sum = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
fs.writeFileSync(path.join(directory, 'action/manifest.json'), JSON.stringify({ version: '0.0.0', sha256: { [platform]: { archive: '', program: sum(program) } } }));

const firstLine = () => new Promise((done) => {
  const begun = process.hrtime.bigint();
  const env = { PATH: process.env.PATH, RUNNER_TOOL_CACHE: path.join(directory, 'tools'), GITHUB_ACTIONS: 'true', INPUT_COMMAND: 'plan', INPUT_OFFLINE: 'true' };
  const child = spawn(process.execPath, [path.join(directory, 'action/main.js')], { env, cwd: path.join(root, 'examples/004-nestjs') });
  let first;
  child.stdout.on('data', (data) => {
    if (!first && /\w/.test(data)) first = Number(process.hrtime.bigint() - begun) / 1e6;
  });
  child.on('close', () => done(first));
});

(async () => {
  await firstLine();
  const times = [];
  for (let run = 0; run < 5; run++) times.push(await firstLine());
  times.sort((a, b) => a - b);
  console.log(`first line of the Action, warm: median ${times[2].toFixed(0)} ms, longest ${times[4].toFixed(0)} ms (${fs.existsSync(released) ? 'released' : 'debug'} program)`);
  fs.rmSync(directory, { recursive: true, force: true });
})();
