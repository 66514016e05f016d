// The Action's step: finds the program and becomes it, as far as a process can: same streams, same signals, same exit code.
'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { binary, failure } = require('./binary.js');

const SIGNALS = ['SIGINT', 'SIGTERM'];
/** What else than a bug ends a program by a signal. */
const DEATHS = { SIGKILL: 'the system killed it, which it does when memory runs out', SIGILL: 'the machine lacks an instruction that it uses' };

async function main(env) {
  // The runner signals this process only, and kills the tree 10 s after the first signal. Listening begins before the
  // program does: a signal in between would end this process and leave the program behind, untold.
  let child;
  let isCancelled = false;
  const passOn = (signal) => {
    isCancelled = true;
    return child ? child.kill(signal) : failed(cancelled(), env);
  };
  SIGNALS.forEach((signal) => process.on(signal, passOn));
  const directory = path.resolve(env['INPUT_WORKING-DIRECTORY'] || '.');
  if (!fs.statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    throw failure('config', 2, `input \`working-directory\`: there is no folder \`${directory}\``);
  }
  const program = await binary(env);
  if (env.GITHUB_STATE) fs.appendFileSync(env.GITHUB_STATE, `binary=${program}\n`);
  // The inputs travel as INPUT_*; the folder is entered here already.
  child = spawn(program, [], { stdio: 'inherit', cwd: directory, env: { ...env, 'INPUT_WORKING-DIRECTORY': '' } });
  const [code, signal] = await once(child, 'exit').catch((error) => {
    throw failure('internal', 1, `\`${program}\` does not start: ${error.message}`);
  });
  if (!signal) process.exit(code);
  throw isCancelled && SIGNALS.includes(signal) ? cancelled() : died(signal);
}

const cancelled = () => failure('cancelled', 130, '');

/** What the program had begun when something else than a cancelled run ended it, nobody has looked at. */
function died(signal, why = DEATHS[signal] ? ` (${DEATHS[signal]})` : '') {
  const next = 'what it had sent to AWS goes on; look at the services and their tasks, then run it again';
  return failure('internal', 128 + os.constants.signals[signal], `the program was ended by ${signal}${why} before it could say how the run ended: ${next}`);
}

/** Ends a step that the program could not end: its outputs, and one annotation unless somebody wanted it so. */
function failed(error, env) {
  const reason = error.reason || 'internal';
  if (env.GITHUB_OUTPUT) fs.appendFileSync(env.GITHUB_OUTPUT, `outcome=failed\nfailure-reason=${reason}\nrolled-back=false\n`);
  const text = error.message.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
  if (text) console.log(`::error title=fargate-deploy%3A ${reason}::${text}`);
  process.exit(error.reason ? error.code : 1);
}

main(process.env).catch((error) => failed(error, process.env));
