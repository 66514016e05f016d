// Does one job after the other. At SIGTERM it takes no further job, finishes the one that it has, and ends: ECS waits for
// `stopTimeout` before it kills.
import { setTimeout as sleep } from 'node:timers/promises';
import { pool, release } from '../../../packages/database/index.js';

const database = pool();
const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    console.log(`${signal}: draining`);
    stop.abort();
  });
}

/** Two workers never get the same job. What a killed worker had is taken again after five minutes: jobs run at least once. */
async function take() {
  const { rows } = await database.query(
    `UPDATE job SET started_at = now(), worker = $1
      WHERE id = (SELECT id FROM job
                   WHERE finished_at IS NULL AND (started_at IS NULL OR started_at < now() - interval '5 minutes')
                   ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
      RETURNING id, kind, seconds`,
    [release],
  );
  return rows[0];
}

async function perform(job) {
  console.log(`job ${job.id}: ${job.kind}`);
  await sleep(job.seconds * 1000);
  await database.query('UPDATE job SET finished_at = clock_timestamp() WHERE id = $1', [job.id]);
  console.log(`job ${job.id}: done`);
}

console.log(`waiting for jobs: ${release}`);
while (!stop.signal.aborted) {
  const job = await take();
  if (job) {
    await perform(job);
  } else {
    await sleep(500, undefined, { signal: stop.signal }).catch(() => {});
  }
}
await database.end();
