// A data migration: gives every job of the time before priorities one. It goes in batches, each committed, so that no table is
// locked for long; it can be stopped and started again at any point, and a second run finds nothing to do.
import { pool } from '../../../packages/database/index.js';

const BATCH = 1000;
const database = pool();
let total = 0;
for (;;) {
  const { rowCount } = await database.query(
    `UPDATE job SET priority = CASE kind WHEN 'serp' THEN 1 ELSE 2 END
      WHERE id IN (SELECT id FROM job WHERE priority IS NULL ORDER BY id LIMIT $1)`,
    [BATCH],
  );
  if (rowCount === 0) break;
  total += rowCount;
  console.log(`backfill: ${total} jobs`);
}
console.log('backfill: complete');
await database.end();
