const KINDS = ['serp', 'scrape', 'analyze', 'generate'];

/** Puts a job into the queue and answers its number. `seconds` is how long the work takes. */
export async function enqueue(database, kind, seconds) {
  const { rows } = await database.query('INSERT INTO job (kind, seconds) VALUES ($1, $2) RETURNING id', [
    KINDS.includes(kind) ? kind : KINDS[0],
    Math.min(Math.max(Number(seconds) || 0, 0), 60),
  ]);
  return rows[0].id;
}

export async function summary(database) {
  const { rows } = await database.query(
    'SELECT count(*)::int AS jobs, count(started_at)::int AS started, count(finished_at)::int AS finished FROM job',
  );
  return rows[0];
}
