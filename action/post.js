// After the job's steps, whatever became of them: lets the binary put away what a killed run held. Never fails the job.
'use strict';

const { spawnSync } = require('node:child_process');
const { command } = require('./binary.js');

const program = process.env.STATE_binary;
if (program) {
  const ended = spawnSync(program, ['post'], { stdio: 'inherit', timeout: 60_000 });
  if (ended.error || ended.status !== 0) {
    console.log(command('warning', `fargate-deploy post: ${ended.error?.message || (ended.signal ? `ended by ${ended.signal}` : `exit code ${ended.status}`)}`));
  }
}
