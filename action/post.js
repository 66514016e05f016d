// After the job's steps, whatever became of them: lets the program put away what a killed run held. Never fails the job.
'use strict';

const { spawnSync } = require('node:child_process');

const program = process.env.STATE_binary;
if (program) {
  const ended = spawnSync(program, ['post'], { stdio: 'inherit', timeout: 60_000 });
  const why = ended.error?.message || (ended.signal ? `ended by ${ended.signal}` : `exit code ${ended.status}`);
  if (ended.status !== 0) console.log(`::warning::fargate-deploy post: ${why}`);
}
