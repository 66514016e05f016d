// The Action's step: finds the binary and becomes it, as far as a process can: same streams, same signals, same exit code.
'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { binary, command } = require('./binary.js');

async function main(env) {
  // The runner signals this process only, and kills the tree 10 s after the first signal. Listening begins before the
  // binary does: a signal in between would end this process and leave the binary behind, untold.
  let child;
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => (child ? child.kill(signal) : process.exit(130)));
  const program = await binary(env);
  if (env.GITHUB_STATE) fs.appendFileSync(env.GITHUB_STATE, `binary=${program}\n`);
  const directory = path.resolve(env['INPUT_WORKING-DIRECTORY'] || '.');
  if (!fs.existsSync(directory)) throw new Error(`working-directory \`${directory}\`: there is no such folder`);
  // The inputs travel as INPUT_*; the folder is entered here already.
  child = spawn(program, [], { stdio: 'inherit', cwd: directory, env: { ...env, 'INPUT_WORKING-DIRECTORY': '' } });
  return new Promise((done, fail) => {
    child.on('error', (error) => fail(new Error(`\`${program}\` does not start: ${error.message}`)));
    child.on('exit', (code, signal) => done(signal ? 130 : code));
  });
}

main(process.env).then(
  (code) => process.exit(code),
  (error) => {
    console.log(command('error title=fargate-deploy', error.message));
    process.exit(1);
  },
);
