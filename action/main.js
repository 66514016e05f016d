// The Action's step: finds the binary and becomes it, as far as a process can: same streams, same signals, same exit code.
'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { binary, command, failure, outputs } = require('./binary.js');

/** By the README's table of exit codes. */
const CANCELLED = 130;

async function main(env) {
  // The runner signals this process only, and kills the tree 10 s after the first signal. Listening begins before the
  // binary does: a signal in between would end this process and leave the binary behind, untold.
  let child;
  let isCancelled = false;
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => {
      isCancelled = true;
      if (child) return child.kill(signal);
      outputs(env, 'cancelled');
      process.exit(CANCELLED);
    });
  }
  const program = await binary(env);
  if (env.GITHUB_STATE) fs.appendFileSync(env.GITHUB_STATE, `binary=${program}\n`);
  const directory = path.resolve(env['INPUT_WORKING-DIRECTORY'] || '.');
  if (!fs.existsSync(directory) || !fs.statSync(directory).isDirectory()) {
    throw failure('config', 2, `working-directory \`${directory}\`: there is no such folder`);
  }
  // The inputs travel as INPUT_*; the folder is entered here already.
  child = spawn(program, [], { stdio: 'inherit', cwd: directory, env: { ...env, 'INPUT_WORKING-DIRECTORY': '' } });
  return new Promise((done, fail) => {
    child.on('error', (error) => fail(failure('internal', 1, `\`${program}\` does not start: ${error.message}`)));
    child.on('exit', (code, signal) => {
      if (!signal) return done(code);
      if (isCancelled && ['SIGINT', 'SIGTERM'].includes(signal)) {
        outputs(env, 'cancelled');
        return done(CANCELLED);
      }
      fail(died(signal));
    });
  });
}

/** The program was ended by something else than a cancelled run: what it had begun, nobody has looked at. */
function died(signal) {
  const why = {
    SIGKILL: 'the system killed it, which it does when memory runs out',
    SIGSEGV: 'a bug',
    SIGBUS: 'a bug',
    SIGILL: 'the machine lacks an instruction that it uses',
    SIGABRT: 'a bug',
  }[signal];
  const cause = why ? ` (${why})` : '';
  const message = `the program was ended by ${signal}${cause} before it could say how the run ended: what it had sent to AWS goes on; look at the services and their tasks, then run it again`;
  return failure('internal', 128 + os.constants.signals[signal], message);
}

main(process.env).then(
  (code) => process.exit(code),
  (error) => {
    outputs(process.env, error.reason || 'internal');
    console.log(command('error title=fargate-deploy', error.message));
    process.exit(error.reason ? error.code : 1);
  },
);
